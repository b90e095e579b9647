//! What does this kernel's verifier say to each program?

use std::{collections::BTreeMap, fmt, fs, str::FromStr};

use anyhow::{Context, Result};
use dataplane_user::load::{Barrier, Dataplane, Error, LogLevel, Options, Place, Sizes};

use crate::Lab;

/// What it says to one program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// It looked at so many instructions.
    Verified(u32),
    /// It does not let the program in.
    Refused,
}

/// What it says to all of them.
pub struct Measured {
    /// By program. The loader ends at the first that is refused.
    pub said: BTreeMap<String, Said>,
    /// Why a program is refused, in the verifier's last words.
    pub reason: Option<String>,
}

/// Loads every program as the daemon does.
pub fn measure() -> Result<Measured> {
    let lab = Lab::new("verify")?;
    let place = Place { pin: lab.bpffs()?.join("sekisho"), state: lab.folder().join("state") };
    match Dataplane::load(&Options {
        place,
        sizes: Sizes { flow_lines: 1 << 10, ..Sizes::default() },
        log: LogLevel::Off,
        barrier: Barrier::Any,
    }) {
        Ok(dataplane) => {
            let programs = dataplane.programs()?.into_iter();
            let said = programs.map(|of| (of.name.to_owned(), Said::Verified(of.verified)));
            Ok(Measured { said: said.collect(), reason: None })
        }
        Err(Error::Verifier { name, source, tail }) => {
            let said = BTreeMap::from([(name.to_owned(), Said::Refused)]);
            Ok(Measured { said, reason: Some(format!("{name}: {source}\n{tail}")) })
        }
        Err(error) => Err(error.into()),
    }
}

/// The kernel's series: `6.18`.
pub fn kernel() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.split('.').take(2).collect::<Vec<_>>().join("."))
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified(instructions) => f.pad(&instructions.to_string()),
            Self::Refused => f.pad("refused"),
        }
    }
}

impl FromStr for Said {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        if word == "refused" {
            return Ok(Self::Refused);
        }
        let instructions = word.parse();
        instructions.map(Self::Verified).with_context(|| format!("{word:?} is no count"))
    }
}
