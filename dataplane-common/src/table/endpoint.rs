//! Endpoints: who sends, who receives?

use super::record;

/// A port, a line with its session, or an uplink.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// A [`kind`].
    pub kind: u32,
    /// [`flags`].
    pub flags: u32,
    /// Whose it is; 0 for uplinks.
    pub tenant: u32,
    /// Raised whenever anything in this record, its addresses or its memberships change.
    pub generation: u32,
    /// Its rules; 0: not filtered.
    pub policy: u32,
    /// Ports: the network's zone. Lines: the only network they reach, or 0.
    pub network: u32,
    /// The zone in which what it sends to a router arrives: the router's for a
    /// port, the access's for a line, the uplink's for an uplink.
    pub arrival: u32,
    /// Lines: the zone of the router or uplink that they are attached to.
    pub destination: u32,
    /// How it is reached.
    pub next_hop: u32,
    /// The line's or uplink's owner number; ports have [`super::Station`]s.
    pub owner: u32,
    /// Which of its tenant's groups and line groups it is in, as far as rules name them: a
    /// [class](super::classifier::Asked::class).
    pub class: u32,
    /// Lines: the meter of the router that they are attached to; 0: none.
    pub router_meter: u32,
    /// The [`stamp`] of everything that a judgement about it rests on.
    pub stamp: u64,
    /// Zero.
    pub zero: [u32; 2],
}
record!(Endpoint, 64);

/// Of the generations of an endpoint, of its policy, and of every zone in which it is judged:
/// network, arrival and destination. They are mixed rather than added: where an endpoint gets
/// another policy its own generation rises, but the policy's may be lower by as much.
#[must_use]
pub fn stamp(generations: [u32; 5]) -> u64 {
    generations.into_iter().fold(0, |stamp, generation| mix(stamp, generation.into()))
}

/// A step of a multiply-and-shift hash (the constant is 2^64 over the golden ratio).
#[inline(always)]
#[must_use]
pub const fn mix(stamp: u64, with: u64) -> u64 {
    let product = (stamp ^ with).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// What an endpoint is.
pub mod kind {
    /// A server's port.
    pub const PORT: u32 = 1;
    /// A registered line whose session is live.
    pub const LINE: u32 = 2;
    /// An external network.
    pub const UPLINK: u32 = 3;
}

/// What is special about an endpoint.
pub mod flags {
    /// Its network is closed to uplinks.
    pub const MEC_ONLY: u32 = 1;
    /// Port security is off: any source, no filter.
    pub const INSECURE: u32 = 2;
    /// The line is suspended: nothing goes in or out.
    pub const SUSPENDED: u32 = 4;
    /// The port is a DHCP server's.
    pub const DHCP_SERVER: u32 = 8;
}
