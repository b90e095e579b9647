//! Which lines may come in, whose are they, and which addresses have they?

use std::collections::{BTreeMap, HashMap, HashSet};

use ipnetwork::IpNetwork;

use super::attachment::{Attachments, Tags};
use super::names::{self, Within};
use super::network::Segment;
use super::router::Legs;
use super::uplink::Outside;
use super::{Context, Lists, Names, filter, host, limit, link, prefix};
use crate::config::file::{self, File, Numbers};
use crate::config::tree::NodeId;
use crate::config::{At, Prefix};
use crate::model::{
    Access, AccessIx, Destination, Entitlement, Imsi, Ix, Line, LineGroup, LineIx, LineState, Name,
    Number, NumberRange, Owner, RouterIx, TenantIx,
};

/// An access, as far as it could be made out.
pub(super) struct Gate {
    pub pools: Vec<(IpNetwork, NodeId)>,
    /// False: nobody knows which addresses are inside.
    pub whole: bool,
    pub access: Option<Access>,
}

pub(super) fn accesses(
    cx: &mut Context<'_>,
    file: &File,
    attachments: &mut Attachments,
) -> Vec<Gate> {
    let mut gates = Vec::new();
    for (position, access) in file.accesses.items().iter().enumerate() {
        let owner = Some(Owner::Access(AccessIx::new(position)));
        let tags = Tags { vlan: &access.vlan, service_vlan: &access.service_vlan };
        let attachment = attachments.claim(cx, &access.interface, tags, &access.hook, owner);
        let addresses = link::addresses(cx, access.node, &access.addresses);
        let own = addresses.clone().unwrap_or_default();
        let hop = access.next_hop.given();
        let next_hop = hop.and_then(|hop| link::neighbour(cx, &own, &access.mac, hop));
        let items = access.pools.items();
        cx.limit(items, limit::POOLS_PER_ACCESS);
        if access.pools.is_empty() {
            cx.error(access.node, "pools is empty", "lines have their addresses from there");
        }
        let mut pools = Vec::new();
        for at in items {
            let pool = at.value.0;
            if let Some(reserved) = prefix::reserved_in(pool) {
                let message = format!("{pool} cannot be a pool: {reserved}");
                cx.error(at.node, message, "a prefix of unicast addresses, as 100.64.0.0/16");
            } else {
                pools.push((pool, at.node));
            }
        }
        let whole = access.pools.whole() && pools.len() == items.len();
        for (later, first) in prefix::overlaps(&pools) {
            let help = format!("it overlaps {}", cx.see(first));
            cx.error(later, "the pools of an access must not overlap", &help);
        }
        link::clear_of_link(cx, &pools, &own, hop.as_slice());
        let hop_at = hop.and_then(|hop| hop.address.given());
        let hop_at = hop_at.map(|at| (IpNetwork::from(at.value.0), at.node));
        let taken: Vec<_> = pools.iter().copied().chain(hop_at).collect();
        let share = host::share(cx, &access.host, &access.mac, &taken);
        let made = || {
            Some(Access {
                name: access.name.value()?,
                attachment: attachment?,
                mac: access.mac.optional()?,
                addresses: addresses?,
                next_hop: next_hop?,
                host: share?,
                pools: pools.iter().map(|(pool, _)| *pool).collect(),
            })
        };
        let access = made().filter(|_| whole);
        gates.push(Gate { access, whole, pools });
    }
    gates
}

/// Who may register what.
pub(super) struct Entitled {
    pub list: Vec<Option<Entitlement>>,
    /// By access, in order; they do not overlap.
    ranges: HashMap<AccessIx, Vec<(NumberRange, TenantIx, NodeId)>>,
    /// False: an entitlement is wrong, so a line without one may be right.
    whole: bool,
}

pub(super) fn entitlements(cx: &mut Context<'_>, file: &File, names: &Names) -> Entitled {
    let mut entitled =
        Entitled { list: Vec::new(), ranges: HashMap::new(), whole: file.entitlements.whole() };
    for item in file.entitlements.items() {
        let tenant = item.tenant.given().and_then(|at| names.tenants.find(cx, at));
        let access = item.access.given().and_then(|at| names.accesses.find(cx, at));
        let written = item.numbers.items();
        let read: Vec<_> = written.iter().map(|numbers| range(cx, numbers)).collect();
        if let (Some(tenant), Some(access)) = (tenant, access) {
            let ranges = entitled.ranges.entry(access).or_default();
            let read = read.iter().flatten();
            ranges.extend(read.map(|(range, at)| (*range, tenant, *at)));
        }
        let made = || {
            let numbers: Vec<_> = super::all(read)?;
            let numbers = numbers.into_iter().map(|(range, _)| range).collect();
            Some(Entitlement { tenant: tenant?, access: access?, numbers })
        };
        let made = made().filter(|_| item.numbers.whole());
        entitled.whole &= made.is_some();
        entitled.list.push(made);
    }
    for ranges in entitled.ranges.values_mut() {
        ranges.sort_by_key(|(range, _, at)| (range.from, *at));
        let mut highest: Option<(Number, NodeId)> = None;
        for (range, _, at) in ranges.iter() {
            if let Some((_, other)) = highest.filter(|(to, _)| *to >= range.from) {
                let (later, first) = ((*at).max(other), (*at).min(other));
                let help = format!("see {}", cx.see(first));
                let message = "a number is entitled to one tenant, and here is an overlap";
                cx.error(later, message, &help);
            }
            if highest.is_none_or(|(to, _)| to < range.to) {
                highest = Some((range.to, *at));
            }
        }
    }
    entitled
}

