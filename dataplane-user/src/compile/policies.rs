//! Security groups, as the rules of endpoints: which combinations there are, and who
//! is a member of what.

use std::fmt::Write as _;
use std::net::IpAddr;

use dataplane_common::table::{
    LocationKey,
    policy::{ANY_PROTOCOL, MemberKey, Rule, family, flags, remote, rule_flags},
};

use super::{Builder, Kind, prefix, put};
use crate::model::{
    self, AddressGroupIx, Direction, Ethertype, Group, GroupIx, HostMatch, HostShare, LineGroupIx,
    LineIx, Match, Remote, Site, TenantIx,
};
use crate::protocol;
use crate::tables::Policy;

/// The address groups' prefixes.
pub(super) fn address_groups(b: &mut Builder<'_>) {
    let site = b.site;
    for (ix, group) in site.address_groups.iter() {
        let set = address_set(b, ix);
        for &network in &group.prefixes {
            let (addr, bits) = prefix(network);
            b.image.group_prefixes.push((LocationKey { addr, zone: set, zero: 0 }, bits));
        }
    }
}

/// The policy of an endpoint with these groups: endpoints with the same groups
/// share one. No group at all is a policy as well: it permits nothing.
pub(super) fn of(b: &mut Builder<'_>, tenant: TenantIx, groups: &[GroupIx]) -> u32 {
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups.dedup();
    let names: Vec<_> = groups.iter().map(|&ix| b.site.groups[ix].name.as_str()).collect();
    let owner = b.tenant(tenant);
    let name = format!("security groups {}/{{{}}}", b.site.tenants[tenant].name, names.join(", "));
    let id = b.numbering.number(Kind::Policy, &name);
    if b.image.policies.get(id as usize).is_some_and(|policy| policy.generation != 0) {
        return id;
    }
    let is_stateless = groups.iter().any(|&ix| !b.site.groups[ix].stateful);
    let mut content = format!("{is_stateless}");
    let (egress_first, egress_count) = run(b, &groups, Direction::Egress, &mut content);
    let (ingress_first, ingress_count) = run(b, &groups, Direction::Ingress, &mut content);
    let generation = b.generation(Kind::Policy, id, owner, &content);
    let policy = Policy {
        generation,
        flags: if is_stateless { flags::STATELESS } else { 0 },
        egress_first,
        egress_count,
        ingress_first,
        ingress_count,
        is_host: false,
    };
    put(&mut b.image.policies, id, policy);
    id
}

/// What may come to an address of the host's. Nothing is counted by these rules.
pub(super) fn of_host(b: &mut Builder<'_>, name: &str, address: IpAddr, host: &HostShare) -> u32 {
    let id = b.numbering.number(Kind::Policy, name);
    let ingress_first = b.image.rules.len() as u32;
    for entry in host.entries.iter().filter(|entry| entry.address == address) {
        let (protocol, port, flags) = match entry.matches {
            HostMatch::Any => (ANY_PROTOCOL, None, 0),
            HostMatch::Protocol(protocol) => (protocol.into(), None, 0),
            HostMatch::To(protocol, port) => (protocol.into(), Some(port), 0),
            HostMatch::From(protocol, port) => (protocol.into(), Some(port), rule_flags::ANSWERS),
        };
        let rule = Rule {
            protocol,
            family: if address.is_ipv4() { family::V4 } else { family::V6 },
            low: port.unwrap_or(0),
            high: port.unwrap_or(u16::MAX),
            flags,
            ..Rule::default()
        };
        if entry.sources.is_empty() {
            b.image.rules.push(rule);
        }
        for &source in &entry.sources {
            let (prefix, bits) = prefix(source);
            let prefix_bits = u32::from(bits);
            b.image.rules.push(Rule { remote: remote::PREFIX, prefix, prefix_bits, ..rule });
        }
    }
    let ingress_count = b.image.rules.len() as u32 - ingress_first;
    let generation = b.generation(Kind::Policy, id, 0, &format!("{:?}", host.entries));
    let policy =
        Policy { generation, ingress_first, ingress_count, is_host: true, ..Policy::default() };
    put(&mut b.image.policies, id, policy);
    id
}

