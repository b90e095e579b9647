//! Half-flows: one direction of a flow each, found by the key as the packet arrives.
//!
//! A line is 64 bytes for both families, so that an established packet touches
//! one cache line to find its action and to be counted. What only a slow path or the
//! sweeper needs, and what only TCP and a new judgement do, lies in two more records with
//! the same index.
//!
//! Lines are shared by all CPUs and by userland's mapping without locks. A line's
//! life is in [`FlowLine::status`]: `EMPTY → BUSY → LIVE → DEAD → EMPTY`. Programs
//! take an empty line and mark one dead by compare-and-swap; only userland empties
//! a dead line, after a grace period in which every packet that might still hold
//! its index has left. So an index that a packet found stays that flow's until the
//! packet is done, but that a packet may begin another flow of the same key in its place. The
//! sequence in the status tells a reader that a line was rewritten so between its look at the key
//! and its look at the action; and of those who would write what was decided, and whose flow it
//! is, one does at a time ([`Judged::HELD`]).

use super::{record, secret::Secret};
use crate::addr::Addr;
use crate::word::{Word32, Word64};

/// The identity of a half-flow: zone, addresses, protocol and ports as the packet arrives.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct FlowKey {
    /// The sender.
    pub src: Addr,
    /// The receiver as the packet names it.
    pub dst: Addr,
    /// The sender's port; the identifier of an ICMP query; 0 without ports.
    pub src_port: [u8; 2],
    /// The receiver's port; type and code of an ICMP query; 0 without ports.
    pub dst_port: [u8; 2],
    /// The zone, most significant byte first.
    pub zone: [u8; 3],
    /// The protocol.
    pub protocol: u8,
}
record!(FlowKey, 40);

impl FlowKey {
    /// The zone as a number.
    #[inline(always)]
    pub const fn zone(&self) -> u32 {
        u32::from_be_bytes([0, self.zone[0], self.zone[1], self.zone[2]])
    }

    /// The same key in another zone; `zone` is below 2^24.
    #[inline(always)]
    pub const fn in_zone(mut self, zone: u32) -> Self {
        let [_, a, b, c] = zone.to_be_bytes();
        self.zone = [a, b, c];
        self
    }

    /// The five words, for hashing and comparing.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 5] {
        let [s, t] = self.src.words();
        let [d, e] = self.dst.words();
        let [a, b] = self.src_port;
        let [f, g] = self.dst_port;
        let [x, y, z] = self.zone;
        [s, t, d, e, u64::from_ne_bytes([a, b, f, g, x, y, z, self.protocol])]
    }

    /// The key with these words.
    #[inline(always)]
    pub const fn from_words(words: [u64; 5]) -> Self {
        let [a, b, f, g, x, y, z, protocol] = words[4].to_ne_bytes();
        Self {
            src: Addr::from_words([words[0], words[1]]),
            dst: Addr::from_words([words[2], words[3]]),
            src_port: [a, b],
            dst_port: [f, g],
            zone: [x, y, z],
            protocol,
        }
    }
}

/// The hot part of a half-flow.
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct FlowLine {
    /// The key's words; they count only while the line is `LIVE`.
    pub key: [Word64; 5],
    /// State of the connection (8 bits), [`status`] flags (8), sequence (16).
    pub status: Word32,
    /// When a packet was last forwarded, in ticks.
    pub seen_ticks: Word32,
    /// What was decided, and the epoch in which that was last found to hold: one word, so
    /// that nobody sees a decision in an epoch that it was not made in ([`Judged`]). Whoever
    /// writes another one, or rewrites the line in place, has it [`HELD`](Judged::HELD) before.
    pub judged: Word64,
    /// Who was admitted to send it (a station's, line's or uplink's owner number); 0: nobody yet.
    pub owner: Word32,
    /// What was forwarded of late, [packed](packed): the rest is in the cold part.
    pub counts: Word32,
}
record!(FlowLine, 64);

/// Packets and bytes in one word, which one atomic addition counts up. Before either could
/// overflow, what it has is carried over to the cold part.
pub mod packed {
    /// Where packets begin; bytes are below.
    const PACKETS_SHIFT: u32 = 22;
    /// Packets of more bytes are not counted here: GSO packets are few for what they carry.
    const BYTES_MAX: u32 = 1 << 14;
    /// Nor those that are more packets than this.
    const SEGMENTS_MAX: u32 = 8;
    /// From so many packets or bytes on it is carried over. Half the room is left for what
    /// other CPUs add until that is done: what 64 of them have at hand.
    const FULL_PACKETS: u32 = 1 << 9;
    const FULL_BYTES: u32 = 1 << 21;
    const _: () = assert!(FULL_PACKETS + 64 * SEGMENTS_MAX <= 1 << (32 - PACKETS_SHIFT));
    const _: () = assert!(FULL_BYTES + 64 * BYTES_MAX < 1 << PACKETS_SHIFT);

