//! What can be asked of a segment and of what both judges said of it?

use dataplane_common::stage::conntrack::state::{NONE, SYN_RECEIVED, SYN_SENT, SYN_SENT_BOTH};
use sekisho_tests::build::tcp::{ACK, FIN, RST, SYN};

use super::segment::{Segment, Side};

/// A segment and what was said of it: by us first, then by Linux.
pub struct Seen<'t> {
    pub segment: &'t Segment,
    pub before: [u32; 2],
    pub after: [u32; 2],
    pub passed: [bool; 2],
}

impl Seen<'_> {
    pub fn is_reset(&self) -> bool {
        self.segment.has(RST)
    }

    pub fn is_syn(&self) -> bool {
        self.segment.flags & (SYN | ACK | RST | FIN) == SYN
    }

    pub fn is_syn_ack(&self) -> bool {
        self.segment.flags & (SYN | ACK | RST | FIN) == SYN | ACK
    }

    /// Has nobody answered a SYN yet, for us?
    pub const fn is_asking(&self) -> bool {
        matches!(self.before[0], SYN_SENT | SYN_SENT_BOTH)
    }

    pub const fn is_beginning_for_linux(&self) -> bool {
        matches!(self.before[1], NONE | SYN_SENT | SYN_SENT_BOTH | SYN_RECEIVED)
    }

    pub fn is_openers(&self) -> bool {
        self.segment.from == Side::Opener
    }

    pub fn both(&self) -> bool {
        self.passed == [true, true]
    }

    pub fn neither(&self) -> bool {
        self.passed == [false, false]
    }

    /// Other verdicts, of states that differed before.
    pub fn differ_apart(&self) -> bool {
        (self.only_ours() || self.only_linux()) && self.before[0] != self.before[1]
    }

    pub fn only_ours(&self) -> bool {
        self.passed == [true, false]
    }

    pub fn only_linux(&self) -> bool {
        self.passed == [false, true]
    }
}
