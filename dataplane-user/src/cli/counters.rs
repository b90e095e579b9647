//! `sekisho counters`: how much went where?

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::{Amount, Counters};

/// Show packets and bytes at every attachment, and by rule
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let counters: Counters = options.daemon.get("/v1/counters")?;
    options.output.print(&counters, show)
}

fn show(counters: &Counters) -> String {
    let amount = |amount: Amount| format!("{} / {}", amount.packets, amount.bytes);
    let attachments = counters.attachments.iter().map(|row| {
        [
            row.place(),
            row.object.clone(),
            amount(row.received),
            amount(row.sent),
            row.answered.packets.to_string(),
            row.reported.packets.to_string(),
            row.heard.packets.to_string(),
            row.flooded.packets.to_string(),
            row.copied.packets.to_string(),
            row.refused.to_string(),
            row.parked.packets.to_string(),
            amount(row.passed),
        ]
    });
    let shared = counters.shared.iter().map(|row| {
        let mut cells = [const { String::new() }; 12];
        cells[0].clone_from(&row.interface);
        cells[1] = "(all VLANs)".to_owned();
        cells[9] = row.refused.to_string();
        cells
    });
    let header = [
        "INTERFACE",
        "OBJECT",
        "RECEIVED (packets / bytes)",
        "SENT",
        "ANSWERED",
        "ICMP ERRORS",
        "HEARD",
        "FLOODED",
        "COPIED",
        "REFUSED",
        "PARKED",
        "TO THE HOST",
    ];
    let rules = counters.rules.iter().map(|row| [row.rule.clone(), amount(row.amount)]);
    format!(
        "{}\n\n{}",
        table(header, attachments.chain(shared)),
        table(["RULE", "FLOWS CARRIED (packets / bytes)"], rules)
    )
}
