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
    io::Write::write_all(&mut io::stdout(), &text(options.shell))?;
    Ok(ExitCode::SUCCESS)
}

fn text(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::Command::command(), "sekisho", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_knows_every_verb() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8_lossy(&text(*shell)).into_owned();
            for verb in super::super::Command::command().get_subcommands() {
                assert!(text.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
    }
}
