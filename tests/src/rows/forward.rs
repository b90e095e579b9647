//! What passes, and how it looks when it leaves.

use crate::{
    build::{
        Frame, ip,
        tcp::{ACK, SYN},
    },
    world::Site,
};

use super::row::{Row, row};

pub fn rows(s: &Site) -> Vec<Row> {
    [inside(s), outside(s), lines(s), sizes(s)].concat()
}

fn inside(s: &Site) -> Vec<Row> {
    let v4 = |dst| s.routed(s.a).ip("10.1.0.10", dst);
    vec![
        row(
            "to a neighbour",
            s.a,
            s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 53).ttl(1),
        )
        .switched(s.b),
        row(
            "to a neighbour by IPv6",
            s.a,
            s.switched(s.a, s.b).ip("2001:db8:1::10", "2001:db8:1::20").udp(1, 53).ttl(1),
        )
        .switched(s.b),
        row(
            "to a neighbour, both tenants having the addresses",
            s.red_a,
            s.switched(s.red_a, s.red_b).ip("10.1.0.10", "10.1.0.20").udp(1, 53),
        )
        .switched(s.red_b),
        row(
            "from a group's member",
            s.b,
            s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(1, 5000),
        )
        .switched(s.a),
        row(
            "from an address pair",
            s.pair,
            s.switched(s.pair, s.b).ip("10.77.0.200", "10.1.0.20").udp(1, 53),
        )
        .switched(s.b),
        row(
            "through the router to another network",
            s.a,
            v4("10.2.0.10").udp(1, 53).payload(b"odd"),
        )
        .routed(s, s.c),
        row(
            "through the router by IPv6",
            s.a,
            s.routed(s.a).ip("2001:db8:1::10", "2001:db8:2::10").udp(1, 53),
        )
        .routed(s, s.c),
        row("through the router within a network", s.a, v4("10.1.0.20").udp(1, 53)).routed(s, s.b),
        row("the last hop but one", s.a, v4("10.2.0.10").udp(1, 53).ttl(2))
            .sent(s.c, s.forwarded(&v4("10.2.0.10").udp(1, 53), 1, s.c)),
        row("as many hops as there can be", s.a, v4("10.2.0.10").udp(1, 53).ttl(255))
            .sent(s.c, s.forwarded(&v4("10.2.0.10").udp(1, 53), 254, s.c)),
        row(
            "a header with options through the router",
            s.a,
            v4("10.2.0.10").options(&[148, 4, 0, 0]).udp(1, 53),
        )
        .routed(s, s.c),
        row(
            "a first segment",
            s.a,
            v4("10.2.0.10").tcp(1000, 80, SYN, 7, 0).tcp_options(&[2, 4, 5, 0xb4, 3, 3, 7, 1]),
        )
        .routed(s, s.c),
        row("an echo", s.a, v4("10.2.0.10").icmp(8, 0, [0, 1, 0, 1]).payload(b"ping"))
            .routed(s, s.c),
        row(
            "an echo of IPv6",
            s.a,
            s.routed(s.a).ip("2001:db8:1::10", "2001:db8:2::10").icmp(128, 0, [0, 1, 0, 1]),
        )
        .routed(s, s.c),
        row(
            "stateless both ways",
            s.stateless,
            s.switched(s.stateless, s.free).ip("10.1.0.60", "10.1.0.30").tcp(80, 1, ACK, 1, 1),
        )
        .switched(s.free),
    ]
}

fn outside(s: &Site) -> Vec<Row> {
    let inbound = |src, dst| s.routed(s.uplink).ip(src, dst);
    vec![
        row("out by the uplink", s.a, s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53))
            .routed(s, s.uplink),
        row(
            "out by the uplink by IPv6",
            s.a,
            s.routed(s.a).ip("2001:db8:1::10", "2001:db8:99::1").udp(1, 53),
        )
        .routed(s, s.uplink),
        row("in by the uplink", s.uplink, inbound("8.8.8.8", "10.2.0.10").udp(1, 53))
            .routed(s, s.c),
        row(
            "in by the uplink to the tenant that exports it",
            s.uplink,
            inbound("9.9.9.9", "10.66.0.10").udp(1, 53),
        )
        .routed(s, s.red_c),
        row("in by the uplink to its line", s.uplink, inbound("8.8.8.8", "100.65.0.10").udp(1, 9))
            .routed(s, s.line_up),
        row(
            "in by the uplink to a router's line",
            s.uplink,
            inbound("8.8.8.8", "100.64.0.10").udp(1, 9),
        )
        .routed(s, s.line_a),
        row(
            "in by the other uplink",
            s.far,
            s.routed(s.far).ip("203.0.113.9", "10.1.0.20").udp(1, 53),
        )
        .routed(s, s.b),
    ]
}

