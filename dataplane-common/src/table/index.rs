//! How is a record found by its key?
//!
//! By its two homes: lines of the [heap](super::heap) that the two halves of its hash name. It
//! lies in one of them, or in the line after it. Whoever builds an index moves keys until each
//! has such a place; so nothing is chained, and what is not there is known after four lines.

use super::{
    Record,
    heap::{Heap, LINE_BYTES},
    record,
    secret::Secret,
};

/// An index of records of one kind.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Index {
    /// Its first line.
    pub first: u32,
    /// How many lines; 0: nothing is in it.
    pub lines: u32,
}
record!(Index, 8);

/// Lines that a key may lie in: its two homes, and after each the next one.
pub const REACH: u32 = 4;

/// A record that has its key with it. One that is all zeroes is nobody's.
pub trait Entry: Record {
    /// What it is found by.
    type Key;
    /// The hash of a key.
    fn hash(key: &Self::Key, secret: &Secret) -> u64;
    /// Is it the key's?
    fn is(&self, key: &Self::Key) -> bool;
}

impl Index {
    /// Which of its lines a key of this hash may lie in, [`REACH`] of them. The last line is no
    /// home: there is always one after it.
    #[inline(always)]
    #[must_use]
    pub const fn line(self, hash: u64, step: u32) -> u32 {
        let half = if step < 2 { hash as u32 } else { (hash >> 32) as u32 };
        let homes = self.lines.saturating_sub(1);
        ((half as u64 * homes as u64) >> 32) as u32 + step % 2
    }

    /// The key's record.
    #[inline(always)]
    pub fn find<'h, E: Entry, H: Heap + ?Sized>(
        self,
        heap: &'h H,
        key: &E::Key,
        secret: &Secret,
    ) -> Option<&'h E> {
        let hash = E::hash(key, secret);
        let mut step = 0;
        while step < REACH {
            // An index without lines has the two that are empty.
            let line = heap.line(self.first + self.line(hash, step))?;
            let mut slot = 0;
            while slot < const { (LINE_BYTES / size_of::<E>()) as u32 } {
                let entry: &E = line.record(slot);
                if entry.is(key) {
                    return Some(entry);
                }
                slot += 1;
            }
            step += 1;
        }
        None
    }
}
