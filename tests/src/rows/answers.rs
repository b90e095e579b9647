//! What we say ourselves: ARP, neighbour discovery, echo.

use crate::{
    build::Frame,
    world::{End, Site},
};
use dataplane_common::{Stop, Tables, limits};

use super::row::{Row, row};

const NOBODY: [u8; 6] = [0; 6];
const EVERYBODY: [u8; 6] = [0xff; 6];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

pub fn rows(s: &Site) -> Vec<Row> {
    let stopped = [arp_stops(s), neighbour_stops(s)].concat();
    [arp(s), arp_of_nics(s), neighbours(s), heard(s), stopped, echo(s)].concat()
}

fn ask(s: &Site, from: End, own: &str, target: &str) -> Frame {
    s.frame(from, EVERYBODY).arp(REQUEST, (from.mac, own), (NOBODY, target))
}

fn tell(s: &Site, to: End, mac: [u8; 6], target: &str, own: &str) -> Frame {
    s.frame(to, to.mac).eth(mac, to.mac).arp(REPLY, (mac, target), (to.mac, own))
}

fn arp(s: &Site) -> Vec<Row> {
    let answered = |name, from, own, target, mac| {
        row(name, from, ask(s, from, own, target)).answered(tell(s, from, mac, target, own))
    };
    vec![
        answered("ARP for the gateway", s.a, "10.1.0.10", "10.1.0.1", s.a.router),
        answered("ARP for a neighbour", s.a, "10.1.0.10", "10.1.0.20", s.b.mac),
        answered("ARP from an address pair", s.pair, "10.77.0.9", "10.1.0.1", s.a.router),
        answered("ARP with a tag", s.trunk, "10.1.0.50", "10.1.0.1", s.a.router),
        answered("ARP with two tags", s.twin, "10.1.0.70", "10.1.0.1", s.a.router),
        answered("a probe for a neighbour's address", s.a, "0.0.0.0", "10.1.0.20", s.b.mac),
        answered(
            "ARP of a tenant with the same addresses",
            s.red_a,
            "10.1.0.10",
            "10.1.0.20",
            s.red_b.mac,
        ),
        answered("ARP, port security off", s.free, "10.1.0.99", "10.1.0.1", s.a.router),
        row(
            "ARP of one station's neighbour cache",
            s.a,
            ask(s, s.a, "10.1.0.10", "10.1.0.1").eth(s.a.mac, s.a.router),
        )
        .answered(tell(s, s.a, s.a.router, "10.1.0.1", "10.1.0.10")),
        row(
            "a padded ARP packet keeps its padding",
            s.a,
            ask(s, s.a, "10.1.0.10", "10.1.0.1").padding(&[0; 18]),
        )
        .answered(tell(s, s.a, s.a.router, "10.1.0.1", "10.1.0.10").padding(&[0; 18])),
    ]
}

fn arp_of_nics(s: &Site) -> Vec<Row> {
    let answered = |name, from: End, own, target| {
        row(name, from, ask(s, from, own, target)).answered(tell(s, from, from.router, target, own))
    };
    let unanswered = |name, from, own, target| {
        row(name, from, ask(s, from, own, target)).stopped(0, Stop::ArpUnanswered)
    };
    vec![
        answered("ARP on an uplink for our address", s.uplink, "198.51.100.1", "198.51.100.2"),
        answered(
            "ARP on an uplink for what a router exports",
            s.uplink,
            "198.51.100.1",
            "10.1.0.20",
        ),
        answered("ARP on an uplink for its own lines", s.uplink, "198.51.100.1", "100.65.0.10"),
        answered("ARP on an access for our address", s.access, "100.127.0.9", "100.127.0.1"),
        unanswered(
            "ARP on an uplink for what leads back there",
            s.uplink,
            "198.51.100.1",
            "8.8.8.8",
        ),
        unanswered("ARP on an uplink for what is protected", s.uplink, "198.51.100.1", "192.0.2.1"),
        unanswered("ARP on an uplink for what nobody exports", s.far, "198.51.101.1", "10.66.0.10"),
        unanswered("ARP on an access for a line", s.access, "100.127.0.9", "100.64.0.10"),
        unanswered("ARP for no address at all", s.access, "100.127.0.9", "0.0.0.0"),
    ]
}

