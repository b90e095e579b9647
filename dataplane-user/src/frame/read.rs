//! What does a frame say of itself?

use std::net::IpAddr;

use dataplane_common::wire::{arp, ethernet, icmp::v6, protocol};

/// The VLAN of the frame's own tag.
#[must_use]
pub fn vlan(frame: &[u8]) -> Option<u16> {
    let is_tagged = frame.get(12..14)? == ethernet::CUSTOMER_TAG;
    let tci = array(frame, 14).filter(|_| is_tagged)?;
    Some(u16::from_be_bytes(tci) & ethernet::VLAN_MASK)
}

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
    Some(if frame.get(12..14)? == ethernet::CUSTOMER_TAG { 18 } else { 14 })
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
