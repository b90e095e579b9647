//! What does a frame say of itself?

use std::net::IpAddr;

use dataplane_common::{
    checksum::Sum,
    wire::{arp, ethernet, icmp::v6, ipv6, protocol, transport},
};

/// The VLANs of the frame's own tags: a customer tag, or a service tag and then one. Of other
/// tags nothing is said.
#[must_use]
pub fn vlans(frame: &[u8]) -> Option<u32> {
    let tag = |at: usize, protocol| {
        let is_it = array(frame, at)? == protocol;
        let tci = array(frame, at + 2).filter(|_| is_it)?;
        Some(u16::from_be_bytes(tci) & ethernet::VLAN_MASK)
    };
    match tag(12, ethernet::SERVICE_TAG) {
        Some(service) => Some(ethernet::vlans(service, tag(16, ethernet::CUSTOMER_TAG)?)),
        None => tag(12, ethernet::CUSTOMER_TAG).map(u32::from),
    }
}

/// Does it have a tag, whichever?
#[must_use]
pub fn is_tagged(frame: &[u8]) -> bool {
    array(frame, 12).is_some_and(ethernet::is_tag)
}

/// Bytes of the packet in the frame, as its IP header says.
#[must_use]
pub fn packet_bytes(frame: &[u8]) -> Option<u32> {
    let l3 = l3(frame)?;
    let field = |at: usize| array(frame, l3 + at).map(|field| u32::from(u16::from_be_bytes(field)));
    match (array(frame, l3 - 2)?, frame.get(l3)? >> 4) {
        (ethernet::IPV4, 4) => field(2),
        (ethernet::IPV6, 6) => Some(field(4)? + IPV6_BYTES as u32),
        _ => None,
    }
}

/// The frame's first segment, of `bytes` from the IP header on, if it is longer and one of
/// TCP or UDP. The transport's checksum, which nobody looks at, is left as it was.
#[must_use]
pub fn cut(frame: &[u8], bytes: u16) -> Option<Vec<u8>> {
    let (l3, end) = (l3(frame)?, l3(frame)? + usize::from(bytes));
    let ip = ip(frame, l3)?;
    let header_bytes = match ip.protocol {
        protocol::TCP => usize::from(*frame.get(ip.l4 + 12)? >> 4) * 4,
        protocol::UDP => transport::UDP_BYTES as usize,
        _ => return None,
    };
    let fragment = u16::from_be_bytes(array(frame, l3 + 6)?);
    let is_fragment = ip.src.is_ipv4() && fragment & MORE_OR_LATER != 0;
    if is_fragment || ip.l4 + header_bytes >= end || packet_bytes(frame)? <= u32::from(bytes) {
        return None;
    }
    let mut segment = frame.get(..end)?.to_vec();
    if ip.src.is_ipv4() {
        // A wrong checksum stays wrong.
        let sum = Sum::from_checksum(array(frame, l3 + 10)?);
        let sum = sum.replace(array(frame, l3 + 2)?, bytes.to_be_bytes());
        segment[l3 + 2..l3 + 4].copy_from_slice(&bytes.to_be_bytes());
        segment[l3 + 10..l3 + 12].copy_from_slice(&sum.checksum());
    } else {
        let payload = bytes.checked_sub(IPV6_BYTES)?;
        segment[l3 + 4..l3 + 6].copy_from_slice(&payload.to_be_bytes());
    }
    if ip.protocol == protocol::UDP {
        let datagram = (end - ip.l4) as u16;
        segment[ip.l4 + 4..ip.l4 + 6].copy_from_slice(&datagram.to_be_bytes());
    }
    Some(segment)
}

const IPV6_BYTES: u16 = ipv6::IPV6_BYTES as u16;
/// More fragments, and where this one begins (RFC 791 section 3.1).
const MORE_OR_LATER: u16 = 0x3fff;
/// Where a fragment begins, in units of eight bytes.
const OFFSET: u16 = 0x1fff;

/// The frame in a line: `tcp 10.1.0.10 40000 > 10.2.0.5 443`.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    line(frame).unwrap_or_else(|| format!("a frame of {} bytes", frame.len()))
}

fn line(frame: &[u8]) -> Option<String> {
    let l3 = l3(frame)?;
    if frame.get(l3 - 2..l3)? == ethernet::ARP {
        return arp(frame.get(l3..)?);
    }
    let Ip { protocol, src, dst, l4 } = ip(frame, l3)?;
    let name = crate::protocol::name(protocol);
    if let Some(offset_bytes) = later_at(frame, l3) {
        return Some(format!("{name} {src} > {dst} from byte {offset_bytes} on"));
    }
    let port = |at: usize| array(frame, l4 + at).map_or(0, u16::from_be_bytes);
    let target = array(frame, l4 + 8).map(<IpAddr as From<[u8; 16]>>::from);
    Some(match (protocol, port(0).to_be_bytes(), target) {
        (protocol::ICMPV6, [v6::NEIGHBOUR_SOLICITATION, 0], Some(target)) => {
            format!("{name} {src} > {dst} who-has {target}")
        }
        (protocol::ICMP | protocol::ICMPV6, [kind, code], _) => {
            format!("{name} {src} > {dst} type {kind} code {code}")
        }
        (number, ..) if crate::protocol::has_ports(number) => {
            format!("{name} {src} {} > {dst} {}", port(0), port(2))
        }
        _ => format!("{name} {src} > {dst}"),
    })
}

