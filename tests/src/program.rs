//! Which programs does a measurement need beside the one that is measured?

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;

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

    /// Attaches it, in the calling thread's namespace.
    pub fn attach(&self, interface: &str) -> Result<Attached> {
        Ok(Attached { _link: bpf::link(&self.0, interface, Attach::Xdp)? })
    }

    /// How long one run takes, on the same frame again and again.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<Duration> {
        bpf::test_run(&self.0, frame, repeat, 0, 0)
    }

    /// Makes so many frames and does with each what the program says; returns when all have
    /// gone where they go.
    pub fn generate(&self, frame: &[u8], count: u32) -> Result<()> {
        ensure!(count <= 1 << 22, "{count} frames at a time");
        bpf::test_run(&self.0, frame, count, LIVE_FRAMES, BATCH).map(drop)
    }
}
