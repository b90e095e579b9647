//! `sekisho drops`: where did the packets go?

use std::{collections::HashMap, thread, time::Duration};

use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::{Counters, Drop};

/// Show how many packets were not forwarded, by tenant and reason, the most first
///
/// For people it looks twice, a second apart, so that it can say what grows now. Packets that left
/// and that the kernel did not take (tx_refused) are told with where they were to go.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// Only this tenant's
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Go on, and show every second what grows, until interrupted or no daemon answers
    #[arg(long)]
    watch: bool,
}

const PAUSE: Duration = Duration::from_secs(1);

pub fn run(options: &Options) -> anyhow::Result<()> {
    options.daemon.check_tenant(options.tenant.as_deref())?;
    let mut before = look(options)?;
    if !options.output.is_table() && !options.watch {
        return options.output.print(&before, |_| String::new());
    }
    let mut is_first = true;
    while is_first || options.watch {
        thread::sleep(PAUSE);
        let mut now = look(options)?;
        let grown = grown(&before, &now);
        before.clone_from(&now);
        if options.watch {
            now.retain(|drop| grown.contains_key(&key(drop)));
        }
        let counters: Counters = options.daemon.get("/v1/counters")?;
        options.output.print(&now, |now| show(now, &grown, &counters))?;
        is_first = false;
    }
    Ok(())
}

/// The most first.
fn look(options: &Options) -> anyhow::Result<Vec<Drop>> {
    let mut drops: Vec<Drop> = options.daemon.get("/v1/drops")?;
    drops.retain(|drop| options.tenant.as_ref().is_none_or(|tenant| drop.tenant == *tenant));
    drops.sort_by(|a, b| (b.packets, key(a)).cmp(&(a.packets, key(b))));
    Ok(drops)
}

/// Whose, and why.
fn key(drop: &Drop) -> (String, String) {
    (drop.tenant.clone(), drop.reason.clone())
}

/// By how much which grew between two looks.
fn grown(before: &[Drop], now: &[Drop]) -> HashMap<(String, String), u64> {
    let before: HashMap<_, _> = before.iter().map(|drop| (key(drop), drop.packets)).collect();
    let more =
        |drop: &Drop| drop.packets.saturating_sub(before.get(&key(drop)).copied().unwrap_or(0));
    now.iter().map(|drop| (key(drop), more(drop))).filter(|(_, more)| *more > 0).collect()
}

fn show(drops: &[Drop], grown: &HashMap<(String, String), u64>, counters: &Counters) -> String {
    let rows = drops.iter().map(|row| {
        let more = grown.get(&key(row)).map_or_else(|| "-".to_owned(), |more| format!("+{more}"));
        let (tenant, reason) = key(row);
        [row.packets.to_string(), more, tenant, reason, row.sentence.clone()]
    });
    let header = ["PACKETS", "LAST SECOND", "TENANT", "REASON", "MEANING"];
    let text = table(header, rows);
    let refused = refused(counters);
    if refused.is_empty() || !drops.iter().any(|drop| drop.reason == "tx_refused") {
        return text;
    }
    format!("{text}\n\n{}", table(["PACKETS", "REFUSED BY", "WHICH IS"], refused))
}

/// Who did not take packets, the most first.
fn refused(counters: &Counters) -> Vec<[String; 3]> {
    let at = counters.attachments.iter().map(|at| (at.refused, at.place(), at.object.clone()));
    let shared = counters
        .shared
        .iter()
        .map(|at| (at.refused, at.interface.clone(), "shared by several attachments".to_owned()));
    let mut all: Vec<_> = at.chain(shared).filter(|(packets, ..)| *packets > 0).collect();
    all.sort_by(|a, b| b.cmp(a));
    all.into_iter().map(|(packets, name, object)| [packets.to_string(), name, object]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop(tenant: &str, reason: &str, packets: u64) -> Drop {
        let (tenant, reason) = (tenant.to_owned(), reason.to_owned());
        Drop { tenant, reason, sentence: "Why.".to_owned(), packets }
    }

    #[test]
    fn what_grows_is_told() {
        let before = [drop("blue", "egress_denied", 5), drop("red", "egress_denied", 7)];
        let now = [
            drop("red", "egress_denied", 7),
            drop("blue", "egress_denied", 6),
            drop("blue", "tx_refused", 3),
        ];
        let text = show(&now, &grown(&before, &now), &Counters::default());
        let rows: Vec<Vec<_>> = text.lines().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..4], ["7", "-", "red", "egress_denied"]);
        assert_eq!(rows[2][..4], ["6", "+1", "blue", "egress_denied"]);
        assert_eq!(rows[3][..4], ["3", "+3", "blue", "tx_refused"]);
    }
}
