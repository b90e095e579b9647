//! Which port has an address that several may have, or a link-local one of its own choice?
//!
//! The last that announced it. The programs tell of announcements that are news; here they
//! are judged once more against the site, and put in force a few at a time, so that nobody
//! keeps the daemon at it. Without the daemon everything stays where it is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use dataplane_common::addr::Mac;
use serde::{Deserialize, Serialize};

use crate::{
    compile::{self, link_local, network_name, port_name},
    model::{AttachmentIx, NetworkIx, Port, PortIx, Site},
};

/// Who has which address, by the names of network and port.
pub type Held = BTreeMap<(String, IpAddr), Claim>;

/// A port, by one of its MACs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The port's name among endpoints.
    pub port: String,
    /// The MAC.
    pub mac: [u8; 6],
}

/// What ports claimed.
#[derive(Default, Debug)]
pub struct Claims {
    held: Held,
    /// What is not in force yet.
    waiting: Held,
    /// When a network's claims may be put in force again.
    due: HashMap<String, Instant>,
    /// When anybody's may.
    next: Option<Instant>,
    /// The site in force.
    taken: Taken,
}

/// What of a site says who may have what.
#[derive(Default, Debug)]
struct Taken {
    ports: HashMap<AttachmentIx, Vec<PortIx>>,
    /// Fixed addresses of ports, those that their MACs make, and gateways.
    own: HashSet<(NetworkIx, IpAddr)>,
    /// Pairs of one address.
    pairs: HashSet<(NetworkIx, IpAddr)>,
}

/// Between two versions for one tenant's claims.
const TENANT_EVERY: Duration = Duration::from_secs(1);
/// Between two versions for claims at all.
const EVERY: Duration = Duration::from_millis(250);

impl Claims {
    /// Those that were in force before.
    #[must_use]
    pub fn new(held: Held) -> Self {
        Self { held, ..Self::default() }
    }

    /// What is in force, or comes next.
    #[must_use]
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// A port at this attachment said that it has the address now. What it may not have is
    /// forgotten.
    pub fn announced(&mut self, site: &Site, at: AttachmentIx, address: IpAddr, mac: Mac) {
        let ports = self.taken.ports.get(&at).into_iter().flatten();
        let mut ports = ports.map(|&ix| (ix, &site.ports[ix]));
        let may_have = |port| self.taken.may_have(port, address, mac);
        let Some((ix, port)) = ports.find(|(_, port)| may_have(port)) else { return };
        let place = (network_name(site, port.network), address);
        let claim = Claim { port: port_name(site, ix), mac: mac.0 };
        let is_taken = self.waiting.get(&place).or_else(|| self.held.get(&place));
        let is_own = is_taken.is_none_or(|other| other.port == claim.port);
        // A link-local address is its first one's until that has another.
        if is_own || !is_link_local(address) {
            self.waiting.insert(place, claim);
        }
    }

    /// What was due took so long to be put in force: claims take a fifth of the daemon's time
    /// at most, however large the site is.
    pub fn rest(&mut self, took: Duration) {
        self.next = Some(Instant::now() + EVERY.max(4 * took));
    }

    /// Puts in force what may be now; answers whether that is anything.
    pub fn due(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.due.retain(|_, due| *due > now);
        let is_ready = |place: &(String, IpAddr)| !self.due.contains_key(tenant(&place.0));
        let ready: Vec<_> = self.waiting.keys().filter(|place| is_ready(place)).cloned().collect();
        let mut is_changed = false;
        for place in ready {
            let Some(claim) = self.waiting.remove(&place) else { continue };
            if self.held.get(&place) == Some(&claim) {
                continue;
            }
            if is_link_local(place.1) {
                // One for each port.
                let port = &claim.port;
                self.held.retain(|other, of| !is_link_local(other.1) || of.port != *port);
            }
            self.due.insert(tenant(&place.0).to_owned(), now + TENANT_EVERY);
            self.held.insert(place, claim);
            is_changed = true;
        }
        if is_changed {
            self.next = Some(now + EVERY);
        }
        is_changed
    }

    /// What is in force, or comes next, if this is the site.
    #[must_use]
    pub fn held_in(&self, site: &Site) -> Held {
        let mut held = self.held.clone();
        Taken::of(site).keep(site, &mut held);
        held
    }

    /// This site is in force: what nobody may have there any more is forgotten.
    pub fn follow(&mut self, site: &Site) {
        self.taken = Taken::of(site);
        self.taken.keep(site, &mut self.held);
        self.taken.keep(site, &mut self.waiting);
    }
}

impl Taken {
    fn of(site: &Site) -> Self {
        let mut taken = Self::default();
        for (ix, port) in site.ports.iter() {
            taken.ports.entry(port.attachment).or_default().push(ix);
            let own = port.fixed_ips.iter().copied().chain([link_local(port.mac)]);
            taken.own.extend(own.map(|address| (port.network, address)));
            let pairs = port.address_pairs.iter().filter(|pair| pair.is(pair.prefix.ip()));
            taken.pairs.extend(pairs.map(|pair| (port.network, pair.prefix.ip())));
        }
        for (ix, network) in site.networks.iter() {
            taken.own.extend(network.subnets.iter().map(|subnet| (ix, subnet.gateway)));
        }
        taken
    }

