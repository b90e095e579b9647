//! A site in force on a host, and what the reference expects of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane_common::{Stop, addr::Mac as Bytes};
use dataplane_user::{
    compile::{self, Compiled, Facts, Interface, attachment_name, ids::Kind},
    model::{AttachmentIx, Mac, Owner, PortIx, Site},
};

use ipnetwork::IpNetwork;

use crate::{
    build::Frame,
    chance::Chance,
    drive::Passed,
    packet::Hook,
    reference::{Branch, Party, Question, Reference, Traffic},
    world::Sent,
};

/// A compiled site.
pub struct Trial {
    /// What it was made from.
    pub site: Site,
    /// Its records.
    pub compiled: Compiled,
    facts: Facts,
}

/// Interfaces have numbers from here on.
pub const IFINDEX_FIRST: u32 = 11;
/// And are so many at most.
pub const INTERFACES: u32 = 60;
/// Half-flows that a tenant may have.
const FLOWS_PER_TENANT: u32 = 64;

impl Trial {
    /// This site, after another version of it.
    #[must_use]
    pub fn new(site: Site, previous: Option<&Self>) -> Self {
        let mut facts = previous.map_or_else(Facts::default, |trial| trial.facts.clone());
        facts.flows_per_tenant = FLOWS_PER_TENANT;
        plug(&mut facts, &site);
        assert!(facts.interfaces.len() < INTERFACES as usize, "too many interfaces");
        let nothing = Compiled::default();
        let before = previous.map_or(&nothing, |trial| &trial.compiled);
        let compiled = compile::compile(&site, &facts, before);
        Self { site, compiled, facts }
    }

