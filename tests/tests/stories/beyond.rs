//! May the routers of the mobile network, who have no session, say what a line's flow has to know?
//!
//! ```text
//!   phone 100.64.0.1 ── cell ──(MTU 1300)── upf 172.16.0.1 ── access ── floor ── desk 10.20.0.10
//! ```

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::traffic::{TcpConn, TcpEchoServer, tcp_exchange, tracepath, traceroute};
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{contains, host, judged};

const SITE: &str = r#"
version: 1
country_code: 81
tenants:
  - name: factory
    networks:
      - {name: office, subnets: [{cidr: 10.20.0.0/24}, {cidr: "fd00:20::/64"}]}
    ports:
      - {name: desk, network: office, interface: desk, mac: 02:00:00:00:20:0a, fixed_ips: [10.20.0.10, "fd00:20::10"], security_groups: [client]}
    routers:
      - {name: floor, interfaces: [{network: office}]}
    security_groups:
      - name: client
        rules:
          - {direction: ingress, protocol: tcp, port_range_min: 7000, port_range_max: 7000}
          - {direction: ingress, ethertype: IPv6, protocol: tcp, port_range_min: 7000, port_range_max: 7000}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
    lines:
      - {name: phone, number: 090-0000-0001, access: mobile, router: floor}
accesses:
  - name: mobile
    interface: access
    mac: 02:00:00:00:aa:02
    addresses: [172.16.0.2/30, "fd00:a::2/64"]
    next_hop: {address: 172.16.0.1, mac: 02:00:00:00:aa:01}
    pools: [100.64.0.0/16, "fd00:64::/32"]
entitlements:
  - {tenant: factory, access: mobile, numbers: [090-0000-0001]}
sessions:
  - {access: mobile, number: 090-0000-0001, addresses: [100.64.0.1, "fd00:64:1::/64"]}
"#;

const DESK: [&str; 2] = ["10.20.0.10", "fd00:20::10"];
const GATEWAY: [&str; 2] = ["10.20.0.1", "fd00:20::1"];
const PHONE: [&str; 2] = ["100.64.0.1", "fd00:64:1::5"];
/// Our next hop on the access, and the router behind it.
const UPF: [&str; 2] = ["172.16.0.1", "fd00:a::1"];
const CELL: [&str; 2] = ["172.17.0.2", "fd00:b::2"];
const NARROW: u32 = 1300;
const NEXT_HOP_MAC: [u8; 6] = [2, 0, 0, 0, 0xaa, 1];
const ACCESS_MAC: [u8; 6] = [2, 0, 0, 0, 0xaa, 2];

/// What lies beyond the access.
struct Mobile {
    upf: Host,
    _cell: Host,
    phone: Host,
}

impl Mobile {
    fn build(lab: &Lab) -> Result<Self> {
        let upf = lab.nic("access").mac("02:00:00:00:aa:01");
        let upf = upf.address("172.16.0.1/30").address("fd00:a::1/64");
        let upf = upf.gateway(ip("172.16.0.2")).gateway(ip("fd00:a::2")).build()?;
        let (cell, phone) = (lab.host("cell").build()?, lab.host("phone").build()?);
        cable(&upf, &cell, "1300")?;
        cable(&cell, &phone, "1500")?;
        for (host, commands) in [
            (
                &upf,
                &["address add 172.17.0.1/30 dev south", "address add fd00:b::1/64 dev south"][..],
            ),
            (
                &upf,
                &["route add 100.64.0.0/16 via 172.17.0.2", "route add fd00:64::/32 via fd00:b::2"],
            ),
            (&cell, &["address add 172.17.0.2/30 dev north", "address add fd00:b::2/64 dev north"]),
            (&cell, &["address add 172.18.0.1/30 dev south", "address add fd00:c::1/64 dev south"]),
            (&cell, &["route add 100.64.0.1 dev south", "route add fd00:64:1::/64 dev south"]),
            (&cell, &["route add default via 172.17.0.1", "route add default via fd00:b::1"]),
            (
                &phone,
                &["address add 100.64.0.1/32 dev north", "address add fd00:64:1::5/64 dev north"],
            ),
            (&phone, &["route add 172.18.0.1 dev north", "route add fd00:c::1 dev north"]),
            (&phone, &["route add default via 172.18.0.1", "route add default via fd00:c::1"]),
        ] {
            for command in commands {
                let words: Vec<_> = ["ip"].into_iter().chain(command.split(' ')).collect();
                host.run(&words)?.ok()?;
            }
        }
        for router in [&upf, &cell] {
            router.sysctl("ipv4/ip_forward", "1")?;
            router.sysctl("ipv6/conf/all/forwarding", "1")?;
        }
        for (host, interface) in [(&upf, "south"), (&cell, "south"), (&phone, "north")] {
            host.wait_until_up(interface)?;
        }
        Ok(Self { upf, _cell: cell, phone })
    }
}

