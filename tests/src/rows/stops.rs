//! What does not pass, and why.

use crate::{
    build::{
        Frame,
        tcp::{ACK, FIN, RST, SYN},
    },
    packet::HostPacket,
    world::Site,
};
use dataplane_common::{
    Stop,
    table::{AttachmentKey, flow::BUCKET_LINES, policy::remote},
};
use dataplane_user::tables::HostTables;

use super::{
    forward::{ROUTERS, about_line, to_line},
    row::{Row, row},
};

pub fn rows(s: &Site) -> Vec<Row> {
    [sources(s), groups(s), states(s), routes(s), borders(s), rules(s), outputs(s)].concat()
}

fn sources(s: &Site) -> Vec<Row> {
    let free = |name, src, dst| {
        row(name, s.free, s.switched(s.free, s.b).ip(src, dst).udp(1, 53))
            .stopped(s.blue, Stop::MartianSource)
    };
    let spoofed = |name, from, src, dst| {
        row(name, from, s.switched(from, s.b).ip(src, dst).udp(1, 53))
            .stopped(s.blue, Stop::SpoofedAddress)
    };
    let outside = |name, src, dst| {
        row(name, s.uplink, s.routed(s.uplink).ip(src, dst).udp(1, 53))
            .stopped(0, Stop::MartianSource)
    };
    vec![
        free("from no address", "0.0.0.0", "10.1.0.20"),
        free("from network 0", "0.1.2.3", "10.1.0.20"),
        free("from a loopback address", "127.0.0.1", "10.1.0.20"),
        free("from class E", "240.0.0.1", "10.1.0.20"),
        free("from the broadcast address", "255.255.255.255", "10.1.0.20"),
        free("from a group", "224.0.0.1", "10.1.0.20"),
        free("from no address, IPv6", "::", "2001:db8:1::20"),
        free("from the loopback address, IPv6", "::1", "2001:db8:1::20"),
        free("from a compatible address", "::10.1.0.20", "2001:db8:1::20"),
        free("from a group, IPv6", "ff02::1", "2001:db8:1::20"),
        free("from its receiver's own address", "10.1.0.20", "10.1.0.20"),
        outside("from a loopback address outside", "127.0.0.1", "10.1.0.20"),
        outside("from a group outside", "ff0e::1", "2001:db8:1::20"),
        spoofed("from a neighbour's address", s.a, "10.1.0.30", "10.1.0.20"),
        spoofed("from the gateway's address", s.a, "10.1.0.1", "10.1.0.20"),
        spoofed("from a neighbour's address, IPv6", s.a, "2001:db8:1::30", "2001:db8:1::20"),
        spoofed("from beside an address pair", s.pair, "10.77.1.1", "10.1.0.20"),
        row(
            "an access without a session",
            s.access,
            s.routed(s.access).ip("100.64.0.99", "10.1.0.20").udp(1, 53),
        )
        .stopped(0, Stop::NoSession),
        row("about a line, but about no flow", s.access, about_line(s, ROUTERS[0]))
            .stopped(0, Stop::NoSession),
        row("about a line, but about no flow, IPv6", s.access, about_line(s, ROUTERS[1]))
            .stopped(0, Stop::NoSession),
        row(
            "about a line, from an address inside",
            s.access,
            about_line(s, ROUTERS[0]).ip("10.1.0.20", "10.1.0.10"),
        )
        .after(|s| s.passes(s.a, &to_line(s, ROUTERS[0]), s.access))
        .stopped(s.blue, Stop::ReversePath),
        row(
            "about a line, from a link-local address",
            s.access,
            about_line(s, ROUTERS[1]).ip("fe80::9", "2001:db8:1::10"),
        )
        .after(|s| s.passes(s.a, &to_line(s, ROUTERS[1]), s.access))
        .stopped(s.blue, Stop::DestinationUnroutable),
        row(
            "an error from outside, from an address of the link alone",
            s.uplink,
            s.routed(s.uplink)
                .ip("169.254.0.9", "10.1.0.10")
                .icmp(11, 0, [0; 4])
                .payload(&s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).packet()),
        )
        .after(|s| {
            let asked = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53);
            s.passes(s.a, &asked, s.uplink);
        })
        .stopped(s.blue, Stop::DestinationUnroutable),
        row(
            "beside a session's prefix",
            s.access,
            s.routed(s.access).ip("2001:db8:64:2::1", "2001:db8:1::20").udp(1, 53),
        )
        .stopped(0, Stop::NoSession),
        row(
            "from a suspended line",
            s.access,
            s.routed(s.access).ip("100.64.0.11", "10.1.0.20").udp(1, 53),
        )
        .stopped(s.blue, Stop::LineSuspended),
        row("to a suspended line", s.b, s.routed(s.b).ip("10.1.0.20", "100.64.0.11").udp(1, 53))
            .stopped(s.blue, Stop::LineSuspended),
    ]
}

