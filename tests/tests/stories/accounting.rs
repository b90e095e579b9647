//! Does it add up? Every packet that a host sends is forwarded, answered, or stopped for exactly
//! one reason, and what is said to have been sent did arrive.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange, udp_send};
use sekisho_tests::{Capture, Host, Lab, Sekisho, Tally};

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
    let sekisho = Sekisho::start(&lab, &site)?;
    let hosts = [&town.blue_a, &town.blue_b, &town.blue_c, &town.red_a, &town.red_b];
    let captures = [Capture::start(&town.blue_b)?, Capture::start(&outside)?];
    let before = Moment::take(&sekisho, &hosts)?;

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

    let after = Moment::take(&sekisho, &hosts)?;
    let tally = after.tally.since(&before.tally)?;
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
    // At each host: what it sent came in, and what is said to have gone to it arrived.
    for (at, host) in hosts.iter().enumerate() {
        let counted = tally.at(host.dut_interface())?;
        let [sent, arrived] = [0, 1].map(|way| after.hosts[at][way] - before.hosts[at][way]);
        let unknown = if at == 2 { tally.stopped("-", "no_attachment") } else { 0 };
        assert_eq!(counted.received.packets + unknown, sent, "{}", host.name());
        let given = counted.sent.packets + counted.answered.packets + counted.reported.packets;
        let given = given + counted.copied.packets;
        assert_eq!(given, arrived, "{}", host.name());
    }
    balanced(&tally)?;

    // Segmented packets count as their segments, on both sides.
    let _server = TcpEchoServer::start(&town.blue_b, 7000)?;
    for to in [b4, b6] {
        tcp_exchange(&town.blue_a, (to, 7000).into(), 1_000_000, PATIENCE)?;
    }
    tcp_exchange(&outside, (b4, 7000).into(), 1_000_000, PATIENCE)?;
    let last = Moment::take(&sekisho, &hosts)?;
    let tally = last.tally.since(&after.tally)?;
    let b = tally.at("blue-b")?;
    assert!(b.sent.packets > 3 * 1_000_000 / 1460 && b.sent.bytes > 3_000_000, "{tally:?}");
    balanced(&tally)?;

    let [at_b, at_nic] = captures;
    let open = at_b.wait_for(Duration::ZERO, |seen| contains(&seen.bytes, b"open 199"));
    open.context("the last datagram did not arrive")?;
    judged(at_b)?;
    judged(at_nic)
}

/// Received = sent + answered + heard + flooded + stopped.
fn balanced(tally: &Tally) -> Result<()> {
    let sum = |of: fn(&dataplane_user::view::AttachmentCounters) -> u64| {
        tally.attachments().iter().map(of).sum::<u64>()
    };
    // What comes in where nothing is configured is counted at no attachment.
    let stops: u64 =
        tally.stops().filter(|stop| stop.1 != "no_attachment").map(|stop| stop.2).sum();
    let received = sum(|at| at.received.packets);
    let ends = sum(|at| at.sent.packets + at.answered.packets + at.heard.packets);
    let gone = ends + sum(|at| at.flooded.packets) + stops;
    ensure!(received == gone, "{received} received, {gone} accounted for: {tally:?}");
    Ok(())
}

/// Counters of both sides at a moment in which nothing was under way.
struct Moment {
    tally: Tally,
    /// Sent and received by each host.
    hosts: Vec<[u64; 2]>,
}

impl Moment {
    fn take(sekisho: &Sekisho<'_>, hosts: &[&Host]) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = hosts.iter().map(|host| packets(host)).collect::<Result<Vec<_>>>()?;
            let tally = sekisho.tally()?;
            let again = sekisho.tally()?;
            let after = hosts.iter().map(|host| packets(host)).collect::<Result<Vec<_>>>()?;
            let between = again.since(&tally)?;
            let quiet = between.attachments().iter().all(|at| at.received.packets == 0);
            if before == after && quiet && between.stops().next().is_none() {
                return Ok(Self { tally, hosts: after });
            }
            ensure!(Instant::now() < deadline, "the hosts are never quiet");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// How many packets a host has sent and received.
fn packets(host: &Host) -> Result<[u64; 2]> {
    let text = host.run(&["ip", "-s", "-j", "link", "show", "dev", host.link()])?.ok()?;
    let shown: serde_json::Value = serde_json::from_str(&text)?;
    let count = |way: &str| {
        let packets = shown.pointer(&format!("/0/stats64/{way}/packets"));
        packets.and_then(serde_json::Value::as_u64).context("no statistics")
    };
    Ok([count("tx")?, count("rx")?])
}