fn lines(s: &Site) -> Vec<Row> {
    let from = |src, dst| s.routed(s.access).ip(src, dst);
    vec![
        row("a line to a server", s.line_a, from("100.64.0.10", "10.1.0.20").udp(1, 53))
            .routed(s, s.b),
        row(
            "any address of a line's prefix",
            s.line_a,
            from("2001:db8:64:1:ffff::5", "2001:db8:1::20").udp(1, 53),
        )
        .routed(s, s.b),
        row("a line to its network", s.bound, from("100.64.0.12", "10.1.0.20").udp(1, 53))
            .routed(s, s.b),
        row("a line to a closed network", s.line_a, from("100.64.0.10", "10.9.0.10").udp(1, 53))
            .routed(s, s.mec),
        row("a line out through its router", s.line_a, from("100.64.0.10", "8.8.8.8").udp(1, 53))
            .routed(s, s.uplink),
        row(
            "a line out by the uplink that it is attached to",
            s.line_up,
            from("100.65.0.10", "8.8.8.8").udp(1, 53),
        )
        .routed(s, s.uplink),
        row("a server to a line", s.b, s.routed(s.b).ip("10.1.0.20", "100.64.0.10").udp(1, 9))
            .routed(s, s.line_a),
        row(
            "a server to a line by IPv6",
            s.b,
            s.routed(s.b).ip("2001:db8:1::20", "2001:db8:64:1::7").udp(1, 9),
        )
        .routed(s, s.line_a),
        row("about a line, by a router of the mobile network", s.access, about_line(s, ROUTERS[0]))
            .after(|s| s.passes(s.a, &to_line(s, ROUTERS[0]), s.access))
            .routed(s, s.a),
        row(
            "about a line, by a router of the mobile network, IPv6",
            s.access,
            about_line(s, ROUTERS[1]),
        )
        .after(|s| s.passes(s.a, &to_line(s, ROUTERS[1]), s.access))
        .routed(s, s.a),
        row("about a line, where no host shares the link", s.access, about_line(s, ROUTERS[0]))
            .after(|s| {
                s.change(|w| w.image.attachments.values_mut().for_each(|at| at.host = 0));
                s.passes(s.a, &to_line(s, ROUTERS[0]), s.access);
            })
            .routed(s, s.a),
        row(
            "line to line by a rule that names it",
            s.line_a,
            from("100.64.0.10", "100.64.0.13").udp(1, 9),
        )
        .routed(s, s.line_b),
    ]
}

/// Routers of the mobile network, which have no session.
pub const ROUTERS: [&str; 2] = ["100.127.0.9", "2001:db8:7f::9"];

/// What a sends to a line of this router's family.
pub fn to_line(s: &Site, router: &str) -> Frame {
    let is_v4 = ip(router).is_ipv4();
    let (src, dst) =
        if is_v4 { ("10.1.0.10", "100.64.0.10") } else { ("2001:db8:1::10", "2001:db8:64:1::7") };
    s.routed(s.a).ip(src, dst).udp(1000, 7).payload(b"too long")
}

/// What the router says about it: that it is too big.
pub fn about_line(s: &Site, router: &str) -> Frame {
    let (to, kind) = if ip(router).is_ipv4() { ("10.1.0.10", 3) } else { ("2001:db8:1::10", 2) };
    let code = if kind == 3 { 4 } else { 0 };
    let error = s.routed(s.access).ip(router, to).icmp(kind, code, [0, 0, 5, 0]);
    error.payload(&to_line(s, router).packet())
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
    let many = |bytes: usize| {
        s.routed(s.a)
            .ip("10.1.0.10", "10.2.0.10")
            .whole()
            .tcp(1, 80, SYN, 0, 0)
            .payload(&vec![7; bytes])
    };
    let segments = |frame: Frame, from, to| {
        frame.ip(from, to).whole().tcp(1, 80, SYN, 0, 0).payload(&[7; 2720])
    };
    let to_twin = segments(s.switched(s.a, s.twin), "10.1.0.10", "10.1.0.70");
    let from_twin = segments(s.switched(s.twin, s.b), "10.1.0.70", "10.1.0.20");
    let turned = segments(s.routed(s.twin), "10.1.0.70", "12.0.0.1");
    vec![
        row("as large as the next link takes", s.a, v4(1400).whole()).routed(s, s.c),
        row("as large as the next link takes, IPv6", s.a, v6(1400)).routed(s, s.c),
        row(
            "larger within a network",
            s.a,
            s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(1, 2).payload(&[1; 4000]),
        )
        .switched(s.free),
        row("segments that fit", s.a, many(13_600))
            .with(|p| p.segments_of(1360, 10))
            .at_tc()
            .routed(s, s.c),
        row(
            "segments that come with a tag",
            s.trunk,
            segments(s.switched(s.trunk, s.b), "10.1.0.50", "10.1.0.20"),
        )
        .with(|p| p.segments_of(1360, 2))
        .at_tc()
        .switched(s.b),
        row("segments that leave with two tags", s.a, to_twin)
            .with(|p| p.segments_of(1360, 2))
            .at_tc()
            .switched(s.twin),
        row("segments that come with two tags", s.twin, from_twin)
            .with(|p| p.segments_of(1360, 2))
            .at_tc()
            .switched(s.b),
        row("segments that keep two tags", s.twin, turned)
            .with(|p| p.segments_of(1360, 0))
            .at_tc()
            .routed(s, s.metro),
        row("as large as the next link takes, behind two tags", s.twin, {
            s.routed(s.twin).ip("10.1.0.70", "12.0.0.1").whole().udp(1, 53).payload(&[7; 1472])
        })
        .routed(s, s.metro),
        row("segments that nobody counted yet", s.a, many(13_600))
            .with(|p| p.segments_of(1360, 0))
            .at_tc()
            .routed(s, s.c),
    ]
}