    /// What the site means.
    #[must_use]
    pub const fn reference(&self) -> Reference<'_> {
        Reference::new(&self.site)
    }

    /// The packet as it comes in.
    #[must_use]
    pub fn sent(&self, question: &Question) -> Sent {
        let (hook, ifindex, frame) = self.frame(question);
        Sent { hook, ifindex, frame: frame.build(), segment_bytes: 0 }
    }

    /// The packet with a payload, in two pieces.
    #[must_use]
    pub fn pieces(&self, question: &Question) -> [Sent; 2] {
        let (hook, ifindex, frame) = self.frame(question);
        let frame = frame.payload(&[0; 48]);
        let bytes = frame.carried_bytes();
        let piece = |from, to| {
            let frame = frame.piece(1, from, to).build();
            Sent { hook, ifindex, frame, segment_bytes: 0 }
        };
        [piece(0, 24), piece(24, bytes)]
    }

    fn frame(&self, question: &Question) -> (Hook, u32, Frame) {
        let at = self.attachment(question.from);
        let of = &self.site.attachments[at];
        let interface = self.facts.interfaces[of.interface.as_str()];
        let (ours, hook) = match question.from {
            Party::Port(ix) => {
                let network = &self.site.networks[self.site.ports[ix].network];
                let router = network.router.map(|ix| self.site.routers[ix].mac.octets());
                (router.unwrap_or([2, 0xbb, 0, 0, 0, 1]), Hook::Tc)
            }
            Party::Line(ix) => {
                (self.own(self.site.accesses[self.site.lines[ix].access].mac, interface), Hook::Xdp)
            }
            Party::Uplink(ix) => (self.own(self.site.uplinks[ix].mac, interface), Hook::Xdp),
        };
        let src_mac = question.mac.map_or([2, 0xaa, 0, 0, 0, 1], Mac::octets);
        let dst_mac = question.station.map_or(ours, Mac::octets);
        let mut frame = Frame::new(src_mac, dst_mac);
        if let Some(vlan) = of.vlan {
            frame = frame.vlan(vlan);
        }
        let frame =
            carry(frame.ip(&question.src.to_string(), &question.dst.to_string()), question.traffic);
        (hook, interface.ifindex, frame)
    }

    /// An ICMP error about the packet, from whoever got it.
    #[must_use]
    pub fn error_about(&self, question: &Question, from: Party, mac: Option<Mac>) -> Sent {
        let quoted = carry(
            Frame::new([0; 6], [0; 6]).ip(&question.src.to_string(), &question.dst.to_string()),
            question.traffic,
        );
        let answer = question.answer(from, mac);
        let mut sent = self.sent(&answer);
        let tags = if self.site.attachments[self.attachment(from)].vlan.is_some() { 4 } else { 0 };
        let mut frame = sent.frame[..14 + tags].to_vec();
        let kind = if question.src.is_ipv4() { 3 } else { 1 };
        let error = Frame::new([0; 6], [0; 6])
            .ip(&answer.src.to_string(), &answer.dst.to_string())
            .icmp(kind, 1, [0; 4])
            .payload(&quoted.packet());
        frame.extend(error.packet());
        sent.frame = frame;
        sent
    }

    fn own(&self, stated: Option<Mac>, interface: Interface) -> [u8; 6] {
        stated.map_or(interface.mac.0, Mac::octets)
    }

    fn attachment(&self, party: Party) -> AttachmentIx {
        match party {
            Party::Port(ix) => self.site.ports[ix].attachment,
            Party::Line(ix) => self.site.accesses[self.site.lines[ix].access].attachment,
            Party::Uplink(ix) => self.site.uplinks[ix].attachment,
        }
    }

    /// Compares what became of the packet with what may; answers the branch that it took.
    pub fn judge<'b>(
        &self,
        branches: &'b [Branch],
        question: &Question,
        passed: &Passed,
        told: Option<Stop>,
    ) -> Result<&'b Branch, String> {
        let stop = passed.stop.or(told);
        if let Some(stop) = stop {
            let fits = branches.iter().find(|branch| branch.stops.contains(&stop));
            return fits.ok_or_else(|| format!("stopped: {}", stop.name()));
        }
        if passed.work.job != 0 {
            let is_echo = matches!(question.traffic, Traffic::Query { kind: 8 | 128, .. });
            let only = BTreeSet::from([Stop::ToRouter]);
            let fits = branches.iter().find(|b| b.is_ours && b.stops == only && is_echo);
            return fits.ok_or_else(|| "answered".to_owned());
        }
        let frame = passed.packet.laid_out();
        let output = passed.work.output;
        let fits = branches.iter().find(|branch| {
            let Some((party, mac)) = branch.receiver.filter(|_| branch.stops.is_empty()) else {
                return false;
            };
            // Within a network the frame keeps its MACs, which the reference has compared.
            let mac = mac.map(Mac::octets);
            self.output(party) == Some(output) && mac.is_some_and(|mac| frame[..6] == mac)
        });
        fits.ok_or_else(|| {
            let name = self.compiled.ids.name(Kind::Attachment, output);
            format!("delivered to {name}, MAC {:02x?}", &frame[..6])
        })
    }

    fn output(&self, party: Party) -> Option<u32> {
        let at = &self.site.attachments[self.attachment(party)];
        let name = attachment_name(at.interface.as_str(), at.vlan.unwrap_or(0));
        self.compiled.ids.number(Kind::Attachment, &name)
    }

    /// A random first packet of a flow; `number` is its own.
    pub fn question(&self, chance: &mut Chance, number: u16) -> Option<Question> {
        let parties = self.parties();
        let from = *parties.get(chance.below(parties.len().max(1)))?;
        let addresses = self.addresses();
        let mut own = self.own_addresses(from);
        if own.is_empty() || chance.once_in(12) {
            own = addresses.clone();
        }
        let src = *chance.of(&own);
        if let Party::Uplink(ix) = from
            && self.site.uplinks[ix].protected.iter().any(|prefix| prefix.contains(src))
        {
            // What comes from there is not promised: nothing may go there.
            return None;
        }
        let near: Vec<_> =
            addresses.iter().copied().filter(|to| to.is_ipv4() == src.is_ipv4()).collect();
        let dst = *near.get(chance.below(near.len().max(1)))?;
        let mut question =
            Question { from, mac: None, station: None, src, dst, traffic: Traffic::Bare(47) };
        match from {
            Party::Port(ix) => self.stations(&mut question, ix, chance),
            // On plain IP it is the source alone that tells the line.
            Party::Line(ix) => {
                let owner = self.reference().session(self.site.lines[ix].access, src);
                question.from = owner.map_or(from, Party::Line);
            }
            Party::Uplink(_) => {}
        }
        let is_v4 = src.is_ipv4();
        question.traffic = match chance.below(10) {
            0..3 => ports(6, number, *chance.of(&[80, 80, 443])),
            3..6 => ports(17, number, *chance.of(&[53, 53, 5000])),
            6..9 => Traffic::Query { kind: if is_v4 { 8 } else { 128 }, id: number },
            _ => Traffic::Bare(47),
        };
        Some(question)
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

    /// The same packet on another version of the site, if its sender is still there with its
    /// MAC.
    #[must_use]
    pub fn again(&self, question: &Question, before: &Self) -> Option<Question> {
        let from = self.same(question.from, before)?;
        if let Party::Port(ix) = from {
            // A MAC that is the port's no more is nobody's, or anybody's.
            let port = &self.site.ports[ix];
            let pairs = port.address_pairs.iter().map(|pair| pair.mac);
            pairs.chain([port.mac]).find(|mac| Some(*mac) == question.mac)?;
        }
        if let Party::Line(ix) = from {
            let owner = self.reference().session(self.site.lines[ix].access, question.src)?;
            return Some(Question { from: Party::Line(owner), ..*question });
        }
        Some(Question { from, ..*question })
    }

    /// The same end on another version of the site.
    #[must_use]
    pub fn same(&self, party: Party, before: &Self) -> Option<Party> {
        match party {
            Party::Port(ix) => {
                let port = &before.site.ports[ix];
                let tenant = &before.site.tenants[port.tenant].name;
                let mut ports = self.site.ports.iter();
                let found = ports.find(|(_, other)| {
                    other.name == port.name && self.site.tenants[other.tenant].name == *tenant
                });
                found.map(|(ix, _)| Party::Port(ix))
            }
            Party::Line(ix) => {
                let number = before.site.lines[ix].number;
                let mut lines = self.site.lines.iter();
                let found = lines.find(|(_, other)| other.number == number).map(|(ix, _)| ix);
                let has_session = |ix: &_| self.site.sessions.iter().any(|of| of.line == *ix);
                found.filter(has_session).map(Party::Line)
            }
            Party::Uplink(ix) => {
                let name = &before.site.uplinks[ix].name;
                let mut uplinks = self.site.uplinks.iter();
                uplinks.find(|(_, other)| other.name == *name).map(|(ix, _)| Party::Uplink(ix))
            }
        }
    }

    fn parties(&self) -> Vec<Party> {
        let ports = self.site.ports.iter().map(|(ix, _)| Party::Port(ix));
        let lines = self.site.sessions.iter().map(|session| Party::Line(session.line));
        let uplinks = || self.site.uplinks.iter().map(|(ix, _)| Party::Uplink(ix));
        ports.chain(lines).chain(uplinks()).chain(uplinks()).collect()
    }

    fn own_addresses(&self, party: Party) -> Vec<IpAddr> {
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
    fn addresses(&self) -> Vec<IpAddr> {
        let fixed = self.site.ports.values().flat_map(|port| port.fixed_ips.iter().copied());
        let pairs = self.site.ports.values().flat_map(|port| &port.address_pairs);
        let subnets = self.site.networks.values().flat_map(|net| &net.subnets);
        let sessions = self.site.sessions.iter().flat_map(|session| &session.addresses);
        let other = OUTSIDE.iter().chain(ELSEWHERE).filter_map(|text| text.parse().ok());
        fixed
            .chain(pairs.map(|pair| pair.prefix.ip()))
            .chain(subnets.map(|subnet| subnet.gateway))
            .chain(sessions.clone().map(IpNetwork::ip))
            .chain(sessions.map(IpNetwork::ip))
            .chain(other)
            .collect()
    }
}

/// Every interface of the site is there.
pub fn plug(facts: &mut Facts, site: &Site) {
    for at in site.attachments.values() {
        let next = IFINDEX_FIRST + facts.interfaces.len() as u32;
        let is_nic = !matches!(at.owner, Owner::Network(_));
        let [_, _, a, b] = next.to_be_bytes();
        facts.interfaces.entry(at.interface.as_str().to_owned()).or_insert(Interface {
            ifindex: next,
            mac: Bytes([2, 0, 0, 0xee, a, b]),
            output_kind: if is_nic { 3 } else { 1 },
            mtu_bytes: 1500,
        });
    }
}

/// Who speaks from outside.
const OUTSIDE: &[&str] = &["8.8.8.8", "8.8.8.8", "9.9.9.9", "2001:db8:99::1"];
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

fn ports(protocol: u8, src: u16, dst: u16) -> Traffic {
    Traffic::Ports { protocol, src: 2000 + src, dst }
}

fn carry(frame: Frame, traffic: Traffic) -> Frame {
    match traffic {
        Traffic::Ports { protocol: 6, src, dst } => {
            // Whoever answers from a low port answers a SYN.
            let flags = if src >= 2000 { 2 } else { 18 };
            frame.tcp(src, dst, flags, 1000, u32::from(flags == 18) * 1001)
        }
        Traffic::Ports { src, dst, .. } => frame.udp(src, dst),
        Traffic::Query { kind, id } => {
            let [a, b] = id.to_be_bytes();
            frame.icmp(kind, 0, [a, b, 0, 1])
        }
        Traffic::Error { kind } => frame.icmp(kind, 1, [0; 4]),
        Traffic::Bare(protocol) => frame.protocol(protocol).payload(&[0; 16]),
    }
}
