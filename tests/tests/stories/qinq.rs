//! Do two tenants behind one interface, with the same VLAN in two service VLANs, work as two
//! behind two interfaces, and does nothing of the one reach the other?
//!
//! ```text
//! blue-t 10.0.0.10 [5 [7 ─┐         ┌ blue-s 10.0.0.20
//!                         ├─ trunk ─┤
//!  red-t 10.0.0.10 [6 [7 ─┘         ├ red-s  10.0.0.20
//!  plain 10.2.0.10    [7 ─┘         └ blue-r ── uplink [30 ── outside 10.3.0.1
//! ```
//! Red has blue's addresses, and no way to the uplink. `plain`, of blue, has the same VLAN alone.

use anyhow::{Context, Result, ensure};
use sekisho_tests::{
    Capture, Host, Lab, Sekisho,
    build::{Frame, ip},
    capture,
    process::PATIENCE,
    traffic::{TcpEchoServer, ping, tcp_exchange, traceroute, udp_probe, udp_send},
};

use crate::town::{contains, judged};

const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
      - {name: other, subnets: [{cidr: 10.2.0.0/24}, {cidr: "fd00:2::/64"}]}
    routers:
      - name: r
        mac: 02:00:00:00:00:01
        interfaces: [{network: lan}, {network: other}]
        routes: [{destination: 0.0.0.0/0, uplink: outside}, {destination: "::/0", uplink: outside}]
    ports:
      - {name: t, network: lan, interface: trunk, hook: HOOK, vlan: 7, service_vlan: 5, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open]}
      - {name: s, network: lan, interface: blue-s, mac: 02:00:00:00:00:0b, fixed_ips: [10.0.0.20, "fd00::20"], security_groups: [open]}
      - {name: plain, network: other, interface: trunk, vlan: 7, mac: 02:00:00:00:00:0c, fixed_ips: [10.2.0.10, "fd00:2::10"], security_groups: [open]}
    security_groups:
      - name: open
        rules: [{direction: egress}, {direction: egress, ethertype: IPv6}, {direction: ingress}, {direction: ingress, ethertype: IPv6}]
  - name: red
    networks:
      - {name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
    ports:
      - {name: t, network: lan, interface: trunk, vlan: 7, service_vlan: 6, mac: 02:00:00:00:00:1a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open]}
      - {name: s, network: lan, interface: red-s, mac: 02:00:00:00:00:1b, fixed_ips: [10.0.0.20, "fd00::20"], security_groups: [open]}
    security_groups:
      - name: open
        rules: [{direction: egress}, {direction: egress, ethertype: IPv6}, {direction: ingress}, {direction: ingress, ethertype: IPv6}]
uplinks:
  - name: outside
    interface: nic-o
    vlan: 30
    addresses: [10.3.0.254/24, "fd00:3::fe/64"]
    next_hops: [{address: 10.3.0.1}, {address: "fd00:3::1"}]
    exports:
      - {prefix: 10.0.0.0/24, tenant: blue, router: r}
      - {prefix: "fd00::/64", tenant: blue, router: r}
      - {prefix: 10.2.0.0/24, tenant: blue, router: r}
      - {prefix: "fd00:2::/64", tenant: blue, router: r}
"#;

const T: [&str; 2] = ["10.0.0.10", "fd00::10"];
const S: [&str; 2] = ["10.0.0.20", "fd00::20"];
const PLAIN: [&str; 2] = ["10.2.0.10", "fd00:2::10"];
const OUTSIDE: [&str; 2] = ["10.3.0.1", "fd00:3::1"];
/// Packets that need fragments, and one that just does not.
const PING_BYTES: [&str; 2] = ["8000", "1452"];

struct Hosts {
    blue_t: Host,
    blue_s: Host,
    plain: Host,
    red_t: Host,
    red_s: Host,
    outside: Host,
    /// At the trunk, without any tag of its own.
    stranger: Host,
    _switch: Host,
}

