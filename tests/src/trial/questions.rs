//! What may be asked of a site?

use std::net::IpAddr;

use dataplane_user::model::{HostMatch, HostShare, PortIx};
use ipnetwork::IpNetwork;

use super::Trial;
use crate::{
    build::ip,
    chance::Chance,
    reference::{Party, Question, Traffic},
};

/// Who speaks from outside.
const OUTSIDE: &[&str] = &["8.8.8.8", "8.8.8.8", "9.9.9.9", "2001:db8:99::1"];
/// Next hops of the first uplink and of the access, who speak to the host.
const NEIGHBOURS: &[&str] = &["198.51.100.1", "2001:db8:ff0::1", "100.127.0.1"];
/// Nobody, or nobody who may be reached.
const ELSEWHERE: &[&str] = &[
    "10.0.0.250",
    "10.99.1.1",
    "10.99.7.1",
    "198.18.0.1",
    "192.0.2.9",
    "100.64.1.250",
    "100.64.200.9",
    "2001:db8:1::250",
    "127.0.0.1",
];

impl Trial {
    /// A random first packet of a flow; `number` is its own.
    pub fn question(&self, chance: &mut Chance, number: u16) -> Option<Question> {
        let parties = self.parties();
        let from = *parties.get(chance.below(parties.len().max(1)))?;
        if !matches!(from, Party::Port(_))
            && chance.once_in(6)
            && let Some(question) = self.to_host(chance, from, number)
        {
            return self.is_promised(&question).then_some(question);
        }
        let addresses = self.addresses();
        let mut own = self.own_addresses(from);
        if own.is_empty() || chance.once_in(12) {
            own = addresses.clone();
        }
        let src = *chance.of(&own);
        let near: Vec<_> =
            addresses.iter().copied().filter(|to| to.is_ipv4() == src.is_ipv4()).collect();
        let dst = *near.get(chance.below(near.len().max(1)))?;
        let mut question =
            Question { from, mac: None, station: None, src, dst, traffic: Traffic::Bare(47) };
        match from {
            Party::Port(ix) => self.stations(&mut question, ix, chance),
            Party::Line(_) | Party::Uplink(_) => question.from = self.sender(from, src),
        }
        let is_v4 = src.is_ipv4();
        question.traffic = match chance.below(10) {
            0..3 => ports(6, number, *chance.of(&[80, 80, 443])),
            3..6 => ports(17, number, *chance.of(&[53, 53, 5000])),
            6..9 => Traffic::Query { kind: if is_v4 { 8 } else { 128 }, id: number },
            _ => Traffic::Bare(47),
        };
        self.is_promised(&question).then_some(question)
    }

    /// Is it said what becomes of it? Of what comes from prefixes that an uplink protects it
    /// is not: nothing may go there.
    #[must_use]
    pub fn is_promised(&self, question: &Question) -> bool {
        let Party::Uplink(ix) = question.from else { return true };
        let uplink = &self.site.uplinks[ix];
        !uplink.protected.iter().any(|prefix| prefix.contains(question.src))
    }

    /// Something to the host where one shares the link, mostly what it is there for.
    fn to_host(&self, chance: &mut Chance, from: Party, number: u16) -> Option<Question> {
        let share = match from {
            Party::Uplink(ix) => &self.site.uplinks[ix].host,
            Party::Line(ix) => &self.site.accesses[self.site.lines[ix].access].host,
            Party::Port(_) => return None,
        };
        let entry = share.entries.get(chance.below(share.entries.len().max(1)))?;
        let is_v4 = entry.address.is_ipv4();
        let mut sources: Vec<_> = OUTSIDE.iter().chain(NEIGHBOURS).map(|text| ip(text)).collect();
        let is_anybody = chance.once_in(4);
        if is_anybody {
            sources = self.addresses();
        }
        sources.retain(|source| source.is_ipv4() == is_v4);
        let asker = *chance.of(&sources);
        let (protocol, own, is_answer) = match entry.matches {
            HostMatch::To(protocol, port) => (protocol, port, false),
            HostMatch::From(protocol, port) => (protocol, port, true),
            HostMatch::Protocol(protocol) => (protocol, 22, chance.once_in(2)),
            HostMatch::Any => (*chance.of(&[6, 17, 1, 47]), 22, chance.once_in(2)),
        };
        let own = if chance.once_in(6) { own + 1 } else { own };
        let protocol = if chance.once_in(8) { *chance.of(&[6, 17, 1, 47]) } else { protocol };
        let client = Traffic::CLIENTS_FIRST + number;
        // From a line it is no business of the host's, and answers nothing.
        let is_answer = is_answer != chance.once_in(6) && !is_anybody;
        let (src, dst) = if is_answer { (own, client) } else { (client, own) };
        let traffic = match protocol {
            6 | 17 => Traffic::Ports { protocol, src, dst },
            47 => Traffic::Bare(47),
            _ => Traffic::Query { kind: if is_v4 { 8 } else { 128 }, id: number },
        };
        // On an access it is mostly somebody on the link who has no line.
        let from = self.sender(from, asker);
        let (src, dst) = (asker, entry.address);
        Some(Question { from, mac: None, station: None, src, dst, traffic })
    }

