//! `sekisho apply`: make another site file the one in force.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{daemon::Daemon, output::Output, site_file};
use crate::{daemon::Asker, view::Applied};

/// Put a site file in force; on any error nothing changes
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// The site file, `-` for what is piped in; without it the daemon reads its own anew
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
    let applied = ask(&options.daemon, options.file.as_deref(), options.dry_run, options.force)?;
    options.output.print(&applied, show)
}

/// Hands the file over.
pub fn ask(
    daemon: &Daemon,
    file: Option<&Path>,
    dry_run: bool,
    force: bool,
) -> anyhow::Result<Applied> {
    let mut path = format!("/v1/apply?dry_run={dry_run}");
    let asker = Asker::here(force);
    path += &format!("&force={}", asker.force);
    if let Some(login) = asker.ssh_connection {
        path += "&ssh_connection=";
        path.extend(form_urlencoded::byte_serialize(login.as_bytes()));
    }
    let mut text = Vec::new();
    if let Some(file) = file {
        let name;
        (name, text) = site_file::read(file)?;
        path += "&name=";
        path.extend(form_urlencoded::byte_serialize(name.as_bytes()));
    }
    daemon.post(&path, text)
}

fn show(applied: &Applied) -> String {
    let mut text = in_short(&applied.changes).join("\n");
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

/// Changes of a kind that are shown.
const SHOWN_MAX: usize = 20;

/// The first changes of each kind, and how many others there are.
pub fn in_short(changes: &[String]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    let is_shown = |change: &&String| {
        let count: &mut usize = counts.entry(change.chars().next()).or_default();
        *count += 1;
        *count <= SHOWN_MAX
    };
    let mut lines: Vec<_> = changes.iter().filter(is_shown).cloned().collect();
    for (kind, count) in counts {
        if let (Some(kind), Some(more @ 1..)) = (kind, count.checked_sub(SHOWN_MAX)) {
            lines.push(format!("{kind} and {more} more (-o json tells all)"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_changes_the_first_of_each_kind_are_shown() {
        let some = |kind: char, count| (0..count).map(move |at| format!("{kind} ports/p{at}"));
        let few: Vec<_> = some('-', 20).chain(some('+', 1)).collect();
        assert_eq!(in_short(&few), few);
        let many: Vec<_> = some('+', 100_000).chain(some('~', 21)).chain(some('-', 2)).collect();
        let shown = some('+', 20).chain(some('~', 20)).chain(some('-', 2));
        let more = ["+ and 99980 more (-o json tells all)", "~ and 1 more (-o json tells all)"];
        let wanted: Vec<_> = shown.chain(more.map(str::to_owned)).collect();
        assert_eq!(in_short(&many), wanted);
    }
}
