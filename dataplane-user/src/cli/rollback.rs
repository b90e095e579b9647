//! `sekisho rollback`: take back what was changed.

use clap::Args;

use super::{apply, daemon::Daemon, output::Output};
use crate::{daemon::OF_FILES, view::Applied};

/// Take back the last change of a scope, or all of its after a revision
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// The revision of the scope to go back to, as `sekisho revisions` shows it; without it the
    /// last change is taken back
    #[arg(value_name = "REVISION")]
    to: Option<u64>,
    /// Whose changes are taken back; those of others stay
    #[arg(long, value_name = "NAME", default_value = OF_FILES)]
    scope: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("scope", &options.scope);
    if let Some(to) = options.to {
        query.append_pair("to", &to.to_string());
    }
    if options.dry_run {
        query.append_pair("dryRun", "All");
    }
    let path = format!("/api/v1/rollback?{}", query.finish());
    let applied: Applied = options.daemon.post(&path, Vec::new())?;
    options.output.print(&applied, apply::show)
}
