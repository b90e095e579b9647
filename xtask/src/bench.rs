//! How long does a packet take?

use std::{env, path::PathBuf};

use anyhow::{Result, anyhow};

use crate::{
    exec,
    setup::{self, TARGET},
    toolchain::{Distribution, Toolchain},
};

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
    bench.env("SEKISHO_BENCH_OBJECT", object()?);
    exec::run(bench.args(["--package", "sekisho-bench", "--"]).args(&options.arguments))
}

/// Builds the programs that only benchmarks load; answers where they are.
fn object() -> Result<PathBuf> {
    let toolchain = Toolchain::find(TARGET).map_err(|missing| {
        let remedy = missing.remedy(Distribution::of_this_machine());
        anyhow!("{} is missing: {remedy}", missing.name())
    })?;
    let folder = exec::target().join("ebpf/bench");
    let manifest = exec::root().join("dataplane-ebpf/Cargo.toml");
    let mut build = toolchain.cargo("build", &manifest, TARGET, env::consts::ARCH);
    build.args(["--locked", "--features", "bench", "--bin", "bench", "--target-dir"]);
    exec::run(build.arg(&folder))?;
    Ok(folder.join(TARGET).join("release/bench"))
}
