//! Which networks does a router connect, and where do its routes lead?

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::network::Segment;
use super::{Context, Lists, Names, limit, prefix, rate};
use crate::config::file::{self, File};
use crate::config::tree::NodeId;
use crate::config::{At, Host};
use crate::model::{
    Ix, Mac, Name, NetworkIx, NextHop, Route, Router, RouterIx, Site, Target, TenantIx,
};

/// Which router is on which network.
pub(super) struct Legs {
    /// By router.
    of: Vec<Vec<(NetworkIx, NodeId)>>,
    /// By router: how many interfaces are wrong.
    lost: Vec<usize>,
    /// By router.
    pub macs: Vec<Option<Mac>>,
    routers: HashMap<NetworkIx, (RouterIx, NodeId)>,
}

impl Legs {
    /// Whether all that a router connects is known.
    pub fn whole(&self, router: RouterIx, segments: &[Segment]) -> bool {
        let mut own = self.of[router.position()].iter();
        self.lost[router.position()] == 0
            && own.all(|(network, _)| segments[network.position()].whole)
    }

    /// The router on a network.
    pub fn router(&self, network: NetworkIx) -> Option<RouterIx> {
        self.routers.get(&network).map(|(router, _)| *router)
    }
}

pub(super) fn legs(cx: &mut Context<'_>, lists: &Lists<'_>, names: &Names) -> Legs {
    let mut legs =
        Legs { of: Vec::new(), lost: Vec::new(), macs: Vec::new(), routers: HashMap::new() };
    for (position, (tenant, router)) in lists.routers.iter().enumerate() {
        let ix = RouterIx::new(position);
        let interfaces = router.interfaces.items();
        cx.limit(interfaces, limit::INTERFACES_PER_ROUTER);
        let mut own = Vec::new();
        for interface in interfaces {
            let Some(at) = interface.network.given() else { continue };
            let Some(network) = names.of(*tenant).networks.find(cx, at) else { continue };
            match legs.routers.entry(network) {
                Entry::Vacant(free) => {
                    free.insert((ix, at.node));
                    own.push((network, at.node));
                }
                Entry::Occupied(taken) => {
                    let (_, first) = *taken.get();
                    let message = format!("network `{}` has a router already", at.value);
                    let help = format!("a network has one gateway; see {}", cx.see(first));
                    cx.error(at.node, message, &help);
                }
            }
        }
        let unread = usize::from(!router.interfaces.whole());
        legs.lost.push(interfaces.len() - own.len() + unread);
        legs.of.push(own);
        legs.macs.push(mac(lists, *tenant, router));
    }
    legs
}

fn mac(lists: &Lists<'_>, tenant: TenantIx, router: &file::Router) -> Option<Mac> {
    match router.mac.optional()? {
        Some(mac) => Some(mac),
        None => {
            let tenant = lists.tenants[tenant.position()].name.value()?;
            Some(Mac::derived(&[tenant.as_str(), router.name.value()?.as_str()]))
        }
    }
}

/// Refuses a router whose networks share addresses.
pub(super) fn subnets_apart(cx: &mut Context<'_>, legs: &Legs, segments: &[Segment]) {
    for own in &legs.of {
        let mut all = Vec::new();
        for (network, leg) in own {
            let subnets = &segments[network.position()].subnets;
            all.extend(subnets.iter().map(|(subnet, _)| (subnet.prefix, *leg)));
        }
        for (later, first) in prefix::overlaps(&all) {
            // Overlaps inside one network have been reported there.
            if later != first {
                let help = format!("they overlap those of {}", cx.see(first));
                cx.error(later, "the subnets of a router's networks must not overlap", &help);
            }
        }
    }
}

