//! Networks, routers, uplinks and accesses: what is where, and where routes lead.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dataplane_common::{
    addr::{Addr, Mac},
    limits,
    table::{
        Location, LocationKey,
        next_hop::state,
        route::{HOPS_MAX, Hop, Route, kind},
        zone::{FloodPort, Zone},
    },
};
use ipnetwork::IpNetwork;

use super::{Builder, Kind, endpoints, mac, policies, prefix, put};
use crate::{
    address::addr,
    model::{
        Access, AccessIx, Destination, Exporter, HostShare, Neighbour, Network, NetworkIx, NextHop,
        Router, RouterIx, Target, Uplink, UplinkIx,
    },
};

/// Zones and routes.
pub(super) fn compile(b: &mut Builder<'_>) {
    let site = b.site;
    for (ix, of) in site.networks.iter() {
        network(b, ix, of);
    }
    for (ix, of) in site.routers.iter() {
        router(b, ix, of);
    }
    for (ix, of) in site.uplinks.iter() {
        uplink(b, ix, of);
    }
    for (ix, of) in site.accesses.iter() {
        access(b, ix, of);
    }
}

fn network(b: &mut Builder<'_>, ix: NetworkIx, network: &Network) {
    let id = b.network(ix);
    let tenant = b.tenant(network.tenant);
    let mut zone = Zone { tenant, router: b.router_of(ix), ..Zone::default() };
    if let Some(router) = network.router {
        zone.mac = mac(b.site.routers[router].mac);
        let gateways: Vec<_> = network.subnets.iter().map(|subnet| subnet.gateway).collect();
        own(&mut zone, &gateways);
        for gateway in gateways {
            let location = Location { mac: zone.mac, ..Location::default() };
            let key = LocationKey { addr: addr(gateway), zone: id, zero: 0 };
            b.image.locations.insert(key, location);
        }
    }
    let mut routes = Routes { zone: id, zone_name: b.network_name(ix), content: String::new() };
    for subnet in &network.subnets {
        if let Some((to, what)) = ends(subnet.prefix).next() {
            let broadcast = Route { kind: kind::BROADCAST, ..Route::default() };
            routes.add(b, to.into(), what, broadcast);
        }
    }
    finish(b, id, tenant, zone, routes.content);
    flood_ports(b, ix, id);
}

/// The addresses of an IPv4 subnet that all its hosts have, or none: a link of two has no such
/// (RFC 3021).
fn ends(prefix: IpNetwork) -> impl Iterator<Item = (IpAddr, &'static str)> {
    let v4 = match prefix {
        IpNetwork::V4(v4) if v4.prefix() < 31 => Some(v4),
        IpNetwork::V4(_) | IpNetwork::V6(_) => None,
    };
    v4.into_iter().flat_map(|v4| {
        [
            (v4.broadcast().into(), "the subnet's broadcast address"),
            (v4.network().into(), "the subnet's own address"),
        ]
    })
}

/// The network's ports as a flood looks for them. A network of too many has none. No judgement
/// rests on them, so they are of no generation.
fn flood_ports(b: &mut Builder<'_>, ix: NetworkIx, id: u32) {
    let order = b.site.flood_order(ix);
    if order.len() > limits::FLOOD_PORTS_OF_NETWORK as usize {
        return;
    }
    let flood_first = b.image.flood_ports.len() as u32;
    for &port in &order {
        let name = b.port_name(port);
        let endpoint = b.numbering.number(Kind::Endpoint, &name);
        let attachment = b.attachment_number(b.site.ports[port].attachment);
        b.image.flood_ports.push(FloodPort { attachment, endpoint });
    }
    let zone = &mut b.image.zones[id as usize];
    zone.flood_first = flood_first;
    zone.flood_count = order.len() as u32;
    zone.flood_rules = b.site.flood_rules(&order).try_into().unwrap_or(u16::MAX);
}

/// Our addresses on the link: the first of each family.
fn own(zone: &mut Zone, addresses: &[IpAddr]) {
    for &address in addresses.iter().rev() {
        match address {
            IpAddr::V4(v4) => zone.own_v4 = v4.octets(),
            IpAddr::V6(v6) => zone.own_v6 = Addr::v6(v6.octets()),
        }
    }
}

