//! ICMP (RFC 792), ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861).

use crate::addr::Mac;

/// What every ICMP message begins with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Icmp {
    /// What it is.
    pub kind: u8,
    /// Which of its kind.
    pub code: u8,
    /// Of the whole message, and in ICMPv6 of a pseudo-header.
    pub checksum: [u8; 2],
    /// Queries: the identifier. Errors: unused.
    pub id: [u8; 2],
    /// Queries: the sequence number. "Fragmentation needed": the MTU (RFC 1191).
    pub sequence: [u8; 2],
}

/// A neighbour solicitation or advertisement without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Neighbour {
    /// Type 135 or 136.
    pub icmp: Icmp,
    /// The address in question.
    pub target: [u8; 16],
}

/// The link-layer address option for Ethernet (RFC 4861 section 4.6.1).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LinkAddress {
    /// 1: the sender's, 2: the target's.
    pub kind: u8,
    /// In units of 8 bytes: 1.
    pub length: u8,
    /// The address.
    pub mac: Mac,
}

/// Bytes of [`Icmp`].
pub const ICMP_BYTES: u32 = size_of::<Icmp>() as u32;
/// Bytes of [`Neighbour`].
pub const NEIGHBOUR_BYTES: u32 = size_of::<Neighbour>() as u32;
/// Bytes of [`LinkAddress`].
pub const LINK_ADDRESS_BYTES: u32 = size_of::<LinkAddress>() as u32;

/// Types of ICMP (IANA "ICMP Type Numbers").
pub mod v4 {
    #![expect(missing_docs, reason = "the names are the standard's")]
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const SOURCE_QUENCH: u8 = 4;
    pub const REDIRECT: u8 = 5;
    pub const ECHO: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    pub const TIMESTAMP: u8 = 13;
    pub const TIMESTAMP_REPLY: u8 = 14;
    pub const INFORMATION: u8 = 15;
    pub const INFORMATION_REPLY: u8 = 16;
    pub const ADDRESS_MASK: u8 = 17;
    pub const ADDRESS_MASK_REPLY: u8 = 18;
    pub const CODE_NET_UNREACHABLE: u8 = 0;
    pub const CODE_HOST_UNREACHABLE: u8 = 1;
    pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;
}

/// Types of ICMPv6 (IANA "ICMPv6 type Numbers").
pub mod v6 {
    #![expect(missing_docs, reason = "the names are the standard's")]
    pub const UNREACHABLE: u8 = 1;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    pub const LISTENER_QUERY: u8 = 130;
    pub const LISTENER_REPORT: u8 = 131;
    pub const LISTENER_DONE: u8 = 132;
    pub const ROUTER_SOLICITATION: u8 = 133;
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub const REDIRECT: u8 = 137;
    pub const LISTENER_REPORT_V2: u8 = 143;
    pub const CODE_NO_ROUTE: u8 = 0;
    pub const CODE_ADDRESS_UNREACHABLE: u8 = 3;
    /// Neighbour messages that passed a router are refused (RFC 4861 section 7.1).
    pub const NEIGHBOUR_HOP_LIMIT: u8 = 255;
    /// Option of a neighbour message: the sender's MAC (RFC 4861 section 4.6.1).
    pub const OPTION_SOURCE_ADDRESS: u8 = 1;
    /// The target's MAC.
    pub const OPTION_TARGET_ADDRESS: u8 = 2;
    /// An advertisement from a router (RFC 4861 section 4.4).
    pub const FLAG_ROUTER: u8 = 0x80;
    /// An advertisement that was asked for.
    pub const FLAG_SOLICITED: u8 = 0x40;
    /// It replaces what the asker knew.
    pub const FLAG_OVERRIDE: u8 = 0x20;
}
