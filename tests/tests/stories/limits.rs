//! Does as much pass as was agreed, and of nobody else less?
//!
//! No limit here lets anybody wait: a packet a second, or a byte in eight milliseconds, is what
//! comes back. How much may have come back the clock tells, in both directions.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dataplane_user::view::Trace;
use sekisho_tests::build::{Frame, tcp::ACK};
use sekisho_tests::check::transport_checksum;
use sekisho_tests::lab::VnetHeader;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::bound;
use sekisho_tests::{Host, Lab, Sekisho, Tally};

use crate::town::{A, A_ADDRESSES, B_ADDRESSES, C, C_ADDRESSES, ROUTER, Site, Town};

/// Packets at once; one more a second.
const BURST: u64 = 50;
const LIMIT: &str = "{packets_per_second: 1, burst_packets: 50}";

/// The town, where blue's a may send so much.
fn limited(limit: &str) -> Site {
    let a = "fixed_ips: [10.0.0.10, \"fd00::10\"], security_groups: [client]}\n      - {name: c,";
    let with = a.replacen("[client]}", &format!("[client], limits: {{egress: {limit}}}}}"), 1);
    Site::town().with(a, &with)
}

/// The town, where blue's router may forward so much.
fn limited_router(limit: &str) -> Site {
    let blue = "interfaces: [{network: inside}, {network: public}]}\n    ports:\n      - {name: a, network: inside, interface: blue-a";
    let with = blue.replacen("public}]}", &format!("public}}], limits: {limit}}}"), 1);
    Site::town().with(blue, &with)
}

/// A datagram of a host's inside to the server.
fn to_b(mac: [u8; 6], src: &str) -> Vec<u8> {
    let frame = Frame::new(mac, ROUTER).ip(src, B_ADDRESSES[0]).udp(4000, 7001);
    frame.payload(b"as much as was agreed").build()
}

/// Somebody who hears and says nothing.
fn listener(host: &Host) -> Result<UdpSocket> {
    bound(|| host.in_ns(|| UdpSocket::bind(("0.0.0.0", 7001))))
}

