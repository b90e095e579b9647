//! How is the `sekisho` command built for use?

use anyhow::Result;

use crate::exec;

/// Build the `sekisho` command, optimised and with its packet programs
#[derive(clap::Args, Default)]
pub struct Options {}

pub fn run(_: &Options) -> Result<()> {
    exec::run(exec::cargo("build").args(["--release", "--package", "dataplane-user"]))
}
