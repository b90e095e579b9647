//! How is a whole frame sent on an interface? By a packet socket that hears nothing.

use std::{
    collections::HashMap,
    io,
    mem::size_of_val,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::{libc, net::if_::if_nametoindex};

/// Sends frames of our own, and counts them: they are in no counter of the programs.
#[derive(Default)]
pub struct Sender {
    /// By interface and VLANs.
    sent: HashMap<(String, u32), u64>,
    /// Interfaces that refused a frame, once for each.
    refused: Vec<String>,
}

impl Sender {
    /// Sends a frame. By an interface that is down or gone nobody is reached.
    pub fn send(&mut self, interface: &str, vlans: u32, frame: &[u8]) {
        /// What a device that takes no frame makes of sending (asm-generic/errno.h).
        const ENOBUFS: i32 = 105;
        match send(interface, frame) {
            Ok(()) => *self.sent.entry((interface.to_owned(), vlans)).or_default() += 1,
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                self.refused.push(interface.to_owned());
            }
            Err(_) => {}
        }
    }

    /// How many frames were sent there.
    #[must_use]
    pub fn sent(&self, interface: &str, vlans: u32) -> u64 {
        self.sent.get(&(interface.to_owned(), vlans)).copied().unwrap_or(0)
    }

    /// Interfaces that refused a frame since the last call, once for each frame.
    pub fn take_refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }
}

/// Sends a frame on an interface of the calling thread's namespace.
fn send(interface: &str, frame: &[u8]) -> io::Result<()> {
    let index = if_nametoindex(interface)?;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[expect(unsafe_code, reason = "nix knows no packet socket without a protocol")]
    // SAFETY: no pointer is passed; the descriptor is open, and nobody else's.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, kind, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        // No protocol: what arrives costs the interface nothing.
        sll_protocol: 0,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    #[expect(unsafe_code, reason = "nix makes no sockaddr_ll from an index")]
    // SAFETY: the address is a sockaddr_ll of the length that is passed.
    let refused = unsafe {
        let bytes = size_of_val(&address) as libc::socklen_t;
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), bytes)
    };
    if refused != 0 {
        return Err(io::Error::last_os_error());
    }
    nix::unistd::write(&socket, frame)?;
    Ok(())
}