    /// What to add for a packet; 0: it is counted in the cold part.
    #[inline(always)]
    #[must_use]
    pub const fn of(packets: u32, bytes: u32) -> u32 {
        if packets > SEGMENTS_MAX || bytes > BYTES_MAX {
            0
        } else {
            packets << PACKETS_SHIFT | bytes
        }
    }

    /// Packets and bytes of a word.
    #[inline(always)]
    #[must_use]
    pub const fn split(counts: u32) -> (u32, u32) {
        (counts >> PACKETS_SHIFT, counts & ((1 << PACKETS_SHIFT) - 1))
    }

    /// Is it time to carry it over?
    #[inline(always)]
    #[must_use]
    pub const fn is_full(counts: u32) -> bool {
        let (packets, bytes) = split(counts);
        packets >= FULL_PACKETS || bytes >= FULL_BYTES
    }
}

/// How many half-flows a tenant has, as a word that one atomic addition changes: all of them, and
/// above those the ones that are [`status::INBOUND`]. Of these it may have half of its quota, so
/// that strangers keep none of its own hosts from beginning a flow, whoever evicts theirs or not.
///
/// Each is a signed number of 32 bits: whoever dies while giving one back gives it back twice.
pub mod held {
    use super::status;

    const INBOUND: u64 = 1 << 32;

    /// A half-flow with this status.
    #[inline(always)]
    #[must_use]
    pub const fn one(status: u32) -> u64 {
        if status & status::INBOUND == 0 { 1 } else { 1 + INBOUND }
    }

    /// What is given back when it is agreed to.
    pub const AGREED: u64 = INBOUND;

    /// All half-flows.
    #[inline(always)]
    #[must_use]
    pub const fn all(word: u64) -> i32 {
        word as i32
    }

    /// Those that are strangers'.
    #[inline(always)]
    #[must_use]
    pub const fn inbound(word: u64) -> i32 {
        (word.wrapping_sub(all(word) as i64 as u64) >> 32) as i32
    }

    /// Of a quota, how much is for those: a flow at least.
    #[inline(always)]
    #[must_use]
    pub const fn inbound_max(quota: u32) -> u32 {
        if quota < 4 { 2 } else { quota / 2 }
    }

    /// Does a quota permit `more` beside what there is?
    #[inline(always)]
    #[must_use]
    pub const fn permits(quota: u32, word: u64, more: u64) -> bool {
        let sum = word.wrapping_add(more);
        all(sum) as i64 <= quota as i64
            && (inbound(more) == 0 || inbound(sum) as i64 <= inbound_max(quota) as i64)
    }
}

/// A decision about a half-flow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Judged {
    /// Next hop (24 bits) and [`action`] flags (8); the stop if it is denied.
    pub action: u32,
    /// The epoch in which it was last found to hold; no epoch is 0.
    pub epoch: u32,
}

impl Judged {
    /// In place of a decision while a packet writes another, and what that rests on: nobody else
    /// does meanwhile. It is of no epoch, and leads where nothing is.
    pub const HELD: u64 = Self { action: action::NEXT_HOP, epoch: 0 }.word();

    /// As it lies in [`FlowLine::judged`].
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.epoch as u64) << 32 | self.action as u64
    }

    /// Of such a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self { action: word as u32, epoch: (word >> 32) as u32 }
    }
}

/// The cold part of a half-flow: what is asked for when it is made, judged again, swept.
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct FlowCold {
    /// Packets forwarded, segments of a GSO packet counted one by one, but for those that
    /// [`FlowLine::counts`] has.
    pub packets: Word64,
    /// Bytes forwarded, as on the wire, from the Ethernet header on, but for the same.
    pub bytes: Word64,
    /// The generations that the action rests on, mixed.
    pub stamp: Word64,
    /// Written by userland alone: how many bytes its counters have taken over.
    pub folded_bytes: Word64,
    /// Who opened the flow (both halves say the same).
    pub opener: Word32,
    /// To whom.
    pub responder: Word32,
    /// The opener's rule that permitted it; 0: none was asked.
    pub rule_egress: Word32,
    /// The responder's.
    pub rule_ingress: Word32,
    /// The tenant that pays for the record.
    pub tenant: Word32,
    /// When it was made, in ticks.
    pub made_ticks: Word32,
    /// Written by userland alone: how many packets its counters have taken over.
    pub folded_packets: Word32,
    /// Zero.
    pub zero: Word32,
}
record!(FlowCold, 64);