/// What the daemon hears of next hops.
fn heard(s: &Site) -> Vec<Row> {
    let heard = |name, from, frame| row(name, from, frame).heard();
    let (up, access) = (s.uplink, s.access);
    let all_nodes = [0x33, 0x33, 0, 0, 0, 1];
    let reply = |end: End, to, own, target| {
        s.frame(end, to).arp(REPLY, (end.mac, own), (end.router, target))
    };
    let says = |to, dst, flags| {
        let frame = s.frame(up, to).ip("2001:db8:ff::1", dst);
        frame.neighbour(ADVERTISEMENT, flags, "2001:db8:ff::1", Some((2, up.mac)))
    };
    let next_hop = "198.51.100.1";
    vec![
        heard("a next hop's answer", up, reply(up, up.router, next_hop, "198.51.100.2")),
        heard(
            "a next hop's answer on an access",
            access,
            reply(access, access.router, "100.127.0.9", "100.127.0.1"),
        ),
        heard("a next hop's answer with two tags", s.metro, {
            reply(s.metro, s.metro.router, "198.51.102.1", "198.51.102.2")
        }),
        heard("a next hop's announcement", up, ask(s, up, next_hop, next_hop)),
        heard("its announcement as a reply", up, reply(up, EVERYBODY, next_hop, next_hop)),
        heard("a next hop's advertisement", up, says(up.router, "2001:db8:ff::2", 0x60)),
        heard("its advertisement to everybody", up, says(all_nodes, "ff02::1", 0x20)),
        heard("a next hop that does not override", up, says(up.router, "2001:db8:ff::2", 0x40)),
        row(
            "an advertisement with a wrong checksum",
            up,
            says(up.router, "2001:db8:ff::2", 0x60).patch_transport(2, &[0x11, 0x11]),
        )
        .stopped(0, Stop::BadTransport),
        row("too many answers of next hops", up, reply(up, up.router, next_hop, "198.51.100.2"))
            .after(|s| {
                let may = || s.tables.may_hear(s.uplink.attachment);
                (0..limits::HEARD_BURST).for_each(|_| assert!(may()));
            })
            .stopped(0, Stop::ClaimRate),
        row(
            "a next hop's answer to somebody else",
            up,
            reply(up, Site::stranger(), next_hop, "198.51.100.2"),
        )
        .stopped(0, Stop::NotForUs),
        row("a next hop's answer to everybody", up, reply(up, EVERYBODY, next_hop, "198.51.100.2"))
            .stopped(0, Stop::ArpUnanswered),
        row(
            "an answer of somebody who is no next hop",
            up,
            reply(up, up.router, "198.51.100.77", "198.51.100.2"),
        )
        .stopped(0, Stop::ArpUnanswered),
        row(
            "an advertisement of somebody who is no next hop",
            up,
            s.frame(up, all_nodes).ip("2001:db8:ff::77", "ff02::1").neighbour(
                ADVERTISEMENT,
                0x20,
                "2001:db8:ff::77",
                Some((2, up.mac)),
            ),
        )
        .stopped(0, Stop::NeighbourUnanswered),
        row("an advertisement that passed a router", up, says(all_nodes, "ff02::1", 0).ttl(254))
            .stopped(0, Stop::SpoofedNeighbour),
    ]
}

fn arp_stops(s: &Site) -> Vec<Row> {
    let unanswered = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::ArpUnanswered);
    let spoofed = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::SpoofedArp);
    let own = "10.1.0.10";
    let arp = |sender, target| s.frame(s.a, EVERYBODY).arp(REQUEST, sender, target);
    vec![
        unanswered("a probe for its own address", ask(s, s.a, "0.0.0.0", own)),
        unanswered("an announcement of its own address", ask(s, s.a, own, own)),
        unanswered("ARP for nobody's address", ask(s, s.a, own, "10.1.0.77")),
        unanswered("ARP for an address of another network", ask(s, s.a, own, "10.2.0.10")),
        unanswered(
            "an ARP reply",
            s.frame(s.a, s.b.mac).arp(REPLY, (s.a.mac, own), (s.b.mac, "10.1.0.20")),
        ),
        unanswered(
            "ARP of another protocol",
            ask(s, s.a, own, "10.1.0.1").patch_network(2, &[0x86, 0xdd]),
        ),
        unanswered(
            "ARP with longer addresses",
            ask(s, s.a, own, "10.1.0.1").patch_network(4, &[8]),
        ),
        spoofed("ARP that claims a neighbour's address", ask(s, s.a, "10.1.0.20", "10.1.0.1")),
        spoofed("ARP that claims the gateway's address", ask(s, s.a, "10.1.0.1", "10.1.0.20")),
        spoofed("ARP that claims a neighbour's MAC", arp((s.b.mac, own), (NOBODY, "10.1.0.1"))),
        spoofed(
            "an ARP reply that claims a neighbour's address",
            s.frame(s.a, s.b.mac).arp(REPLY, (s.a.mac, "10.1.0.1"), (s.b.mac, "10.1.0.20")),
        ),
        row("half an ARP packet", s.a, ask(s, s.a, own, "10.1.0.1").cut(14 + 27))
            .stopped(s.blue, Stop::Truncated),
    ]
}

