//! What may this process do: install packages, load programs, make namespaces?

use std::fs;

use anyhow::{Result, ensure};

pub fn is_root() -> bool {
    effective_uid(&status()) == Some(0)
}

/// Loading and attaching programs needs both, and so do namespaces and interfaces.
/// Root in a container has often neither.
pub fn require_for_kernel() -> Result<()> {
    ensure!(
        may_use_kernel(&status()),
        "this needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN, to load packet programs and make \
         network namespaces: `sudo env PATH=\"$PATH\" HOME=\"$HOME\" cargo xtask ...`, in a \
         container with --privileged; `cargo xtask test --no-kernel` runs what needs no privilege"
    );
    Ok(())
}

/// proc(5), "/proc/pid/status".
fn status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

fn effective_uid(status: &str) -> Option<u32> {
    field(status, "Uid:")?.split_whitespace().nth(1)?.parse().ok()
}

fn may_use_kernel(status: &str) -> bool {
    const CAP_NET_ADMIN: u32 = 12; // linux/capability.h
    const CAP_SYS_ADMIN: u32 = 21;
    let effective = field(status, "CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    effective.is_some_and(|held| {
        [CAP_NET_ADMIN, CAP_SYS_ADMIN].iter().all(|capability| held >> capability & 1 == 1)
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_is_read_from_the_process() {
        let user = "Name:\tx\nUid:\t0\t1000\t0\t0\nCapEff:\t0000000000000000\n";
        let root = "Name:\tx\nUid:\t1000\t0\t0\t0\nCapEff:\t000001ffffffffff\n";
        let container = "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\n"; // docker's default
        assert_eq!(effective_uid(user), Some(1000));
        assert_eq!(effective_uid(root), Some(0));
        assert_eq!(effective_uid(""), None);
        assert!(!may_use_kernel(user));
        assert!(may_use_kernel(root));
        assert!(!may_use_kernel(container));
        assert!(!may_use_kernel(""));
    }
}