/// What of a half-flow only TCP asks for each packet, and who judges it anew.
#[repr(C)]
#[derive(Default, Debug)]
pub struct FlowMore {
    /// The MAC that the opener used ([`crate::addr::Mac::word`]; both halves say the same).
    pub opener_mac: Word64,
    /// TCP: one past the highest byte that this side sent.
    pub end: Word32,
    /// TCP: the highest byte that this side permits the other (acknowledgement + window).
    pub permits: Word32,
    /// TCP: window scale of this side + 1 (8 bits; 0: it sent no SYN with the option that we
    /// saw), what else is known ([`crate::stage::conntrack`]), the same of the stray SYN.
    pub scale: Word32,
    /// TCP: the highest byte that this side acknowledged.
    pub acknowledged: Word32,
    /// TCP, of the opener: one past a SYN that came in the middle of the connection.
    pub stray_end: Word32,
    /// The other half's index.
    pub partner: Word32,
}
record!(FlowMore, 32);

/// Flags in [`FlowLine::status`], from bit 8 on.
pub mod status {
    /// Where in its life the line is: two bits.
    pub const LIFE: u32 = 3 << 8;
    /// Free.
    pub const EMPTY: u32 = 0;
    /// Being written by whoever took it.
    pub const BUSY: u32 = 1 << 8;
    /// In force.
    pub const LIVE: u32 = 2 << 8;
    /// Given up, not yet free.
    pub const DEAD: u32 = 3 << 8;
    /// This half answers the other.
    pub const REPLY: u32 = 4 << 8;
    /// A stranger opened the flow, by an uplink, and has not shown by TCP's handshake that it gets
    /// answers: it takes up a place of what its tenant has for that ([`super::held`]).
    pub const INBOUND: u32 = 8 << 8;
    /// The connection's state.
    pub const STATE: u32 = 0xff;
    /// What changes while the line is the same flow's.
    pub const CHANGES: u32 = STATE | INBOUND;
    /// One step of the sequence.
    pub const SEQUENCE: u32 = 1 << 16;
}

/// Flags in [`Judged::action`], from bit 24 on.
pub mod action {
    /// The next hop's index.
    pub const NEXT_HOP: u32 = 0x00ff_ffff;
    /// The flags, and how far they are up.
    pub const FLAGS: u32 = !NEXT_HOP;
    /// A router forwards it: MACs and TTL change.
    pub const ROUTED: u32 = 1 << 24;
    /// Policy denies it: in place of the next hop stands the stop.
    pub const DENIED: u32 = 2 << 24;
    /// A stateless policy is concerned: every packet is judged.
    pub const EACH: u32 = 4 << 24;
}

impl FlowCold {
    /// What the half-flow has forwarded: packets and bytes. What is carried over while we look
    /// is missing for that moment; nothing is counted twice.
    #[inline(always)]
    pub fn forwarded(&self, line: &FlowLine) -> (u64, u64) {
        let (packets, bytes) = (self.packets.load(), self.bytes.load());
        let (late_packets, late_bytes) = packed::split(line.counts.load());
        (packets + u64::from(late_packets), bytes + u64::from(late_bytes))
    }
}

/// Lines of a bucket. A key lives in the first of its two buckets unless that is nearly full.
/// Each bucket has a count of the keys that went from it to their second one: while there are
/// none, what is not in its first bucket is nowhere, and of memory that is far away half as much
/// is looked at.
pub const BUCKET_LINES: u32 = 8;

/// So many free lines of a bucket are for halves that flows go on with, and not for who begins one.
pub const KNOWN_LINES: u32 = 1;

/// So many more are not for what is [`status::INBOUND`]: strangers leave a quarter of the table to
/// those inside, however many tenants they send to.
pub const INSIDE_LINES: u32 = BUCKET_LINES / 4;

impl FlowLine {
    /// The key, which counts only between two equal looks at a `LIVE` status.
    #[inline(always)]
    pub fn key(&self) -> FlowKey {
        FlowKey::from_words([
            self.key[0].load(),
            self.key[1].load(),
            self.key[2].load(),
            self.key[3].load(),
            self.key[4].load(),
        ])
    }

    /// Does the line hold these words?
    #[inline(always)]
    pub fn has(&self, words: &[u64; 5]) -> bool {
        self.key[0].load() == words[0]
            && self.key[1].load() == words[1]
            && self.key[2].load() == words[2]
            && self.key[3].load() == words[3]
            && self.key[4].load() == words[4]
    }

    /// Writes the key of a line that the caller holds `BUSY`.
    #[inline(always)]
    pub fn set_key(&self, words: &[u64; 5]) {
        self.key[0].store(words[0]);
        self.key[1].store(words[1]);
        self.key[2].store(words[2]);
        self.key[3].store(words[3]);
        self.key[4].store(words[4]);
    }
}