fn range(cx: &mut Context<'_>, written: &Numbers) -> Option<(NumberRange, NodeId)> {
    let (node, from, to) = match written {
        Numbers::Word(At { value, node }) => {
            let from = cx.number_of(&value.from, *node);
            let to = match &value.to {
                Some(to) => cx.number_of(to, *node),
                None => from,
            };
            (*node, from, to)
        }
        Numbers::Range(range) => {
            let from = range.from.given().and_then(|at| cx.number(at));
            (range.node, from, range.to.given().and_then(|at| cx.number(at)))
        }
    };
    let (from, to) = (from?, to?);
    if from > to || from.digits().ilog10() != to.digits().ilog10() {
        let message = format!("{from} to {to} is not a range of numbers");
        cx.error(node, message, "as many digits in both, the lowest first");
        return None;
    }
    Some((NumberRange { from, to }, node))
}

impl Entitled {
    /// The tenant that may register a number, and where that stands.
    fn tenant(&self, access: AccessIx, number: Number) -> Option<(TenantIx, NodeId)> {
        let ranges = self.ranges.get(&access)?;
        let after = ranges.partition_point(|(range, ..)| range.from <= number);
        let (range, tenant, at) = ranges.get(after.checked_sub(1)?)?;
        (number <= range.to).then_some((*tenant, *at))
    }
}

/// The lines, as far as they could be made out.
pub(super) struct Registry {
    pub lines: Vec<Option<Line>>,
    pub known: HashMap<(AccessIx, Number), (LineIx, NodeId)>,
    /// False: a number or an access is wrong, so nobody knows who is unknown.
    pub whole: bool,
    /// Fixed addresses by line; `None`: any of the pools.
    pub fixed: Vec<Option<Vec<IpNetwork>>>,
    /// The same by access, in order, with the line and where it stands.
    pub kept: HashMap<AccessIx, Vec<(IpNetwork, LineIx, NodeId)>>,
    /// Which tenants' lines come in where.
    comers: Vec<(AccessIx, TenantIx)>,
}

/// What a line may name.
pub(super) struct Around<'a> {
    pub names: &'a Names,
    pub legs: &'a Legs,
    pub gates: &'a [Gate],
    pub uplinks: &'a [Outside],
    pub entitled: &'a Entitled,
}

