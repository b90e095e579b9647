//! What do the hosts say to each other?
//!
//! Real sockets and real programs, each with a deadline for the whole. That something arrives is
//! said as soon as it has; that nothing arrives is said after a silence, and for TCP only once
//! the sender's kernel has sent it again and again.

mod icmp;
mod tcp;
mod udp;

pub use icmp::{Hop, IcmpError, PingResult, ping, tracepath, traceroute};
pub use tcp::{TcpConn, TcpEchoServer, tcp_exchange};
pub use udp::{UdpArrival, UdpProbe, udp_probe, udp_send};

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::SockaddrStorage;

use crate::lab::{Host, Namespace};
use crate::process::PATIENCE;

/// Who starts: a host, or one of the addresses of a host that has several.
#[derive(Clone, Copy, Debug)]
pub struct Client<'host> {
    namespace: &'host Namespace,
    source: Option<IpAddr>,
}

impl Host {
    /// This host, speaking from one of its addresses: a line of an access, for instance.
    pub fn from(&self, source: impl Into<IpAddr>) -> Client<'_> {
        Client { namespace: self, source: Some(source.into()) }
    }
}

impl<'host> From<&'host Host> for Client<'host> {
    fn from(host: &'host Host) -> Self {
        Self { namespace: host, source: None }
    }
}

/// With the source address that the kernel chooses.
impl<'host> From<&'host Namespace> for Client<'host> {
    fn from(namespace: &'host Namespace) -> Self {
        Self { namespace, source: None }
    }
}

impl<'host> From<(&'host Namespace, IpAddr)> for Client<'host> {
    fn from((namespace, source): (&'host Namespace, IpAddr)) -> Self {
        Self { namespace, source: Some(source) }
    }
}

/// What `bind` binds. The socket before on this port may be there for a moment still: a process
/// that another test is about to start has a copy of it until it begins its program.
pub fn bound<S>(bind: impl Fn() -> Result<io::Result<S>>) -> Result<S> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bind()? {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            bound => return Ok(bound?),
        }
    }
}

/// Whether a socket with a timeout just has nothing yet. A socket call that has a timeout is
/// interrupted when the process is stopped and continued, even without a handler (signal(7)).
fn again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// An address for nix.
fn storage(address: SocketAddr) -> SockaddrStorage {
    match address {
        SocketAddr::V4(address) => address.into(),
        SocketAddr::V6(address) => address.into(),
    }
}

/// The first address inside a line such as "From fd00::1%eth0 (…): text".
fn first_address(text: &str) -> Result<IpAddr> {
    text.split(|letter: char| letter.is_whitespace() || "()%,".contains(letter))
        .map(|word| word.trim_end_matches(':'))
        .find_map(|word| word.parse().ok())
        .with_context(|| format!("no address in {text:?}"))
}
