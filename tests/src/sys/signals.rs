//! How are signals received by a thread, without blocking them in every child?

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::Result;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Where the handler writes to; the pipe is never closed.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals in the order in which they came.
pub(crate) struct Signals(File);

impl Signals {
    /// Waits for the next signal and returns its number.
    pub(crate) fn wait(&self) -> io::Result<i32> {
        let mut number = [0];
        (&self.0).read_exact(&mut number)?;
        Ok(number[0].into())
    }
}

extern "C" fn note(number: libc::c_int) {
    let byte = number.to_le_bytes()[0];
    #[expect(unsafe_code, reason = "a signal handler may call little more than write(2)")]
    // SAFETY: the pointer is to one byte that lives through the call; write is safe in a
    // signal handler, and the descriptor stays open for the life of the process.
    unsafe {
        libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
    }
}

/// Takes over `signals`, once in a process.
pub(crate) fn signals_as_stream(signals: &[Signal]) -> Result<Signals> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
    // Kept open for the handler.
    let _ = write.into_raw_fd();
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in signals {
        #[expect(unsafe_code, reason = "installing a signal handler")]
        // SAFETY: `note` only calls write(2) and touches no lock and no allocation.
        unsafe {
            sigaction(*signal, &action)?;
        }
    }
    Ok(Signals(File::from(read)))
}
