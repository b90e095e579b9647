//! Where do compiled tables lie?
//!
//! In one array of 64-byte lines. An object is a run of lines that nobody changes once
//! it is in force; objects name each other by their first line. Lines 0 and 1 are empty and
//! belong to nobody, so that 0 names no object, and an index at 0 has nothing in it.
#![expect(unsafe_code, reason = "records are lent out of lines as they lie there")]

use super::{
    Record,
    classifier::{self, Asked},
    lpm,
};

/// A cache line of the heap.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Line {
    /// Its words.
    pub words: [u64; LINE_WORDS],
}

/// Words of a line.
pub const LINE_WORDS: usize = 8;
/// Bytes of a line.
pub const LINE_BYTES: usize = 8 * LINE_WORDS;

/// Whoever has the lines.
pub trait Heap {
    /// The line with this number, if the heap is that large.
    fn line(&self, index: u32) -> Option<&Line>;
    /// What the longest prefix leads to that holds the address of these words
    /// ([`lpm::longest`]). In the kernel it is a function of its own, which is verified once.
    #[inline(always)]
    fn longest(&self, table: u32, high: u64, low: u64) -> u32 {
        lpm::longest(self, table, [high, low])
    }
    /// The id of the first rule that permits what is asked, or 0 ([`classifier::find`]). In the
    /// kernel it is a function of its own, too.
    #[inline(always)]
    fn first_rule(&self, table: u32, asked: &Asked) -> u32 {
        classifier::find(self, table, asked).unwrap_or(0)
    }
}

/// A run of records of one size, which divides a line: as many stand in each.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct List {
    /// Its first line.
    pub first: u32,
    /// How many records.
    pub count: u32,
}

impl List {
    /// Record `id` of the list, if it is that long.
    #[inline(always)]
    pub fn get<T: Record, H: Heap + ?Sized>(self, heap: &H, id: u32) -> Option<&T> {
        let per_line = const { (LINE_BYTES / size_of::<T>()) as u32 };
        if id >= self.count {
            return None;
        }
        Some(heap.line(self.first + id / per_line)?.record(id))
    }
}

/// A run of records of one size in pieces of [`PIECE_LINES`], so that a version in which one is
/// another makes one piece anew.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pieces {
    /// The first line of a list of the pieces' first lines; 0: nobody has a record in the piece.
    pub firsts: u32,
    /// How many records.
    pub count: u32,
}

/// Lines of a piece: a power of two.
pub const PIECE_LINES: u32 = 64;

impl Pieces {
    /// Record `id`, if it is there.
    #[inline(always)]
    pub fn get<T: Record, H: Heap + ?Sized>(self, heap: &H, id: u32) -> Option<&T> {
        if id >= self.count {
            return None;
        }
        let line = id / const { (LINE_BYTES / size_of::<T>()) as u32 };
        let firsts = List { first: self.firsts, count: u32::MAX };
        let first = *firsts.get::<u32, H>(heap, line / PIECE_LINES)?;
        if first == 0 {
            return None;
        }
        Some(heap.line(first + line % PIECE_LINES)?.record(id))
    }
}

impl Line {
    /// Word `at`, counted round.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self, at: u32) -> u64 {
        self.words[at as usize % LINE_WORDS]
    }

    /// The record at `slot`, counted round.
    #[inline(always)]
    #[must_use]
    pub const fn record<T: Record>(&self, slot: u32) -> &T {
        let per_line = const {
            assert!(LINE_BYTES.is_multiple_of(size_of::<T>()) && align_of::<T>() <= 64);
            LINE_BYTES / size_of::<T>()
        };
        let records: *const T = core::ptr::from_ref(self).cast();
        // SAFETY: inside the line, as the size divides it; aligned, as lines are aligned to
        // their size; every bit pattern is a value (`Record`).
        unsafe { &*records.add(slot as usize % per_line) }
    }

    /// Writes the record at `slot`, counted round.
    pub const fn put<T: Record>(&mut self, slot: u32, record: T) {
        let per_line = const { LINE_BYTES / size_of::<T>() };
        let records: *mut T = core::ptr::from_mut(self).cast();
        // SAFETY: as in `record`.
        unsafe { *records.add(slot as usize % per_line) = record };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<Line>);

    impl Heap for Lines {
        fn line(&self, index: u32) -> Option<&Line> {
            self.0.get(index as usize)
        }
    }

    #[test]
    fn records_stand_as_many_in_a_line_as_it_holds() {
        let mut lines = vec![Line::default(); 4];
        for id in 0..20_u32 {
            lines[1 + id as usize / 8].put(id, u64::from(id) << 33);
        }
        let list = List { first: 1, count: 20 };
        let heap = Lines(lines);
        for id in 0..20 {
            assert_eq!(list.get::<u64, _>(&heap, id), Some(&(u64::from(id) << 33)));
        }
        assert_eq!(list.get::<u64, _>(&heap, 20), None);
        assert_eq!(heap.0[1].record::<u32>(3), &2);
        assert_eq!(heap.0[2].word(9), 9 << 33);
        assert!(List { first: 4, count: 1 }.get::<u64, _>(&heap, 0).is_none());
    }
}
