//! `sekisho flows`: which connections are known?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::{Flow, Icmp};

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
    options.daemon.check_tenant(options.tenant.as_deref())?;
    let mut flows: Vec<Flow> = options.daemon.get("/v1/flows")?;
    if let Some(tenant) = &options.tenant {
        flows.retain(|flow| flow.tenant == *tenant);
    }
    options.output.print(&flows, |flows| {
        let rows = flows.iter().map(|row| {
            [
                row.tenant.clone(),
                row.zone.clone(),
                protocol(row),
                end(&row.src, row.ports.map(|[src, _]| src.to_string())),
                end(&row.dst, row.ports.map(|[_, dst]| dst.to_string())),
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

fn end(address: &str, port: Option<String>) -> String {
    port.map_or_else(|| address.to_owned(), |port| format!("{address} {port}"))
}

fn protocol(flow: &Flow) -> String {
    let name = &flow.protocol;
    flow.icmp.map_or_else(
        || name.clone(),
        |Icmp { kind, code, id }| format!("{name} {kind}/{code} id {id}"),
    )
}
