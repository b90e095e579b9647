//! Broadcast and multicast: who gets a copy, and what has none.

use dataplane_common::{Stop, Tables, limits, table::endpoint::flags};

use super::row::{Row, row};
use crate::{
    build::Frame,
    packet::HostPacket,
    world::{End, Site},
};

const BROADCAST: [u8; 6] = [0xff; 6];
/// The station address of 239.129.2.3, of which 23 bits count.
const GROUP: [u8; 6] = [0x01, 0, 0x5e, 0x01, 0x02, 0x03];
const GROUP_V6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0xfb];

pub fn rows(s: &Site) -> Vec<Row> {
    [copied(s), attachments(s), stopped(s), ruled(s), exempt(s), listeners(s)].concat()
}

/// A datagram to a group's address in a frame to a group's MAC.
fn to(s: &Site, from: End, mac: [u8; 6], src: &str, dst: &str, port: u16) -> Frame {
    s.frame(from, mac).ip(src, dst).udp(1, port)
}

fn copied(s: &Site) -> Vec<Row> {
    let flooded = |name, from, frame, to: &[End]| row(name, from, frame).at_tc().flooded(to);
    // Those whose rules permit DNS from everybody, and the one that is not filtered.
    let dns = &[s.b, s.free, s.stateless, s.trunk, s.twin];
    let v4 = |mac, dst| to(s, s.a, mac, "10.1.0.10", dst, 53);
    vec![
        flooded("broadcast", s.a, v4(BROADCAST, "255.255.255.255"), dns),
        flooded("broadcast of the subnet", s.a, v4(BROADCAST, "10.1.0.255"), dns),
        flooded("multicast", s.a, v4(GROUP, "239.129.2.3"), dns),
        flooded(
            "multicast of IPv6",
            s.a,
            to(s, s.a, GROUP_V6, "2001:db8:1::10", "ff02::fb", 53),
            dns,
        ),
        flooded(
            "multicast from a tagged port",
            s.trunk,
            to(s, s.trunk, GROUP, "10.1.0.50", "239.129.2.3", 53),
            &[s.b, s.free, s.stateless, s.twin],
        ),
        flooded(
            "multicast from a port behind two tags",
            s.twin,
            to(s, s.twin, GROUP, "10.1.0.70", "239.129.2.3", 53),
            &[s.b, s.free, s.stateless, s.trunk],
        ),
        flooded(
            "multicast in segments from a port behind two tags",
            s.twin,
            to(s, s.twin, GROUP, "10.1.0.70", "239.129.2.3", 53).payload(&[7; 2000]),
            &[s.b, s.free, s.stateless, s.trunk],
        )
        .with(|packet: HostPacket| packet.segments_of(1000, 2)),
        flooded(
            "broadcast to those that permit a member of a group",
            s.b,
            to(s, s.b, BROADCAST, "10.1.0.20", "255.255.255.255", 5000),
            &[s.a, s.free, s.pair],
        ),
        flooded(
            "broadcast to those that permit an address group",
            s.a,
            to(s, s.a, BROADCAST, "10.1.0.10", "10.1.0.255", 5002),
            dns,
        ),
        flooded(
            "broadcast that only an unfiltered port takes",
            s.a,
            to(s, s.a, BROADCAST, "10.1.0.10", "255.255.255.255", 9),
            &[s.free],
        ),
        flooded(
            "multicast with one hop left, which it keeps",
            s.a,
            v4(GROUP, "239.129.2.3").ttl(1),
            dns,
        ),
        flooded(
            "an echo request to all nodes",
            s.a,
            s.frame(s.a, [0x33, 0x33, 0, 0, 0, 1]).ip("2001:db8:1::10", "ff02::1").icmp(
                128,
                0,
                [0, 1, 0, 1],
            ),
            dns,
        ),
        flooded(
            "broadcast in a network of the same addresses",
            s.red_a,
            to(s, s.red_a, BROADCAST, "10.1.0.10", "10.1.0.255", 53),
            &[s.red_b],
        ),
        flooded(
            "broadcast from an address pair",
            s.pair,
            to(s, s.pair, BROADCAST, "10.77.0.9", "255.255.255.255", 53),
            dns,
        ),
        flooded("multicast in segments", s.a, v4(GROUP, "239.129.2.3").payload(&[7; 2000]), dns)
            .with(|packet: HostPacket| packet.segments_of(1000, 2)),
    ]
}

