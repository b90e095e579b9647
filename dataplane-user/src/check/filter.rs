//! Is each rule one that Neutron would take, and whom does it admit?

use std::collections::HashMap;

use super::names::Within;
use super::{Context, Lists, Names, limit};
use crate::config::file::{self, Rule as Written};
use crate::config::tree::NodeId;
use crate::config::{At, Block, Field, Protocol};
use crate::model::{AddressGroup, Direction, Ethertype, Group, GroupIx, Ix, Match, Remote, Rule};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// TCP, UDP, SCTP, DCCP, UDP-Lite.
const WITH_PORTS: &[u8] = &[6, 17, 132, 33, 136];

pub(super) fn groups(cx: &mut Context<'_>, lists: &Lists<'_>, names: &Names) -> Vec<Option<Group>> {
    let mut groups = Vec::new();
    for (position, (tenant, group)) in lists.groups.iter().enumerate() {
        let Some(group) = group else {
            groups.push(Some(Group {
                tenant: *tenant,
                name: crate::model::Name::default_group(),
                stateful: true,
                rules: default_rules(GroupIx::new(position)),
                ports: Vec::new(),
            }));
            continue;
        };
        cx.limit(group.rules.items(), limit::RULES_PER_POLICY);
        let mut contents = HashMap::new();
        let mut ids = HashMap::new();
        let mut rules = Vec::new();
        for item in group.rules.items() {
            let rule = rule(cx, names.of(*tenant), item);
            if let Some(rule) = &rule {
                let content = (rule.direction, rule.ethertype, rule.matches, rule.remote);
                if let Some(first) = contents.insert(content, item.node) {
                    let help = format!("the first is {}", cx.see(first));
                    cx.error(item.node, "the same rule stands in the group already", &help);
                }
            }
            if let Some(id) = item.id.given()
                && let Some(first) = ids.insert(&id.value, id.node)
            {
                let help = format!("the first is {}", cx.see(first));
                cx.error(id.node, format!("another rule has the id `{}`", id.value), &help);
            }
            rules.push(rule);
        }
        let made = || {
            Some(Group {
                tenant: *tenant,
                name: group.name.value()?,
                stateful: group.stateful.or(true)?,
                rules: super::all(rules)?,
                ports: Vec::new(),
            })
        };
        groups.push(made());
    }
    groups
}

/// Neutron's template: all egress, and ingress from the group itself.
fn default_rules(own: GroupIx) -> Vec<Rule> {
    let rule = |direction, ethertype, remote| Rule {
        id: None,
        direction,
        ethertype,
        matches: Match::Any,
        remote,
    };
    vec![
        rule(Direction::Egress, Ethertype::Ipv4, Remote::Any),
        rule(Direction::Egress, Ethertype::Ipv6, Remote::Any),
        rule(Direction::Ingress, Ethertype::Ipv4, Remote::Group(own)),
        rule(Direction::Ingress, Ethertype::Ipv6, Remote::Group(own)),
    ]
}

fn rule(cx: &mut Context<'_>, names: &Within, written: &Written) -> Option<Rule> {
    let ethertype = written.ethertype.or(Ethertype::Ipv4);
    // Both are tried, so that both can be reported.
    let matches = matches(cx, written, ethertype);
    let remote = remote(cx, names, written, ethertype);
    Some(Rule {
        id: written.id.optional()?,
        direction: written.direction.value()?,
        ethertype: ethertype?,
        matches: matches?,
        remote: remote?,
    })
}

fn matches(cx: &mut Context<'_>, rule: &Written, ethertype: Option<Ethertype>) -> Option<Match> {
    let (protocol, good) = protocol(cx, rule, ethertype);
    let matches = match protocol {
        None => {
            unknown_match(cx, rule);
            None
        }
        Some(Some(number)) if is_icmp(number, ethertype) => icmp_match(cx, rule, number),
        Some(number) => {
            for (name, at) in icmp_fields(rule) {
                let message = format!("{name} needs protocol icmp");
                cx.error(at, message, "or ipv6-icmp with ethertype IPv6");
            }
            ports_match(cx, rule, number)
        }
    };
    matches.filter(|_| good)
}

fn is_icmp(protocol: u8, ethertype: Option<Ethertype>) -> bool {
    match ethertype {
        Some(Ethertype::Ipv4) => protocol == ICMP,
        Some(Ethertype::Ipv6) => protocol == ICMPV6,
        None => protocol == ICMP || protocol == ICMPV6,
    }
}

/// The fields that only ICMP has, as far as they were written.
fn icmp_fields(rule: &Written) -> impl Iterator<Item = (&'static str, NodeId)> {
    let fields = [("icmp_type", &rule.icmp_type), ("icmp_code", &rule.icmp_code)];
    fields.into_iter().filter_map(|(name, field)| Some((name, field.given()?.node)))
}

