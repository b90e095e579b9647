//! Tables against a plain scan of their prefixes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataplane_common::table::{
    heap::{Heap, Line},
    lpm,
};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::tables::heap::HostHeap;

/// A heap that knows which objects a version needs, and lends no line of another.
#[derive(Default)]
struct Room {
    heap: HostHeap,
    lines_max: usize,
    /// By first line: how many lines, and is it needed?
    objects: BTreeMap<u32, (u32, bool)>,
    placed_lines: usize,
}

impl Room {
    fn new() -> Self {
        Self { heap: HostHeap::new(), lines_max: usize::MAX, ..Self::default() }
    }

    /// Begins a version.
    fn begin(&mut self) {
        self.objects.retain(|_, (_, is_needed)| std::mem::take(is_needed));
    }

    /// The objects of the version.
    fn held(&self) -> usize {
        self.objects.values().filter(|(_, is_needed)| *is_needed).count()
    }
}

impl Space for Room {
    fn place(&mut self, lines: Vec<Line>) -> Result<u32, Full> {
        let count = lines.len();
        if count == 0 {
            return Ok(0);
        }
        if self.heap.lines() + count > self.lines_max {
            return Err(Full { lines: count });
        }
        let before = self.heap.lines();
        let place = self.heap.place(lines)?;
        self.placed_lines += self.heap.lines() - before;
        self.objects.insert(place, (count as u32, true));
        Ok(place)
    }

    fn keep(&mut self, first: u32) {
        self.objects.get_mut(&first).expect("an object of the version before").1 = true;
    }
}

impl Heap for Room {
    fn line(&self, index: u32) -> Option<&Line> {
        let (first, (lines, is_needed)) = self.objects.range(..=index).next_back()?;
        assert!(index - first < *lines && *is_needed, "line {index} is nobody's");
        self.heap.line(index)
    }
}

/// Prefixes where there are many, rounds of changes, and lookups after each; optimised, the
/// same takes millions of lookups in as little time.
const MANY: [usize; 3] =
    if cfg!(debug_assertions) { [1500, 12, 200] } else { [20_000, 100, 20_000] };

/// A table, and its prefixes as they are.
struct Pair {
    table: Lpm,
    /// The same, told all prefixes at once.
    followed: Lpm,
    plain: HashMap<(u128, u8), u32>,
    /// That any prefix has or had.
    lengths: BTreeSet<u8>,
    room: Room,
    first: u32,
    is_v4: bool,
}

impl Pair {
    fn new() -> Self {
        Self {
            table: Lpm::new(),
            followed: Lpm::new(),
            plain: HashMap::new(),
            lengths: BTreeSet::new(),
            room: Room::new(),
            first: 0,
            is_v4: false,
        }
    }

    fn insert(&mut self, number: u128, bits: u8, value: u32) {
        self.lengths.insert(bits);
        self.is_v4 = bits >= 96 && number >> 32 == V4 >> 32;
        let old = self.table.insert(addr(number), bits, value);
        assert_eq!(old, self.plain.insert((number & prefixes::mask(bits.into()), bits), value));
    }

    fn remove(&mut self, number: u128, bits: u8) {
        let old = self.table.remove(addr(number), bits);
        assert_eq!(old, self.plain.remove(&(number & prefixes::mask(bits.into()), bits)));
    }

    /// Stores, and looks at every prefix' ends and what is beside them.
    fn check(&mut self) {
        self.store();
        let all = self.plain.iter().map(|(&(number, bits), &value)| (addr(number), bits, value));
        self.followed.follow(all);
        assert_eq!(self.followed.store(&mut self.room), Ok(self.first));
        let ends: Vec<_> = self.plain.keys().copied().collect();
        for (number, bits) in ends {
            let last = number | !prefixes::mask(bits.into());
            for at in [number, last, number.wrapping_sub(1), last.wrapping_add(1)] {
                self.ask(at);
            }
            self.ask(number ^ 1_u128.checked_shl(128 - u32::from(bits)).unwrap_or(1));
        }
    }

