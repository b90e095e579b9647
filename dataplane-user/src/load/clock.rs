//! What time is it for the packet programs?
//!
//! They reckon flows' time from the kernel's ticks, which no call tells us. But ticks and the
//! coarse monotonic clock go on together, so it is enough to ask a program now and then how far
//! they are apart: time is corrected by half a second in a thousand at most, ticks are not.

use std::sync::atomic::{AtomicU32, Ordering};

use aya::Ebpf;
use rustix::time::{ClockId, clock_getres, clock_gettime};

use super::{Error, testrun};

/// The clock of flows: steps of 2^20 ns.
#[derive(Debug)]
pub struct Clock {
    ahead_ticks: AtomicU32,
}

impl Clock {
    /// The clock of these programs.
    pub fn of(ebpf: &Ebpf) -> Result<Self, Error> {
        let clock = Self { ahead_ticks: AtomicU32::new(0) };
        clock.set(ebpf)?;
        Ok(clock)
    }

    /// Sets it right.
    pub fn set(&self, ebpf: &Ebpf) -> Result<(), Error> {
        let ahead_ticks = testrun::clock(ebpf)?.wrapping_sub(coarse_ticks());
        self.ahead_ticks.store(ahead_ticks, Ordering::Relaxed);
        Ok(())
    }

    /// What it shows.
    pub fn now_ticks(&self) -> u32 {
        coarse_ticks().wrapping_add(self.ahead_ticks.load(Ordering::Relaxed))
    }
}

/// Nanoseconds between two of the kernel's ticks: its coarse clock is as coarse as they are.
pub fn tick_ns() -> u64 {
    clock_getres(ClockId::MonotonicCoarse).tv_nsec as u64
}

fn coarse_ticks() -> u32 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let now_ns = (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64);
    (now_ns >> 20) as u32
}
