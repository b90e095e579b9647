//! What the fixed parts of TCP (RFC 9293) and UDP (RFC 768) look like; SCTP,
//! DCCP and UDP-Lite share the ports.

/// The ports that TCP, UDP, UDP-Lite, SCTP and DCCP begin with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ports {
    /// The sender's port.
    pub src: [u8; 2],
    /// The receiver's port.
    pub dst: [u8; 2],
}

/// The UDP header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Udp {
    /// Both ports.
    pub ports: Ports,
    /// Header and payload.
    pub length_bytes: [u8; 2],
    /// Zero: none was made.
    pub checksum: [u8; 2],
}

/// The TCP header without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tcp {
    /// Both ports.
    pub ports: Ports,
    /// Number of the first byte.
    pub seq: [u8; 4],
    /// Number of the byte that is expected next.
    pub ack: [u8; 4],
    /// Header length in words (4 bits), reserved.
    pub offset: u8,
    /// CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    pub flags: u8,
    /// Bytes that the sender will take, before scaling.
    pub window: [u8; 2],
    /// Over pseudo-header, header and payload.
    pub checksum: [u8; 2],
    /// Of no meaning to us.
    pub urgent: [u8; 2],
}

impl Tcp {
    /// Bytes of the header with its options.
    #[inline(always)]
    pub const fn header_bytes(&self) -> u32 {
        (self.offset >> 4) as u32 * 4
    }
}

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise: the first segment.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// The answer to a SYN.
pub const SYN_ACK: u8 = SYN | ACK;

/// Bytes of [`Ports`].
pub const PORTS_BYTES: u32 = size_of::<Ports>() as u32;
/// Bytes of [`Udp`].
pub const UDP_BYTES: u32 = size_of::<Udp>() as u32;
/// Bytes of [`Tcp`] without options.
pub const TCP_BYTES: u32 = size_of::<Tcp>() as u32;