impl Hosts {
    fn build(lab: &Lab, hook: &str) -> Result<Self> {
        let host = |name: &str, last: u8, net: &str, at: &str| {
            let host = lab.host(name).mac(&format!("02:00:00:00:00:{last:02x}"));
            let host = host.address(&format!("10.{net}.0.{at}/24"));
            let v6 = if net == "0" { "fd00:".to_owned() } else { format!("fd00:{net}:") };
            let host = host.address(&format!("{v6}:{at}/64"));
            host.gateway(ip(&format!("10.{net}.0.1"))).gateway(ip(&format!("{v6}:1")))
        };
        let outside = lab.nic("nic-o").vlan(30).address("10.3.0.1/24").address("fd00:3::1/64");
        let blue_t = host("blue-t", 0x0a, "0", "10").vlan(7).service_vlan(5).build()?;
        let plain = host("plain", 0x0c, "2", "10").vlan(7).build()?;
        let red_t = host("red-t", 0x1a, "0", "10").vlan(7).service_vlan(6).build()?;
        let stranger = lab.host("stranger").mtu(1504).build()?;
        Ok(Self {
            _switch: trunk(lab, &[&blue_t, &red_t, &plain, &stranger], hook == "xdp")?,
            blue_t,
            blue_s: host("blue-s", 0x0b, "0", "20").build()?,
            plain,
            red_t,
            red_s: host("red-s", 0x1b, "0", "20").build()?,
            outside: outside.gateway(ip("10.3.0.254")).gateway(ip("fd00:3::fe")).build()?,
            stranger,
        })
    }

    fn all(&self) -> [&Host; 6] {
        [&self.blue_t, &self.blue_s, &self.plain, &self.red_t, &self.red_s, &self.outside]
    }
}

