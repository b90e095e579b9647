//! Which rule is the first that permits it, however many there are?
//!
//! The rules of one policy, direction and family are one object; the first that matches, in
//! the order of the run, is the one that is counted and shown. A few rules are compared one
//! by one ([`Row`]). More are looked up: what is asked for above the addresses is one number,
//! the [`key`], and every remote (a prefix, a combination of groups, everybody) has a *tree*
//! that says for each key which rule is the first. Prefixes nest, and groups come in
//! combinations: so that a rule is not written again into all trees beneath its own, a tree
//! may hold only what is its own, and name the tree *above* that holds the rest. How much a
//! tree repeats, and how many are asked one after the other, is the compiler's choice.
//!
//! A tree's inner lines ([`Fork`]) and leaves ([`Leaf`]) count how many of their bounds are
//! at most the key, three to a word and without branches: nothing could foretell them.

use super::{
    heap::{Heap, List},
    lpm, record,
};
use crate::addr::Addr;
use crate::wire::protocol;

/// What of a packet rules ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port, or ICMP type << 8 | code; 0 for what has neither.
    pub port: u16,
    /// The remote's address, of the object's family.
    pub addr: Addr,
    /// The remote's class among the rules' tenant's: which groups and line groups it is in. 0:
    /// none of them.
    pub class: u32,
    /// Do rules for lines and line groups count alone?
    pub lines_only: bool,
}

/// The id of the first rule that permits it. `table` is the object's first line; in table 0 is
/// no rule.
#[inline(always)]
pub fn find<H: Heap + ?Sized>(heap: &H, table: u32, asked: &Asked) -> Option<u32> {
    if table == 0 {
        return None;
    }
    let head: &Head = heap.line(table)?.record(0);
    let kinds = heap.line(head.kinds.wrapping_add(u32::from(asked.protocol) / KINDS_IN_LINE))?;
    let kind = *kinds.record::<u8>(asked.protocol.into());
    let key = key_of(kind, asked.protocol, asked.port);
    let sets = if asked.lines_only { head.lines } else { head.members };
    if head.form == form::ROWS {
        return by_rows(heap, table, head, sets, key, asked);
    }
    let mut first = NOBODY;
    if !asked.lines_only {
        // The two do not wait for each other. In the other order the verifier looks at more.
        let everybody = walk(heap, head, head.everybody, key);
        let tree = lpm::find(heap, head.prefixes, &asked.addr);
        let prefix = walk(heap, head, tree, key);
        first = if prefix < everybody { prefix } else { everybody };
    }
    if asked.class != 0
        && let Some(&tree) = sets.get::<u32, H>(heap, asked.class)
    {
        let member = walk(heap, head, tree, key);
        first = if member < first { member } else { first };
    }
    head.ids.get::<u32, H>(heap, first).copied()
}

/// The first row that permits it.
#[inline(always)]
fn by_rows<H: Heap + ?Sized>(
    heap: &H,
    table: u32,
    head: &Head,
    sets: List,
    key: u32,
    asked: &Asked,
) -> Option<u32> {
    let mut may = 0;
    if asked.class != 0
        && let Some(&rows) = sets.get::<u32, H>(heap, asked.class)
    {
        may = rows;
    }
    let key = u64::from(key);
    let [high, low] = asked.addr.words().map(u64::from_be);
    let by_prefix = if asked.lines_only { 0 } else { head.by_prefix };
    for at in 0..ROWS_MAX {
        if at >= head.rows {
            break;
        }
        let row: &Row = heap.line(table + 1 + at / 2)?.record(at);
        let [net_high, net_low] = row.net;
        let [a, b, c, d] = row.shifts.map(|bits| bits % 64);
        let outside = (high ^ net_high) >> a >> b | (low ^ net_low) >> c >> d;
        // One branch for each row, not one for each thing that it asks.
        let is_within = (((outside | outside.wrapping_neg()) >> 63) ^ 1) as u32;
        let past = u64::from(row.high).wrapping_sub(key) | key.wrapping_sub(row.low.into());
        let is_service = ((past >> 63) ^ 1) as u32;
        if (by_prefix >> at & is_within | may >> at) & is_service & 1 != 0 {
            return Some(row.id);
        }
    }
    None
}

