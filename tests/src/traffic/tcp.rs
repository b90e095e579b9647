//! Do bytes get through a TCP connection, now, later, or no more?

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, sockopt};
use nix::sys::time::TimeVal;

use super::{Client, again, bound, storage};
use crate::lab::Namespace;
use crate::process::PATIENCE;
use crate::sys::{TcpState, tcp_state};

/// After so many retransmissions without an acknowledgement a connection counts as cut; Linux
/// sends them after 0.2 and 0.6 seconds.
const RETRANSMITS: u8 = 2;

/// How often a thread looks whether it is to stop.
const TICK: Duration = Duration::from_millis(20);

/// A server in a host that returns what it is sent, to IPv4 and IPv6 clients.
#[derive(Debug)]
pub struct TcpEchoServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TcpEchoServer {
    /// Listens on `port`; it ends when dropped.
    pub fn start(host: &Namespace, port: u16) -> Result<Self> {
        let listener = listen(host, port)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let stop = Arc::clone(&stop);
                            thread::spawn(move || echo(stream, &stop));
                        }
                        Err(_) => thread::sleep(TICK / 10),
                    }
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for TcpEchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked shows at its clients.
            let _ = thread.join();
        }
    }
}

fn echo(mut stream: TcpStream, stop: &AtomicBool) {
    let mut buffer = vec![0; 0x1_0000];
    // The accepted socket does not inherit O_NONBLOCK on Linux.
    let _ = stream.set_read_timeout(Some(TICK));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) if stream.write_all(&buffer[..length]).is_err() => return,
            Ok(_) => {}
            Err(error) if again(&error) => {}
            Err(_) => return,
        }
    }
}

/// Connects, sends bytes to an echo server and receives them again, all `within` a time.
pub fn tcp_exchange<'host>(
    client: impl Into<Client<'host>>,
    to: SocketAddr,
    length: usize,
    within: Duration,
) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut stream = connect(client.into(), to, within)?;
    let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    // Sent by a second thread: neither side may wait for the other with its buffers full.
    let mut sending = stream.try_clone()?;
    sending.set_write_timeout(Some(within))?;
    thread::scope(|scope| {
        let sent = scope.spawn(|| -> Result<()> {
            sending.write_all(&bytes).context("sending")?;
            Ok(sending.shutdown(Shutdown::Write)?)
        });
        let received = receive_exactly(&mut stream, &bytes, deadline);
        if received.is_err() {
            // Wakes the sender up.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let sent = sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        received.and(sent)
    })
    .with_context(|| format!("exchanging {length} bytes with {to}"))
}

/// A connection between two hosts of the lab, of which the test has both ends.
#[derive(Debug)]
pub struct TcpConn {
    client: TcpStream,
    server: TcpStream,
    /// What the client has sent and the server has not received.
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Which bytes are sent next: no two messages are the same.
    number: u32,
}

impl TcpConn {
    /// Connects a client to a server that listens on the port of `to` for this one connection.
    pub fn open<'host>(
        client: impl Into<Client<'host>>,
        server: &Namespace,
        to: SocketAddr,
    ) -> Result<Self> {
        let listener = listen(server, to.port())?;
        let client = connect(client.into(), to, PATIENCE)?;
        let deadline = Instant::now() + PATIENCE;
        let server = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ensure!(Instant::now() < deadline, "{to} accepted no connection");
                    thread::sleep(TICK / 10);
                }
                Err(error) => return Err(error.into()),
            }
        };
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Self { client, server, to_server: Vec::new(), to_client: Vec::new(), number: 0 })
    }

    /// The client's address, as the server sees it.
    pub fn client_address(&self) -> Result<SocketAddr> {
        let seen = self.server.peer_addr()?;
        // The listener is an IPv6 socket, which sees IPv4 addresses mapped.
        Ok(SocketAddr::new(seen.ip().to_canonical(), seen.port()))
    }

    /// The client's own address.
    pub fn local_address(&self) -> Result<SocketAddr> {
        Ok(self.client.local_addr()?)
    }

    /// The client says something.
    pub fn send_to_server(&mut self) -> Result<()> {
        self.number += 1;
        send(&mut self.client, &mut self.to_server, self.number)
    }

    /// The server says something.
    pub fn send_to_client(&mut self) -> Result<()> {
        self.number += 1;
        send(&mut self.server, &mut self.to_client, self.number)
    }

    /// All that was sent arrives, in both directions. After a cut this may take as long as the
    /// kernel's pauses between retransmissions have grown.
    pub fn expect_delivered(&mut self) -> Result<()> {
        let deadline = Instant::now() + 2 * PATIENCE;
        receive_exactly(&mut self.server, &self.to_server, deadline).context("at the server")?;
        receive_exactly(&mut self.client, &self.to_client, deadline).context("at the client")?;
        self.to_server.clear();
        self.to_client.clear();
        Ok(())
    }

    /// Something is said in both directions, and arrives.
    pub fn expect_alive(&mut self) -> Result<()> {
        self.send_to_server()?;
        self.send_to_client()?;
        self.expect_delivered()
    }

    /// What the client has sent does not arrive, though its kernel sends it again and again. It
    /// stays outstanding: [`expect_delivered`](Self::expect_delivered) asks for it later.
    pub fn expect_cut_to_server(&self) -> Result<()> {
        expect_cut(&self.client, &self.server).context("from the client to the server")
    }

    /// What the server has sent does not arrive.
    pub fn expect_cut_to_client(&self) -> Result<()> {
        expect_cut(&self.server, &self.client).context("from the server to the client")
    }
}

