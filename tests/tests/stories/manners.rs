//! Does the router do what RFC 1812 and RFC 4443 want of it, and none of what they forbid?

use anyhow::{Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange, tracepath};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::town::{
    A, A_ADDRESSES, B_ADDRESSES, C, C_ADDRESSES, ROUTER, Site, Town, contains, judged,
};

const MARKER: &[u8] = b"this must not arrive";

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn the_mtu_of_a_narrowed_link_is_found_out() -> Result<()> {
    let lab = Lab::new("pmtu")?;
    let town = Town::build(&lab)?;
    // tracepath's probes go to ever higher ports, and the server's kernel refuses them.
    let site = Site::town()
        .with("{name: public, subnets", "{name: public, mtu: 1400, subnets")
        .with("protocol: udp, port_range_min: 7000, port_range_max: 7009", "protocol: udp");
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let (a, b) = (&town.blue_a, &town.blue_b);
    let captures = [Capture::start(a)?, Capture::start(b)?];
    let _server = TcpEchoServer::start(b, 7000)?;

    for to in B_ADDRESSES.map(ip) {
        ensure!(tracepath(a, to, 30_000)? == 1400, "{to}");
        a.run(&["ip", "route", "flush", "cache"])?.ok()?;
        a.run(&["ip", "-6", "route", "flush", "cache"])?.ok()?;
        // Both ways: the answers are as long as the questions.
        tcp_exchange(a, (to, 7000).into(), 500_000, PATIENCE)?;
    }
    // Who lets us cut its packets is told as well.
    a.run(&["ip", "route", "flush", "cache"])?.ok()?;
    let before = sekisho.tally()?;
    let told = ping(a, ip(B_ADDRESSES[0]), 1, &["-M", "dont", "-s", "1450"])?;
    ensure!(told.errors.first().and_then(|error| error.mtu) == Some(1400), "{told:?}");
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.stopped("blue", "too_big") == 1, "{tally:?}");
    captures.into_iter().try_for_each(judged)
}

/// Networks and a link of two addresses each (RFC 3021, RFC 6164).
const PAIRS: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: one, subnets: [{cidr: 10.3.0.0/31, gateway: 10.3.0.0}, {cidr: "fd03::/127", gateway: "fd03::"}]}
      - {name: two, subnets: [{cidr: 10.4.0.0/31, gateway: 10.4.0.1}, {cidr: "fd04::/127", gateway: "fd04::1"}]}
    routers:
      - {name: r, interfaces: [{network: one}, {network: two}], routes: [{destination: 0.0.0.0/0, uplink: out}, {destination: "::/0", uplink: out}]}
    ports:
      - {name: a, network: one, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.3.0.1, "fd03::1"], security_groups: [all]}
      - {name: b, network: two, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.4.0.0, "fd04::"], security_groups: [all]}
    security_groups:
      - {name: all, rules: [{direction: egress}, {direction: egress, ethertype: IPv6}, {direction: ingress}, {direction: ingress, ethertype: IPv6}]}
uplinks:
  - name: out
    interface: nic
    addresses: [198.51.100.0/31, "2001:db8:ff::/127"]
    next_hops: [{address: 198.51.100.1}, {address: "2001:db8:ff::1"}]
    exports:
      - {prefix: 10.3.0.0/31, tenant: blue, router: r}
      - {prefix: "fd03::/127", tenant: blue, router: r}
