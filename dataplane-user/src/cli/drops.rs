//! `sekisho drops`: where did the packets go?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::Drop;

/// Show how many packets were not forwarded, by tenant and reason
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// Only this tenant's
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut drops: Vec<Drop> = options.daemon.get("/v1/drops")?;
    if let Some(tenant) = &options.tenant {
        drops.retain(|drop| drop.tenant == *tenant);
    }
    options.output.print(&drops, |drops| {
        let rows = drops.iter().map(|row| {
            [row.tenant.clone(), row.reason.clone(), row.packets.to_string(), row.sentence.clone()]
        });
        table(["TENANT", "REASON", "PACKETS", "MEANING"], rows)
    })
}
