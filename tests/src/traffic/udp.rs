//! Does a datagram arrive, from whom, and does the answer come back?

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Client, again, bound};
use crate::lab::Namespace;
use crate::process::SILENCE;

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpProbe {
    /// What arrived at the server, if anything did.
    pub arrived: Option<UdpArrival>,
    /// Whether the server's answer, with the same payload, came back to the client.
    pub answered: bool,
    /// The error that the client's socket was told instead, by ICMP or by its own kernel.
    pub refused: Option<ErrorKind>,
}

/// A datagram as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpArrival {
    /// Whom it is from, in the server's eyes.
    pub from: SocketAddr,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Sends one datagram to a server that answers it with the same payload.
pub fn udp_probe<'host>(
    client: impl Into<Client<'host>>,
    server: &Namespace,
    to: SocketAddr,
    payload: &[u8],
) -> Result<UdpProbe> {
    let Client { namespace, source } = client.into();
    let any: IpAddr = match to {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    let server = bound(|| server.in_ns(|| UdpSocket::bind((any, to.port()))))?;
    let client = namespace
        .in_ns(|| UdpSocket::bind((source.unwrap_or(any), 0)))?
        .context("binding the client")?;
    client.connect(to).with_context(|| format!("{}: connecting to {to}", namespace.name()))?;

    let mut probe = UdpProbe { arrived: None, answered: false, refused: None };
    if let Err(error) = client.send(payload) {
        probe.refused = Some(error.kind());
        return Ok(probe);
    }
    let mut buffer = [0; 0x1_0000];
    let deadline = Instant::now() + SILENCE;
    // An ICMP error may come before or after the datagram, so both sockets are asked in turn.
    while Instant::now() < deadline && !probe.answered && probe.refused.is_none() {
        if let Some((length, from)) = receive(&server, &mut buffer)? {
            let payload = buffer[..length].to_vec();
            // The way back is judged by whether the client receives it.
            let _ = server.send_to(&payload, from);
            probe.arrived = Some(UdpArrival { from, payload });
        }
        match receive(&client, &mut buffer) {
            Ok(Some((length, _))) => probe.answered |= buffer[..length] == *payload,
            Ok(None) => {}
            Err(error) => probe.refused = Some(error.kind()),
        }
    }
    Ok(probe)
}

/// Sends one datagram, and asks nobody whether it arrived.
pub fn udp_send<'host>(
    client: impl Into<Client<'host>>,
    to: SocketAddr,
    payload: &[u8],
) -> Result<()> {
    let Client { namespace, source } = client.into();
    let any: IpAddr = match to {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    let socket = namespace
        .in_ns(|| UdpSocket::bind((source.unwrap_or(any), 0)))?
        .context("binding the client")?;
    let sent = socket.send_to(payload, to);
    sent.with_context(|| format!("{}: sending to {to}", namespace.name())).map(drop)
}

/// A datagram, if one comes in a hundredth of a second.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<Option<(usize, SocketAddr)>> {
    socket.set_read_timeout(Some(Duration::from_millis(10)))?;
    match socket.recv_from(buffer) {
        Ok(received) => Ok(Some(received)),
        Err(error) if again(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