/// Sends frames from a host, and waits until all have come in.
fn send(sekisho: &Sekisho<'_>, from: &Host, frame: &[u8], times: u64) -> Result<Tally> {
    let received = |tally: &Tally| Ok::<_, anyhow::Error>(tally.at(from.dut_interface())?.received);
    let before = received(&sekisho.tally()?)?.packets;
    from.send_frames(frame, times)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tally = sekisho.tally()?;
        if received(&tally)?.packets >= before + times {
            return Ok(tally);
        }
        ensure!(Instant::now() < deadline, "the frames do not come in: {tally:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What blue's hosts inside were let send since the beginning: to b, and to many.
fn passed(tally: &Tally) -> Result<u64> {
    let flooded = |name| Ok::<_, anyhow::Error>(tally.at(name)?.flooded.packets);
    Ok(tally.at("blue-b")?.sent.packets + flooded("blue-a")? + flooded("blue-c")?)
}

/// As much as that passes at once, and a packet a second besides.
fn within(passed: u64, burst: u64, since: Instant) -> Result<()> {
    let more = since.elapsed().as_secs() + 1;
    ensure!(passed >= burst, "only {passed} of {burst} passed");
    ensure!(passed <= burst + more, "{passed} passed, {burst} may at once and {more} more");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_port_sends_as_much_as_its_limit_lets_pass() -> Result<()> {
    let lab = Lab::new("limits")?;
    let town = Town::build(&lab)?;
    let _heard = [listener(&town.blue_b)?, listener(&town.red_b)?];
    let begin = Instant::now();
    let mut sekisho = Sekisho::start(&lab, &limited(LIMIT).0)?;
    let from_a = to_b(A, A_ADDRESSES[0]);
    let tally = send(&sekisho, &town.blue_a, &from_a, 300)?;
    within(passed(&tally)?, BURST, begin)?;
    let over = tally.stopped("blue", "over_limit");
    ensure!(over >= 300 - tally.at("blue-b")?.sent.packets, "{over} were over the limit");

    // Nobody else is slowed.
    let after = send(&sekisho, &town.blue_c, &to_b(C, C_ADDRESSES[0]), 200)?;
    let from_c = after.since(&tally)?;
    ensure!(from_c.at("blue-b")?.sent.packets >= 200, "{from_c:?}");
    let tally = send(&sekisho, &town.red_a, &from_a, 200)?;
    ensure!(tally.at("red-b")?.sent.packets >= 200, "{tally:?}");
    ensure!(tally.stopped("red", "over_limit") == 0, "{tally:?}");

    // A trace tells of it, and uses nothing up.
    let asked = ["trace", "--port", "blue/a", "--to", B_ADDRESSES[0], "--dport", "7001"];
    let asked = [asked.as_slice(), &["--proto", "udp", "-o", "json"]].concat();
    let traced: Trace = serde_json::from_str(&sekisho.cli(&asked)?.ok()?)?;
    let told = traced.steps.iter().find(|step| step.stage == "limit");
    let told = &told.with_context(|| format!("{traced:?}"))?.decision;
    let whose = "port blue/a egress, 1 packets/s (50 packets at once): ";
    ensure!(told.starts_with(whose), "{told}");

    // It is shown as it was written, and counted among the tables.
    let shown = sekisho.cli(&["get", "tenants/blue/ports/a/limits", "-o", "json"])?.ok()?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    let written = serde_json::json!({"egress": {"packets_per_second": 1, "burst_packets": 50}});
    ensure!(shown == written, "{shown}");
    let fill = sekisho.status()?.tables.into_iter().find(|fill| fill.table == "meters");
    ensure!(fill.as_ref().is_some_and(|fill| fill.used == 1), "{fill:?}");

    // Neither another change nor another daemon fills it.
    let others = passed(&tally)? - passed_by_a(&tally)?;
    let unrelated = limited(LIMIT).without(&["red-tcp-v6"]);
    sekisho.change(&unrelated.0)?;
    let tally = send(&sekisho, &town.blue_a, &from_a, 100)?;
    within(passed(&tally)? - others, BURST, begin).context("after a change")?;
    sekisho.stop()?.ok()?;
    sekisho.start_again()?;
    let tally = send(&sekisho, &town.blue_a, &from_a, 100)?;
    within(passed(&tally)? - others, BURST, begin).context("after a restart")?;
    sekisho.kill()?;
    sekisho.start_again()?;
    let tally = send(&sekisho, &town.blue_a, &from_a, 100)?;
    within(passed(&tally)? - others, BURST, begin).context("after a crash")?;

    // Another limit does, and none is none.
    let again = Instant::now();
    let before = passed(&tally)?;
    sekisho.change(&limited("{packets_per_second: 1, burst_packets: 40}").0)?;
    let tally = send(&sekisho, &town.blue_a, &from_a, 100)?;
    within(passed(&tally)? - before, 40, again).context("another limit")?;
    sekisho.change(&Site::town().0)?;
    let after = send(&sekisho, &town.blue_a, &from_a, 300)?;
    ensure!(after.since(&tally)?.at("blue-b")?.sent.packets >= 300, "no limit: {after:?}");
    Ok(())
}

/// What came to b but from c, who sent 200.
fn passed_by_a(tally: &Tally) -> Result<u64> {
    Ok(passed(tally)? - 200)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_router_has_one_limit_for_all_of_its_ports() -> Result<()> {
    let lab = Lab::new("limitr")?;
    let town = Town::build(&lab)?;
    let _heard = [listener(&town.blue_b)?, listener(&town.red_b)?];
    let begin = Instant::now();
    let sekisho = Sekisho::start(&lab, &limited_router(LIMIT).0)?;
    let (from_a, from_c) = (to_b(A, A_ADDRESSES[0]), to_b(C, C_ADDRESSES[0]));
    send(&sekisho, &town.blue_a, &from_a, 30)?;
    let tally = send(&sekisho, &town.blue_c, &from_c, 300)?;
    let forwarded = tally.at("blue-b")?.sent.packets;
    within(forwarded, BURST, begin)?;
    let shown = sekisho.cli(&["get", "tenants/blue/routers/r/limits"])?.ok()?;
    ensure!(shown.contains("packets_per_second"), "{shown}");
    // What b sends to them is the same router's.
    let back = Frame::new(crate::town::B, ROUTER).ip(B_ADDRESSES[0], A_ADDRESSES[0]);
    let back = back.udp(7001, 4000).payload(b"an answer").build();
    let tally = send(&sekisho, &town.blue_b, &back, 100)?;
    let forwarded = ["blue-a", "blue-b"].map(|name| tally.at(name).map(|at| at.sent.packets));
    let [to_a, to_b] = forwarded;
    within(to_a? + to_b?, BURST, begin)?;
    // Red's router has the same name, and no limit.
    let tally = send(&sekisho, &town.red_a, &from_a, 200)?;
    ensure!(tally.at("red-b")?.sent.packets >= 200, "{tally:?}");
    ensure!(tally.stopped("red", "over_limit") == 0, "{tally:?}");
    Ok(())
}

/// A virtual machine that sends large packets, with a limit.
fn machine(limit: &str) -> String {
    format!(
        r#"
version: 1
tenants:
  - name: blue
    networks:
      - {{name: inside, subnets: [{{cidr: 10.0.0.0/24}}]}}
      - {{name: public, subnets: [{{cidr: 10.1.0.0/24}}]}}
    routers:
      - {{name: r, mac: 02:00:00:00:00:01, interfaces: [{{network: inside}}, {{network: public}}]}}
    ports:
      - {{name: vm, network: inside, interface: tap-1, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10], security_groups: [open], limits: {{egress: {limit}}}}}
      - {{name: b, network: public, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.1.0.10], security_groups: [open]}}
    security_groups:
      - {{name: open, rules: [{{direction: ingress, protocol: tcp}}, {{direction: egress, protocol: tcp}}]}}
"#
    )
}

/// Payload of a segment, of which there are ten, the last a shorter one (the headers before them
/// make no eleventh), and what all are on the wire.
const SEGMENT: usize = 1000;
const PAYLOAD: usize = 9900;
const WIRE: u64 = 10 * 54 + PAYLOAD as u64;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_large_packet_counts_as_its_segments() -> Result<()> {
    const TCPV4: u8 = 1;
    const PACKETS: u64 = 40;
    let lab = Lab::new("limitg")?;
    let vm = lab.tap("tap-1")?;
    let _b = crate::town::host(&lab, "blue-b", crate::town::B, B_ADDRESSES)?;
    let mut frame = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]);
    frame = frame.tcp(4000, 7000, ACK, 1, 1).payload(&[7; PAYLOAD]);
    let mut frame = frame.build();
    let checksum = transport_checksum(&frame).context("no TCP")?;
    frame[checksum.field..checksum.field + 2].copy_from_slice(&checksum.pseudo_sum);
    let header = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: TCPV4,
        hdr_len: 54,
        gso_size: SEGMENT as u16,
        csum_start: checksum.start as u16,
        csum_offset: (checksum.field - checksum.start) as u16,
    };
    // Thirty large packets by their bytes; by those of the frames alone one more would pass.
    let bytes = 30 * WIRE;
    let by_bytes = format!("{{bits_per_second: 1000, burst_bytes: {bytes}}}");
    let begin = Instant::now();
    let sekisho = Sekisho::start(&lab, &machine(&by_bytes))?;
    let tally = large(&sekisho, &vm, header, &frame, PACKETS)?;
    let sent = tally.at("blue-b")?.sent;
    let more = (begin.elapsed().as_secs() + 1) * 125;
    ensure!(sent.packets >= 300 && sent.bytes >= bytes, "too little: {sent:?} of {bytes}");
    ensure!(sent.bytes <= bytes + more, "{sent:?}, {bytes} may at once and {more} more");
    ensure!(tally.stopped("blue", "over_limit") == 10 * PACKETS - sent.packets, "{tally:?}");

    let begin = Instant::now();
    sekisho.change(&machine("{packets_per_second: 1, burst_packets: 25}"))?;
    let after = large(&sekisho, &vm, header, &frame, PACKETS)?.since(&tally)?;
    let sent = after.at("blue-b")?.sent.packets;
    let most = 25 + begin.elapsed().as_secs() + 1;
    ensure!((20..=most).contains(&sent), "{sent} segments passed, {most} may");
    Ok(())
}

/// Sends large packets from the virtual machine, and waits until all have come in.
fn large(
    sekisho: &Sekisho<'_>,
    vm: &sekisho_tests::lab::Tap,
    header: VnetHeader,
    frame: &[u8],
    times: u64,
) -> Result<Tally> {
    let received = |tally: &Tally| Ok::<_, anyhow::Error>(tally.at("tap-1")?.received.packets);
    let before = received(&sekisho.tally()?)?;
    for _ in 0..times {
        vm.send(header, frame)?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tally = sekisho.tally()?;
        if received(&tally)? >= before + 10 * times {
            return Ok(tally);
        }
        ensure!(Instant::now() < deadline, "the packets do not come in: {tally:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
