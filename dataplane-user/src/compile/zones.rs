//! Networks, routers, uplinks and accesses: what is where, and where routes lead.

use std::net::IpAddr;

use dataplane_common::{
    addr::{Addr, Mac},
    table::{
        Attachment, AttachmentKey, Location, LocationKey, attachment_kind,
        route::{HOPS_MAX, Route, kind},
        zone::Zone,
    },
};
use ipnetwork::IpNetwork;

use super::{Builder, Kind, addr, endpoints, prefix, put};
use crate::model::{AccessIx, Destination, Exporter, NetworkIx, RouterIx, Target, UplinkIx};

/// Uplinks and accesses are plugged in.
pub(super) fn links(b: &mut Builder<'_>) {
    for ix in b.site.uplink_ixs() {
        let uplink = &b.site[ix];
        let zone = b.zone_of_uplink(ix);
        let endpoint = b.numbering.number(Kind::Endpoint, &format!("uplink {}", uplink.name));
        let link = Attachment { kind: attachment_kind::UPLINK, zone, endpoint, ..Attachment::default() };
        plug(b, &uplink.interface, uplink.vlan.unwrap_or(0), link);
    }
    for ix in b.site.access_ixs() {
        let access = &b.site[ix];
        let zone = b.zone_of_access(ix);
        let link = Attachment { kind: attachment_kind::ACCESS, zone, ..Attachment::default() };
        plug(b, &access.interface, access.vlan.unwrap_or(0), link);
    }
}

fn plug<'s>(b: &mut Builder<'s>, interface: &'s str, vlan: u16, mut link: Attachment) {
    link.id = b.attachment(interface, vlan);
    if let Some(facts) = b.facts.interfaces.get(interface) {
        let key = AttachmentKey { ifindex: facts.ifindex, vlan: u32::from(vlan) };
        b.image.attachments.insert(key, link);
    }
}

/// Zones and routes.
pub(super) fn compile(b: &mut Builder<'_>) {
    for ix in b.site.network_ixs() {
        network(b, ix);
    }
    for ix in b.site.router_ixs() {
        routes_of_router(b, ix);
    }
    for ix in b.site.uplink_ixs() {
        routes_of_uplink(b, ix);
    }
    for ix in b.site.access_ixs() {
        access(b, ix);
    }
}

pub(super) fn router(b: &mut Builder<'_>, ix: RouterIx) -> u32 {
    let router = &b.site[ix];
    let name = format!("router {}/{}", b.site[router.tenant].name, router.name);
    b.numbering.number(Kind::Zone, &name)
}

fn network(b: &mut Builder<'_>, ix: NetworkIx) {
    let network = &b.site[ix];
    let id = b.zone_of_network(ix);
    let tenant = b.tenant(network.tenant);
    let router = b.zone_of_router(ix);
    let mut zone = Zone { tenant, router, ..Zone::default() };
    if let Some(router) = b.site.router_of(ix) {
        zone.mac = b.site[router].mac;
        let gateways: Vec<_> = network.subnets.iter().map(|subnet| subnet.gateway).collect();
        own(&mut zone, &gateways);
        for gateway in gateways {
            let location = Location { mac: zone.mac, ..Location::default() };
            let key = LocationKey { addr: addr(gateway), zone: id, zero: 0 };
            b.image.locations.insert(key, location);
        }
    }
    finish(b, id, tenant, zone, String::new());
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
    zone.generation = b.generation(Kind::Zone, id, tenant, content);
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
        self.content.push_str(&format!("{to} {:?}", (route.kind, route.zone, route.hops)));
        b.image.routes.push((LocationKey { addr, zone: self.zone, zero: 0 }, bits, route));
    }
}

fn routes_of_router(b: &mut Builder<'_>, ix: RouterIx) {
    let of = &b.site[ix];
    let id = router(b, ix);
    let tenant = b.tenant(of.tenant);
    let name = format!("router {}/{}", b.site[of.tenant].name, of.name);
    let mut routes = Routes { zone: id, zone_name: name, content: String::new() };
    for &network in &of.networks {
        let zone = b.zone_of_network(network);
        let what = format!("connected to {}", b.network_name(network));
        for subnet in &b.site[network].subnets {
            let connected = Route { kind: kind::CONNECTED, zone, ..Route::default() };
            routes.add(b, subnet.cidr, &what, connected);
            let own = Route { kind: kind::OWN, ..Route::default() };
            routes.add(b, subnet.gateway.into(), "the router's own address", own);
        }
    }
    for route in &of.routes {
        let to = route.destination;
        match &route.target {
            Target::Blackhole => {
                routes.add(b, to, "blackhole", Route { kind: kind::BLACKHOLE, ..Route::default() });
            }
            Target::Uplink(uplink) => {
                let hops = hops_of_family(b, *uplink, to.is_ipv4());
                let what = format!("by uplink {}", b.site[*uplink].name);
                routes.add(b, to, &what, via(&hops));
            }
            Target::NextHops(addresses) => {
                let networks = of.networks.clone();
                let hops: Vec<_> = addresses
                    .iter()
                    .filter_map(|&address| {
                        networks.iter().find_map(|&network| located(b, network, address))
                    })
                    .collect();
                let what = format!("by {}", list(addresses));
                routes.add(b, to, &what, via(&hops));
            }
        }
    }
    for (access, pool) in pools_of_router(b, ix) {
        let zone = b.zone_of_access(access);
        let what = format!("lines of access {}", b.site[access].name);
        routes.add(b, pool, &what, Route { kind: kind::POOL, zone, ..Route::default() });
    }
    finish(b, id, tenant, Zone { tenant, mac: of.mac, ..Zone::default() }, routes.content);
}