/// Where in its datagram a later fragment of IPv4 begins, which has no transport header.
fn later_at(frame: &[u8], l3: usize) -> Option<u16> {
    let eighths = u16::from_be_bytes(array(frame, l3 + 6)?) & OFFSET;
    (frame.get(l3)? >> 4 == 4 && eighths != 0).then_some(eighths * 8)
}

fn arp(arp: &[u8]) -> Option<String> {
    let ip = |at| array(arp, at).map(<IpAddr as From<[u8; 4]>>::from);
    let (sender, target) = (ip(14)?, ip(24)?);
    Some(match array(arp, 6)? {
        arp::REQUEST => format!("arp who-has {target} tell {sender}"),
        arp::REPLY => format!("arp {sender} tells {target}"),
        _ => return None,
    })
}

/// An IP header, as far as it can be believed without a look at lengths.
struct Ip {
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
    /// Where the transport header begins.
    l4: usize,
}

/// Where the network header begins.
fn l3(frame: &[u8]) -> Option<usize> {
    Some(match array(frame, 12)? {
        ethernet::CUSTOMER_TAG => 18,
        ethernet::SERVICE_TAG if array(frame, 16)? == ethernet::CUSTOMER_TAG => 22,
        _ => 14,
    })
}

fn ip(frame: &[u8], l3: usize) -> Option<Ip> {
    let byte = |at: usize| frame.get(l3 + at).copied();
    Some(match byte(0)? >> 4 {
        4 => Ip {
            protocol: byte(9)?,
            src: array::<4>(frame, l3 + 12)?.into(),
            dst: array::<4>(frame, l3 + 16)?.into(),
            l4: l3 + usize::from(byte(0)? & 15) * 4,
        },
        6 => Ip {
            protocol: byte(6)?,
            src: array::<16>(frame, l3 + 8)?.into(),
            dst: array::<16>(frame, l3 + 24)?.into(),
            l4: l3 + 40,
        },
        _ => return None,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use dataplane_common::addr::Mac;

    use super::*;
    use crate::frame::{Headers, Payload, build, sum};

    #[test]
    fn a_first_segment_is_a_packet() {
        for (src, dst, headers_bytes) in
            [("10.0.0.1", "10.0.0.2", 20), ("2001:db8::1", "2001:db8::2", 40)]
        {
            for (payload, vlans) in [
                (Payload::Tcp { src: 40_000, dst: 443, flags: 0x18 }, 7),
                (Payload::Tcp { src: 40_000, dst: 443, flags: 0x18 }, 7 << 16 | 9),
                (Payload::Udp { src: 40_000, dst: 443 }, 0),
            ] {
                let mut frame = build(&Headers {
                    src_mac: Mac([2, 0, 0, 0, 0, 1]),
                    dst_mac: Mac([2, 0, 0, 0, 0, 2]),
                    vlans,
                    src: src.parse().unwrap(),
                    dst: dst.parse().unwrap(),
                    ttl: 64,
                    payload,
                });
                let l3 = l3(&frame).unwrap();
                assert_eq!(super::vlans(&frame), (vlans != 0).then_some(vlans));
                let short = packet_bytes(&frame).unwrap() as u16;
                assert_eq!(cut(&frame, short), None);
                assert_eq!(cut(&frame, headers_bytes), None);
                // As if the sender had left 4,000 bytes to be cut.
                frame.resize(l3 + 4_000, 0);
                let is_v4 = src.contains('.');
                let at = if is_v4 { l3 + 2 } else { l3 + 4 };
                let length = if is_v4 { 4_000_u16 } else { 3_960 };
                frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
                if is_v4 {
                    frame[l3 + 10..l3 + 12].fill(0);
                    let checksum = sum(&frame[l3..l3 + 20]).checksum();
                    frame[l3 + 10..l3 + 12].copy_from_slice(&checksum);
                }
                let segment = cut(&frame, 1_400).unwrap();
                assert_eq!((segment.len(), packet_bytes(&segment)), (l3 + 1_400, Some(1_400)));
                assert_eq!(describe(&segment), describe(&frame));
                if is_v4 {
                    assert_eq!(sum(&segment[l3..l3 + 20]).checksum(), [0; 2]);
                    frame[l3 + 6] = 0x20;
                    assert_eq!(cut(&frame, 1_400), None, "a fragment");
                    let first = describe(&frame);
                    assert!(first.ends_with(" 10.0.0.1 40000 > 10.0.0.2 443"), "{first}");
                    frame[l3 + 7] = 185;
                    let later = describe(&frame);
                    assert!(later.ends_with(" 10.0.0.1 > 10.0.0.2 from byte 1480 on"), "{later}");
                }
            }
        }
    }
}