/// Writes the groups' rules of one direction in one run.
fn run(
    b: &mut Builder<'_>,
    groups: &[GroupIx],
    direction: Direction,
    content: &mut String,
) -> (u32, u32) {
    let site = b.site;
    let first = b.image.rules.len() as u32;
    for &ix in groups {
        let group = &site.groups[ix];
        for rule in group.rules.iter().filter(|rule| rule.direction == direction) {
            let name = rule_name(b.site, group, rule);
            let id = b.numbering.number(Kind::Rule, &name);
            let record = record(b, rule, id, content);
            says(content, direction, &record);
            b.image.rules.push(record);
        }
    }
    (first, b.image.rules.len() as u32 - first)
}

/// Writes all that a rule says: there may be 100,000 of them, so in few words.
fn says(content: &mut String, direction: Direction, rule: &Rule) {
    let Rule { id, protocol, family, remote, low, high, set, prefix, prefix_bits, flags, zero: _ } =
        *rule;
    let direction = match direction {
        Direction::Ingress => 'i',
        Direction::Egress => 'e',
    };
    let [first, second] = prefix.words();
    // Memory takes whatever is written.
    let _ = write!(
        content,
        "{direction}{id} {protocol} {family} {remote} {low} {high} {set} {first:x} {second:x} \
         {prefix_bits} {flags},"
    );
}

/// A rule is known by its id or, without one, by what it says: so its counters
/// survive changes of its neighbours.
#[must_use]
pub fn rule_name(site: &Site, group: &Group, rule: &model::Rule) -> String {
    let says = match &rule.id {
        Some(id) => id.to_string(),
        None => describe(site, rule),
    };
    format!("{}/{}/{says}", site.tenants[group.tenant].name, group.name)
}

/// What a rule says, in short.
fn describe(site: &Site, rule: &model::Rule) -> String {
    let direction = match rule.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let family = match rule.ethertype {
        Ethertype::Ipv4 => "ipv4",
        Ethertype::Ipv6 => "ipv6",
    };
    let matches = match rule.matches {
        Match::Any => "any".to_owned(),
        Match::Protocol(protocol) => protocol::name(protocol),
        Match::Ports { protocol, min, max } if min == max => {
            format!("{} {min}", protocol::name(protocol))
        }
        Match::Ports { protocol, min, max } => {
            format!("{} {min}-{max}", protocol::name(protocol))
        }
        Match::Icmp { kind, code: None } => format!("icmp type {kind}"),
        Match::Icmp { kind, code: Some(code) } => format!("icmp type {kind} code {code}"),
    };
    let remote = match rule.remote {
        Remote::Any => String::new(),
        Remote::Prefix(prefix) => format!(" {prefix}"),
        Remote::Group(ix) => format!(" group {}", site.groups[ix].name),
        Remote::AddressGroup(ix) => format!(" addresses {}", site.address_groups[ix].name),
        Remote::Line(ix) => format!(" line {}", site.lines[ix].number),
        Remote::LineGroup(ix) => format!(" lines {}", site.line_groups[ix].name),
    };
    format!("{direction} {family} {matches}{remote}")
}

