//! Meters: how much may pass now, of what a port or a router may send or receive?
//!
//! Each of a meter's two buckets, of bytes and of packets, is a generic cell rate algorithm
//! (ITU-T I.371, virtual scheduling): one word holds when the next would be due at the stated
//! rate, and what comes before that by more than the burst is refused. Time is counted in
//! steps of 2^-8 ns, round and round in 64 bits: two years.

use super::record;
use crate::tables::Tables;
use crate::word::Word64;

/// Steps of a meter's clock in a nanosecond.
pub const STEPS_PER_NS: u64 = 256;
/// Steps in a second.
pub const SECOND: u64 = STEPS_PER_NS * 1_000_000_000;

/// A meter's line. What is agreed never changes while a version in force names it.
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct Meter {
    /// Of bytes on the wire.
    bytes: Bucket,
    /// Of packets, in [parts](PARTS).
    packets: Bucket,
    /// Which of all that had this line it is; 0: nobody's.
    generation: Word64,
    /// 1: the clock is the exact one.
    is_exact: Word64,
}
record!(Meter, 64);

/// When the next is due, and what is agreed.
#[repr(C)]
#[derive(Default, Debug)]
struct Bucket {
    due: Word64,
    burst: Word64,
    /// Factor, and above it the shift.
    pace: Word64,
}

/// What is agreed of a meter, and of whom.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Nobody else ever has it, whatever number he has.
    pub generation: u32,
    /// Are the kernel's ticks too coarse for it?
    pub is_exact: bool,
    /// Of bytes.
    pub bytes: Pace,
    /// Of packets.
    pub packets: Pace,
}

/// How fast, and how much at once. The default is without limit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pace {
    /// How far the bucket may be ahead of the clock, in steps.
    pub burst: u64,
    /// What a byte, or a part of a packet, costs: so many steps, …
    pub factor: u32,
    /// … divided by two so often.
    pub shift: u32,
}

/// Packets are counted in so many parts, so that the price of one has no more bits than a byte's.
pub const PARTS: u64 = 256;
/// More than any packet has bytes, or all its segments parts.
const AMOUNT_MAX: u64 = 1 << 24;

impl Pace {
    /// What so much costs.
    #[inline(always)]
    #[must_use]
    pub const fn cost(self, amount: u64) -> u64 {
        let amount = if amount < AMOUNT_MAX { amount } else { AMOUNT_MAX };
        (amount * self.factor as u64) >> (self.shift & 63)
    }

    /// How far the bucket is ahead of the clock. What is further ahead than it can come is
    /// behind: it was idle for longer than half a turn, or the clock is another.
    #[inline(always)]
    const fn ahead(self, due: u64, now: u64) -> u64 {
        let ahead = due.wrapping_sub(now);
        if ahead > self.burst + self.cost(AMOUNT_MAX) { 0 } else { ahead }
    }

    /// May so much pass? One that is not ahead lets anything pass, however large.
    #[inline(always)]
    #[must_use]
    pub const fn has_room(self, due: u64, now: u64, amount: u64) -> bool {
        let ahead = self.ahead(due, now);
        ahead == 0 || ahead + self.cost(amount) <= self.burst
    }

    /// When the next is due after so much.
    #[inline(always)]
    #[must_use]
    pub const fn next(self, due: u64, now: u64, amount: u64) -> u64 {
        now.wrapping_add(self.ahead(due, now)).wrapping_add(self.cost(amount))
    }
}

/// So much passes, or asks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Packets, each segment of a GSO packet.
    pub packets: u32,
    /// Their bytes on the wire.
    pub bytes: u32,
}

impl Load {
    /// Bytes, and parts of packets.
    #[inline(always)]
    const fn amounts(self) -> [u64; 2] {
        [self.bytes as u64, self.packets as u64 * PARTS]
    }
}

impl Bucket {
    #[inline(always)]
    fn pace(&self) -> Pace {
        let pace = self.pace.load();
        Pace { burst: self.burst.load(), factor: pace as u32, shift: (pace >> 32) as u32 }
    }

    fn begin(&self, pace: Pace) {
        self.due.store(0);
        self.burst.store(pace.burst);
        self.pace.store(u64::from(pace.shift) << 32 | u64::from(pace.factor));
    }

