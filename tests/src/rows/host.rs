//! On a NIC that the host shares: what is passed up to it.

use crate::{
    build::{
        Frame,
        tcp::{ACK, SYN},
    },
    world::{End, Site},
};
use dataplane_common::Stop;

use super::row::{Row, row};

/// The host's addresses on the uplink and on the access (`world/site.rs`).
const OWN: &str = "198.51.100.5";
const OWN_V6: &str = "2001:db8:ff::5";
const ON_ACCESS: &str = "100.127.0.5";
const EVERYBODY: [u8; 6] = [0xff; 6];

pub fn rows(s: &Site) -> Vec<Row> {
    [packets(s), borders(s), neighbours(s), link(s)].concat()
}

fn packets(s: &Site) -> Vec<Row> {
    let up = |src, dst| s.routed(s.uplink).ip(src, dst);
    let passed = |name, frame| row(name, s.uplink, frame).passed();
    let denied = |name, frame| row(name, s.uplink, frame).stopped(0, Stop::HostDenied);
    let about = Frame::new([0; 6], [0; 6]).ip(OWN, "8.8.8.8").tcp(22, 1, SYN, 0, 0).packet();
    vec![
        passed("to a service of the host", up("8.8.8.8", OWN).tcp(1, 22, SYN, 0, 0)),
        passed("the same, IPv6", up("2001:db8:99::1", OWN_V6).tcp(1, 22, SYN, 0, 0)),
        passed("an echo request to the host", up("8.8.8.8", OWN).icmp(8, 0, [0, 1, 0, 1])),
        passed("from a source of the host's list", up("198.51.100.1", OWN).udp(1, 161)),
        denied("from another source", up("8.8.8.8", OWN).udp(1, 161)),
        denied("to another port of the host", up("8.8.8.8", OWN).tcp(1, 80, SYN, 0, 0)),
        denied("to another port of the host, IPv6", up("2001:db8:99::1", OWN_V6).udp(1, 54)),
        denied("another protocol to the host", up("8.8.8.8", OWN).protocol(47)),
        passed("an answer to the host", up("8.8.8.8", OWN).tcp(443, 40_000, ACK, 1, 1)),
        passed("the first answer to the host", up("8.8.8.8", OWN).tcp(443, 1, SYN | ACK, 1, 1)),
        denied("from the answers' port, to open", up("8.8.8.8", OWN).tcp(443, 1, SYN, 0, 0)),
        passed(
            "an ICMP error for the host",
            up("7.7.7.7", OWN).icmp(3, 4, [0, 0, 5, 0]).payload(&about),
        ),
        row("to the host from nobody", s.uplink, up("127.0.0.1", OWN).tcp(1, 22, SYN, 0, 0))
            .stopped(0, Stop::MartianSource),
        row(
            "to the host on an access",
            s.access,
            s.routed(s.access).ip("100.127.0.9", ON_ACCESS).tcp(1, 22, SYN, 0, 0),
        )
        .passed(),
        row(
            "to the host on an access, another port",
            s.access,
            s.routed(s.access).ip("100.127.0.9", ON_ACCESS).tcp(1, 23, SYN, 0, 0),
        )
        .stopped(0, Stop::HostDenied),
        row(
            "a later piece to the host on an access",
            s.access,
            s.routed(s.access).ip("100.127.0.9", ON_ACCESS).fragment(8, false).payload(&[7; 8]),
        )
        .stopped(0, Stop::NoSession),
        row(
            "a later piece to the host",
            s.uplink,
            up("8.8.8.8", OWN).fragment(8, false).payload(&[7; 8]),
        )
        .stopped(0, Stop::FragmentEarly),
    ]
}

fn borders(s: &Site) -> Vec<Row> {
    let inside = |name, src| {
        row(name, s.uplink, s.routed(s.uplink).ip(src, OWN).tcp(1, 22, SYN, 0, 0))
            .stopped(0, Stop::NotExported)
    };
    vec![
        inside("to the host from an address inside", "10.1.0.10"),
        inside("to the host from our own address", "198.51.100.2"),
        row(
            "to the host from a pool",
            s.access,
            s.routed(s.access).ip("100.64.0.99", ON_ACCESS).tcp(1, 22, SYN, 0, 0),
        )
        .stopped(0, Stop::NoSession),
        row(
            "to the host on an access from our own address there",
            s.access,
            s.routed(s.access).ip("100.127.0.1", ON_ACCESS).tcp(1, 22, SYN, 0, 0),
        )
        .stopped(0, Stop::NoSession),
        row(
            "beside the host on an access",
            s.access,
            s.routed(s.access).ip("100.127.0.9", "10.1.0.20").udp(1, 53),
        )
        .stopped(0, Stop::NoSession),
        row("a tenant to the host", s.a, s.routed(s.a).ip("10.1.0.10", OWN).tcp(1, 22, SYN, 0, 0))
            .stopped(s.blue, Stop::ProtectedDestination),
        row(
            "a line of the uplink to the host",
            s.access,
            s.routed(s.access).ip("100.65.0.10", OWN).tcp(1, 22, SYN, 0, 0),
        )
        .stopped(s.blue, Stop::ProtectedDestination),
        row(
            "with the host's address from outside",
            s.uplink,
            s.routed(s.uplink).ip(OWN, "10.1.0.20").udp(1, 53),
        )
        .stopped(s.blue, Stop::ReversePath),
    ]
}

