//! ARP for IPv4 over Ethernet (RFC 826).

use crate::addr::Mac;

/// Hardware type 1, protocol IPv4, address lengths 6 and 4.
pub const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
/// "Who has?"
pub const REQUEST: [u8; 2] = [0, 1];
/// "It is me."
pub const REPLY: [u8; 2] = [0, 2];

/// An ARP packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arp {
    /// Hardware, protocol and address lengths; only [`ETHERNET_IPV4`] is understood.
    pub format: [u8; 6],
    /// [`REQUEST`] or [`REPLY`].
    pub operation: [u8; 2],
    /// The sender's MAC.
    pub sender_mac: Mac,
    /// The sender's address; 0.0.0.0 in a probe (RFC 5227).
    pub sender: [u8; 4],
    /// Empty in a request.
    pub target_mac: Mac,
    /// The address in question.
    pub target: [u8; 4],
}

/// Bytes of [`Arp`].
pub const ARP_BYTES: u32 = size_of::<Arp>() as u32;
