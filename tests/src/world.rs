//! A small site, made by hand: what the compiler will make of a configuration.
//!
//! [`World`] adds records one object at a time; [`Site`] is the one that the packet
//! tests share. Every generation and epoch begins at 1; a test that changes a record
//! raises what the compiler would raise, with [`World::touch`].

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use dataplane_common::{
    addr::{Addr, Mac, V4_PREFIX_OFFSET_BITS},
    table::{
        Attachment, AttachmentKey, Location, LocationKey, PermitKey, Station, StationKey, Tenant,
        attachment_kind,
        endpoint::{Endpoint, kind},
        location,
        meter::{Pace, Terms},
        next_hop::{NextHop, Output, output_kind, state},
        policy::{ANY_PROTOCOL, Rule, family, remote},
        route::{Hop, Route, kind as route_kind},
        zone::{FloodPort, Zone},
    },
    work::flags,
};
use dataplane_user::tables::{Image, Policy};

use crate::build::ip;

mod site;
pub use site::{Event, Sent, Site};

/// An image in the making.
#[derive(Clone)]
pub struct World {
    /// The records so far.
    pub image: Image,
    owners: u32,
}

/// A network: its zone and our MAC on it.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The zone.
    pub zone: u32,
    /// The router's MAC.
    pub mac: [u8; 6],
    tenant: u32,
    router: u32,
    mtu_bytes: u32,
}

/// Anything that sends and receives: a port, an uplink, or a line.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The endpoint.
    pub id: u32,
    /// Where it is attached.
    pub attachment: u32,
    /// The interface.
    pub ifindex: u32,
    /// The VLANs, the service tag's above the customer tag's; 0: none.
    pub vlan: u32,
    /// Its MAC, or that of its next hop.
    pub mac: [u8; 6],
    /// Ours on its link.
    pub router: [u8; 6],
    /// The link's zone.
    pub zone: u32,
    /// How it is reached.
    pub hop: u32,
}

/// The largest packet of a usual link.
pub const MTU_BYTES: u32 = 1500;
/// Half-flows that tenants may have.
pub const FLOWS_MAX: u32 = 64;

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// So much at once, and then as little as possible.
fn slow(amount: u64) -> Pace {
    Pace { burst: amount * u64::from(u32::MAX), factor: u32::MAX, shift: 0 }
}

impl World {
    /// Nothing but the provider.
    #[must_use]
    pub fn new() -> Self {
        let image = Image {
            endpoints: vec![Endpoint::default()],
            zones: vec![Zone::default()],
            next_hops: vec![NextHop::default()],
            outputs: vec![Output::default()],
            tenants: vec![Tenant { epoch: 1, flows_max: FLOWS_MAX }],
            policies: vec![Policy::default()],
            ..Image::default()
        };
        Self { image, owners: 1000 }
    }

    /// One more tenant.
    pub fn tenant(&mut self) -> u32 {
        push(&mut self.image.tenants, Tenant { epoch: 1, flows_max: FLOWS_MAX })
    }

    /// A router of the tenant: its zone.
    pub fn router(&mut self, tenant: u32) -> u32 {
        push(&mut self.image.zones, Zone { tenant, generation: 1, ..Zone::default() })
    }

    /// A network at a router (0: none) with gateways such as `10.1.0.1/24`.
    pub fn network(&mut self, tenant: u32, router: u32, mtu: u32, gateways: &[&str]) -> Network {
        let zone = self.image.zones.len() as u32;
        let mac = mac(0x0100 + zone as u16);
        let mut record = Zone { tenant, generation: 1, router, mac: Mac(mac), ..Zone::default() };
        for gateway in gateways {
            own(&mut record, gateway);
            let location = Location { mac: Mac(mac), ..Location::default() };
            self.image.locations.insert(key(zone, prefix(gateway).0), location);
            let is_v4 = ip(gateway.split('/').next().unwrap_or_default()).is_ipv4();
            if is_v4 {
                self.route(zone, &broadcast(gateway), to(route_kind::BROADCAST, 0));
            }
            if router != 0 {
                self.route(router, &net(gateway), to(route_kind::CONNECTED, zone));
            }
            if router != 0 && is_v4 {
                let net = net(gateway);
                let first = net.split('/').next().unwrap_or_default();
                self.route(router, first, to(route_kind::BROADCAST, 0));
                self.route(router, &broadcast(gateway), to(route_kind::BROADCAST, 0));
            }
        }
        push(&mut self.image.zones, record);
        Network { zone, mac, tenant, router, mtu_bytes: mtu }
    }

