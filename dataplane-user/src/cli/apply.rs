//! `sekisho apply`: make another site file the one in force.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{daemon::Daemon, output::Output, site_file};
use crate::{
    api::time_to_confirm,
    daemon::{Asker, OF_FILES},
    view::Applied,
};

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
    #[command(flatten)]
    terms: Terms,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Unless `sekisho confirm` follows within this time, take it back: 90s, 2m
    #[arg(long, value_name = "TIME", value_parser = time_to_confirm)]
    confirm: Option<Duration>,
    /// Take interfaces, too, that carry the host's default route or your own login
    #[arg(long)]
    force: bool,
}

/// Whose a file is, and what becomes of what it does not say.
#[derive(Args, Clone)]
pub struct Terms {
    /// Whose the file is: what others want stays as it is
    #[arg(long, value_name = "NAME", default_value = OF_FILES)]
    pub scope: String,
    /// Leave what the scope wanted before and the file does not have any more
    #[arg(long)]
    no_prune: bool,
    /// Make what others wrote otherwise as it is in the file
    #[arg(long)]
    take_over: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let Options { daemon, file, terms, dry_run, confirm, force, .. } = options;
    let applied = ask(daemon, file.as_deref(), terms, *dry_run, *confirm, *force)?;
    options.output.print(&applied, show)?;
    if confirm.is_some() && !dry_run && !applied.changes.is_empty() && options.output.is_table() {
        let scope = &terms.scope;
        let other = if scope == OF_FILES { String::new() } else { format!(" --scope {scope}") };
        println!("it is taken back unless `sekisho confirm{other}` follows in time");
    }
    Ok(())
}

/// Hands the file over.
pub fn ask(
    daemon: &Daemon,
    file: Option<&Path>,
    terms: &Terms,
    dry_run: bool,
    confirm: Option<Duration>,
    force: bool,
) -> anyhow::Result<Applied> {
    let Terms { scope, no_prune, take_over } = terms;
    let asker = Asker::here(force);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("scope", scope);
    query.append_pair("prune", &(!no_prune).to_string());
    query.append_pair("takeOver", &take_over.to_string());
    query.append_pair("force", &asker.force.to_string());
    if dry_run {
        query.append_pair("dryRun", "All");
    }
    if let Some(time) = confirm {
        query.append_pair("confirmTimeout", &format!("{}s", time.as_secs()));
    }
    if let Some(login) = &asker.ssh_connection {
        query.append_pair("sshConnection", login);
    }
    let mut text = Vec::new();
    if let Some(file) = file {
        let name;
        (name, text) = site_file::read(file)?;
        query.append_pair("name", &name);
    }
    daemon.post(&format!("/api/v1/apply?{}", query.finish()), text)
}

pub fn show(applied: &Applied) -> String {
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