/// Dates the zone and writes it.
fn finish(b: &mut Builder<'_>, id: u32, tenant: u32, mut zone: Zone, routes: String) {
    let content = format!("{zone:?} {routes}");
    zone.generation = b.generation(Kind::Zone, id, tenant, &content);
    put(&mut b.image.zones, id, zone);
}

/// A zone's routes in the making.
struct Routes {
    zone: u32,
    zone_name: String,
    content: String,
}

impl Routes {
    fn add(&mut self, b: &mut Builder<'_>, to: IpNetwork, what: &str, mut route: Route) {
        let (addr, bits) = prefix(to);
        route.id = b.numbering.number(Kind::Route, &format!("{} {to} {what}", self.zone_name));
        let Route { kind, zone, hops, hops_count, .. } = &route;
        let hops = &hops[..*hops_count as usize];
        // Into a text nothing is written in vain.
        let _ = write!(self.content, "{to} {:?}", (kind, zone, hops));
        b.image.routes.push((LocationKey { addr, zone: self.zone, zero: 0 }, bits, route));
    }
}

fn router(b: &mut Builder<'_>, ix: RouterIx, router: &Router) {
    let site = b.site;
    let id = b.router(ix);
    let tenant = b.tenant(router.tenant);
    let mut routes = Routes { zone: id, zone_name: b.router_name(ix), content: String::new() };
    for &network in &router.interfaces {
        let zone = b.network(network);
        let what = format!("connected to {}", b.network_name(network));
        for subnet in &site.networks[network].subnets {
            let connected = Route { kind: kind::CONNECTED, zone, ..Route::default() };
            routes.add(b, subnet.prefix, &what, connected);
            let own = Route { kind: kind::OWN, zone, ..Route::default() };
            routes.add(b, subnet.gateway.into(), "the router's own address", own);
            for (end, what) in ends(subnet.prefix) {
                if router.routes.iter().all(|route| route.destination != end.into()) {
                    let broadcast = Route { kind: kind::BROADCAST, ..Route::default() };
                    routes.add(b, end.into(), what, broadcast);
                }
            }
        }
    }
    for route in &router.routes {
        let to = route.destination;
        match &route.target {
            Target::Blackhole => {
                let blackhole = Route { kind: kind::BLACKHOLE, ..Route::default() };
                routes.add(b, to, "blackhole", blackhole);
            }
            Target::Uplink(uplink) => {
                let hops = hops(b, *uplink, &site.uplinks[*uplink], to.is_ipv4());
                let what = format!("by {}", b.uplink_name(*uplink));
                let route = via(b, &hops);
                routes.add(b, to, &what, route);
            }
            Target::NextHops(next_hops) => {
                let hops: Vec<_> = next_hops.iter().filter_map(|hop| located(b, hop)).collect();
                let names: Vec<_> = next_hops.iter().map(|hop| hop.address.to_string()).collect();
                let route = via(b, &hops);
                routes.add(b, to, &format!("by {}", names.join(", ")), route);
            }
        }
    }
    for (access, pool) in pools(b, ix) {
        let zone = b.access(access);
        let what = format!("lines of {}", b.access_name(access));
        routes.add(b, pool, &what, Route { kind: kind::POOL, zone, ..Route::default() });
    }
    let zone = Zone { tenant, mac: mac(router.mac), ..Zone::default() };
    finish(b, id, tenant, zone, routes.content);
}

/// The next hop of the tenant's own machine that routes on, if a port has its address.
fn located(b: &mut Builder<'_>, hop: &NextHop) -> Option<u32> {
    let zone = b.network(hop.network);
    let key = LocationKey { addr: addr(hop.address), zone, zero: 0 };
    b.image.locations.get(&key).map(|location| location.next_hop).filter(|&hop| hop != 0)
}

/// The pools of the accesses from which lines lead to the router.
fn pools(b: &Builder<'_>, ix: RouterIx) -> Vec<(AccessIx, IpNetwork)> {
    let leads_here = |destination: &Destination| match destination {
        Destination::Router(router) | Destination::Network { router, .. } => *router == ix,
        Destination::Uplink(_) => false,
    };
    let lines = b.site.lines.values().filter(|line| leads_here(&line.destination));
    let mut accesses: Vec<_> = lines.map(|line| line.access).collect();
    accesses.sort_unstable();
    accesses.dedup();
    let pools = |access| b.site.accesses[access].pools.iter().map(move |&pool| (access, pool));
    accesses.into_iter().flat_map(pools).collect()
}