/// Ports that share an attachment, and one that is absent.
fn attachments(s: &Site) -> Vec<Row> {
    let all = |port| to(s, s.a, BROADCAST, "10.1.0.10", "255.255.255.255", port);
    vec![
        row("one copy for two ports of an attachment", s.a, all(53))
            .at_tc()
            .after(|site| {
                let (b, server) = (site.b, site.server);
                site.change(|w| w.port_beside(b, &["10.1.0.21"], server));
            })
            .flooded(&[s.b, s.free, s.stateless, s.trunk, s.twin]),
        row("a copy that the second port of an attachment takes", s.a, all(9))
            .at_tc()
            .after(|site| {
                let b = site.b;
                site.change(|w| w.port_beside(b, &["10.1.0.21"], 0));
            })
            .flooded(&[s.b, s.free]),
        row("no copy to the attachment that it came from", s.a, all(53))
            .at_tc()
            .after(|site| {
                let a = site.a;
                site.change(|w| w.port_beside(a, &["10.1.0.21"], 0));
            })
            .flooded(&[s.b, s.free, s.stateless, s.trunk, s.twin]),
        row("no copy by an interface that is absent", s.a, all(53))
            .at_tc()
            .after(|site| {
                let b = site.b.attachment as usize;
                site.change(|w| w.image.outputs[b].ifindex = 0);
            })
            .flooded(&[s.free, s.stateless, s.trunk, s.twin]),
    ]
}

fn stopped(s: &Site) -> Vec<Row> {
    let stop = |name, frame, stop| row(name, s.a, frame).at_tc().stopped(s.blue, stop);
    let v4 = |mac, dst| to(s, s.a, mac, "10.1.0.10", dst, 53);
    vec![
        row("broadcast in a network of one port", s.c, {
            to(s, s.c, BROADCAST, "10.2.0.10", "255.255.255.255", 53)
        })
        .at_tc()
        .stopped(s.blue, Stop::Multicast),
        row("broadcast at XDP", s.a, v4(BROADCAST, "255.255.255.255"))
            .at_xdp()
            .stopped(s.blue, Stop::Multicast),
        stop("broadcast of another network", v4(BROADCAST, "10.2.0.255"), Stop::WrongStation),
        stop(
            "a unicast packet in a broadcast frame",
            v4(BROADCAST, "10.1.0.20"),
            Stop::WrongStation,
        ),
        stop("a unicast packet in a multicast frame", v4(GROUP, "10.1.0.20"), Stop::WrongStation),
        stop("multicast in a broadcast frame", v4(BROADCAST, "239.129.2.3"), Stop::WrongStation),
        stop("broadcast in a multicast frame", v4(GROUP, "10.1.0.255"), Stop::WrongStation),
        stop("multicast in another group's frame", v4(GROUP, "239.129.2.4"), Stop::WrongStation),
        stop(
            "multicast of IPv6 in a frame of IPv4",
            to(s, s.a, GROUP, "2001:db8:1::10", "ff02::fb", 53),
            Stop::WrongStation,
        ),
        stop(
            "multicast from somebody else's address",
            to(s, s.a, BROADCAST, "10.1.0.20", "255.255.255.255", 53),
            Stop::SpoofedAddress,
        ),
        stop(
            "multicast from nobody's address",
            to(s, s.a, BROADCAST, "127.0.0.1", "255.255.255.255", 53),
            Stop::MartianSource,
        ),
        stop(
            "an error to everybody",
            s.frame(s.a, BROADCAST)
                .ip("10.1.0.10", "255.255.255.255")
                .icmp(3, 1, [0; 4])
                .payload(&s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(1, 2).packet()),
            Stop::IcmpUnrelated,
        ),
        stop(
            "multicast that the sender's rules do not permit",
            v4(GROUP, "239.129.2.3"),
            Stop::EgressDenied,
        )
        .after(|s| {
            let client = s.client as usize;
            s.change(|w| w.image.policies[client].egress_count = 0);
        }),
        stop("multicast in a network of too many", v4(GROUP, "239.129.2.3"), Stop::Multicast)
            .after(|s| {
                let net = s.net.zone as usize;
                s.change(|w| w.image.zones[net].flood_count = 0);
            }),
        stop("no more copies may be made", v4(GROUP, "239.129.2.3"), Stop::FloodRate).after(|s| {
            assert!(s.tables.may_copy(s.blue, limits::COPIES_BURST));
        }),
        row("as many as another tenant likes", s.red_a, {
            to(s, s.red_a, BROADCAST, "10.1.0.10", "10.1.0.255", 53)
        })
        .at_tc()
        .after(|s| assert!(s.tables.may_copy(s.blue, limits::COPIES_BURST)))
        .flooded(&[s.red_b]),
    ]
}

