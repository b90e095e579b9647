//! How much of the verifier's budget do the programs use?

use anyhow::Result;

use crate::{exec, privilege};

/// Compare the verifier's instruction counts with tests/golden/verifier.txt
#[derive(clap::Args)]
pub struct Options {
    /// Write what is measured now, to be reviewed
    #[arg(long)]
    bless: bool,
}

pub fn run(options: &Options) -> Result<()> {
    privilege::require_for_kernel()?;
    let mut verify = exec::cargo("run");
    verify.env("SEKISHO_REQUIRE_BPF", "1");
    verify.args(["--quiet", "--package", "sekisho-tests", "--bin", "verify", "--"]);
    if options.bless {
        verify.arg("--bless");
    }
    exec::run(&mut verify)
}
