//! What would a port's host do: from which MAC does it send, and whose does it send to?

use std::net::IpAddr;

use dataplane_common::addr::Mac;

use crate::{
    address::addr,
    compile::{Compiled, ids::Kind},
    model::{Port, Site, Subnet},
    view::Step,
};

/// The host, as it sends from one of its addresses.
pub(super) struct Host {
    /// Its MAC: that of the address pair that lets it, or the port's.
    pub mac: Mac,
    /// The subnets that it takes for its own.
    pub subnets: Vec<Subnet>,
}

impl Host {
    /// The host behind the endpoint, if that is a port.
    pub fn of(model: &Site, site: &Compiled, endpoint: u32, source: IpAddr) -> Option<Self> {
        let name = site.ids.name(Kind::Endpoint, endpoint).strip_prefix("port ")?;
        let (tenant, name) = name.split_once('/')?;
        let is_it = |port: &&Port| {
            model.tenants[port.tenant].name.as_str() == tenant && port.name.as_str() == name
        };
        let port = model.ports.values().find(is_it)?;
        let mut subnets = model.networks[port.network].subnets.clone();
        if subnets.iter().any(|subnet| subnet.prefix.contains(source)) {
            subnets.retain(|subnet| subnet.prefix.contains(source));
        }
        Some(Self { mac: mac(port, source), subnets })
    }

    /// Who gets the frame: on the host's own link the destination, beyond it the gateway.
    pub fn next(&self, to: IpAddr) -> Option<IpAddr> {
        let is_near = self.subnets.iter().any(|subnet| subnet.prefix.contains(to))
            || to.is_ipv6() && addr(to).is_link_local();
        let mut gateways = self.subnets.iter().map(|subnet| subnet.gateway);
        if is_near { Some(to) } else { gateways.find(|gateway| gateway.is_ipv4() == to.is_ipv4()) }
    }
}

fn mac(port: &Port, source: IpAddr) -> Mac {
    let pairs = port.address_pairs.iter().filter(|pair| pair.prefix.contains(source));
    let macs: Vec<_> = pairs.map(|pair| pair.mac).collect();
    let is_own = port.fixed_ips.contains(&source) || macs.contains(&port.mac);
    Mac(macs.first().filter(|_| !is_own).unwrap_or(&port.mac).octets())
}

/// The MAC that frames to a group of hosts have (RFC 1112 section 6.4, RFC 2464 section 7),
/// those to all hosts of the link included (RFC 919).
pub(super) fn group_mac(to: IpAddr, subnets: &[Subnet]) -> Option<Mac> {
    match to {
        IpAddr::V4(to) if to.is_multicast() => {
            let [_, a, b, c] = to.octets();
            Some(Mac([0x01, 0x00, 0x5e, a & 0x7f, b, c]))
        }
        IpAddr::V4(to) => {
            // A link of two ends has no broadcast (RFC 3021).
            let is_all = |subnet: &Subnet| {
                subnet.prefix.prefix() < 31 && subnet.prefix.broadcast() == IpAddr::V4(to)
            };
            (to.is_broadcast() || subnets.iter().any(is_all)).then_some(Mac::BROADCAST)
        }
        IpAddr::V6(to) if to.is_multicast() => {
            let [.., a, b, c, d] = to.octets();
            Some(Mac([0x33, 0x33, a, b, c, d]))
        }
        IpAddr::V6(_) => None,
    }
}

/// Why the frame is a question.
pub(super) fn asks(next: IpAddr, to: IpAddr) -> Step {
    let whose = if next == to { "" } else { " as the gateway" };
    let by = if to.is_ipv4() { "ARP" } else { "neighbour discovery" };
    Step {
        stage: "resolve".to_owned(),
        decision: format!(
            "{next} is on the sender's own link{whose}, and nobody there has it: its host asks \
             for the MAC by {by}, and sends nothing else before it is told"
        ),
    }
}
