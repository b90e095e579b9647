//! Does everything work, here and in this kernel?

use anyhow::Result;

use crate::{exec, privilege, setup};

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
    if !options.no_kernel {
        privilege::require_for_kernel()?; // before minutes of compiling
    }
    setup::run(&setup::Options::default())?;
    if !options.kernel {
        exec::run(exec::cargo("test").arg("--workspace"))?;
    }
    if !options.no_kernel {
        let mut kernel = exec::cargo("test");
        exec::run(kernel.args(["--package", "sekisho-tests"]).env("SEKISHO_KERNEL_TESTS", "1"))?;
    }
    Ok(())
}