pub(super) fn lines(cx: &mut Context<'_>, lists: &Lists<'_>, around: &Around<'_>) -> Registry {
    let mut registry = Registry {
        lines: Vec::new(),
        known: HashMap::new(),
        whole: true,
        fixed: Vec::new(),
        kept: HashMap::new(),
        comers: Vec::new(),
    };
    let mut entrances: HashMap<RouterIx, BTreeMap<AccessIx, NodeId>> = HashMap::new();
    let mut sims: HashMap<(AccessIx, Imsi), NodeId> = HashMap::new();
    for (position, (tenant, line)) in lists.lines.iter().enumerate() {
        let within = around.names.of(*tenant);
        let number = lists.numbers[position];
        let access = line.access.given().and_then(|at| around.names.accesses.find(cx, at));
        if let Some(at) = line.name.given()
            && !names::is_name_of_line(at.value.as_str())
        {
            let message = format!("`{}` would be taken for a telephone number", at.value);
            cx.error(at.node, message, "a line's name has a letter");
        }
        if let (Some(number), Some(access), Some(at)) = (number, access, line.number.given()) {
            let new = (LineIx::new(position), at.node);
            let (_, first) = *registry.known.entry((access, number)).or_insert(new);
            if first != at.node {
                let message = format!("{number} is registered on this access already");
                let help = format!("see {}", cx.see(first));
                cx.error(at.node, message, &help);
            }
            entitlement(cx, lists, around, *tenant, access, number, at.node);
        } else {
            registry.whole = false;
        }
        if let (Some(access), Some(at)) = (access, line.imsi.given())
            && let Some(first) = sims.insert((access, at.value.clone()), at.node)
        {
            let message = "another line of the access has this IMSI";
            let help = format!("an IMSI is one SIM's; see {}", cx.see(first));
            cx.error(at.node, message, &help);
        }
        registry.comers.extend(access.map(|access| (access, *tenant)));
        let destination = destination(cx, around, within, line, access);
        if let (
            Some(Destination::Router(router) | Destination::Network { router, .. }),
            Some(access),
            Some(at),
        ) = (destination, access, line.access.given())
        {
            entrances.entry(router).or_default().entry(access).or_insert(at.node);
        }
        let items = line.fixed_ips.items();
        let fixed = addresses(cx, access.map(|ix| &around.gates[ix.position()]), items);
        if let Some(access) = access {
            let own = items.iter().map(|at| (at.value.0, LineIx::new(position), at.node));
            registry.kept.entry(access).or_default().extend(own);
        }
        registry.fixed.push(Some(fixed.clone()).filter(|_| !line.fixed_ips.is_absent()));
        let groups = match line.security_groups.is_absent() {
            true => Some(None),
            false => filter::membership(cx, lists, within, line.security_groups.items())
                .map(|(groups, _)| Some(groups)),
        };
        let made = || {
            Some(Line {
                tenant: *tenant,
                number: number?,
                name: line.name.optional()?,
                access: access?,
                imsi: line.imsi.optional()?,
                state: line.state.or(LineState::Active)?,
                destination: destination?,
                fixed_ips: fixed,
                groups: groups?,
            })
        };
        registry.lines.push(made());
    }
    for kept in registry.kept.values_mut() {
        kept.sort_unstable();
        let list: Vec<_> = kept.iter().map(|(address, _, at)| (*address, *at)).collect();
        for (later, first) in prefix::overlaps(&list) {
            let help = format!("see {}", cx.see(first));
            cx.error(later, "another line of the access has this address", &help);
        }
    }
    for accesses in entrances.values() {
        entrances_apart(cx, around.gates, accesses);
    }
    registry
}

/// Refuses lines that come to one router by accesses whose pools overlap: it would find only
/// those of one access.
fn entrances_apart(cx: &mut Context<'_>, gates: &[Gate], accesses: &BTreeMap<AccessIx, NodeId>) {
    let mut pools = Vec::new();
    for (access, line) in accesses {
        let own = gates[access.position()].pools.iter();
        pools.extend(own.map(|(pool, _)| (*pool, *line)));
    }
    let mut refused = HashSet::new();
    for (later, first) in prefix::overlaps(&pools) {
        // Overlaps inside one access have been reported there.
        if later != first && refused.insert(later) {
            let message =
                "the access's pools overlap those of another access of the router's lines";
            let help = format!("see {}; the lines need routers of their own", cx.see(first));
            cx.error(later, message, &help);
        }
    }
}

fn entitlement(
    cx: &mut Context<'_>,
    lists: &Lists<'_>,
    around: &Around<'_>,
    tenant: TenantIx,
    access: AccessIx,
    number: Number,
    place: NodeId,
) {
    let owner = around.entitled.tenant(access, number);
    let help = match owner {
        Some((owner, _)) if owner == tenant => return,
        Some((_, at)) => format!("another tenant is: see {}", cx.see(at)),
        None if !around.entitled.whole => return,
        None => "the provider adds it to `entitlements`".into(),
    };
    let Some(name) = lists.tenants[tenant.position()].name.value() else { return };
    let message = format!("tenant {name} is not entitled to {number} on this access");
    cx.error(place, message, &help);
}

fn destination(
    cx: &mut Context<'_>,
    around: &Around<'_>,
    within: &Within,
    line: &file::Line,
    access: Option<AccessIx>,
) -> Option<Destination> {
    // All are looked up, so that every unknown name is reported.
    let router = line.router.given().and_then(|at| within.routers.find(cx, at));
    let network = line.network.given().and_then(|at| behind_router(cx, around, within, at));
    let uplink = line.uplink.given().and_then(|at| shown_outside(cx, around, at, access));
    let absent = [line.router.is_absent(), line.network.is_absent(), line.uplink.is_absent()];
    if absent.into_iter().filter(|absent| !absent).count() != 1 {
        let message = "a line has exactly one destination: router, network or uplink";
        cx.error(line.node, message, "");
        return None;
    }
    router.map(Destination::Router).or(network).or(uplink)
}

fn behind_router(
    cx: &mut Context<'_>,
    around: &Around<'_>,
    within: &Within,
    at: &At<Name>,
) -> Option<Destination> {
    let network = within.networks.find(cx, at)?;
    let Some(router) = around.legs.router(network) else {
        let message = format!("network `{}` has no router, so no line gets there", at.value);
        cx.error(at.node, message, "add it to the interfaces of a router");
        return None;
    };
    Some(Destination::Network { network, router })
}

