//! How does a test put whole frames on a host's cable and take them off it, many in a row?
//!
//! What one thread sends from one CPU goes through veths and the namespaces between
//! them in the order of sending: every device hands its frames to that CPU's backlog.
//! So a frame that arrives proves that all before it have had their end
//! ([`stay_on_one_cpu`]).

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::Host;
use crate::sys::PacketSocket;

/// The test's end of a host's cable, from now on.
pub struct Wire {
    sender: PacketSocket,
    receiver: PacketSocket,
}

impl fmt::Debug for Wire {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Wire")
    }
}

impl Wire {
    /// At this host's link.
    pub fn new(host: &Host) -> Result<Self> {
        host.in_ns(|| {
            Ok(Self {
                sender: PacketSocket::for_sending(host.link())?,
                receiver: PacketSocket::for_receiving(host.link())?,
            })
        })?
    }

    /// The host sends this frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.sender.send(frame)
    }

    /// The next frame that arrived at the host; none if none comes in this time.
    pub fn receive(&mut self, within: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(arrived) = self.receiver.receive()? {
                return Ok(Some(arrived.bytes));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.receiver.wait(left)?;
        }
    }

    /// That no frame was lost because it was not taken in time.
    pub fn check_lost(&self) -> Result<()> {
        let lost = self.receiver.lost()?;
        ensure!(lost == 0, "{lost} frames were lost at the receiver");
        Ok(())
    }
}

/// Keeps the calling thread, and what it starts, on the CPU that it is on.
pub fn stay_on_one_cpu() -> Result<()> {
    stay_on_cpu(sched_getcpu()?)
}

/// Keeps the calling thread, and what it starts, on this CPU.
pub fn stay_on_cpu(cpu: usize) -> Result<()> {
    let mut own = CpuSet::new();
    own.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &own).with_context(|| format!("CPU {cpu}"))
}