/// A frame costs so much, ports and rules, if rules are looked at for it.
fn cost(site: &mut Site, cost: u32) {
    let net = site.net.zone as usize;
    site.change(|w| {
        let zone = &mut w.image.zones[net];
        zone.flood_rules = (cost - zone.flood_count) as u16;
    });
}

/// Ports' policies.
fn policies(site: &mut Site, policies: &[(End, u32)]) {
    site.change(|w| {
        for (port, policy) in policies {
            w.touch_endpoint(port.id).policy = *policy;
        }
    });
}

/// What rules cost, and of whom they are asked.
fn ruled(s: &Site) -> Vec<Row> {
    let all = |name, port| {
        row(name, s.a, to(s, s.a, BROADCAST, "10.1.0.10", "255.255.255.255", port)).at_tc()
    };
    vec![
        all("broadcast that costs as much as may be at once", 53)
            .after(|s| cost(s, limits::COPIES_BURST))
            .flooded(&[s.b, s.free, s.stateless, s.trunk, s.twin]),
        all("broadcast that costs more than may be at once", 53)
            .after(|s| cost(s, limits::COPIES_BURST + 1))
            .stopped(s.blue, Stop::FloodRate),
        row("a DHCP client where rules cost too much", s.a, {
            s.frame(s.a, BROADCAST).ip("0.0.0.0", "255.255.255.255").udp(68, 67)
        })
        .at_tc()
        .after(|s| {
            serving(s);
            cost(s, limits::COPIES_BURST + 1);
        })
        .flooded(&[s.b]),
        all("broadcast to ports of one policy, which permits it", 53)
            .after(|s| policies(s, &[(s.free, s.server), (s.stateless, s.server)]))
            .flooded(&[s.b, s.free, s.stateless, s.trunk, s.twin]),
        all("broadcast to ports of one policy, which does not", 9)
            .after(|s| policies(s, &[(s.pair, s.server), (s.stateless, s.server), (s.trunk, 0)]))
            .flooded(&[s.free, s.trunk]),
    ]
}

/// b is a DHCP server.
fn serving(site: &mut Site) {
    let b = site.b.id;
    site.change(|w| w.touch_endpoint(b).flags |= flags::DHCP_SERVER);
}

