//! Which programs does a measurement need beside the one that is measured?

mod flows;
mod forward;
mod time;

pub use flows::{FLOWS_MAX, Field, Flows, Side};
pub use forward::{Forwarding, into_peer, sink_tcx};

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Result;

use crate::sys::bpf::{self, Attach, Kind};

/// A program of a few instructions.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// A program at an interface, until it is dropped.
#[derive(Debug)]
pub struct Attached {
    _link: OwnedFd,
}

impl Attached {
    fn new(program: &OwnedFd, interface: &str, attach: Attach) -> Result<Self> {
        Ok(Self { _link: bpf::link(program, interface, attach)? })
    }
}

/// XDP_DROP and the helper bpf_redirect_map, <linux/bpf.h>.
const DROP: i32 = 1;
const REDIRECT_MAP: i32 = 51;

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

    /// Attaches it, in the calling thread's namespace.
    pub fn attach(&self, interface: &str) -> Result<Attached> {
        Attached::new(&self.0, interface, Attach::Xdp)
    }

    /// How long one run takes, on the same frame again and again.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<Duration> {
        bpf::test_run(&self.0, frame, repeat, 0, 0)
    }
}
