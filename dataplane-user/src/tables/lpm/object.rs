//! How do prefixes become the lines of one object?

use std::ops::Range;

use dataplane_common::table::{
    heap::Line,
    lpm::{ENTRIES, FEW_MAX, Few, MAP_ENTRIES, Path, kind},
};

use super::prefixes::{Leaf, mask};

/// A map with more runs is made an array: that is no more than twice as large.
const MAP_RUNS_MAX: usize = 128;

/// Entries of an array.
pub const BYTES: usize = 256;

/// Appends the steps that find these prefixes, so many bytes of which are behind, and answers
/// the entry that leads to them from the line `from`. `value` is that of whatever is in none.
pub fn steps(lines: &mut Vec<Line>, from: usize, leaves: &[Leaf], depth: u32, value: u32) -> u32 {
    if leaves.is_empty() {
        return value;
    }
    let own = lines.len();
    let distance = (own - from) as u32;
    if let Some(few) = few(leaves, depth, value) {
        lines.push(line(few));
        return kind::FEW | distance;
    }
    let skip = common(leaves, depth);
    if skip > 0 {
        lines.push(Line::default());
        let (inner, rest) = split(leaves, depth + skip, value);
        let then = steps(lines, own, rest, depth + skip, inner);
        let path = path(leaves[0].0.number() << (8 * depth), 8 * skip);
        lines[own] = line(Path { then, otherwise: value, near: !0, ..path });
        return kind::PATH | distance;
    }
    let fan = Fan::new(leaves, depth, value);
    let starts: Vec<usize> = (0..BYTES).filter(|at| fan.is_start(*at)).collect();
    if starts.len() > MAP_RUNS_MAX {
        lines.resize(own + BYTES / ENTRIES as usize, Line::default());
        for at in 0..BYTES {
            let entry = steps(lines, own, fan.beneath(at), depth + 1, fan.values[at]);
            put(lines, own, at, entry);
        }
        return kind::ARRAY | distance;
    }
    let first = ENTRIES as usize - MAP_ENTRIES;
    lines.resize(own + (first + starts.len()).div_ceil(ENTRIES as usize), Line::default());
    let mut bits = [0_u64; 4];
    for (run, at) in starts.into_iter().enumerate() {
        bits[at / 64] |= 1 << (at % 64);
        let entry = steps(lines, own, fan.beneath(at), depth + 1, fan.values[at]);
        put(lines, own, first + run, entry);
    }
    let mut before = first as u16 - 1;
    for (word, bits) in bits.into_iter().enumerate() {
        lines[own].put(word as u32, bits);
        lines[own].put(16 + word as u32, before);
        before += bits.count_ones() as u16;
    }
    kind::MAP | distance
}

/// Writes an entry, counted from a line.
pub fn put(lines: &mut [Line], from: usize, at: usize, entry: u32) {
    lines[from + at / ENTRIES as usize].put(at as u32, entry);
}

/// A line of one record.
pub fn line<T: dataplane_common::table::Record>(record: T) -> Line {
    let mut line = Line::default();
    line.put(0, record);
    line
}

/// So many bits that have to be next: the first ones of the number.
pub fn path(number: u128, bits: u32) -> Path {
    let mask = mask(bits);
    let next = number & mask;
    let words = |number: u128| [(number >> 64) as u64, number as u64];
    Path { bits: words(next), mask: words(mask), skip_bits: bits, ..Path::default() }
}

/// How many bytes more all of these have in common.
pub fn common(leaves: &[Leaf], depth: u32) -> u32 {
    let [(first, _), .., (last, _)] = leaves else {
        return leaves.first().map_or(0, |(only, _)| u32::from(only.length) / 8 - depth);
    };
    let same = (first.number() ^ last.number()).leading_zeros();
    let shortest = leaves.iter().map(|(prefix, _)| prefix.length).min();
    (shortest.map_or(0, u32::from).min(same) / 8).saturating_sub(depth)
}

/// The value of the prefix of just so many bytes, if it is there, and what is beneath.
pub fn split(leaves: &[Leaf], depth: u32, value: u32) -> (u32, &[Leaf]) {
    match leaves {
        [(first, own), rest @ ..] if u32::from(first.length) == 8 * depth => (*own, rest),
        _ => (value, leaves),
    }
}

/// In one line, if they are so few and short.
fn few(leaves: &[Leaf], depth: u32, value: u32) -> Option<Few> {
    let left = |leaf: &Leaf| u32::from(leaf.0.length) - 8 * depth;
    if leaves.len() > FEW_MAX || leaves.iter().any(|leaf| left(leaf) > 32) {
        return None;
    }
    let mut order: Vec<_> = leaves.iter().collect();
    order.sort_by_key(|leaf| std::cmp::Reverse(left(leaf)));
    let mut few = Few { values: [value; FEW_MAX + 1], shifts: [32; FEW_MAX], ..Few::default() };
    for (at, leaf) in order.into_iter().enumerate() {
        few.bits[at] = ((leaf.0.number() << (8 * depth)) >> 96) as u32;
        few.values[at] = leaf.1;
        few.shifts[at] = (32 - left(leaf)) as u8;
    }
    Some(few)
}

/// Prefixes by their next byte.
pub struct Fan<'a> {
    leaves: &'a [Leaf],
    /// Of the prefixes that end with the byte or before.
    pub values: [u32; BYTES],
    longer: [(u32, u32); BYTES],
}

impl<'a> Fan<'a> {
    pub fn new(leaves: &'a [Leaf], depth: u32, value: u32) -> Self {
        let mut fan = Self { leaves, values: [value; BYTES], longer: [(0, 0); BYTES] };
        for (at, (prefix, value)) in (0..).zip(leaves) {
            let byte = prefix.byte(depth);
            let left = u32::from(prefix.length) - 8 * depth;
            if left <= 8 {
                // Those that it holds come after it, and overwrite this.
                fan.values[reach(byte, left)].fill(*value);
            } else if fan.longer[byte].1 == 0 {
                fan.longer[byte] = (at, at + 1);
            } else {
                fan.longer[byte].1 = at + 1;
            }
        }
        fan
    }

    /// The prefixes that are longer, of this byte.
    pub fn beneath(&self, byte: usize) -> &'a [Leaf] {
        let (first, end) = self.longer[byte];
        &self.leaves[first as usize..end as usize]
    }

    fn is_start(&self, byte: usize) -> bool {
        let is_plain = |byte: usize| self.longer[byte].1 == 0;
        byte == 0
            || !is_plain(byte)
            || !is_plain(byte - 1)
            || self.values[byte] != self.values[byte - 1]
    }
}

/// The bytes that begin with so many bits of this one.
pub fn reach(byte: usize, bits: u32) -> Range<usize> {
    byte..byte + (BYTES >> bits)
}
