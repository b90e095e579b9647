//! IPv6 and its extension headers (RFC 8200).

/// The fixed header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: [u8; 4],
    /// What follows this header, bytes.
    pub payload_bytes: [u8; 2],
    /// What follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Who sent it.
    pub src: [u8; 16],
    /// Where it goes.
    pub dst: [u8; 16],
}

/// What all skippable extension headers begin with (RFC 8200 section 4.2 and RFC 6564).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Extension {
    /// What follows.
    pub next_header: u8,
    /// Length in units of 8 bytes, not counting the first 8.
    pub length: u8,
}

/// The fragment header (RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Fragment {
    /// What follows in the first fragment.
    pub next_header: u8,
    /// Zero, ignored.
    pub reserved: u8,
    /// Offset in units of 8 bytes (13 bits), two reserved bits, M.
    pub offset_more: [u8; 2],
    /// Identification of a datagram's fragments.
    pub id: [u8; 4],
}

impl Fragment {
    /// Offset zero and nothing more to come: a datagram of its own (RFC 6946).
    #[inline(always)]
    pub const fn is_atomic(&self) -> bool {
        u16::from_be_bytes(self.offset_more) & 0xfff9 == 0
    }

    /// Where the piece stands in the datagram, bytes.
    #[inline(always)]
    pub const fn offset_bytes(&self) -> u32 {
        u16::from_be_bytes(self.offset_more) as u32 & 0xfff8
    }

    /// Do other pieces of the datagram stand behind it?
    #[inline(always)]
    pub const fn is_more(&self) -> bool {
        u16::from_be_bytes(self.offset_more) & 1 != 0
    }

    /// Is this the piece that holds the beginning?
    #[inline(always)]
    pub const fn is_first(&self) -> bool {
        u16::from_be_bytes(self.offset_more) & 0xfff8 == 0
    }
}

/// Bytes of [`Ipv6`].
pub const IPV6_BYTES: u32 = size_of::<Ipv6>() as u32;
/// Every link carries packets of this size (RFC 8200 section 5).
pub const MTU_BYTES_MIN: u32 = 1280;
/// Extension headers that are followed at most; a longer chain is a stop.
pub const EXTENSIONS_MAX: u32 = 4;
