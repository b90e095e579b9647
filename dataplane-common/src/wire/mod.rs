//! How do protocol headers lie in a packet?
//!
//! Every header is a struct of byte arrays in network order, so it has no
//! padding, alignment 1 and no invalid value: [`crate::Packet::get`] may lend it
//! straight out of the packet. Numbers are made by getters. A header promises
//! nothing about what follows it; the stages compare lengths.

pub mod arp;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod transport;

/// A header that may be lent out of packet memory.
///
/// # Safety
///
/// The type has alignment 1, no padding, and is valid for every bit pattern;
/// it is at least two bytes long (the verifier loses the range of one-byte reads).
#[expect(unsafe_code, reason = "the promise that lets a packet lend headers out of its bytes")]
pub unsafe trait Wire: Copy {}

macro_rules! wire {
    ($($header:ty),+ $(,)?) => {$(
        const _: () = assert!(align_of::<$header>() == 1 && size_of::<$header>() >= 2);
        // SAFETY: a `repr(C)` struct of byte arrays; alignment and size are asserted above,
        // and alignment 1 means that there is no padding.
        #[expect(unsafe_code, reason = "see `Wire`")]
        unsafe impl Wire for $header {}
    )+};
}

wire!(
    ethernet::Ethernet,
    ethernet::Tag,
    arp::Arp,
    ipv4::Ipv4,
    ipv6::Ipv6,
    ipv6::Extension,
    ipv6::Fragment,
    transport::Ports,
    transport::Tcp,
    transport::Udp,
    icmp::Icmp,
    icmp::Neighbour,
    icmp::LinkAddress,
    [u8; 2],
    [u8; 4],
);

/// IP protocol numbers (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    #![expect(missing_docs, reason = "the names are the standard's")]
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const UDPLITE: u8 = 136;
    pub const DCCP: u8 = 33;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}