fn send(stream: &mut TcpStream, outstanding: &mut Vec<u8>, number: u32) -> Result<()> {
    let message = format!("message {number}\n");
    stream.write_all(message.as_bytes())?;
    outstanding.extend(message.bytes());
    Ok(())
}

/// Waits until the sender's kernel has sent its oldest segment again several times, or has
/// given up, while nothing reached the receiver. It is the kernel's count that decides and not
/// a clock: an acknowledgement or a single byte received is an error at once.
fn expect_cut(sender: &TcpStream, receiver: &TcpStream) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    receiver.set_read_timeout(Some(TICK))?;
    loop {
        let mut byte = [0];
        match receiver.peek(&mut byte) {
            Ok(0) => bail!("the sender's end of the connection arrived"),
            Ok(_) => bail!("a byte arrived"),
            Err(error) if again(&error) => {}
            // It was reset: nothing will arrive any more.
            Err(_) => return Ok(()),
        }
        if sender.take_error()?.is_some() {
            return Ok(());
        }
        let TcpState { retransmits, unacked } = tcp_state(sender)?;
        ensure!(unacked > 0, "nothing is waiting for an acknowledgement");
        if retransmits >= RETRANSMITS {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "sent again only {retransmits} times");
    }
}

fn receive_exactly(stream: &mut TcpStream, expected: &[u8], deadline: Instant) -> Result<()> {
    let mut buffer = vec![0; 0x1_0000];
    let mut left = expected;
    while !left.is_empty() {
        let time = deadline.saturating_duration_since(Instant::now());
        let received = expected.len() - left.len();
        ensure!(!time.is_zero(), "only {received} of {} bytes arrived", expected.len());
        stream.set_read_timeout(Some(time))?;
        let wanted = left.len().min(buffer.len());
        match stream.read(&mut buffer[..wanted]) {
            Ok(0) => bail!("closed after {received} of {} bytes", expected.len()),
            Ok(length) => {
                let (now, later) = left.split_at(length);
                ensure!(buffer[..length] == *now, "other bytes than were sent, after {received}");
                left = later;
            }
            Err(error) if again(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("after {received} bytes")),
        }
    }
    Ok(())
}

/// A listener for IPv4 and IPv6 that does not block.
fn listen(host: &Namespace, port: u16) -> Result<TcpListener> {
    let listener = bound(|| host.in_ns(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))))
        .with_context(|| format!("{}: listening on port {port}", host.name()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects from a chosen source address, which the standard library cannot.
fn connect(client: Client<'_>, to: SocketAddr, within: Duration) -> Result<TcpStream> {
    let connecting = || -> Result<TcpStream> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // For connect(2), too, SO_SNDTIMEO is the deadline (socket(7)).
        let limit = TimeVal::new(within.as_secs().try_into()?, within.subsec_micros().into());
        socket::setsockopt(&socket, sockopt::SendTimeout, &limit)?;
        if let Some(source) = client.source {
            let source: (IpAddr, u16) = (source, 0);
            socket::bind(socket.as_raw_fd(), &storage(source.into()))?;
        }
        let deadline = Instant::now() + within;
        loop {
            match socket::connect(socket.as_raw_fd(), &storage(to)) {
                Ok(()) | Err(Errno::EISCONN) => return Ok(TcpStream::from(socket)),
                // A second connect(2) goes on waiting for the first.
                Err(Errno::EINTR) if Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        }
    };
    client
        .namespace
        .in_ns(connecting)?
        .with_context(|| format!("{}: connecting to {to}", client.namespace.name()))
}
