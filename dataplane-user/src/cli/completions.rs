//! `sekisho completions`: what a shell completes of the command line.

use std::{io, process::ExitCode};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print what a shell completes the command line by
///
/// For bash: `sekisho completions bash >/etc/bash_completion.d/sekisho`.
#[derive(Args)]
pub struct Options {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut super::Command::command(), "sekisho", &mut text);
    io::Write::write_all(&mut io::stdout(), &text)?;
    Ok(ExitCode::SUCCESS)
}
