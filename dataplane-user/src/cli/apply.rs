//! `sekisho apply`: make another site file the one in force.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::{daemon::Daemon, output::Output};
use crate::view::Applied;

/// Put a site file in force; on any error nothing changes
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// The site file; without it the daemon reads its own anew
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let text = match &options.file {
        Some(path) => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => Vec::new(),
    };
    let path = format!("/v1/apply?dry_run={}", options.dry_run);
    let applied: Applied = options.daemon.post(&path, text)?;
    options.output.print(&applied, show)
}

fn show(applied: &Applied) -> String {
    let mut text = applied.changes.join("\n");
    if applied.changes.is_empty() {
        text.push_str("nothing changes");
    }
    if applied.dry_run {
        text + &format!("\nnot applied; site version {} stays in force", applied.site_version)
    } else {
        text + &format!("\nin force as site version {}", applied.site_version)
    }
}