/// Joins the hosts to the interface `trunk` by a switch that knows nothing of tags. For XDP what
/// comes off it is as off a cable.
fn trunk(lab: &Lab, hosts: &[&Host], is_cable: bool) -> Result<Host> {
    let switch = lab.host("switch").interface("trunk").mtu(1504).build()?;
    let run = |line: &str| switch.run(&line.split(' ').collect::<Vec<_>>())?.ok();
    run("ip link add br0 mtu 1504 up type bridge mcast_snooping 0")?;
    if is_cable {
        run("ethtool -K eth0 gro on tx off txvlan off tx-vlan-stag-hw-insert off")?;
    }
    for interface in hosts.iter().map(|host| host.dut_interface()) {
        lab.dut().run(&["ip", "link", "set", interface, "netns", switch.name()])?.ok()?;
        run(&format!("ip link set {interface} master br0 up"))?;
    }
    run("ip link set eth0 master br0")?;
    switch.wait_until_up("br0")?;
    Ok(switch)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn tenants_of_two_service_vlans_share_an_interface() -> Result<()> {
    for hook in ["tcx", "xdp"] {
        let lab = Lab::new(&format!("qinq-{hook}"))?;
        let hosts = Hosts::build(&lab, hook)?;
        let mut sekisho = Sekisho::start(&lab, &SITE.replace("HOOK", hook))?;
        sekisho.unbalanced("a switch stands before the interface");
        let status = sekisho.status()?;
        let at = status.attachments.iter().find(|at| at.service_vlan == Some(5));
        assert_eq!(at.map(|at| (at.vlan, at.hook.as_str())), Some((Some(7), hook)));
        let captures = hosts.all().map(Capture::start);
        meet(&hosts).context(hook)?;
        let before = sekisho.tally()?;
        apart(&hosts).context(hook)?;
        odd(&hosts, &sekisho).context(hook)?;
        let tally = sekisho.tally()?.since(&before)?;
        for (place, name) in [("trunk.5.7", "network blue/lan"), ("trunk.6.7", "network red/lan")] {
            let at = tally.at(place)?;
            assert_eq!(at.object, name);
            ensure!(at.received.packets > 0 && at.sent.packets > 0, "{hook} {place}: {tally:?}");
        }
        let told = sekisho.cli(&["counters"])?.ok()?;
        ensure!(told.contains("trunk.5.7") && told.contains("trunk.6.7"), "{told}");
        let services = [Some((0x0a, 5)), None, None, Some((0x1a, 6)), None, None];
        for (capture, tags) in captures.into_iter().zip(services) {
            let capture = capture?;
            let wrong = capture.count(|frame| match tags {
                // The switch may show it what is another's.
                Some((last, service)) => {
                    let is_its_own = frame.bytes[..6] == [2, 0, 0, 0, 0, last];
                    is_its_own && frame.bytes[12..20] != [0x88, 0xa8, 0, service, 0x81, 0, 0, 7]
                }
                None => {
                    let is_shown = frame.bytes[0] & 1 != 0;
                    !is_shown && frame.bytes[12..14] == [0x88, 0xa8]
                }
            });
            ensure!(wrong == 0, "{hook}: {wrong} frames have other tags than {tags:?}");
            judged(capture)?;
        }
    }
    Ok(())
}

/// Everybody reaches whom it may: large TCP, pings that are cut and that are not, routers.
fn meet(hosts: &Hosts) -> Result<()> {
    let Hosts { blue_t, blue_s, plain, red_t, red_s, outside, .. } = hosts;
    let servers = hosts.all().map(|host| TcpEchoServer::start(host, 7000));
    let _servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    for at in 0..2 {
        for (what, from, server, to) in [
            ("two tags to none", blue_t, blue_s, S[at]),
            ("none to two", blue_s, blue_t, T[at]),
            ("two tags to one", blue_t, plain, PLAIN[at]),
            ("one to two", plain, blue_t, T[at]),
            ("two tags to an uplink of one", blue_t, outside, OUTSIDE[at]),
            ("an uplink of one to two", outside, blue_t, T[at]),
            ("red's two tags to none", red_t, red_s, S[at]),
            ("red's none to two", red_s, red_t, T[at]),
        ] {
            let to = ip(to);
            for bytes in PING_BYTES {
                let pinged = ping(from, to, 2, &["-s", bytes])?;
                ensure!(pinged.all_answered(), "{what}, {bytes} bytes: {pinged:?}");
            }
            tcp_exchange(from, (to, 7000).into(), 1_000_000, PATIENCE).context(what)?;
            let probe = udp_probe(from, server, (to, 7001).into(), b"tagged").context(what)?;
            ensure!(probe.arrived.is_some() && probe.answered, "{what}: {probe:?}");
        }
        // A router answers, and says that hops are used up.
        let gateway = ip(["10.0.0.1", "fd00::1"][at]);
        ensure!(ping(blue_t, gateway, 1, &[])?.all_answered(), "the gateway is silent");
        let hops = traceroute(blue_t, ip(OUTSIDE[at]), &[])?;
        let first = hops.first().and_then(|hop| hop.from);
        ensure!(first == Some(gateway), "{hops:?}");
    }
    Ok(())
}

/// Of one tenant's nothing reaches the other, whose addresses are the same, nor the VLAN alone.
fn apart(hosts: &Hosts) -> Result<()> {
    let Hosts { blue_t, blue_s, red_t, red_s, .. } = hosts;
    let [at_blue_t, at_blue_s] = [Capture::start(blue_t)?, Capture::start(blue_s)?];
    let [at_red_t, at_red_s] = [Capture::start(red_t)?, Capture::start(red_s)?];
    for at in 0..2 {
        udp_send(blue_t, (ip(S[at]), 7002).into(), b"blue, tagged")?;
        udp_send(red_t, (ip(S[at]), 7002).into(), b"red, tagged")?;
        udp_send(blue_s, (ip(T[at]), 7002).into(), b"blue, tagged")?;
        udp_send(red_s, (ip(T[at]), 7002).into(), b"red, tagged")?;
        let pinged = ping(red_t, ip(OUTSIDE[at]), 1, &[])?;
        ensure!(pinged.received == 0, "red reaches the uplink");
    }
    // To everybody of each tenant's network.
    let everybody = |from: u8| Frame::new([2, 0, 0, 0, 0, from], [0xff; 6]);
    let called = |frame: Frame, own: &str| frame.ip(own, "255.255.255.255").udp(7003, 7003);
    let call = |last, own, payload: &[u8]| called(everybody(last), own).payload(payload).build();
    blue_s.send_frame(&call(0x0b, S[0], b"blue, tagged call"))?;
    red_s.send_frame(&call(0x1b, S[0], b"red, tagged call"))?;
    let arrives = |capture: &Capture, words: &'static [u8]| {
        let found = capture.wait_for(PATIENCE, |frame| contains(&frame.bytes, words));
        found.with_context(|| format!("{:?} does not arrive", String::from_utf8_lossy(words)))
    };
    arrives(&at_blue_t, b"blue, tagged call")?;
    arrives(&at_red_t, b"red, tagged call")?;
    arrives(&at_blue_s, b"blue, tagged")?;
    arrives(&at_red_s, b"red, tagged")?;
    // The switch may show everybody at the trunk what is another's; that has the other's tags.
    let is_of = |frame: &capture::Frame, words, service| {
        let tags = [0x88, 0xa8, 0, service, 0x81, 0, 0, 7];
        contains(&frame.bytes, words) && frame.bytes[12..20] != tags
    };
    ensure!(at_blue_t.count(|frame| is_of(frame, b"red, tagged", 6)) == 0, "red reaches blue");
    ensure!(at_red_t.count(|frame| is_of(frame, b"blue, tagged", 5)) == 0, "blue reaches red");
    let has = |words: &'static [u8]| move |frame: &capture::Frame| contains(&frame.bytes, words);
    ensure!(at_blue_s.count(has(b"red, tagged")) == 0, "red reaches blue");
    ensure!(at_red_s.count(has(b"blue, tagged")) == 0, "blue reaches red");
    Ok(())
}