    fn store(&mut self) {
        self.room.begin();
        self.first = self.table.store(&mut self.room).expect("room");
        assert_eq!(self.table.len(), self.plain.len());
    }

    fn ask(&self, number: u128) {
        // Another family's addresses are not asked for.
        if self.is_v4 && number >> 32 != V4 >> 32 {
            return;
        }
        let found = lpm::find(&self.room, self.first, &addr(number));
        assert_eq!(found, self.scan(number), "{number:032x} of {:x?}", self.plain);
    }

    fn scan(&self, number: u128) -> u32 {
        let holds = |bits: u8| self.plain.get(&(number & prefixes::mask(bits.into()), bits));
        self.lengths.iter().rev().copied().find_map(holds).copied().unwrap_or(0)
    }
}

fn addr(number: u128) -> Addr {
    Addr::v6(number.to_be_bytes())
}

const V4: u128 = 0xffff << 32;

/// SplitMix64: enough of chance for a test, the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An IPv4 or IPv6 prefix of a space so narrow that prefixes nest and meet.
    fn prefix(&mut self, is_v4: bool) -> (u128, u8) {
        let bytes = [0, 1, 0x7f, 0x80, 0xff, self.next() as u8];
        let mut number = 0_u128;
        for _ in 0..16 {
            number = number << 8 | u128::from(bytes[self.below(6) as usize]);
        }
        if is_v4 {
            (V4 | number & 0xffff_ffff, 96 + self.below(33) as u8)
        } else {
            (number, self.below(129) as u8)
        }
    }
}

/// What is done to a table: a prefix gets a value, or is taken out if that is 0.
fn deeds(is_v4: bool) -> impl Strategy<Value = Vec<(u128, u8, u32)>> {
    let bytes = vec(prop_oneof![Just(0_u8), Just(1), Just(0x80), Just(0xff), any::<u8>()], 16);
    let number = bytes.prop_map(|bytes| bytes.into_iter().fold(0, |n, b| n << 8 | u128::from(b)));
    let bits = if is_v4 { 96..=128_u8 } else { 0..=128_u8 };
    let deed = (number, bits, 0..4_u32).prop_map(move |(number, bits, value)| {
        if is_v4 { (V4 | number & 0xffff_ffff, bits, value) } else { (number, bits, value) }
    });
    vec(deed, 0..40)
}

fn do_all(deeds: Vec<(u128, u8, u32)>) {
    let mut pair = Pair::new();
    for (step, (number, bits, value)) in deeds.into_iter().enumerate() {
        match value {
            0 => pair.remove(number, bits),
            _ => pair.insert(number, bits, value),
        }
        if step % 8 == 0 {
            pair.check();
        }
    }
    pair.check();
}

/// Not optimised, a case takes tens of milliseconds.
const CASES: u32 = if cfg!(debug_assertions) { 64 } else { 2000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn few_ipv4_prefixes_are_found(deeds in deeds(true)) {
        do_all(deeds);
    }

    #[test]
    fn few_ipv6_prefixes_are_found(deeds in deeds(false)) {
        do_all(deeds);
    }
}

#[test]
fn nothing_is_nowhere() {
    let mut pair = Pair::new();
    pair.check();
    assert_eq!(pair.first, 0);
    pair.insert(V4, 96, 7);
    pair.check();
    assert_eq!(lpm::find(&pair.room, pair.first, &Addr::v4([1, 2, 3, 4])), 7);
    pair.remove(V4, 96);
    pair.check();
    assert_eq!((pair.first, pair.room.held()), (0, 0));
}

