//! MEC Direct: does a mobile line reach its destination, only that, and only while it is
//! registered, active and attached?
//!
//! ```text
//!   lines 100.64.0.N ── access (VLAN 300) ──┐            ┌── controller 10.10.0.10  (MEC only)
//!                                           ├─ floor ────┼── desk 10.20.0.10
//!   lines 100.65.0.N ── access-2 (tcx) ─────┤            └── default route: internet
//!   internet 198.51.100.1 (VLAN 10) ────────┤
//!   hq 172.16.1.1 (closed network) ─────────┘
//! ```

use std::io::ErrorKind;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{
    Client, TcpConn, TcpEchoServer, ping, tcp_exchange, traceroute, udp_probe, udp_send,
};
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{Site, contains, judged};

const SITE: &str = r#"
version: 1
country_code: 81
tenants:
  - name: factory
    networks:
      - {name: control, mec_only: true, subnets: [{cidr: 10.10.0.0/24}, {cidr: "fd00:10::/64"}]}
      - {name: office, mtu: 1400, subnets: [{cidr: 10.20.0.0/24}, {cidr: "fd00:20::/64"}]}
    ports:
      - {name: controller, network: control, interface: controller, mac: 02:00:00:00:10:0a, fixed_ips: [10.10.0.10, "fd00:10::10"], security_groups: [open]}
      - {name: desk, network: office, interface: desk, mac: 02:00:00:00:20:0a, fixed_ips: [10.20.0.10, "fd00:20::10"], security_groups: [open]}
    routers:
      - name: floor
        interfaces: [{network: control}, {network: office}]
        routes:
          - {destination: 0.0.0.0/0, uplink: internet}
          - {destination: "::/0", uplink: internet}
    security_groups:
      - name: open
        rules:
          - {direction: ingress}
          - {direction: ingress, ethertype: IPv6}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
      - name: by-line
        rules:
          - {id: line-v4, direction: ingress, remote_line: roam}
          - {id: line-v6, direction: ingress, ethertype: IPv6, remote_line: roam}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
    lines:
      - {name: roam, number: 090-0000-0001, access: mobile, router: floor}
      - {name: robot, number: 090-0000-0002, access: mobile, network: control}
      - {name: tablet, number: 090-0000-0003, access: mobile, uplink: hq}
      - {name: lost, number: 090-0000-0004, access: mobile, state: suspended, router: floor}
      - {name: peer, number: 090-0000-0005, access: mobile-2, router: floor, security_groups: [by-line]}
      - {name: shy, number: 090-0000-0006, access: mobile-2, router: floor, security_groups: [open]}
      - {name: other, number: 090-0000-0007, access: mobile, router: floor}
      - {name: near, number: 090-0000-0008, access: mobile, router: floor, security_groups: [by-line]}
accesses:
  - name: mobile
    interface: access
    vlan: 300
    mac: 02:00:00:00:aa:02
    addresses: [172.16.0.2/30, "fd00:a::2/64"]
    next_hop: {address: 172.16.0.1, mac: 02:00:00:00:aa:01}
    pools: [100.64.0.0/16, "fd00:64::/32"]
  - name: mobile-2
    interface: access-2
    hook: tcx
    addresses: [172.16.2.2/30, "fd00:a2::2/64"]
    next_hop: {address: 172.16.2.1}
    pools: [100.65.0.0/16, "fd00:65::/32"]
entitlements:
  - {tenant: factory, access: mobile, numbers: [{from: 090-0000-0001, to: 090-0000-0099}]}
  - {tenant: factory, access: mobile-2, numbers: [090-0000-0005, 090-0000-0006]}
