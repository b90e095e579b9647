//! Where does a destination lead? Linear longest prefix.

use std::net::IpAddr;

use dataplane_user::model::{
    AccessIx, Destination, Exporter, LineIx, Mac, NetworkIx, NextHop, PortIx, RouterIx, Target,
    UplinkIx,
};
use ipnetwork::IpNetwork;

use super::{Reference, host};

/// Where a router's table leads.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Connected(NetworkIx),
    /// The router's own address in the network.
    Own(NetworkIx),
    Pool(AccessIx),
    Hops(Vec<NextHop>),
    Uplink(UplinkIx),
    Blackhole,
    /// All hosts of a subnet, or the subnet itself.
    Broadcast,
    None,
}

/// What an uplink knows of an address.
pub(super) enum Known {
    Own,
    /// The host's, which shares the link.
    Hosts,
    Protected,
    Exported(Exporter),
    /// A line's, but not exported here.
    Inside,
    Outside,
}

impl Reference<'_> {
    /// The router's longest prefix that holds the address.
    pub(super) fn way(&self, router: RouterIx, addr: IpAddr) -> Way {
        let mut found: (Option<u8>, Way) = (None, Way::None);
        let mut offer = |bits: u8, way: Way| {
            if found.0.is_none_or(|longest| bits > longest) {
                found = (Some(bits), way);
            }
        };
        for &network in &self.site.routers[router].interfaces {
            for subnet in &self.site.networks[network].subnets {
                if subnet.gateway == addr {
                    offer(128, Way::Own(network));
                } else if subnet.prefix.contains(addr) {
                    offer(subnet.prefix.prefix(), Way::Connected(network));
                }
            }
        }
        for (access, of) in self.site.accesses.iter() {
            let leads_here = |to: Destination| match to {
                Destination::Router(ix) | Destination::Network { router: ix, .. } => ix == router,
                Destination::Uplink(_) => false,
            };
            let mut lines = self.site.lines.values();
            if lines.any(|line| line.access == access && leads_here(line.destination)) {
                for pool in of.pools.iter().filter(|pool| pool.contains(addr)) {
                    offer(pool.prefix(), Way::Pool(access));
                }
            }
        }
        for route in &self.site.routers[router].routes {
            if route.destination.contains(addr) {
                let way = match &route.target {
                    Target::NextHops(hops) => Way::Hops(hops.clone()),
                    Target::Uplink(uplink) => Way::Uplink(*uplink),
                    Target::Blackhole => Way::Blackhole,
                };
                offer(route.destination.prefix(), way);
            }
        }
        for &network in &self.site.routers[router].interfaces {
            let mut subnets = self.site.networks[network].subnets.iter();
            if subnets.any(|subnet| is_end(subnet.prefix, addr)) {
                offer(32, Way::Broadcast);
            }
        }
        found.1
    }

    /// Who has the address in the network, and with which MAC: whose fixed address it is,
    /// else who announced it last, else the first with it as a pair.
    pub(super) fn holder(&self, network: NetworkIx, addr: IpAddr) -> Option<(PortIx, Mac)> {
        let ports = || self.site.ports.iter().filter(|(_, port)| port.network == network);
        if let Some((ix, port)) = ports().find(|(_, port)| port.fixed_ips.contains(&addr)) {
            return Some((ix, port.mac));
        }
        if let Some(holder) = self.claimed(network, addr) {
            return Some(holder);
        }
        ports().find_map(|(ix, port)| {
            let whole = if addr.is_ipv4() { 32 } else { 128 };
            let mut pairs = port.address_pairs.iter().filter(|pair| pair.prefix.prefix() == whole);
            let pair = pairs.find(|pair| pair.prefix.ip() == addr)?;
            Some((ix, pair.mac))
        })
    }

    /// Is it the router's address in the network?
    pub(super) fn is_gateway(&self, network: NetworkIx, addr: IpAddr) -> bool {
        let network = &self.site.networks[network];
        network.router.is_some() && network.subnets.iter().any(|subnet| subnet.gateway == addr)
    }

    /// Whose session has the address on the access?
    #[must_use]
    pub fn session(&self, access: AccessIx, addr: IpAddr) -> Option<LineIx> {
        let of_access = |line: LineIx| self.site.lines[line].access == access;
        let mut sessions = self.site.sessions.iter().filter(|session| of_access(session.line));
        sessions
            .find(|session| session.addresses.iter().any(|prefix| prefix.contains(addr)))
            .map(|session| session.line)
    }

    /// What the uplink knows of the address.
    pub(super) fn known(&self, uplink: UplinkIx, addr: IpAddr) -> Known {
        let uplink = &self.site.uplinks[uplink];
        if host::has(&uplink.host, addr) {
            // Also if it is our own: then the host answers for it.
            return Known::Hosts;
        }
        if uplink.addresses.iter().any(|own| own.ip() == addr) {
            return Known::Own;
        }
        if let Some(export) = uplink.exports.iter().find(|export| export.prefix.contains(addr)) {
            return Known::Exported(export.exporter);
        }
        if uplink.protected.iter().any(|prefix| prefix.contains(addr)) {
            return Known::Protected;
        }
        let pools = uplink.exports.iter().filter_map(|export| match export.exporter {
            Exporter::Access(access) => Some(&self.site.accesses[access].pools),
            Exporter::Router(_) => None,
        });
        if pools.flatten().any(|pool| pool.contains(addr)) {
            return Known::Inside;
        }
        Known::Outside
    }

    /// MACs of the uplink's next hops of a family that are resolved.
    pub(super) fn outside(&self, uplink: UplinkIx, is_v4: bool) -> Vec<Mac> {
        let hops = self.site.uplinks[uplink].next_hops.iter();
        hops.filter(|hop| hop.address.is_ipv4() == is_v4).filter_map(|hop| hop.mac).collect()
    }
}

/// The first or last address of an IPv4 subnet of more than two.
fn is_end(prefix: IpNetwork, addr: IpAddr) -> bool {
    match (prefix, addr) {
        (IpNetwork::V4(net), IpAddr::V4(addr)) => {
            net.prefix() <= 30 && (addr == net.network() || addr == net.broadcast())
        }
        _ => false,
    }
}
