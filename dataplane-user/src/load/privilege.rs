//! May this process load programs and attach them?

use std::fs;

use super::Error;

/// Bits of a capability set (linux/capability.h).
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Refuses, in words, what the kernel would refuse piece by piece.
pub fn require() -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    // Where it cannot be known, the kernel decides.
    let Some(have) = effective else { return Ok(()) };
    let may_load = have & SYS_ADMIN != 0 || have & (BPF | PERFMON) == BPF | PERFMON;
    if may_load && have & NET_ADMIN != 0 {
        return Ok(());
    }
    Err(Error::Unprivileged { user: rustix::process::geteuid().as_raw() })
}