    /// A port with these addresses on an attachment of its own.
    pub fn port(&mut self, network: Network, addrs: &[&str], policy: u32) -> End {
        let ifindex = 10 + self.image.outputs.len() as u32;
        self.port_at(network, addrs, policy, ifindex, 0)
    }

    /// The same at this interface and VLAN.
    pub fn port_at(
        &mut self,
        network: Network,
        addrs: &[&str],
        policy: u32,
        ifindex: u32,
        vlan: u32,
    ) -> End {
        let id = self.image.endpoints.len() as u32;
        let attachment = self.attach(
            ifindex,
            vlan,
            output_kind::PEER,
            Attachment {
                kind: attachment_kind::PORTS,
                zone: network.zone,
                tenant: network.tenant,
                ..Attachment::default()
            },
        );
        let mac = mac(id as u16);
        let hop = self.hop(attachment, id, network.mtu_bytes, mac, network.mac, network.tenant);
        push(
            &mut self.image.endpoints,
            Endpoint {
                kind: kind::PORT,
                tenant: network.tenant,
                generation: 1,
                policy,
                network: network.zone,
                arrival: network.router,
                next_hop: hop,
                ..Endpoint::default()
            },
        );
        let (router, zone) = (network.mac, network.zone);
        let port = End { id, attachment, ifindex, vlan, mac, router, zone, hop };
        self.reached(port, addrs);
        port
    }

    /// The port's station, its addresses, and its place among those that floods reach.
    fn reached(&mut self, port: End, addrs: &[&str]) {
        let End { id, hop, mac, zone, .. } = port;
        self.station(port, mac);
        self.flooded(port);
        for addr in addrs {
            self.permit(port, &format!("{addr}/{}", if ip(addr).is_ipv4() { 32 } else { 128 }));
            let at = Location { endpoint: id, next_hop: hop, mac: Mac(mac), flags: 0 };
            self.image.locations.insert(key(zone, prefix(addr).0), at);
        }
    }

    /// One more port at the attachment of another.
    pub fn port_beside(&mut self, other: End, addrs: &[&str], policy: u32) -> End {
        let id = self.image.endpoints.len() as u32;
        let record = self.image.endpoints[other.id as usize];
        let (mac, hop) = (mac(id as u16), self.image.next_hops[other.hop as usize]);
        let (mtu, tenant) = (hop.mtu_bytes.into(), hop.tenant.into());
        let hop = self.hop(hop.attachment.into(), id, mtu, mac, hop.src.0, tenant);
        let record = Endpoint { policy, generation: 1, next_hop: hop, ..record };
        push(&mut self.image.endpoints, record);
        let port = End { id, mac, hop, ..other };
        self.reached(port, addrs);
        port
    }

    /// Broadcast and multicast of its network reach the port.
    fn flooded(&mut self, port: End) {
        let (ports, zones) = (&mut self.image.flood_ports, &mut self.image.zones);
        let zone = &mut zones[port.zone as usize];
        if zone.flood_count == 0 {
            zone.flood_first = ports.len() as u32;
        }
        let end = zone.flood_first + zone.flood_count;
        zone.flood_count += 1;
        ports.insert(end as usize, FloodPort { attachment: port.attachment, endpoint: port.id });
        let later = zones.iter_mut().filter(|zone| zone.flood_first >= end && zone.flood_count > 0);
        later.for_each(|zone| zone.flood_first += 1);
        let first = end + 1 - zones[port.zone as usize].flood_count;
        zones[port.zone as usize].flood_first = first;
        ports[first as usize..=end as usize].sort_by_key(|port| port.attachment);
    }

