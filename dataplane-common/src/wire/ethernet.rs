//! Ethernet II, IEEE 802.1Q and 802.1ad.

use crate::addr::Mac;

/// EtherType of IPv4.
pub const IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of ARP.
pub const ARP: [u8; 2] = [0x08, 0x06];
/// EtherType of IPv6.
pub const IPV6: [u8; 2] = [0x86, 0xdd];
/// EtherType of LACP and others that are slow (IEEE 802.3 annex 57A).
pub const SLOW_PROTOCOLS: [u8; 2] = [0x88, 0x09];
/// EtherType of LLDP (IEEE 802.1AB).
pub const LLDP: [u8; 2] = [0x88, 0xcc];
/// The beginning of the groups that no bridge forwards (IEEE 802.1Q section 8.6.3).
pub const RESERVED_GROUP: [u8; 5] = [0x01, 0x80, 0xc2, 0x00, 0x00];
/// Tag protocol of a customer tag (IEEE 802.1Q).
pub const CUSTOMER_TAG: [u8; 2] = [0x81, 0x00];
/// Tag protocol of a service tag (IEEE 802.1ad).
pub const SERVICE_TAG: [u8; 2] = [0x88, 0xa8];

/// The Ethernet header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    /// Where the frame goes.
    pub dst: Mac,
    /// Who sent it.
    pub src: Mac,
    /// What follows.
    pub ethertype: [u8; 2],
}

/// What a tag adds behind the addresses: priority, VLAN, and the next EtherType.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tag {
    /// Priority (3 bits), drop eligibility (1), VLAN (12).
    pub tci: [u8; 2],
    /// What follows.
    pub ethertype: [u8; 2],
}

/// Bytes of [`Ethernet`].
pub const ETHERNET_BYTES: u32 = size_of::<Ethernet>() as u32;
/// Bytes of [`Tag`].
pub const TAG_BYTES: u32 = size_of::<Tag>() as u32;
/// The VLAN in a tag's control information.
pub const VLAN_MASK: u16 = 0x0fff;

/// The VLANs of a frame's tags as one word: the service tag's above the customer tag's. 0
/// stands for no tag, and there is no service tag without a customer tag.
#[inline(always)]
#[must_use]
pub const fn vlans(service: u16, customer: u16) -> u32 {
    (service as u32) << 16 | customer as u32
}

/// The service tag's VLAN in such a word; 0: there is none.
#[inline(always)]
#[must_use]
pub const fn service_vlan(vlans: u32) -> u16 {
    (vlans >> 16) as u16
}

/// The customer tag's VLAN in such a word; 0: there is none.
#[inline(always)]
#[must_use]
pub const fn customer_vlan(vlans: u32) -> u16 {
    vlans as u16
}

/// Is it a tag that follows?
#[inline(always)]
#[must_use]
pub const fn is_tag(ethertype: [u8; 2]) -> bool {
    matches!(ethertype, CUSTOMER_TAG | SERVICE_TAG)
}
