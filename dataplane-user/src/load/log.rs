//! What do the programs say of themselves?
//!
//! They log only what should never happen: a record that another one promises and
//! that is missing, a stage that is not loaded. Packets are counted, not logged.

use aya::Ebpf;
use aya_log::EbpfLogger;

/// The programs' messages, on their way to standard error.
pub struct ProgramLog(EbpfLogger<&'static StandardError>);

/// Prints each message on a line.
pub struct StandardError;

impl log::Log for StandardError {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("sekisho: program: {}", record.args());
    }

    fn flush(&self) {}
}

impl ProgramLog {
    /// Of these programs; `None` if the object was built without messages.
    pub fn of(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init_with_logger(ebpf, &StandardError).ok().map(Self)
    }

    /// Tells what has come since the last time.
    pub fn tell(&mut self) {
        self.0.flush();
    }
}
