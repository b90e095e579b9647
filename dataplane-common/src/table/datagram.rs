//! Datagrams that come in pieces: what did the first piece say, and which have come?
//!
//! Only the first fragment has ports. It leaves a [`Datagram`] when it is forwarded, and
//! later fragments of the same sender get their ports from it. Every unit of eight bytes
//! is taken once, by whoever sets its bit first (RFC 5722: pieces that overlap are an attack).
//!
//! Slots are shared by all CPUs and by userland without locks. A slot is `EMPTY`, `BUSY`
//! while somebody writes it, `LIVE` until all of its units have come, and then `DONE`.
//! Programs take an empty or done slot, or a live one whose time is over, so the table heals
//! without the daemon. Each taking raises the stamp in the status. The marks carry the stamp
//! too: those of the owner before count for nothing and need not be cleared, and whoever
//! still holds the slot from before changes nothing that counts.

use super::record;
use crate::word::{Word32, Word64};

/// Units of eight bytes that a word of marks has.
pub const UNITS_PER_WORD: u32 = 32;
/// Words for every unit of the largest datagram.
const WORDS: usize = 8192 / UNITS_PER_WORD as usize;

/// A datagram under way.
#[repr(C)]
#[derive(Debug)]
pub struct Datagram {
    /// Its identity ([`crate::stage::fragment`]) as a flow key's words.
    pub key: [Word64; 5],
    /// [`status`] flags, and the stamp above them.
    pub status: Word64,
    /// How much of it has come ([`Progress`]).
    pub progress: Word64,
    /// When its first fragment came, or, if it is done, its last one, in ticks.
    pub seen_ticks: Word32,
    /// Who sends it: the owner number.
    pub owner: Word32,
    /// The tenant that pays for it.
    pub tenant: Word32,
    /// Source port or ICMP identifier, destination port or ICMP type and code.
    pub ports: Word32,
    /// What follows the fragment header; IPv4 says it in every piece.
    pub protocol: Word32,
    /// For how long the missing pieces are waited for, milliseconds.
    pub ms_max: Word32,
    /// The units that have come, 32 a word, below the stamp that they are of.
    pub marks: [Word64; WORDS],
}
record!(Datagram, 2128);

impl Default for Datagram {
    fn default() -> Self {
        Self {
            key: Default::default(),
            status: Word64::default(),
            progress: Word64::default(),
            seen_ticks: Word32::default(),
            owner: Word32::default(),
            tenant: Word32::default(),
            ports: Word32::default(),
            protocol: Word32::default(),
            ms_max: Word32::default(),
            marks: core::array::from_fn(|_| Word64::default()),
        }
    }
}

impl Datagram {
    /// Does the slot hold these words of this sender?
    #[inline(always)]
    pub fn has(&self, words: &[u64; 5], owner: u32) -> bool {
        self.owner.load() == owner
            && self.key[0].load() == words[0]
            && self.key[1].load() == words[1]
            && self.key[2].load() == words[2]
            && self.key[3].load() == words[3]
            && self.key[4].load() == words[4]
    }

    /// The word that holds this unit.
    #[inline(always)]
    pub fn marks(&self, unit: u32) -> &Word64 {
        &self.marks[(unit / UNITS_PER_WORD) as usize & (WORDS - 1)]
    }
}

/// Flags in [`Datagram::status`].
pub mod status {
    /// Where in its life the slot is: two bits.
    pub const LIFE: u64 = 3;
    /// Free.
    pub const EMPTY: u64 = 0;
    /// Being written by whoever took it.
    pub const BUSY: u64 = 1;
    /// Pieces are missing.
    pub const LIVE: u64 = 2;
    /// Every piece has come.
    pub const DONE: u64 = 3;
    /// Its pieces contradict each other: no more of them pass.
    pub const POISONED: u64 = 4;
    /// It comes in by an uplink, and takes up a place of what its tenant has for that.
    pub const INBOUND: u64 = 8;
    /// One step of the stamp.
    pub const STAMP: u64 = 1 << 32;
}

/// How much of a datagram has come, as one word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// Units that were taken.
    pub units: u32,
    /// Where the furthest piece ends, bytes.
    pub reach: u32,
    /// Where the last piece ends, bytes; 0: it has not come.
    pub end: u32,
}

impl Progress {
    /// As it lies in [`Datagram::progress`].
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.end as u64) << 40 | (self.reach as u64) << 16 | self.units as u64
    }

    /// Of such a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self {
            units: word as u32 & 0xffff,
            reach: (word >> 16) as u32 & 0x00ff_ffff,
            end: (word >> 40) as u32,
        }
    }

    /// With one more piece of so many units, which ends there; `None`: they cannot both be of
    /// one datagram.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, units: u32, end: u32, is_last: bool) -> Option<Self> {
        let reach = if end > self.reach { end } else { self.reach };
        let known = if is_last { end } else { self.end };
        let is_second_end = is_last && self.end != 0 && self.end != end;
        if is_second_end || known != 0 && reach > known {
            return None;
        }
        Some(Self { units: self.units + units, reach, end: known })
    }

    /// Has every piece come?
    #[inline(always)]
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.end != 0 && self.units == self.end.div_ceil(8)
    }
}

/// What a program tells the daemon of a fragment that came before its first one, in front of
/// the frame.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Parked {
    /// The datagram's words.
    pub key: [u64; 5],
    /// Who sent it.
    pub owner: u32,
    /// Whose place it takes up: [`crate::tables::Share::index`].
    pub share: u32,
    /// Where it came in.
    pub ifindex: u32,
    /// Where its part of the datagram begins, bytes.
    pub at: u32,
    /// Bytes of the frame, as it lay before the program.
    pub bytes: u32,
    /// The tag that lay beside it ([`crate::packet::OuterTag::word`]); 0: none.
    pub tag: u32,
}
record!(Parked, 64);

/// Slots of a bucket: a key lives in one of its two [`homes`](super::flow::homes)' buckets.
pub const BUCKET_SLOTS: u32 = 4;
/// Slots that a key may have.
pub const PLACES: u32 = 2 * BUCKET_SLOTS;

/// The slot that a key may have at `step`, below [`PLACES`].
#[inline(always)]
#[must_use]
pub const fn slot_at(homes: &[u32; 2], step: u32) -> u32 {
    let home = if step < BUCKET_SLOTS { homes[0] } else { homes[1] };
    home ^ (step % BUCKET_SLOTS)
}

/// The longest frame that is parked, bytes: a power of two, so that a mask bounds it.
pub const PARKED_BYTES_MAX: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_cannot_be_of_one_datagram() {
        let first = Progress::default().with(3, 24, false).expect("it is the first");
        assert_eq!(Progress::from_word(first.word()), first);
        assert!(!first.is_whole());
        let whole = first.with(2, 35, true).expect("it follows");
        assert!(whole.is_whole());
        assert_eq!(Progress::from_word(whole.word()), whole);
        assert_eq!(whole.with(1, 40, false), None, "beyond the end");
        assert_eq!(whole.with(1, 24, true), None, "another end");
        let far = first.with(1, 1000, false).expect("there may be pieces between");
        assert_eq!(far.with(1, 32, true), None, "the end before a piece");
        let largest = Progress { units: 8192, reach: 65_535, end: 65_535 };
        assert_eq!(Progress::from_word(largest.word()), largest);
        assert!(largest.is_whole());
    }
}
