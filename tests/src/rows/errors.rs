//! The ICMP errors that we make: to whom, from where, and what they quote.

use crate::{
    build::{Frame, ip, tcp::SYN},
    world::{End, Site},
};
use dataplane_common::Stop;

use super::row::{Row, row};

pub fn rows(s: &Site) -> Vec<Row> {
    [kinds(s), sizes(s), silence(s)].concat()
}

/// The error about `frame` from our address `own` on the sender's link.
fn error(
    s: &Site,
    to: End,
    own: &str,
    [kind, code]: [u8; 2],
    mtu: u16,
    frame: &Frame,
    src: &str,
) -> Frame {
    let quote_max = if ip(own).is_ipv4() { 576 - 28 } else { 1280 - 48 };
    let mut quote = frame.packet();
    quote.truncate(quote.len().min(quote_max) & !3);
    let [a, b] = mtu.to_be_bytes();
    s.frame(to, to.mac)
        .eth(to.router, to.mac)
        .ip(own, src)
        .tos(0xc0)
        .icmp(kind, code, [0, 0, a, b])
        .payload(&quote)
}

fn kinds(s: &Site) -> Vec<Row> {
    let v4 = |name, stop, kind, code, frame: Frame| {
        let told = error(s, s.a, "10.1.0.1", [kind, code], 0, &frame, "10.1.0.10");
        row(name, s.a, frame).told(s.blue, stop, told)
    };
    let v6 = |name, stop, kind, code, frame: Frame| {
        let told = error(s, s.a, "2001:db8:1::1", [kind, code], 0, &frame, "2001:db8:1::10");
        row(name, s.a, frame).told(s.blue, stop, told)
    };
    let ip = |dst| s.routed(s.a).ip("10.1.0.10", dst);
    let ip6 = |dst| s.routed(s.a).ip("2001:db8:1::10", dst);
    let red = |dst| s.routed(s.red_a).ip("10.1.0.10", dst).udp(1, 2);
    let red6 = s.routed(s.red_a).ip("2001:db8:1::10", "2001:db8:99::1").tcp(1, 2, SYN, 3, 0);
    let trunk = s.routed(s.trunk).ip("10.1.0.50", "10.2.0.77").udp(1, 2).payload(b"odd");
    let twin = s.routed(s.twin).ip("10.1.0.70", "10.2.0.77").udp(1, 2).payload(b"odd");
    let twin6 = s.routed(s.twin).ip("2001:db8:1::70", "2001:db8:2::77").udp(1, 2);
    let metro = s.routed(s.metro).ip("12.0.0.1", "10.1.0.77").udp(1, 2);
    let line = s.routed(s.line_a).ip("100.64.0.10", "10.2.0.77").udp(1, 2);
    let stray = s.routed(s.line_up).ip("100.65.0.10", "10.66.0.10").udp(1, 53);
    let inbound = s.routed(s.uplink).ip("8.8.8.8", "10.2.0.77").tcp(1, 2, SYN, 3, 0);
    vec![
        v4(
            "told that the hops are used up",
            Stop::TtlExceeded,
            11,
            0,
            ip("10.2.0.10").udp(1, 53).ttl(1),
        ),
        v4(
            "told that no hops were left",
            Stop::TtlExceeded,
            11,
            0,
            ip("10.2.0.10").udp(1, 53).ttl(0),
        ),
        v4(
            "told that nobody has the address",
            Stop::UnknownDestination,
            3,
            1,
            ip("10.2.0.77").udp(1, 53).payload(b"odd"),
        ),
        v4(
            "told that nobody has the line's address",
            Stop::UnknownDestination,
            3,
            1,
            ip("100.64.0.99").udp(1, 53),
        ),
        v4(
            "told that the next hop is not there",
            Stop::NextHopUnresolved,
            3,
            1,
            ip("203.0.113.5").tcp(1, 2, SYN, 3, 0),
        ),
        v4(
            "told about a segment with options",
            Stop::UnknownDestination,
            3,
            1,
            ip("10.2.0.77").options(&[1; 40]).tcp(1, 2, SYN, 3, 0).tcp_options(&[1; 40]),
        ),
        v4(
            "told about an echo",
            Stop::UnknownDestination,
            3,
            1,
            ip("10.2.0.77").icmp(8, 0, [0, 1, 0, 1]).payload(b"ping"),
        ),
        v4(
            "told about a protocol without ports",
            Stop::UnknownDestination,
            3,
            1,
            ip("10.2.0.77").protocol(47).payload(&[1; 5]),
        ),
        v4(
            "told about a packet of a header alone",
            Stop::UnknownDestination,
            3,
            1,
            ip("10.2.0.77").protocol(47),
        ),
        v4(
            "told about a first fragment",
            Stop::UnknownDestination,
            3,
            1,
            ip("10.2.0.77").udp(1, 53).payload(&[7; 24]).fragment(0, true),
        ),
        v4("told without the padding", Stop::UnknownDestination, 3, 1, ip("10.2.0.77").udp(1, 53)),
        v6(
            "told that the hops are used up, IPv6",
            Stop::TtlExceeded,
            3,
            0,
            ip6("2001:db8:2::10").udp(1, 53).ttl(1),
        ),
        v6(
            "told that nobody has the address, IPv6",
            Stop::UnknownDestination,
            1,
            3,
            ip6("2001:db8:2::77").udp(1, 53).payload(b"odd"),
        ),
        row("told that there is no route", s.red_a, red("8.8.8.8")).told(
            s.red,
            Stop::NoRoute,
            error(s, s.red_a, "10.1.0.1", [3, 0], 0, &red("8.8.8.8"), "10.1.0.10"),
        ),
        row("told that there is no route, IPv6", s.red_a, red6.clone()).told(
            s.red,
            Stop::NoRoute,
            error(s, s.red_a, "2001:db8:1::1", [1, 0], 0, &red6, "2001:db8:1::10"),
        ),
        row("told with a tag", s.trunk, trunk.clone()).told(
            s.blue,
            Stop::UnknownDestination,
            error(s, s.trunk, "10.1.0.1", [3, 1], 0, &trunk, "10.1.0.50"),
        ),
        row("told with two tags", s.twin, twin.clone()).told(
            s.blue,
            Stop::UnknownDestination,
            error(s, s.twin, "10.1.0.1", [3, 1], 0, &twin, "10.1.0.70"),
        ),
        row("told with two tags, IPv6", s.twin, twin6.clone()).told(
            s.blue,
            Stop::UnknownDestination,
            error(s, s.twin, "2001:db8:1::1", [1, 3], 0, &twin6, "2001:db8:1::70"),
        ),
        row("somebody outside is told with two tags", s.metro, metro.clone()).told(
            s.blue,
            Stop::UnknownDestination,
            error(s, s.metro, "198.51.102.2", [3, 1], 0, &metro, "12.0.0.1"),
        ),
        row("a line is told", s.line_a, line.clone()).told(
            s.blue,
            Stop::UnknownDestination,
            error(s, s.line_a, "100.127.0.1", [3, 1], 0, &line, "100.64.0.10"),
        ),
        row("an uplink's line is told that no tenant is behind it", s.line_up, stray.clone()).told(
            s.blue,
            Stop::NoRoute,
            error(s, s.line_up, "100.127.0.1", [3, 0], 0, &stray, "100.65.0.10"),
        ),
        row("somebody outside is told, at the tenant's rate", s.uplink, inbound.clone()).told(
            s.blue,
            Stop::UnknownDestination,
            error(s, s.uplink, "198.51.100.2", [3, 1], 0, &inbound, "8.8.8.8"),
        ),
    ]
}