sessions:
  - {access: mobile, number: 090-0000-0001, addresses: [100.64.0.1, "fd00:64:1::/64"]}
  - {access: mobile, number: 090-0000-0002, addresses: [100.64.0.2, "fd00:64:2::/64"]}
  - {access: mobile, number: 090-0000-0003, addresses: [100.64.0.3, "fd00:64:3::/64"]}
  - {access: mobile, number: 090-0000-0004, addresses: [100.64.0.4, "fd00:64:4::/64"]}
  - {access: mobile-2, number: 090-0000-0005, addresses: [100.65.0.5, "fd00:65:5::/64"]}
  - {access: mobile-2, number: 090-0000-0006, addresses: [100.65.0.6, "fd00:65:6::/64"]}
  - {access: mobile, number: 090-0000-0007, addresses: [100.64.0.7, "fd00:64:7::/64"]}
  - {access: mobile, number: 090-0000-0008, addresses: [100.64.0.8, "fd00:64:8::/64"]}
uplinks:
  - name: internet
    interface: internet
    vlan: 10
    addresses: [198.51.100.2/24, "fd00:f::2/64"]
    next_hops: [{address: 198.51.100.1}, {address: "fd00:f::1"}]
    exports:
      - {prefix: 10.20.0.0/24, tenant: factory, router: floor}
      - {prefix: "fd00:20::/64", tenant: factory, router: floor}
    protected: [203.0.113.128/25, "fd00:bad::/64"]
  - name: hq
    interface: hq
    addresses: [172.16.1.2/30, "fd00:c::2/64"]
    next_hops: [{address: 172.16.1.1}, {address: "fd00:c::1"}]
    exports:
      - {prefix: 100.64.0.0/16, access: mobile}
      - {prefix: "fd00:64::/32", access: mobile}
    protected: [192.168.7.128/25, "fd00:c:bad::/64"]
"#;

const CONTROLLER: [&str; 2] = ["10.10.0.10", "fd00:10::10"];
const DESK: [&str; 2] = ["10.20.0.10", "fd00:20::10"];
/// Behind the uplinks.
const OUTSIDE: [&str; 2] = ["203.0.113.7", "fd00:f:7::7"];
const CLOSED: [&str; 2] = ["192.168.7.7", "fd00:c:7::7"];
/// Behind the uplinks, and kept from tenants.
const PROTECTED: [&str; 2] = ["203.0.113.200", "fd00:bad::1"];
const CLOSED_PROTECTED: [&str; 2] = ["192.168.7.200", "fd00:c:bad::1"];
const ROAM: [&str; 2] = ["100.64.0.1", "fd00:64:1::5"];
const ROBOT: [&str; 2] = ["100.64.0.2", "fd00:64:2::5"];
const TABLET: [&str; 2] = ["100.64.0.3", "fd00:64:3::5"];
const LOST: [&str; 2] = ["100.64.0.4", "fd00:64:4::5"];
/// On the second access: a host that has two lines speaks between them without us.
const PEER: [&str; 2] = ["100.65.0.5", "fd00:65:5::5"];
const SHY: [&str; 2] = ["100.65.0.6", "fd00:65:6::5"];
const OTHER: [&str; 2] = ["100.64.0.7", "fd00:64:7::5"];
/// Beside the others on the first access, and nowhere an address of a host's.
const NEAR: [&str; 2] = ["100.64.0.8", "fd00:64:8::5"];
/// In the pool, without a session.
const UNKNOWN: [&str; 2] = ["100.64.0.99", "fd00:64:99::5"];
/// Not even in the pool.
const NOT_POOLED: [&str; 2] = ["10.20.0.99", "fd00:20::99"];

struct Hosts {
    access: Host,
    access_2: Host,
    internet: Host,
    hq: Host,
    controller: Host,
    desk: Host,
}

