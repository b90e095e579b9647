//! How long does a packet take?

use std::{env, path::PathBuf, process::Command};

use anyhow::{Result, anyhow};

use crate::{
    exec,
    setup::{self, TARGET},
    toolchain::{Distribution, Toolchain},
};

/// Measure the host pipeline and, with root, the loaded program and the path
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Passed on to criterion: a name to filter by, or --test to see only that all of it runs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Part {
    /// Packets from NIC to NIC and to ports, beside Linux, nftables and bare redirects: minutes
    Path {
        /// See only that all of it runs
        #[arg(long)]
        test: bool,
    },
    /// Write target/bench/report.md and its plots, of what was measured last
    Report {
        /// README.md shall show these curves: write them to docs/, too
        #[arg(long)]
        docs: bool,
    },
}

pub fn run(options: &Options) -> Result<()> {
    match options.part {
        None => {
            setup::run(&setup::Options::default())?;
            let is_trial = options.arguments.iter().any(|word| word == "--test");
            exec::run(bench(is_trial)?.arg("--").args(&options.arguments))
        }
        Some(Part::Path { test }) => {
            setup::run(&setup::Options::default())?;
            let mut path = bench(test)?;
            path.args(["--bench", "path", "--bench", "ports"]);
            exec::run(if test { path.args(["--", "--test"]) } else { &mut path })
        }
        Some(Part::Report { docs }) => {
            let mut report = exec::cargo("run");
            report.args(["--quiet", "--package", "sekisho-bench"]);
            exec::run(if docs { report.args(["--", "--docs"]) } else { &mut report })
        }
    }
}

fn bench(is_trial: bool) -> Result<Command> {
    // In a trial as the tests built it: minutes of compiling less.
    let profile = ["--profile", if is_trial { "dev" } else { "bench" }];
    // How `sekisho` begins is measured, too.
    let mut build = exec::cargo("build");
    exec::run(build.args(profile).args([
        "--package",
        "sekisho-bench",
        "--package",
        "dataplane-user",
    ]))?;
    let mut bench = exec::cargo("bench");
    bench.args(profile);
    bench.env("SEKISHO_BENCH_OBJECT", object()?);
    bench.args(["--package", "sekisho-bench"]);
    Ok(bench)
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn words_are_criterions_unless_they_are_a_part() {
        let parsed = |words: &[&str]| {
            let words = ["bench"].into_iter().chain(words.iter().copied());
            Line::try_parse_from(words).expect("it is understood").options
        };
        for words in [&["--test"][..], &["known flow", "--test"], &["--save-baseline", "path"]] {
            let options = parsed(words);
            assert!(options.part.is_none());
            assert_eq!(options.arguments, words);
        }
        assert!(matches!(parsed(&["path", "--test"]).part, Some(Part::Path { test: true })));
        assert!(matches!(parsed(&["path"]).part, Some(Part::Path { test: false })));
        assert!(matches!(parsed(&["report"]).part, Some(Part::Report { docs: false })));
        assert!(matches!(parsed(&["report", "--docs"]).part, Some(Part::Report { docs: true })));
    }
}