/// The first rule's place, of this tree and those above it.
#[inline(always)]
fn walk<H: Heap + ?Sized>(heap: &H, head: &Head, tree: u32, key: u32) -> u32 {
    let asked = (u64::from(key) * LANES) | GUARDS;
    let mut first = NOBODY;
    let mut at = tree;
    for _ in 0..STEPS_MAX {
        if at == 0 {
            break;
        }
        let Some(line) = heap.line(head.trees.wrapping_add(at & PLACE)) else { break };
        if at & !PLACE == 0 {
            let leaf: &Leaf = line.record(0);
            let found = *line.record::<u32>(LEAF_RULES_AT + passed(&leaf.bounds, asked));
            // The verifier does not know that it is zero. Else it would know of `first` that
            // it is smaller from leaf to leaf, and follow what comes after for each of them.
            first = if found < first { found } else { first } ^ head.unknown;
            at = leaf.above;
        } else {
            let fork: &Fork = line.record(0);
            let child = fork.child.wrapping_add(passed(&fork.bounds, asked));
            at = (at & !PLACE).wrapping_sub(LEVEL).wrapping_add(child);
        }
    }
    first
}

/// How many of the bounds are at most what is asked, which is in every lane and has the guard
/// bits set: subtraction clears a lane's guard where the bound is greater.
#[inline(always)]
fn passed<const WORDS: usize>(bounds: &[u64; WORDS], asked: u64) -> u32 {
    let mut sum = 0;
    for word in bounds {
        sum += (asked.wrapping_sub(*word) & GUARDS) >> (LANE_BITS - 1);
    }
    ((sum + (sum >> LANE_BITS) + (sum >> (2 * LANE_BITS))) & 0x1f) as u32
}

/// What is asked for above the addresses, as one number: protocols with ports or types have
/// 65,536 each, all others one.
#[must_use]
pub fn key(protocol: u8, port: u16) -> u32 {
    key_of(kind(protocol), protocol, port)
}

/// Which of the [`WITH_PORTS`] a protocol is; of all others, how many those are.
#[must_use]
pub fn kind(protocol: u8) -> u8 {
    WITH_PORTS.iter().take_while(|with| **with != protocol).count() as u8
}

/// The same, of a protocol whose kind has been looked up. Without branches: the verifier would
/// follow what comes after once for each kind.
#[inline(always)]
fn key_of(kind: u8, protocol: u8, port: u16) -> u32 {
    let (kind, protocol) = (u32::from(kind) & 7, u32::from(protocol));
    let others = (kind + 1) >> 3;
    let low = u32::from(port) & others.wrapping_sub(1) | protocol & others.wrapping_neg();
    kind << 16 | low
}

/// Kinds of protocols in a line of their list.
pub const KINDS_IN_LINE: u32 = 64;
/// Protocols with keys for each port or type, in the order of their keys.
pub const WITH_PORTS: [u8; 7] = [
    protocol::TCP,
    protocol::UDP,
    protocol::ICMP,
    protocol::ICMPV6,
    protocol::SCTP,
    protocol::DCCP,
    protocol::UDPLITE,
];
/// The key of protocol 0; those of other protocols without ports follow.
pub const OTHERS: u32 = 7 << 16;
/// The last key.
pub const KEY_MAX: u32 = OTHERS + 0xff;