impl Hosts {
    fn build(lab: &Lab) -> Result<Self> {
        let mut access = lab.nic("access").mac("02:00:00:00:aa:01").vlan(300);
        access = access.address("172.16.0.1/30").address("fd00:a::1/64");
        for line in [ROAM, ROBOT, TABLET, LOST, OTHER, UNKNOWN, NOT_POOLED] {
            access =
                access.address(&format!("{}/32", line[0])).address(&format!("{}/128", line[1]));
        }
        let mut access_2 = lab.nic("access-2").address("172.16.2.1/30").address("fd00:a2::1/64");
        for line in [PEER, SHY] {
            access_2 =
                access_2.address(&format!("{}/32", line[0])).address(&format!("{}/128", line[1]));
        }
        let mut internet = lab.nic("internet").vlan(10);
        for address in ["198.51.100.1/24", "fd00:f::1/64", "203.0.113.7/32", "fd00:f:7::7/128"] {
            internet = internet.address(address);
        }
        // What it has no business to have: the office's addresses, and a line's.
        for address in ["10.20.0.77/32", "fd00:20::77/128", "100.64.0.77/32", "fd00:64:77::5/128"] {
            internet = internet.address(address);
        }
        let mut hq = lab.nic("hq");
        for address in ["172.16.1.1/30", "fd00:c::1/64", "192.168.7.7/32", "fd00:c:7::7/128"] {
            hq = hq.address(address);
        }
        for address in ["100.64.0.78/32", "fd00:64:78::5/128"] {
            hq = hq.address(address);
        }
        Ok(Self {
            access: access.gateway(ip("172.16.0.2")).gateway(ip("fd00:a::2")).build()?,
            access_2: access_2.gateway(ip("172.16.2.2")).gateway(ip("fd00:a2::2")).build()?,
            internet: internet.gateway(ip("198.51.100.2")).gateway(ip("fd00:f::2")).build()?,
            hq: hq.gateway(ip("172.16.1.2")).gateway(ip("fd00:c::2")).build()?,
            controller: crate::town::host(lab, "controller", [2, 0, 0, 0, 0x10, 0x0a], CONTROLLER)?,
            desk: crate::town::host(lab, "desk", [2, 0, 0, 0, 0x20, 0x0a], DESK)?,
        })
    }

    fn all(&self) -> [&Host; 6] {
        [&self.access, &self.access_2, &self.internet, &self.hq, &self.controller, &self.desk]
    }
}

/// A datagram that nobody receives, and the one reason that is counted for it.
fn stopped(
    sekisho: &Sekisho<'_>,
    captures: &[Capture],
    from: Client<'_>,
    to: IpAddr,
    (tenant, reason): (&str, &str),
) -> Result<()> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mark = format!("not to arrive {number}.");
    let before = sekisho.tally()?;
    udp_send(from, (to, 7001).into(), mark.as_bytes())?;
    let deadline = Instant::now() + PATIENCE / 4;
    loop {
        let tally = sekisho.tally()?.since(&before)?;
        match tally.stopped(tenant, reason) {
            1 => break,
            0 if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            count => anyhow::bail!("{count} packets of {tenant} stopped by {reason}: {tally:?}"),
        }
    }
    for capture in captures {
        let seen = capture.wait_for(Duration::ZERO, |seen| {
            // Quoted in an error it may come back to its sender.
            is_udp(&seen.bytes) && contains(&seen.bytes, mark.as_bytes())
        });
        ensure!(seen.is_none(), "it arrived");
    }
    Ok(())
}

