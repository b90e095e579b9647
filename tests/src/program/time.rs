//! What time of a CPU does a measurement take?

use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

use crate::lab::stay_on_cpu;

/// Does the work on a thread that stays on one CPU, and returns what time of it was used: by
/// the thread, and by the kernel's own thread for what it was too busy to do at once.
pub fn on_cpu(cpu: usize, work: impl FnOnce() -> Result<()> + Send) -> Result<Duration> {
    let late = Late::of(cpu)?;
    let timed = || -> Result<Duration> {
        stay_on_cpu(cpu)?;
        let late_before = late.used()?;
        let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        work()?;
        let after = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let own = Duration::from(after).saturating_sub(before.into());
        Ok(own + late.used()?.saturating_sub(late_before))
    };
    thread::scope(|scope| match scope.spawn(timed).join() {
        Ok(took) => took,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// ksoftirqd of a CPU.
struct Late {
    pid: u32,
}

impl Late {
    fn of(cpu: usize) -> Result<Self> {
        let name = format!("ksoftirqd/{cpu}\n");
        let is_it = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == name)
        };
        let all = fs::read_dir("/proc")?.flatten();
        let pid = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it);
        Ok(Self { pid: pid.with_context(|| format!("no {}", name.trim_end()))? })
    }

    /// proc(5), "/proc/pid/schedstat": nanoseconds on the CPU.
    fn used(&self) -> Result<Duration> {
        let path = format!("/proc/{}/schedstat", self.pid);
        let text = fs::read_to_string(&path).context(path)?;
        let nanoseconds = text.split(' ').next().context("an empty schedstat")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }
}
