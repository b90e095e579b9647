//! Of what may a tenant have only so much at a time?

use crate::limits::{DATAGRAMS_PER_TENANT, PARKED_PER_TENANT};

/// Of what has each tenant a share?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Share {
    /// Datagrams of which fragments are missing.
    Datagrams = 0,
    /// Fragments that wait for their first one.
    Parked = 1,
    /// Such datagrams that come in by uplinks.
    InboundDatagrams = 2,
    /// Such fragments that came in by uplinks.
    InboundParked = 3,
}

/// How many [`Share`]s there are.
pub const SHARES: u32 = Share::ALL.len() as u32;

impl Share {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::Datagrams, Self::Parked, Self::InboundDatagrams, Self::InboundParked];

    /// That of datagrams. What comes in by uplinks pays from one of its own: strangers use up
    /// nothing that a tenant's own hosts need.
    #[inline(always)]
    #[must_use]
    pub const fn datagrams(is_inbound: bool) -> Self {
        if is_inbound { Self::InboundDatagrams } else { Self::Datagrams }
    }

    /// That of fragments that wait, likewise.
    #[inline(always)]
    #[must_use]
    pub const fn parked(is_inbound: bool) -> Self {
        if is_inbound { Self::InboundParked } else { Self::Parked }
    }

    /// How much a tenant may have.
    #[inline(always)]
    #[must_use]
    pub const fn max(self) -> u32 {
        match self {
            Self::Datagrams | Self::InboundDatagrams => DATAGRAMS_PER_TENANT,
            Self::Parked | Self::InboundParked => PARKED_PER_TENANT,
        }
    }

    /// Where it is counted.
    #[inline(always)]
    #[must_use]
    pub const fn index(self, tenant: u32) -> u32 {
        tenant * SHARES + self as u32
    }
}