fn is_udp(frame: &[u8]) -> bool {
    let network = if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 };
    let is_v4 = frame.get(network).is_some_and(|version| version >> 4 == 4);
    frame.get(network + if is_v4 { 9 } else { 6 }) == Some(&17)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_line_reaches_its_destination_and_nothing_else() -> Result<()> {
    let lab = Lab::new("mec")?;
    let hosts = Hosts::build(&lab)?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let Hosts { access, access_2, internet, hq, controller, desk } = &hosts;
    let captures = hosts.all().map(Capture::start).into_iter().collect::<Result<Vec<_>>>()?;
    let servers = hosts.all().map(|host| TcpEchoServer::start(host, 7000));
    let _servers = servers.into_iter().collect::<Result<Vec<_>>>()?;

    for at in [0, 1] {
        let at = |addresses: [&str; 2]| ip(addresses[at]);
        let line = |addresses| access.from(at(addresses));
        // A line sees a router as a host does, although at XDP: its hops, and its narrower network.
        let gateway = at(["172.16.0.2", "fd00:a::2"]);
        let hops = traceroute(line(ROAM), at(DESK), &[])?;
        let hops: Vec<_> = hops.into_iter().map(|hop| hop.from).collect();
        assert_eq!(hops, [Some(gateway), Some(at(DESK))]);
        let size = if gateway.is_ipv4() { "1373" } else { "1353" };
        let large = ping(line(ROAM), at(DESK), 1, &["-M", "do", "-s", size])?;
        let told = large.errors.first().map(|error| (error.from, error.mtu));
        assert_eq!(told, Some((Some(gateway), Some(1400))), "{large:?}");
        let router = at(["10.20.0.1", "fd00:20::1"]);
        assert!(ping(line(ROAM), router, 1, &[])?.all_answered());

        // Where each line leads, and back again.
        let reached = [
            ("roam to controller", line(ROAM), at(CONTROLLER)),
            ("roam to desk", line(ROAM), at(DESK)),
            ("robot to controller", line(ROBOT), at(CONTROLLER)),
            ("tablet to headquarters", line(TABLET), at(CLOSED)),
            ("controller to roam", controller.into(), at(ROAM)),
            ("controller to robot", controller.into(), at(ROBOT)),
            ("desk to roam", desk.into(), at(ROAM)),
            ("headquarters to tablet", hq.from(at(CLOSED)), at(TABLET)),
            ("desk to internet", desk.into(), at(OUTSIDE)),
            ("internet to desk", internet.from(at(OUTSIDE)), at(DESK)),
            ("desk to controller", desk.into(), at(CONTROLLER)),
            ("line to line, by a rule that names it", line(ROAM), at(PEER)),
        ];
        for (what, from, to) in reached {
            assert!(ping(from, to, 1, &[])?.all_answered(), "{what}");
            tcp_exchange(from, (to, 7000).into(), 100_000, PATIENCE).context(what)?;
        }

        let factory = |reason| ("factory", reason);
        let refused = [
            ("suspended to controller", line(LOST), at(CONTROLLER), factory("line_suspended")),
            ("controller to suspended", controller.into(), at(LOST), factory("line_suspended")),
            ("unknown to controller", line(UNKNOWN), at(CONTROLLER), ("-", "no_session")),
            ("outside the pool", line(NOT_POOLED), at(CONTROLLER), ("-", "no_session")),
            (
                "controller to unknown",
                controller.into(),
                at(UNKNOWN),
                factory("unknown_destination"),
            ),
            ("robot to desk", line(ROBOT), at(DESK), factory("line_destination")),
            ("desk to robot", desk.into(), at(ROBOT), factory("line_destination")),
            ("robot to internet", line(ROBOT), at(OUTSIDE), factory("line_destination")),
            ("roam to internet", line(ROAM), at(OUTSIDE), factory("not_exported")),
            ("roam to headquarters", line(ROAM), at(CLOSED), factory("not_exported")),
            (
                "tablet to a protected host",
                line(TABLET),
                at(CLOSED_PROTECTED),
                factory("protected_destination"),
            ),
            (
                "desk to a protected host",
                desk.into(),
                at(PROTECTED),
                factory("protected_destination"),
            ),
            ("controller to tablet", controller.into(), at(TABLET), factory("unknown_destination")),
            ("controller to internet", controller.into(), at(OUTSIDE), factory("mec_only")),
            (
                "internet to controller",
                internet.from(at(OUTSIDE)),
                at(CONTROLLER),
                ("-", "not_exported"),
            ),
            ("internet to roam", internet.from(at(OUTSIDE)), at(ROAM), ("-", "not_exported")),
            ("headquarters to roam", hq.from(at(CLOSED)), at(ROAM), ("-", "unknown_destination")),
            ("headquarters to desk", hq.from(at(CLOSED)), at(DESK), ("-", "not_exported")),
            ("headquarters to internet", hq.from(at(CLOSED)), at(OUTSIDE), ("-", "not_exported")),
            (
                "internet as the office",
                internet.from(at(["10.20.0.77", "fd00:20::77"])),
                at(DESK),
                factory("reverse_path"),
            ),
            (
                "internet as a line",
                internet.from(at(["100.64.0.77", "fd00:64:77::5"])),
                at(DESK),
                factory("reverse_path"),
            ),
            (
                "headquarters as a line",
                hq.from(at(["100.64.0.78", "fd00:64:78::5"])),
                at(TABLET),
                ("-", "reverse_path"),
            ),
            // The group of this line is open to all, but no rule names lines.
            ("line to line", line(ROAM), at(SHY), factory("line_to_line")),
            (
                "line to line without a group",
                access_2.from(at(PEER)),
                at(ROAM),
                factory("line_to_line"),
            ),
            ("line to line by another's rule", line(OTHER), at(PEER), factory("line_to_line")),
        ];
        for (what, from, to, reason) in refused {
            stopped(&sekisho, &captures, from, to, reason)
                .with_context(|| format!("{what}, {to}"))?;
        }

        // An error from outside finds its way to the socket that it concerns.
        let outside = (at(OUTSIDE), 7005).into();
        let probe = udp_probe(desk, desk, outside, b"anybody?")?;
        assert_eq!(probe.refused, Some(ErrorKind::ConnectionRefused), "{probe:?}");

        // The tracer says the same as the packets.
        for (number, verdict) in [("1", "forwarded"), ("4", "line_suspended")] {
            let (line, to) = (format!("+81900000000{number}"), at(CONTROLLER).to_string());
            let question = ["trace", "--line", &line, "--to", &to, "--proto", "tcp", "--dport"];
            let told =
                sekisho.cli(&[question.as_slice(), &["7000", "-o", "json"]].concat())?.ok()?;
            assert!(told.contains(verdict), "{told}");
        }

        // On one access, in and out by the same NIC.
        for (from, mark) in [(ROAM, "near, by the rule"), (OTHER, "near, without one")] {
            let from = at(from).to_string();
            let frame = Frame::new([2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 0xaa, 2])
                .ip(&from, &at(NEAR).to_string())
                .udp(4000, 7001)
                .payload(mark.as_bytes());
            let before = sekisho.tally()?;
            access.send_frame(&frame.build())?;
            let arrives =
                |seen: &sekisho_tests::capture::Frame| contains(&seen.bytes, mark.as_bytes());
            if from == at(ROAM).to_string() {
                captures[0].wait_for(PATIENCE, arrives).context("to the line beside it")?;
            } else {
                assert_eq!(captures[0].wait_for(PATIENCE / 100, arrives), None);
                let tally = sekisho.tally()?.since(&before)?;
                assert_eq!(tally.stopped("factory", "line_to_line"), 1, "{tally:?}");
            }
        }

        // A closed network is all that its line sees: the controller's address is looked for there.
        udp_send(line(TABLET), (at(CONTROLLER), 7001).into(), b"is there a controller?")?;
        let asked =
            |seen: &sekisho_tests::capture::Frame| contains(&seen.bytes, b"is there a contr");
        captures[3].wait_for(PATIENCE, asked).context("not at the headquarters")?;
        assert_eq!(captures[4].wait_for(Duration::ZERO, asked), None);
    }
    let sessions = sekisho.cli(&["sessions"])?.ok()?;
    let lost = sessions.lines().find(|row| row.contains(LOST[0])).unwrap_or_default();
    assert!(lost.contains("suspended") && !lost.contains("819000000004"), "{sessions}");
    captures.into_iter().try_for_each(judged)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_network_that_becomes_mec_only_is_closed_at_once() -> Result<()> {
    let lab = Lab::new("mec-only")?;
    let hosts = Hosts::build(&lab)?;
    let closed = Site(SITE.to_owned());
    let exports = "      - {prefix: 10.10.0.0/24, tenant: factory, router: floor}\n      - {prefix: \"fd00:10::/64\", tenant: factory, router: floor}";
    let contradicting = closed.after("{prefix: \"fd00:20::/64\"", exports);
    let open = contradicting.with("mec_only: true", "mec_only: false");
    let sekisho = Sekisho::start(&lab, &open.0)?;
    let captures = [Capture::start(&hosts.controller)?, Capture::start(&hosts.internet)?];
    let mut connections = Vec::new();
    for (outside, inside) in OUTSIDE.map(ip).into_iter().zip(CONTROLLER.map(ip)) {
        let internet = hosts.internet.from(outside);
        connections.push(TcpConn::open(internet, &hosts.controller, (inside, 7000).into())?);
        connections.push(TcpConn::open(
            &hosts.controller,
            &hosts.internet,
            (outside, 7001).into(),
        )?);
    }

    let refused = sekisho.apply(&contradicting.0)?;
    assert!(refused.stderr.contains("belongs to a MEC-only network"), "{refused:?}");
    connections.iter_mut().try_for_each(TcpConn::expect_alive)?;

    let before = sekisho.tally()?;
    sekisho.change(&closed.0)?;
    for conn in &mut connections {
        conn.send_to_server()?;
        conn.send_to_client()?;
    }
    for conn in &connections {
        conn.expect_cut_to_server()?;
        conn.expect_cut_to_client()?;
    }
    let tally = sekisho.tally()?.since(&before)?;
    assert!(tally.stopped("factory", "mec_only") >= 4, "{tally:?}");
    assert!(tally.stopped("factory", "not_exported") >= 4, "{tally:?}");
    captures.into_iter().try_for_each(judged)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_line_is_cut_in_mid_connection_and_comes_back() -> Result<()> {
    let lab = Lab::new("mec-cut")?;
    let hosts = Hosts::build(&lab)?;
    let site = Site(SITE.to_owned());
    let sekisho = Sekisho::start(&lab, SITE)?;
    let captures = [Capture::start(&hosts.controller)?, Capture::start(&hosts.access)?];
    let open = |at: usize| {
        let line = hosts.access.from(ip(ROAM[at]));
        TcpConn::open(line, &hosts.controller, (ip(CONTROLLER[at]), 7000).into())
    };
    let mut connections = [open(0)?, open(1)?];
    // A line beside it goes on, whatever happens.
    let robot = hosts.access.from(ip(ROBOT[0]));
    let mut beside = TcpConn::open(robot, &hosts.controller, (ip(CONTROLLER[0]), 7001).into())?;

    let roam = "{name: roam, number: 090-0000-0001, access: mobile, router: floor}";
    let suspended = site.with(roam, &roam.replace("router", "state: suspended, router"));
    let detached = site.without(&["addresses: [100.64.0.1,"]);
    let elsewhere = site.with(roam, &roam.replace("router: floor", "uplink: hq"));
    let to_office = site.with(roam, &roam.replace("router: floor", "network: office"));
    for (what, change, from_line, to_line) in [
        ("suspended", &suspended, ("factory", "line_suspended"), "line_suspended"),
        ("without a session", &detached, ("-", "no_session"), "unknown_destination"),
        ("led elsewhere", &to_office, ("factory", "line_destination"), "line_destination"),
    ] {
        // Both at once: from the line, and to it.
        let before = sekisho.tally()?;
        sekisho.change(&change.0)?;
        for conn in &mut connections {
            conn.send_to_server()?;
            conn.send_to_client()?;
        }
        for conn in &connections {
            conn.expect_cut_to_server().context(what)?;
            conn.expect_cut_to_client().context(what)?;
        }
        beside.expect_alive().context("the other line")?;
        let tally = sekisho.tally()?.since(&before)?;
        assert!(tally.stopped(from_line.0, from_line.1) >= 4, "{what}: {tally:?}");
        assert!(tally.stopped("factory", to_line) >= 4, "{what}: {tally:?}");
        sekisho.change(SITE)?;
        for conn in &mut connections {
            conn.expect_delivered().context(what)?;
            conn.expect_alive().context(what)?;
        }
    }

    // To another world altogether: what the line sends is looked for there.
    sekisho.change(&elsewhere.0)?;
    for conn in &mut connections {
        conn.send_to_server()?;
        conn.expect_cut_to_server()?;
    }
    sekisho.change(SITE)?;
    for conn in &mut connections {
        conn.expect_delivered().context("back from elsewhere")?;
    }
    captures.into_iter().try_for_each(judged)
}