/// Prefixes of all lengths, each in the one before, in both orders, and what is beside each.
#[test]
fn chains_of_all_lengths() {
    let mut chance = Chance(1);
    for round in 0..8 {
        let is_v4 = round % 2 == 0;
        let (base, least) = if is_v4 { (V4, 96) } else { (0, 0) };
        let mask = if is_v4 { 0xffff_ffff } else { u128::MAX };
        let number = u128::from(chance.next()) << 64 | u128::from(chance.next());
        let number = base | (if round < 2 { u128::MAX } else { number }) & mask;
        let mut pair = Pair::new();
        for bits in least..=128 {
            pair.insert(number, bits, u32::from(bits) + 1);
            if bits > least && round % 3 == 0 {
                pair.insert(number ^ 1 << (128 - bits), bits, 1000 + u32::from(bits));
            }
        }
        pair.check();
        for bits in least..=128 {
            pair.remove(number, bits);
            if bits % 11 == 0 {
                pair.check();
            }
        }
        pair.check();
    }
}

/// A pool whose every address has a session, and one that lacks some.
#[test]
fn a_pool_of_hosts() {
    let mut pair = Pair::new();
    let pool = V4 | 0x0a40_0000;
    for host in 0..4096 {
        pair.insert(pool + host, 128, host as u32 + 1);
    }
    pair.check();
    for host in (0..4096).step_by(3) {
        pair.remove(pool + host, 128);
    }
    pair.insert(V4 | 0x0a00_0000, 104, 5000);
    pair.check();
    // One of IPv6, whose hosts have all bits but the last ones in common; and one far away.
    let mut pair = Pair::new();
    let pool = 0x2001_0db8_0001_0002_0003_0004_0005_0000_u128;
    for host in 0..600 {
        pair.insert(pool + host, 128, host as u32 + 1);
    }
    pair.check();
    pair.insert(0xfe80 << 112, 10, 9999);
    pair.check();
    for host in 0..500 {
        pair.insert((0xfe80 << 112) + host, 128, 20_000);
    }
    pair.check();
    for host in 0..400 {
        pair.remove(pool + host, 128);
    }
    pair.check();
}

/// Many prefixes, above which there are pages; changes between the lookups.
#[test]
fn many_prefixes_are_found_while_they_change() {
    for is_v4 in [true, false] {
        let mut chance = Chance(3);
        let mut pair = Pair::new();
        let [prefixes, rounds, lookups] = MANY;
        for _ in 0..prefixes {
            let (number, bits) = chance.prefix(is_v4);
            pair.insert(number, bits, 1 + chance.below(50) as u32);
        }
        pair.check();
        for round in 0..rounds {
            for _ in 0..=round {
                let (number, bits) = chance.prefix(is_v4);
                if chance.below(2) == 0 {
                    pair.insert(number, bits, 1 + chance.below(50) as u32);
                }
                let prefixes = pair.plain.len() as u64;
                let nth = pair.plain.keys().nth(chance.below(prefixes) as usize).copied();
                let (number, bits) = nth.expect("there are many");
                pair.remove(number, bits);
            }
            pair.store();
            for _ in 0..lookups {
                pair.ask(chance.prefix(is_v4).0);
            }
        }
        pair.check();
        let left: Vec<_> = pair.plain.keys().copied().collect();
        for (number, bits) in left {
            pair.remove(number, bits);
        }
        pair.check();
        assert_eq!((pair.first, pair.room.held()), (0, 0));
    }
}

/// A route comes, goes or leads elsewhere, and that is in force before the next does; what is
/// held in the end is what a table made at once holds.
#[test]
fn each_change_is_found_at_once_and_leaves_nothing_behind() {
    let [prefixes, _, updates] = MANY;
    for is_v4 in [true, false] {
        let mut chance = Chance(6);
        let mut pair = Pair::new();
        let mut there = Vec::new();
        for _ in 0..prefixes {
            let (number, bits) = chance.prefix(is_v4);
            pair.insert(number, bits, 1 + chance.below(50) as u32);
            there.push((number, bits));
        }
        pair.store();
        for _ in 0..updates {
            let at = chance.below(there.len() as u64) as usize;
            let (number, bits) = match chance.below(3) {
                0 => {
                    there.push(chance.prefix(is_v4));
                    there[there.len() - 1]
                }
                1 => there[at],
                _ => there.swap_remove(at),
            };
            if there.contains(&(number, bits)) {
                pair.insert(number, bits, 1 + chance.below(50) as u32);
            } else {
                pair.remove(number, bits);
            }
            pair.store();
            let last = number | !prefixes::mask(bits.into());
            let first = number & prefixes::mask(bits.into());
            for at in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                pair.ask(at);
            }
            for _ in 0..20 {
                pair.ask(chance.prefix(is_v4).0);
            }
        }
        let (mut anew, mut room) = (Lpm::new(), Room::new());
        for (&(number, bits), &value) in &pair.plain {
            anew.insert(addr(number), bits, value);
        }
        anew.store(&mut room).expect("room");
        assert_eq!(pair.room.held(), room.held());
    }
}