/// The next hop of whoever has the address in the network.
fn located(b: &mut Builder<'_>, network: NetworkIx, address: IpAddr) -> Option<u32> {
    let zone = b.zone_of_network(network);
    let key = LocationKey { addr: addr(address), zone, zero: 0 };
    b.image.locations.get(&key).map(|location| location.next_hop).filter(|&hop| hop != 0)
}

/// The pools of accesses from which lines lead to the router.
fn pools_of_router(b: &Builder<'_>, ix: RouterIx) -> Vec<(AccessIx, IpNetwork)> {
    let leads_here = |destination: &Destination| match destination {
        Destination::Router(router) => *router == ix,
        Destination::Network(network) => b.site.router_of(*network) == Some(ix),
        Destination::Uplink(_) => false,
    };
    let mut accesses: Vec<_> = b
        .site
        .line_ixs()
        .filter(|&line| leads_here(&b.site[line].destination))
        .map(|line| b.site[line].access)
        .collect();
    accesses.sort_unstable();
    accesses.dedup();
    accesses.iter().flat_map(|&access| b.site[access].pools.iter().map(move |&pool| (access, pool))).collect()
}

fn routes_of_uplink(b: &mut Builder<'_>, ix: UplinkIx) {
    let uplink = &b.site[ix];
    let id = b.zone_of_uplink(ix);
    let mut routes =
        Routes { zone: id, zone_name: format!("uplink {}", uplink.name), content: String::new() };
    for everything in ["0.0.0.0/0", "::/0"].map(|text| text.parse::<IpNetwork>()).into_iter().flatten() {
        let hops = hops_of_family(b, ix, everything.is_ipv4());
        routes.add(b, everything, "outside", via(&hops));
    }
    for export in &uplink.exports {
        let (route, what) = match export.exporter {
            Exporter::Router(ix) => {
                let zone = router(b, ix);
                let what = format!("exported by router {}", b.site[ix].name);
                (Route { kind: kind::ROUTER, zone, ..Route::default() }, what)
            }
            Exporter::Access(access) => {
                let zone = b.zone_of_access(access);
                let what = format!("exported by access {}", b.site[access].name);
                (Route { kind: kind::POOL, zone, ..Route::default() }, what)
            }
        };
        routes.add(b, export.prefix, &what, route);
    }
    for &protected in &uplink.protected {
        let route = Route { kind: kind::PROTECTED, ..Route::default() };
        routes.add(b, protected, "protected", route);
    }
    let addresses: Vec<_> = uplink.addresses.iter().map(|network| network.ip()).collect();
    for &address in &addresses {
        let route = Route { kind: kind::OWN, ..Route::default() };
        routes.add(b, address.into(), "our own address", route);
    }
    let mac = uplink.mac.unwrap_or_else(|| b.mac_of(&uplink.interface));
    finish(b, id, 0, link(mac, &addresses), routes.content);
}

fn access(b: &mut Builder<'_>, ix: AccessIx) {
    let access = &b.site[ix];
    let id = b.zone_of_access(ix);
    let mac = access.mac.unwrap_or_else(|| b.mac_of(&access.interface));
    let addresses: Vec<_> = access.addresses.iter().map(|network| network.ip()).collect();
    finish(b, id, 0, link(mac, &addresses), String::new());
}

fn link(mac: Mac, addresses: &[IpAddr]) -> Zone {
    let mut zone = Zone { mac, ..Zone::default() };
    own(&mut zone, addresses);
    zone
}

/// All next hops of an uplink.
pub(super) fn uplink_hops(b: &mut Builder<'_>, ix: UplinkIx) -> Vec<u32> {
    (0..b.site[ix].next_hops.len()).map(|at| endpoints::uplink_hop(b, ix, at)).collect()
}

/// Those of one family.
fn hops_of_family(b: &mut Builder<'_>, ix: UplinkIx, is_v4: bool) -> Vec<u32> {
    (0..b.site[ix].next_hops.len())
        .filter(|&at| b.site[ix].next_hops[at].address.is_ipv4() == is_v4)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|at| endpoints::uplink_hop(b, ix, at))
        .collect()
}

fn via(hops: &[u32]) -> Route {
    let mut route = Route { kind: kind::VIA, ..Route::default() };
    for (slot, &hop) in route.hops.iter_mut().zip(hops) {
        *slot = hop;
    }
    route.hops_count = hops.len().min(HOPS_MAX) as u32;
    route
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