/// Solicitations go to the group of their target.
fn solicit(s: &Site, from: End, own: &str, target: &str) -> Frame {
    s.frame(from, [0x33, 0x33, 0xff, 0, 0, 1]).ip(own, "ff02::1:ff00:1").neighbour(
        SOLICITATION,
        0,
        target,
        (own != "::").then_some((1, from.mac)),
    )
}

fn advertise(s: &Site, to: End, mac: [u8; 6], flags: u8, target: &str, own: &str) -> Frame {
    let (own, dst) =
        if own == "::" { ("ff02::1", [0x33, 0x33, 0, 0, 0, 1]) } else { (own, to.mac) };
    s.frame(to, dst).eth(mac, dst).ip(target, own).neighbour(
        ADVERTISEMENT,
        flags,
        target,
        Some((2, mac)),
    )
}

fn neighbours(s: &Site) -> Vec<Row> {
    const ROUTER: u8 = 0xe0;
    const HOST: u8 = 0x60;
    let answered = |name, from, own, target, mac, flags| {
        row(name, from, solicit(s, from, own, target))
            .answered(advertise(s, from, mac, flags, target, own))
    };
    let own = "2001:db8:1::10";
    vec![
        answered("a solicitation of the gateway", s.a, own, "2001:db8:1::1", s.a.router, ROUTER),
        answered("a solicitation of a neighbour", s.a, own, "2001:db8:1::20", s.b.mac, HOST),
        answered(
            "a solicitation with two tags",
            s.twin,
            "2001:db8:1::70",
            "2001:db8:1::1",
            s.a.router,
            ROUTER,
        ),
        answered(
            "a solicitation on an uplink with two tags",
            s.metro,
            "2001:db8:fe::1",
            "2001:db8:fe::2",
            s.metro.router,
            ROUTER,
        ),
        answered(
            "a solicitation from a link-local address",
            s.a,
            "fe80::10",
            "2001:db8:1::20",
            s.b.mac,
            HOST,
        ),
        answered(
            "a solicitation of another tenant's same address",
            s.red_a,
            own,
            "2001:db8:1::20",
            s.red_b.mac,
            HOST,
        ),
        answered(
            "duplicate detection of the gateway's address",
            s.a,
            "::",
            "2001:db8:1::1",
            s.a.router,
            0xa0,
        ),
        answered(
            "duplicate detection of a neighbour's address",
            s.a,
            "::",
            "2001:db8:1::20",
            s.b.mac,
            0x20,
        ),
        answered(
            "a solicitation on an uplink",
            s.uplink,
            "2001:db8:ff::1",
            "2001:db8:ff::2",
            s.uplink.router,
            ROUTER,
        ),
        answered(
            "a solicitation of what is exported",
            s.uplink,
            "2001:db8:ff::1",
            "2001:db8:1::20",
            s.uplink.router,
            ROUTER,
        ),
        answered(
            "a solicitation on an access",
            s.access,
            "2001:db8:7f::9",
            "2001:db8:7f::1",
            s.access.router,
            ROUTER,
        ),
        row(
            "a solicitation of reachability, without an option",
            s.a,
            s.switched(s.a, s.b).ip(own, "2001:db8:1::20").neighbour(
                SOLICITATION,
                0,
                "2001:db8:1::20",
                None,
            ),
        )
        .answered(advertise(s, s.a, s.b.mac, HOST, "2001:db8:1::20", own)),
        row("a solicitation with more options", s.a, {
            let mut payload = solicit(s, s.a, own, "2001:db8:1::20").build()[62..].to_vec();
            payload.extend([14, 1, 1, 2, 3, 4, 5, 6]);
            solicit(s, s.a, own, "2001:db8:1::20").payload(&payload)
        })
        .answered(advertise(s, s.a, s.b.mac, HOST, "2001:db8:1::20", own)),
    ]
}