fn neighbours(s: &Site) -> Vec<Row> {
    let up = s.uplink;
    let arp = |operation, to, target| {
        s.frame(up, to).arp(operation, (up.mac, "198.51.100.1"), ([0; 6], target))
    };
    let group = [0x33, 0x33, 0xff, 0, 0, 5];
    let asks = |target| {
        let frame = s.frame(up, group).ip("2001:db8:ff::1", "ff02::1:ff00:5");
        frame.neighbour(135, 0, target, Some((1, up.mac)))
    };
    let says = |dst| {
        let frame = s.frame(up, up.router).ip("2001:db8:ff::1", dst);
        frame.neighbour(136, 0x60, "2001:db8:ff::1", Some((2, up.mac)))
    };
    vec![
        row("ARP for the host", up, arp(1, EVERYBODY, OWN)).passed(),
        row("an answer by ARP to the host", up, arp(2, up.router, OWN)).passed(),
        row("a solicitation for the host", up, asks(OWN_V6)).passed(),
        row("a solicitation for a link-local address", up, asks("fe80::5")).passed(),
        row("an advertisement to the host", up, says(OWN_V6)).passed(),
        row("an advertisement to its link-local address", up, says("fe80::5")).passed(),
        row("a solicitation for nobody on the host's link", up, asks("2001:db8:ff::77"))
            .stopped(0, Stop::NeighbourUnanswered),
    ]
}

fn link(s: &Site) -> Vec<Row> {
    let frame = |from: End, last, ethertype, subtype: u8| {
        let to = [0x01, 0x80, 0xc2, 0, 0, last];
        // What looks like an IP header begins with the subtype.
        let frame = Frame::new(from.mac, to).ip("10.0.0.1", "10.0.0.2").payload(&[0; 90]);
        frame.patch_network(0, &[subtype]).ethertype(ethertype)
    };
    let passed = |name, frame| row(name, s.uplink, frame).passed();
    // A network's untagged attachment beside a VLAN of the same NIC, which names them.
    let beside = |name, frame| {
        row(name, s.a, frame).after(|s| {
            let a = s.a;
            s.change(|w| w.speaks_on_the_link(a));
        })
    };
    // The switch speaks with a MAC of its own.
    let stranger = End { mac: [2, 0, 0, 0, 0x99, 1], ..s.a };
    let unknown = |name, frame| row(name, s.uplink, frame).unseen().stopped(0, Stop::NoAttachment);
    vec![
        passed("LACP beside the VLANs of a NIC", frame(s.uplink, 2, 0x8809, 1)),
        passed("its marker protocol", frame(s.uplink, 2, 0x8809, 2)),
        passed("LLDP", frame(s.uplink, 0x0e, 0x88cc, 2)),
        passed("LLDP to the nearest customer bridge", frame(s.uplink, 0, 0x88cc, 2)),
        unknown("another slow protocol", frame(s.uplink, 2, 0x8809, 3)),
        unknown("LACP to LLDP's group", frame(s.uplink, 0x0e, 0x8809, 1)),
        unknown("LLDP to LACP's group", frame(s.uplink, 2, 0x88cc, 1)),
        unknown(
            "LACP to somebody",
            frame(s.uplink, 2, 0x8809, 1).eth(s.uplink.mac, s.uplink.router),
        ),
        beside("LACP beside a network on a NIC", frame(stranger, 2, 0x8809, 1)).passed(),
        beside("LLDP beside a network on a NIC", frame(stranger, 0x0e, 0x88cc, 2)).passed(),
        beside("LLDP from a port's MAC there", frame(s.a, 0x0e, 0x88cc, 2)).passed(),
        beside("another slow protocol beside a network", frame(stranger, 2, 0x8809, 3))
            .stopped(s.blue, Stop::UnknownStation),
        row("LLDP from a port, where it is nobody's", s.a, frame(stranger, 0x0e, 0x88cc, 2))
            .stopped(s.blue, Stop::UnknownStation),
        row("LACP where it is nobody's", s.far, frame(s.far, 2, 0x8809, 1))
            .stopped(0, Stop::EthertypeUnsupported),
    ]
}
