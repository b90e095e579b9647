//! What is plugged in where, with which addresses, behind which groups?

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane_common::limits::FLOOD_PORTS_OF_NETWORK;

use super::attachment::{Attachments, Tags};
use super::network::Segment;
use super::router::Legs;
use super::{Context, Lists, Names, filter, limit, prefix, rate};
use crate::config::file;
use crate::config::tree::NodeId;
use crate::config::{At, Block, Host};
use crate::model::{
    AddressPair, AttachmentIx, Ix, Mac, NetworkIx, Owner, Port, Security, Subnet, TenantIx,
};

/// What is taken in a network, and by whom.
#[derive(Default)]
struct Taken {
    macs: HashMap<(NetworkIx, Mac), NodeId>,
    addresses: HashMap<(NetworkIx, IpAddr), NodeId>,
}

pub(super) fn ports(
    cx: &mut Context<'_>,
    lists: &Lists<'_>,
    names: &Names,
    legs: &Legs,
    segments: &[Segment],
    attachments: &mut Attachments,
) -> Vec<Option<Port>> {
    let mut taken = Taken::default();
    let mut ports = Vec::new();
    let mut attached = Vec::new();
    let mut crowds: HashMap<NetworkIx, u32> = HashMap::new();
    for (tenant, port) in &lists.ports {
        let network = port.network.given();
        let network = network.and_then(|at| names.of(*tenant).networks.find(cx, at));
        let owner = network.map(Owner::Network);
        let tags = Tags { vlan: &port.vlan, service_vlan: &port.service_vlan };
        let attachment = attachments.claim(cx, &port.interface, tags, &port.hook, owner);
        attached.push(attachment);
        cx.limit(port.fixed_ips.items(), limit::FIXED_IPS_PER_PORT);
        if let Some(network) = network {
            let crowd = crowds.entry(network).or_default();
            *crowd += 1;
            if *crowd == FLOOD_PORTS_OF_NETWORK + 1 {
                crowded(cx, port);
            }
            mac(cx, legs, &mut taken, network, port);
            for at in port.fixed_ips.items() {
                let routed = legs.router(network).is_some();
                let segment = &segments[network.position()];
                if fixed_ip(cx, segment, routed, at)
                    && let Some(first) = taken.addresses.insert((network, at.value.0), at.node)
                {
                    let message = format!("{} is taken in the network", at.value.0);
                    let help = format!("see {}", cx.see(first));
                    cx.error(at.node, message, &help);
                }
            }
        }
        let around = network.map(|ix| (&segments[ix.position()], router_of(legs, ix)));
        let address_pairs = address_pairs(cx, around, port);
        let security = security(cx, lists, names, *tenant, port);
        let limits = rate::of_port(cx, &port.limits);
        let made = || {
            Some(Port {
                tenant: *tenant,
                name: port.name.value()?,
                network: network?,
                attachment: attachment?,
                mac: port.mac.value()?,
                fixed_ips: port.fixed_ips.items().iter().map(|at| at.value.0).collect(),
                address_pairs: address_pairs?,
                security: security?,
                dhcp_server: port.dhcp_server.or(false)?,
                limits: limits?,
            })
        };
        ports.push(made());
    }
    stations_apart(cx, lists, &attached);
    ports
}

/// Tells that the network has more ports than a frame is copied for.
fn crowded(cx: &mut Context<'_>, port: &file::Port) {
    let message = "broadcast and multicast are not forwarded in this network any more";
    let help = format!("it has more than {FLOOD_PORTS_OF_NETWORK} ports here");
    cx.out.warning(port.node, message).help(help);
}

/// Refuses a pair's MAC that is another port's on the same attachment: a frame is judged as
/// the one port's that has its MAC there.
fn stations_apart(cx: &mut Context<'_>, lists: &Lists<'_>, attached: &[Option<AttachmentIx>]) {
    let ports = || lists.ports.iter().map(|(_, port)| port).zip(attached).enumerate();
    let mut stations = HashMap::new();
    let mut open: HashMap<AttachmentIx, &file::Port> = HashMap::new();
    for (_, (port, attachment)) in ports() {
        if let (Some(attachment), Some(false)) = (*attachment, port.port_security.value()) {
            open.entry(attachment).or_insert(port);
        }
    }
    for (_, (port, attachment)) in ports() {
        if let (Some(attachment), Some(true)) = (*attachment, port.port_security.or(true))
            && let Some(other) = open.get(&attachment)
        {
            let message = "whoever sends from another MAC here passes without a check";
            let help =
                format!("{} shares the attachment without port security", cx.see(other.node));
            cx.out.warning(port.node, message).help(help);
        }
    }
    // The ports' own come first, so that it is the pair that is refused.
    for (position, (port, attachment)) in ports() {
        if let (Some(at), Some(attachment)) = (port.mac.given(), *attachment) {
            stations.entry((attachment, at.value)).or_insert((position, at.node));
        }
    }
    for (position, (port, attachment)) in ports() {
        for pair in port.allowed_address_pairs.items() {
            let (Some(at), Some(attachment)) = (pair.mac_address.given(), *attachment) else {
                continue;
            };
            let (other, first) =
                *stations.entry((attachment, at.value)).or_insert((position, at.node));
            if other != position {
                let message = format!("{} is another port's on the same attachment", at.value);
                let help = format!(
                    "see {}; give the pair another MAC, or each port an interface or VLAN of its own",
                    cx.see(first)
                );
                cx.error(at.node, message, &help);
            }
        }
    }
}

