//! `sekisho man`: the manual pages.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

/// Write the manual pages, one for each verb
///
/// To read them: `sekisho man /usr/local/share/man/man1 && man sekisho-run`.
#[derive(Args)]
pub struct Options {
    /// The folder, which has to be there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let command = super::Command::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &options.folder)
        .with_context(|| format!("cannot write into {}", options.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
