//! What does Sekisho do, shown on a small site in namespaces?

use anyhow::Result;

use crate::{exec, privilege, setup};

/// Set up, build, and drive a small site with real programs
#[derive(clap::Args)]
pub struct Options {}

pub fn run(_: &Options) -> Result<()> {
    privilege::require_for_kernel()?; // before minutes of compiling
    setup::run(&setup::Options::default())?;
    // Not optimised: the packet programs are, in any profile, and the rest is sooner built.
    let packages = ["--package", "dataplane-user", "--package", "sekisho-tests"];
    exec::run(exec::cargo("build").args(packages))?;
    exec::replace(exec::cargo("run").args([
        "--quiet",
        "--package",
        "sekisho-tests",
        "--bin",
        "demo",
    ]))
}