fn neighbour_stops(s: &Site) -> Vec<Row> {
    let own = "2001:db8:1::10";
    let to_b = || s.switched(s.a, s.b).ip(own, "2001:db8:1::20");
    let gateway = || solicit(s, s.a, own, "2001:db8:1::1");
    let unanswered = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::NeighbourUnanswered);
    let spoofed = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::SpoofedNeighbour);
    let router = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::RouterMessage);
    let all_nodes = || s.frame(s.a, [0x33, 0x33, 0, 0, 0, 1]).ip("fe80::10", "ff02::1").ttl(255);
    vec![
        unanswered("duplicate detection of its own address", solicit(s, s.a, "::", own)),
        unanswered("a solicitation of nobody", solicit(s, s.a, own, "2001:db8:1::77")),
        unanswered(
            "an advertisement of its own address",
            to_b().neighbour(ADVERTISEMENT, 0x60, own, Some((2, s.a.mac))),
        ),
        unanswered("a router solicitation", all_nodes().icmp(133, 0, [0; 4])),
        unanswered("a solicitation of a mapped address", solicit(s, s.a, own, "::ffff:10.1.0.77")),
        spoofed("a solicitation that passed a router", gateway().ttl(254)),
        spoofed(
            "a solicitation from a neighbour's address",
            solicit(s, s.a, "2001:db8:1::20", "2001:db8:1::1"),
        ),
        spoofed(
            "a solicitation from another link-local address",
            solicit(s, s.a, "fe80::99", "2001:db8:1::1"),
        ),
        spoofed(
            "a solicitation with a neighbour's MAC",
            to_b().neighbour(SOLICITATION, 0, "2001:db8:1::20", Some((1, s.b.mac))),
        ),
        spoofed(
            "an advertisement of the gateway",
            to_b().neighbour(ADVERTISEMENT, 0xe0, "2001:db8:1::1", Some((2, s.a.mac))),
        ),
        spoofed(
            "an advertisement of a neighbour",
            to_b().neighbour(ADVERTISEMENT, 0x60, "2001:db8:1::20", Some((2, s.a.mac))),
        ),
        spoofed(
            "an advertisement with a neighbour's MAC",
            to_b().neighbour(ADVERTISEMENT, 0x60, own, Some((2, s.b.mac))),
        ),
        spoofed(
            "a solicitation behind an extension header",
            to_b().extension(60, &[0, 1, 4, 0, 0, 0, 0]).neighbour(
                SOLICITATION,
                0,
                "2001:db8:1::20",
                None,
            ),
        ),
        spoofed(
            "an advertisement in a fragment",
            to_b().fragment_v6(0, true).neighbour(ADVERTISEMENT, 0, own, None),
        ),
        router("a router advertisement", all_nodes().icmp(134, 0, [64, 0, 0, 0]).payload(&[0; 8])),
        router(
            "a router advertisement behind an extension header",
            all_nodes().extension(60, &[0, 1, 4, 0, 0, 0, 0]).icmp(134, 0, [0; 4]).payload(&[0; 8]),
        ),
        router("a redirect of IPv6", to_b().ttl(255).icmp(137, 0, [0; 4]).payload(&[0; 32])),
        router(
            "a redirect of IPv4",
            s.switched(s.a, s.b)
                .ip("10.1.0.10", "10.1.0.20")
                .icmp(5, 0, [10, 1, 0, 10])
                .payload(&[0; 28]),
        ),
        row("a solicitation whose target is in the padding", s.a, {
            let whole = gateway().build();
            gateway().payload(&[]).padding(&whole[62..])
        })
        .stopped(s.blue, Stop::BadTransport),
        row(
            "a solicitation on an access for a line",
            s.access,
            solicit(s, s.access, "2001:db8:7f::9", "2001:db8:64:1::5"),
        )
        .stopped(0, Stop::NeighbourUnanswered),
    ]
}

