//! How long does a packet take?

use anyhow::Result;

use crate::exec;

/// Measure the host pipeline and the loaded program
#[derive(clap::Args)]
pub struct Options {
    /// Passed on to criterion, for example a name to filter by
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let mut bench = exec::cargo("bench");
    exec::run(bench.args(["--package", "sekisho-bench", "--"]).args(&options.arguments))
}