    /// The port has this address, which others may have as well.
    pub fn shared(&mut self, port: End, addr: &str) {
        let (flags, mac) = (location::SHARED, Mac(port.mac));
        let at = Location { endpoint: port.id, next_hop: port.hop, mac, flags };
        self.image.locations.insert(key(port.zone, prefix(addr).0), at);
    }

    /// One more MAC of a port; the empty one stands for any.
    pub fn station(&mut self, port: End, mac: [u8; 6]) {
        self.owners += 1;
        let key = StationKey { attachment: port.attachment, mac: Mac(mac), zero: [0; 6] };
        self.image
            .stations
            .insert(key, Station { endpoint: port.id, owner: self.owners, ..Station::default() });
    }

    /// The port may use these source addresses with its MAC.
    pub fn permit(&mut self, port: End, addrs: &str) {
        let (addr, bits) = prefix(addrs);
        let key = PermitKey { endpoint: port.id, mac: Mac(port.mac), zero: [0; 6], addr };
        self.image.permits.push((key, bits));
    }

    /// An uplink with our addresses on it and a next hop.
    pub fn uplink(&mut self, ifindex: u32, vlan: u32, own_addrs: &[&str]) -> End {
        let uplink = self.nic(ifindex, vlan, own_addrs, attachment_kind::UPLINK);
        self.owners += 1;
        let id = self.image.endpoints.len() as u32;
        let hop = self.hop(uplink.attachment, id, MTU_BYTES, uplink.mac, uplink.router, 0);
        push(
            &mut self.image.endpoints,
            Endpoint {
                kind: kind::UPLINK,
                generation: 1,
                arrival: uplink.zone,
                next_hop: hop,
                owner: self.owners,
                ..Endpoint::default()
            },
        );
        let at = AttachmentKey { ifindex, vlan };
        if let Some(attachment) = self.image.attachments.get_mut(&at) {
            attachment.endpoint = id;
        }
        End { id, hop, ..uplink }
    }

    /// An access with our addresses on it.
    pub fn access(&mut self, ifindex: u32, vlan: u32, own_addrs: &[&str]) -> End {
        self.nic(ifindex, vlan, own_addrs, attachment_kind::ACCESS)
    }

    /// A line with its session: `record` says whose it is and where it may go.
    pub fn line(&mut self, access: End, sessions: &[&str], record: Endpoint) -> End {
        self.owners += 1;
        let id = self.image.endpoints.len() as u32;
        let (attachment, tenant) = (access.attachment, record.tenant);
        let hop = self.hop(attachment, id, MTU_BYTES, access.mac, access.router, tenant);
        push(
            &mut self.image.endpoints,
            Endpoint {
                kind: kind::LINE,
                generation: 1,
                arrival: access.zone,
                next_hop: hop,
                owner: self.owners,
                ..record
            },
        );
        for session in sessions {
            let (addr, bits) = prefix(session);
            self.image.sessions.push((key(access.zone, addr), bits, id));
        }
        End { id, hop, ..access }
    }

    /// A prefix of a zone leads there.
    pub fn route(&mut self, zone: u32, addrs: &str, route: Route) {
        let (addr, bits) = prefix(addrs);
        let taken = self.image.routes.iter().map(|(_, _, route)| route.id);
        let id = taken.max().unwrap_or(0) + 1;
        self.image.routes.push((key(zone, addr), bits, Route { id, ..route }));
    }

