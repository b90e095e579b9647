//! Two who speak with each other.

use super::Peer;
use crate::{
    build::{
        Frame, ip,
        tcp::{ACK, FIN, RST, SYN},
    },
    chance::Chance,
    world::Site,
};

/// A conversation.
#[derive(Clone, Debug)]
pub struct Talk {
    peers: [Peer; 2],
    kind: Kind,
    ports: [u16; 2],
    /// Next sequence numbers.
    seqs: [u32; 2],
    /// Who sent last.
    side: usize,
    flags: u8,
    seq: u32,
    sent: u32,
    is_routed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tcp,
    Udp,
    Echo,
    Timestamp,
    Other(u8),
}

impl Talk {
    /// Of these two, about something.
    pub fn new(one: Peer, other: Peer, ports: u16, chance: &mut Chance) -> Self {
        let is_v4 = ip(one.addr).is_ipv4();
        let kind = match chance.below(20) {
            0..12 => Kind::Tcp,
            12..15 => Kind::Udp,
            15..18 => Kind::Echo,
            18 if is_v4 => Kind::Timestamp,
            _ => Kind::Other(*chance.of(&[132, 47, 33, 136, 50])),
        };
        let service = match kind {
            Kind::Tcp => *chance.of(&[80, 80, 80, 80, 80, 443]),
            Kind::Udp | Kind::Echo | Kind::Timestamp | Kind::Other(_) => {
                *chance.of(&[53, 53, 53, 5000])
            }
        };
        let client = 1000 + chance.below(usize::from(ports)) as u16;
        Self {
            peers: [one, other],
            kind,
            ports: [client, service],
            seqs: [chance.any() as u32, chance.any() as u32],
            side: 0,
            flags: SYN,
            seq: 0,
            sent: 0,
            is_routed: chance.once_in(6),
        }
    }

    /// Who sent the last packet.
    pub const fn from(&self) -> Peer {
        self.peers[self.side]
    }

    /// To whom.
    pub const fn to(&self) -> Peer {
        self.peers[1 - self.side]
    }

    /// One side speaks, the other one if all goes well.
    pub fn next_packet(&mut self, site: &Site, chance: &mut Chance) -> (Peer, Frame) {
        let is_strange = chance.once_in(10);
        self.side = match self.sent {
            0 if !is_strange => 0,
            1 if !is_strange => 1,
            _ => chance.below(2),
        };
        self.sent += 1;
        if self.kind == Kind::Tcp {
            self.choose_flags(chance);
        }
        let mut frame = self.last(site);
        let is_payload = self.kind == Kind::Udp || self.flags == ACK;
        if is_payload && chance.once_in(4) {
            let size = *chance.of(&[1, 5, 30, 600, 1360, 1400, 1472, 1473, 2800]);
            frame = frame.payload(&vec![0x55; size]);
            self.seqs[self.side] = self.seqs[self.side].wrapping_add(size as u32);
        }
        if chance.once_in(40) {
            frame = frame.ttl(chance.below(3) as u8);
        }
        if chance.once_in(3) {
            frame = frame.whole();
        }
        if chance.once_in(60) {
            frame = frame.tos(chance.any() as u8);
        }
        (self.from(), frame)
    }

    /// Mostly as a connection goes, sometimes not.
    fn choose_flags(&mut self, chance: &mut Chance) {
        self.flags = match (self.sent, chance.below(20)) {
            (1, 0..19) => SYN,
            (2, 0..14) => SYN | ACK,
            (2, 14..17) => SYN,
            (3, 0..14) => ACK,
            (3, 16..18) => SYN | ACK,
            // A reset of what is about to end.
            (_, 0) if self.flags == FIN | ACK => RST | ACK,
            (_, 0..8) => ACK,
            (_, 8..12) => FIN | ACK,
            (_, 12..14) => SYN,
            (_, 14) => SYN | FIN,
            (_, 15) => SYN | ACK,
            (_, 16) => RST | ACK,
            (_, 17) => FIN,
            (_, 18) => RST,
            _ => chance.any() as u8 & 0x3f,
        };
        if self.flags & SYN != 0 && self.sent > 8 && chance.once_in(2) {
            self.sent = 1;
        }
        self.seq = self.seqs[self.side];
        if chance.once_in(if self.flags & RST == 0 { 60 } else { 12 }) {
            self.seq = chance.any() as u32;
        }
        let phantom = u32::from(self.flags & (SYN | FIN) != 0);
        self.seqs[self.side] = self.seqs[self.side].wrapping_add(phantom);
    }

    /// The last packet once more, without its payload.
    pub fn last(&self, site: &Site) -> Frame {
        let (from, to) = (self.from(), self.to());
        let frame = self.between(site, from, to).ip(from.addr, to.addr);
        let [src, dst] = [self.ports[self.side], self.ports[1 - self.side]];
        let [a, b] = self.ports[0].to_be_bytes();
        let is_v4 = ip(from.addr).is_ipv4();
        match self.kind {
            Kind::Tcp => {
                let ack = self.seqs[1 - self.side];
                let frame = frame.tcp(src, dst, self.flags, self.seq, ack);
                if self.flags & SYN != 0 && src & 1 == 0 {
                    frame.tcp_options(&[2, 4, 5, 0xb4, 1, 3, 3, 7])
                } else {
                    frame
                }
            }
            Kind::Udp => frame.udp(src, dst),
            Kind::Echo if is_v4 => frame.icmp(if self.side == 0 { 8 } else { 0 }, 0, [a, b, 0, 1]),
            Kind::Echo => frame.icmp(if self.side == 0 { 128 } else { 129 }, 0, [a, b, 0, 1]),
            Kind::Timestamp => {
                frame.icmp(if self.side == 0 { 13 } else { 14 }, 0, [a, b, 0, 1]).payload(&[0; 12])
            }
            Kind::Other(protocol) => {
                let ports = [src.to_be_bytes(), dst.to_be_bytes()].concat();
                frame.transport(protocol, [ports, vec![0; 8]].concat(), None)
            }
        }
    }

    /// A frame from one to the other: to the station in the same network, else to the
    /// router.
    pub fn between(&self, site: &Site, from: Peer, to: Peer) -> Frame {
        let is_near = !from.is_nic && !to.is_nic && from.end.zone == to.end.zone;
        if is_near && !self.is_routed {
            site.switched(from.end, to.end)
        } else {
            site.routed(from.end)
        }
    }
}