#[test]
fn a_change_places_few_lines() {
    let mut chance = Chance(4);
    let mut pair = Pair::new();
    for _ in 0..50_000 {
        let number = V4 | u128::from(chance.next() as u32);
        pair.insert(number, 112 + chance.below(13) as u8, 1 + chance.below(100) as u32);
    }
    pair.store();
    let all = pair.room.placed_lines;
    for _ in 0..200 {
        pair.room.placed_lines = 0;
        let number = V4 | u128::from(chance.next() as u32);
        pair.insert(number, 120, 200);
        pair.store();
        pair.ask(number);
        // The first line, a page, and an object of 200 prefixes.
        let lines = pair.room.placed_lines;
        assert!(lines < 300 && lines < all / 50, "{lines} lines of {all}");
    }
    pair.room.placed_lines = 0;
    pair.insert(V4, 96, 300);
    pair.store();
    assert_eq!(pair.room.placed_lines, 1, "the prefix of length 0 is in the first line");
    pair.room.placed_lines = 0;
    pair.store();
    assert_eq!(pair.room.placed_lines, 0);
}

/// What most tables are: one prefix, or a few.
#[test]
fn small_tables_are_of_a_line_or_two() {
    let lines = |prefixes: &[(u128, u8)]| {
        let mut pair = Pair::new();
        for (value, (number, bits)) in (1..).zip(prefixes) {
            pair.insert(*number, *bits, value);
        }
        pair.check();
        let mut room = Room::new();
        let mut table = Lpm::new();
        for (value, ((number, bits), _)) in (1..).zip(&pair.plain) {
            table.insert(addr(*number), *bits, value);
        }
        table.store(&mut room).expect("room");
        room.placed_lines
    };
    let host = V4 | 0x0a00_0005;
    assert_eq!(lines(&[(V4, 96)]), 1);
    assert_eq!(lines(&[(host, 128)]), 1);
    assert_eq!(lines(&[(host, 109), (V4, 96)]), 1);
    assert_eq!(lines(&[(0xfe80 << 112 | 5, 128)]), 1);
    let apart: Vec<_> = (0..6).map(|at| (V4 | at << 28, 100 + 4 * at as u8)).collect();
    assert_eq!(lines(&apart), 2);
    assert_eq!(lines(&[(0xfe80 << 112 | 5, 128), (0x2001 << 112 | 7, 128)]), 4);
}

#[test]
fn without_room_nothing_is_forgotten() {
    let mut chance = Chance(5);
    for is_v4 in [true, false] {
        let mut pair = Pair::new();
        let mut refused = 0;
        for round in 0..200 {
            for _ in 0..chance.below(40) {
                let (number, bits) = chance.prefix(is_v4);
                pair.insert(number, bits, 1 + chance.below(9) as u32);
            }
            pair.room.lines_max = pair.room.heap.lines() + chance.below(400) as usize;
            if pair.table.store(&mut pair.room).is_err() {
                refused += 1;
            }
            if round % 10 == 0 {
                pair.room.lines_max = usize::MAX;
                pair.store();
                for _ in 0..100 {
                    pair.ask(chance.prefix(is_v4).0);
                }
            }
        }
        assert!(refused > 10, "{refused}");
        pair.room.lines_max = usize::MAX;
        for (number, bits) in pair.plain.keys().copied().collect::<Vec<_>>() {
            pair.remove(number, bits);
        }
        pair.store();
        assert_eq!((pair.first, pair.room.held()), (0, 0));
    }
}
