//! Packets that are rare by themselves.

use super::{Peer, Throng};
use crate::{
    build::{Frame, tcp::SYN},
    world::{End, Site},
};

/// Padding of six bytes as an extension header's content.
const PAD: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

impl Throng<'_> {
    /// One of them.
    pub(super) fn odd(&mut self) -> (Peer, Frame) {
        let s = self.site;
        let (from, frame) = self.chance.of(&self.odd).clone();
        let is_nic = [s.uplink, s.far, s.access].iter().any(|nic| nic.ifindex == from.ifindex);
        (Peer { end: from, addr: "", is_nic }, frame)
    }
}

/// All of them.
pub(super) fn odd(s: &Site) -> Vec<(End, Frame)> {
    [
        frames(s),
        headers(s),
        protocols(s),
        stops(s),
        sizes(s),
        answers(s),
        heard(s),
        floods(s),
        announcements(s),
    ]
    .concat()
}

/// Who has an address now.
fn announcements(s: &Site) -> Vec<(End, Frame)> {
    let says = |from: End, addr| s.frame(from, [0xff; 6]).arp(1, (from.mac, addr), ([0; 6], addr));
    let advertises = |from: End, src, target| {
        let frame = s.frame(from, [0x33, 0x33, 0, 0, 0, 1]).ip(src, "ff02::1");
        frame.neighbour(136, 0x20, target, Some((2, from.mac)))
    };
    vec![
        (s.pair, says(s.pair, "10.1.0.88")),
        (s.stateless, says(s.stateless, "10.1.0.88")),
        (s.stateless, advertises(s.stateless, "2001:db8:1::60", "2001:db8:1::88")),
        (s.b, advertises(s.b, "fe80::7", "fe80::7")),
    ]
}

/// Broadcast and multicast.
fn floods(s: &Site) -> Vec<(End, Frame)> {
    let group = [0x01, 0, 0x5e, 0x01, 0x02, 0x03];
    let all = |from: End, src, dst, port| s.frame(from, [0xff; 6]).ip(src, dst).udp(1, port);
    let six = |from: End, src| s.frame(from, [0x33, 0x33, 0, 0, 0, 0xfb]).ip(src, "ff02::fb");
    vec![
        (s.a, all(s.a, "10.1.0.10", "255.255.255.255", 53)),
        (s.a, all(s.a, "10.1.0.10", "10.1.0.255", 9)),
        (s.b, all(s.b, "10.1.0.20", "10.1.0.255", 5000)),
        (s.trunk, all(s.trunk, "10.1.0.50", "255.255.255.255", 5001)),
        (s.c, all(s.c, "10.2.0.10", "255.255.255.255", 53)),
        (s.lonely, all(s.lonely, "10.8.0.10", "255.255.255.255", 53)),
        (s.a, all(s.a, "10.1.0.10", "10.2.0.255", 53)),
        (s.a, all(s.a, "10.1.0.20", "10.1.0.255", 53)),
        (s.a, s.frame(s.a, group).ip("10.1.0.10", "239.129.2.3").udp(1, 5002)),
        (s.red_a, s.frame(s.red_a, group).ip("10.1.0.10", "239.129.2.3").udp(1, 53)),
        (s.a, six(s.a, "2001:db8:1::10").udp(1, 53)),
        (s.stateless, six(s.stateless, "2001:db8:1::60").udp(1, 53)),
        (s.uplink, all(s.uplink, "8.8.8.8", "255.255.255.255", 53)),
        (s.a, s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(67, 68)),
        (s.a, s.frame(s.a, [0xff; 6]).ip("0.0.0.0", "255.255.255.255").udp(68, 67)),
        (s.a, six(s.a, "::").icmp(131, 0, [0; 4]).ttl(1)),
        (s.a, six(s.a, "::").icmp(143, 0, [0; 4]).ttl(1)),
    ]
}

fn v4(s: &Site, from: End, src: &str, dst: &str) -> Frame {
    s.routed(from).ip(src, dst)
}

/// A question from a to c by its router.
fn far4(s: &Site) -> Frame {
    v4(s, s.a, "10.1.0.10", "10.2.0.10")
}

/// The same by IPv6.
fn far6(s: &Site) -> Frame {
    v4(s, s.a, "2001:db8:1::10", "2001:db8:2::10")
}