fn shown_outside(
    cx: &mut Context<'_>,
    around: &Around<'_>,
    at: &At<Name>,
    access: Option<AccessIx>,
) -> Option<Destination> {
    let uplink = around.names.uplinks.find(cx, at)?;
    if let Some(access) = access
        && around.uplinks[uplink.position()].hides(access)
    {
        let message = format!("uplink `{}` does not export a pool of the line's access", at.value);
        cx.error(at.node, message, "without that no answer comes back");
        return None;
    }
    Some(Destination::Uplink(uplink))
}

/// The longest IPv6 prefix that a line may have all of.
const LINE_IPV6_PREFIX_MIN: u8 = 48;

/// A line's addresses: single ones, or for IPv6 a prefix, inside the pools.
pub(super) fn addresses(
    cx: &mut Context<'_>,
    gate: Option<&Gate>,
    items: &[At<Prefix>],
) -> Vec<IpNetwork> {
    cx.limit(items, limit::ADDRESSES_PER_LINE);
    for at in items {
        let address = at.value.0;
        let shortest = if address.is_ipv4() { 32 } else { LINE_IPV6_PREFIX_MIN };
        if address.prefix() < shortest {
            let message = format!("{address} is more than a line can have");
            let help =
                format!("an IPv4 address, or an IPv6 address or prefix to /{LINE_IPV6_PREFIX_MIN}");
            cx.error(at.node, message, &help);
            continue;
        }
        let Some(gate) = gate.filter(|gate| gate.whole) else { continue };
        if !gate.pools.iter().any(|(pool, _)| prefix::inside(address, *pool)) {
            let message = format!("{} is in no pool of the access", prefix::shown(address));
            let pools = gate.pools.iter().map(|(pool, _)| *pool);
            cx.error(at.node, message, &prefix::listed("its pools", pools));
        }
    }
    items.iter().map(|at| at.value.0).collect()
}

pub(super) fn line_groups(
    cx: &mut Context<'_>,
    lists: &Lists<'_>,
    names: &Names,
) -> Vec<Option<LineGroup>> {
    let mut groups = Vec::new();
    for (tenant, group) in &lists.line_groups {
        let items = group.lines.items();
        cx.limit(items, limit::LINES_PER_LINE_GROUP);
        let found: Vec<_> = items.iter().map(|at| names.of(*tenant).line(cx, at)).collect();
        let made = || {
            let mut lines: Vec<LineIx> = super::all(found)?;
            lines.sort_unstable();
            lines.dedup();
            Some(LineGroup { tenant: *tenant, name: group.name.value()?, lines })
        };
        groups.push(made());
    }
    groups
}

/// Refuses pools that hold addresses of a tenant whose lines come in there, and routes of
/// such a tenant that would lead all of a pool elsewhere.
pub(super) fn pools_apart(
    cx: &mut Context<'_>,
    gates: &[Gate],
    lists: &Lists<'_>,
    registry: &Registry,
    segments: &[Segment],
) {
    let mut comers = registry.comers.clone();
    comers.sort_unstable();
    comers.dedup();
    for (access, tenant) in comers {
        let networks = lists.networks.iter().zip(segments);
        let own = networks.filter(|((owner, _), _)| *owner == tenant);
        for (subnet, place) in own.flat_map(|(_, segment)| &segment.subnets) {
            let shared = gates[access.position()].pools.iter();
            for (pool, at) in shared.filter(|(pool, _)| prefix::overlap(*pool, subnet.prefix)) {
                let message = format!("the pool {pool} overlaps a subnet of a line's tenant");
                cx.error(*at, message, &format!("see {}", cx.see(*place)));
            }
        }
        let routers = lists.routers.iter().filter(|(owner, _)| *owner == tenant);
        for route in routers.flat_map(|(_, router)| router.routes.items()) {
            let Some(to) = route.destination.given() else { continue };
            let mut pools = gates[access.position()].pools.iter();
            if let Some((pool, at)) = pools.find(|(pool, _)| *pool == to.value.0) {
                let message = format!("{pool} is the pool from which the tenant's lines come");
                cx.error(to.node, message, &format!("see {}", cx.see(*at)));
                continue;
            }
            // The rest of a pool may be other tenants' lines'.
            let mut pools = gates[access.position()].pools.iter();
            if let Some((pool, at)) = pools.find(|(pool, _)| prefix::inside(to.value.0, *pool)) {
                let message = format!("{} is a part of {pool}, and leads away", to.value.0);
                let help = format!("a line with such an address is not reached: {}", cx.see(*at));
                cx.out.warning(to.node, message).help(help);
            }
        }
    }
}