fn sizes(s: &Site) -> Vec<Row> {
    let v4 = |bytes: usize| {
        s.routed(s.a).ip("10.1.0.10", "10.2.0.10").udp(1, 53).payload(&vec![7; bytes - 28])
    };
    let v6 = |bytes: usize| {
        s.routed(s.a)
            .ip("2001:db8:1::10", "2001:db8:2::10")
            .udp(1, 53)
            .payload(&vec![7; bytes - 48])
    };
    let many = s
        .routed(s.a)
        .ip("10.1.0.10", "10.2.0.10")
        .whole()
        .tcp(1, 80, SYN, 0, 0)
        .payload(&[7; 14_000]);
    let many6 = s
        .routed(s.a)
        .ip("2001:db8:1::10", "2001:db8:2::10")
        .tcp(1, 80, SYN, 0, 0)
        .payload(&[7; 14_000]);
    let told = |frame: &Frame| error(s, s.a, "10.1.0.1", [3, 4], 1400, frame, "10.1.0.10");
    let told6 =
        |frame: &Frame| error(s, s.a, "2001:db8:1::1", [2, 0], 1400, frame, "2001:db8:1::10");
    vec![
        row("told that it is too big", s.a, v4(1401).whole()).told(
            s.blue,
            Stop::TooBig,
            told(&v4(1401).whole()),
        ),
        row("told that it is too big, IPv6", s.a, v6(1401)).told(
            s.blue,
            Stop::TooBig,
            told6(&v6(1401)),
        ),
        row("told that segments are too big", s.a, many.clone())
            .with(|p| p.segments_of(1361, 10))
            .at_tc()
            .told(s.blue, Stop::TooBig, told(&many)),
        row("told that segments are too big, IPv6", s.a, many6.clone())
            .with(|p| p.segments_of(1341, 10))
            .at_tc()
            .told(s.blue, Stop::TooBig, told6(&many6)),
        row("told that it is too big, and may be cut", s.a, v4(1401)).told(
            s.blue,
            Stop::TooBig,
            told(&v4(1401)),
        ),
    ]
}