fn echo(s: &Site) -> Vec<Row> {
    let id = [0x12, 0x34, 0, 1];
    let v4 = |from: End, src, dst| s.routed(from).ip(src, dst).icmp(8, 0, id).payload(b"ping");
    let v6 = |from: End, src, dst| s.routed(from).ip(src, dst).icmp(128, 0, id).payload(b"ping");
    let reply = |to: End, src, dst, kind| {
        s.frame(to, to.mac).eth(to.router, to.mac).ip(src, dst).icmp(kind, 0, id).payload(b"ping")
    };
    vec![
        row("echo to the gateway", s.a, v4(s.a, "10.1.0.10", "10.1.0.1")).answered(reply(
            s.a,
            "10.1.0.1",
            "10.1.0.10",
            0,
        )),
        row("echo of IPv6 to the gateway", s.a, v6(s.a, "2001:db8:1::10", "2001:db8:1::1"))
            .answered(reply(s.a, "2001:db8:1::1", "2001:db8:1::10", 129)),
        row("echo to another network's gateway", s.a, v4(s.a, "10.1.0.10", "10.2.0.1"))
            .answered(reply(s.a, "10.2.0.1", "10.1.0.10", 0)),
        row("echo to the gateway on the last hop", s.a, v4(s.a, "10.1.0.10", "10.1.0.1").ttl(1))
            .answered(reply(s.a, "10.1.0.1", "10.1.0.10", 0)),
        row("echo to the gateway with a tag", s.trunk, v4(s.trunk, "10.1.0.50", "10.1.0.1"))
            .answered(reply(s.trunk, "10.1.0.1", "10.1.0.50", 0)),
        row("echo to the gateway with two tags", s.twin, v4(s.twin, "10.1.0.70", "10.1.0.1"))
            .answered(reply(s.twin, "10.1.0.1", "10.1.0.70", 0)),
        row("echo to an uplink's address with two tags", s.metro, {
            v4(s.metro, "198.51.102.1", "198.51.102.2")
        })
        .answered(reply(s.metro, "198.51.102.2", "198.51.102.1", 0)),
        row("echo to the uplink's address", s.uplink, v4(s.uplink, "198.51.100.1", "198.51.100.2"))
            .answered(reply(s.uplink, "198.51.100.2", "198.51.100.1", 0)),
        row("a line's echo to a gateway", s.line_a, v4(s.line_a, "100.64.0.10", "10.1.0.1"))
            .answered(reply(s.line_a, "10.1.0.1", "100.64.0.10", 0)),
        row(
            "a piece of an echo to the gateway",
            s.a,
            v4(s.a, "10.1.0.10", "10.1.0.1").payload(b"pingpong").fragment(0, true),
        )
        .stopped(s.blue, Stop::ToRouter),
        row("an echo with a code", s.a, s.routed(s.a).ip("10.1.0.10", "10.1.0.1").icmp(8, 1, id))
            .stopped(s.blue, Stop::ToRouter),
        row(
            "a timestamp request to the gateway",
            s.a,
            s.routed(s.a).ip("10.1.0.10", "10.1.0.1").icmp(13, 0, id).payload(&[0; 12]),
        )
        .stopped(s.blue, Stop::ToRouter),
        row(
            "an echo reply to the gateway",
            s.a,
            s.routed(s.a).ip("10.1.0.10", "10.1.0.1").icmp(0, 0, id),
        )
        .stopped(s.blue, Stop::ToRouter),
        row("UDP to the gateway", s.a, s.routed(s.a).ip("10.1.0.10", "10.1.0.1").udp(1, 53))
            .stopped(s.blue, Stop::ToRouter),
        row(
            "TCP to the uplink's address",
            s.uplink,
            s.routed(s.uplink).ip("198.51.100.1", "198.51.100.2").tcp(1, 22, 2, 0, 0),
        )
        .stopped(0, Stop::ToRouter),
        row(
            "an echo to the uplink's address from inside",
            s.uplink,
            v4(s.uplink, "10.1.0.10", "198.51.100.2"),
        )
        .stopped(0, Stop::ReversePath),
    ]
}
