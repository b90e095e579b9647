//! Does everything work, here and in this kernel?

use std::{process::Command, thread::available_parallelism};

use anyhow::Result;

use crate::{controls, exec, privilege, setup};

/// Set up, then run every test: those that need no privilege, then the kernel's
#[derive(clap::Args)]
pub struct Options {
    /// Only the tests that load programs and send packets
    #[arg(long, conflicts_with = "no_kernel")]
    kernel: bool,
    /// Only the tests that need no privilege
    #[arg(long)]
    no_kernel: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if options.no_kernel {
        setup::run(&setup::Options::default())?;
        return exec::run(exec::cargo("test").arg("--workspace"));
    }
    privilege::require_for_kernel()?; // before minutes of compiling
    setup::run(&setup::Options::default())?;
    // The stories run the command itself, which no test depends on, and one upgrades to another.
    controls::put_aside("other-work")?;
    let which =
        if options.kernel { ["--package", "sekisho-tests"].as_slice() } else { &["--workspace"] };
    // One of the ignored is a process that another one starts, and waits to be ended.
    let all = ["--", "--include-ignored", "--skip", "that_waits_to_be_ended"];
    let mut tests = exec::cargo("test");
    // Stories wait more than they work.
    tests.env("RUST_TEST_THREADS", (2 * available_parallelism()?.get()).to_string());
    exec::run(with_bpf(tests.args(which).args(all)))
}

/// An object without programs would let every kernel test fail for another reason.
fn with_bpf(command: &mut Command) -> &mut Command {
    command.env("SEKISHO_REQUIRE_BPF", "1")
}
