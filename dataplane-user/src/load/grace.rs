//! When has every packet that might still use an old record left?
//!
//! After `membarrier(MEMBARRIER_CMD_GLOBAL)`, which waits for an RCU grace period (8 to
//! 20 ms), and programs run inside one. With one CPU online it returns at once, rightly:
//! programs run with bottom halves off, so none is under way while we run. The
//! expedited commands interrupt a running program and are no barriers for us.
//!
//! A kernel with `nohz_full` has no such membarrier. There it is the update of a map of maps
//! that waits as long, so that whoever exchanges a map there knows that no program has the old
//! one (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c).

use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};

use super::Error;

/// The map of maps that programs have for it.
pub const SLOT: &str = "GRACE";

/// By what it is found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Barrier {
    /// By membarrier if there is one, else by the slot.
    #[default]
    Any,
    /// By the slot of a map of maps.
    Slot,
}

/// Waits for packets.
pub enum Grace {
    /// By membarrier.
    Membarrier,
    /// By putting a map into the slot.
    Slot(Box<Mutex<Slot>>),
}

/// The slot, and what is put into it.
pub struct Slot {
    slot: ArrayOfMaps<MapData, Array<MapData, u32>>,
    map: Array<MapData, u32>,
}

impl Grace {
    /// What this kernel has of it; `slot` is [`SLOT`].
    pub fn of(barrier: Barrier, slot: Map) -> Result<Self, Error> {
        let has_membarrier = membarrier_query().contains_command(MembarrierCommand::Global);
        if barrier == Barrier::Any && has_membarrier {
            return Ok(Self::Membarrier);
        }
        let failed = |source| Error::Map { name: SLOT, source };
        let map = Array::create(1, 0).map_err(failed)?;
        Ok(Self::Slot(Box::new(Mutex::new(Slot { slot: slot.try_into().map_err(failed)?, map }))))
    }

    /// Waits until no packet is under way that was under way at the call.
    pub fn wait(&self) -> Result<(), Error> {
        match self {
            Self::Membarrier => membarrier(MembarrierCommand::Global)
                .map_err(|error| Error::Grace { source: error.into() }),
            Self::Slot(own) => {
                let Slot { slot, map } = &mut *own.lock().unwrap_or_else(PoisonError::into_inner);
                slot.set(0, map, 0).map_err(|source| Error::Map { name: SLOT, source })
            }
        }
    }
}
