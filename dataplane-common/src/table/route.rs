//! Routes: where does a destination lead?

use super::record;

/// What a prefix of a zone leads to.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Route {
    /// A [`kind`].
    pub kind: u32,
    /// How many of `hops` count.
    pub hops_count: u32,
    /// Which route of the site it is: where it stands, and for `trace`. Not 0.
    pub id: u32,
    /// A zone, as the kind says.
    pub zone: u32,
    /// Next hops of equal cost.
    pub hops: [Hop; HOPS_MAX],
}
record!(Route, 64);

/// The number of a next hop, as it is in a flow's action: 24 bits.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Hop([u8; 3]);

impl Hop {
    /// Of this number, which is below 2^24.
    #[inline(always)]
    #[must_use]
    pub const fn new(id: u32) -> Self {
        let [a, b, c, _] = id.to_le_bytes();
        Self([a, b, c])
    }

    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn id(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0])
    }
}

impl core::fmt::Debug for Hop {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.id().fmt(f)
    }
}

/// Next hops of equal cost at most: a power of two. One that cannot be reached has
/// another in its place.
pub const HOPS_MAX: usize = 16;

/// Where a route leads.
pub mod kind {
    /// The subnet of network `zone`: its ports by their addresses.
    pub const CONNECTED: u32 = 1;
    /// One of `hops`.
    pub const VIA: u32 = 2;
    /// Nowhere: it is dropped silently.
    pub const BLACKHOLE: u32 = 3;
    /// Lines of access `zone`, by their sessions.
    pub const POOL: u32 = 4;
    /// An address of the router itself, in its network `zone`.
    pub const OWN: u32 = 5;
    /// In an uplink's zone: router `zone` exports it.
    pub const ROUTER: u32 = 6;
    /// In an uplink's zone: the provider's own, out of reach.
    pub const PROTECTED: u32 = 7;
    /// In an uplink's zone: lines' addresses that are not exported to it. Nothing from
    /// outside has them as its source, and nothing leads there.
    pub const INSIDE: u32 = 8;
    /// In a network's zone: the broadcast address of a subnet. In a router's: that or the
    /// subnet's own, which no host has. Nothing is forwarded there (RFC 2644).
    pub const BROADCAST: u32 = 9;
    /// In an uplink's or access's zone: an address of the host that shares the NIC; what
    /// may come to it is policy `zone`. Out of tenants' reach.
    pub const HOST: u32 = 10;
}
