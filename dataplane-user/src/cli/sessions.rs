//! `sekisho sessions`: which lines are attached?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::Session;

/// Show the mobile lines that are attached, and where they lead
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// Show telephone numbers in full
    #[arg(long)]
    reveal: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let path = format!("/v1/sessions?reveal={}", options.reveal);
    let sessions: Vec<Session> = options.daemon.get(&path)?;
    options.output.print(&sessions, |sessions| {
        let rows = sessions.iter().map(|row| {
            [
                row.access.clone(),
                row.tenant.clone(),
                row.number.clone(),
                row.addresses.join(" "),
                row.state.clone(),
                row.destination.clone(),
            ]
        });
        table(["ACCESS", "TENANT", "NUMBER", "ADDRESSES", "STATE", "LEADS TO"], rows)
    })
}
