//! IPv4 (RFC 791).

/// The fixed part of the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    /// Version (4 bits) and header length in words (4 bits).
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Header and payload, bytes.
    pub total_bytes: [u8; 2],
    /// Identification of a datagram's fragments.
    pub id: [u8; 2],
    /// Reserved, DF, MF (3 bits), offset in units of 8 bytes (13 bits).
    pub fragment: [u8; 2],
    /// Hops left.
    pub ttl_hops: u8,
    /// What follows.
    pub protocol: u8,
    /// Of the header alone.
    pub checksum: [u8; 2],
    /// Who sent it.
    pub src: [u8; 4],
    /// Where it goes.
    pub dst: [u8; 4],
}

impl Ipv4 {
    /// Bytes of the header with its options.
    #[inline(always)]
    pub const fn header_bytes(&self) -> u32 {
        (self.version_ihl & 0x0f) as u32 * 4
    }

    /// Header and payload, bytes.
    #[inline(always)]
    pub const fn total_bytes(&self) -> u32 {
        u16::from_be_bytes(self.total_bytes) as u32
    }

    /// A piece of a datagram that is not whole?
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        u16::from_be_bytes(self.fragment) & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Where the piece stands in the datagram, bytes.
    #[inline(always)]
    pub const fn fragment_offset_bytes(&self) -> u32 {
        (u16::from_be_bytes(self.fragment) & OFFSET_MASK) as u32 * 8
    }

    /// Do other pieces of the datagram stand behind it?
    #[inline(always)]
    pub const fn is_more(&self) -> bool {
        u16::from_be_bytes(self.fragment) & MORE_FRAGMENTS != 0
    }
}

/// The MF bit.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset.
pub const OFFSET_MASK: u16 = 0x1fff;
/// Bytes of [`Ipv4`], a header without options.
pub const IPV4_BYTES: u32 = size_of::<Ipv4>() as u32;
/// Every router forwards datagrams of this size whole (RFC 791 section 3.2: 68 octets).
pub const MTU_BYTES_MIN: u32 = 68;