fn groups(s: &Site) -> Vec<Row> {
    let v6 = |dst| s.switched(s.a, s.b).ip("2001:db8:1::10", dst);
    vec![
        row(
            "broadcast from outside",
            s.uplink,
            s.frame(s.uplink, [0xff; 6]).ip("8.8.8.8", "10.1.0.20").udp(1, 53),
        )
        .stopped(0, Stop::Multicast),
        row(
            "a listener report to one neighbour",
            s.a,
            v6("2001:db8:1::30").eth(s.a.mac, s.free.mac).icmp(143, 0, [0; 4]),
        )
        .stopped(s.blue, Stop::IcmpUnrelated),
        row(
            "a listener query through the router",
            s.a,
            s.routed(s.a).ip("2001:db8:1::10", "2001:db8:2::10").icmp(130, 0, [0; 4]),
        )
        .stopped(s.blue, Stop::IcmpUnrelated),
    ]
}

fn states(s: &Site) -> Vec<Row> {
    let tcp =
        |flags| s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").tcp(1000, 80, flags, 100, 0);
    let state = |name, flags| row(name, s.a, tcp(flags)).stopped(s.blue, Stop::ConnectionState);
    let unrelated = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::IcmpUnrelated);
    let v4 = || s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
    let v6 = || s.switched(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30");
    let quoted = s.switched(s.free, s.a).ip("10.1.0.30", "10.1.0.10").udp(1, 2).packet();
    let dns = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(1000, 53);
    vec![
        state("begins with an answer", SYN | ACK),
        state("begins with an end", FIN),
        state("begins with a reset", RST),
        state("no flags at all", 0),
        state("begins with everything but a SYN", FIN | RST | ACK),
        row("picked up in the middle", s.a, tcp(ACK)).switched(s.free),
        unrelated("an echo reply without an echo", v4().icmp(0, 0, [0, 1, 0, 1])),
        unrelated("an echo reply without an echo, IPv6", v6().icmp(129, 0, [0, 1, 0, 1])),
        unrelated("an error about no flow", v4().icmp(3, 1, [0; 4]).payload(&quoted)),
        unrelated("an error that quotes nothing", v4().icmp(11, 0, [0; 4])),
        unrelated("an error of IPv6 that quotes nothing", v6().icmp(1, 0, [0; 4])),
        unrelated("a type that nobody knows", v4().icmp(40, 0, [0; 4])),
        unrelated("a type that nobody knows, IPv6", v6().icmp(200, 0, [0; 4])),
        unrelated("a router solicitation of IPv4", v4().icmp(10, 0, [0; 4])),
        row(
            "a reset outside the window",
            s.free,
            s.switched(s.free, s.a).ip("10.1.0.30", "10.1.0.10").tcp(
                80,
                1000,
                RST | ACK,
                900_000,
                101,
            ),
        )
        .after(|s| {
            let out = |flags, seq, ack| {
                s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").tcp(1000, 80, flags, seq, ack)
            };
            let back = |flags, seq, ack| {
                s.switched(s.free, s.a).ip("10.1.0.30", "10.1.0.10").tcp(80, 1000, flags, seq, ack)
            };
            s.passes(s.a, &out(SYN, 100, 0), s.free);
            s.passes(s.free, &back(SYN | ACK, 500, 101), s.a);
            s.passes(s.a, &out(ACK, 101, 501), s.free);
        })
        .stopped(s.blue, Stop::ResetOutsideWindow),
        row(
            "an answer from a neighbour",
            s.free,
            s.switched(s.free, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1000),
        )
        .after(|s| {
            let question = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1000, 53);
            s.passes(s.a, &question, s.b);
        })
        .stopped(s.blue, Stop::FlowOwner),
        row("no room for another flow", s.a, dns.clone())
            .after(|s| {
                s.tables = HostTables::new(s.world.image.clone(), BUCKET_LINES);
                for port in 1..4 {
                    s.passes(
                        s.a,
                        &s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(port, 53),
                        s.free,
                    );
                }
            })
            .stopped(s.blue, Stop::FlowTableFull),
        row("one flow more than the tenant may have", s.a, dns)
            .after(|s| {
                let blue = s.blue as usize;
                s.change(|w| w.image.tenants[blue].flows_max = 2);
                s.passes(
                    s.a,
                    &s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(1, 53),
                    s.free,
                );
            })
            .stopped(s.blue, Stop::FlowQuota),
    ]
}

