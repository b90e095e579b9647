//! What was carried in all: sums that outlive flows and the process that adds them up.
//!
//! No program touches them. They lie in the kernel so that they are where the flows are, whose
//! counters they take over: see `dataplane-user/src/load/totals.rs`.

use super::record;
use crate::limits;
use crate::word::Word64;

/// Packets and bytes of one rule or tenant.
#[repr(C)]
#[derive(Default, Debug)]
pub struct Total {
    /// Whose: a [`kind`] above the number; 0: nobody's.
    pub of: Word64,
    /// Packets.
    pub packets: Word64,
    /// Bytes.
    pub bytes: Word64,
    /// Zero.
    pub spare: Word64,
}
record!(Total, 32);

/// Whose a [`Total`] is, from bit 32 on.
pub mod kind {
    /// A rule's.
    pub const RULE: u64 = 1 << 32;
    /// A tenant's.
    pub const TENANT: u64 = 2 << 32;
}

/// Room for the rules of two versions and every tenant.
pub const TOTALS_MAX: u32 = 2 * limits::RULES_MAX + limits::TENANTS_MAX;

/// What is about to be written: whoever finds it writes it (again).
#[repr(C)]
#[derive(Default, Debug)]
pub struct Intent {
    /// A [`step`]; written last, and cleared when all of it is done.
    pub step: Word64,
    /// The half-flow's index.
    pub line: Word64,
    /// Of its packets, those that the totals have then.
    pub folded_packets: Word64,
    /// Of its bytes, the same.
    pub folded_bytes: Word64,
    /// The totals as they are then: of the sender's rule, the receiver's, and the tenant.
    pub totals: [Posting; 3],
    /// Zero.
    pub spare: [Word64; 3],
}
record!(Intent, 128);

/// A total as it is to be.
#[repr(C)]
#[derive(Default, Debug)]
pub struct Posting {
    /// Its place + 1; 0: none.
    pub place: Word64,
    /// Packets.
    pub packets: Word64,
    /// Bytes.
    pub bytes: Word64,
}

/// What an [`Intent`] is about.
pub mod step {
    /// Nothing.
    pub const NONE: u64 = 0;
    /// A half-flow's counters are taken over.
    pub const FOLD: u64 = 1;
    /// A half-flow's counters, all taken over, begin from zero.
    pub const CLEAR: u64 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_totals() {
        assert!(size_of::<Total>() * (TOTALS_MAX as usize) < 17 << 20);
    }
}
