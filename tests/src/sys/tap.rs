//! How is a tap opened? (TUNSETIFF has no safe wrapper.)

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, ensure};
use nix::libc;

/// Creates a tap with a vnet header in the calling thread's namespace; it goes with the file.
pub(crate) fn open_tap(interface: &str) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("opening /dev/net/tun")?;
    ensure!(interface.len() < libc::IFNAMSIZ, "{interface} is too long for an interface");
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags.try_into()? },
    };
    #[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
    // SAFETY: the request is an ifreq that lives through the call, and its name ends in a zero.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if result != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("creating {interface}"));
    }
    Ok(file)
}