    /// The host has these addresses on a link, and speaks all protocols of the link itself.
    pub fn host(&mut self, link: End, addrs: &[&str], policy: u32) {
        self.image.policies[policy as usize].is_host = true;
        for addr in addrs {
            self.route(link.zone, addr, to(route_kind::HOST, policy));
        }
        let of_the_link = flags::LACP | flags::LLDP;
        let untagged = AttachmentKey { ifindex: link.ifindex, vlan: 0 };
        let link_only = Attachment {
            id: link.attachment,
            kind: attachment_kind::LINK,
            zone: link.zone,
            host: of_the_link,
            ..Attachment::default()
        };
        self.image.attachments.entry(untagged).or_insert(link_only);
        let key = AttachmentKey { ifindex: link.ifindex, vlan: link.vlan };
        if let Some(attachment) = self.image.attachments.get_mut(&key) {
            attachment.host |= flags::HOST | if link.vlan == 0 { of_the_link } else { 0 };
        }
    }

    /// At a port's untagged attachment the host speaks all protocols of the link.
    pub fn speaks_on_the_link(&mut self, port: End) {
        let key = AttachmentKey { ifindex: port.ifindex, vlan: 0 };
        if let Some(attachment) = self.image.attachments.get_mut(&key) {
            attachment.host |= flags::LACP | flags::LLDP;
        }
    }

