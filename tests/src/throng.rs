//! Packets of every kind among the ends of the test site: conversations, questions,
//! errors about them, spoofed, odd and damaged ones.
//!
//! The same seed makes the same packets, whatever becomes of them.

mod odd;
mod pieces;
mod talk;

use crate::{
    build::{Frame, ip},
    chance::Chance,
    check,
    packet::Hook,
    pair::{self, STRANGE_IFINDEX},
    world::{End, Sent, Site},
};
use talk::Talk;

/// The source of packets.
pub struct Throng<'s> {
    site: &'s Site,
    chance: Chance,
    peers: Vec<Peer>,
    talks: Vec<Talk>,
    odd: Vec<(End, Frame)>,
    pieces: Vec<(Peer, Frame)>,
    /// Source ports that new conversations choose from.
    pub ports: u16,
}

/// Somebody who sends from this address.
#[derive(Clone, Copy, Debug)]
struct Peer {
    end: End,
    addr: &'static str,
    is_nic: bool,
}

/// Conversations that go on at a time.
const TALKS: usize = 150;
/// Where nobody of the site is, or where nobody may send to.
const ELSEWHERE: &[&str] = &[
    "10.1.0.1",
    "10.2.0.1",
    "10.1.0.77",
    "10.2.0.77",
    "10.77.0.5",
    "10.66.0.10",
    "10.66.0.77",
    "10.8.0.10",
    "8.8.8.8",
    "9.9.9.9",
    "11.11.11.11",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "198.51.100.2",
    "198.51.100.5",
    "100.64.0.77",
    "100.65.0.77",
    "127.0.0.1",
    "0.0.0.0",
    "169.254.1.1",
    "240.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
];
const ELSEWHERE_V6: &[&str] = &[
    "2001:db8:1::1",
    "2001:db8:1::77",
    "2001:db8:2::77",
    "2001:db8:99::1",
    "2001:db8:64:1::5",
    "2001:db8:64:9::5",
    "2001:db8:ff::2",
    "2001:db8:ff::5",
    "3fff::1",
    "fe80::1",
    "::1",
    "::",
    "ff02::1",
];

impl<'s> Throng<'s> {
    /// Packets among the ends of this site.
    #[must_use]
    pub fn new(site: &'s Site, chance: Chance) -> Self {
        Self {
            site,
            chance,
            peers: peers(site),
            talks: Vec::new(),
            odd: odd::odd(site),
            pieces: Vec::new(),
            ports: 40,
        }
    }

    /// The next packet.
    pub fn next_packet(&mut self) -> Sent {
        loop {
            let (peer, frame) = match self.chance.below(100) {
                0..58 => self.talk(),
                58..63 => self.stray(),
                63..68 => self.question(),
                68..74 => self.error(),
                74..77 => self.spoofed(),
                77..86 => self.piece(),
                _ => self.odd(),
            };
            let mut bytes = frame.build();
            match self.chance.below(100) {
                0..5 => self.damage(&mut bytes),
                5 => bytes.truncate(self.chance.below(bytes.len().max(1))),
                6 if self.chance.once_in(2) => {
                    let count = self.chance.below(120);
                    let garbage = self.chance.bytes(count);
                    bytes.truncate(14);
                    bytes.extend(garbage);
                }
                _ => {}
            }
            if let Some(sent) = self.on_the_way(peer, bytes) {
                return sent;
            }
        }
    }

    /// Where and how the frame comes in.
    fn on_the_way(&mut self, peer: Peer, frame: Vec<u8>) -> Option<Sent> {
        let is_nic = if self.chance.once_in(8) { !peer.is_nic } else { peer.is_nic };
        let hook = if is_nic { Hook::Xdp } else { Hook::Tc };
        let ifindex = if self.chance.once_in(300) { STRANGE_IFINDEX } else { peer.end.ifindex };
        let is_large = hook == Hook::Tc && frame.len() > 1400;
        let segment_bytes = if is_large && self.chance.once_in(2) {
            1000 + self.chance.below(460) as u32
        } else {
            0
        };
        let mut sent = Sent { hook, ifindex, frame, segment_bytes };
        if !pair::can_run(&sent) {
            (sent.hook, sent.segment_bytes) = (Hook::Xdp, 0);
        }
        pair::can_run(&sent).then_some(sent)
    }

    /// The next packet of a conversation, perhaps of a new one.
    fn talk(&mut self) -> (Peer, Frame) {
        if self.talks.len() < TALKS || self.chance.once_in(25) {
            self.begin();
        }
        let at = self.chance.below(self.talks.len());
        self.talks[at].next_packet(self.site, &mut self.chance)
    }

