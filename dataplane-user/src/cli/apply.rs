//! `sekisho apply`: make another site file the one in force.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::{daemon::Daemon, output::Output};
use crate::{daemon::Asker, view::Applied};

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
    /// Take interfaces, too, that carry the host's default route or your own login
    #[arg(long)]
    force: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut path = format!("/v1/apply?dry_run={}", options.dry_run);
    let asker = Asker::here(options.force);
    path += &format!("&force={}", asker.force);
    if let Some(login) = asker.ssh_connection {
        path += "&ssh_connection=";
        path.extend(form_urlencoded::byte_serialize(login.as_bytes()));
    }
    let mut text = Vec::new();
    if let Some(file) = &options.file {
        let name = file.display().to_string();
        text = fs::read(file).with_context(|| format!("cannot read {name}"))?;
        path += "&name=";
        path.extend(form_urlencoded::byte_serialize(name.as_bytes()));
    }
    let applied: Applied = options.daemon.post(&path, text)?;
    options.output.print(&applied, show)
}

fn show(applied: &Applied) -> String {
    let mut text = applied.changes.join("\n");
    if applied.changes.is_empty() {
        text.push_str("nothing changes");
    }
    for line in applied.released.iter().chain(&applied.warnings) {
        text += &format!("\n{line}");
    }
    if applied.dry_run {
        text + &format!("\nnot applied; site version {} stays in force", applied.site_version)
    } else {
        text + &format!("\nin force as site version {}", applied.site_version)
    }
}
