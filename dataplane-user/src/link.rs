//! How is a whole frame sent on an interface? By a packet socket that hears nothing.

use std::{
    io,
    mem::size_of_val,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::{libc, net::if_::if_nametoindex};

/// Sends a frame on an interface of the calling thread's namespace.
pub fn send(interface: &str, frame: &[u8]) -> io::Result<()> {
    send_at(if_nametoindex(interface)?, frame)
}

/// The same, to the interface of this number.
pub fn send_at(index: u32, frame: &[u8]) -> io::Result<()> {
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