fn silence(s: &Site) -> Vec<Row> {
    let gone = |frame: Frame| frame.udp(1, 2);
    let quoted = s.routed(s.a).ip("10.1.0.10", "10.2.0.77").udp(1, 2).packet();
    let silent = |name, from, frame, tenant, stop| row(name, from, frame).stopped(tenant, stop);
    vec![
        silent(
            "not told within a network",
            s.a,
            gone(s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.77")),
            s.blue,
            Stop::UnknownDestination,
        ),
        silent(
            "not told about an error",
            s.a,
            s.routed(s.a).ip("10.1.0.10", "10.2.0.77").icmp(3, 1, [0; 4]).payload(&quoted),
            s.blue,
            Stop::IcmpUnrelated,
        ),
        silent(
            "not told in a network without a router",
            s.lonely,
            gone(s.routed(s.lonely).ip("10.8.0.10", "8.8.8.8")),
            s.blue,
            Stop::NoRoute,
        ),
        silent(
            "not told once the rate is used up",
            s.a,
            gone(s.routed(s.a).ip("10.1.0.10", "10.2.0.77")),
            s.blue,
            Stop::UnknownDestination,
        )
        .after(|s| {
            for _ in 0..50 {
                let frame = s.routed(s.a).ip("10.1.0.10", "10.2.0.78").udp(1, 2);
                assert!(matches!(s.send(s.a, &frame).end, crate::drive::End::Left { .. }));
            }
        }),
        silent(
            "not told if its own rules keep it in",
            s.b,
            s.routed(s.b).ip("10.1.0.20", "10.2.0.77").tcp(1, 25, SYN, 0, 0),
            s.blue,
            Stop::EgressDenied,
        )
        .after(|s| {
            let server = s.server as usize;
            s.change(|w| w.image.policies[server].egress_count = 0);
        }),
        silent(
            "not told if the kernel cannot make room",
            s.a,
            gone(s.routed(s.a).ip("10.1.0.10", "10.2.0.77")),
            s.blue,
            Stop::UnknownDestination,
        )
        .with(crate::packet::HostPacket::refusing),
    ]
}
