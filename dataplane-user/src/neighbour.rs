//! Which MAC does a next hop have?
//!
//! The programs take every frame of a NIC, so nobody else on this host learns it. The
//! daemon asks by ARP or neighbour solicitation from our own address on the link; the
//! programs tell it what is answered or announced there, and it believes what is said of
//! the next hops that it asks for. [`probe`] says when to ask, [`watch`] whom; [`announce`]
//! tells others which MAC our own addresses have.

pub mod announce;
pub mod probe;
pub mod watch;

use std::net::{IpAddr, Ipv6Addr};

use dataplane_common::{
    addr::Mac,
    wire::{arp, ethernet, icmp::v6, protocol},
};

use crate::frame;

/// A question: who has `target`, as seen from our end of the link?
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The interface.
    pub interface: String,
    /// The VLANs ([`ethernet::vlans`]); 0: none.
    pub vlans: u32,
    /// Our MAC there.
    pub mac: Mac,
    /// Our address there, of the target's family.
    pub own: IpAddr,
    /// Who is looked for.
    pub target: IpAddr,
}

/// The question as a frame: to whoever had the answer before, or to everybody.
#[must_use]
pub fn ask(question: &Question, to: Option<Mac>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    match (question.own, question.target) {
        (IpAddr::V4(own), IpAddr::V4(target)) => {
            bytes.extend(to.unwrap_or(Mac::BROADCAST).0);
            bytes.extend(question.mac.0);
            bytes.extend(ethernet::ARP);
            bytes.extend(arp::ETHERNET_IPV4);
            bytes.extend(arp::REQUEST);
            bytes.extend(question.mac.0);
            bytes.extend(own.octets());
            bytes.extend([0; 6]);
            bytes.extend(target.octets());
        }
        (IpAddr::V6(own), IpAddr::V6(target)) => {
            solicitation(&mut bytes, (question.mac, to), own, target);
        }
        // The families differ: such a question is nobody's to answer.
        _ => {}
    }
    frame::tagged(&bytes, question.vlans)
}

/// A neighbour solicitation to the target or its group (RFC 4861 section 4.3).
fn solicitation(
    bytes: &mut Vec<u8>,
    (mac, to): (Mac, Option<Mac>),
    own: Ipv6Addr,
    target: Ipv6Addr,
) {
    let [.., a, b, c] = target.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let (dst, dst_mac) = match to {
        Some(mac) => (target.octets(), mac),
        None => (group, Mac([0x33, 0x33, 0xff, a, b, c])),
    };
    let mut message = vec![v6::NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([v6::OPTION_SOURCE_ADDRESS, 1]);
    message.extend(mac.0);
    bytes.extend(dst_mac.0);
    self::message(bytes, mac, own.octets(), dst, message);
}

/// What follows the destination MAC of a neighbour message's frame; its checksum is filled in.
fn message(bytes: &mut Vec<u8>, mac: Mac, src: [u8; 16], dst: [u8; 16], mut message: Vec<u8>) {
    let sum = frame::sum(&message)
        .addr(src)
        .addr(dst)
        .word([0, message.len() as u8])
        .word([0, protocol::ICMPV6]);
    message[2..4].copy_from_slice(&sum.checksum());
    bytes.extend(mac.0);
    bytes.extend(ethernet::IPV6);
    bytes.extend([0x60, 0, 0, 0, 0, message.len() as u8]);
    bytes.extend([protocol::ICMPV6, v6::NEIGHBOUR_HOP_LIMIT]);
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(own: &str, target: &str) -> Question {
        Question {
            interface: "nic".to_owned(),
            vlans: 0,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            own: own.parse().unwrap(),
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn whoever_answered_before_is_asked_alone() {
        let question = question("192.0.2.2", "192.0.2.1");
        let hop = Mac([2, 0, 0, 0, 0, 9]);
        let (all, one) = (ask(&question, None), ask(&question, Some(hop)));
        assert_eq!((all.len(), &all[..6]), (42, Mac::BROADCAST.0.as_slice()));
        assert_eq!((&one[..6], &one[6..]), (hop.0.as_slice(), &all[6..]));
        let tagged = ask(&Question { vlans: 5, ..question.clone() }, None);
        assert_eq!((tagged.len(), &tagged[12..16]), (46, [0x81, 0, 0, 5].as_slice()));
        let twice = ask(&Question { vlans: ethernet::vlans(7, 5), ..question }, None);
        let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 5];
        assert_eq!((twice.len(), &twice[12..20]), (50, tags.as_slice()));
    }

    #[test]
    fn a_solicitation_has_a_right_checksum() {
        for to in [None, Some(Mac([2, 0, 0, 0, 0, 9]))] {
            let frame = ask(&question("2001:db8::2", "2001:db8::1"), to);
            assert_eq!(frame.len(), 86);
            let (header, message) = frame[14..].split_at(40);
            let pseudo = frame::sum(&header[8..]).word([0, 32]).word([0, 58]);
            let total =
                message.chunks_exact(2).fold(pseudo, |sum, pair| sum.word([pair[0], pair[1]]));
            assert_eq!(total.fold(), [0xff; 2]);
        }
    }
}
