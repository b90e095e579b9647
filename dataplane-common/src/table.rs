//! Which records do the tables hold, and under which keys?
//!
//! Every record is `repr(C)` without implicit padding, has no invalid value, and
//! its size is asserted beside it. Ids are indexes of arrays; id 0 is nobody.
//! A set of records is written for one *version* of the site and never changed
//! while that version is in force (see [`crate::tables`]).

use crate::addr::{Addr, Mac};

pub mod endpoint;
pub mod flow;
pub mod next_hop;
pub mod policy;
pub mod route;
pub mod zone;

macro_rules! record {
    ($record:ty, $bytes:literal) => {
        const _: () = assert!(size_of::<$record>() == $bytes);
        const _: () = assert!(size_of::<$record>() % align_of::<$record>() == 0);
    };
}
pub(crate) use record;

/// Zones are 24 bits wide: three bytes of every flow key.
pub const ZONES_MAX: u32 = 1 << 24;

/// Key of an attachment: where a frame came in.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct AttachmentKey {
    /// The interface.
    pub ifindex: u32,
    /// The outer tag's VLAN; 0 without a tag and for priority tags.
    pub vlan: u32,
}
record!(AttachmentKey, 8);

/// What is plugged in at (interface, VLAN).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Attachment {
    /// Its number: the index of its counters and of its [`next_hop::Output`].
    pub id: u32,
    /// A [`kind`](attachment_kind).
    pub kind: u32,
    /// The network's, uplink's or access's zone.
    pub zone: u32,
    /// Whom its packets are counted under until a port is known.
    pub tenant: u32,
    /// The uplink's endpoint; 0 on ports (a station tells) and accesses (a session tells).
    pub endpoint: u32,
    /// Zero.
    pub zero: u32,
}
record!(Attachment, 24);

/// What may be plugged in.
pub mod attachment_kind {
    /// Tenant ports of one network.
    pub const PORTS: u32 = 1;
    /// An external network.
    pub const UPLINK: u32 = 2;
    /// The mobile network.
    pub const ACCESS: u32 = 3;
}

/// Key of a station: a MAC on an attachment.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct StationKey {
    /// The attachment's id.
    pub attachment: u32,
    /// The source MAC.
    pub mac: Mac,
    /// Zero.
    pub zero: [u8; 2],
}
record!(StationKey, 12);

/// Whose MAC it is. A port has one station for each of its MACs, and flows are
/// owned by stations: a flow that one MAC opened is not another's.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Station {
    /// The port's endpoint.
    pub endpoint: u32,
    /// Its own number, never 0 and never an endpoint's of another kind.
    pub owner: u32,
}
record!(Station, 8);

/// Key of a permit: may this endpoint use this MAC with this source address?
/// A trie: `prefix_bits` counts all that follows it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct PermitKey {
    /// The port's endpoint.
    pub endpoint: u32,
    /// The MAC.
    pub mac: Mac,
    /// Zero.
    pub zero: [u8; 2],
    /// The source address.
    pub addr: Addr,
}

/// Key of a location: who has this address in this network?
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LocationKey {
    /// The address.
    pub addr: Addr,
    /// The network's zone.
    pub zone: u32,
    /// Zero.
    pub zero: u32,
}
record!(LocationKey, 24);

/// Who has an address in a network.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Location {
    /// The port's endpoint, 0 for a gateway address.
    pub endpoint: u32,
    /// How it is reached; 0 for a gateway address.
    pub next_hop: u32,
    /// The MAC that neighbours are told.
    pub mac: Mac,
    /// Zero.
    pub zero: [u8; 2],
}
record!(Location, 16);

/// Whose limits and counters apply; tenant 0 is the provider.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Tenant {
    /// Raised by every change of the tenant's objects.
    pub epoch: u32,
    /// Half-flows that the tenant may have at a time.
    pub flows_max: u32,
}
record!(Tenant, 8);
