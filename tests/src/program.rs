//! Which programs does a measurement need beside the one that is measured?

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::sys::bpf::{self, Attach, Kind, LIVE_FRAMES};

/// A program of a few instructions.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// A program at XDP of an interface, until it is dropped.
#[derive(Debug)]
pub struct Attached {
    _link: OwnedFd,
}

/// XDP_DROP and the helper bpf_redirect, <linux/bpf.h>.
const DROP: i32 = 1;
const REDIRECT: i32 = 23;
/// Frames that the kernel makes at once, its own default.
const BATCH: u32 = 64;

impl Program {
    /// One that does nothing, at XDP.
    pub fn empty_xdp() -> Result<Self> {
        Self::dropping()
    }

    /// One that does nothing, at tcx.
    pub fn empty_tc() -> Result<Self> {
        Ok(Self(bpf::load(Kind::SchedCls, &[bpf::mov(bpf::R0, 0), bpf::exit()])?))
    }

    /// One that drops every frame.
    pub fn dropping() -> Result<Self> {
        Ok(Self(bpf::load(Kind::Xdp, &[bpf::mov(bpf::R0, DROP), bpf::exit()])?))
    }

    /// One that sends every frame to an interface of the calling thread's namespace.
    pub fn redirecting(interface: &str) -> Result<Self> {
        let index = if_nametoindex(interface)?.try_into()?;
        let program =
            [bpf::mov(bpf::R1, index), bpf::mov(bpf::R2, 0), bpf::call(REDIRECT), bpf::exit()];
        Ok(Self(bpf::load(Kind::Xdp, &program)?))
    }

    /// One that makes every frame this one, and sends it to an interface of the calling
    /// thread's namespace: the kernel reuses the memory of frames that others have changed.
    pub fn sending(frame: &[u8], interface: &str) -> Result<Self> {
        let index = if_nametoindex(interface)?.try_into()?;
        let (words, rest) = frame.as_chunks::<4>();
        ensure!(rest.is_empty() && words.len() < 64, "a frame of {} bytes", frame.len());
        let mut program = vec![
            bpf::load_word(bpf::R2, bpf::R1, bpf::XDP_DATA),
            bpf::load_word(bpf::R3, bpf::R1, bpf::XDP_DATA_END),
            bpf::mov_register(bpf::R4, bpf::R2),
            bpf::add(bpf::R4, frame.len().try_into()?),
            bpf::mov(bpf::R0, DROP),
            bpf::jump_if_greater(bpf::R4, bpf::R3, i16::try_from(words.len())? + 3),
        ];
        for (number, word) in (0..).zip(words) {
            program.push(bpf::store_word(bpf::R2, 4 * number, i32::from_ne_bytes(*word)));
        }
        program.extend([
            bpf::mov(bpf::R1, index),
            bpf::mov(bpf::R2, 0),
            bpf::call(REDIRECT),
            bpf::exit(),
        ]);
        Ok(Self(bpf::load(Kind::Xdp, &program)?))
    }

    /// Attaches it, in the calling thread's namespace.
    pub fn attach(&self, interface: &str) -> Result<Attached> {
        Ok(Attached { _link: bpf::link(&self.0, interface, Attach::Xdp)? })
    }

    /// How long one run takes, on the same frame again and again.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<Duration> {
        bpf::test_run(&self.0, frame, repeat, 0, 0)
    }

    /// Makes so many frames and does with each what the program says; returns when all have
    /// gone where they go, and what CPU time that took.
    pub fn generate(&self, frame: &[u8], count: u32) -> Result<Duration> {
        ensure!(count <= 1 << 22, "{count} frames at a time");
        // What frames cause is done by the CPU that made them.
        let mut own = CpuSet::new();
        own.set(sched_getcpu()?)?;
        sched_setaffinity(Pid::from_raw(0), &own)?;
        let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        bpf::test_run(&self.0, frame, count, LIVE_FRAMES, BATCH)?;
        let after = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        Ok(Duration::from(after).saturating_sub(before.into()))
    }
}