/// The protocol's number, or the one that was meant, for what else is wrong with the rule;
/// and whether it is good.
fn protocol(
    cx: &mut Context<'_>,
    rule: &Written,
    ethertype: Option<Ethertype>,
) -> (Option<Option<u8>>, bool) {
    let Some(protocol) = rule.protocol.optional() else {
        let meant = cx.tree.word(rule.node, "protocol").and_then(Protocol::meant);
        return (meant.map(|meant| meant.number.map(|number| icmp_of(number, ethertype))), false);
    };
    let Some(Protocol { number: Some(number), ipv6_name }) = protocol else {
        return (Some(None), true);
    };
    if ipv6_name && ethertype == Some(Ethertype::Ipv4) {
        if let Some(at) = rule.protocol.given() {
            cx.error(at.node, "only IPv6 has this protocol", "write ethertype: IPv6");
        }
        return (Some(Some(icmp_of(number, ethertype))), false);
    }
    // Neutron folds ICMP's number into ICMPv6's in an IPv6 rule, and not the other way.
    let number = if number == ICMP { icmp_of(number, ethertype) } else { number };
    (Some(Some(number)), true)
}

/// The same protocol for an address of this family.
pub(super) fn icmp_of_family(protocol: u8, is_v4: bool) -> u8 {
    icmp_of(protocol, Some(if is_v4 { Ethertype::Ipv4 } else { Ethertype::Ipv6 }))
}

/// Have its packets ports?
pub(super) fn has_ports(protocol: u8) -> bool {
    WITH_PORTS.contains(&protocol)
}

/// The ICMP of the family instead of the other one.
fn icmp_of(protocol: u8, ethertype: Option<Ethertype>) -> u8 {
    match (protocol, ethertype) {
        (ICMP | ICMPV6, Some(Ethertype::Ipv4)) => ICMP,
        (ICMP | ICMPV6, Some(Ethertype::Ipv6)) => ICMPV6,
        (other, _) => other,
    }
}

/// Nobody knows the protocol, but none has both.
fn unknown_match(cx: &mut Context<'_>, rule: &Written) {
    let ports = rule.port_range_min.given().or(rule.port_range_max.given());
    if let (Some((name, at)), Some(_)) = (icmp_fields(rule).next(), ports) {
        let message = format!("no protocol has both {name} and a range of ports");
        cx.error(at, message, "icmp_type and icmp_code are icmp's, ports tcp's and udp's");
    }
}

fn icmp_match(cx: &mut Context<'_>, rule: &Written, protocol: u8) -> Option<Match> {
    let kind = icmp_number(cx, &rule.icmp_type, &rule.port_range_min, "icmp_type");
    let code = icmp_number(cx, &rule.icmp_code, &rule.port_range_max, "icmp_code");
    match (kind?, code?) {
        (Some((kind, _)), code) => Some(Match::Icmp { kind, code: code.map(|(code, _)| code) }),
        (None, None) => Some(Match::Protocol(protocol)),
        (None, Some((_, at))) => {
            cx.error(at, "an ICMP code needs a type", "add icmp_type");
            None
        }
    }
}

/// A type or code, which Neutron writes into the port range.
fn icmp_number(
    cx: &mut Context<'_>,
    clear: &Field<At<file::IcmpNumber>>,
    neutron: &Field<At<file::PortNumber>>,
    name: &str,
) -> Option<Option<(u8, NodeId)>> {
    if let (Some(_), Some(at)) = (clear.given(), neutron.given()) {
        cx.error(at.node, format!("{name} says the same"), "leave out one of the two");
        return None;
    }
    let (value, node) = match (clear.optional()?, neutron.optional()?) {
        (Some(value), _) => (value.0, clear.given()?.node),
        (None, Some(value)) => (value.0, neutron.given()?.node),
        (None, None) => return Some(None),
    };
    let Ok(value) = u8::try_from(value) else {
        cx.error(node, format!("{value} is no ICMP type or code"), "from 0 to 255");
        return None;
    };
    Some(Some((value, node)))
}

fn ports_match(cx: &mut Context<'_>, rule: &Written, protocol: Option<u8>) -> Option<Match> {
    let (min, max) = (&rule.port_range_min, &rule.port_range_max);
    let Some(first) = min.given().or(max.given()) else {
        let whole = !min.is_broken() && !max.is_broken();
        return whole.then(|| protocol.map_or(Match::Any, Match::Protocol));
    };
    if let Some(protocol) = protocol.filter(|protocol| !WITH_PORTS.contains(protocol)) {
        let message = format!("protocol {protocol} has no ports");
        cx.error(first.node, message, "tcp, udp, sctp, dccp and udplite have");
        return None;
    }
    if protocol.is_none() {
        cx.error(first.node, "ports need a protocol", "add protocol: tcp or udp");
    }
    if min.is_absent() || max.is_absent() {
        let message = "port_range_min and port_range_max belong together";
        cx.error(first.node, message, "for one port give it twice");
        return None;
    }
    let (Some(min), Some(max)) = (min.value(), max.value()) else {
        // The other is wrong itself.
        if first.value.0 == 0 {
            cx.error(first.node, "0 is not a port", "from 1 to 65535");
        }
        return None;
    };
    let (min, max) = (min.0, max.0);
    if min == 0 || min > max {
        let message = format!("{min} to {max} is not a range of ports");
        cx.error(first.node, message, "from 1 to 65535, the lowest first");
        return None;
    }
    let protocol = protocol?;
    Some(match (min, max) {
        (1, u16::MAX) => Match::Protocol(protocol),
        _ => Match::Ports { protocol, min, max },
    })
}

