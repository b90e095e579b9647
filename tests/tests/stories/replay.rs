//! Can a port speak in another port's established connection?

use std::net::SocketAddr;

use anyhow::{Context, Result};
use sekisho_tests::build::{Frame, ip, tcp};
use sekisho_tests::process::SILENCE;
use sekisho_tests::traffic::TcpConn;
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{A, A_ADDRESSES, B, B_ADDRESSES, C, ROUTER, Site, Town, contains, host, judged};

const MARKER: &[u8] = b"a stranger's words";

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_port_that_replays_an_established_connection_is_stopped() -> Result<()> {
    let lab = Lab::new("replay")?;
    let town = Town::build(&lab)?;
    const D: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];
    let beside_b = host(&lab, "blue-d", D, ["10.1.0.40", "fd00:1::40"])?;
    let site = Site::town().after(
        "interface: blue-b",
        "      - {name: d, network: public, interface: blue-d, mac: 02:00:00:00:00:0d, fixed_ips: [10.1.0.40, \"fd00:1::40\"], security_groups: [client]}",
    );
    let sekisho = Sekisho::start(&lab, &site.0)?;

    for (a, b) in A_ADDRESSES.into_iter().zip(B_ADDRESSES) {
        let mut conn = TcpConn::open(&town.blue_a, &town.blue_b, (ip(b), 7000).into())?;
        conn.expect_alive()?;
        let (at_a, at_b) = (Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?);
        let before = sekisho.tally()?;
        let port = conn.local_address()?.port();

        // In its own MAC the attacker has an address that is not its own; in the victim's, it
        // is a station that is not on its attachment. Data, a reset, and a first segment.
        let attack = |host: &Host, mac, from: SocketAddr, to: SocketAddr| -> Result<()> {
            for flags in [tcp::ACK, tcp::RST, tcp::RST | tcp::ACK, tcp::SYN, tcp::FIN | tcp::ACK] {
                let frame = Frame::new(mac, ROUTER)
                    .ip(&from.ip().to_string(), &to.ip().to_string())
                    .tcp(from.port(), to.port(), flags, 1, 1)
                    .payload(MARKER);
                host.send_frame(&frame.build())?;
            }
            Ok(())
        };
        let (client, server): (SocketAddr, SocketAddr) =
            ((ip(a), port).into(), (ip(b), 7000).into());
        for mac in [C, A] {
            attack(&town.blue_c, mac, client, server)?;
        }
        // The answering half is its own flow, with its own owner.
        for mac in [D, B] {
            attack(&beside_b, mac, server, client)?;
        }
        // The other tenant's port has the same address and the same MAC: to its own router the
        // segments are its own, and they end there.
        attack(&town.red_a, A, client, server)?;

        conn.expect_alive().context("the victim's connection")?;
        let mark = |seen: &sekisho_tests::capture::Frame| contains(&seen.bytes, MARKER);
        assert_eq!(at_a.wait_for(SILENCE / 3, mark), None, "at the client");
        assert_eq!(at_b.wait_for(SILENCE / 3, mark), None, "at the server");
        let tally = sekisho.tally()?.since(&before)?;
        assert_eq!(tally.stopped("blue", "spoofed_address"), 10, "{tally:?}");
        assert_eq!(tally.stopped("blue", "unknown_station"), 10, "{tally:?}");
        judged(at_a)?;
        judged(at_b)?;
    }
    Ok(())
}
