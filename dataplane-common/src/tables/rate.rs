//! How often may something be done?

use crate::limits;

/// How often may something be done? A generic cell rate algorithm (ITU-T I.371):
/// one word holds when the next would be due at the stated rate; what comes before
/// that by more than the burst allows is refused.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    interval_ns: u64,
    burst_ns: u64,
}

impl Rate {
    /// ICMP errors.
    pub const REPORTS: Self = Self::new(limits::REPORTS_PER_SECOND, limits::REPORTS_BURST);
    /// Copies of broadcast and multicast frames.
    pub const COPIES: Self = Self::new(limits::COPIES_PER_SECOND, limits::COPIES_BURST);

    /// Addresses that ports say they have now.
    pub const CLAIMS: Self = Self::new(limits::CLAIMS_PER_SECOND, limits::CLAIMS_BURST);
    /// MACs of next hops on a link.
    pub const HEARD: Self = Self::new(limits::HEARD_PER_SECOND, limits::HEARD_BURST);

    /// So often a second, and so often at once.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let interval_ns = 1_000_000_000 / per_second as u64;
        Self { interval_ns, burst_ns: interval_ns * burst as u64 }
    }

    /// The word after `count` more, or `None` if they may not be now.
    #[inline(always)]
    #[must_use]
    pub const fn next(self, due_ns: u64, now_ns: u64, count: u32) -> Option<u64> {
        let due_ns = if due_ns > now_ns { due_ns } else { now_ns };
        let next_ns = due_ns + self.interval_ns * count as u64;
        if next_ns > now_ns + self.burst_ns { None } else { Some(next_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{REPORTS_BURST, REPORTS_PER_SECOND};

    #[test]
    fn a_burst_then_the_rate() {
        let (mut due, mut made) = (0, 0);
        let second = 1_000_000_000;
        let start = 5 * second;
        for step in 0..1000_u64 {
            if let Some(next) = Rate::REPORTS.next(due, start + step * second / 1000, 1) {
                due = next;
                made += 1;
            }
        }
        assert_eq!(made, REPORTS_BURST + REPORTS_PER_SECOND - 1);
    }

    #[test]
    fn many_at_once_count_as_many() {
        let start = 5_000_000_000;
        let all = Rate::COPIES.next(0, start, limits::COPIES_BURST).expect("as many as at once");
        assert_eq!(Rate::COPIES.next(all, start, 1), None);
        assert!(Rate::COPIES.next(all, start + Rate::COPIES.interval_ns, 1).is_some());
        assert_eq!(Rate::COPIES.next(0, start, limits::COPIES_BURST + 1), None);
    }
}