    /// A policy of these rules.
    pub fn policy(&mut self, flags: u32, egress: &[Rule], ingress: &[Rule]) -> u32 {
        let rules = &mut self.image.rules;
        let egress_first = rules.len() as u32;
        rules.extend_from_slice(egress);
        let ingress_first = rules.len() as u32;
        rules.extend_from_slice(ingress);
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.id = index as u32 + 1;
        }
        push(
            &mut self.image.policies,
            Policy {
                generation: 1,
                flags,
                egress_first,
                egress_count: egress.len() as u32,
                ingress_first,
                ingress_count: ingress.len() as u32,
                is_host: false,
            },
        )
    }

    /// One more way out.
    pub fn hop(
        &mut self,
        attachment: u32,
        endpoint: u32,
        mtu_bytes: u32,
        dst: [u8; 6],
        src: [u8; 6],
        tenant: u32,
    ) -> u32 {
        push(
            &mut self.image.next_hops,
            NextHop {
                attachment: attachment as u16,
                mtu_bytes: mtu_bytes as u16,
                endpoint,
                tenant: tenant as u16,
                state: state::READY,
                dst: Mac(dst),
                src: Mac(src),
                ..NextHop::default()
            },
        )
    }

    /// A meter that lets so many bytes pass at once, and then one in 17 ms.
    pub fn meter_of_bytes(&mut self, bytes: u64) -> u32 {
        self.metered(slow(bytes), Pace::default())
    }

    /// A meter that lets so many packets pass at once, and then one in 4 s.
    pub fn meter_of_packets(&mut self, packets: u64) -> u32 {
        self.metered(Pace::default(), slow(packets * 256))
    }

    /// A meter of these paces, which nobody had before.
    pub fn metered(&mut self, bytes: Pace, packets: Pace) -> u32 {
        static NEWEST: AtomicU32 = AtomicU32::new(1);
        let generation = NEWEST.fetch_add(1, Ordering::Relaxed);
        let meters = &mut self.image.meters;
        if meters.is_empty() {
            meters.push(Terms::default());
        }
        push(meters, Terms { generation, is_exact: generation.is_multiple_of(2), bytes, packets })
    }

    /// What the port sends is limited.
    pub fn limit_egress(&mut self, port: End, meter: u32) {
        let stations = self.image.stations.values_mut();
        stations.filter(|of| of.endpoint == port.id).for_each(|of| of.meter = meter);
    }

    /// What the port receives is limited.
    pub fn limit_ingress(&mut self, port: End, meter: u32) {
        let hops = self.image.next_hops.iter_mut();
        hops.filter(|hop| hop.endpoint == port.id).for_each(|hop| hop.meter = meter);
    }

    /// What the router forwards is limited.
    pub fn limit_router(&mut self, router: u32, meter: u32) {
        let Image { endpoints, stations, next_hops, .. } = &mut self.image;
        let is_on = |id: u32| {
            let end: &Endpoint = &endpoints[id as usize];
            end.arrival == router || end.destination == router
        };
        let stations = stations.values_mut().filter(|of| is_on(of.endpoint));
        stations.for_each(|of| of.router_meter = meter);
        let hops = next_hops.iter_mut().filter(|hop| is_on(hop.endpoint));
        hops.for_each(|hop| hop.router_meter = meter);
        let lines = endpoints.iter_mut().filter(|end| end.destination == router);
        lines.for_each(|line| line.router_meter = meter);
    }

    /// A next hop on the link of a NIC has this address.
    pub fn next_hop_at(&mut self, nic: End, address: &str) {
        let location = Location { endpoint: nic.id, next_hop: nic.hop, ..Location::default() };
        self.image.locations.insert(key(nic.zone, addr(address)), location);
    }

    /// A tenant's objects changed: its epoch goes on.
    pub fn touch(&mut self, tenant: u32) -> &mut Self {
        self.image.tenants[tenant as usize].epoch += 1;
        self
    }

    /// An endpoint's record, addresses or memberships changed.
    pub fn touch_endpoint(&mut self, id: u32) -> &mut Endpoint {
        let endpoint = &mut self.image.endpoints[id as usize];
        endpoint.generation += 1;
        let tenant = endpoint.tenant;
        self.touch(tenant);
        &mut self.image.endpoints[id as usize]
    }

    /// A policy of the tenant changed.
    pub fn touch_policy(&mut self, id: u32, tenant: u32) -> &mut Policy {
        self.touch(tenant);
        let policy = &mut self.image.policies[id as usize];
        policy.generation += 1;
        policy
    }

    /// A zone's record, routes or exports changed.
    pub fn touch_zone(&mut self, id: u32) -> &mut Zone {
        self.image.zones[id as usize].generation += 1;
        let tenant = self.image.zones[id as usize].tenant;
        self.touch(tenant);
        &mut self.image.zones[id as usize]
    }

    /// Takes away the routes of the zone to this prefix.
    pub fn withdraw(&mut self, zone: u32, addrs: &str) {
        let (addr, bits) = prefix(addrs);
        self.image.routes.retain(|(at, length, _)| *at != key(zone, addr) || *length != bits);
        self.touch_zone(zone);
    }

    fn nic(&mut self, ifindex: u32, vlan: u32, own_addrs: &[&str], kind: u32) -> End {
        let zone = self.image.zones.len() as u32;
        let router = mac(0x0100 + zone as u16);
        let mut record = Zone { generation: 1, mac: Mac(router), ..Zone::default() };
        for addr in own_addrs {
            own(&mut record, addr);
            let host = addr.split('/').next().unwrap_or(addr);
            self.route(zone, host, to(route_kind::OWN, 0));
        }
        push(&mut self.image.zones, record);
        let attached = Attachment { kind, zone, ..Attachment::default() };
        let attachment = self.attach(ifindex, vlan, output_kind::NIC, attached);
        let mac = mac(0x0200 + zone as u16);
        End { id: 0, attachment, ifindex, vlan, mac, router, zone, hop: 0 }
    }

    fn attach(&mut self, ifindex: u32, vlan: u32, kind: u32, attachment: Attachment) -> u32 {
        // As the compiler does it.
        let is_twice = vlan >> 16 != 0 && kind == output_kind::PEER;
        let kind = if is_twice { output_kind::DEVICE } else { kind };
        let id = push(&mut self.image.outputs, Output { ifindex, kind, vlan, tenant: 0 });
        let key = AttachmentKey { ifindex, vlan };
        self.image.attachments.insert(key, Attachment { id, ..attachment });
        id
    }
}

