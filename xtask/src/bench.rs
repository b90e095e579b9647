//! How long does a packet take?

use anyhow::Result;

use crate::{exec, setup};

/// Measure the host pipeline and, with root, the loaded program and the path
#[derive(clap::Args)]
pub struct Options {
    /// Passed on to criterion: a name to filter by, or --test to see only that all of it runs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    setup::run(&setup::Options::default())?;
    let mut bench = exec::cargo("bench");
    if options.arguments.iter().any(|word| word == "--test") {
        // As the tests built it: minutes of compiling less.
        bench.args(["--profile", "dev"]);
    }
    exec::run(bench.args(["--package", "sekisho-bench", "--"]).args(&options.arguments))
}
