//! Which MAC does a next hop have? Asked once, before the program takes the frames
//! from the interface.
//!
//! The daemon asks by ARP or neighbour solicitation on a packet socket, from our own
//! address on the link, and believes only an answer to its own question: from the
//! address that it asked for, to the MAC that it asked from.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use dataplane_common::{
    addr::Mac,
    checksum::Sum,
    wire::{arp, ethernet, icmp::v6, protocol},
};

use crate::{frame, link::Link};

/// A question: who has `target`, as seen from our end of the link?
#[derive(Clone, Debug)]
pub struct Question {
    /// The interface.
    pub interface: String,
    /// The VLAN; 0: none.
    pub vlan: u16,
    /// Our MAC there.
    pub mac: Mac,
    /// Our address there, of the target's family.
    pub own: IpAddr,
    /// Who is looked for.
    pub target: IpAddr,
}

/// How often it is asked, and how long each time is waited for an answer.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_millis(300);

/// Asks; `None`: nobody answered.
pub fn resolve(question: &Question) -> io::Result<Option<Mac>> {
    let link = Link::open(&question.interface)?;
    for _ in 0..TRIES {
        link.send(&ask(question))?;
        let until = Instant::now() + PATIENCE;
        while let Some(frame) = link.receive(until)? {
            if let Some(mac) = answer(question, &frame) {
                return Ok(Some(mac));
            }
        }
    }
    Ok(None)
}

/// The question as a frame.
#[must_use]
pub fn ask(question: &Question) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    match (question.own, question.target) {
        (IpAddr::V4(own), IpAddr::V4(target)) => {
            bytes.extend(Mac::BROADCAST.0);
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
            solicitation(&mut bytes, question.mac, own, target);
        }
        // The families differ: such a question is nobody's to answer.
        _ => {}
    }
    frame::tagged(&bytes, question.vlan)
}

/// A neighbour solicitation to the target's group (RFC 4861 section 4.3).
fn solicitation(bytes: &mut Vec<u8>, mac: Mac, own: Ipv6Addr, target: Ipv6Addr) {
    let [.., a, b, c] = target.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let mut message = vec![v6::NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(mac.0);
    let sum = message
        .chunks_exact(2)
        .fold(Sum::default(), |sum, pair| sum.word([pair[0], pair[1]]))
        .addr(own.octets())
        .addr(group)
        .word([0, message.len() as u8])
        .word([0, protocol::ICMPV6]);
    message[2..4].copy_from_slice(&sum.checksum());

    bytes.extend([0x33, 0x33, 0xff, a, b, c]);
    bytes.extend(mac.0);
    bytes.extend(ethernet::IPV6);
    bytes.extend([0x60, 0, 0, 0, 0, message.len() as u8]);
    bytes.extend([protocol::ICMPV6, v6::NEIGHBOUR_HOP_LIMIT]);
    bytes.extend(own.octets());
    bytes.extend(group);
    bytes.extend(message);
}

/// The MAC, if the frame answers the question. The kernel hands over a tag beside
/// the frame or in it; the tag itself is not compared, the addresses are.
#[must_use]
pub fn answer(question: &Question, frame: &[u8]) -> Option<Mac> {
    let mac = |at: usize| -> Option<Mac> { Some(Mac(frame.get(at..at + 6)?.try_into().ok()?)) };
    if mac(0)? != question.mac {
        return None;
    }
    let tagged = frame.get(12..14)? == ethernet::CUSTOMER_TAG;
    let at = if tagged { 18 } else { 14 };
    let ethertype = frame.get(at - 2..at)?;
    match question.target {
        IpAddr::V4(target) if ethertype == ethernet::ARP => {
            let is_reply = frame.get(at + 6..at + 8)? == arp::REPLY;
            let is_format = frame.get(at..at + 6)? == arp::ETHERNET_IPV4;
            let is_target = frame.get(at + 14..at + 18)? == target.octets();
            if is_reply && is_format && is_target { mac(at + 8) } else { None }
        }
        IpAddr::V6(target) if ethertype == ethernet::IPV6 => {
            let is_advertisement = *frame.get(at + 6)? == protocol::ICMPV6
                && *frame.get(at + 7)? == v6::NEIGHBOUR_HOP_LIMIT
                && *frame.get(at + 40)? == v6::NEIGHBOUR_ADVERTISEMENT
                && frame.get(at + 48..at + 64)? == target.octets();
            let has_address = frame.get(at + 64..at + 66)? == [2, 1];
            if is_advertisement && has_address { mac(at + 66) } else { None }
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(own: &str, target: &str) -> Question {
        Question {
            interface: "nic".to_owned(),
            vlan: 0,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            own: own.parse().unwrap(),
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn only_the_answer_to_the_question_is_believed() {
        let question = question("192.0.2.2", "192.0.2.1");
        let mut reply = ask(&question);
        assert_eq!(reply.len(), 42);
        assert_eq!(answer(&question, &reply), None, "our own request");
        reply[0..6].copy_from_slice(&question.mac.0);
        reply[21] = 2;
        reply[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        reply[28..32].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(answer(&question, &reply), Some(Mac([2, 0, 0, 0, 0, 9])));
        let tagged = frame::tagged(&reply, 5);
        assert_eq!(answer(&question, &tagged), Some(Mac([2, 0, 0, 0, 0, 9])));
        reply[31] = 3;
        assert_eq!(answer(&question, &reply), None, "another address");
        for length in 0..reply.len() {
            assert_eq!(answer(&question, &reply[..length]), None);
        }
    }

    #[test]
    fn a_solicitation_has_a_right_checksum() {
        let frame = ask(&question("2001:db8::2", "2001:db8::1"));
        assert_eq!(frame.len(), 86);
        let (header, message) = frame[14..].split_at(40);
        let words = |bytes: &[u8]| {
            bytes.chunks_exact(2).fold(Sum::default(), |sum, pair| sum.word([pair[0], pair[1]]))
        };
        let pseudo = words(message).word([0, 32]).word([0, 58]);
        let total = header[8..].chunks_exact(2).fold(pseudo, |sum, p| sum.word([p[0], p[1]]));
        assert_eq!(total.fold(), [0xff; 2]);
    }
}
