//! Ports, lines and uplinks: who they are, where their addresses are, how they are
//! reached.

use std::{collections::HashMap, net::IpAddr};

use dataplane_common::{
    addr::Mac,
    table::{
        Location, LocationKey, PermitKey, Station, StationKey,
        endpoint::{Endpoint, flags, kind},
        location,
        next_hop::{NextHop, state},
    },
};
use ipnetwork::IpNetwork;

use super::{Builder, Kind, mac, prefix, put};
use crate::address::addr;
use crate::model::{
    self, AttachmentIx, Destination, Line, LineIx, LineState, Neighbour, NetworkIx, Port, PortIx,
    Security, Session, Uplink, UplinkIx,
};

/// MTU of uplinks and accesses whose interface is absent.
const LINK_MTU_BYTES: u16 = 1500;

pub(super) fn compile(b: &mut Builder<'_>) {
    let site = b.site;
    let owners = owners(b);
    for (ix, of) in site.ports.iter() {
        port(b, ix, of, &owners);
    }
    for (ix, of) in site.uplinks.iter() {
        uplink(b, ix, of);
    }
    // A line has an endpoint while it has a session.
    for session in &site.sessions {
        line(b, session, &site.lines[session.line]);
    }
}

/// Who has an address of a network.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    port: PortIx,
    mac: Mac,
    /// Others may have it, too.
    is_shared: bool,
}

/// The owners of addresses, and the link-local addresses that ports claimed.
#[derive(Default)]
struct Owners {
    of: HashMap<(NetworkIx, IpAddr), Owner>,
    claimed: HashMap<PortIx, Vec<(IpAddr, Mac)>>,
}

/// Whose each address is. A fixed address, or the link-local one of a MAC, is nobody else's;
/// a pair of several is that port's which claimed it last, or else the first one's of the file.
fn owners(b: &Builder<'_>) -> Owners {
    let mut owners = HashMap::new();
    for (port, of) in b.site.ports.iter() {
        let own = Owner { port, mac: mac(of.mac), is_shared: false };
        for ip in of.fixed_ips.iter().copied().chain([link_local(of.mac)]) {
            owners.insert((of.network, ip), own);
        }
    }
    let mut pairs: HashMap<_, Owner> = HashMap::new();
    for (port, of) in b.site.ports.iter() {
        let mut own: Vec<_> =
            of.address_pairs.iter().filter(|pair| is_single(pair.prefix)).collect();
        own.sort_unstable_by_key(|pair| (pair.prefix, pair.mac));
        for pair in own {
            let at = (of.network, pair.prefix.ip());
            if owners.contains_key(&at) {
                continue;
            }
            let own = Owner { port, mac: mac(pair.mac), is_shared: false };
            let owner = pairs.entry(at).or_insert(own);
            owner.is_shared |= *owner != own;
            if is_claimed(b, at, &own) {
                *owner = Owner { is_shared: owner.is_shared, ..own };
            }
        }
    }
    let claimed = claimed_link_locals(b);
    for (&port, addresses) in &claimed {
        for &(ip, mac) in addresses {
            let at = (b.site.ports[port].network, ip);
            if !owners.contains_key(&at) {
                pairs.entry(at).or_insert(Owner { port, mac, is_shared: false });
            }
        }
    }
    owners.extend(pairs);
    Owners { of: owners, claimed }
}

fn is_claimed(b: &Builder<'_>, (network, ip): (NetworkIx, IpAddr), by: &Owner) -> bool {
    let claim = b.facts.claims.get(&(b.network_name(network), ip));
    claim.is_some_and(|claim| claim.mac == by.mac.0 && claim.port == b.port_name(by.port))
}

/// The link-local addresses that ports claimed, each for one of its MACs.
fn claimed_link_locals(b: &Builder<'_>) -> HashMap<PortIx, Vec<(IpAddr, Mac)>> {
    let mut claimed: HashMap<_, Vec<_>> = HashMap::new();
    if b.facts.claims.is_empty() {
        return claimed;
    }
    let ports: HashMap<_, _> = b.site.ports.iter().map(|(ix, _)| (b.port_name(ix), ix)).collect();
    for ((network, ip), claim) in &b.facts.claims {
        let port = ports.get(&claim.port).copied();
        let is_here = |ix: &PortIx| b.network_name(b.site.ports[*ix].network) == *network;
        if let Some(ix) = port.filter(is_here)
            && ip.is_ipv6()
            && addr(*ip).is_link_local()
        {
            claimed.entry(ix).or_default().push((*ip, Mac(claim.mac)));
        }
    }
    claimed
}

fn is_single(prefix: IpNetwork) -> bool {
    prefix.prefix() == if prefix.is_ipv4() { 32 } else { 128 }
}

