//! Which prefixes would a router have, and where do packets go?
//!
//! A generator of ours, the same each time. Lengths are shared out as in the Internet's tables
//! (2025, rounded). IPv4 prefixes lie anywhere in unicast space: worse than there, where
//! neighbours share tables' lines. IPv6 ones lie in allocations of /32, of which there is one
//! for eight prefixes, in the registries' blocks.

use dataplane_common::addr::Addr;

/// SplitMix64.
pub struct Chance(pub u64);

impl Chance {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of so many.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end.max(1) as u64) as usize
    }

    fn length(&mut self, shares: &[(u8, usize)]) -> u8 {
        let mut at = self.below(shares.iter().map(|(_, share)| share).sum());
        let found = shares.iter().find(|(_, share)| {
            let is_here = at < *share;
            at = at.wrapping_sub(*share);
            is_here
        });
        found.map_or(0, |(length, _)| *length)
    }
}

/// Of a thousand IPv4 prefixes, how many have which length.
const V4: [(u8, usize); 15] = [
    (24, 597),
    (23, 98),
    (22, 107),
    (21, 52),
    (20, 46),
    (19, 26),
    (18, 14),
    (17, 9),
    (16, 14),
    (15, 2),
    (14, 2),
    (13, 1),
    (12, 1),
    (11, 1),
    (10, 1),
];

/// Of a thousand IPv6 prefixes.
const V6: [(u8, usize); 15] = [
    (48, 470),
    (32, 125),
    (44, 110),
    (40, 105),
    (36, 45),
    (46, 35),
    (47, 30),
    (29, 25),
    (42, 20),
    (45, 15),
    (38, 10),
    (33, 5),
    (34, 3),
    (35, 1),
    (30, 1),
];

/// The first bytes of what registries hand out.
const V6_BLOCKS: [u8; 6] = [0x20, 0x24, 0x26, 0x28, 0x2a, 0x2c];

/// A prefix, its length counted in 128 bits.
pub type Prefix = (Addr, u8);

/// So many different prefixes, in any order.
#[must_use]
pub fn prefixes(is_v4: bool, count: usize) -> Vec<Prefix> {
    let mut chance = Chance(count as u64);
    let allocations: Vec<u32> = (0..count / 8 + 1)
        .map(|_| {
            let block = u32::from(V6_BLOCKS[chance.below(V6_BLOCKS.len())]);
            // A registry's next ones are near each other: of 24 bits 20 differ at most.
            block << 24 | chance.below(1 << 20) as u32
        })
        .collect();
    let mut found = std::collections::HashSet::with_capacity(count);
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        let (number, length) = if is_v4 {
            let host = (1 + chance.below(223) as u32) << 24 | chance.below(1 << 24) as u32;
            (0xffff_u128 << 32 | u128::from(host), 96 + chance.length(&V4))
        } else {
            let of = u128::from(allocations[chance.below(allocations.len())]) << 96;
            (of | u128::from(chance.bits()) << 32, chance.length(&V6))
        };
        let number = number & u128::MAX << (128 - u32::from(length));
        if found.insert((number, length)) {
            order.push((Addr::v6(number.to_be_bytes()), length));
        }
    }
    order
}

/// Where so many packets go: somewhere in any of the prefixes.
#[must_use]
pub fn destinations(prefixes: &[Prefix], count: usize) -> Vec<Addr> {
    let mut chance = Chance(7);
    (0..count)
        .map(|_| {
            let (net, length) = prefixes[chance.below(prefixes.len())];
            let host = u128::from(chance.bits()) << 64 | u128::from(chance.bits());
            let host = host.checked_shr(u32::from(length)).unwrap_or(0);
            Addr::v6((u128::from_be_bytes(net.bytes()) | host).to_be_bytes())
        })
        .collect()
}
