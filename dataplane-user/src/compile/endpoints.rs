//! Ports, lines and uplinks: who they are, where their addresses are, how they are
//! reached.

use std::net::{IpAddr, Ipv6Addr};

use dataplane_common::{
    addr::Mac,
    table::{
        Attachment, AttachmentKey, Location, LocationKey, PermitKey, Station, StationKey,
        attachment_kind,
        endpoint::{Endpoint, flags, kind},
        next_hop::{NextHop, state},
    },
};
use ipnetwork::IpNetwork;

use super::{Builder, Kind, prefix, put};
use crate::model::{Destination, LineIx, LineState, PortIx, UplinkIx};

/// MTU of uplinks and accesses.
const MTU_BYTES: u32 = 1500;

pub(super) fn compile(b: &mut Builder<'_>) {
    for ix in b.site.port_ixs() {
        port(b, ix);
    }
    for ix in b.site.uplink_ixs() {
        uplink(b, ix);
    }
    for ix in b.site.line_ixs() {
        line(b, ix);
    }
}

fn port(b: &mut Builder<'_>, ix: PortIx) {
    let port = &b.site[ix];
    let network = &b.site[port.network];
    let name = super::endpoint_name(b.site, ix);
    let id = b.numbering.number(Kind::Endpoint, &name);
    let tenant = b.tenant(port.tenant);
    let zone = b.zone_of_network(port.network);
    let arrival = b.zone_of_router(port.network);
    let vlan = port.vlan.unwrap_or(0);
    let at = b.attachment(&port.interface, vlan);
    if let Some(facts) = b.facts.interfaces.get(&port.interface) {
        let key = AttachmentKey { ifindex: facts.ifindex, vlan: u32::from(vlan) };
        let attachment = Attachment {
            id: at,
            kind: attachment_kind::PORTS,
            zone,
            tenant,
            endpoint: 0,
            zero: 0,
        };
        b.image.attachments.insert(key, attachment);
    }
    let mut content = format!("{at} {zone} {arrival} {:?}", port.mac);

    // Every MAC of the port is a station and a next hop of its own.
    let mut macs = vec![port.mac];
    macs.extend(port.allowed_address_pairs.iter().map(|pair| pair.mac));
    macs.sort_unstable();
    macs.dedup();
    let gateway = b.site.router_of(port.network).map(|router| b.site[router].mac);
    let mut hops = Vec::new();
    for &mac in &macs {
        let station = format!("{name} {}", crate::trace::mac(mac));
        let owner = b.numbering.number(Kind::Owner, &station);
        let key = StationKey { attachment: at, mac, zero: [0; 6] };
        b.image.stations.insert(key, Station { endpoint: id, owner });
        let hop = b.numbering.number(Kind::NextHop, &station);
        let next_hop = NextHop {
            attachment: at,
            endpoint: id,
            mtu_bytes: u32::from(network.mtu),
            state: state::READY,
            dst: mac,
            src: gateway.unwrap_or_default(),
            tenant,
        };
        put(&mut b.image.next_hops, hop, next_hop);
        hops.push((mac, hop));
    }
    if !port.port_security {
        let owner = b.numbering.number(Kind::Owner, &format!("{name} any"));
        let key = StationKey { attachment: at, mac: Mac::default(), zero: [0; 6] };
        b.image.stations.insert(key, Station { endpoint: id, owner });
    }

    // The port's own addresses, its link-local one (RFC 4291 appendix A) and its pairs.
    let whole = |ip: IpAddr| (IpNetwork::from(ip), port.mac);
    let mut claims: Vec<(IpNetwork, Mac)> = port.fixed_ips.iter().map(|&ip| whole(ip)).collect();
    claims.push(whole(link_local(port.mac).into()));
    claims.extend(port.allowed_address_pairs.iter().map(|pair| (pair.prefix, pair.mac)));
    for (network, mac) in claims {
        let (address, bits) = prefix(network);
        let permit = PermitKey { endpoint: id, mac, zero: [0; 2], addr: address };
        if b.image.permits.iter().all(|known| *known != (permit, bits)) {
            b.image.permits.push((permit, bits));
        }
        content.push_str(&format!(" {network}={mac:?}"));
        if bits == 128 {
            let hop = hops.iter().find(|(of, _)| *of == mac).map_or(0, |(_, hop)| *hop);
            let location = Location { endpoint: id, next_hop: hop, mac, zero: [0; 2] };
            // A pair that several ports hold stays with the first of the file.
            let key = LocationKey { addr: address, zone, zero: 0 };
            b.image.locations.entry(key).or_insert(location);
        }
    }

    let mut flag = 0;
    if network.mec_only {
        flag |= flags::MEC_ONLY;
    }
    if !port.port_security {
        flag |= flags::INSECURE;
    }
    let policy = if port.port_security { super::policies::of(b, port.tenant, &port.security_groups) } else { 0 };
    let next_hop = hops.iter().find(|(mac, _)| *mac == port.mac).map_or(0, |(_, hop)| *hop);
    content.push_str(&format!(" {flag} {policy} {:?}", port.security_groups));
    let generation = b.generation(Kind::Endpoint, id, tenant, content);
    let endpoint = Endpoint {
        kind: kind::PORT,
        flags: flag,
        tenant,
        generation,
        policy,
        network: zone,
        arrival,
        destination: 0,
        next_hop,
        owner: 0,
    };
    put(&mut b.image.endpoints, id, endpoint);
}