pub(super) fn routers(
    cx: &mut Context<'_>,
    file: &File,
    lists: &Lists<'_>,
    names: &Names,
    legs: &Legs,
    segments: &[Segment],
) -> Vec<Option<Router>> {
    let mut routers = Vec::new();
    for (position, (tenant, router)) in lists.routers.iter().enumerate() {
        let own = &legs.of[position];
        let whole = legs.whole(RouterIx::new(position), segments);
        let items = router.routes.items();
        cx.limit(items, limit::ROUTES_PER_ROUTER);
        let mut seen: HashMap<IpNetwork, NodeId> = HashMap::new();
        for (network, _) in own {
            let subnets = &segments[network.position()].subnets;
            seen.extend(subnets.iter().map(|(subnet, at)| (subnet.prefix, *at)));
            seen.extend(subnets.iter().map(|(subnet, at)| (subnet.gateway.into(), *at)));
        }
        let around = Around { own, whole, segments, uplinks: file.uplinks.items() };
        let mut routes = Vec::new();
        for item in items {
            if let Some(at) = item.destination.given()
                && let Some(first) = seen.insert(at.value.0, at.node)
            {
                let message = format!("there is a route to {} already", at.value.0);
                let help = format!("see {}", cx.see(first));
                cx.error(at.node, message, &help);
            }
            let target = target(cx, names, item, &around);
            if let (Some(at), Some(Target::NextHops(_) | Target::Uplink(_))) =
                (item.destination.given(), &target)
                && let Some(reserved) = prefix::reserved(at.value.0)
            {
                let message = format!("{} leads nowhere: {reserved}", at.value.0);
                cx.error(at.node, message, "no packet is forwarded there; leave it out");
            }
            let destination = item.destination.value();
            routes.push(
                target
                    .zip(destination)
                    .map(|(target, destination)| Route { destination: destination.0, target }),
            );
        }
        let limits = rate::limit(cx, &router.limits);
        let made = || {
            Some(Router {
                tenant: *tenant,
                name: router.name.value()?,
                mac: legs.macs[position]?,
                interfaces: own.iter().map(|(network, _)| *network).collect(),
                routes: super::all(routes)?,
                limits: limits?,
            })
        };
        routers.push(made());
    }
    routers
}

/// What a route may lead to.
struct Around<'a> {
    own: &'a [(NetworkIx, NodeId)],
    whole: bool,
    segments: &'a [Segment],
    uplinks: &'a [file::Uplink],
}

fn target(
    cx: &mut Context<'_>,
    names: &Names,
    route: &file::Route,
    around: &Around<'_>,
) -> Option<Target> {
    // All are looked up, so that every error of theirs is reported.
    let next_hops = next_hops(cx, route, around);
    let uplink = route.uplink.given().and_then(|at| {
        let ix = names.uplinks.find(cx, at)?;
        leads_on(cx, route, at, &around.uplinks[ix.position()]);
        Some(ix)
    });
    let blackhole = route.blackhole.or(false);
    let given = [!route.next_hops.is_absent(), !route.uplink.is_absent(), blackhole != Some(false)];
    if given.into_iter().filter(|given| *given).count() != 1 {
        let message = "a route leads to exactly one of next_hops, uplink, blackhole: true";
        cx.error(route.node, message, "");
        return None;
    }
    if route.next_hops.is_empty() {
        cx.error(route.node, "the list of next hops is empty", "to drop, write blackhole: true");
    }
    let next_hops = next_hops.map(Target::NextHops);
    let blackhole = (blackhole == Some(true)).then_some(Target::Blackhole);
    next_hops.or(uplink.map(Target::Uplink)).or(blackhole)
}

/// Refuses an uplink that has no next hop of the destination's family.
fn leads_on(cx: &mut Context<'_>, route: &file::Route, at: &At<Name>, uplink: &file::Uplink) {
    let Some(destination) = route.destination.given() else { return };
    let is_ipv4 = destination.value.0.is_ipv4();
    let hops = uplink.next_hops.items();
    // One that is wrong itself may be of the family.
    let other = |hop: &file::Neighbour| {
        hop.address.given().is_some_and(|address| address.value.0.is_ipv4() != is_ipv4)
    };
    if uplink.next_hops.whole() && !hops.is_empty() && hops.iter().all(other) {
        let family = if is_ipv4 { "IPv4" } else { "IPv6" };
        let message = format!("uplink `{}` has no {family} next hop", at.value);
        cx.error(at.node, message, &format!("add one to {}", cx.see(uplink.node)));
    }
}

