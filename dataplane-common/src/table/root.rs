//! Where does a version of the site begin?
//!
//! The word in force holds the version and the first of two lines of the
//! [heap](super::heap), from which everything else of that version is found.

use super::{
    heap::{LINE_BYTES, List, Pieces},
    index::Index,
    record,
};

/// What most packets ask for: the first line.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Root {
    /// [`super::AttachmentEntry`].
    pub attachments: Index,
    /// [`super::StationEntry`].
    pub stations: Index,
    /// [`super::zone::Zone`].
    pub zones: List,
    /// [`super::endpoint::Endpoint`].
    pub endpoints: List,
    /// [`super::Tenant`].
    pub tenants: List,
    /// [`super::next_hop::NextHop`].
    pub next_hops: List,
    /// [`super::next_hop::Output`].
    pub outputs: List,
    /// [`super::owner::Owner`].
    pub owners: List,
}
record!(Root, 64);

/// The rest: the second line.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct More {
    /// [`super::PermitsEntry`].
    pub permits: Index,
    /// [`super::route::Route`], by their ids, to which zones' tables of routes lead.
    pub routes: Pieces,
    /// [`super::zone::FloodPort`].
    pub flood_ports: List,
    /// [`Extent`]: every object of the version but the list itself and these two lines. So a
    /// process that comes anew knows what is free.
    pub extents: List,
    /// [`super::policy::Policy`].
    pub policies: List,
    /// [`super::LocationEntry`].
    pub locations: Index,
    /// The highest number that a rule of the version has.
    pub rule_max: u32,
    /// Zero.
    pub zero: [u32; 3],
}
record!(More, 64);
const _: () = assert!(size_of::<Root>() == LINE_BYTES && size_of::<More>() == LINE_BYTES);

/// Where an object lies.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Extent {
    /// Its first line.
    pub first: u32,
    /// How many lines.
    pub lines: u32,
}
record!(Extent, 8);

/// The word in force: which version, and where it begins.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct InForce {
    /// 0: none yet.
    pub version: u32,
    /// The line of its [`Root`], which its [`More`] follows.
    pub root: u32,
}

impl InForce {
    /// As it is stored.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.version as u64) << 32 | self.root as u64
    }

    /// Of such a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self { version: (word >> 32) as u32, root: word as u32 }
    }
}
