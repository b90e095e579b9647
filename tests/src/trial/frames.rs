//! How does what is asked look on the wire?

use std::{net::IpAddr, ops::Range};

use dataplane_user::model::Mac;

use super::Trial;
use crate::{
    build::Frame,
    check,
    packet::Hook,
    reference::{Announcement, Party, Question, Shout, Traffic},
    world::Sent,
};

/// Of a packet that comes in pieces.
const PAYLOAD: [u8; 72] = [0; 72];

impl Trial {
    /// The packet as it comes in.
    #[must_use]
    pub fn sent(&self, question: &Question) -> Sent {
        let (hook, ifindex, frame) = self.frame(question);
        Sent { hook, ifindex, frame: frame.build(), segment_bytes: 0 }
    }

    /// The packet with so much payload.
    #[must_use]
    pub fn sent_with(&self, question: &Question, payload_bytes: usize) -> Sent {
        let (hook, ifindex, frame) = self.frame(question);
        let frame = frame.payload(&vec![7; payload_bytes]).whole().build();
        Sent { hook, ifindex, frame, segment_bytes: 0 }
    }

    /// The packet with a payload, in two pieces.
    #[must_use]
    pub fn pieces(&self, question: &Question) -> [Sent; 2] {
        let bytes = self.carried_bytes(question);
        [self.piece(question, 1, 0..24), self.piece(question, 1, 24..bytes)]
    }

    /// These bytes of the packet with a payload, as a fragment.
    #[must_use]
    pub fn piece(&self, question: &Question, id: u32, bytes: Range<usize>) -> Sent {
        let (hook, ifindex, frame) = self.frame(question);
        let frame = frame.payload(&PAYLOAD).piece(id, bytes.start, bytes.end).build();
        Sent { hook, ifindex, frame, segment_bytes: 0 }
    }

    /// How much a packet carries that comes in pieces.
    #[must_use]
    pub fn carried_bytes(&self, question: &Question) -> usize {
        self.frame(question).2.payload(&PAYLOAD).carried_bytes()
    }

    /// The frame to many as it comes in.
    #[must_use]
    pub fn shouted(&self, shout: &Shout) -> Sent {
        let mut sent = self.sent(&shout.question);
        sent.frame[..6].copy_from_slice(&shout.station);
        sent
    }

    /// The announcement as it comes in: a gratuitous ARP request, or an unsolicited
    /// neighbour advertisement.
    #[must_use]
    pub fn announcement(&self, said: &Announcement) -> Sent {
        const OVERRIDE: u8 = 0x20;
        const TARGET: u8 = 2;
        let at = &self.site.attachments[self.site.ports[said.port].attachment];
        let (mac, address) = (said.mac.octets(), said.address.to_string());
        let to = if said.address.is_ipv4() { [0xff; 6] } else { [0x33, 0x33, 0, 0, 0, 1] };
        let frame = Frame::new(mac, to);
        let frame = frame.vlans(at.vlans());
        let frame = if said.address.is_ipv4() {
            frame.arp(1, (mac, &address), ([0; 6], &address))
        } else {
            let frame = frame.ip(&address, "ff02::1");
            frame.neighbour(136, OVERRIDE, &address, Some((TARGET, mac)))
        };
        let ifindex = self.facts.interfaces[at.interface.as_str()].ifindex;
        Sent { hook: Hook::Tc, ifindex, frame: frame.build(), segment_bytes: 0 }
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
        let frame = Frame::new(src_mac, dst_mac).vlans(of.vlans());
        let frame =
            carry(frame.ip(&question.src.to_string(), &question.dst.to_string()), question.traffic);
        (hook, interface.ifindex, frame)
    }

    /// An ICMP error about the packet, from whoever got it.
    #[must_use]
    pub fn error_about(&self, question: &Question, from: Party, mac: Option<Mac>) -> Sent {
        self.error_by(question.dst, question, from, mac)
    }

    /// The same by a router on the way there.
    #[must_use]
    pub fn error_by(
        &self,
        router: IpAddr,
        question: &Question,
        from: Party,
        mac: Option<Mac>,
    ) -> Sent {
        let quoted = carry(
            Frame::new([0; 6], [0; 6]).ip(&question.src.to_string(), &question.dst.to_string()),
            question.traffic,
        );
        let answer = question.answer(from, mac);
        let mut sent = self.sent(&answer);
        let mut frame = sent.frame[..check::l3(&sent.frame)].to_vec();
        let kind = if question.src.is_ipv4() { 3 } else { 1 };
        let error = Frame::new([0; 6], [0; 6])
            .ip(&router.to_string(), &answer.dst.to_string())
            .icmp(kind, 1, [0; 4])
            .payload(&quoted.packet());
        frame.extend(error.packet());
        sent.frame = frame;
        sent
    }
}

fn carry(frame: Frame, traffic: Traffic) -> Frame {
    match traffic {
        Traffic::Ports { protocol: 6, src, dst } => {
            // Whoever answers from a low port answers a SYN.
            let flags = if traffic.connects() { 2 } else { 18 };
            frame.tcp(src, dst, flags, 1000, u32::from(flags == 18) * 1001)
        }
        Traffic::Ports { src, dst, .. } => frame.udp(src, dst),
        Traffic::Query { kind, id } => {
            let [a, b] = id.to_be_bytes();
            frame.icmp(kind, 0, [a, b, 0, 1])
        }
        Traffic::Error { kind } => frame.icmp(kind, 1, [0; 4]),
        // To the link's own routers alone (RFC 2710 section 3, RFC 3810 section 5).
        Traffic::Listener { kind } => frame.ttl(1).icmp(kind, 0, [0; 4]).payload(&[0; 16]),
        Traffic::Bare(protocol) => frame.protocol(protocol).payload(&[0; 16]),
    }
}