fn routes(s: &Site) -> Vec<Row> {
    let v4 = |dst| s.routed(s.a).ip("10.1.0.10", dst).udp(1, 53);
    let nowhere = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::DestinationUnroutable);
    let to_b = || s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 53);
    vec![
        nowhere("to a loopback address", v4("127.0.0.1")),
        nowhere("to no address", v4("0.0.0.0")),
        nowhere("to class E", v4("250.0.0.1")),
        nowhere("to a link-local address", v4("169.254.169.254")),
        nowhere("to a group in a unicast frame", v4("224.0.0.5")),
        nowhere("to everybody in a unicast frame", v4("255.255.255.255")),
        nowhere("to everybody of another subnet", v4("10.2.0.255")),
        nowhere("to everybody of the own subnet by the router", v4("10.1.0.255")),
        nowhere("to a subnet itself", v4("10.2.0.0")),
        row(
            "from outside to everybody of a subnet",
            s.uplink,
            s.routed(s.uplink).ip("8.8.8.8", "10.2.0.255").udp(1, 53),
        )
        .stopped(s.blue, Stop::DestinationUnroutable),
        nowhere(
            "to a link-local address, IPv6",
            s.routed(s.a).ip("2001:db8:1::10", "fe80::1").udp(1, 2),
        ),
        nowhere(
            "from a link-local address",
            s.routed(s.a).ip("fe80::10", "2001:db8:2::10").udp(1, 2),
        ),
        nowhere(
            "to a group in a unicast frame, IPv6",
            s.routed(s.a).ip("2001:db8:1::10", "ff05::1").udp(1, 2),
        ),
        row("into the black hole", s.a, v4("198.18.7.7")).stopped(s.blue, Stop::Blackhole),
        row("to the MAC of another than has the address", s.a, to_b().eth(s.a.mac, s.pair.mac))
            .stopped(s.blue, Stop::WrongStation),
        row("to the router's MAC of another network", s.a, to_b().eth(s.a.mac, s.c.router))
            .stopped(s.blue, Stop::WrongStation),
        row(
            "to another network by its router's MAC",
            s.a,
            s.frame(s.a, s.c.router).ip("10.1.0.10", "10.2.0.10").udp(1, 53),
        )
        .stopped(s.blue, Stop::UnknownDestination),
        row(
            "to the gateway's address at a neighbour's MAC",
            s.a,
            s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.1").icmp(8, 0, [0; 4]),
        )
        .stopped(s.blue, Stop::ToRouter),
        row(
            "without a router to a neighbouring network",
            s.lonely,
            s.routed(s.lonely).ip("10.8.0.10", "10.1.0.20").udp(1, 53),
        )
        .stopped(s.blue, Stop::NoRoute),
    ]
}

