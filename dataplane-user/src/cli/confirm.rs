//! `sekisho confirm`: let stay what `apply --confirm` made.

use clap::Args;

use super::{daemon::Daemon, output::Output};
use crate::{daemon::OF_FILES, view::Confirmed};

/// Let stay what `apply --confirm` made
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// Whose it is
    #[arg(long, value_name = "NAME", default_value = OF_FILES)]
    scope: String,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let scope = form_urlencoded::byte_serialize(options.scope.as_bytes());
    let path = format!("/api/v1/confirm?scope={}", scope.collect::<String>());
    let confirmed: Confirmed = options.daemon.post(&path, Vec::new())?;
    options
        .output
        .print(&confirmed, |of| format!("revision {} of `{}` stays", of.revision, of.scope))
}
