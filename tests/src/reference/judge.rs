//! What may become of a packet?

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane_common::Stop;
use dataplane_user::model::{
    AccessIx, Destination, Exporter, LineState, Mac, NetworkIx, PortIx, RouterIx, Security,
    UplinkIx,
};

use super::{
    Asked, Branch, Dhcp, Party, Question, Reference,
    routes::{Known, Way},
};

/// Who receives it by which MAC, and what is wrong so far.
struct Candidate {
    party: Party,
    mac: Option<Mac>,
    stops: BTreeSet<Stop>,
}

/// Nobody receives it.
struct Nobody {
    stops: BTreeSet<Stop>,
    is_ours: bool,
}

type Reached = Result<Vec<Candidate>, Nobody>;

fn nobody(stop: Stop) -> Reached {
    Err(Nobody { stops: BTreeSet::from([stop]), is_ours: false })
}

const fn branch(receiver: (Party, Option<Mac>), stops: BTreeSet<Stop>) -> Branch {
    Branch { receiver: Some(receiver), stops, is_ours: false, is_hosts: false }
}

fn candidate(party: Party, mac: Option<Mac>) -> Candidate {
    Candidate { party, mac, stops: BTreeSet::new() }
}

/// What comes from there never came from there.
pub(super) fn is_martian(question: &Question) -> bool {
    is_nobody(question.src) || question.src == question.dst
}

/// Loopback, multicast, reserved: no host's address.
fn is_nobody(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first == 0 || first == 127 || first >= 224
        }
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_loopback() || v6.is_unspecified(),
    }
}

/// The address that a MAC makes (RFC 4291 appendix A).
#[must_use]
pub fn link_local(mac: Mac) -> IpAddr {
    let [a, b, c, d, e, f] = mac.octets();
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&id);
    octets.into()
}

