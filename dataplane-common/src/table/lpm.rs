//! Which of many prefixes holds an address, the longest of those that do?
//!
//! A trie of bytes, laid out so that a lookup touches few lines. What leads on from a step is
//! an *entry*, of 32 bits: a value, or, with [`REFERENCE`] set, the [`kind`] of the next step
//! and where its lines are. There are five kinds:
//!
//! - a [`Path`], which skips bytes that all prefixes beneath it have in common. A table's
//!   first line is one: a table of one prefix is nothing else.
//! - [`Few`]: up to six prefixes of which no more than 32 bits are left, in one line.
//! - a [`Map`]: the next byte's 256 entries as runs of equal ones.
//! - an array: the next byte's 256 entries, where a map would hardly be smaller.
//! - a page: an array above very many prefixes, an object of its own.
//!
//! What lies under an entry of a page is one object, whose steps find each other by the
//! distance from step to step; a page names objects by their place. So a change of one
//! prefix makes one object, the pages above it and the first line anew.
//!
//! A prefix of length 0 (of IPv4: 0.0.0.0/0) is in the first line alone: an entry of 0 says
//! that no longer one is there.

use super::{heap::Heap, record};
use crate::addr::Addr;

/// The largest value that a prefix may have; 0 is none's.
pub const VALUE_MAX: u32 = REFERENCE - 1;

/// The value of the longest prefix of the table that holds the address, 0 if none does. The
/// table is its first line; there is nothing in table 0. All prefixes of a table are of one
/// family, which is the address's.
#[inline(always)]
pub fn find<H: Heap + ?Sized>(heap: &H, table: u32, addr: &Addr) -> u32 {
    let [high, low] = addr.words();
    heap.longest(table, high, low)
}

/// The same of an address's words: what [`Heap::longest`] does, wherever that may be.
#[inline(always)]
pub fn longest<H: Heap + ?Sized>(heap: &H, table: u32, words: [u64; 2]) -> u32 {
    if table == 0 {
        return 0;
    }
    let Some(first) = heap.line(table) else { return 0 };
    let default = first.record::<Path>(0).otherwise;
    match walk(heap, table, words) {
        0 => default,
        value => value,
    }
}

/// As [`longest`], without the prefix of length 0 where there are others.
#[inline(always)]
fn walk<H: Heap + ?Sized>(heap: &H, table: u32, words: [u64; 2]) -> u32 {
    // What is left of the address, its next bit first.
    let [mut high, mut low] = words.map(u64::from_be);
    let mut entry = kind::PATH | table;
    // Entries are found from here: the line of the step before, or none (in a page, and first).
    let mut from = 0_u32;
    for _ in 0..STEPS_MAX {
        if entry < REFERENCE {
            return entry;
        }
        let place = from.wrapping_add(entry & PLACE);
        let Some(line) = heap.line(place) else { return 0 };
        let kind = entry & kind::ALL;
        from = place;
        if kind == kind::FEW {
            return few(line.record(0), line, high);
        }
        if kind == kind::PATH {
            let path: &Path = line.record(0);
            let [bits_high, bits_low] = path.bits;
            let [mask_high, mask_low] = path.mask;
            if (high ^ bits_high) & mask_high | (low ^ bits_low) & mask_low != 0 {
                return path.otherwise;
            }
            entry = path.then;
            from &= path.near;
            if path.skip_bits >= 64 {
                high = low;
                low = 0;
            }
            // Of no bit or more than 120 nobody asks what is left.
            let skip = path.skip_bits & 63;
            high = high << skip | (low >> 1) >> (63 - skip);
            low <<= skip;
            continue;
        }
        let byte = (high >> 56) as u32;
        high = high << 8 | low >> 56;
        low <<= 8;
        let mut at = byte;
        if kind == kind::MAP {
            let map: &Map = line.record(0);
            let word = byte / 64;
            let starts = (line.word(word) << (63 - byte % 64)).count_ones();
            at = u32::from(map.before[word as usize % 4]) + starts;
        }
        let Some(line) = heap.line(place.wrapping_add(at / ENTRIES)) else { return 0 };
        entry = *line.record(at);
        if kind == kind::PAGE {
            from = 0;
        }
    }
    0
}

