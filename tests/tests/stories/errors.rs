//! Do ICMP errors reach whom they concern, and nobody else?

use std::io::ErrorKind;

use anyhow::{Context, Result};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::traffic::{TcpConn, udp_probe};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::town::{
    A, A_ADDRESSES, B, B_ADDRESSES, C, C_ADDRESSES, ROUTER, Site, Town, contains, judged,
};

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_error_about_a_flow_reaches_its_sender_and_a_forged_one_nobody() -> Result<()> {
    let lab = Lab::new("errors")?;
    let town = Town::build(&lab)?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let families = A_ADDRESSES.into_iter().zip(B_ADDRESSES).zip(C_ADDRESSES);

    for ((a, b), c) in families {
        let is_v6 = ip(a).is_ipv6();
        // Nobody listens there: the server's kernel says so, through the router, to the socket.
        let (at_a, at_b) = (Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?);
        let probe = udp_probe(&town.blue_a, &town.blue_a, (ip(b), 7005).into(), b"anybody?")?;
        assert_eq!(probe.refused, Some(ErrorKind::ConnectionRefused), "{probe:?}");

        // What the server's side says of an established connection is related; `unreachable`
        // makes it about other packets, or from other places.
        let conn = TcpConn::open(&town.blue_a, &town.blue_b, (ip(b), 7000).into())?;
        let port = conn.local_address()?.port();
        let quote = |from: &str, to: &str, from_port: u16, to_port: u16| {
            let inner = Frame::new(A, ROUTER).ip(from, to).ttl(63);
            inner.tcp(from_port, to_port, 16, 1, 1).payload(b"quoted by a test").packet()
        };
        let error = |mac: [u8; 6], from: &str, to: &str, quoted: &[u8], mark: &[u8; 4]| {
            // Too big: the next MTU stands where an unreachable has zeros.
            let (kind, code) = if is_v6 { (2, 0) } else { (3, 4) };
            let mtu = if is_v6 { [0, 0, 5, 0] } else { [0, 0, 2, 64] };
            let frame = Frame::new(mac, ROUTER).ip(from, to).icmp(kind, code, mtu);
            frame.payload(&[quoted, mark].concat()).build()
        };
        let own = quote(a, b, port, 7000);

        let before = sekisho.tally()?;
        town.blue_b.send_frame(&error(B, b, a, &own, b"true"))?;
        at_a.wait_for(PATIENCE, |seen| contains(&seen.bytes, b"true")).context("a true error")?;

        let forged = [
            // From a neighbour of the client's that never got the packet.
            (&town.blue_c, error(C, c, a, &own, b"fals")),
            // About a connection that is not there.
            (&town.blue_b, error(B, b, a, &quote(a, b, 1, 7000), b"fals")),
            // About the connection, but to somebody who did not send the quoted packet.
            (&town.blue_b, error(B, b, c, &own, b"fals")),
            // About the connection, from the end that sent the quoted packet itself.
            (&town.blue_a, error(A, a, b, &own, b"fals")),
        ];
        let count = forged.len() as u64;
        let at_c = Capture::start(&town.blue_c)?;
        for (host, frame) in &forged {
            host.send_frame(frame)?;
        }
        let forgery = |seen: &sekisho_tests::capture::Frame| contains(&seen.bytes, b"fals");
        for (name, capture) in [("a", &at_a), ("b", &at_b), ("c", &at_c)] {
            assert_eq!(capture.wait_for(SILENCE / 5, forgery), None, "at {name}");
        }
        let tally = sekisho.tally()?.since(&before)?;
        assert_eq!(tally.stopped("blue", "icmp_unrelated"), count, "{tally:?}");

        // The connection, with the path MTU that it was told, is unharmed.
        let mut conn = conn;
        conn.expect_alive()?;
        judged(at_a)?;
        judged(at_b)?;
    }
    Ok(())
}