    fn begin(&mut self) {
        let (one, other) = self.two();
        let talk = Talk::new(one, other, self.ports, &mut self.chance);
        if self.talks.len() < TALKS {
            self.talks.push(talk);
        } else {
            let at = self.chance.below(TALKS);
            self.talks[at] = talk;
        }
    }

    /// Two who may speak to each other, more often than not.
    fn two(&mut self) -> (Peer, Peer) {
        let is_good = self.chance.below(4) < 3;
        loop {
            let (one, other) = (*self.chance.of(&self.peers), *self.chance.of(&self.peers));
            let is_one_family = ip(one.addr).is_ipv4() == ip(other.addr).is_ipv4();
            if is_good && !(self.is_open(one) && self.is_open(other)) {
                continue;
            }
            if is_one_family && one.end.attachment != other.end.attachment {
                return (one, other);
            }
        }
    }

    /// Is it somebody who gets through to most of the others?
    fn is_open(&self, peer: Peer) -> bool {
        let s = self.site;
        [s.a, s.b, s.free, s.c, s.uplink, s.line_a].iter().any(|end| end.id == peer.end.id)
    }

    /// A packet to anywhere.
    fn stray(&mut self) -> (Peer, Frame) {
        let peer = *self.chance.of(&self.peers);
        let to = if ip(peer.addr).is_ipv4() { ELSEWHERE } else { ELSEWHERE_V6 };
        let to = *self.chance.of(to);
        // The host's own on the uplink.
        let to = match (peer.is_nic && self.chance.once_in(4), ip(to).is_ipv4()) {
            (true, true) => "198.51.100.5",
            (true, false) => "2001:db8:ff::5",
            _ => to,
        };
        let frame = self.site.routed(peer.end).ip(peer.addr, to);
        let frame = match self.chance.below(6) {
            0 => frame.tcp(1000, 80, 2, 1, 0),
            1 => frame.icmp(if ip(to).is_ipv4() { 8 } else { 128 }, 0, [0, 9, 0, 1]),
            2 => frame.protocol(47).payload(&[0; 12]),
            _ => frame.udp(1000, 53).payload(b"question"),
        };
        (peer, frame)
    }

    /// ARP or neighbour discovery.
    fn question(&mut self) -> (Peer, Frame) {
        let peer = *self.chance.of(&self.peers);
        let own = peer.end.mac;
        let mac = if self.chance.once_in(6) { Site::stranger() } else { own };
        if ip(peer.addr).is_ipv4() {
            let target = *self.chance.of(ELSEWHERE);
            let target = if self.chance.once_in(2) { self.somebody(true) } else { target };
            let claim = match self.chance.below(6) {
                0 => self.somebody(true),
                1 => "0.0.0.0",
                _ => peer.addr,
            };
            let operation = if self.chance.once_in(5) { 2 } else { 1 };
            let to = if operation == 2 { peer.end.router } else { [0xff; 6] };
            let frame = self.site.frame(peer.end, to);
            return (peer, frame.arp(operation, (mac, claim), ([0; 6], target)));
        }
        let target = *self.chance.of(ELSEWHERE_V6);
        let target = if self.chance.once_in(2) { self.somebody(false) } else { target };
        let claim = match self.chance.below(6) {
            0 => self.somebody(false),
            1 => "::",
            _ => peer.addr,
        };
        let kind = *self.chance.of(&[133, 134, 135, 135, 135, 135, 136, 136, 137]);
        let group = [0x33, 0x33, 0xff, 0, 0, 1];
        let frame = self.site.frame(peer.end, group).ip(claim, "ff02::1:ff00:1");
        let option = if self.chance.once_in(3) { None } else { Some((1, mac)) };
        let frame = frame.neighbour(kind, 0, target, option);
        (peer, if self.chance.once_in(12) { frame.ttl(254) } else { frame })
    }