/// A rule for every protocol and port of one family, from or to anyone.
#[must_use]
pub fn any(family: u8) -> Rule {
    Rule { protocol: ANY_PROTOCOL, family, remote: remote::ANY, high: 0xffff, ..Rule::default() }
}

/// The two rules that permit everything.
#[must_use]
pub fn everything() -> [Rule; 2] {
    [any(family::V4), any(family::V6)]
}

/// A rule for these ports.
#[must_use]
pub fn only(family: u8, protocol: u8, low: u16, high: u16) -> Rule {
    Rule { protocol: protocol.into(), low, high, ..any(family) }
}

/// A rule for a prefix.
#[must_use]
pub fn within(rule: Rule, addrs: &str) -> Rule {
    let (addr, bits) = prefix(addrs);
    Rule { remote: remote::PREFIX, prefix: addr, prefix_bits: bits.into(), ..rule }
}

/// A route of this kind to a zone.
#[must_use]
pub fn to(kind: u32, zone: u32) -> Route {
    Route { kind, zone, ..Route::default() }
}

/// A route by these next hops.
#[must_use]
pub fn via(hops: &[u32]) -> Route {
    let mut route = Route { kind: route_kind::VIA, ..Route::default() };
    for (place, &hop) in route.hops.iter_mut().zip(hops) {
        *place = Hop::new(hop);
    }
    route.hops_count = hops.len() as u32;
    route
}

/// An address of 16 bytes.
#[must_use]
pub fn addr(text: &str) -> Addr {
    match ip(text) {
        IpAddr::V4(addr) => Addr::v4(addr.octets()),
        IpAddr::V6(addr) => Addr::v6(addr.octets()),
    }
}

/// The key of an address in a zone.
#[must_use]
pub fn key(zone: u32, addr: Addr) -> LocationKey {
    LocationKey { addr, zone, zero: 0 }
}

/// `10.1.0.0/24` with its length counted in 128 bits; without a length it is a host's.
#[must_use]
pub fn prefix(text: &str) -> (Addr, u8) {
    let (host, bits) = text.split_once('/').unwrap_or((text, ""));
    let offset = if ip(host).is_ipv4() { V4_PREFIX_OFFSET_BITS } else { 0 };
    (addr(host), bits.parse().map_or(128, |bits: u8| bits + offset))
}

/// The subnet of a gateway.
fn net(gateway: &str) -> String {
    let (addr, bits) = prefix(gateway);
    let mut bytes = addr.bytes();
    for (at, byte) in bytes.iter_mut().enumerate() {
        let left = u32::from(bits).saturating_sub(at as u32 * 8).min(8);
        *byte &= !(0xff_u32 >> left) as u8;
    }
    let ip = IpAddr::from(bytes).to_canonical();
    format!("{ip}/{}", bits - if ip.is_ipv4() { V4_PREFIX_OFFSET_BITS } else { 0 })
}

/// The broadcast address of a gateway's subnet.
fn broadcast(gateway: &str) -> String {
    let (addr, bits) = prefix(gateway);
    let host = u32::MAX.checked_shr(u32::from(bits - V4_PREFIX_OFFSET_BITS)).unwrap_or(0);
    let broadcast = u32::from_be_bytes(addr.v4_bytes()) | host;
    std::net::Ipv4Addr::from(broadcast).to_string()
}

fn own(zone: &mut Zone, gateway: &str) {
    let (addr, _) = prefix(gateway);
    if addr.is_v4() {
        zone.own_v4 = addr.v4_bytes();
    } else {
        zone.own_v6 = addr;
    }
}

/// A locally administered MAC.
#[must_use]
pub const fn mac(number: u16) -> [u8; 6] {
    let [a, b] = number.to_be_bytes();
    [2, 0, 0, 0, a, b]
}

fn push<T>(records: &mut Vec<T>, record: T) -> u32 {
    records.push(record);
    records.len() as u32 - 1
}
