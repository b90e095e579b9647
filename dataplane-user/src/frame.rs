//! What does a described packet look like on the wire? For `sekisho trace`.

mod read;

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use dataplane_common::{
    addr::Mac,
    checksum::Sum,
    wire::{ethernet, icmp, protocol, transport},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use read::{cut, describe, is_tagged, packet_bytes, vlans};

/// What a described packet carries.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A segment with these flags, no data.
    Tcp {
        /// The sender's port.
        src: u16,
        /// The receiver's.
        dst: u16,
        /// The flags.
        flags: u8,
    },
    /// A datagram of 8 bytes.
    Udp {
        /// The sender's port.
        src: u16,
        /// The receiver's.
        dst: u16,
    },
    /// The beginning of another protocol's packet that has ports.
    Ports {
        /// The protocol's number.
        protocol: u8,
        /// The sender's port.
        src: u16,
        /// The receiver's.
        dst: u16,
    },
    /// An ICMP or ICMPv6 message, as the family has it.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// The identifier.
        id: u16,
    },
    /// Anything else, 8 bytes of it.
    Other {
        /// The protocol's number.
        protocol: u8,
    },
}

/// Everything that [`build`] writes.
#[derive(Clone, Debug)]
pub struct Headers {
    /// The sender's MAC.
    pub src_mac: Mac,
    /// The receiver's.
    pub dst_mac: Mac,
    /// The tags ([`ethernet::vlans`]); 0: none.
    pub vlans: u32,
    /// The source, of one family with the destination.
    pub src: IpAddr,
    /// The destination.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What it carries.
    pub payload: Payload,
}

/// Bytes of a datagram's or message's made-up data.
const DATA_BYTES: usize = 8;

/// The frame, checksums included.
#[must_use]
pub fn build(headers: &Headers) -> Vec<u8> {
    let mut frame = BytesMut::with_capacity(128);
    frame.put_slice(&headers.dst_mac.0);
    frame.put_slice(&headers.src_mac.0);
    let payload = payload(headers);
    match (headers.src, headers.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.put_slice(&ethernet::IPV4);
            let mut ip = BytesMut::with_capacity(20);
            ip.put_slice(&[0x45, 0]);
            ip.put_u16(20 + payload.len() as u16);
            ip.put_slice(&[0, 0, 0x40, 0, headers.ttl, number(headers), 0, 0]);
            ip.put_slice(&src.octets());
            ip.put_slice(&dst.octets());
            let checksum = sum(&ip).checksum();
            ip[10..12].copy_from_slice(&checksum);
            frame.put_slice(&ip);
        }
        (src, dst) => {
            frame.put_slice(&ethernet::IPV6);
            frame.put_slice(&[0x60, 0, 0, 0]);
            frame.put_u16(payload.len() as u16);
            frame.put_slice(&[number(headers), headers.ttl]);
            frame.put_slice(&octets(src));
            frame.put_slice(&octets(dst));
        }
    }
    frame.put_slice(&payload);
    tagged(&frame, headers.vlans)
}

/// How VLANs are called in messages: `no VLAN`, `VLAN 101`, `VLAN 101 of service VLAN 100`.
#[must_use]
pub fn named(vlans: u32) -> String {
    match (ethernet::service_vlan(vlans), ethernet::customer_vlan(vlans)) {
        (0, 0) => "no VLAN".to_owned(),
        (0, vlan) => format!("VLAN {vlan}"),
        (service, vlan) => format!("VLAN {vlan} of service VLAN {service}"),
    }
}

/// The frame with tags in place, or as it is without VLANs.
#[must_use]
pub fn tagged(frame: &[u8], vlans: u32) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(frame.len().min(12));
    let tags = [
        (ethernet::SERVICE_TAG, ethernet::service_vlan(vlans)),
        (ethernet::CUSTOMER_TAG, ethernet::customer_vlan(vlans)),
    ];
    let mut tagged = addresses.to_vec();
    for (protocol, vlan) in tags.into_iter().filter(|(_, vlan)| *vlan != 0) {
        tagged.extend(protocol);
        tagged.extend(vlan.to_be_bytes());
    }
    tagged.extend_from_slice(rest);
    tagged
}