    /// On plain IP it is the source alone that tells the line.
    fn sender(&self, from: Party, src: IpAddr) -> Party {
        let Party::Line(ix) = from else { return from };
        let owner = self.reference().session(self.site.lines[ix].access, src);
        owner.map_or(from, Party::Line)
    }

    /// The same datagram as one of DHCP: what a client asks, or what a server answers.
    #[must_use]
    pub fn dhcp(question: Question, is_answer: bool) -> Question {
        let (client, server) = if question.src.is_ipv4() { (68, 67) } else { (546, 547) };
        let (src, dst) = if is_answer { (server, client) } else { (client, server) };
        Question { traffic: Traffic::Ports { protocol: 17, src, dst }, ..question }
    }

    /// A port's source MAC, and whom its frame is addressed to.
    fn stations(&self, question: &mut Question, ix: PortIx, chance: &mut Chance) {
        let port = &self.site.ports[ix];
        let network = &self.site.networks[port.network];
        let pair = port.address_pairs.iter().find(|pair| pair.prefix.contains(question.src));
        question.mac = Some(match pair {
            Some(pair) if !port.fixed_ips.contains(&question.src) && !chance.once_in(6) => pair.mac,
            _ => port.mac,
        });
        let is_near = network.subnets.iter().any(|subnet| subnet.prefix.contains(question.dst));
        if network.router.is_none() || is_near && !chance.once_in(5) {
            let of_network = || self.site.ports.values().filter(|of| of.network == port.network);
            let holder = of_network().find(|of| of.fixed_ips.contains(&question.dst));
            let macs: Vec<_> = of_network().map(|of| of.mac).collect();
            let any = *chance.of(&macs);
            question.station = Some(holder.filter(|_| !chance.once_in(8)).map_or(any, |of| of.mac));
        }
    }

    pub(super) fn parties(&self) -> Vec<Party> {
        let ports = self.site.ports.iter().map(|(ix, _)| Party::Port(ix));
        let lines = self.site.sessions.iter().map(|session| Party::Line(session.line));
        let uplinks = || self.site.uplinks.iter().map(|(ix, _)| Party::Uplink(ix));
        ports.chain(lines).chain(uplinks()).chain(uplinks()).collect()
    }

    pub(super) fn own_addresses(&self, party: Party) -> Vec<IpAddr> {
        match party {
            Party::Port(ix) => {
                let port = &self.site.ports[ix];
                let pairs = port.address_pairs.iter().map(|pair| pair.prefix.ip());
                port.fixed_ips.iter().copied().chain(pairs).collect()
            }
            Party::Line(ix) => {
                let sessions = self.site.sessions.iter().filter(|session| session.line == ix);
                sessions.flat_map(|session| session.addresses.iter().map(IpNetwork::ip)).collect()
            }
            Party::Uplink(_) => OUTSIDE.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }

    /// Every address that means something here, and some that do not.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let fixed = self.site.ports.values().flat_map(|port| port.fixed_ips.iter().copied());
        let pairs = self.site.ports.values().flat_map(|port| &port.address_pairs);
        let subnets = self.site.networks.values().flat_map(|net| &net.subnets);
        let v4 = subnets.clone().filter(|subnet| subnet.prefix.is_ipv4());
        let ends = v4.flat_map(|subnet| [subnet.prefix.network(), subnet.prefix.broadcast()]);
        let sessions = self.site.sessions.iter().flat_map(|session| &session.addresses);
        let hosts = self.site.uplinks.values().map(|uplink| &uplink.host);
        let hosts = hosts.chain(self.site.accesses.values().map(|access| &access.host));
        let uplinks = self.site.uplinks.values().flat_map(|uplink| &uplink.addresses);
        let accesses = self.site.accesses.values().flat_map(|access| &access.addresses);
        let other = OUTSIDE.iter().chain(ELSEWHERE).filter_map(|text| text.parse().ok());
        fixed
            .chain(pairs.map(|pair| pair.prefix.ip()))
            .chain(subnets.map(|subnet| subnet.gateway))
            .chain(ends)
            .chain(sessions.clone().map(IpNetwork::ip))
            .chain(sessions.map(IpNetwork::ip))
            .chain(hosts.flat_map(HostShare::addresses))
            .chain(uplinks.chain(accesses).map(IpNetwork::ip))
            .chain(other)
            .collect()
    }
}

pub(super) fn ports(protocol: u8, src: u16, dst: u16) -> Traffic {
    Traffic::Ports { protocol, src: Traffic::CLIENTS_FIRST + src, dst }
}
