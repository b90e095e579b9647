//! `sekisho diff`: what would another site file change?

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{apply, daemon::Daemon, output::Output};

/// Say what a site file would change, and change nothing
///
/// Exits 0 if nothing, 1 if something, 2 if the file would be refused.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// The site file, `-` for what is piped in; without it the daemon's own as it is now
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    terms: apply::Terms,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let applied =
        apply::ask(&options.daemon, options.file.as_deref(), &options.terms, true, None, false)?;
    if applied.changes.is_empty() && options.output.is_table() {
        return Ok(ExitCode::SUCCESS);
    }
    options.output.print(&applied.changes, |changes| apply::in_short(changes).join("\n"))?;
    Ok(if applied.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
