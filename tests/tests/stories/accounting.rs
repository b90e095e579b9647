//! Does it add up? Every packet that a host sends is forwarded, answered, or stopped for exactly
//! one reason, and what is said to have been sent did arrive.

use std::time::Duration;

use anyhow::{Context, Result};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange, udp_send};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::town::{A_ADDRESSES, B_ADDRESSES, C, C_ADDRESSES, ROUTER, Site, Town, contains, judged};

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn every_packet_is_accounted_for() -> Result<()> {
    let lab = Lab::new("accounting")?;
    let town = Town::build(&lab)?;
    let outside = lab.nic("nic").address("198.51.100.1/24").gateway(ip("198.51.100.2")).build()?;
    let site = Site::town()
        .with(
            "{name: r, mac: 02:00:00:00:00:01, interfaces: [{network: inside}, {network: public}]}\n    ports:\n      - {name: a, network: inside, interface: blue-a",
            "{name: r, mac: 02:00:00:00:00:01, interfaces: [{network: inside}, {network: public}], routes: [{destination: 198.51.100.0/24, uplink: outside}]}\n    ports:\n      - {name: a, network: inside, interface: blue-a",
        );
    let site = format!(
        "{}\nuplinks:\n  - name: outside\n    interface: nic\n    addresses: [198.51.100.2/24]\n    next_hops: [{{address: 198.51.100.1}}]\n    exports: [{{prefix: 10.1.0.0/24, tenant: blue, router: r}}]\n",
        site.0
    );
    let mut sekisho = Sekisho::start(&lab, &site)?;
    let captures = [Capture::start(&town.blue_b)?, Capture::start(&outside)?];
    let [b4, b6] = B_ADDRESSES.map(ip);
    for number in 0..200 {
        for to in [b4, b6] {
            // Forwarded, refused by the receiver, and by way of the NIC.
            udp_send(&town.blue_a, (to, 7001).into(), format!("open {number}").as_bytes())?;
            udp_send(&town.blue_a, (to, 7100).into(), format!("shut {number}").as_bytes())?;
        }
        udp_send(&outside, (b4, 7001).into(), format!("open {number}").as_bytes())?;
        udp_send(&outside, (b4, 7100).into(), format!("shut {number}").as_bytes())?;
    }
    for (number, (own, (other, to))) in
        C_ADDRESSES.iter().zip(A_ADDRESSES.iter().zip(B_ADDRESSES)).cycle().take(50).enumerate()
    {
        let udp = |mac, from: &str| Frame::new(mac, ROUTER).ip(from, to).udp(4000, 7001);
        town.blue_c.send_frame(&udp(C, other).build())?;
        town.blue_c.send_frame(&udp([2, 0, 0, 0, 0, 0x77], own).build())?;
        town.blue_c.send_frame(&udp(C, own).vlan(99).build())?;
        town.blue_c.send_frame(&udp(C, own).ttl(1).build())?;
        town.blue_c.send_frame(&udp(C, own).cut(14 + number % 20).build())?;
    }
    for gateway in ["10.0.0.1", "fd00::1"].map(ip) {
        assert!(ping(&town.blue_a, gateway, 5, &[])?.all_answered());
    }

    let tally = sekisho.balance()?;
    println!("{:?}", tally.stops().collect::<Vec<_>>());
    for (reason, tenant, packets) in [
        ("ingress_denied", "blue", 600),
        ("spoofed_address", "blue", 50),
        ("unknown_station", "blue", 50),
        ("no_attachment", "-", 50),
        ("ttl_exceeded", "blue", 50),
        ("truncated", "blue", 50),
    ] {
        assert_eq!(tally.stopped(tenant, reason), packets, "{reason}: {tally:?}");
    }
    // Segmented packets count as their segments, on both sides.
    let _server = TcpEchoServer::start(&town.blue_b, 7000)?;
    for to in [b4, b6] {
        tcp_exchange(&town.blue_a, (to, 7000).into(), 1_000_000, PATIENCE)?;
    }
    tcp_exchange(&outside, (b4, 7000).into(), 1_000_000, PATIENCE)?;
    let tally = sekisho.balance()?;
    let b = tally.at("blue-b")?;
    assert!(b.sent.packets > 3 * 1_000_000 / 1460 && b.sent.bytes > 3_000_000, "{tally:?}");

    let [at_b, at_nic] = captures;
    let open = at_b.wait_for(Duration::ZERO, |seen| contains(&seen.bytes, b"open 199"));
    open.context("the last datagram did not arrive")?;
    judged(at_b)?;
    judged(at_nic)
}