impl Reference<'_> {
    /// Everything that may become of the packet.
    #[must_use]
    pub fn judge(&self, question: &Question, asked: Asked) -> Vec<Branch> {
        if let Some(branch) = self.hosts(question) {
            return vec![branch];
        }
        let wrong = self.source(question);
        let reached = self.reach(question);
        match reached {
            Err(mut none) => {
                none.stops.extend(wrong);
                if self.asks(question.from, asked) && !self.may_leave(question, None) {
                    none.stops.insert(Stop::EgressDenied);
                }
                let (stops, is_ours) = (none.stops, none.is_ours);
                vec![Branch { receiver: None, stops, is_ours, is_hosts: false }]
            }
            Ok(candidates) => candidates
                .into_iter()
                .map(|candidate| {
                    let mut stops = candidate.stops;
                    stops.extend(&wrong);
                    let to = candidate.party;
                    if self.is_dhcp(question, to) {
                        return branch((to, candidate.mac), stops);
                    }
                    if self.asks(question.from, asked)
                        && !self.may_leave(question, Some((to, candidate.mac)))
                    {
                        stops.insert(Stop::EgressDenied);
                    }
                    if self.asks(to, asked) && !self.may_enter(question, to) {
                        let is_line = |party| matches!(party, Party::Line(_));
                        let both = is_line(question.from) && is_line(to);
                        stops.insert(if both { Stop::LineToLine } else { Stop::IngressDenied });
                    }
                    branch((to, candidate.mac), stops)
                })
                .collect(),
        }
    }

    /// Is it DHCP between a client and a port that is marked as a server, in one network?
    fn is_dhcp(&self, question: &Question, to: Party) -> bool {
        let server = match question.dhcp() {
            Some(Dhcp::Question) => to,
            Some(Dhcp::Answer) => question.from,
            None => return false,
        };
        question.station.is_some() && self.is_dhcp_server(server)
    }

    fn is_dhcp_server(&self, party: Party) -> bool {
        matches!(party, Party::Port(ix) if self.site.ports[ix].dhcp_server)
    }

    fn asks(&self, party: Party, asked: Asked) -> bool {
        asked == Asked::Both || self.is_stateless(party)
    }

    /// Is the source the sender's?
    pub(super) fn source(&self, question: &Question) -> BTreeSet<Stop> {
        let mut stops = BTreeSet::new();
        let src = question.src;
        if is_martian(question) {
            stops.insert(Stop::MartianSource);
        }
        match question.from {
            Party::Port(ix) => {
                let port = &self.site.ports[ix];
                if question.dhcp() == Some(Dhcp::Answer) && !port.dhcp_server {
                    stops.insert(Stop::DhcpServer);
                }
                if port.security != Security::Off && !self.may_use(ix, question.mac, src) {
                    stops.insert(Stop::SpoofedAddress);
                }
                let is_known = question.mac == Some(port.mac)
                    || port.address_pairs.iter().any(|pair| question.mac == Some(pair.mac));
                if port.security != Security::Off && !is_known {
                    stops.insert(Stop::UnknownStation);
                }
            }
            Party::Line(ix) => {
                let line = &self.site.lines[ix];
                if self.session(line.access, src) != Some(ix) {
                    stops.insert(Stop::NoSession);
                }
                if line.state == LineState::Suspended {
                    stops.insert(Stop::LineSuspended);
                }
            }
            // Judged where the way back is known.
            Party::Uplink(_) => {}
        }
        stops
    }

    /// May the port send from this address with this MAC? A pair is an address and a MAC
    /// (C5), and each port has the link-local address that its MAC makes.
    pub(super) fn may_use(&self, ix: PortIx, mac: Option<Mac>, src: IpAddr) -> bool {
        let port = &self.site.ports[ix];
        let is_own = port.fixed_ips.contains(&src) || src == link_local(port.mac);
        let mut pairs = port.address_pairs.iter();
        mac == Some(port.mac) && is_own
            || pairs.any(|pair| mac == Some(pair.mac) && pair.prefix.contains(src))
    }

    /// Why it is not routed, whatever the rules say, and whether it may be.
    pub(super) fn routed(&self, question: &Question) -> (BTreeSet<Stop>, bool) {
        match self.reach(question) {
            Err(none) => (none.stops, false),
            Ok(candidates) => {
                // Whether a next hop has a MAC is seen when the packet leaves.
                let is_open =
                    |to: &Candidate| to.stops.iter().all(|stop| *stop == Stop::NextHopUnresolved);
                let is_any_open = candidates.iter().any(is_open);
                (candidates.into_iter().flat_map(|to| to.stops).collect(), is_any_open)
            }
        }
    }

    fn reach(&self, question: &Question) -> Reached {
        if question.station.is_none() && is_nobody(question.dst) {
            return nobody(Stop::DestinationUnroutable);
        }
        match question.from {
            Party::Port(ix) => {
                let network = self.site.ports[ix].network;
                match (question.station, self.site.networks[network].router) {
                    (Some(station), _) => self.within(network, question.dst, station),
                    (None, None) => nobody(Stop::NoRoute),
                    (None, Some(router)) => self.by_router(question, router),
                }
            }
            Party::Line(ix) => {
                let line = &self.site.lines[ix];
                match line.destination {
                    Destination::Router(router) | Destination::Network { router, .. } => {
                        self.by_router(question, router)
                    }
                    Destination::Uplink(uplink) => self.by_uplink(question, uplink),
                }
            }
            Party::Uplink(uplink) => self.inbound(question, uplink),
        }
    }

    /// Within a network.
    fn within(&self, network: NetworkIx, dst: IpAddr, station: Mac) -> Reached {
        if self.is_gateway(network, dst) {
            return nobody(Stop::ToRouter);
        }
        let Some((port, mac)) = self.holder(network, dst) else {
            return nobody(Stop::UnknownDestination);
        };
        let mut to = candidate(Party::Port(port), Some(mac));
        if mac != station {
            to.stops.insert(Stop::WrongStation);
        }
        Ok(vec![to])
    }

    /// Through a router.
    fn by_router(&self, question: &Question, router: RouterIx) -> Reached {
        let dst = question.dst;
        let reached = match self.way(router, dst) {
            Way::Own(network) => {
                let is_near = self.bound_to(question.from).is_none_or(|own| own == network);
                let stop = if is_near { Stop::ToRouter } else { Stop::LineDestination };
                return Err(Nobody { stops: BTreeSet::from([stop]), is_ours: is_near });
            }
            Way::None => return nobody(Stop::NoRoute),
            Way::Blackhole => return nobody(Stop::Blackhole),
            Way::Broadcast => return nobody(Stop::DestinationUnroutable),
            Way::Connected(network) => match self.holder(network, dst) {
                Some((port, mac)) => vec![candidate(Party::Port(port), Some(mac))],
                None => return nobody(Stop::UnknownDestination),
            },
            Way::Pool(access) => vec![self.line(access, dst, |to| match to {
                Destination::Router(ix) | Destination::Network { router: ix, .. } => ix == router,
                Destination::Uplink(_) => false,
            })?],
            Way::Hops(hops) => hops
                .iter()
                .filter_map(|hop| self.holder(hop.network, hop.address))
                .map(|(port, mac)| candidate(Party::Port(port), Some(mac)))
                .collect(),
            Way::Uplink(uplink) => self.macs(uplink, dst),
        };
        self.across(question, Some(router), reached)
    }

    fn macs(&self, uplink: UplinkIx, dst: IpAddr) -> Vec<Candidate> {
        let macs = self.outside(uplink, dst.is_ipv4());
        if macs.is_empty() {
            let mut to = candidate(Party::Uplink(uplink), None);
            to.stops.insert(Stop::NextHopUnresolved);
            return vec![to];
        }
        macs.into_iter().map(|mac| candidate(Party::Uplink(uplink), Some(mac))).collect()
    }

    fn across(
        &self,
        question: &Question,
        router: Option<RouterIx>,
        mut reached: Vec<Candidate>,
    ) -> Reached {
        if reached.is_empty() {
            return nobody(Stop::NextHopUnresolved);
        }
        for to in &mut reached {
            to.stops.extend(self.borders(question, router, to.party));
        }
        Ok(reached)
    }

    /// The line that has the address, if it is attached there.
    fn line(
        &self,
        access: AccessIx,
        dst: IpAddr,
        is_attached: impl Fn(Destination) -> bool,
    ) -> Result<Candidate, Nobody> {
        let none = |stop| Nobody { stops: BTreeSet::from([stop]), is_ours: false };
        let ix = self.session(access, dst).ok_or(none(Stop::UnknownDestination))?;
        let line = &self.site.lines[ix];
        if !is_attached(line.destination) {
            return Err(none(Stop::UnknownDestination));
        }
        let mut to = candidate(Party::Line(ix), self.site.accesses[access].next_hop.mac);
        if line.state == LineState::Suspended {
            to.stops.insert(Stop::LineSuspended);
        }
        if to.mac.is_none() {
            to.stops.insert(Stop::NextHopUnresolved);
        }
        Ok(to)
    }

    /// From a line that is attached to an uplink.
    fn by_uplink(&self, question: &Question, uplink: UplinkIx) -> Reached {
        let reached = match self.known(uplink, question.dst) {
            Known::Own => {
                return Err(Nobody { stops: BTreeSet::from([Stop::ToRouter]), is_ours: true });
            }
            Known::Protected | Known::Hosts => return nobody(Stop::ProtectedDestination),
            // What a tenant exports is not the uplink's.
            Known::Exported(Exporter::Router(_)) | Known::Inside => return nobody(Stop::NoRoute),
            Known::Exported(Exporter::Access(access)) => {
                vec![self.line(access, question.dst, |to| to == Destination::Uplink(uplink))?]
            }
            Known::Outside => self.macs(uplink, question.dst),
        };
        self.across(question, None, reached)
    }

    /// From outside: only to what is exported there, and only from where it leads back.
    fn inbound(&self, question: &Question, uplink: UplinkIx) -> Reached {
        let known = self.known(uplink, question.dst);
        let exporter = match known {
            Known::Exported(exporter) => Some(exporter),
            Known::Own => None,
            Known::Protected | Known::Hosts | Known::Inside | Known::Outside => {
                return nobody(Stop::NotExported);
            }
        };
        let is_wrong = self.is_source_wrong(uplink, exporter, question.src);
        let also = |mut stops: BTreeSet<Stop>| {
            if is_wrong {
                stops.insert(Stop::ReversePath);
            }
            stops
        };
        let reached = match exporter {
            None => Err(Nobody { stops: BTreeSet::from([Stop::ToRouter]), is_ours: !is_wrong }),
            Some(Exporter::Access(access)) => self
                .line(access, question.dst, |to| to == Destination::Uplink(uplink))
                .and_then(|line| self.across(question, None, vec![line])),
            Some(Exporter::Router(router)) => {
                let way = self.way(router, question.dst);
                if matches!(way, Way::Own(_)) || matches!(way, Way::Uplink(back) if back == uplink)
                {
                    nobody(Stop::NotExported)
                } else {
                    self.by_router(question, router)
                }
            }
        };
        match reached {
            Err(none) => Err(Nobody { stops: also(none.stops), is_ours: none.is_ours }),
            Ok(mut reached) => {
                for to in &mut reached {
                    to.stops = also(core::mem::take(&mut to.stops));
                }
                Ok(reached)
            }
        }
    }
}
