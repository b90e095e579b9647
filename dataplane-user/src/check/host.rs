//! Is what the host is said to have on a NIC its own, and nobody else's?

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Context, filter, limit, prefix};
use crate::config::tree::NodeId;
use crate::config::{At, Field, file};
use crate::model::{HostEntry, HostMatch, HostShare, Mac};

/// What is passed up to the host; `taken` are prefixes that are others' there.
pub(super) fn share(
    cx: &mut Context<'_>,
    written: &Field<file::HostShare>,
    mac: &Field<At<Mac>>,
    taken: &[(IpNetwork, NodeId)],
) -> Option<HostShare> {
    let Some(written) = written.given() else {
        return written.is_absent().then(HostShare::default);
    };
    let items = written.addresses.items();
    cx.limit(items, limit::ENTRIES_PER_HOST);
    if let (Some(at), false) = (mac.given(), items.is_empty()) {
        let message = "with addresses of the host the MAC is the interface's";
        cx.error(at.node, message, "the host has no other: leave `mac` out");
    }
    let entries: Vec<_> = items.iter().map(|item| entry(cx, item, taken)).collect();
    Some(HostShare {
        entries: super::all(entries).filter(|_| written.addresses.whole())?,
        lacp: written.lacp.or(false)?,
        lldp: written.lldp.or(false)?,
    })
}

fn entry(
    cx: &mut Context<'_>,
    written: &file::HostEntry,
    taken: &[(IpNetwork, NodeId)],
) -> Option<HostEntry> {
    let at = written.address.given();
    if let Some(at) = at {
        address(cx, at.value.0, at.node, taken);
    }
    let is_v4 = at.map(|at| at.value.0.is_ipv4());
    let matches = matches(cx, written, is_v4);
    let items = written.sources.items();
    cx.limit(items, limit::SOURCES_PER_HOST_ENTRY);
    for source in items {
        if is_v4.is_some_and(|is_v4| source.value.0.is_ipv4() != is_v4) {
            let message = format!("{} is not of the address's family", source.value.0);
            cx.error(source.node, message, "nothing from there comes to that address");
        }
    }
    Some(HostEntry {
        address: at?.value.0,
        matches: matches?,
        sources: items.iter().map(|at| at.value.0).collect(),
    })
    .filter(|_| written.sources.whole())
}

/// One machine's address, and nobody else's here.
fn address(cx: &mut Context<'_>, own: IpAddr, node: NodeId, taken: &[(IpNetwork, NodeId)]) {
    if let Some(reserved) = prefix::reserved(own.into()) {
        let message = format!("{own} is no address of a host: {reserved}");
        cx.error(node, message, "as 198.51.100.2");
    }
    if let Some((other, place)) = taken.iter().find(|(other, _)| other.contains(own)) {
        let message = format!("{own} is the host's, and {} is not", prefix::shown(*other));
        let help = format!("they overlap; see {}", cx.see(*place));
        cx.error(node, message, &help);
    }
}

fn matches(
    cx: &mut Context<'_>,
    written: &file::HostEntry,
    is_v4: Option<bool>,
) -> Option<HostMatch> {
    let ports = [("port", &written.port), ("source_port", &written.source_port)];
    let given = ports.map(|(name, field)| Some((name, field.given()?)));
    let first = given[0].or(given[1]);
    if let [Some(_), Some((_, second))] = given {
        let message = "an entry has a port or a source_port";
        cx.error(second.node, message, "write an entry for each");
        return None;
    }
    let Some(protocol) = written.protocol.optional()?.and_then(|protocol| protocol.number) else {
        if let Some((name, at)) = first {
            cx.error(at.node, format!("{name} needs a protocol"), "add protocol: tcp or udp");
        }
        let is_whole = ports.iter().all(|(_, field)| field.is_absent());
        return is_whole.then_some(HostMatch::Any);
    };
    let protocol = filter::icmp_of_family(protocol, is_v4?);
    let Some((name, at)) = first else {
        let is_whole = ports.iter().all(|(_, field)| field.is_absent());
        return is_whole.then_some(HostMatch::Protocol(protocol));
    };
    if !filter::has_ports(protocol) {
        let message = format!("protocol {protocol} has no ports");
        cx.error(at.node, message, "tcp, udp, sctp, dccp and udplite have");
        return None;
    }
    let port = at.value.0;
    if port == 0 {
        cx.error(at.node, "0 is not a port", "from 1 to 65535");
        return None;
    }
    Some(if name == "port" {
        HostMatch::To(protocol, port)
    } else {
        HostMatch::From(protocol, port)
    })
}
