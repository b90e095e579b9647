//! Security groups, as the rules of endpoints: which combinations there are, and who
//! is a member of what.

use dataplane_common::table::{
    LocationKey,
    policy::{ANY_PROTOCOL, MemberKey, Policy, Rule, family, flags, remote},
};

use super::{Builder, Kind, prefix, put};
use crate::model::{self, AddressGroupIx, Direction, Family, GroupIx, LineGroupIx, LineIx, Remote, TenantIx};

/// The address groups' prefixes.
pub(super) fn compile(b: &mut Builder<'_>) {
    for ix in b.site.address_group_ixs() {
        let set = address_set(b, ix);
        for &network in &b.site[ix].addresses {
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
    let names: Vec<_> = groups.iter().map(|&ix| b.site[ix].name.as_str()).collect();
    let owner = b.tenant(tenant);
    let name = format!("security groups {}/{{{}}}", b.site[tenant].name, names.join(", "));
    let id = b.numbering.number(Kind::Policy, &name);
    if b.image.policies.get(id as usize).is_some_and(|policy| policy.generation != 0) {
        return id;
    }
    let is_stateless = groups.iter().any(|&ix| !b.site[ix].stateful);
    let mut content = format!("{is_stateless}");
    let (egress_first, egress_count) = run(b, &groups, Direction::Egress, &mut content);
    let (ingress_first, ingress_count) = run(b, &groups, Direction::Ingress, &mut content);
    let generation = b.generation(Kind::Policy, id, owner, content);
    let policy = Policy {
        generation,
        flags: if is_stateless { flags::STATELESS } else { 0 },
        egress_first,
        egress_count,
        ingress_first,
        ingress_count,
    };
    put(&mut b.image.policies, id, policy);
    id
}

/// Writes the groups' rules of one direction in one run.
fn run(b: &mut Builder<'_>, groups: &[GroupIx], direction: Direction, content: &mut String) -> (u32, u32) {
    let first = b.image.rules.len() as u32;
    for &ix in groups {
        let group = &b.site[ix];
        for rule in group.rules.iter().filter(|rule| rule.direction == direction) {
            let name = format!("{}/{}/{}", b.site[group.tenant].name, group.name, rule.name);
            let id = b.numbering.number(Kind::Rule, &name);
            let record = record(b, rule, id, content);
            content.push_str(&format!("{direction:?}{record:?}"));
            b.image.rules.push(record);
        }
    }
    (first, b.image.rules.len() as u32 - first)
}

fn record(b: &mut Builder<'_>, rule: &model::Rule, id: u32, content: &mut String) -> Rule {
    let (low, high) = rule.ports.unwrap_or((0, u16::MAX));
    let mut record = Rule {
        id,
        protocol: rule.protocol.map_or(ANY_PROTOCOL, u16::from),
        family: if rule.family == Family::V4 { family::V4 } else { family::V6 },
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
            content.push_str(&format!("{:?}", b.site[ix].addresses));
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
    for ix in b.site.port_ixs() {
        let name = super::endpoint_name(b.site, ix);
        let endpoint = b.numbering.number(Kind::Endpoint, &name);
        for &group in &b.site[ix].security_groups {
            let set = group_set(b, group);
            b.image.members.insert(MemberKey { set, endpoint });
        }
    }
    for ix in b.site.line_ixs() {
        if b.site.session_of(ix).is_none() {
            continue;
        }
        let name = super::line_name(b.site, ix);
        let endpoint = b.numbering.number(Kind::Endpoint, &name);
        for set in line_sets(b, ix) {
            b.image.members.insert(MemberKey { set, endpoint });
        }
    }
}

/// The sets that a line is in: itself, its line groups, its security groups.
fn line_sets(b: &mut Builder<'_>, ix: LineIx) -> Vec<u32> {
    let mut sets = vec![line_set(b, ix)];
    for group in b.site.line_group_ixs() {
        if b.site[group].lines.contains(&ix) {
            sets.push(line_group_set(b, group));
        }
    }
    let groups = b.site[ix].security_groups.clone().unwrap_or_default();
    for group in groups {
        sets.push(group_set(b, group));
    }
    sets
}

/// A line's memberships as a part of what it looks like.
pub(super) fn memberships_of_line(b: &mut Builder<'_>, ix: LineIx) -> String {
    format!(" {:?}", line_sets(b, ix))
}

fn group_set(b: &mut Builder<'_>, ix: GroupIx) -> u32 {
    let group = &b.site[ix];
    let name = format!("security group {}/{}", b.site[group.tenant].name, group.name);
    b.numbering.number(Kind::Set, &name)
}

fn address_set(b: &mut Builder<'_>, ix: AddressGroupIx) -> u32 {
    let group = &b.site[ix];
    let name = format!("address group {}/{}", b.site[group.tenant].name, group.name);
    b.numbering.number(Kind::Set, &name)
}

fn line_set(b: &mut Builder<'_>, ix: LineIx) -> u32 {
    let name = super::line_name(b.site, ix);
    b.numbering.number(Kind::Set, &name)
}

fn line_group_set(b: &mut Builder<'_>, ix: LineGroupIx) -> u32 {
    let group = &b.site[ix];
    let name = format!("line group {}/{}", b.site[group.tenant].name, group.name);
    b.numbering.number(Kind::Set, &name)
}
