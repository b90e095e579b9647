//! When has every packet that might still use an old record left?
//!
//! After `membarrier(MEMBARRIER_CMD_GLOBAL)`, which waits for an RCU grace period (8 to
//! 20 ms), and programs run inside one. With one CPU online it returns at once, rightly:
//! programs run with bottom halves off, so none is under way while we run. The
//! expedited commands interrupt a running program and are no barriers for us.

use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};

use super::Error;

/// Refuses a kernel that could not tell.
pub fn require() -> Result<(), Error> {
    if membarrier_query().contains_command(MembarrierCommand::Global) {
        Ok(())
    } else {
        Err(Error::NoMembarrier)
    }
}

/// Waits until no packet is under way that was under way at the call.
pub fn wait() -> Result<(), Error> {
    membarrier(MembarrierCommand::Global).map_err(|error| Error::Grace { source: error.into() })
}
