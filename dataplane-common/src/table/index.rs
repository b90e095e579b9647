//! How is a record found by its key?
//!
//! By a hash of the key to a line of the [heap](super::heap), or one of the few after it.
//! Whoever builds an index sees to it that no key lies farther away; so nothing is chained,
//! and what is not there is known after as many lines.

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
    /// How many lines: a power of two; 0: nothing is in it.
    pub lines: u32,
}
record!(Index, 8);

/// Lines that a key may lie in: its home and those after it, counted round.
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
    /// The key's record.
    #[inline(always)]
    pub fn find<'h, E: Entry, H: Heap + ?Sized>(
        self,
        heap: &'h H,
        key: &E::Key,
        secret: &Secret,
    ) -> Option<&'h E> {
        let home = E::hash(key, secret) as u32;
        let mut step = 0;
        while step < REACH {
            // An index without lines has the empty line 0.
            let line = heap.line(self.first + ((home + step) & self.lines.saturating_sub(1)))?;
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
