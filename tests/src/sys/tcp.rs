//! What does the kernel know of a TCP connection? (`TCP_INFO` has no safe wrapper.)

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use anyhow::Result;
use nix::libc;

/// The parts of `struct tcp_info` that the lab asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpState {
    /// How often the oldest segment was sent again.
    pub(crate) retransmits: u8,
    /// Segments that were sent and not acknowledged.
    pub(crate) unacked: u32,
}

/// Asks for the state of a connection.
pub(crate) fn tcp_state(stream: &TcpStream) -> Result<TcpState> {
    // <linux/tcp.h>: tcpi_retransmits is the third byte, tcpi_unacked the seventh word.
    let mut info = [0_u8; 28];
    let mut length: libc::socklen_t = 28;
    #[expect(unsafe_code, reason = "TCP_INFO has no safe wrapper")]
    // SAFETY: the kernel writes at most `length` bytes into `info`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let [.., a, b, c, d] = info;
    Ok(TcpState { retransmits: info[2], unacked: u32::from_ne_bytes([a, b, c, d]) })
}
