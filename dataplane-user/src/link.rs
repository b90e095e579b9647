//! How are whole frames sent and received on an interface? By a packet socket.

use std::{
    io,
    mem::size_of_val,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::Instant,
};

use nix::{
    libc,
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// The longest frame that is looked at.
const FRAME_BYTES_MAX: usize = 2048;

/// A packet socket on one interface of the calling thread's namespace.
pub struct Link {
    socket: OwnedFd,
}

impl Link {
    /// Opens the interface; every frame that arrives from now on can be received.
    pub fn open(interface: &str) -> io::Result<Self> {
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
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
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
        if refused == 0 { Ok(Self { socket }) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        nix::unistd::write(&self.socket, frame)?;
        Ok(())
    }

    /// The next frame, unless none comes until then.
    pub fn receive(&self, until: Instant) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0; FRAME_BYTES_MAX];
        loop {
            match nix::unistd::read(&self.socket, &mut frame) {
                Ok(bytes) => {
                    frame.truncate(bytes);
                    return Ok(Some(frame));
                }
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut waiting, timeout) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