/// Tags and stations.
fn frames(s: &Site) -> Vec<(End, Frame)> {
    let dns = far4(s).udp(1, 53);
    vec![
        (s.a, dns.clone().vlan(9)),
        (s.a, dns.clone().vlan(0)),
        (s.a, dns.clone().tag(0x88a8, 5).vlan(6)),
        (s.a, dns.clone().vlan(0).vlan(6)),
        (s.a, dns.clone().ethertype(0x88cc)),
        (s.a, dns.eth(Site::stranger(), s.a.router)),
        (s.uplink, v4(s, s.uplink, "8.8.8.8", "10.1.0.20").udp(1, 53).eth(s.uplink.mac, s.a.mac)),
        (s.a, s.frame(s.a, [0xff; 6]).ip("10.1.0.10", "255.255.255.255").udp(68, 67)),
        (s.trunk, v4(s, s.trunk, "10.1.0.50", "10.2.0.10").udp(1, 53)),
        (s.trunk, s.routed(s.trunk).untagged().vlan(0x6007).ip("10.1.0.50", "8.8.8.8").udp(1, 53)),
    ]
}

/// Headers that are long, wrong, or in pieces.
fn headers(s: &Site) -> Vec<(End, Frame)> {
    let (dns, dns6) = (far4(s).udp(1, 53), far6(s).udp(1, 53));
    vec![
        (s.a, dns.clone().options(&[148, 4, 0, 0])),
        (s.a, dns.clone().options(&[1, 1, 1, 7, 39, 4, 0, 0])),
        (s.a, dns.clone().options(&[131, 7, 4, 8, 8, 8, 8, 0])),
        (s.a, dns.clone().options(&[1, 137, 7, 4, 8, 8, 8, 8])),
        (s.a, dns.clone().options(&[7, 1, 0, 0])),
        (s.a, dns.clone().options(&[7, 9, 0, 0])),
        (s.a, dns.clone().length(400)),
        (s.a, dns.clone().length(10)),
        (s.a, dns.clone().patch_network(10, &[0, 0])),
        (s.a, dns.clone().fragment(0, true)),
        (s.a, dns.clone().fragment(800, true)),
        (s.a, far4(s).fragment(0, true).tcp(1, 80, SYN, 0, 0).length(24)),
        (s.a, far4(s).transport(17, vec![0; 4], None)),
        (s.a, far4(s).transport(6, vec![0; 12], None)),
        (s.a, far4(s).tcp(1, 80, SYN, 0, 0).patch_transport(12, &[0x20])),
        (s.a, dns.clone().patch_transport(4, &[1, 0])),
        (s.a, dns6.clone().extension(0, &PAD)),
        (s.a, dns6.clone().extension(0, &PAD).extension(60, &PAD)),
        (s.a, dns6.clone().extension(60, &PAD).extension(60, &PAD).extension(60, &PAD)),
        (s.a, [0; 9].iter().fold(dns6.clone(), |frame, _| frame.extension(60, &PAD))),
        (s.a, dns6.clone().extension(43, &PAD)),
        (s.a, dns6.clone().extension(60, &PAD).extension(0, &PAD)),
        (s.a, dns6.clone().fragment_v6(0, false)),
        (s.a, dns6.clone().fragment_v6(0, true)),
        (s.a, dns6.clone().fragment_v6(80, true)),
        (s.a, far6(s).fragment_v6(0, true).transport(6, vec![0; 8], None)),
        (s.a, dns6.length(999)),
        (s.a, far4(s).icmp(42, 0, [0; 4])),
        (s.a, far4(s).icmp(0, 0, [0, 1, 0, 1])),
        (s.a, far4(s).icmp(5, 0, [0; 4])),
        (s.a, far6(s).icmp(200, 0, [0; 4])),
    ]
}

