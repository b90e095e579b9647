//! `sekisho status`: is it running, with which site, and how full is it?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::{self, Status};

/// Show what runs: the site's version, attachments, next hops, and how full the tables are
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let status: Status = options.daemon.get("/v1/status")?;
    options.output.print(&status, show)
}

fn show(status: &Status) -> String {
    let attachments = status.attachments.iter().map(|row| {
        let vlans = view::dotted(row.service_vlan, row.vlan).unwrap_or_else(|| "-".to_owned());
        let hook = match &row.waiting_for {
            Some(reason) => format!("{} ({reason})", row.hook),
            None => row.hook.clone(),
        };
        [row.interface.clone(), vlans, row.object.clone(), hook]
    });
    let tables = status.tables.iter().map(|row| {
        let share = 100.0 * row.used as f64 / row.max.max(1) as f64;
        let largest = row.largest_free.map_or_else(|| "-".to_owned(), |lines| lines.to_string());
        let (used, max) = (row.used.to_string(), row.max.to_string());
        [row.table.clone(), used, max, format!("{share:.1} %"), largest]
    });
    let next_hops = status.next_hops.iter().map(|row| {
        let mac = row.mac.clone().unwrap_or_else(|| "-".to_owned());
        [row.object.clone(), row.address.to_string(), mac, row.state.clone()]
    });
    let own = match &status.config {
        Some(config) if *config != status.applied => {
            format!(" (the daemon's own file is {config})")
        }
        _ => String::new(),
    };
    format!(
        "sekisho {}, site version {} from {}{own}, up {} s\n\n{}\n\n{}\n\n{}",
        status.program,
        status.site_version,
        status.applied,
        status.uptime_s,
        table(["INTERFACE", "VLAN", "OBJECT", "HOOK"], attachments),
        table(["OBJECT", "NEXT HOP", "MAC", "STATE"], next_hops),
        table(["TABLE", "USED", "MAX", "FULL", "LARGEST FREE"], tables),
    )
}