/// DHCP, of which no rule is asked.
fn exempt(s: &Site) -> Vec<Row> {
    let server = serving;
    let stop = |name, frame, stop| row(name, s.a, frame).at_tc().stopped(s.blue, stop);
    let servers_v6 = [0x33, 0x33, 0, 1, 0, 2];
    let ask = |src| s.frame(s.a, BROADCAST).ip(src, "255.255.255.255").udp(68, 67);
    let ask6 = |src| s.frame(s.a, servers_v6).ip(src, "ff02::1:2").udp(546, 547);
    let says = |from: End, src, dst| s.frame(from, BROADCAST).ip(src, dst).udp(67, 68);
    let near = |from: End, to: End| s.switched(from, to);
    vec![
        row("a DHCP client without an address", s.a, ask("0.0.0.0"))
            .at_tc()
            .after(server)
            .flooded(&[s.b]),
        row("a DHCP client with an address", s.a, ask("10.1.0.10"))
            .at_tc()
            .after(server)
            .flooded(&[s.b]),
        row("a DHCPv6 client", s.a, ask6("fe80::10")).at_tc().after(server).flooded(&[s.b]),
        row("a DHCP client whose rules permit nothing", s.a, ask("0.0.0.0"))
            .at_tc()
            .after(|s| {
                let (b, client) = (s.b.id, s.client as usize);
                s.change(|w| {
                    w.touch_endpoint(b).flags |= flags::DHCP_SERVER;
                    w.image.policies[client].egress_count = 0;
                });
            })
            .flooded(&[s.b]),
        row("a DHCP server to everybody", s.b, says(s.b, "10.1.0.20", "255.255.255.255"))
            .at_tc()
            .after(server)
            .flooded(&[s.a, s.free, s.pair, s.stateless, s.trunk, s.twin]),
        row("a DHCP server to one", s.b, near(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(67, 68))
            .after(server)
            .switched(s.a),
        row(
            "a DHCPv6 server to one",
            s.b,
            near(s.b, s.a).ip("2001:db8:1::20", "2001:db8:1::10").udp(547, 546),
        )
        .after(server)
        .switched(s.a),
        row("a DHCP client renews", s.a, near(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(68, 67))
            .after(server)
            .switched(s.b),
        row(
            "a DHCP client renews at somebody who is no server",
            s.a,
            near(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(68, 67),
        )
        .stopped(s.blue, Stop::IngressDenied),
        row(
            "a DHCP client by the router",
            s.c,
            s.routed(s.c).ip("10.2.0.10", "10.1.0.20").udp(68, 67),
        )
        .after(server)
        .stopped(s.blue, Stop::IngressDenied),
        stop("a DHCP client where nobody serves", ask("0.0.0.0"), Stop::Multicast),
        stop("a DHCP client with another's address", ask("10.1.0.20"), Stop::SpoofedAddress)
            .after(server),
        stop("a DHCPv6 client without an address", ask6("::"), Stop::MartianSource).after(server),
        stop(
            "a DHCP answer to everybody from a port like others",
            says(s.a, "10.1.0.10", "255.255.255.255"),
            Stop::DhcpServer,
        ),
        row(
            "a DHCP answer to one from a port like others",
            s.a,
            near(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(67, 68),
        )
        .stopped(s.blue, Stop::DhcpServer),
        row(
            "a DHCP answer from a port without security",
            s.free,
            near(s.free, s.a).ip("10.1.0.30", "10.1.0.10").udp(67, 68),
        )
        .stopped(s.blue, Stop::DhcpServer),
        row(
            "a DHCPv6 answer from a port like others",
            s.a,
            near(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30").udp(547, 546),
        )
        .stopped(s.blue, Stop::DhcpServer),
    ]
}

/// Listener messages, of which no rule is asked, and what looks like them.
fn listeners(s: &Site) -> Vec<Row> {
    let to = |last, src, dst, kind| {
        let frame = s.frame(s.a, [0x33, 0x33, 0, 0, 0, last]).ip(src, dst);
        frame.icmp(kind, 0, [0; 4]).ttl(1)
    };
    let report = |src| to(0x16, src, "ff02::16", 143);
    let everybody = &[s.b, s.free, s.pair, s.stateless, s.trunk, s.twin];
    let heard = |name, frame| row(name, s.a, frame).at_tc().flooded(everybody);
    // Packets like others, which nobody's rules permit.
    let ruled = |name, frame| row(name, s.a, frame).at_tc().flooded(&[s.free]);
    let stop = |name, frame, stop| row(name, s.a, frame).at_tc().stopped(s.blue, stop);
    vec![
        heard("a listener report", report("fe80::10")),
        heard("a listener report without an address", report("::")),
        heard("a listener report of MLDv1", to(0xfb, "fe80::10", "ff05::fb", 131)),
        heard("a listener report of MLDv1 without an address", to(0xfb, "::", "ff02::fb", 131)),
        heard("a listener is done", to(2, "fe80::10", "ff02::2", 132)),
        heard("a listener query", to(1, "fe80::10", "ff02::1", 130)),
        heard("a listener query about a group", to(0xfb, "fe80::10", "ff05::fb", 130)),
        stop(
            "a listener report from another's address",
            to(0xfb, "fe80::20", "ff02::fb", 131),
            Stop::SpoofedAddress,
        ),
        ruled("a listener query from a routable address", to(1, "2001:db8:1::10", "ff02::1", 130)),
        ruled("a listener report with hops left", report("fe80::10").ttl(2)),
        ruled("a listener report to another group", to(1, "fe80::10", "ff02::1", 143)),
        ruled("a listener report to a site", to(0x16, "fe80::10", "ff05::16", 143)),
        ruled("a listener is done, to all nodes", to(1, "fe80::10", "ff02::1", 132)),
        stop(
            "a listener query without an address",
            to(1, "::", "ff02::1", 130),
            Stop::MartianSource,
        ),
        stop(
            "a listener is done without an address",
            to(2, "::", "ff02::2", 132),
            Stop::MartianSource,
        ),
        stop(
            "a listener report without an address to another group",
            to(1, "::", "ff02::1", 143),
            Stop::MartianSource,
        ),
        stop(
            "a listener report without an address, with hops left",
            report("::").ttl(255),
            Stop::MartianSource,
        ),
        stop(
            "a group's report without an address, with hops left",
            to(0xfb, "::", "ff02::fb", 131).ttl(2),
            Stop::MartianSource,
        ),
    ]
}