fn record(b: &mut Builder<'_>, rule: &model::Rule, id: u32, content: &mut String) -> Rule {
    let (protocol, low, high) = match (rule.matches, rule.ethertype) {
        (Match::Any, _) => (ANY_PROTOCOL, 0, u16::MAX),
        (Match::Protocol(protocol), _) => (u16::from(protocol), 0, u16::MAX),
        (Match::Ports { protocol, min, max }, _) => (u16::from(protocol), min, max),
        (Match::Icmp { kind, code }, ethertype) => {
            let protocol = if ethertype == Ethertype::Ipv4 { 1 } else { 58 };
            let (low, high) = code.map_or((0, 0xff), |code| (code, code));
            (protocol, u16::from_be_bytes([kind, low]), u16::from_be_bytes([kind, high]))
        }
    };
    let mut record = Rule {
        id,
        protocol,
        family: if rule.ethertype == Ethertype::Ipv4 { family::V4 } else { family::V6 },
        remote: remote::ANY,
        low,
        high,
        ..Rule::default()
    };
    match rule.remote {
        Remote::Any => {}
        Remote::Prefix(network) => {
            let (addr, bits) = prefix(network);
            record.remote = remote::PREFIX;
            record.prefix = addr;
            record.prefix_bits = u32::from(bits);
        }
        Remote::Group(ix) => {
            record.remote = remote::MEMBERS;
            record.set = group_set(b, ix);
        }
        Remote::AddressGroup(ix) => {
            record.remote = remote::ADDRESSES;
            record.set = address_set(b, ix);
            // A changed address group is a changed rule to everybody who has it.
            content.push_str(&format!("{:?}", b.site.address_groups[ix].prefixes));
        }
        Remote::Line(ix) => {
            record.remote = remote::LINES;
            record.set = line_set(b, ix);
        }
        Remote::LineGroup(ix) => {
            record.remote = remote::LINES;
            record.set = line_group_set(b, ix);
        }
    }
    record
}

/// Who is in which group: data beside the rules, so that a member comes and goes
/// without a rule being touched.
pub(super) fn members(b: &mut Builder<'_>) {
    let site = b.site;
    for (ix, group) in site.groups.iter() {
        let set = group_set(b, ix);
        for &port in &group.ports {
            let name = b.port_name(port);
            let endpoint = b.numbering.number(Kind::Endpoint, &name);
            b.image.members.insert(MemberKey { set, endpoint });
        }
    }
    for session in &site.sessions {
        let name = b.line_name(session.line);
        let endpoint = b.numbering.number(Kind::Endpoint, &name);
        for set in sets_of_line(b, session.line) {
            b.image.members.insert(MemberKey { set, endpoint });
        }
    }
}

/// The sets that a line is in: itself and its line groups.
pub(super) fn sets_of_line(b: &mut Builder<'_>, ix: LineIx) -> Vec<u32> {
    let site = b.site;
    let mut sets = vec![line_set(b, ix)];
    for (group, of) in site.line_groups.iter() {
        if of.lines.binary_search(&ix).is_ok() {
            sets.push(line_group_set(b, group));
        }
    }
    sets
}

/// The sets of these security groups.
pub(super) fn sets_of_groups(b: &mut Builder<'_>, groups: &[GroupIx]) -> Vec<u32> {
    groups.iter().map(|&group| group_set(b, group)).collect()
}

fn group_set(b: &mut Builder<'_>, ix: GroupIx) -> u32 {
    let group = &b.site.groups[ix];
    let name = format!("security group {}/{}", b.site.tenants[group.tenant].name, group.name);
    b.numbering.number(Kind::Set, &name)
}

fn address_set(b: &mut Builder<'_>, ix: AddressGroupIx) -> u32 {
    let group = &b.site.address_groups[ix];
    let name = format!("address group {}/{}", b.site.tenants[group.tenant].name, group.name);
    b.numbering.number(Kind::Set, &name)
}

fn line_set(b: &mut Builder<'_>, ix: LineIx) -> u32 {
    let name = b.line_name(ix);
    b.numbering.number(Kind::Set, &name)
}

fn line_group_set(b: &mut Builder<'_>, ix: LineGroupIx) -> u32 {
    let group = &b.site.line_groups[ix];
    let name = format!("line group {}/{}", b.site.tenants[group.tenant].name, group.name);
    b.numbering.number(Kind::Set, &name)
}