/// The value of the first prefix that holds what is left of the address.
#[inline(always)]
fn few(few: &Few, line: &super::heap::Line, high: u64) -> u32 {
    let left = (high >> 32) as u32;
    // Counts those before it, without branches: nothing could foretell them.
    let (mut passed, mut still) = (0, 1);
    for (bits, shift) in few.bits.iter().zip(few.shifts) {
        let difference = u64::from(bits ^ left) >> (shift % 64);
        // 1 unless they are equal: a form that the compiler does not take for a comparison.
        still &= (difference + u64::from(u32::MAX)) >> 32;
        passed += still as u32;
    }
    *line.record(FEW_MAX as u32 + passed)
}

/// Steps of a lookup at most: the table's first line, one for each byte (a path skips one at
/// least), and the value.
const STEPS_MAX: usize = 1 + 16 + 1;

/// An entry with this bit is a reference.
pub const REFERENCE: u32 = 1 << 31;
/// The part of a reference that says where.
pub const PLACE: u32 = (1 << 28) - 1;
/// Entries in a line.
pub const ENTRIES: u32 = 16;

/// What a reference refers to.
pub mod kind {
    use super::{PLACE, REFERENCE};

    /// The part of a reference that says what it refers to.
    pub const ALL: u32 = !PLACE;
    /// A [`Path`](super::Path).
    pub const PATH: u32 = REFERENCE;
    /// A [`Few`](super::Few).
    pub const FEW: u32 = REFERENCE | 1 << 28;
    /// A [`Map`](super::Map), with the rest of its entries in the lines that follow.
    pub const MAP: u32 = REFERENCE | 2 << 28;
    /// 256 entries in 16 lines.
    pub const ARRAY: u32 = REFERENCE | 3 << 28;
    /// 256 entries in 16 lines, which name objects by their place.
    pub const PAGE: u32 = REFERENCE | 4 << 28;
}

/// Bits that have to be next, and what then.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Path {
    /// The bits, the first one highest.
    pub bits: [u64; 2],
    /// Which bits count: the first ones.
    pub mask: [u64; 2],
    /// Where it leads.
    pub then: u32,
    /// The value if the bits are others. Of a table's first line: the value of the prefix of
    /// length 0, for whatever has no other.
    pub otherwise: u32,
    /// How many bits are behind the address then: whole bytes.
    pub skip_bits: u32,
    /// All bits set: `then` counts from here; none: it is a place.
    pub near: u32,
    /// Zero.
    pub zero: [u64; 2],
}
record!(Path, 64);

/// Prefixes, the longest first.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Few {
    /// Their bits from here on, the first one highest.
    pub bits: [u32; FEW_MAX],
    /// Their values, and the last one for whatever is in none of them.
    pub values: [u32; FEW_MAX + 1],
    /// Zero.
    pub zero: u32,
    /// How many of the 32 bits do not count; of places that are empty 32.
    pub shifts: [u8; FEW_MAX],
    /// Zero.
    pub zeros: [u8; 2],
}
record!(Few, 64);

/// Prefixes in a [`Few`] at most.
pub const FEW_MAX: usize = 6;

/// Which of 256 entries are the first of a run of equal ones.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Map {
    /// A bit an entry, the first one lowest.
    pub starts: [u64; 4],
    /// For each of these words: where the entry is of the last run that starts before it, in
    /// entries from the start of this line.
    pub before: [u16; 4],
    /// The runs' entries, of which more follow in the next lines.
    pub entries: [u32; MAP_ENTRIES],
}
record!(Map, 64);

/// Entries of a map in its first line.
pub const MAP_ENTRIES: usize = 6;