fn borders(s: &Site) -> Vec<Row> {
    let out = |name, from, src, dst, tenant, stop| {
        row(name, from, s.routed(from).ip(src, dst).udp(1, 53)).stopped(tenant, stop)
    };
    let uplink = |name, src, dst, tenant, stop| out(name, s.uplink, src, dst, tenant, stop);
    vec![
        out("a closed network to the uplink", s.mec, "10.9.0.10", "8.8.8.8", s.blue, Stop::MecOnly),
        uplink("the uplink to a closed network", "8.8.8.8", "10.9.0.10", s.blue, Stop::MecOnly),
        out(
            "to what the provider protects",
            s.a,
            "10.1.0.10",
            "192.0.2.1",
            s.blue,
            Stop::ProtectedDestination,
        ),
        out(
            "a line to what the provider protects",
            s.line_a,
            "100.64.0.10",
            "192.0.2.1",
            s.blue,
            Stop::ProtectedDestination,
        ),
        out(
            "an uplink's line to what the provider protects",
            s.line_up,
            "100.65.0.10",
            "192.0.2.1",
            s.blue,
            Stop::ProtectedDestination,
        ),
        out(
            "out from an address that is not exported",
            s.red_a,
            "10.1.0.10",
            "9.9.9.9",
            s.red,
            Stop::NotExported,
        ),
        out(
            "out with another tenant's exported address",
            s.free,
            "10.66.0.10",
            "8.8.8.8",
            s.blue,
            Stop::NotExported,
        ),
        uplink("the uplink to what nobody exports", "8.8.8.8", "10.77.0.1", 0, Stop::NotExported),
        uplink(
            "the uplink to what the provider protects",
            "8.8.8.8",
            "192.0.2.1",
            0,
            Stop::NotExported,
        ),
        out(
            "the other uplink to what is exported elsewhere",
            s.far,
            "203.0.113.9",
            "10.66.0.10",
            0,
            Stop::NotExported,
        ),
        uplink("from inside, outside", "10.1.0.10", "10.1.0.20", s.blue, Stop::ReversePath),
        uplink(
            "from another tenant's inside, outside",
            "10.66.0.10",
            "10.1.0.20",
            s.blue,
            Stop::ReversePath,
        ),
        uplink("from a line, outside", "100.64.0.10", "10.1.0.20", s.blue, Stop::ReversePath),
        uplink(
            "from an uplink's line, outside",
            "100.65.0.10",
            "10.1.0.20",
            s.blue,
            Stop::ReversePath,
        ),
        uplink(
            "from our own address, outside",
            "198.51.100.2",
            "10.1.0.20",
            s.blue,
            Stop::ReversePath,
        ),
        uplink(
            "from what another uplink leads to",
            "203.0.113.9",
            "10.1.0.20",
            s.blue,
            Stop::ReversePath,
        ),
        uplink(
            "from what the provider protects",
            "192.0.2.1",
            "10.1.0.20",
            s.blue,
            Stop::ReversePath,
        ),
        uplink("from the black hole", "198.18.0.1", "10.1.0.20", s.blue, Stop::ReversePath),
        out(
            "by an uplink that leads elsewhere",
            s.far,
            "8.8.8.8",
            "10.1.0.20",
            s.blue,
            Stop::ReversePath,
        ),
        out(
            "a line past its network",
            s.bound,
            "100.64.0.12",
            "10.2.0.10",
            s.blue,
            Stop::LineDestination,
        ),
        out(
            "a line of a network to the uplink",
            s.bound,
            "100.64.0.12",
            "8.8.8.8",
            s.blue,
            Stop::LineDestination,
        ),
        out(
            "another network to a line of a network",
            s.c,
            "10.2.0.10",
            "100.64.0.12",
            s.blue,
            Stop::LineDestination,
        ),
        out(
            "a line of a network to another line",
            s.bound,
            "100.64.0.12",
            "100.64.0.13",
            s.blue,
            Stop::LineDestination,
        ),
    ]
}

