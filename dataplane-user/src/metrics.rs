//! What does Prometheus read? Names begin with `sekisho_`, labels are bounded:
//! tenants, reasons and attachments, never addresses.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{daemon::Daemon, view};

/// OpenMetrics, as the text encoder writes it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    tenant: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Direction {
    object: String,
    interface: String,
    vlan: u16,
    service_vlan: u16,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InState {
    object: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Table {
    table: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Payer {
    tenant: String,
}

type Count<L> = Family<L, Counter<u64, AtomicU64>>;

/// The metrics as text, read from the tables at this moment.
pub fn text(daemon: &Daemon) -> anyhow::Result<String> {
    written(&daemon.drops()?, &daemon.counters()?, &daemon.status()?)
}

fn written(
    dropped: &[view::Drop],
    counters: &view::Counters,
    status: &view::Status,
) -> anyhow::Result<String> {
    let mut registry = Registry::with_prefix("sekisho");
    drops(&mut registry, dropped);
    attachments(&mut registry, counters);
    next_hops(&mut registry, &status.next_hops);
    tables(&mut registry, &status.tables);
    shares(&mut registry, &status.shares);
    let version = Gauge::<i64>::default();
    version.set(i64::from(status.site_version));
    registry.register("site_version", "Version of the site that is in force", version);
    let daemons = [
        ("looks", "Looks after interfaces and refusals, one a second", status.looks),
        (
            "flows_crowded_out",
            "Half-flows that only one side had agreed to and that went for others",
            status.flows_crowded_out,
        ),
    ];
    for (name, help, count) in daemons {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

fn drops(registry: &mut Registry, drops: &[view::Drop]) {
    let family = Count::<Reason>::default();
    registry.register("drops", "Packets that were not forwarded", family.clone());
    for drop in drops {
        let labels = Reason { tenant: drop.tenant.clone(), reason: drop.reason.clone() };
        family.get_or_create(&labels).inc_by(drop.packets);
    }
}

fn attachments(registry: &mut Registry, counters: &view::Counters) {
    let packets = Count::<Direction>::default();
    let bytes = Count::<Direction>::default();
    registry.register("packets", "Packets at an attachment", packets.clone());
    registry.register(
        "bytes",
        "Bytes at an attachment, from the Ethernet header on",
        bytes.clone(),
    );
    for row in &counters.attachments {
        let directions = [
            ("received", row.received),
            ("sent", row.sent),
            ("answered", row.answered),
            ("reported", row.reported),
            ("heard", row.heard),
            ("flooded", row.flooded),
            ("copied", row.copied),
            ("parked", row.parked),
            ("passed", row.passed),
        ];
        for (direction, amount) in directions {
            let labels = labels(row, direction);
            packets.get_or_create(&labels).inc_by(amount.packets);
            bytes.get_or_create(&labels).inc_by(amount.bytes);
        }
        // Nobody tells how many bytes the kernel refused.
        packets.get_or_create(&labels(row, REFUSED)).inc_by(row.refused);
    }
    for row in &counters.shared {
        let (object, interface) = (String::new(), row.interface.clone());
        let labels = Direction { object, interface, vlan: 0, service_vlan: 0, direction: REFUSED };
        packets.get_or_create(&labels).inc_by(row.refused);
    }
}

const REFUSED: &str = "refused";

fn labels(row: &view::AttachmentCounters, direction: &'static str) -> Direction {
    Direction {
        object: row.object.clone(),
        interface: row.interface.clone(),
        vlan: row.vlan.unwrap_or(0),
        service_vlan: row.service_vlan.unwrap_or(0),
        direction,
    }
}

/// How many of each object are in each state, those that are none as well: what is to be
/// alarmed about is there before it happens.
fn next_hops(registry: &mut Registry, next_hops: &[view::NextHop]) {
    let family = Family::<InState, Gauge>::default();
    registry.register("next_hops", "Next hops by state", family.clone());
    for row in next_hops {
        for state in view::NextHop::STATES {
            let labels = InState { object: row.object.clone(), state };
            family.get_or_create(&labels).inc_by(i64::from(row.state == state));
        }
    }
}

fn tables(registry: &mut Registry, fills: &[view::Fill]) {
    let used = Family::<Table, Gauge>::default();
    let max = Family::<Table, Gauge>::default();
    let largest_free = Family::<Table, Gauge>::default();
    registry.register("table_entries", "Entries of a table in use", used.clone());
    registry.register("table_entries_max", "Entries that a table has room for", max.clone());
    registry.register(
        "table_entries_largest_free",
        "The longest free piece, where what is put in a table has to lie in one",
        largest_free.clone(),
    );
    for fill in fills {
        let labels = Table { table: fill.table.clone() };
        let set = |family: &Family<Table, Gauge>, value: u64| {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&used, fill.used);
        set(&max, fill.max);
        if let Some(lines) = fill.largest_free {
            set(&largest_free, lines);
        }
    }
}

fn shares(registry: &mut Registry, shares: &[view::Share]) {
    let mut gauge = |name: &str, help: &str, value: fn(&view::Share) -> u64| {
        let family = Family::<Payer, Gauge>::default();
        registry.register(name, help, family.clone());
        for share in shares {
            let labels = Payer { tenant: share.tenant.clone() };
            let value = i64::try_from(value(share)).unwrap_or(i64::MAX);
            family.get_or_create(&labels).set(value);
        }
    };
    gauge("tenant_half_flows", "Half-flows that a tenant has", |of| of.used);
    gauge("tenant_half_flows_max", "Half-flows that a tenant may have", |of| of.max);
    gauge(
        "tenant_half_flows_inbound",
        "Half-flows of a tenant that strangers opened, without a TCP handshake",
        |of| of.inbound,
    );
    gauge(
        "tenant_half_flows_inbound_max",
        "Half-flows of a tenant that strangers may open so",
        |of| of.inbound_max,
    );
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    /// Somebody's dashboards and alarms go by them.
    #[test]
    fn names_stay_as_they_are_and_stand_in_the_readme() {
        let names = [
            "sekisho_drops_total",
            "sekisho_packets_total",
            "sekisho_bytes_total",
            "sekisho_next_hops",
            "sekisho_table_entries",
            "sekisho_table_entries_max",
            "sekisho_table_entries_largest_free",
            "sekisho_tenant_half_flows",
            "sekisho_tenant_half_flows_max",
            "sekisho_tenant_half_flows_inbound",
            "sekisho_tenant_half_flows_inbound_max",
            "sekisho_site_version",
            "sekisho_looks_total",
            "sekisho_flows_crowded_out_total",
        ];
        // Of each a row: a name without any is not told.
        let none = json!({"packets": 0, "bytes": 0});
        let at = json!({"object": "o", "interface": "nic", "received": none, "sent": none,
            "answered": none, "reported": none, "heard": none, "flooded": none, "copied": none,
            "parked": none});
        let hop = json!({"object": "o", "address": "192.0.2.1", "state": "failed"});
        let dropped =
            json!([{"tenant": "blue", "reason": "over_limit", "sentence": "", "packets": 7}]);
        let status = json!({"program": "", "site_version": 3, "config": "", "applied": "",
            "uptime_s": 0, "looks": 5, "flows_crowded_out": 11, "attachments": [],
            "next_hops": [hop], "tables": [{"table": "meters", "used": 1, "max": 2},
                {"table": "heap_lines", "used": 30, "max": 64, "largest_free": 17}],
            "shares": [{"tenant": "blue", "used": 8, "max": 64, "inbound": 4, "inbound_max": 32}]});
        let dropped: Vec<view::Drop> = from_value(dropped).expect("drops");
        let counters = from_value(json!({"attachments": [at], "rules": []})).expect("counters");
        let status = from_value(status).expect("a status");
        let text = written(&dropped, &counters, &status).expect("it is text");
        let suffix = |kind: &str| if kind == "counter" { "_total" } else { "" };
        let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let told: Vec<_> = told.map(|(name, kind)| format!("{name}{}", suffix(kind))).collect();
        assert_eq!(told, names);
        for line in [
            "sekisho_drops_total{tenant=\"blue\",reason=\"over_limit\"} 7",
            "sekisho_site_version 3",
            "sekisho_table_entries_largest_free{table=\"heap_lines\"} 17",
            "sekisho_tenant_half_flows{tenant=\"blue\"} 8",
            "sekisho_tenant_half_flows_max{tenant=\"blue\"} 64",
            "sekisho_tenant_half_flows_inbound{tenant=\"blue\"} 4",
            "sekisho_tenant_half_flows_inbound_max{tenant=\"blue\"} 32",
            "sekisho_looks_total 5",
            "sekisho_flows_crowded_out_total 11",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
        }
        let pieces = "sekisho_table_entries_largest_free{";
        assert_eq!(text.matches(pieces).count(), 1, "only the heap has pieces: {text}");
        let readme = include_str!("../../README.md");
        for name in names {
            assert!(readme.contains(&format!("`{name}`")), "README.md does not tell of {name}");
        }
    }

    #[test]
    fn next_hops_are_told_by_state() {
        let hop = |last: u8, state: &str| view::NextHop {
            object: "uplink out".to_owned(),
            address: [192, 0, 2, last].into(),
            mac: None,
            state: state.to_owned(),
        };
        let mut registry = Registry::with_prefix("sekisho");
        next_hops(&mut registry, &[hop(1, "failed"), hop(2, "reachable"), hop(3, "failed")]);
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("it is text");
        for (state, count) in [("failed", 2), ("reachable", 1), ("incomplete", 0), ("permanent", 0)]
        {
            let line =
                format!("sekisho_next_hops{{object=\"uplink out\",state=\"{state}\"}} {count}\n");
            assert!(text.contains(&line), "{line} is not in {text}");
        }
    }
}