"#;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn networks_and_links_of_two_addresses_are_networks_and_links() -> Result<()> {
    let lab = Lab::new("pairs")?;
    let pair = |name, mac, v4, v6, gateways: [&str; 2]| {
        let host = lab.host(name).mac(mac).address(v4).address(v6);
        host.gateway(ip(gateways[0])).gateway(ip(gateways[1])).build()
    };
    let a =
        pair("blue-a", "02:00:00:00:00:0a", "10.3.0.1/31", "fd03::1/127", ["10.3.0.0", "fd03::"])?;
    let b =
        pair("blue-b", "02:00:00:00:00:0b", "10.4.0.0/31", "fd04::/127", ["10.4.0.1", "fd04::1"])?;
    let out = lab.nic("nic").address("198.51.100.1/31").address("2001:db8:ff::1/127");
    let out = out.gateway(ip("198.51.100.0")).gateway(ip("2001:db8:ff::")).build()?;
    let _sekisho = Sekisho::start(&lab, PAIRS)?;
    let captures = [Capture::start(&a)?, Capture::start(&b)?, Capture::start(&out)?];
    for (from, to) in [
        (&a, ["10.4.0.0", "fd04::"]),
        (&b, ["10.3.0.1", "fd03::1"]),
        (&a, ["10.3.0.0", "fd03::"]),
        (&b, ["10.4.0.1", "fd04::1"]),
        (&a, ["198.51.100.1", "2001:db8:ff::1"]),
        (&out, ["10.3.0.1", "fd03::1"]),
        (&out, ["198.51.100.0", "2001:db8:ff::"]),
    ] {
        for to in to.map(ip) {
            ensure!(ping(from, to, 2, &[])?.all_answered(), "{} to {to}", from.name());
        }
    }
    captures.into_iter().try_for_each(judged)
}

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 2];
const UPLINK: &str = r#"
uplinks:
  - name: out
    interface: nic
    mac: 02:00:00:00:ff:02
    addresses: [198.51.100.2/24, "2001:db8:ff::2/64"]
    next_hops: [{address: 198.51.100.1}, {address: "2001:db8:ff::1"}]
    protected: [192.0.2.64/26, "2001:db8:66::/64"]
    exports:
      - {prefix: 10.1.0.0/24, tenant: blue, router: r}
      - {prefix: "fd00:1::/64", tenant: blue, router: r}
"#;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_comes_from_nowhere_or_is_for_everybody_goes_nowhere() -> Result<()> {
    let lab = Lab::new("martians")?;
    let town = Town::build(&lab)?;
    let outside = lab.nic("nic").address("198.51.100.1/24").address("2001:db8:ff::1/64");
    let outside = outside.build()?;
    // Red's router has a line of the same words, and no way out.
    let ways = "interfaces: [{network: inside}, {network: public}], routes: [{destination: 0.0.0.0/0, uplink: out}, {destination: \"::/0\", uplink: out}]}";
    let town_site = Site::town().0;
    let blue = town_site.replacen("interfaces: [{network: inside}, {network: public}]}", ways, 1);
    let sekisho = Sekisho::start(&lab, &format!("{blue}{UPLINK}"))?;
    let at_b = Capture::start(&town.blue_b)?;
    let datagram = |from: &str, to: &str| {
        let frame = Frame::new([2, 0, 0, 0, 0xff, 1], OUR_MAC).ip(from, to).udp(4000, 7001);
        outside.send_frame(&frame.payload(MARKER).build())
    };
    let [b4, b6] = B_ADDRESSES;
    for (froms, to, reason, tenant) in [
        // Nobody's (RFC 6890).
        (
            &["127.0.0.1", "0.0.0.5", "240.0.0.1", "224.0.0.5", "255.255.255.255"][..],
            b4,
            "martian_source",
            "-",
        ),
        (&["::1", "ff02::1", "::"], b6, "martian_source", "-"),
        // Ours, our tenants', or not to be reached by this uplink.
        (&["198.51.100.2", "10.1.0.99", "192.0.2.66"], b4, "reverse_path", "blue"),
        (&["2001:db8:ff::2", "fd00:1::99", "2001:db8:66::9"], b6, "reverse_path", "blue"),
        // Not for outside, or for everybody in a network (RFC 2644).
        (&["203.0.113.9"], A_ADDRESSES[0], "not_exported", "-"),
        (&["203.0.113.9"], "10.1.0.255", "destination_unroutable", "blue"),
        (&["203.0.113.9"], "10.1.0.0", "destination_unroutable", "blue"),
    ] {
        let before = sekisho.tally()?;
        froms.iter().try_for_each(|from| datagram(from, to))?;
        let tally = sekisho.tally()?.since(&before)?;
        let stops: Vec<_> =
            tally.stops().map(|(.., reason, packets)| (reason.to_owned(), packets)).collect();
        ensure!(
            stops == [(reason.to_owned(), froms.len() as u64)] && tally.stopped(tenant, reason) > 0,
            "{froms:?} to {to}: {stops:?}, {tally:?}"
        );
    }
    // What the provider keeps for itself cannot be reached from inside, either.
    let before = sekisho.tally()?;
    for (from, to) in A_ADDRESSES.into_iter().zip(["192.0.2.66", "2001:db8:66::66"]) {
        let frame = Frame::new(A, ROUTER).ip(from, to).udp(1, 2).payload(MARKER);
        town.blue_a.send_frame(&frame.build())?;
    }
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.stopped("blue", "protected_destination") == 2, "{tally:?}");
    ensure!(at_b.wait_for(SILENCE, |seen| contains(&seen.bytes, MARKER)).is_none(), "it arrived");
    // What is as it should be does arrive.
    for (from, to) in ["203.0.113.9", "2001:db8:9::9"].into_iter().zip(B_ADDRESSES) {
        datagram(from, to)?;
        let arrived = at_b.wait_for(PATIENCE, |seen| {
            contains(&seen.bytes, MARKER) && (seen.bytes[12] == 8) == ip(to).is_ipv4()
        });
        ensure!(arrived.is_some(), "{from} to {to}");
    }
    judged(at_b)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn one_tenants_errors_are_limited_and_no_others() -> Result<()> {
    let lab = Lab::new("errorrate")?;
    let town = Town::build(&lab)?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let flood = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]).ttl(1).udp(1, 7001);
    let flood = flood.build();
    let before = sekisho.tally()?;
    town.blue_a.send_frames(&flood, FLOOD)?;
    // Another tenant is told at once.
    let told = ping(&town.red_a, ip(B_ADDRESSES[0]), 1, &["-t", "1"])?;
    ensure!(told.errors.len() == 1, "{told:?}");
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.stopped("blue", "ttl_exceeded") == FLOOD, "{tally:?}");
    let reported = tally.at("blue-a")?.reported.packets;
    ensure!(reported > 0 && reported < FLOOD, "{reported} of {FLOOD}");
    Ok(())
}