    /// One that is lost to another CPU is tried once more; then the packet passes uncharged.
    #[inline(always)]
    fn charge<T: Tables>(&self, t: &T, now: u64, amount: u64) {
        let pace = self.pace();
        if pace.factor == 0 {
            return;
        }
        let due = self.due.load();
        if !t.swap(&self.due, due, pace.next(due, now, amount)) {
            let due = self.due.load();
            t.swap(&self.due, due, pace.next(due, now, amount));
        }
    }
}

impl Meter {
    /// Is its clock the exact one?
    #[inline(always)]
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_exact.load() != 0
    }

    /// May so much pass, by both buckets?
    #[inline(always)]
    #[must_use]
    pub fn has_room(&self, now: u64, load: Load) -> bool {
        let [bytes, parts] = load.amounts();
        self.bytes.pace().has_room(self.bytes.due.load(), now, bytes)
            && self.packets.pace().has_room(self.packets.due.load(), now, parts)
    }

    /// So much passes.
    #[inline(always)]
    pub fn charge<T: Tables>(&self, t: &T, now: u64, load: Load) {
        let [bytes, parts] = load.amounts();
        self.bytes.charge(t, now, bytes);
        self.packets.charge(t, now, parts);
    }

    /// What is agreed.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            generation: self.generation.load() as u32,
            is_exact: self.is_exact(),
            bytes: self.bytes.pace(),
            packets: self.packets.pace(),
        }
    }

    /// Makes it the meter of these terms, full, unless it is already: then it goes on. No
    /// packet may know its number but one that meets the same terms.
    pub fn agree(&self, terms: Terms) {
        if self.terms() == terms {
            return;
        }
        // Whoever comes after an end in between begins again.
        self.generation.store(0);
        self.bytes.begin(terms.bytes);
        self.packets.begin(terms.packets);
        self.is_exact.store(terms.is_exact.into());
        self.generation.store(terms.generation.into());
    }
}

/// What tests do by themselves.
#[cfg(not(target_arch = "bpf"))]
impl Meter {
    /// Both buckets are ahead until then.
    pub fn owe(&self, due: u64) {
        self.bytes.due.store(due);
        self.packets.due.store(due);
    }
}

/// What is agreed is reckoned where there is arithmetic of 128 bits.
#[cfg(not(target_arch = "bpf"))]
impl Pace {
    /// So many bits a second, and so many bytes at once.
    #[must_use]
    pub fn of_bits(per_second: u64, burst_bytes: u64) -> Self {
        Self::new(8 * u128::from(SECOND), per_second, burst_bytes)
    }

    /// So many packets a second, and so many at once.
    #[must_use]
    pub fn of_packets(per_second: u64, burst: u64) -> Self {
        Self::new(u128::from(SECOND / PARTS), per_second, burst * PARTS)
    }

    /// A unit costs `steps / per_second`: the factor has 31 bits of it.
    fn new(steps: u128, per_second: u64, burst: u64) -> Self {
        let per_second = u128::from(per_second.max(1));
        let rounded = |steps: u128| (steps + per_second / 2) / per_second;
        let fits = |shift: &u32| rounded(steps << *shift) < 1 << 31;
        let shift = (0..=40).rev().find(fits).unwrap_or(0);
        let factor = u32::try_from(rounded(steps << shift)).unwrap_or(u32::MAX);
        // At the price that it has: so much passes at once, to the last packet.
        let burst = (u128::from(burst) * u128::from(factor)) >> shift;
        Self { burst: u64::try_from(burst).unwrap_or(u64::MAX), factor, shift }
    }

    /// Is the kernel's tick a fine enough clock for packets of up to this amount? A packet that
    /// has waited passes up to a tick late. That costs nothing where the burst has room for two
    /// ticks beside the packet, and less than one percent where a packet that has none takes a
    /// hundred.
    #[must_use]
    pub fn suits_ticks(self, tick_ns: u64, largest: u64) -> bool {
        let tick = tick_ns.saturating_mul(STEPS_PER_NS);
        let slack = self.burst.saturating_sub(self.cost(largest));
        self.factor == 0 || slack >= 2 * tick || self.burst >= 101 * tick
    }
}

#[cfg(test)]
mod tests;
