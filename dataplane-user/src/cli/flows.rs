//! `sekisho flows`: which connections are known?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::Flow;

/// Show the flow table: both halves of every connection
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
    let mut flows: Vec<Flow> = options.daemon.get("/v1/flows")?;
    if let Some(tenant) = &options.tenant {
        flows.retain(|flow| flow.tenant == *tenant);
    }
    options.output.print(&flows, |flows| {
        let rows = flows.iter().map(|row| {
            [
                row.tenant.clone(),
                row.zone.clone(),
                row.protocol.clone(),
                format!("{} {}", row.src, row.src_port),
                format!("{} {}", row.dst, row.dst_port),
                row.direction.clone(),
                row.denied
                    .as_ref()
                    .map_or_else(|| row.state.clone(), |why| format!("denied: {why}")),
                row.amount.packets.to_string(),
                row.amount.bytes.to_string(),
                row.idle_s.to_string(),
            ]
        });
        let header = [
            "TENANT",
            "ZONE",
            "PROTOCOL",
            "FROM",
            "TO",
            "DIRECTION",
            "STATE",
            "PACKETS",
            "BYTES",
            "IDLE s",
        ];
        table(header, rows)
    })
}