fn port(b: &mut Builder<'_>, ix: PortIx, port: &Port, owners: &Owners) {
    let network = &b.site.networks[port.network];
    let name = b.port_name(ix);
    let id = b.numbering.number(Kind::Endpoint, &name);
    let tenant = b.tenant(port.tenant);
    let zone = b.network(port.network);
    let arrival = b.router_of(port.network);
    let attachment = b.attachment_number(port.attachment);
    let gateway = network.router.map(|router| mac(b.site.routers[router].mac));
    let own = mac(port.mac);
    let mtu = interface_mtu(b, port.attachment).unwrap_or(u16::MAX);

    // Every MAC of the port is a station and a next hop of its own.
    let mut macs = vec![own];
    macs.extend(port.address_pairs.iter().map(|pair| mac(pair.mac)));
    macs.sort_unstable();
    macs.dedup();
    let limited = |direction: &str| format!("{name} {direction}");
    let egress = super::meters::of(b, &limited("egress"), port.limits.egress);
    let ingress = super::meters::of(b, &limited("ingress"), port.limits.ingress);
    let router_meter = super::meters::of_router(b, network.router);
    let sender = Station { endpoint: id, owner: 0, meter: egress, router_meter };
    let mut hops = Vec::new();
    for &dst in &macs {
        let station = format!("{name} {}", crate::address::mac(dst));
        let owner = b.numbering.number(Kind::Owner, &station);
        let key = StationKey { attachment, mac: dst, zero: [0; 6] };
        b.image.stations.insert(key, Station { owner, ..sender });
        let hop = b.numbering.number(Kind::NextHop, &station);
        let next_hop = NextHop {
            attachment: attachment as u16,
            mtu_bytes: network.mtu.min(mtu),
            endpoint: id,
            tenant: tenant as u16,
            state: state::READY,
            dst,
            src: gateway.unwrap_or_default(),
            meter: ingress,
            router_meter,
        };
        put(&mut b.image.next_hops, hop, next_hop);
        hops.push((dst, hop));
    }
    let hop_of = |mac: Mac| hops.iter().find(|(of, _)| *of == mac).map_or(0, |(_, hop)| *hop);

    // The port's own addresses, its link-local one (RFC 4291 appendix A) and its pairs.
    let whole = |ip: IpAddr| (IpNetwork::from(ip), own);
    let mut claims: Vec<(IpNetwork, Mac)> = port.fixed_ips.iter().map(|&ip| whole(ip)).collect();
    claims.push(whole(link_local(port.mac)));
    let is_own = |ip: IpAddr, mac: Mac| {
        owners.of.get(&(port.network, ip)).filter(|owner| owner.port == ix && owner.mac == mac)
    };
    let link_locals = owners.claimed.get(&ix).into_iter().flatten();
    let link_locals = link_locals.filter(|(ip, mac)| is_own(*ip, *mac).is_some());
    claims.extend(link_locals.map(|&(ip, mac)| (IpNetwork::from(ip), mac)));
    claims.extend(port.address_pairs.iter().map(|pair| (pair.prefix, mac(pair.mac))));
    claims.sort_unstable();
    claims.dedup();
    let mut held = Vec::new();
    for &(network, mac) in &claims {
        let (address, bits) = prefix(network);
        let permit = PermitKey { endpoint: id, mac, zero: [0; 6], addr: address };
        b.image.permits.push((permit, bits));
        if let Some(owner) = is_own(network.ip(), mac)
            && bits == 128
        {
            let flags = if owner.is_shared { location::SHARED } else { 0 };
            let location = Location { endpoint: id, next_hop: hop_of(mac), mac, flags };
            let key = LocationKey { addr: address, zone, zero: 0 };
            // A gateway's address is the router's in any case.
            if *b.image.locations.entry(key).or_insert(location) == location {
                held.push(address);
            }
        }
    }

    let mut flag = if network.mec_only { flags::MEC_ONLY } else { 0 };
    if port.dhcp_server {
        flag |= flags::DHCP_SERVER;
    }
    let (policy, groups) = match &port.security {
        Security::On { groups, .. } => {
            (super::policies::of(b, port.tenant, groups), groups.as_slice())
        }
        Security::Off => {
            flag |= flags::INSECURE;
            let owner = b.numbering.number(Kind::Owner, &format!("{name} any"));
            let key = StationKey { attachment, mac: Mac::default(), zero: [0; 6] };
            b.image.stations.insert(key, Station { owner, ..sender });
            (0, [].as_slice())
        }
    };
    let endpoint = Endpoint {
        kind: kind::PORT,
        flags: flag,
        tenant,
        generation: 0,
        policy,
        network: zone,
        arrival,
        destination: 0,
        next_hop: hop_of(own),
        ..Endpoint::default()
    };
    let sets = super::policies::sets_of_groups(b, groups);
    let content = format!("{endpoint:?} {attachment} {claims:?} {held:?} {sets:?}");
    let generation = b.generation(Kind::Endpoint, id, tenant, &content);
    put(&mut b.image.endpoints, id, Endpoint { generation, ..endpoint });
}