/// One cable between two hosts, in the place of the lower one's to the device under test.
fn cable(upper: &Host, lower: &Host, mtu: &str) -> Result<()> {
    lower.run(&["ip", "link", "delete", lower.link()])?.ok()?;
    let add = ["ip", "link", "add", "south", "mtu", mtu, "type", "veth"];
    let to = ["peer", "name", "north", "mtu", mtu, "netns", lower.name()];
    upper.run(&[&add[..], &to].concat())?.ok()?;
    upper.run(&["ip", "link", "set", "south", "up"])?.ok()?;
    lower.run(&["ip", "link", "set", "north", "up"])?.ok()?;
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_narrow_link_of_the_mobile_network_is_found_out() -> Result<()> {
    let lab = Lab::new("beyond")?;
    let mobile = Mobile::build(&lab)?;
    let desk = host(&lab, "desk", [2, 0, 0, 0, 0x20, 0x0a], DESK)?;
    let _sekisho = Sekisho::start(&lab, SITE)?;
    let captures = [Capture::start(&desk)?, Capture::start(&mobile.upf)?];
    let _servers = [TcpEchoServer::start(&desk, 7000)?, TcpEchoServer::start(&mobile.phone, 7001)?];

    for at in [0, 1] {
        let (to_desk, to_phone) = (ip(DESK[at]), ip(PHONE[at]));
        // Who sends more than the link takes hears it from the router before it.
        tcp_exchange(&mobile.phone, (to_desk, 7000).into(), 300_000, PATIENCE)?;
        forget_routes(&desk)?;
        tcp_exchange(&desk, (to_phone, 7001).into(), 300_000, PATIENCE)?;
        forget_routes(&desk)?;
        ensure!(tracepath(&desk, to_phone, 30_000)? == NARROW, "{to_phone}");

        let hops = traceroute(&desk, to_phone, &[])?;
        let hops: Vec<_> = hops.into_iter().map(|hop| hop.from).collect();
        let [gateway, upf, cell] = [GATEWAY, UPF, CELL].map(|of| Some(ip(of[at])));
        ensure!(hops == [gateway, upf, cell, Some(to_phone)], "{hops:?}");
    }
    captures.into_iter().try_for_each(judged)
}

/// So that the next who speaks has to find out by himself.
fn forget_routes(host: &Host) -> Result<()> {
    host.run(&["ip", "route", "flush", "cache"])?.ok()?;
    host.run(&["ip", "-6", "route", "flush", "cache"])?.ok()?;
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn nothing_else_enters_without_a_session() -> Result<()> {
    let lab = Lab::new("forged-beyond")?;
    let mobile = Mobile::build(&lab)?;
    let desk = host(&lab, "desk", [2, 0, 0, 0, 0x20, 0x0a], DESK)?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let at_desk = Capture::start(&desk)?;

    for at in [0, 1] {
        let [own, phone, upf] = [DESK, PHONE, UPF].map(|of| of[at]);
        let mut conn = TcpConn::open(&desk, &mobile.phone, (ip(phone), 7001).into())?;
        let port = conn.local_address()?.port();
        let from_upf = |from: &str| Frame::new(NEXT_HOP_MAC, ACCESS_MAC).ip(from, own);
        let error = |from: &str, quoted_port: u16, mark: &[u8]| {
            let quoted = Frame::new(ACCESS_MAC, NEXT_HOP_MAC).ip(own, phone).ttl(62);
            let quoted = quoted.tcp(quoted_port, 7001, 16, 1, 1).payload(mark).packet();
            let (kind, code) = if ip(own).is_ipv4() { (3, 4) } else { (2, 0) };
            from_upf(from).icmp(kind, code, [0, 0, 5, 0]).payload(&quoted)
        };
        mobile.upf.send_frame(&error(upf, port, b"true").build())?;
        at_desk.wait_for(PATIENCE, |seen| contains(&seen.bytes, b"true")).context("a true one")?;

        let before = sekisho.tally()?;
        let neighbour = ["10.20.0.99", "fd00:20::99"][at];
        for forged in [
            from_upf(upf).udp(7001, 7000).payload(b"fals"),
            error(upf, 1, b"fals"),
            error(neighbour, port, b"fals"),
        ] {
            mobile.upf.send_frame(&forged.build())?;
        }
        let forgery = at_desk.wait_for(SILENCE / 5, |seen| contains(&seen.bytes, b"fals"));
        assert_eq!(forgery, None);
        let tally = sekisho.tally()?.since(&before)?;
        assert_eq!(tally.stopped("-", "no_session"), 2, "{tally:?}");
        assert_eq!(tally.stopped("factory", "reverse_path"), 1, "{tally:?}");
        conn.expect_alive()?;
    }
    judged(at_desk)
}