/// What an object begins with.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Head {
    /// A [`form`].
    pub form: u32,
    /// How many [`Row`]s follow.
    pub rows: u32,
    /// Which of them ask where the remote is, as bits; the others ask which sets it is in.
    pub by_prefix: u32,
    /// By class: the tree of the groups that it is in, or the rows as bits.
    pub members: List,
    /// The same, of rules for lines and line groups alone.
    pub lines: List,
    /// The prefixes' trees: an [`lpm`] table.
    pub prefixes: u32,
    /// The tree of rules for everybody.
    pub everybody: u32,
    /// From where trees' lines count; none is at 0.
    pub trees: u32,
    /// Rules' ids, in the order of the rules.
    pub ids: List,
    /// The list of all protocols' [`kind()`]s: its first line. There is one for all objects.
    pub kinds: u32,
    /// Zero.
    pub unknown: u32,
    /// Zero.
    pub zero: [u32; 2],
}
record!(Head, 64);

/// How rules are looked for.
pub mod form {
    /// One by one.
    pub const ROWS: u32 = 1;
    /// In trees.
    pub const TREES: u32 = 2;
}

/// A rule, for one prefix of its remote.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Row {
    /// The rule.
    pub id: u32,
    /// The lowest [`key`].
    pub low: u32,
    /// The highest.
    pub high: u32,
    /// How many bits of each word do not count, in two parts of which neither is a whole word.
    pub shifts: [u8; 4],
    /// The remote prefix, the address' first bits highest.
    pub net: [u64; 2],
}
record!(Row, 32);

/// Rows of an object at most.
pub const ROWS_MAX: u32 = 16;

/// An inner line of a tree.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fork {
    /// Where the next line's keys begin, from the second child on.
    pub bounds: [u64; FORK_BOUNDS as usize / 3],
    /// The first child; the others follow.
    pub child: u32,
    /// Zero.
    pub zero: u32,
}
record!(Fork, 64);

/// Bounds of a [`Fork`], which has a child more.
pub const FORK_BOUNDS: u32 = 21;

/// A leaf of a tree.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Where the next rule's keys begin, from the second on.
    pub bounds: [u64; 3],
    /// The tree with what is not repeated in this one, 0 if nothing is.
    pub above: u32,
    /// Which rule is the first: its place in the run, or [`NOBODY`].
    pub rules: [u32; LEAF_RULES as usize],
}
record!(Leaf, 64);

/// Rules of a [`Leaf`]; it has bounds for one less, and one that is never reached.
pub const LEAF_RULES: u32 = 9;
/// Where they stand among the words of 32 bits.
const LEAF_RULES_AT: u32 = 7;

/// No rule's place.
pub const NOBODY: u32 = u32::MAX;

/// A tree is named by its first line's place and, above that, by how many forks lie on the way
/// to its leaves.
pub const PLACE: u32 = (1 << 28) - 1;
/// One fork.
pub const LEVEL: u32 = 1 << 28;
/// Forks on the way to a leaf at most: enough for a bound at each key.
pub const LEVELS_MAX: u32 = 4;
/// Lines of a tree and of those above it, one after the other, at most. The verifier follows
/// every one of them, for each way to get there: twice as many cost it twice as much.
pub const STEPS_MAX: u32 = 40;

/// A bound has 20 bits and a guard.
pub const LANE_BITS: u32 = 21;
/// A bound in a lane that is empty: beyond every key.
pub const UNREACHED: u64 = (1 << (LANE_BITS - 1)) - 1;
const LANES: u64 = 1 | 1 << LANE_BITS | 1 << (2 * LANE_BITS);
const GUARDS: u64 = LANES << (LANE_BITS - 1);

const _: () = {
    assert!(WITH_PORTS.len() == 7);
    assert!(KEY_MAX < UNREACHED as u32);
    let (mut reached, mut levels) = (LEAF_RULES, 0);
    while levels < LEVELS_MAX {
        reached *= FORK_BOUNDS + 1;
        levels += 1;
    }
    assert!(reached > KEY_MAX && LEVELS_MAX < 8);
};