/// The link-local address that a MAC's interface identifier makes.
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn uplink(b: &mut Builder<'_>, ix: UplinkIx) {
    let uplink = &b.site[ix];
    let name = format!("uplink {}", uplink.name);
    let id = b.numbering.number(Kind::Endpoint, &name);
    let zone = b.zone_of_uplink(ix);
    let at = b.attachment(&uplink.interface, uplink.vlan.unwrap_or(0));
    let owner = b.numbering.number(Kind::Owner, &name);
    let hops = super::zones::uplink_hops(b, ix);
    let content = format!("{at} {zone}");
    let generation = b.generation(Kind::Endpoint, id, 0, content);
    let endpoint = Endpoint {
        kind: kind::UPLINK,
        generation,
        arrival: zone,
        next_hop: hops.first().copied().unwrap_or(0),
        owner,
        ..Endpoint::default()
    };
    put(&mut b.image.endpoints, id, endpoint);
}

/// A line has an endpoint while it has a session.
fn line(b: &mut Builder<'_>, ix: LineIx) {
    let line = &b.site[ix];
    let Some(session) = b.site.session_of(ix) else { return };
    let name = super::line_name(b.site, ix);
    let id = b.numbering.number(Kind::Endpoint, &name);
    let tenant = b.tenant(line.tenant);
    let access = b.zone_of_access(line.access);
    let (destination, network) = match line.destination {
        Destination::Router(router) => (super::zones::router(b, router), 0),
        Destination::Network(network) => (b.zone_of_router(network), b.zone_of_network(network)),
        Destination::Uplink(uplink) => (b.zone_of_uplink(uplink), 0),
    };
    let owner = b.numbering.number(Kind::Owner, &name);
    let next_hop = access_hop(b, ix, id, tenant);
    let policy = match &line.security_groups {
        Some(groups) => super::policies::of(b, line.tenant, groups),
        None => 0,
    };
    let flag = if line.state == LineState::Suspended { flags::SUSPENDED } else { 0 };
    let mut content = format!("{access} {destination} {network} {policy} {flag}");
    for &network in &session.addresses {
        let (address, bits) = prefix(network);
        let key = LocationKey { addr: address, zone: access, zero: 0 };
        b.image.sessions.push((key, bits, id));
        content.push_str(&format!(" {network}"));
    }
    content.push_str(&super::policies::memberships_of_line(b, ix));
    let generation = b.generation(Kind::Endpoint, id, tenant, content);
    let endpoint = Endpoint {
        kind: kind::LINE,
        flags: flag,
        tenant,
        generation,
        policy,
        network,
        arrival: access,
        destination,
        next_hop,
        owner,
    };
    put(&mut b.image.endpoints, id, endpoint);
}

/// A line is reached through its access's gateway; the record is its own, because
/// a next hop names its receiver.
fn access_hop(b: &mut Builder<'_>, ix: LineIx, endpoint: u32, tenant: u32) -> u32 {
    let access = &b.site[b.site[ix].access];
    let id = b.numbering.number(Kind::NextHop, &super::line_name(b.site, ix));
    let vlan = access.vlan.unwrap_or(0);
    let at = b.attachment(&access.interface, vlan);
    let known = access.next_hop.mac.or_else(|| neighbour(b, &access.interface, vlan, access.next_hop.address));
    let next_hop = NextHop {
        attachment: at,
        endpoint,
        mtu_bytes: MTU_BYTES,
        state: if known.is_some() { state::READY } else { state::UNRESOLVED },
        dst: known.unwrap_or_default(),
        src: access.mac.unwrap_or_else(|| b.mac_of(&access.interface)),
        tenant,
    };
    put(&mut b.image.next_hops, id, next_hop);
    id
}

/// The MAC that the neighbour was found to have.
pub(super) fn neighbour(b: &Builder<'_>, interface: &str, vlan: u16, ip: IpAddr) -> Option<Mac> {
    b.facts.neighbours.get(&(interface.to_owned(), vlan, ip)).copied()
}

/// One next hop of an uplink.
pub(super) fn uplink_hop(b: &mut Builder<'_>, ix: UplinkIx, at: usize) -> u32 {
    let uplink = &b.site[ix];
    let hop = &uplink.next_hops[at];
    let name = format!("uplink {} {}", uplink.name, hop.address);
    let id = b.numbering.number(Kind::NextHop, &name);
    let vlan = uplink.vlan.unwrap_or(0);
    let attachment = b.attachment(&uplink.interface, vlan);
    let endpoint = b.numbering.number(Kind::Endpoint, &format!("uplink {}", uplink.name));
    let known = hop.mac.or_else(|| neighbour(b, &uplink.interface, vlan, hop.address));
    let next_hop = NextHop {
        attachment,
        endpoint,
        mtu_bytes: MTU_BYTES,
        state: if known.is_some() { state::READY } else { state::UNRESOLVED },
        dst: known.unwrap_or_default(),
        src: uplink.mac.unwrap_or_else(|| b.mac_of(&uplink.interface)),
        tenant: 0,
    };
    put(&mut b.image.next_hops, id, next_hop);
    id
}