fn remote(
    cx: &mut Context<'_>,
    names: &Within,
    rule: &Written,
    ethertype: Option<Ethertype>,
) -> Option<Remote> {
    let mut given = Vec::new();
    // All are looked up, so that every unknown name is reported.
    if !rule.remote_ip_prefix.is_absent() {
        let at = rule.remote_ip_prefix.given();
        given.push(("remote_ip_prefix", at.and_then(|at| remote_prefix(cx, at, ethertype))));
    }
    if !rule.remote_group.is_absent() {
        let group = rule.remote_group.given().and_then(|at| names.groups.find(cx, at));
        given.push(("remote_group", group.map(Remote::Group)));
    }
    if !rule.remote_address_group.is_absent() {
        let at = rule.remote_address_group.given();
        let group = at.and_then(|at| names.address_groups.find(cx, at));
        given.push(("remote_address_group", group.map(Remote::AddressGroup)));
    }
    if !rule.remote_line.is_absent() {
        let line = rule.remote_line.given().and_then(|at| names.line(cx, at));
        given.push(("remote_line", line.map(Remote::Line)));
    }
    if !rule.remote_line_group.is_absent() {
        let group = rule.remote_line_group.given().and_then(|at| names.line_groups.find(cx, at));
        given.push(("remote_line_group", group.map(Remote::LineGroup)));
    }
    match given.as_slice() {
        [] => Some(Remote::Any),
        [(_, remote)] => *remote,
        several => {
            let fields: Vec<_> = several.iter().map(|(field, _)| *field).collect();
            let message = format!("a rule has one remote, this one has {}", fields.join(", "));
            cx.error(rule.node, message, "write a rule for each");
            None
        }
    }
}

fn remote_prefix(
    cx: &mut Context<'_>,
    at: &At<Block>,
    ethertype: Option<Ethertype>,
) -> Option<Remote> {
    let prefix = at.value.0;
    if prefix.is_ipv4() != (ethertype? == Ethertype::Ipv4) {
        let other = if prefix.is_ipv4() { "IPv4" } else { "IPv6" };
        let message = format!("{prefix} is not of the rule's ethertype");
        cx.error(at.node, message, &format!("write ethertype: {other}"));
        return None;
    }
    Some(if prefix.prefix() == 0 { Remote::Any } else { Remote::Prefix(prefix) })
}

pub(super) fn address_groups(cx: &mut Context<'_>, lists: &Lists<'_>) -> Vec<Option<AddressGroup>> {
    let mut groups = Vec::new();
    for (tenant, group) in &lists.address_groups {
        let items = group.addresses.items();
        cx.limit(items, limit::PREFIXES_PER_ADDRESS_GROUP);
        let mut prefixes: Vec<_> = items.iter().map(|at| at.value.0).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let name = group.name.value();
        groups.push(name.map(|name| AddressGroup { tenant: *tenant, name, prefixes }));
    }
    groups
}

/// The groups of a port or line, and whether they are stateful.
pub(super) fn membership(
    cx: &mut Context<'_>,
    lists: &Lists<'_>,
    names: &Within,
    written: &[At<crate::model::Name>],
) -> Option<(Vec<GroupIx>, bool)> {
    cx.limit(written, limit::GROUPS_PER_PORT);
    let mut seen = HashMap::new();
    let mut found = Vec::new();
    let mut rules = 0;
    let mut first: Option<(bool, NodeId)> = None;
    for at in written {
        let group = names.groups.find(cx, at);
        found.push(group);
        let Some(ix) = group else { continue };
        if let Some(other) = seen.insert(ix, at.node) {
            let help = format!("see {}", cx.see(other));
            cx.error(at.node, format!("the group `{}` is given twice", at.value), &help);
            continue;
        }
        let group = lists.groups[ix.position()].1;
        let (count, stateful) = match group {
            Some(group) => (group.rules.items().len(), group.stateful.or(true)),
            None => (default_rules(ix).len(), Some(true)),
        };
        let limit = limit::RULES_PER_POLICY;
        // A group that has too many by itself has been reported there.
        let count = if count > limit.max { 0 } else { count };
        if rules <= limit.max && rules + count > limit.max {
            let message = format!("the groups up to here have {} rules", rules + count);
            cx.error(at.node, message, &format!("at most {} ({})", limit.max, limit.name));
        }
        rules += count;
        let Some(stateful) = stateful else { continue };
        match first {
            Some((other, place)) if other != stateful => {
                let help = format!("see {}", cx.see(place));
                let message = "stateful and stateless groups must not be mixed";
                cx.error(at.node, message, &help);
            }
            Some(_) => {}
            None => first = Some((stateful, at.node)),
        }
    }
    let mut groups: Vec<_> = super::all(found)?;
    groups.sort_unstable();
    groups.dedup();
    Some((groups, first.is_none_or(|(stateful, _)| stateful)))
}