/// The link-local address that a MAC's interface identifier makes.
#[must_use]
pub fn link_local(mac: model::Mac) -> IpAddr {
    let [a, b, c, d, e, f] = mac.octets();
    IpAddr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn uplink(b: &mut Builder<'_>, ix: UplinkIx, uplink: &Uplink) {
    let name = b.uplink_name(ix);
    let id = b.numbering.number(Kind::Endpoint, &name);
    let hops: Vec<_> = uplink.next_hops.iter().map(|hop| uplink_hop(b, ix, uplink, hop)).collect();
    let endpoint = Endpoint {
        kind: kind::UPLINK,
        arrival: b.uplink(ix),
        next_hop: hops.first().copied().unwrap_or(0),
        owner: b.numbering.number(Kind::Owner, &name),
        ..Endpoint::default()
    };
    let generation = b.generation(Kind::Endpoint, id, 0, &format!("{endpoint:?}"));
    put(&mut b.image.endpoints, id, Endpoint { generation, ..endpoint });
}

fn line(b: &mut Builder<'_>, session: &Session, line: &Line) {
    let name = b.line_name(session.line);
    let id = b.numbering.number(Kind::Endpoint, &name);
    let tenant = b.tenant(line.tenant);
    let access = b.access(line.access);
    let (destination, network) = match line.destination {
        Destination::Router(router) => (b.router(router), 0),
        Destination::Network { network, router } => (b.router(router), b.network(network)),
        Destination::Uplink(uplink) => (b.uplink(uplink), 0),
    };
    let router = match line.destination {
        Destination::Router(router) | Destination::Network { router, .. } => Some(router),
        Destination::Uplink(_) => None,
    };
    let router_meter = super::meters::of_router(b, router);
    let policy =
        line.groups.as_ref().map_or(0, |groups| super::policies::of(b, line.tenant, groups));
    for &network in &session.addresses {
        let (addr, bits) = prefix(network);
        b.image.sessions.push((LocationKey { addr, zone: access, zero: 0 }, bits, id));
    }
    let endpoint = Endpoint {
        kind: kind::LINE,
        flags: if line.state == LineState::Suspended { flags::SUSPENDED } else { 0 },
        tenant,
        generation: 0,
        policy,
        network,
        arrival: access,
        destination,
        next_hop: line_hop(b, session.line, line, id, (tenant, router_meter)),
        owner: b.numbering.number(Kind::Owner, &name),
        ..Endpoint::default()
    };
    let sets = super::policies::sets_of_line(b, session.line);
    let content = format!("{endpoint:?} {:?} {sets:?}", session.addresses);
    let generation = b.generation(Kind::Endpoint, id, tenant, &content);
    // No judgement rests on a limit.
    put(&mut b.image.endpoints, id, Endpoint { generation, router_meter, ..endpoint });
}

/// A line is reached through its access's gateway; the record is the line's own,
/// because a next hop names its receiver.
fn line_hop(
    b: &mut Builder<'_>,
    ix: LineIx,
    line: &Line,
    endpoint: u32,
    (tenant, router_meter): (u32, u32),
) -> u32 {
    let access = &b.site.accesses[line.access];
    let name = b.line_name(ix);
    let src = b.own_mac(access.mac, access.attachment);
    let hop = outside(b, &name, access.attachment, &access.next_hop, endpoint, (src, tenant));
    b.image.next_hops[hop as usize].router_meter = router_meter;
    hop
}

/// The largest packet that the interface takes, if it is there; none of IP's is larger.
fn interface_mtu(b: &Builder<'_>, at: AttachmentIx) -> Option<u16> {
    let interface = b.facts.interfaces.get(b.site.attachments[at].interface.as_str())?;
    Some(u16::try_from(interface.mtu_bytes).unwrap_or(u16::MAX))
}

/// One next hop of an uplink.
pub(super) fn uplink_hop(
    b: &mut Builder<'_>,
    ix: UplinkIx,
    uplink: &Uplink,
    hop: &Neighbour,
) -> u32 {
    let name = b.uplink_name(ix);
    let endpoint = b.numbering.number(Kind::Endpoint, &name);
    let src = b.own_mac(uplink.mac, uplink.attachment);
    outside(b, &format!("{name} {}", hop.address), uplink.attachment, hop, endpoint, (src, 0))
}

/// A next hop on a NIC: its MAC is stated, or was found out.
fn outside(
    b: &mut Builder<'_>,
    name: &str,
    at: AttachmentIx,
    hop: &Neighbour,
    endpoint: u32,
    (src, tenant): (Mac, u32),
) -> u32 {
    let id = b.numbering.number(Kind::NextHop, name);
    let attachment = b.attachment_number(at);
    let link = &b.site.attachments[at];
    let link = (link.interface.to_string(), link.vlans(), hop.address);
    let known = hop.mac.map(mac).or_else(|| b.facts.neighbours.get(&link).copied());
    let next_hop = NextHop {
        attachment: attachment as u16,
        mtu_bytes: interface_mtu(b, at).unwrap_or(LINK_MTU_BYTES),
        endpoint,
        tenant: tenant as u16,
        state: if known.is_some() { state::READY } else { state::UNRESOLVED },
        dst: known.unwrap_or_default(),
        src,
        ..NextHop::default()
    };
    put(&mut b.image.next_hops, id, next_hop);
    id
}
