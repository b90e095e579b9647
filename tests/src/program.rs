//! Which programs does a measurement need beside the one that is measured?

mod flows;
mod forward;
mod time;

pub use flows::{FLOWS_MAX, Field, Flows, Side};
pub use forward::{Forwarding, into_peer, sink_tcx};

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;

use crate::sys::bpf::{self, Attach, Kind};
use crate::sys::{Map, MapKind};

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

/// A program that takes its time, and shows how far it is.
#[derive(Debug)]
pub struct Slow {
    program: OwnedFd,
    word: Map,
}

impl Slow {
    /// One that asks for the time again and again: milliseconds.
    pub fn new() -> Result<Self> {
        /// Of which the verifier looks at each: of a million instructions, most.
        const TIMES: i32 = 200_000;
        const KTIME_GET_NS: i32 = 5;
        let word = Map::new(MapKind::Array, 8, 1)?;
        let mut program = bpf::map_value(bpf::R6, word.fd()).to_vec();
        program.extend([
            bpf::mov(bpf::R0, 1),
            bpf::store_double_of(bpf::R6, 0, bpf::R0),
            bpf::mov(bpf::R7, TIMES),
            bpf::call(KTIME_GET_NS),
            bpf::add(bpf::R7, -1),
            bpf::jump_if_not_equal(bpf::R7, 0, -3),
            bpf::mov(bpf::R0, 2),
            bpf::store_double_of(bpf::R6, 0, bpf::R0),
            bpf::mov(bpf::R0, DROP),
            bpf::exit(),
        ]);
        Ok(Self { program: bpf::load(Kind::Xdp, &program)?, word })
    }

    /// Runs it once, to its end.
    pub fn run(&self) -> Result<()> {
        bpf::test_run(&self.program, &[0; 64], 1, 0, 0).map(drop)
    }

    /// Is a run under way, which has begun and not ended?
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.word.get(0)?.first() == Some(&1))
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

    /// For others that go on with it.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// How long one run takes, on the same frame again and again.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<Duration> {
        bpf::test_run(&self.0, frame, repeat, 0, 0)
    }
}
