//! Who gets broadcast and multicast?
//!
//! ```text
//! blue 10.0.0.0/24, fd00::/64: a, b and vm at a tap (open), shut (its rules permit nothing),
//!      trunk (open, VLAN 7), e1 and e2 (VLAN 8 of one interface; only e2 is open)
//! red  the same addresses and MACs: a and b (open)
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dataplane_user::view::Trace;
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::lab::Wire;
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::traffic::bound;
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{contains, text};

const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks: [{name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}]
    ports:
      - {name: a, network: lan, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open]}
      - {name: b, network: lan, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.0.0.11, "fd00::11"], security_groups: [open]}
      - {name: shut, network: lan, interface: blue-shut, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.12, "fd00::12"], security_groups: [shut]}
      - {name: trunk, network: lan, interface: blue-trunk, vlan: 7, mac: 02:00:00:00:00:0d, fixed_ips: [10.0.0.13, "fd00::13"], security_groups: [open]}
      - {name: vm, network: lan, interface: blue-vm, mac: 02:00:00:00:00:10, fixed_ips: [10.0.0.16, "fd00::16"], security_groups: [open]}
      - {name: e1, network: lan, interface: blue-e, vlan: 8, mac: 02:00:00:00:00:0e, fixed_ips: [10.0.0.14, "fd00::14"], security_groups: [shut]}
      - {name: e2, network: lan, interface: blue-e, vlan: 8, mac: 02:00:00:00:00:0f, fixed_ips: [10.0.0.15, "fd00::15"], security_groups: [open]}
    security_groups:
      - name: open
        rules:
          - {direction: ingress, protocol: udp, port_range_min: 9000, port_range_max: 9009}
          - {direction: ingress, ethertype: IPv6, protocol: udp, port_range_min: 9000, port_range_max: 9009}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
      - {name: shut, rules: [{direction: egress}, {direction: egress, ethertype: IPv6}]}
  - name: red
    networks: [{name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}]
    ports:
      - {name: a, network: lan, interface: red-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open]}
      - {name: b, network: lan, interface: red-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.0.0.11, "fd00::11"], security_groups: [open]}
    security_groups:
      - name: open
        rules:
          - {direction: ingress, protocol: udp, port_range_min: 9000, port_range_max: 9009}
          - {direction: ingress, ethertype: IPv6, protocol: udp, port_range_min: 9000, port_range_max: 9009}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
"#;

/// Interface, last byte of MAC, VLAN, last byte of addresses.
const HOSTS: [(&str, u8, Option<u16>, u8); 7] = [
    ("blue-a", 0x0a, None, 10),
    ("blue-b", 0x0b, None, 11),
    ("blue-shut", 0x0c, None, 12),
    ("blue-trunk", 0x0d, Some(7), 13),
    ("blue-e", 0x0e, Some(8), 14),
    ("red-a", 0x0a, None, 10),
    ("red-b", 0x0b, None, 11),
];
/// Everybody, and groups.
const GROUPS: [&str; 5] = ["255.255.255.255", "10.0.0.255", "239.1.2.3", "ff02::1", "ff05::1234"];
const BROADCAST: [u8; 6] = [0xff; 6];
const OPEN: u16 = 9001;
const CLOSED: u16 = 9100;

fn hosts(lab: &Lab) -> Result<BTreeMap<&'static str, Host>> {
    let build = |&(name, mac, vlan, last): &(&'static str, u8, Option<u16>, u8)| {
        let mut host = lab.host(name).mac(&text([2, 0, 0, 0, 0, mac]));
        if let Some(vlan) = vlan {
            host = host.vlan(vlan);
        }
        let host = host.address(&format!("10.0.0.{last}/24")).address(&format!("fd00::{last}/64"));
        Ok((name, host.build()?))
    };
    HOSTS.iter().map(build).collect()
}

/// Sends a datagram from a real socket to everybody, or a group.
fn say(host: &Host, group: &str, port: u16, what: &[u8]) -> Result<()> {
    let interface = host.interface().to_owned();
    let own = if group.contains(':') { host.v6()? } else { host.v4()? };
    host.in_ns(|| -> Result<()> {
        let socket = UdpSocket::bind((own, 0)).context("binding")?;
        socket.set_broadcast(true)?;
        let index = nix::net::if_::if_nametoindex(interface.as_str())?;
        let to = match ip(group) {
            IpAddr::V4(v4) => SocketAddr::from((v4, port)),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, index).into(),
        };
        socket.send_to(what, to).with_context(|| format!("sending to {to}"))?;
        Ok(())
    })?
}