const FLOOD: u64 = 5000;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_router_redirects_nobody() -> Result<()> {
    let lab = Lab::new("redirects")?;
    let town = Town::build(&lab)?;
    // The neighbour takes everything, so that only the router could have something to say.
    let open = "      - name: client\n        rules:\n          - {id: in-v4, direction: ingress}\n          - {id: in-v6, direction: ingress, ethertype: IPv6}";
    let site = Site::town().with("      - name: client\n        rules:", open);
    let _sekisho = Sekisho::start(&lab, &site.0)?;
    let (at_a, at_c) = (Capture::start(&town.blue_a)?, Capture::start(&town.blue_c)?);
    for (from, to) in A_ADDRESSES.into_iter().zip(C_ADDRESSES) {
        // By way of the router to a neighbour in the same network.
        let frame = Frame::new(A, ROUTER).ip(from, to).udp(4000, 7001).payload(MARKER).build();
        town.blue_a.send_frame(&frame)?;
        let came = at_c.wait_for(PATIENCE, |seen| contains(&seen.bytes, MARKER));
        ensure!(came.is_some_and(|seen| seen.bytes[..12] == [C, ROUTER].concat()), "to {to}");
        // Its answer, and nothing else of ours, comes back.
        let is_redirect = |seen: &[u8]| match seen.get(12..14) {
            Some([0x08, 0]) => seen[23] == 1 && seen[34] == 5,
            _ => seen.get(20) == Some(&58) && seen.get(54) == Some(&137),
        };
        ensure!(ping(&town.blue_a, ip(to), 1, &[])?.all_answered(), "{to}");
        ensure!(at_a.count(|seen| is_redirect(&seen.bytes)) == 0, "a redirect");
    }
    judged(at_a).and_then(|()| judged(at_c))
}
