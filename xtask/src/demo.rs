//! What does Sekisho do, shown on a small site in namespaces?

use anyhow::Result;

use crate::{build, exec, privilege, setup};

/// Set up, build, and drive a small site with real programs
#[derive(clap::Args)]
pub struct Options {
    /// Passed on to the demo
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    privilege::require_for_kernel()?;
    setup::run(&setup::Options::default())?;
    build::run(&build::Options::default())?;
    let mut demo = exec::cargo("run");
    demo.args(["--package", "sekisho-tests", "--bin", "demo", "--"]).args(&options.arguments);
    exec::run(&mut demo)
}
