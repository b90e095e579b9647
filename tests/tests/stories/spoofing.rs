//! Can a port be somebody else: by IP, by MAC, by ARP, by neighbour discovery?

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::traffic::ping;
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{
    A, A_ADDRESSES, B_ADDRESSES, C, C_ADDRESSES, ROUTER, Site, Town, contains, judged,
};

const BROADCAST: [u8; 6] = [0xff; 6];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const MARKER: &[u8] = b"I am somebody else";

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_port_is_nobody_but_itself() -> Result<()> {
    let lab = Lab::new("spoofing")?;
    let town = Town::build(&lab)?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let c = &town.blue_c;
    let ([a4, a6], [b4, b6], [c4, c6]) = (A_ADDRESSES, B_ADDRESSES, C_ADDRESSES);
    let udp = |mac, from: &str, to: &str| {
        Frame::new(mac, ROUTER).ip(from, to).udp(4000, 7001).payload(MARKER).build()
    };
    let solicit = |mac, from: &str, target: &str, option| {
        // The solicited-node multicast group of the target (RFC 4291 section 2.7.1).
        let frame = Frame::new(mac, [0x33, 0x33, 0xff, 0, 0, 0x10]);
        frame.ip(from, "ff02::1:ff00:10").neighbour(135, 0, target, Some((1, option))).build()
    };
    let advertise = |mac, from: &str, target: &str, option| {
        let frame = Frame::new(mac, [0x33, 0x33, 0, 0, 0, 1]);
        frame.ip(from, "ff02::1").neighbour(136, 0x20, target, Some((2, option))).build()
    };
    let arp = |mac: [u8; 6], operation, sender: ([u8; 6], &str), target: &str| {
        Frame::new(mac, BROADCAST).arp(operation, sender, ([0; 6], target)).build()
    };

    let lies: [(&str, &[Vec<u8>]); 5] = [
        (
            "spoofed_address",
            &[
                udp(C, a4, b4),
                udp(C, a6, b6),
                udp(C, "192.0.2.7", b4),
                udp(C, "2001:db8::7", b6),
                // The link-local address that another MAC makes.
                udp(C, "fe80::ff:fe00:a", b6),
            ],
        ),
        (
            "unknown_station",
            &[
                udp(A, a4, b4),
                udp(STRANGER, c4, b4),
                udp(STRANGER, c6, b6),
                udp(ROUTER, c4, b4),
                arp(A, 1, (A, a4), "10.0.0.1"),
            ],
        ),
        ("martian_source", &[udp(C, "127.0.0.1", b4), udp(C, "::1", b6), udp(C, "224.0.0.1", b4)]),
        (
            "spoofed_arp",
            &[
                // A question in another's name, an answer that nobody asked for, an announcement,
                // and a MAC that is not the frame's.
                arp(C, 1, (C, a4), "10.0.0.1"),
                arp(C, 2, (C, a4), c4),
                arp(C, 1, (C, a4), a4),
                arp(C, 2, (C, "10.0.0.1"), a4),
                arp(C, 1, (A, c4), "10.0.0.1"),
            ],
        ),
        (
            "spoofed_neighbour",
            &[
                solicit(C, a6, "fd00::1", C),
                solicit(C, c6, "fd00::1", A),
                advertise(C, c6, a6, C),
                advertise(C, a6, a6, C),
                advertise(C, c6, c6, A),
                advertise(C, c6, "fd00::1", C),
            ],
        ),
    ];
    let hosts = [&town.blue_a, &town.blue_b, c, &town.red_a, &town.red_b];
    let captures = hosts.map(Capture::start).into_iter().collect::<Result<Vec<_>>>()?;
    for (reason, frames) in lies {
        let before = sekisho.tally()?;
        for frame in frames {
            c.send_frame(frame)?;
        }
        let tally = sekisho.tally()?.since(&before)?;
        assert_eq!(tally.stopped("blue", reason), frames.len() as u64, "{reason}: {tally:?}");
    }
    // A router advertisement says that the port is the router.
    let before = sekisho.tally()?;
    let frame = Frame::new(C, [0x33, 0x33, 0, 0, 0, 1]).ip("fe80::ff:fe00:c", "ff02::1").ttl(255);
    c.send_frame(&frame.icmp(134, 0, [64, 0, 0, 60]).payload(&[0; 8]).build())?;
    let tally = sekisho.tally()?.since(&before)?;
    assert_eq!(tally.stopped("blue", "router_message"), 1, "{tally:?}");

    thread::sleep(SILENCE / 5);
    for (host, capture) in hosts.into_iter().zip(captures) {
        let seen = capture.stop()?;
        let astray = seen.frames().iter().filter(|frame| {
            let kind = frame.bytes.get(12..14);
            // Neither the datagrams, nor any ARP or neighbour message.
            contains(&frame.bytes, MARKER)
                || kind == Some(&[8, 6])
                || kind == Some(&[0x86, 0xdd]) && frame.bytes.get(20) == Some(&58)
        });
        assert_eq!(astray.count(), 0, "at {}", host.name());
    }
    // It still is itself.
    for to in B_ADDRESSES.map(ip) {
        assert!(ping(c, to, 1, &[])?.all_answered());
        assert!(ping(&town.blue_a, to, 1, &[])?.all_answered());
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn duplicate_address_detection_finds_others_and_never_oneself() -> Result<()> {
    let lab = Lab::new("dad")?;
    let town = Town::build(&lab)?;
    let spare = Site::town().with("\"fd00::30\"]", "\"fd00::30\", 10.0.0.31, \"fd00::31\"]");
    let sekisho = Sekisho::start(&lab, &spare.0)?;
    let c = &town.blue_c;
    let capture = Capture::start(c)?;
    c.sysctl("ipv6/conf/eth0/accept_dad", "1")?;

    // Its own further address: nobody answers, and it is used.
    let add = |address: &str| {
        c.run(&["ip", "address", "add", address, "dev", "eth0"])?.ok()?;
        decided(c, address)
    };
    let before = sekisho.tally()?;
    assert!(add("fd00::31/64")?, "its own address was refused");
    assert!(sekisho.tally()?.since(&before)?.stopped("blue", "neighbour_unanswered") > 0);
    c.sysctl("ipv6/conf/eth0/accept_dad", "0")?;
    assert!(ping(c.from(ip("fd00::31")), ip("fd00:1::10"), 1, &[])?.all_answered());
    c.sysctl("ipv6/conf/eth0/accept_dad", "1")?;
    // A neighbour's, and the router's.
    assert!(!add("fd00::10/64")?, "the neighbour's address was accepted");
    assert!(!add("fd00::1/64")?, "the router's address was accepted");

    // The same by ARP probes (RFC 5227): arping fails if somebody answers.
    let probe = |address: &str| -> Result<bool> {
        let probe = ["arping", "-D", "-q", "-c", "2", "-w", "2", "-I", "eth0", address];
        Ok(c.run_within(&probe, PATIENCE)?.status.success())
    };
    assert!(probe("10.0.0.31")?, "its own address was answered");
    assert!(!probe("10.0.0.10")?, "the neighbour's address was not answered");
    assert!(!probe("10.0.0.1")?, "the router's address was not answered");
    judged(capture)
}

/// Whether an address was found to be free; waits until that is decided.
fn decided(host: &Host, address: &str) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = host.run(&["ip", "-o", "-6", "address", "show", "to", address])?.ok()?;
        let bare = address.split('/').next().unwrap_or_default();
        let line = shown.lines().find(|line| line.contains(&format!(" {bare}/"))).unwrap_or("");
        if line.contains("dadfailed") {
            return Ok(false);
        }
        if !line.is_empty() && !line.contains("tentative") {
            return Ok(true);
        }
        ensure!(Instant::now() < deadline, "{address} stays undecided: {shown}");
        thread::sleep(Duration::from_millis(20));
    }
}