fn number(headers: &Headers) -> u8 {
    match headers.payload {
        Payload::Tcp { .. } => protocol::TCP,
        Payload::Udp { .. } => protocol::UDP,
        Payload::Icmp { .. } if headers.src.is_ipv4() => protocol::ICMP,
        Payload::Icmp { .. } => protocol::ICMPV6,
        Payload::Ports { protocol, .. } | Payload::Other { protocol } => protocol,
    }
}

/// The transport header, its checksum, and a little data.
fn payload(headers: &Headers) -> BytesMut {
    let mut payload = BytesMut::with_capacity(40);
    let checksum_at = match headers.payload {
        Payload::Tcp { src, dst, flags } => {
            payload.put_u16(src);
            payload.put_u16(dst);
            payload.put_u32(1);
            payload.put_u32(if flags & transport::ACK == 0 { 0 } else { 1 });
            payload.put_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            16
        }
        Payload::Udp { src, dst } => {
            payload.put_u16(src);
            payload.put_u16(dst);
            payload.put_u16((transport::UDP_BYTES as usize + DATA_BYTES) as u16);
            payload.put_u16(0);
            payload.put_bytes(0, DATA_BYTES);
            6
        }
        Payload::Icmp { kind, code, id } => {
            payload.put_slice(&[kind, code, 0, 0]);
            payload.put_u16(id);
            payload.put_u16(1);
            payload.put_bytes(0, DATA_BYTES);
            debug_assert!(payload.len() >= icmp::ICMP_BYTES as usize);
            2
        }
        Payload::Ports { src, dst, .. } => {
            payload.put_u16(src);
            payload.put_u16(dst);
            // Of the rest nothing is read, and the frame goes nowhere.
            payload.put_bytes(0, DATA_BYTES);
            return payload;
        }
        Payload::Other { .. } => {
            payload.put_bytes(0, DATA_BYTES);
            return payload;
        }
    };
    let is_icmp_v4 = number(headers) == protocol::ICMP;
    let mut total = sum(&payload);
    if !is_icmp_v4 {
        total = total
            .addr(octets(headers.src))
            .addr(octets(headers.dst))
            .word((payload.len() as u16).to_be_bytes())
            .word([0, number(headers)]);
    }
    payload[checksum_at..checksum_at + 2].copy_from_slice(&total.checksum());
    payload
}

/// The 16 bytes that count in a pseudo-header: an IPv4 address's other 12 are zero.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[12..].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The sum of an even number of bytes.
pub fn sum(bytes: &[u8]) -> Sum {
    bytes.chunks_exact(2).fold(Sum::default(), |sum, pair| sum.word([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_can_be_read() {
        let headers = |src: &str, dst: &str, payload| Headers {
            src_mac: Mac([2, 0, 0, 0, 0, 1]),
            dst_mac: Mac([2, 0, 0, 0, 0, 2]),
            vlans: 7,
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            ttl: 64,
            payload,
        };
        let tcp = Payload::Tcp { src: 40_000, dst: 443, flags: 2 };
        let frame = build(&headers("10.0.0.1", "10.0.0.2", tcp));
        assert_eq!(describe(&frame), "tcp 10.0.0.1 40000 > 10.0.0.2 443");
        let sctp = Payload::Ports { protocol: 132, src: 40_000, dst: 38_412 };
        let frame = build(&headers("10.0.0.1", "10.0.0.2", sctp));
        assert_eq!(describe(&frame), "sctp 10.0.0.1 40000 > 10.0.0.2 38412");
        let icmp = Payload::Icmp { kind: 128, code: 0, id: 1 };
        let frame = build(&headers("2001:db8::1", "2001:db8::2", icmp));
        assert_eq!(describe(&frame), "icmpv6 2001:db8::1 > 2001:db8::2 type 128 code 0");
        assert_eq!(describe(&frame[..20]), "a frame of 20 bytes");
    }
}