fn uplink(b: &mut Builder<'_>, ix: UplinkIx, uplink: &Uplink) {
    let id = b.uplink(ix);
    let mut routes = Routes { zone: id, zone_name: b.uplink_name(ix), content: String::new() };
    for everything in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
        let hops = hops(b, ix, uplink, IpAddr::is_ipv4(&everything));
        // A length of 0 is always good.
        if let Ok(everything) = IpNetwork::new(everything, 0) {
            let route = via(b, &hops);
            routes.add(b, everything, "outside", route);
        }
    }
    for export in &uplink.exports {
        let (kind, zone, what) = match export.exporter {
            Exporter::Router(router) => (kind::ROUTER, b.router(router), b.router_name(router)),
            Exporter::Access(access) => (kind::POOL, b.access(access), b.access_name(access)),
        };
        let route = Route { kind, zone, ..Route::default() };
        routes.add(b, export.prefix, &format!("exported by {what}"), route);
    }
    for (access, pool) in pools_inside(b, uplink) {
        let what = format!("lines of {}, not exported", b.access_name(access));
        routes.add(b, pool, &what, Route { kind: kind::INSIDE, ..Route::default() });
    }
    let host = uplink.host.addresses();
    let is_hosts = |prefix: IpNetwork| host.iter().any(|&own| IpNetwork::from(own) == prefix);
    for &protected in uplink.protected.iter().filter(|&&prefix| !is_hosts(prefix)) {
        let route = Route { kind: kind::PROTECTED, ..Route::default() };
        routes.add(b, protected, "protected", route);
    }
    let addresses: Vec<_> = uplink.addresses.iter().map(IpNetwork::ip).collect();
    host_addresses(b, &mut routes, &uplink.host);
    own_addresses(b, &mut routes, &addresses, &uplink.host);
    uplink.next_hops.iter().for_each(|hop| hear(b, id, hop));
    let zone = link(b.own_mac(uplink.mac, uplink.attachment), &addresses);
    finish(b, id, 0, zone, routes.content);
}

/// Pools of which the uplink gets no export or only a part.
fn pools_inside(b: &Builder<'_>, uplink: &Uplink) -> Vec<(AccessIx, IpNetwork)> {
    let mut accesses: Vec<_> = uplink
        .exports
        .iter()
        .filter_map(|export| match export.exporter {
            Exporter::Access(access) => Some(access),
            Exporter::Router(_) => None,
        })
        .collect();
    accesses.sort_unstable();
    accesses.dedup();
    let is_known = |pool: &IpNetwork| {
        let exported = uplink.exports.iter().map(|export| export.prefix);
        exported.chain(uplink.protected.iter().copied()).any(|prefix| prefix == *pool)
    };
    let pools = |access| b.site.accesses[access].pools.iter().map(move |&pool| (access, pool));
    accesses.into_iter().flat_map(pools).filter(|(_, pool)| !is_known(pool)).collect()
}

fn access(b: &mut Builder<'_>, ix: AccessIx, access: &Access) {
    let id = b.access(ix);
    let addresses: Vec<_> = access.addresses.iter().map(IpNetwork::ip).collect();
    let zone = link(b.own_mac(access.mac, access.attachment), &addresses);
    let mut routes = Routes { zone: id, zone_name: b.access_name(ix), content: String::new() };
    if !access.host.entries.is_empty() {
        // Only the host's packets are looked up here, and none of them is from a line.
        for &pool in &access.pools {
            let route = Route { kind: kind::INSIDE, ..Route::default() };
            routes.add(b, pool, "its lines", route);
        }
        host_addresses(b, &mut routes, &access.host);
        own_addresses(b, &mut routes, &addresses, &access.host);
    }
    hear(b, id, &access.next_hop);
    finish(b, id, 0, zone, routes.content);
}

/// The programs hear what is said of whoever has a place on the link, whether anybody is reached
/// by it yet or not.
fn hear(b: &mut Builder<'_>, link: u32, hop: &Neighbour) {
    let place = LocationKey { addr: addr(hop.address), zone: link, zero: 0 };
    b.image.locations.insert(place, Location::default());
}

/// The host's addresses on a link, each with a policy of what may come to it.
fn host_addresses(b: &mut Builder<'_>, routes: &mut Routes, host: &HostShare) {
    for address in host.addresses() {
        let name = format!("host {address} at {}", routes.zone_name);
        let zone = policies::of_host(b, &name, address, host);
        let route = Route { kind: kind::HOST, zone, ..Route::default() };
        routes.add(b, address.into(), "the host's own address", route);
    }
}

