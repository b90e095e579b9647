//! Which prefixes lie beneath another, and which hold it?

use std::collections::BTreeMap;

use dataplane_common::addr::Addr;

/// A prefix. Those beneath it follow it in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Prefix {
    /// The address' bits, the first one highest.
    bits: [u64; 2],
    /// How many of them count.
    pub length: u8,
}

/// A prefix with its value.
pub type Leaf = (Prefix, u32);

impl Prefix {
    /// The first bits of an address.
    pub fn new(addr: Addr, length: u8) -> Self {
        Self::of(u128::from_be_bytes(addr.bytes()), length.min(Addr::BITS as u8))
    }

    /// The first bits of a number.
    pub fn of(number: u128, length: u8) -> Self {
        let number = number & mask(u32::from(length));
        Self { bits: [(number >> 64) as u64, number as u64], length }
    }

    /// The bits as a number.
    pub fn number(self) -> u128 {
        u128::from(self.bits[0]) << 64 | u128::from(self.bits[1])
    }

    /// Does it hold all addresses of a family?
    pub fn is_default(self) -> bool {
        self.length == 0 || self == Self::new(Addr::v4([0; 4]), 96)
    }

    /// The byte behind so many.
    pub fn byte(self, depth: u32) -> usize {
        usize::from(self.number().to_be_bytes()[depth as usize % 16])
    }
}

/// So many bits, the first ones.
pub fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0)
}

/// Prefixes with values.
#[derive(Default, Debug)]
pub struct Prefixes {
    all: BTreeMap<Prefix, u32>,
    /// How many there are of each length.
    lengths: BTreeMap<u8, usize>,
}

impl Prefixes {
    pub fn insert(&mut self, prefix: Prefix, value: u32) -> Option<u32> {
        let old = self.all.insert(prefix, value);
        if old.is_none() {
            *self.lengths.entry(prefix.length).or_default() += 1;
        }
        old
    }

    pub fn remove(&mut self, prefix: Prefix) -> Option<u32> {
        let old = self.all.remove(&prefix)?;
        if let Some(count) = self.lengths.get_mut(&prefix.length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.length);
            }
        }
        Some(old)
    }

    /// Takes these in the place of all; answers what is other than before.
    pub fn follow(&mut self, now: BTreeMap<Prefix, u32>) -> Vec<Prefix> {
        let differs = |(prefix, value): &(&Prefix, &u32)| self.all.get(prefix) != Some(value);
        let changed = now.iter().filter(differs);
        let gone = self.all.iter().filter(|(prefix, _)| !now.contains_key(prefix));
        let changes = changed.chain(gone).map(|(prefix, _)| *prefix).collect();
        self.lengths.clear();
        for prefix in now.keys() {
            *self.lengths.entry(prefix.length).or_default() += 1;
        }
        self.all = now;
        changes
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Those in the first bytes of the number that are longer, in order.
    pub fn beneath(&self, number: u128, depth: u32) -> impl Iterator<Item = Leaf> {
        let mask = mask(8 * depth);
        let first = Prefix { length: 0, ..Prefix::of(number & mask, 128) };
        let last = Prefix::of(number | !mask, 128);
        let own = move |leaf: &Leaf| u32::from(leaf.0.length) > 8 * depth;
        self.all.range(first..=last).map(|(prefix, value)| (*prefix, *value)).filter(own)
    }

    /// The value of the longest prefix of so many bytes at most that holds the number.
    pub fn holding(&self, number: u128, depth: u32) -> u32 {
        let at_most = ..=(8 * depth.min(16)) as u8;
        let value = |length: &u8| self.all.get(&Prefix::of(number, *length));
        self.lengths
            .range(at_most)
            .rev()
            .find_map(|(length, _)| value(length))
            .copied()
            .unwrap_or(0)
    }
}