    fn somebody(&mut self, is_v4: bool) -> &'static str {
        loop {
            let peer = self.chance.of(&self.peers);
            if ip(peer.addr).is_ipv4() == is_v4 {
                return peer.addr;
            }
        }
    }

    /// An ICMP error about a packet of a conversation.
    fn error(&mut self) -> (Peer, Frame) {
        if self.talks.is_empty() {
            return self.talk();
        }
        let at = self.chance.below(self.talks.len());
        let talk = &self.talks[at];
        let from = if self.chance.once_in(10) { *self.chance.of(&self.peers) } else { talk.to() };
        let quoted = talk.last(self.site).packet();
        let quoted = if self.chance.once_in(12) {
            quoted[..self.chance.below(quoted.len())].to_vec()
        } else {
            quoted
        };
        let own = talk.from().addr;
        // A router on the way, or the receiver itself.
        let is_v4 = ip(own).is_ipv4();
        let source = match (from.is_nic && self.chance.once_in(2), is_v4) {
            (true, true) => "7.7.7.7",
            (true, false) => "2001:db8:77::7",
            _ => from.addr,
        };
        if ip(source).is_ipv4() != is_v4 {
            return self.stray();
        }
        let kinds: &[(u8, u8)] = if is_v4 {
            &[(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 0)]
        } else {
            &[(1, 0), (2, 0), (3, 0), (4, 0)]
        };
        let &(kind, code) = self.chance.of(kinds);
        let frame = talk.between(self.site, from, talk.from()).ip(source, own);
        (from, frame.icmp(kind, code, [0, 0, 5, 0]).payload(&quoted))
    }

    /// Somebody else's packet, or somebody else's address.
    fn spoofed(&mut self) -> (Peer, Frame) {
        if self.talks.is_empty() {
            return self.talk();
        }
        let at = self.chance.below(self.talks.len());
        let talk = &self.talks[at];
        let frame = talk.last(self.site);
        let from = *self.chance.of(&self.peers);
        let true_sender = talk.from();
        let frame = match self.chance.below(4) {
            // Word for word from another interface.
            0 => frame,
            // With the own MAC.
            1 => talk.between(self.site, from, talk.to()).like(&frame),
            // At the right interface, with a strange MAC.
            2 => frame.eth(Site::stranger(), true_sender.end.router),
            // To a station that does not have the address.
            _ => frame.eth(true_sender.end.mac, self.chance.of(&self.peers).end.mac),
        };
        (if self.chance.once_in(2) { from } else { true_sender }, frame)
    }

    /// Some bytes are other ones; the IPv4 header's sum is mended more often than not.
    fn damage(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.chance.below(3) {
            let reach = bytes.len().min(70);
            let at = self.chance.below(reach);
            bytes[at] = self.chance.any() as u8;
        }
        if self.chance.once_in(4) {
            return;
        }
        check::mend(bytes);
    }
}

fn peers(s: &Site) -> Vec<Peer> {
    let port = |end, addr| Peer { end, addr, is_nic: false };
    let nic = |end, addr| Peer { end, addr, is_nic: true };
    vec![
        port(s.a, "10.1.0.10"),
        port(s.a, "10.1.0.10"),
        port(s.a, "2001:db8:1::10"),
        port(s.a, "2001:db8:1::10"),
        port(s.b, "10.1.0.20"),
        port(s.b, "2001:db8:1::20"),
        port(s.free, "10.1.0.30"),
        port(s.free, "10.1.0.30"),
        port(s.free, "2001:db8:1::30"),
        port(s.free, "2001:db8:1::30"),
        port(s.pair, "10.1.0.40"),
        port(s.pair, "10.77.0.5"),
        port(s.stateless, "10.1.0.60"),
        port(s.stateless, "2001:db8:1::60"),
        port(s.trunk, "10.1.0.50"),
        port(s.twin, "10.1.0.70"),
        port(s.twin, "2001:db8:1::70"),
        port(s.red_twin, "10.66.0.70"),
        port(s.c, "10.2.0.10"),
        port(s.c, "2001:db8:2::10"),
        port(s.mec, "10.9.0.10"),
        port(s.lonely, "10.8.0.10"),
        port(s.red_a, "10.1.0.10"),
        port(s.red_a, "2001:db8:1::10"),
        port(s.red_b, "10.1.0.20"),
        port(s.red_b, "2001:db8:1::20"),
        port(s.red_c, "10.66.0.10"),
        nic(s.uplink, "8.8.8.8"),
        nic(s.uplink, "9.9.9.9"),
        nic(s.uplink, "8.8.8.8"),
        nic(s.uplink, "2001:db8:99::1"),
        nic(s.uplink, "2001:db8:99::1"),
        nic(s.far, "203.0.113.1"),
        nic(s.metro, "12.0.0.1"),
        nic(s.line_a, "100.64.0.10"),
        nic(s.line_a, "2001:db8:64:1::5"),
        nic(s.line_b, "100.64.0.13"),
        nic(s.suspended, "100.64.0.11"),
        nic(s.bound, "100.64.0.12"),
        nic(s.line_up, "100.65.0.10"),
    ]
}