/// Where a key is at home: a line of each of its two buckets, by a secret drawn at load, so that
/// nobody outside can aim at a bucket. `lines` is the table's size, a power of two.
#[inline(always)]
#[must_use]
pub fn homes(words: &[u64; 5], secret: &Secret, lines: u32) -> [u32; 2] {
    let hash = secret.hash(words);
    [hash as u32 & (lines - 1), (hash >> 32) as u32 & (lines - 1)]
}

/// The lines of the bucket that `home` is in: that one first, so that most keys are found where
/// they are looked for first.
#[inline(always)]
pub fn lines_of(home: u32) -> impl DoubleEndedIterator<Item = u32> {
    (0..BUCKET_LINES).map(move |way| home ^ way)
}

/// The bucket that a line is in.
#[inline(always)]
#[must_use]
pub const fn bucket_of(line: u32) -> u32 {
    line / BUCKET_LINES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_million_flows() {
        // 1M flows are 2M halves of 64 + 64 + 32 bytes: 320 MiB.
        let half = size_of::<FlowLine>() + size_of::<FlowCold>() + size_of::<FlowMore>();
        assert_eq!((2 << 20) * half, 320 << 20);
        // The hot part is a cache line, and what lies in it the key and six words of 32 bits.
        assert_eq!(size_of::<FlowLine>(), size_of::<FlowKey>() + 6 * 4);
    }

    #[test]
    fn strangers_have_half_of_a_quota_and_those_inside_all_of_it() {
        let (inside, inbound) = (2 * held::one(status::LIVE), 2 * held::one(status::INBOUND));
        let half = (0..5).fold(0_u64, |word, _| word + inbound);
        assert_eq!((held::all(half), held::inbound(half)), (10, 10));
        assert!(held::permits(24, half, inbound) && !held::permits(21, half, inbound));
        assert!(held::permits(12, half, inside) && !held::permits(11, half, inside));
        assert!(held::permits(2, 0, inbound) && held::permits(2, 0, inside));
        let agreed = half - 2 * held::AGREED;
        assert_eq!((held::all(agreed), held::inbound(agreed)), (10, 8));
        // Given back twice by whoever died: nobody is kept from anything.
        let twice = held::one(0).wrapping_sub(2 * held::one(0));
        assert_eq!((held::all(twice), held::inbound(twice)), (-1, 0));
        assert!(held::permits(8, twice, inbound) && held::permits(8, twice, inside));
        let both = 0_u64.wrapping_sub(held::one(status::INBOUND));
        assert_eq!((held::all(both), held::inbound(both)), (-1, -1));
    }

    #[test]
    fn counts_are_carried_over_before_they_overflow() {
        let (mut counts, mut carried) = (0_u32, (0_u64, 0_u64));
        let mut sum = (0_u64, 0_u64);
        for number in 0..100_000_u32 {
            let (packets, bytes) = (number % 9, number.wrapping_mul(0x9e37_79b9) % 16_385);
            sum = (sum.0 + u64::from(packets), sum.1 + u64::from(bytes));
            counts = counts.checked_add(packed::of(packets, bytes)).expect("it is carried over");
            if packed::is_full(counts) {
                let (packets, bytes) = packed::split(std::mem::take(&mut counts));
                carried = (carried.0 + u64::from(packets), carried.1 + u64::from(bytes));
            }
        }
        let (packets, bytes) = packed::split(counts);
        assert_eq!(sum, (carried.0 + u64::from(packets), carried.1 + u64::from(bytes)));
        assert_eq!((packed::of(9, 60), packed::of(1, 16_385)), (0, 0));
    }

    #[test]
    fn keys_survive_their_words() {
        let key = FlowKey {
            src: Addr::v4([10, 0, 0, 1]),
            dst: Addr::v6([7; 16]),
            src_port: [1, 2],
            dst_port: [3, 4],
            zone: [5, 6, 7],
            protocol: 8,
        };
        assert!(FlowKey::from_words(key.words()) == key);
        assert_eq!(key.zone(), 0x05_06_07);
        assert_eq!(key.in_zone(0x0a_0b_0c).zone(), 0x0a_0b_0c);
    }

    #[test]
    fn buckets_spread_evenly() {
        let lines = 1_u32 << 12;
        let mut load = vec![0_u32; lines as usize / BUCKET_LINES as usize];
        let secret = Secret::of([3, 4]);
        for flow in 0..lines {
            let key = FlowKey { src: Addr::v4(flow.to_be_bytes()), ..FlowKey::default() };
            for home in homes(&key.words(), &secret, lines) {
                load[(home / BUCKET_LINES) as usize] += 1;
            }
        }
        // 16 a bucket on average; 48 would be eight standard deviations away.
        assert!(load.iter().all(|&load| load < 48), "{:?}", load.iter().max());
    }
}