fn mac(
    cx: &mut Context<'_>,
    legs: &Legs,
    taken: &mut Taken,
    network: NetworkIx,
    port: &file::Port,
) {
    let Some(at) = port.mac.given() else { return };
    if let Some(first) = taken.macs.insert((network, at.value), at.node) {
        let help = format!("see {}", cx.see(first));
        cx.error(at.node, format!("{} is taken in the network", at.value), &help);
    }
    if router_of(legs, network) == Some(Some(at.value)) {
        of_router(cx, at);
    }
}

/// The MAC of the network's router, if there is one and the MAC is known.
fn router_of(legs: &Legs, network: NetworkIx) -> Option<Option<Mac>> {
    legs.router(network).map(|router| legs.macs[router.position()])
}

fn of_router(cx: &mut Context<'_>, at: &At<Mac>) {
    let message = format!("{} is the MAC of the network's router", at.value);
    cx.error(at.node, message, "give one of them another");
}

fn fixed_ip(cx: &mut Context<'_>, segment: &Segment, routed: bool, at: &At<Host>) -> bool {
    let address = at.value.0;
    let Some(subnet) = segment.subnet_of(address) else {
        if segment.whole {
            let subnets = segment.subnets.iter().map(|(subnet, _)| subnet.prefix);
            let help = prefix::listed("its subnets", subnets);
            cx.error(at.node, format!("{address} is in no subnet of the network"), &help);
        }
        return false;
    };
    machine(cx, subnet, routed, address, at.node)
}

/// Whether a machine can have an address of the subnet.
fn machine(
    cx: &mut Context<'_>,
    subnet: Subnet,
    routed: bool,
    address: IpAddr,
    place: NodeId,
) -> bool {
    let message = if !prefix::for_hosts(subnet.prefix, address) {
        if subnet.prefix.network() == address {
            format!("{address} is the address of the subnet {} itself", subnet.prefix)
        } else {
            format!("{address} is the broadcast address of the subnet {}", subnet.prefix)
        }
    } else if routed && subnet.gateway == address {
        format!("{address} is the gateway, which is the router's")
    } else {
        return true;
    };
    cx.error(place, message, "give the port another address");
    false
}

fn address_pairs(
    cx: &mut Context<'_>,
    network: Option<(&Segment, Option<Option<Mac>>)>,
    port: &file::Port,
) -> Option<Vec<AddressPair>> {
    let items = port.allowed_address_pairs.items();
    cx.limit(items, limit::ADDRESS_PAIRS_PER_PORT);
    let mut pairs = Vec::new();
    let mut seen = HashMap::new();
    for item in items {
        if let Some((segment, router)) = network {
            if let Some(at) = item.ip_address.given() {
                pair_address(cx, segment, router.is_some(), at);
            }
            if let Some(at) = item.mac_address.given()
                && router == Some(Some(at.value))
            {
                of_router(cx, at);
            }
        }
        if let Some(at) = item.ip_address.given()
            && at.value.0.prefix() == 0
        {
            let message = format!("the port may send from any address ({})", at.value.0);
            let found = cx.out.warning(at.node, message);
            found.help("and every rule whose remote is one of its groups admits everybody");
        }
        let mac = if item.mac_address.is_absent() { &port.mac } else { &item.mac_address };
        let pair = item.ip_address.value().zip(mac.value());
        if let Some((block, mac)) = pair
            && let Some(first) = seen.insert((block.0, mac), item.node)
        {
            let help = format!("the first is {}", cx.see(first));
            cx.error(item.node, "the same pair stands there already", &help);
        }
        pairs.push(pair.map(|(block, mac)| AddressPair { prefix: block.0, mac }));
    }
    super::all(pairs)
}

/// Refuses a source that no machine of the network has. A prefix may hold such addresses.
fn pair_address(cx: &mut Context<'_>, segment: &Segment, routed: bool, at: &At<Block>) {
    let prefix = at.value.0;
    if let Some(reserved) = prefix::reserved(prefix).filter(|range| !range.on_link) {
        let message = format!("{} cannot be a source: {reserved}", prefix::shown(prefix));
        cx.error(at.node, message, "an address or prefix of machines");
    } else if prefix.prefix() == if prefix.is_ipv4() { 32 } else { 128 }
        && let Some(subnet) = segment.subnet_of(prefix.ip())
    {
        machine(cx, subnet, routed, prefix.ip(), at.node);
    }
}

fn security(
    cx: &mut Context<'_>,
    lists: &Lists<'_>,
    names: &Names,
    tenant: TenantIx,
    port: &file::Port,
) -> Option<Security> {
    let written = port.security_groups.items();
    let within = names.of(tenant);
    let membership = if port.security_groups.is_absent() {
        let default = within.default_group()?;
        let group = lists.groups[default.position()].1;
        let stateful = group.map_or(Some(true), |group| group.stateful.or(true));
        Some((vec![default], stateful?))
    } else {
        filter::membership(cx, lists, within, written)
    };
    if port.port_security.or(true)? {
        let (groups, stateful) = membership?;
        return Some(Security::On { groups, stateful });
    }
    if let Some(first) = written.first() {
        let message = "a port without port security has no security groups";
        cx.error(first.node, message, "leave them out, or set port_security: true");
    }
    if let Some(first) = port.allowed_address_pairs.items().first() {
        let message = "a port without port security has no address pairs";
        cx.error(first.node, message, "it may send from any address already");
    }
    Some(Security::Off)
}