fn next_hops(
    cx: &mut Context<'_>,
    route: &file::Route,
    around: &Around<'_>,
) -> Option<Vec<NextHop>> {
    let hops = route.next_hops.items();
    cx.limit(hops, limit::NEXT_HOPS);
    let mut seen = HashMap::new();
    let mut read = Vec::new();
    for hop in hops {
        if let Some(first) = seen.insert(hop.value.0, hop.node) {
            let help = format!("see {}", cx.see(first));
            cx.error(hop.node, format!("the next hop {} is given twice", hop.value.0), &help);
        }
        read.push(next_hop(cx, route, hop, around));
    }
    super::all(read).filter(|hops: &Vec<_>| !hops.is_empty())
}

fn next_hop(
    cx: &mut Context<'_>,
    route: &file::Route,
    hop: &At<Host>,
    around: &Around<'_>,
) -> Option<NextHop> {
    let address = hop.value.0;
    let destination = route.destination.value()?.0;
    if destination.is_ipv4() != address.is_ipv4() {
        let message = format!("the next hop {address} is not of the family of {destination}");
        let family = if destination.is_ipv4() { "IPv4" } else { "IPv6" };
        cx.error(hop.node, message, &format!("write an {family} address"));
        return None;
    }
    let segment = |network: NetworkIx| &around.segments[network.position()];
    let legs = || around.own.iter().map(|(network, _)| (*network, segment(*network)));
    let Some((network, subnet)) = legs().find_map(|(ix, leg)| Some((ix, leg.subnet_of(address)?)))
    else {
        if around.whole {
            let subnets = legs().flat_map(|(_, leg)| &leg.subnets);
            let connected = prefix::listed("connected", subnets.map(|(subnet, _)| subnet.prefix));
            let message = format!("the next hop {address} is on none of the router's subnets");
            cx.error(hop.node, message, &connected);
        }
        return None;
    };
    if subnet.gateway == address || !prefix::for_hosts(subnet.prefix, address) {
        let message = format!("the next hop {address} is not another machine's address");
        cx.error(hop.node, message, "it is the router's own, or the subnet's");
        return None;
    }
    Some(NextHop { address, network })
}

/// Warns of next hops that no port has: nothing would ever be sent there.
pub(super) fn next_hops_known(cx: &mut Context<'_>, lists: &Lists<'_>, site: &Site) {
    let mut located: HashSet<(NetworkIx, IpAddr)> = HashSet::new();
    for port in site.ports.values() {
        located.extend(port.fixed_ips.iter().map(|address| (port.network, *address)));
        // A wider pair tells where packets may come from, and not where an address is.
        let single = port.address_pairs.iter().map(|pair| pair.prefix);
        let single = single.filter(|prefix| IpNetwork::from(prefix.ip()) == *prefix);
        located.extend(single.map(|prefix| (port.network, prefix.ip())));
    }
    for ((_, written), router) in lists.routers.iter().zip(site.routers.values()) {
        for (written, route) in written.routes.items().iter().zip(&router.routes) {
            let Target::NextHops(hops) = &route.target else { continue };
            for (written, hop) in written.next_hops.items().iter().zip(hops) {
                if !located.contains(&(hop.network, hop.address)) {
                    let message = format!("no port has the next hop's address {}", hop.address);
                    let found = cx.out.warning(written.node, message);
                    found.help("add it to a port's fixed_ips or, alone, to its address pairs");
                }
            }
        }
    }
}

/// The prefixes that a router leads to inside the site.
pub(super) fn reach(router: &Router, segments: &[Segment]) -> Vec<IpNetwork> {
    let connected = router.interfaces.iter().flat_map(|network| {
        segments[network.position()].subnets.iter().map(|(subnet, _)| subnet.prefix)
    });
    let routed = router.routes.iter().filter_map(|route| match route.target {
        Target::NextHops(_) => Some(route.destination),
        Target::Uplink(_) | Target::Blackhole => None,
    });
    connected.chain(routed).collect()
}
