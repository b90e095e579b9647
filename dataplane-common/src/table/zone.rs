//! Zones: in which world is an address looked up?

use super::record;
use crate::addr::{Addr, Mac};

/// A network, a router, an uplink or an access.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Our IPv6 address on that link: the source of errors, or `::`.
    pub own_v6: Addr,
    /// Our IPv4 address on that link, or 0.0.0.0.
    pub own_v4: [u8; 4],
    /// Whose it is; 0 for uplinks and accesses.
    pub tenant: u32,
    /// Raised whenever the zone's record, routes or exports change.
    pub generation: u32,
    /// Networks: the zone of their router, or 0.
    pub router: u32,
    /// Our MAC on that link.
    pub mac: Mac,
    /// Networks: what it costs at most to look at the rules of its [`FloodPort`]s, in copies.
    /// `u16::MAX` is more than anybody may make.
    pub flood_rules: u16,
    /// Networks: where its [`FloodPort`]s begin.
    pub flood_first: u32,
    /// How many they are; 0: broadcast and multicast are not forwarded.
    pub flood_count: u32,
    /// Longest-prefix tables of its routes, of IPv4 and IPv6 ([`super::root::More::routes`]).
    pub routes: [u32; 2],
    /// Accesses: those of sessions' addresses, which lead to endpoints.
    pub sessions: [u32; 2],
}
record!(Zone, 64);

/// A port of a network, as a flood looks for it. Those behind one attachment stand next to
/// each other; of those next to each other that have the same policy the first one's rules are
/// looked at.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FloodPort {
    /// Where it is attached.
    pub attachment: u32,
    /// The port's endpoint.
    pub endpoint: u32,
}
record!(FloodPort, 8);
