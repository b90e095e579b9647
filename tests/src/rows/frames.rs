//! Where a frame came in: attachments, tags, stations.

use crate::world::{End, Site};
use dataplane_common::Stop;

use super::row::{Row, row};

pub fn rows(s: &Site) -> Vec<Row> {
    let dns = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1000, 53).payload(b"who?");
    let to_trunk = s.switched(s.a, s.trunk).ip("10.1.0.10", "10.1.0.50").udp(1000, 53);
    let from_trunk = s.switched(s.trunk, s.b).ip("10.1.0.50", "10.1.0.20").udp(1000, 53);
    let inbound = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1000, 53);
    let outbound = s.routed(s.line_a).ip("100.64.0.10", "8.8.8.8").udp(1000, 53);
    vec![
        row("an interface that nobody named", End { ifindex: 999, ..s.a }, dns.clone())
            .stopped(0, Stop::NoAttachment)
            .unseen(),
        row("a VLAN that nobody named", s.a, dns.clone().vlan(9))
            .stopped(0, Stop::NoAttachment)
            .unseen(),
        row("VLAN 4095 is nobody's", s.a, dns.clone().vlan(0x0fff))
            .stopped(0, Stop::NoAttachment)
            .unseen(),
        row("a tagged port's frame without its tag", s.trunk, from_trunk.clone().untagged())
            .stopped(0, Stop::NoAttachment)
            .unseen(),
        row("a tag 0 does not reach a tagged port", s.trunk, from_trunk.clone().untagged().vlan(0))
            .stopped(0, Stop::NoAttachment)
            .unseen(),
        row("a service tag", s.trunk, from_trunk.clone().untagged().tag(0x88a8, 7))
            .stopped(0, Stop::TagUnsupported)
            .unseen(),
        row("two customer tags", s.trunk, from_trunk.clone().vlan(7))
            .stopped(0, Stop::TagUnsupported)
            .unseen(),
        row("a service tag inside a customer tag", s.trunk, from_trunk.clone().tag(0x88a8, 7))
            .stopped(0, Stop::TagUnsupported)
            .unseen(),
        row("a tag hidden behind a priority tag", s.a, dns.clone().vlan(0).vlan(7))
            .stopped(0, Stop::TagUnsupported)
            .unseen(),
        row("a frame of 13 bytes", s.a, dns.clone().cut(13)).stopped(0, Stop::Truncated).unseen(),
        row("a frame that ends in its tag", s.a, dns.clone().vlan(0).cut(16))
            .stopped(0, Stop::Truncated)
            .unseen(),
        row("a priority tag is no VLAN, and goes", s.a, dns.clone().vlan(0xe000)).switched(s.b),
        row("a tag is taken off for an untagged port", s.trunk, from_trunk.clone()).switched(s.b),
        row("drop eligibility is no VLAN", s.trunk, from_trunk.clone().untagged().vlan(0x1007))
            .sent(s.b, from_trunk.untagged()),
        row("a tag is put on for a tagged port", s.a, to_trunk).switched(s.trunk),
        row("a NIC's tag is taken off", s.uplink, inbound.clone()).routed(s, s.b),
        row("a NIC's tag is put on", s.line_a, outbound).routed(s, s.uplink),
        row(
            "for another station of the link",
            s.uplink,
            inbound.eth(s.uplink.mac, Site::stranger()),
        )
        .stopped(0, Stop::NotForUs),
        row("from a MAC that nobody has", s.a, dns.clone().eth(Site::stranger(), s.b.mac))
            .stopped(s.blue, Stop::UnknownStation),
        row("from a neighbour's MAC", s.a, dns.clone().eth(s.b.mac, s.b.mac))
            .stopped(s.blue, Stop::UnknownStation),
        row("from no MAC at all", s.a, dns.clone().eth([0; 6], s.b.mac))
            .stopped(s.blue, Stop::UnknownStation),
        row(
            "from a group's MAC, port security off",
            s.free,
            s.switched(s.free, s.b)
                .eth([3, 0, 0, 0, 0, 1], s.b.mac)
                .ip("10.1.0.30", "10.1.0.20")
                .udp(1, 53),
        )
        .stopped(s.blue, Stop::UnknownStation),
        row(
            "from any MAC, port security off",
            s.free,
            s.frame(s.free, s.b.mac)
                .eth(Site::stranger(), s.b.mac)
                .ip("10.1.0.30", "10.1.0.20")
                .udp(1, 53),
        )
        .switched(s.b),
        row("link-layer discovery", s.a, dns.clone().ethertype(0x88cc))
            .stopped(s.blue, Stop::EthertypeUnsupported),
        row("a length instead of an EtherType", s.a, dns.clone().ethertype(0x0026))
            .stopped(s.blue, Stop::EthertypeUnsupported),
        row("an outdated service tag", s.a, dns.clone().tag(0x9100, 7))
            .stopped(s.blue, Stop::EthertypeUnsupported),
        row("IPv4 that says it is IPv6", s.a, dns.payload(&[0; 40]).ethertype(0x86dd))
            .stopped(s.blue, Stop::BadHeader),
    ]
}
