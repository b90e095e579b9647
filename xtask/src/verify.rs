//! How much of the verifier's budget do the programs use, on this kernel or on others?

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{
    exec, guest,
    kernels::{self, Kernel},
    privilege, setup,
};

/// Compare the verifier's instruction counts with tests/golden/verifier.txt
#[derive(clap::Args)]
pub struct Options {
    /// Write what is measured now, to be reviewed
    #[arg(long)]
    bless: bool,
    /// On Debian's kernels in qemu, with the packet table; of these series or all
    #[arg(long, value_name = "VERSION", num_args = 0..)]
    kernels: Option<Vec<String>>,
}

pub fn run(options: &Options) -> Result<()> {
    if let Some(series) = &options.kernels {
        return others(&kernels::named(series)?, options.bless);
    }
    privilege::require_for_kernel()?;
    compare(&[], options.bless)
}

/// Asks each, whatever the ones before said.
fn others(kernels: &[Kernel], bless: bool) -> Result<()> {
    setup::kernels(kernels)?;
    let mut build = exec::cargo("build");
    exec::run(build.args(["--package", "sekisho-tests", "--bin", "guest"]))?;
    let program = exec::target().join("debug/guest");
    let mut failed = Vec::new();
    for kernel in kernels {
        if let Err(error) = other(kernel, &program, bless) {
            eprintln!("{error:?}");
            failed.push(kernel.series);
        }
    }
    if !failed.is_empty() {
        bail!("not as expected: Linux {}", failed.join(", "));
    }
    Ok(())
}

fn other(kernel: &Kernel, program: &Path, bless: bool) -> Result<()> {
    let heard = guest::ask(kernel, &kernels::fetch(kernel)?, program)?;
    println!("Linux {}:", heard.release);
    if heard.refused.is_empty() {
        println!("{}", heard.rows.unwrap_or_default());
    } else {
        println!("{}", heard.refused.join("\n"));
    }
    let measured = kernel.folder().join("measured.txt");
    fs::write(&measured, heard.measured.join("\n") + "\n")
        .with_context(|| measured.display().to_string())?;
    compare(&["--measured", kernel.series, &measured.display().to_string()], bless)
}

fn compare(measured: &[&str], bless: bool) -> Result<()> {
    let mut verify = exec::cargo("run");
    verify.args(["--quiet", "--package", "sekisho-tests", "--bin", "verify", "--"]);
    verify.args(measured);
    if bless {
        verify.arg("--bless");
    }
    exec::run(&mut verify)
}