/// Other tags are nobody's, and counted as such.
fn odd(hosts: &Hosts, sekisho: &Sekisho<'_>) -> Result<()> {
    let stopped = |reason| Ok::<_, anyhow::Error>(sekisho.tally()?.stopped("-", reason));
    let before = [stopped("tag_unsupported")?, stopped("no_attachment")?];
    let frame = || {
        let frame = Frame::new([2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 0, 0x0b]);
        frame.ip(T[0], S[0]).udp(1, 7004).payload(b"odd tags")
    };
    const CUSTOMER: u16 = 0x8100;
    const SERVICE: u16 = 0x88a8;
    let capture = Capture::start(&hosts.blue_s)?;
    let unsupported: [&[(u16, u16)]; 6] = [
        &[(SERVICE, 5)],
        &[(CUSTOMER, 5), (CUSTOMER, 7)],
        &[(CUSTOMER, 5), (SERVICE, 7)],
        &[(SERVICE, 0), (CUSTOMER, 7)],
        &[(SERVICE, 5), (CUSTOMER, 0)],
        &[(SERVICE, 5), (CUSTOMER, 7), (CUSTOMER, 7)],
    ];
    let nobodys: [&[(u16, u16)]; 3] =
        [&[(SERVICE, 7), (CUSTOMER, 5)], &[(SERVICE, 5), (CUSTOMER, 8)], &[(CUSTOMER, 5)]];
    for tags in unsupported.into_iter().chain(nobodys) {
        let tagged = tags.iter().fold(frame(), |frame, &(protocol, id)| frame.tag(protocol, id));
        hosts.stranger.send_frame(&tagged.build())?;
    }
    // Then one that passes: all before have been judged.
    hosts.blue_t.send_frame(&frame().payload(b"the last").build())?;
    let last = capture.wait_for(PATIENCE, |frame| contains(&frame.bytes, b"the last"));
    last.context("what has the right tags does not arrive")?;
    ensure!(capture.count(|frame| contains(&frame.bytes, b"odd tags")) == 0, "it has arrived");
    ensure!(stopped("tag_unsupported")? - before[0] == 6, "{:?}", sekisho.tally()?);
    // Others of the switch may say something as well.
    ensure!(stopped("no_attachment")? - before[1] >= 3, "{:?}", sekisho.tally()?);
    Ok(())
}

const NARROW: &str = r#"
version: 1
tenants:
  - name: blue
    networks: [{name: lan, subnets: [{cidr: 10.0.0.0/24}]}]
    routers:
      - {name: r, mac: 02:00:00:00:00:01, interfaces: [{network: lan}], routes: [{destination: 0.0.0.0/0, uplink: outside}]}
    ports:
      - {name: a, network: lan, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10], security_groups: [open]}
    security_groups:
      - {name: open, rules: [{direction: egress}]}
uplinks:
  - name: outside
    interface: nic-o
    vlan: 7
    service_vlan: 5
    addresses: [10.3.0.254/24]
    next_hops: [{address: 10.3.0.1}]
    exports: [{prefix: 10.0.0.0/24, tenant: blue, router: r}]
"#;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_a_device_has_no_room_for_behind_two_tags_is_counted() -> Result<()> {
    let lab = Lab::new("qinq-narrow")?;
    let a = lab.host("blue-a").mac("02:00:00:00:00:0a").address("10.0.0.10/24");
    let a = a.gateway(ip("10.0.0.1")).build()?;
    // The devices have 1500.
    let outside = lab.nic("nic-o").vlan(7).service_vlan(5).mtu(1496).address("10.3.0.1/24");
    let _outside = outside.gateway(ip("10.3.0.254")).build()?;
    let sekisho = Sekisho::start(&lab, NARROW)?;
    let to = ip("10.3.0.1");
    ensure!(ping(&a, to, 1, &["-M", "do", "-s", "1468"])?.all_answered(), "1,496 bytes get lost");
    let before = sekisho.tally()?;
    ensure!(ping(&a, to, 3, &["-M", "do", "-s", "1472"])?.received == 0, "1,500 bytes arrive");
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.at("nic-o.5.7")?.refused == 3, "{tally:?}");
    Ok(())
}
