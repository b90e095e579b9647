//! `sekisho revisions`: what was changed when?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::{
    plan,
    view::{Difference, Differing, Revision},
};

/// Show what was changed when, or what differs between two revisions
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// A revision, as 42: what it changed; two, as 40..42: what was changed after the first, up
    /// to the second
    #[arg(value_name = "REVISION")]
    which: Option<String>,
    /// Show those of this scope alone
    #[arg(long, value_name = "NAME", conflicts_with = "which")]
    scope: Option<String>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    if let Some(which) = &options.which {
        let path = format!("/api/v1/revisions/{}", encoded(which));
        let difference: Difference = options.daemon.get(&path)?;
        return options.output.print(&difference, |of| lines(of).join("\n"));
    }
    let scope = options.scope.as_deref().map(|scope| format!("?scope={}", encoded(scope)));
    let path = format!("/api/v1/revisions{}", scope.unwrap_or_default());
    let revisions: Vec<Revision> = options.daemon.get(&path)?;
    options.output.print(&revisions, |revisions| {
        let rows = revisions.iter().map(|of| {
            [of.revision.to_string(), of.at.clone(), of.scope.clone(), of.objects.to_string()]
        });
        table(["REVISION", "AT", "SCOPE", "OBJECTS"], rows)
    })
}

fn lines(difference: &Difference) -> Vec<String> {
    let mut lines = Vec::new();
    for Differing { path, before, after } in &difference.objects {
        match (before, after) {
            (Some(before), Some(after)) => {
                plan::compare(path, &before.spec, &after.spec, &mut lines);
            }
            (None, Some(_)) => lines.push(format!("+ {path}")),
            (Some(_), None) => lines.push(format!("- {path}")),
            (None, None) => {}
        }
    }
    lines
}
