//! How long does a packet take?

use anyhow::Result;

use crate::{exec, setup};

/// Measure the host pipeline and, with root, the loaded program and the path
#[derive(clap::Args)]
pub struct Options {
    /// Passed on to criterion, for example a name to filter by
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    setup::run(&setup::Options::default())?;
    let mut bench = exec::cargo("bench");
    exec::run(bench.args(["--package", "sekisho-bench", "--"]).args(&options.arguments))
}