/// A socket that hears the group.
fn listen(host: &Host, group: &str, port: u16) -> Result<UdpSocket> {
    let interface = host.interface().to_owned();
    let own = host.v4()?;
    host.in_ns(|| -> Result<UdpSocket> {
        let socket = match ip(group) {
            IpAddr::V4(group) => {
                let socket = bound(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))))?;
                if let (true, IpAddr::V4(own)) = (group.is_multicast(), own) {
                    socket.join_multicast_v4(&group, &own)?;
                }
                socket
            }
            IpAddr::V6(group) => {
                let socket = bound(|| Ok(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))))?;
                let index = nix::net::if_::if_nametoindex(interface.as_str())?;
                // Everybody is in this group already.
                if group != Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1) {
                    socket.join_multicast_v6(&group, index)?;
                }
                socket
            }
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })?
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn broadcast_and_multicast_reach_whose_rules_permit_it_and_nobody_else() -> Result<()> {
    let lab = Lab::new("floods")?;
    let hosts = hosts(&lab)?;
    let vm = lab.tap("blue-vm")?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let captures: BTreeMap<_, _> = hosts
        .iter()
        .map(|(name, host)| Ok((*name, Capture::start(host)?)))
        .collect::<Result<_>>()?;
    let takers = ["blue-a", "blue-b", "blue-trunk", "blue-e"];
    for (number, group) in GROUPS.iter().enumerate() {
        for sender in ["blue-a", "blue-trunk", "blue-e"] {
            let listeners: Vec<_> = ["blue-a", "blue-b", "blue-trunk"]
                .into_iter()
                .filter(|name| *name != sender)
                .map(|name| Ok((name, listen(&hosts[name], group, OPEN)?)))
                .collect::<Result<_>>()?;
            let marker = format!("to all: {sender} {number}");
            say(&hosts[sender], group, OPEN, marker.as_bytes())?;
            // Their sockets get it, from whoever sent it.
            let mut buffer = [0; 200];
            for (name, socket) in listeners {
                let (length, from) = socket
                    .recv_from(&mut buffer)
                    .with_context(|| format!("{name} gets nothing from {sender} to {group}"))?;
                assert_eq!(&buffer[..length], marker.as_bytes(), "{name}");
                let host = &hosts[sender];
                let own = [host.v4()?, host.v6()?].contains(&from.ip());
                ensure!(own, "{name} got it from {from}");
            }
            // So does a virtual machine, once.
            let is_this = |frame: &[u8]| contains(frame, marker.as_bytes());
            let got = vm.receive(PATIENCE, is_this)?;
            ensure!(got.is_some(), "the tap gets nothing from {sender} to {group}");
            assert_eq!(vm.receive(Duration::from_millis(50), is_this)?, None, "twice at the tap");
            // Nobody's rules permit this one.
            say(&hosts[sender], group, CLOSED, format!("to none: {sender} {number}").as_bytes())?;
        }
    }
    thread::sleep(SILENCE);

    let mut copies = Vec::new();
    for (name, capture) in captures {
        let seen = capture.stop()?;
        if takers.contains(&name) {
            ensure!(seen.judge()?.is_empty(), "arrived damaged at {name}");
        }
        for (number, group) in GROUPS.iter().enumerate() {
            for sender in ["blue-a", "blue-trunk", "blue-e"] {
                let marker = format!("to all: {sender} {number}");
                let got: Vec<_> = seen
                    .frames()
                    .iter()
                    .filter(|f| contains(&f.bytes, marker.as_bytes()))
                    .collect();
                let wanted = usize::from(takers.contains(&name) && name != sender);
                assert_eq!(got.len(), wanted, "{name}, from {sender} to {group}");
                for frame in got {
                    let vlan = HOSTS.iter().find(|host| host.0 == name).and_then(|host| host.2);
                    let mut bytes = frame.bytes.clone();
                    if let Some(vlan) = vlan {
                        assert_eq!(bytes[12..16], [0x81, 0, 0, vlan as u8], "{name}");
                        bytes.drain(12..16);
                    }
                    copies.push((sender, number, bytes));
                }
            }
        }
        let astray = seen.frames().iter().filter(|frame| contains(&frame.bytes, b"to none"));
        assert_eq!(astray.count(), 0, "at {name}");
    }
    // All copies of a frame are the same but for the tag.
    for (sender, number, bytes) in &copies {
        let other = copies.iter().find(|other| (&other.0, &other.1) == (sender, number));
        assert_eq!(Some(bytes), other.map(|other| &other.2), "{sender} {number}");
    }
    assert!(sekisho.tally()?.stopped("blue", "multicast") >= 15);

    // Of one that is traced nobody gets a copy.
    let capture = Capture::start(&hosts["blue-b"])?;
    let question = ["trace", "--port", "blue/a", "--to", "10.0.0.255", "--proto", "udp"];
    let told = sekisho.cli(&[&question[..], &["--dport", "9001", "-o", "json"]].concat())?.ok()?;
    let trace: Trace = serde_json::from_str(&told)?;
    let copies = trace.steps.iter().filter(|step| step.decision.starts_with("a copy leaves by"));
    assert_eq!((trace.verdict.as_str(), copies.count()), ("flooded", 4), "{told}");
    thread::sleep(Duration::from_millis(200));
    let open = OPEN.to_be_bytes();
    assert_eq!(capture.count(|frame| frame.bytes.get(36..38) == Some(&open)), 0);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_is_flooded_is_metered_and_accounted_for() -> Result<()> {
    const FRAMES: u64 = 6000;
    let lab = Lab::new("floodmeter")?;
    let hosts = hosts(&lab)?;
    let _vm = lab.tap("blue-vm")?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let (a, red) = (&hosts["blue-a"], &hosts["red-a"]);
    thread::sleep(SILENCE);
    let before = sekisho.tally()?;
    let capture = Capture::start(&hosts["blue-b"])?;
    let other = Capture::start(&hosts["red-b"])?;
    let frame = |what: &[u8]| {
        let frame = Frame::new([2, 0, 0, 0, 0, 0x0a], BROADCAST).ip("10.0.0.10", "10.0.0.255");
        frame.udp(4000, OPEN).payload(what).build()
    };
    let wire = Wire::new(a)?;
    let start = Instant::now();
    for number in 0..FRAMES {
        wire.send(&frame(format!("storm {number}").as_bytes()))?;
        // Another tenant's do not wait for it.
        if number % 600 == 0 {
            red.send_frame(&frame(format!("calm {number}").as_bytes()))?;
        }
    }
    let took = start.elapsed();
    drop(wire);
    thread::sleep(Duration::from_millis(300));
    let tally = sekisho.tally()?.since(&before)?;
    let at_a = tally.at("blue-a")?;
    let flooded = at_a.flooded.packets;
    // A frame counts as eight: seven ports in the network, and the rules of `open`, which are
    // looked at once. 2,048 copies at once, 10,000 a second.
    let most = (2048.0 + 10_000.0 * (took.as_secs_f64() + 0.5)) / 8.0 + 20.0;
    println!("{flooded} of {FRAMES} flooded in {took:?}, at most {most}");
    ensure!(flooded >= 2048 / 8 && (flooded as f64) < most, "{flooded} in {took:?}");
    ensure!(flooded < FRAMES, "the meter was not reached: {tally:?}");
    let stopped = tally.stopped("blue", "flood_rate");
    // Its kernel may say something of its own meanwhile.
    let received = at_a.received.packets;
    ensure!((FRAMES..FRAMES + 20).contains(&received), "{tally:?}");
    let others: u64 =
        tally.stops().filter(|of| of.0 == "blue" && of.1 != "flood_rate").map(|of| of.2).sum();
    assert!(flooded + stopped >= FRAMES && flooded + stopped <= received + others, "{tally:?}");
    let seen = capture.stop()?;
    let arrived = seen.frames().iter().filter(|f| contains(&f.bytes, b"storm")).count() as u64;
    let copied = tally.at("blue-b")?.copied.packets;
    assert_eq!(arrived, flooded, "{tally:?}");
    ensure!((arrived..arrived + 20).contains(&copied), "{tally:?}");
    let calm = other.stop()?;
    let calm = calm.frames().iter().filter(|f| contains(&f.bytes, b"calm")).count();
    assert_eq!(calm, 10, "another tenant's broadcast was lost");
    Ok(())
}
