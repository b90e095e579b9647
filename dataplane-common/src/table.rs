//! Which records do the tables hold, and under which keys?
//!
//! Every record is `repr(C)` without implicit padding, has no invalid value, and
//! its size is asserted beside it. Ids are indexes of arrays; id 0 is nobody.
//! A set of records is written for one *version* of the site and never changed
//! while that version is in force (see [`crate::tables`]).

use self::{index::Entry, secret::Secret};
use crate::addr::{Addr, Mac};

pub mod classifier;
pub mod datagram;
pub mod endpoint;
pub mod flow;
pub mod heap;
pub mod index;
pub mod lpm;
pub mod meter;
pub mod next_hop;
pub mod owner;
pub mod policy;
pub mod root;
pub mod route;
pub mod secret;
pub mod total;
pub mod zone;

/// A record that may be lent out of a line of the [heap].
///
/// # Safety
///
/// The type is `repr(C)`, has no padding, and every bit pattern is a value of it.
#[expect(unsafe_code, reason = "the promise that lets a line lend records out of its bytes")]
pub unsafe trait Record: Copy {}

macro_rules! record {
    ($record:ty, $bytes:literal) => {
        const _: () = assert!(size_of::<$record>() == $bytes);
        const _: () = assert!(size_of::<$record>() % align_of::<$record>() == 0);
    };
}
pub(crate) use record;

macro_rules! lent {
    ($($record:ty),+ $(,)?) => {$(
        // SAFETY: integers and `repr(C)` structs of them, whose sizes are asserted beside
        // their fields.
        #[expect(unsafe_code, reason = "see `Record`")]
        unsafe impl Record for $record {}
    )+};
}

lent!(
    u8,
    u16,
    u32,
    u64,
    [u32; 16],
    Tenant,
    AttachmentEntry,
    StationEntry,
    LocationEntry,
    PermitsEntry,
    endpoint::Endpoint,
    zone::Zone,
    zone::FloodPort,
    next_hop::NextHop,
    next_hop::Output,
    owner::Owner,
    route::Route,
    root::Root,
    root::More,
    root::Extent,
    lpm::Path,
    lpm::Few,
    lpm::Map,
    policy::Policy,
    policy::Rule,
    classifier::Head,
    classifier::Row,
    classifier::Fork,
    classifier::Leaf,
);

/// Key of an attachment: where a frame came in.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct AttachmentKey {
    /// The interface.
    pub ifindex: u32,
    /// Its tags' [`vlans`](crate::wire::ethernet::vlans); 0 without a tag and for priority
    /// tags.
    pub vlan: u32,
}
record!(AttachmentKey, 8);

/// An attachment with its key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AttachmentEntry {
    /// Its key.
    pub key: AttachmentKey,
    /// What is there.
    pub attachment: Attachment,
}
record!(AttachmentEntry, 32);

impl Entry for AttachmentEntry {
    type Key = AttachmentKey;
    #[inline(always)]
    fn hash(key: &AttachmentKey, secret: &Secret) -> u64 {
        secret.hash(&[u64::from(key.ifindex) << 32 | u64::from(key.vlan)])
    }
    #[inline(always)]
    fn is(&self, key: &AttachmentKey) -> bool {
        self.key.ifindex == key.ifindex && self.key.vlan == key.vlan && key.ifindex != 0
    }
}

/// What is plugged in at (interface, VLANs).
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
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
    /// What the host has there: [`crate::work::flags::HOST`] and its neighbours.
    pub host: u32,
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
    /// Nothing but frames of the link itself, which are the host's: of a NIC that is
    /// attached by its VLANs alone.
    pub const LINK: u32 = 4;
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
    pub zero: [u8; 6],
}
record!(StationKey, 16);

/// Whose MAC it is. A port has one station for each of its MACs, and flows are
/// owned by stations: a flow that one MAC opened is not another's.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Station {
    /// The port's endpoint.
    pub endpoint: u32,
    /// Its own number, never 0 and never an endpoint's of another kind.
    pub owner: u32,
    /// The [meter](meter::Meter) of what the port sends; 0: none.
    pub meter: u32,
    /// The meter of its network's router; 0: none.
    pub router_meter: u32,
}
record!(Station, 16);

/// A station with its key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StationEntry {
    /// Its key.
    pub key: StationKey,
    /// Whose it is.
    pub station: Station,
}
record!(StationEntry, 32);

impl Entry for StationEntry {
    type Key = StationKey;
    #[inline(always)]
    fn hash(key: &StationKey, secret: &Secret) -> u64 {
        secret.hash(&[key.attachment.into(), key.mac.word()])
    }
    #[inline(always)]
    fn is(&self, key: &StationKey) -> bool {
        self.key.mac == key.mac && self.key.attachment == key.attachment && self.station.owner != 0
    }
}

/// Key of a permit: may this endpoint use this MAC with this source address?
/// A trie: `prefix_bits` counts all that follows it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct PermitKey {
    /// The port's endpoint.
    pub endpoint: u32,
    /// The MAC.
    pub mac: Mac,
    /// Zero.
    pub zero: [u8; 6],
    /// The source address.
    pub addr: Addr,
}

/// Where the addresses of an endpoint that uses a MAC stand.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PermitsEntry {
    /// The key; the address is no part of it.
    pub key: PermitKey,
    /// Longest-prefix tables of source addresses, of IPv4 and IPv6: how long the prefix is,
    /// bits, and one more.
    pub tables: [u32; 2],
    /// Zero.
    pub zero: [u32; 6],
}
record!(PermitsEntry, 64);

impl Entry for PermitsEntry {
    type Key = PermitKey;
    #[inline(always)]
    fn hash(key: &PermitKey, secret: &Secret) -> u64 {
        secret.hash(&[key.endpoint.into(), key.mac.word()])
    }
    #[inline(always)]
    fn is(&self, key: &PermitKey) -> bool {
        self.key.mac == key.mac && self.key.endpoint == key.endpoint && key.endpoint != 0
    }
}

/// Key of a location: who has this address in this network?
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct LocationKey {
    /// The address.
    pub addr: Addr,
    /// The network's zone.
    pub zone: u32,
    /// Zero.
    pub zero: u32,
}
record!(LocationKey, 24);

/// A location with its key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LocationEntry {
    /// Its key.
    pub key: LocationKey,
    /// Who is there.
    pub location: Location,
    /// Zero.
    pub zero: [u32; 6],
}
record!(LocationEntry, 64);

impl Entry for LocationEntry {
    type Key = LocationKey;
    #[inline(always)]
    fn hash(key: &LocationKey, secret: &Secret) -> u64 {
        let [high, low] = key.addr.words();
        secret.hash(&[high, low, key.zone.into()])
    }
    #[inline(always)]
    fn is(&self, key: &LocationKey) -> bool {
        self.key.addr == key.addr && self.key.zone == key.zone && key.zone != 0
    }
}

/// Who has an address in a network.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Location {
    /// The port's endpoint; 0 for a gateway's address, and for a next hop's on a link.
    pub endpoint: u32,
    /// How it is reached; 0 for those.
    pub next_hop: u32,
    /// The MAC that neighbours are told.
    pub mac: Mac,
    /// [`location`] flags.
    pub flags: u16,
}
record!(Location, 16);

/// What is special about an address of a network.
pub mod location {
    /// Several ports may have it: the last that announced it has it.
    pub const SHARED: u16 = 1;
}

/// Whose limits and counters apply; tenant 0 is the provider.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Raised by every change of the tenant's objects.
    pub epoch: u32,
    /// Half-flows that the tenant may have at a time.
    pub flows_max: u32,
}
record!(Tenant, 8);
