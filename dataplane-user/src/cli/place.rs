//! Where does the dataplane live on while no process holds it?

use std::path::{Path, PathBuf};

use clap::Args;

use crate::load::Place;

/// `--pin-path` and `--state-path`.
#[derive(Args, Clone)]
pub struct PlaceOptions {
    /// Where programs and tables are pinned: a folder on a bpffs
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/sys/fs/bpf/sekisho",
        env = "SEKISHO_PIN_PATH"
    )]
    pin_path: PathBuf,
    /// Where it is noted what to restore [default: a folder in /run/sekisho, named
    /// after --pin-path]
    #[arg(long, value_name = "PATH", env = "SEKISHO_STATE_PATH")]
    state_path: Option<PathBuf>,
}

impl PlaceOptions {
    /// The two folders. Pin folders of different names never share a state folder.
    pub fn place(&self) -> Place {
        let usual = || Path::new("/run/sekisho").join(self.name());
        let state = self.state_path.clone().unwrap_or_else(usual);
        Place { pin: self.pin_path.clone(), state }
    }

    /// What is to be in force there, over every restart of the machine as well.
    pub fn store(&self) -> PathBuf {
        Path::new("/var/lib/sekisho").join(format!("{}.redb", self.name()))
    }

    fn name(&self) -> String {
        self.pin_path.to_string_lossy().trim_matches('/').replace('/', "-")
    }
}
