//! Who has an address that several ports may have? README, "An address pair of several
//! ports": the one that announced it last, until then the first of the file.
//!
//! Not judged: link-local addresses of a port's own choice, and the rate of announcements
//! (whoever asks lets enough time go by).

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane_common::Stop;
use dataplane_user::model::{Mac, NetworkIx, PortIx, Security, Site};

use super::{Reference, floods::Flood};

/// An announcement that is in force: it is known by names, and outlives versions of the site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    tenant: String,
    network: String,
    port: String,
    mac: Mac,
    address: IpAddr,
}

/// A port says to all that it has the address, with this MAC.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// The port.
    pub port: PortIx,
    /// The frame's source, and what it says.
    pub mac: Mac,
    /// Of what.
    pub address: IpAddr,
}

impl Claim {
    /// Those of the announcements that hold on this site.
    #[must_use]
    pub fn holding(claims: &[Self], site: &Site) -> Vec<Self> {
        claims.iter().filter(|claim| claim.holder(site).is_some()).cloned().collect()
    }

    fn of(site: &Site, said: &Announcement) -> Self {
        let port = &site.ports[said.port];
        let network = &site.networks[port.network];
        Self {
            tenant: site.tenants[port.tenant].name.to_string(),
            network: network.name.to_string(),
            port: port.name.to_string(),
            mac: said.mac,
            address: said.address,
        }
    }

    /// The port that made it, if it still may have the address so.
    fn holder(&self, site: &Site) -> Option<Announcement> {
        let mut ports = site.ports.iter();
        let found = ports.find(|(ix, _)| {
            let said = Announcement { port: *ix, mac: self.mac, address: self.address };
            Self::of(site, &said) == *self
        });
        let said = Announcement { port: found?.0, mac: self.mac, address: self.address };
        let network = site.ports[said.port].network;
        let may = Reference::new(site, &[]).sharers(network, said.address);
        may.contains(&(said.port, said.mac)).then_some(said)
    }
}

impl Reference<'_> {
    /// What becomes of the announcement.
    #[must_use]
    pub fn announce(&self, said: &Announcement) -> Flood {
        let port = &self.site.ports[said.port];
        let sharers = self.sharers(port.network, said.address);
        let is_v4 = said.address.is_ipv4();
        let mut stops = BTreeSet::new();
        if port.security != Security::Off {
            if !self.stations(said.port).contains(&said.mac) {
                stops.insert(Stop::UnknownStation);
            }
            if !self.may_use(said.port, Some(said.mac), said.address) {
                stops.insert(if is_v4 { Stop::SpoofedArp } else { Stop::SpoofedNeighbour });
            }
        }
        // It is news to nobody but where others may have the address, too.
        if sharers.len() < 2 || !sharers.contains(&(said.port, said.mac)) {
            stops.insert(if is_v4 { Stop::ArpUnanswered } else { Stop::NeighbourUnanswered });
        }
        Flood { stops, copies: self.others(said.port, |_, _| true) }
    }

    /// Does it change who has the address?
    #[must_use]
    pub fn is_news(&self, said: &Announcement) -> bool {
        let network = self.site.ports[said.port].network;
        self.holder(network, said.address) != Some((said.port, said.mac))
    }

    /// The announcements in force after this one.
    #[must_use]
    pub fn after(&self, said: &Announcement) -> Vec<Claim> {
        let new = Claim::of(self.site, said);
        let is_other = |old: &&Claim| {
            (&old.tenant, &old.network, old.address) != (&new.tenant, &new.network, new.address)
        };
        self.claims.iter().filter(is_other).cloned().chain([new.clone()]).collect()
    }

    /// Who has announced the address in the network.
    pub(super) fn claimed(&self, network: NetworkIx, address: IpAddr) -> Option<(PortIx, Mac)> {
        let of_address = self.claims.iter().filter(|claim| claim.address == address);
        let mut holders = of_address.filter_map(|claim| claim.holder(self.site));
        let said = holders.find(|said| self.site.ports[said.port].network == network)?;
        Some((said.port, said.mac))
    }

    /// Who may have the address in the network as a pair: nobody where it is somebody's own.
    fn sharers(&self, network: NetworkIx, address: IpAddr) -> BTreeSet<(PortIx, Mac)> {
        let ports = || self.site.ports.iter().filter(|(_, port)| port.network == network);
        let mut subnets = self.site.networks[network].subnets.iter();
        let is_own = ports().any(|(_, port)| port.fixed_ips.contains(&address))
            || subnets.any(|subnet| subnet.gateway == address);
        if is_own {
            return BTreeSet::new();
        }
        let pairs = ports().flat_map(|(ix, port)| {
            port.address_pairs
                .iter()
                .filter(|pair| pair.is(address))
                .map(move |pair| (ix, pair.mac))
        });
        pairs.collect()
    }

    fn stations(&self, ix: PortIx) -> Vec<Mac> {
        let port = &self.site.ports[ix];
        port.address_pairs.iter().map(|pair| pair.mac).chain([port.mac]).collect()
    }
}