/// Our own addresses on a link. What both have, the host answers for.
fn own_addresses(b: &mut Builder<'_>, routes: &mut Routes, own: &[IpAddr], host: &HostShare) {
    let hosts = host.addresses();
    for &address in own.iter().filter(|own| !hosts.contains(own)) {
        let route = Route { kind: kind::OWN, ..Route::default() };
        routes.add(b, address.into(), "our own address", route);
    }
}

fn link(mac: Mac, addresses: &[IpAddr]) -> Zone {
    let mut zone = Zone { mac, ..Zone::default() };
    own(&mut zone, addresses);
    zone
}

/// The uplink's next hops of one family.
fn hops(b: &mut Builder<'_>, ix: UplinkIx, uplink: &Uplink, is_v4: bool) -> Vec<u32> {
    let of_family = uplink.next_hops.iter().filter(|hop| hop.address.is_ipv4() == is_v4);
    of_family.map(|hop| endpoints::uplink_hop(b, ix, uplink, hop)).collect()
}

/// A route by these next hops.
fn via(b: &Builder<'_>, hops: &[u32]) -> Route {
    let is_ready = |hop| b.image.next_hops[hop as usize].state == state::READY;
    let hops = &hops[..hops.len().min(HOPS_MAX)];
    let mut route = Route { kind: kind::VIA, ..Route::default() };
    if !hops.is_empty() {
        route.hops_count = (HOPS_MAX - HOPS_MAX % hops.len()) as u32;
        route.hops = shares(hops, route.hops_count as usize, is_ready).map(Hop::new);
    }
    // One is looked up without a choice.
    if hops.len() == 1 {
        route.hops_count = 1;
    }
    route
}

/// Who carries which of `count` equal shares of the flows: each of the next hops as many, and
/// for one that cannot be reached, others that can. Whose share it is then, only that share and
/// who can be reached decide (rendezvous hashing, Thaler and Ravishankar 1998): when one more
/// goes or one comes back, nothing moves but what it carried or carries.
fn shares(hops: &[u32], count: usize, is_ready: impl Fn(u32) -> bool) -> [u32; HOPS_MAX] {
    let ready: Vec<_> = hops.iter().copied().filter(|&hop| is_ready(hop)).collect();
    let weight = |at: usize, hop: u32| {
        let seed = ((at as u64) << 32 | u64::from(hop)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (seed ^ (seed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32
    };
    let mut shares = [0; HOPS_MAX];
    for (at, share) in shares.iter_mut().enumerate().take(count) {
        let own = hops[at % hops.len()];
        let substitute = ready.iter().copied().max_by_key(|&hop| weight(at, hop));
        *share = if is_ready(own) { own } else { substitute.unwrap_or(own) };
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_next_hops_only_the_flows_of_the_one_that_goes_or_comes_move() {
        for all in 2..=HOPS_MAX as u32 {
            let hops: Vec<_> = (101..101 + all).collect();
            let count = HOPS_MAX - HOPS_MAX % hops.len();
            let among = |dead: &[u32]| shares(&hops, count, |hop| !dead.contains(&hop));
            let whole = among(&[]);
            let each = count / hops.len();
            assert!(hops.iter().all(|hop| whole.iter().filter(|&of| of == hop).count() == each));
            let mut dead = Vec::new();
            for &next in hops.iter().rev().take(hops.len() - 1) {
                let before = among(&dead);
                dead.push(next);
                let after = among(&dead);
                for (was, is) in before.iter().zip(after).take(count) {
                    assert_eq!(*was == next, *was != is, "{was} to {is} when {next} of {all} died");
                }
            }
            assert_eq!(among(&hops), whole, "nobody is better than another");
        }
    }

    #[test]
    fn who_is_not_there_leaves_its_flows_to_more_than_one() {
        let heirs = shares(&[7, 8, 9, 10], HOPS_MAX, |hop| hop != 8);
        let mut heirs: Vec<_> = heirs.into_iter().skip(1).step_by(4).collect();
        heirs.sort_unstable();
        heirs.dedup();
        assert!(heirs.len() > 1 && !heirs.contains(&8), "{heirs:?}");
    }
}