fn rules(s: &Site) -> Vec<Row> {
    let denied =
        |name, from, frame: Frame| row(name, from, frame).stopped(s.blue, Stop::IngressDenied);
    let b_to_a = || s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10");
    let line = |from, src, dst| s.routed(from).ip(src, dst).udp(1, 9);
    vec![
        denied(
            "a port that no rule names",
            s.a,
            s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 54),
        ),
        denied(
            "a protocol that no rule names",
            s.a,
            s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").tcp(1, 53, SYN, 0, 0),
        ),
        denied(
            "not a member of the group",
            s.pair,
            s.switched(s.pair, s.a).ip("10.1.0.40", "10.1.0.10").udp(1, 5000),
        ),
        denied("a member at another port", s.b, b_to_a().udp(1, 5001)),
        denied(
            "an ICMP query that no rule names",
            s.a,
            s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").icmp(13, 0, [0; 4]).payload(&[0; 12]),
        ),
        denied(
            "ICMP of the other family",
            s.a,
            s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").transport(
                58,
                vec![128, 0, 0, 0, 0, 1, 0, 1],
                None,
            ),
        ),
        denied(
            "from outside to a client",
            s.uplink,
            s.routed(s.uplink).ip("8.8.8.8", "10.1.0.10").udp(53, 1),
        ),
        denied(
            "a stateless receiver's answer",
            s.free,
            s.switched(s.free, s.stateless).ip("10.1.0.30", "10.1.0.60").tcp(443, 9, ACK, 0, 0),
        ),
        row(
            "a member by way of an appliance",
            s.a,
            s.routed(s.a).ip("10.1.0.10", "172.16.0.1").udp(1, 53),
        )
        .after(|s| {
            // a may send to the group alone; b is in it, and is the way to other addresses.
            let (client, group, router, hop) = (s.client as usize, s.group, s.router, s.b.hop);
            s.change(|w| {
                let first = w.image.policies[client].egress_first as usize;
                let rule = &mut w.image.rules[first];
                (rule.remote, rule.set) = (remote::MEMBERS, group);
                w.route(router, "172.16.0.0/12", crate::world::via(&[hop]));
            });
        })
        .stopped(s.blue, Stop::EgressDenied),
        row("what its own rules keep in", s.b, b_to_a().udp(1, 5000))
            .after(|s| {
                let server = s.server as usize;
                s.change(|w| w.image.policies[server].egress_count = 0);
            })
            .stopped(s.blue, Stop::EgressDenied),
        row("line to line", s.line_b, line(s.line_b, "100.64.0.13", "100.64.0.10"))
            .stopped(s.blue, Stop::LineToLine),
        row(
            "line to line by a rule that names another",
            s.line_a,
            line(s.line_a, "100.64.0.10", "100.64.0.13"),
        )
        .after(|s| s.change(|w| w.image.members.retain(|key| key.set != 2)))
        .stopped(s.blue, Stop::LineToLine),
        row(
            "line to line, the receiver unfiltered",
            s.line_b,
            line(s.line_b, "100.64.0.13", "100.64.0.10"),
        )
        .after(|s| {
            let id = s.line_a.id as usize;
            s.change(|w| w.image.endpoints[id].policy = 0);
        })
        .stopped(s.blue, Stop::LineToLine),
    ]
}

fn outputs(s: &Site) -> Vec<Row> {
    let dns = || s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 53);
    vec![
        row("to an interface that is not there", s.a, dns())
            .after(|s| {
                let at = s.b.attachment as usize;
                s.change(|w| w.image.outputs[at].ifindex = 0);
            })
            .stopped(s.blue, Stop::OutputAbsent),
        row("the kernel refuses the tag", s.a, dns())
            .with(HostPacket::refusing)
            .stopped(s.blue, Stop::ResizeRefused),
        row("a record is missing", s.a, dns())
            .after(|s| {
                let key = AttachmentKey { ifindex: s.a.ifindex, vlan: 0 };
                s.change(|w| {
                    if let Some(attachment) = w.image.attachments.get_mut(&key) {
                        attachment.zone = 1 << 23;
                    }
                });
            })
            .stopped(s.blue, Stop::TableMissing),
    ]
}