    /// May the port have this address with this MAC? One of its pairs that is no other
    /// port's own, or a link-local one that is nobody's in the network.
    fn may_have(&self, port: &Port, address: IpAddr, mac: Mac) -> bool {
        let at = (port.network, address);
        let pairs = || port.address_pairs.iter();
        let has_pair = pairs().any(|pair| pair.is(address) && compile::mac(pair.mac) == mac);
        let mut macs = pairs().map(|pair| pair.mac).chain([port.mac]);
        let is_its_mac = macs.any(|own| compile::mac(own) == mac);
        let is_free = is_link_local(address) && is_its_mac && !self.pairs.contains(&at);
        !self.own.contains(&at) && (has_pair || is_free)
    }

    fn keep(&self, site: &Site, held: &mut Held) {
        if held.is_empty() {
            return;
        }
        let ports: HashMap<_, _> =
            site.ports.iter().map(|(ix, port)| (port_name(site, ix), port)).collect();
        held.retain(|(network, address), claim| {
            ports.get(&claim.port).is_some_and(|port| {
                network_name(site, port.network) == *network
                    && self.may_have(port, *address, Mac(claim.mac))
            })
        });
    }
}

/// Whose network it is, by the network's name.
fn tenant(network: &str) -> &str {
    network.split('/').next().unwrap_or_default()
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks: [{name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}]
    ports:
      - {name: a, network: lan, interface: a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10], allowed_address_pairs: [{ip_address: 10.0.0.99}]}
      - {name: b, network: lan, interface: b, mac: 02:00:00:00:00:0b, fixed_ips: [10.0.0.11], allowed_address_pairs: [{ip_address: 10.0.0.99}, {ip_address: 10.0.0.10}]}
      - {name: c, network: lan, interface: c, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.12]}
"#;

    fn site() -> (Site, Claims) {
        let site = check::check(SITE).site.expect("a good site");
        let mut claims = Claims::default();
        claims.follow(&site);
        (site, claims)
    }

    fn says(claims: &mut Claims, site: &Site, last: u8, address: &str) {
        let mac = Mac([2, 0, 0, 0, 0, last]);
        let port = site.ports.values().find(|port| compile::mac(port.mac) == mac);
        let at = port.map(|port| port.attachment).expect("a port");
        claims.announced(site, at, address.parse().expect("an address"), mac);
    }

    fn holder(claims: &Claims, address: &str) -> Option<String> {
        let place = ("network blue/lan".to_owned(), address.parse().expect("an address"));
        claims.held().get(&place).map(|claim| claim.port.clone())
    }

    #[test]
    fn the_last_that_announced_a_pair_has_it_but_not_too_often() {
        let (site, mut claims) = site();
        let start = Instant::now();
        says(&mut claims, &site, 0x0b, "10.0.0.99");
        assert!(claims.due(start) && !claims.due(start));
        assert_eq!(holder(&claims, "10.0.0.99").as_deref(), Some("port blue/b"));
        for _ in 0..100 {
            says(&mut claims, &site, 0x0a, "10.0.0.99");
            says(&mut claims, &site, 0x0b, "10.0.0.99");
            says(&mut claims, &site, 0x0a, "10.0.0.99");
        }
        assert!(!claims.due(start + TENANT_EVERY / 2));
        assert!(claims.due(start + TENANT_EVERY));
        assert_eq!(holder(&claims, "10.0.0.99").as_deref(), Some("port blue/a"));
    }

    #[test]
    fn nobody_gets_what_it_may_not_have() {
        let (site, mut claims) = site();
        // No pair of c's; a's fixed address, though b has a pair; the link-local of a's MAC.
        says(&mut claims, &site, 0x0c, "10.0.0.99");
        says(&mut claims, &site, 0x0b, "10.0.0.10");
        says(&mut claims, &site, 0x0c, "fe80::ff:fe00:a");
        says(&mut claims, &site, 0x0c, "fd00::5");
        assert!(!claims.due(Instant::now()));
    }

    #[test]
    fn a_link_local_address_is_its_first_ones_and_each_port_has_one() {
        let (mut site, mut claims) = site();
        let start = Instant::now();
        says(&mut claims, &site, 0x0a, "fe80::1234");
        says(&mut claims, &site, 0x0b, "fe80::1234");
        assert!(claims.due(start));
        assert_eq!(holder(&claims, "fe80::1234").as_deref(), Some("port blue/a"));
        says(&mut claims, &site, 0x0a, "fe80::5678");
        assert!(claims.due(start + TENANT_EVERY));
        assert_eq!(holder(&claims, "fe80::1234"), None);
        assert_eq!(holder(&claims, "fe80::5678").as_deref(), Some("port blue/a"));
        site.ports = site.ports.values().skip(1).cloned().collect::<Vec<_>>().into();
        claims.follow(&site);
        assert_eq!(holder(&claims, "fe80::5678"), None);
    }
}