/// Of every protocol that has ports, and to every kind of rule.
fn protocols(s: &Site) -> Vec<(End, Frame)> {
    let near4 = || s.switched(s.free, s.b).ip("10.1.0.30", "10.1.0.20");
    let to_free = |protocol: u8, bytes: usize| {
        let mut header = vec![0, 1, 0, 53];
        header.resize(bytes, 0);
        s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").transport(protocol, header, None)
    };
    let six = |protocol: u8, bytes: usize| {
        let mut header = vec![0, 1, 0, 53];
        header.resize(bytes, 0);
        let frame = s.switched(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30");
        frame.transport(protocol, header, None)
    };
    let beyond = |port| v4(s, s.a, "10.1.0.10", "11.11.11.11").udp(port, 53);
    vec![
        (s.a, to_free(132, 12)),
        (s.a, to_free(33, 12)),
        (s.a, to_free(136, 8)),
        (s.a, to_free(132, 3)),
        (s.a, six(132, 12)),
        (s.a, six(33, 12)),
        (s.a, six(136, 8)),
        (s.a, s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").protocol(47).payload(&[0; 9])),
        (s.free, near4().udp(7, 5001)),
        (s.a, far4(s).udp(7, 5001)),
        (s.a, far6(s).udp(7, 5001)),
        (s.a, far4(s).udp(7, 5002)),
        (s.a, far6(s).udp(7, 5002)),
        (s.c, v4(s, s.c, "10.2.0.10", "10.1.0.20").udp(7, 5001)),
        (s.c, v4(s, s.c, "10.2.0.10", "10.1.0.20").udp(7, 5002)),
        (s.access, v4(s, s.line_a, "100.64.0.10", "100.64.0.13").udp(1, 53)),
        (s.access, v4(s, s.line_a, "100.64.0.10", "100.64.0.13").udp(2, 53)),
        (s.b, s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(7, 5000)),
        (s.a, beyond(1)),
        (s.a, beyond(2)),
        (s.a, beyond(3)),
        (s.a, beyond(4)),
    ]
}

/// Each for a stop.
fn stops(s: &Site) -> Vec<(End, Frame)> {
    let line = |end, src, dst| v4(s, end, src, dst).udp(1, 53);
    let up = |src, dst| v4(s, s.uplink, src, dst).udp(1, 53);
    let switched = |to| s.switched(s.a, to).ip("10.1.0.10", "10.1.0.20").udp(1, 53);
    vec![
        (s.a, switched(s.free)),
        (s.a, v4(s, s.a, "10.1.0.20", "10.2.0.10").udp(1, 53)),
        (s.a, v4(s, s.a, "127.0.0.1", "10.2.0.10").udp(1, 53)),
        (s.access, line(s.access, "100.64.0.99", "10.2.0.10")),
        (s.access, line(s.suspended, "100.64.0.11", "10.2.0.10")),
        (s.access, line(s.line_a, "100.64.0.10", "100.64.0.11")),
        (s.access, line(s.line_a, "100.64.0.10", "100.64.0.13")),
        (s.access, line(s.line_b, "100.64.0.13", "100.64.0.10")),
        (s.access, line(s.bound, "100.64.0.12", "10.2.0.10")),
        (s.access, line(s.bound, "100.64.0.12", "10.1.0.20")),
        (s.access, line(s.line_up, "100.65.0.10", "192.0.2.9")),
        (s.access, line(s.line_up, "100.65.0.10", "8.8.8.8")),
        (s.a, line(s.a, "10.1.0.10", "198.18.0.1")),
        (s.a, line(s.a, "10.1.0.10", "203.0.113.1")),
        (s.a, line(s.a, "10.1.0.10", "192.0.2.1")),
        (s.a, line(s.a, "10.1.0.10", "10.2.0.77")),
        (s.a, line(s.a, "10.1.0.10", "10.1.0.1")),
        (s.a, line(s.a, "10.1.0.10", "169.254.3.3")),
        (s.red_a, line(s.red_a, "10.1.0.10", "198.51.100.9")),
        (s.red_a, line(s.red_a, "10.1.0.10", "8.8.8.8")),
        (s.red_c, line(s.red_c, "10.66.0.10", "9.9.9.9")),
        (s.mec, line(s.mec, "10.9.0.10", "8.8.8.8")),
        (s.uplink, up("8.8.8.8", "10.9.0.10")),
        (s.uplink, up("8.8.8.8", "10.99.0.1")),
        (s.uplink, up("10.1.0.30", "10.1.0.20")),
        (s.uplink, up("203.0.113.9", "10.1.0.20")),
        (s.uplink, up("8.8.8.8", "10.2.0.77")),
        (s.uplink, up("8.8.8.8", "198.51.100.2")),
        (s.lonely, s.routed(s.lonely).ip("10.8.0.10", "8.8.8.8").udp(1, 53)),
        (s.stateless, line(s.stateless, "10.1.0.60", "8.8.8.8")),
        (s.free, s.switched(s.free, s.stateless).ip("10.1.0.30", "10.1.0.60").udp(9, 53)),
        (s.stateless, s.switched(s.stateless, s.free).ip("10.1.0.60", "10.1.0.30").udp(53, 9)),
        (s.stateless, s.switched(s.stateless, s.b).ip("10.1.0.60", "10.1.0.20").udp(9, 53)),
        (s.b, s.switched(s.b, s.stateless).ip("10.1.0.20", "10.1.0.60").udp(53, 9)),
        (s.b, s.switched(s.b, s.stateless).ip("10.1.0.20", "10.1.0.60").udp(9, 53)),
        (s.stateless, s.switched(s.stateless, s.b).ip("10.1.0.60", "10.1.0.20").udp(53, 9)),
    ]
}

/// Larger than the next link.
fn sizes(s: &Site) -> Vec<(End, Frame)> {
    let large = [0x5a; 1400];
    let larger = [0x5a; 3000];
    vec![
        (s.a, far4(s).udp(1, 53).whole().payload(&large)),
        (s.a, far4(s).udp(1, 53).payload(&large)),
        (s.a, far6(s).udp(1, 53).payload(&large)),
        (s.a, far6(s).udp(1, 53).payload(&larger)),
        (s.a, far4(s).whole().tcp(1, 80, SYN, 0, 0).payload(&larger)),
        (s.uplink, v4(s, s.uplink, "8.8.8.8", "10.2.0.10").udp(1, 53).whole().payload(&large)),
        (s.a, far4(s).udp(1, 53).ttl(1)),
        (s.a, far6(s).udp(1, 53).ttl(1)),
        (s.uplink, v4(s, s.uplink, "8.8.8.8", "10.1.0.20").udp(1, 53).ttl(1)),
    ]
}

/// What we answer.
fn answers(s: &Site) -> Vec<(End, Frame)> {
    let id = [0, 1, 0, 1];
    vec![
        (s.a, v4(s, s.a, "10.1.0.10", "10.1.0.1").icmp(8, 0, id)),
        (s.a, v4(s, s.a, "10.1.0.10", "10.2.0.1").icmp(8, 0, id)),
        (s.a, v4(s, s.a, "2001:db8:1::10", "2001:db8:1::1").icmp(128, 0, id)),
        (s.trunk, v4(s, s.trunk, "10.1.0.50", "10.1.0.1").icmp(8, 0, id)),
        (s.uplink, v4(s, s.uplink, "8.8.8.8", "198.51.100.2").icmp(8, 0, id)),
        (s.uplink, v4(s, s.uplink, "2001:db8:99::1", "2001:db8:ff::2").icmp(128, 0, id)),
        (
            s.uplink,
            s.frame(s.uplink, [0xff; 6]).arp(
                1,
                (s.uplink.mac, "198.51.100.1"),
                ([0; 6], "198.51.100.2"),
            ),
        ),
        (
            s.trunk,
            s.frame(s.trunk, [0xff; 6]).arp(1, (s.trunk.mac, "10.1.0.50"), ([0; 6], "10.1.0.1")),
        ),
    ]
}

/// What next hops say of their MACs.
fn heard(s: &Site) -> Vec<(End, Frame)> {
    let up = s.uplink;
    let says = |to, target| {
        let own = (up.mac, "198.51.100.1");
        (up, s.frame(up, to).arp(2, own, (up.router, target)))
    };
    let advertises = |to, dst| {
        let frame = s.frame(up, to).ip("2001:db8:ff::1", dst);
        (up, frame.neighbour(136, 0x60, "2001:db8:ff::1", Some((2, up.mac))))
    };
    vec![
        says(up.router, "198.51.100.2"),
        says(up.router, "198.51.100.2"),
        says([0xff; 6], "198.51.100.1"),
        advertises(up.router, "2001:db8:ff::2"),
        advertises([0x33, 0x33, 0, 0, 0, 1], "ff02::1"),
    ]
}
