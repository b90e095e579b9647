//! Where a frame came in: attachments, tags, stations.

use crate::{
    build::Frame,
    world::{End, Site},
};
use dataplane_common::Stop;

use super::row::{Row, row};

pub fn rows(s: &Site) -> Vec<Row> {
    [attached(s), tagged_twice(s), other_tags(s)].concat()
}

fn attached(s: &Site) -> Vec<Row> {
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

/// A service tag, then a customer tag: into each other form and back, and whose they are.
fn tagged_twice(s: &Site) -> Vec<Row> {
    let from = |end, addr, to: End| s.switched(end, to).ip(addr, "10.1.0.20").udp(1000, 53);
    let twin = from(s.twin, "10.1.0.70", s.b);
    let to_twin = |from, own| s.switched(from, s.twin).ip(own, "10.1.0.70").udp(1000, 53);
    let to_trunk = s.switched(s.twin, s.trunk).ip("10.1.0.70", "10.1.0.50").udp(1000, 53);
    let inbound = |to| s.routed(s.metro).ip("12.0.0.1", to).udp(1000, 53);
    let outbound = |from, own| s.routed(from).ip(own, "12.0.0.1").udp(1000, 53);
    let nobodys = |name, frame: &Frame, service, vlan| {
        let frame = frame.clone().untagged().tag(0x88a8, service).vlan(vlan);
        row(name, s.twin, frame).stopped(0, Stop::NoAttachment).unseen()
    };
    vec![
        row("two tags are taken off", s.twin, twin.clone()).switched(s.b),
        row("two tags are put on", s.a, to_twin(s.a, "10.1.0.10")).switched(s.twin),
        row("of two tags one is taken off", s.twin, to_trunk).switched(s.trunk),
        row("a tag is put before another", s.trunk, to_twin(s.trunk, "10.1.0.50")).switched(s.twin),
        row("a NIC's two tags are taken off", s.metro, inbound("10.1.0.20")).routed(s, s.b),
        row("a NIC's two tags become one", s.metro, inbound("10.1.0.50")).routed(s, s.trunk),
        row("a NIC's two tags become two others", s.metro, inbound("10.1.0.70")).routed(s, s.twin),
        row("the service VLAN tells whose it is", s.metro, inbound("10.66.0.70"))
            .routed(s, s.red_twin),
        row("two tags are put on at a NIC", s.a, outbound(s.a, "10.1.0.10")).routed(s, s.metro),
        row("one tag becomes two at a NIC", s.trunk, outbound(s.trunk, "10.1.0.50"))
            .routed(s, s.metro),
        row("two tags become two others at a NIC", s.twin, outbound(s.twin, "10.1.0.70"))
            .routed(s, s.metro),
        row("two tags become one at a NIC", s.twin, {
            s.routed(s.twin).ip("10.1.0.70", "8.8.8.8").udp(1000, 53)
        })
        .routed(s, s.uplink),
        row("one tag becomes two by a NIC", s.uplink, {
            s.routed(s.uplink).ip("8.8.8.8", "10.1.0.70").udp(1000, 53)
        })
        .routed(s, s.twin),
        row("no tag becomes two by a NIC", s.line_a, {
            s.routed(s.line_a).ip("100.64.0.10", "12.0.0.1").udp(1000, 53)
        })
        .routed(s, s.metro),
        row("IPv6 behind two tags", s.twin, {
            s.switched(s.twin, s.b).ip("2001:db8:1::70", "2001:db8:1::20").udp(1000, 53)
        })
        .switched(s.b),
        row("neither tag's priority is a VLAN", s.twin, {
            twin.clone().untagged().tag(0x88a8, 0xf005).vlan(0x7007)
        })
        .sent(s.b, twin.clone().untagged()),
        row("both priorities are kept at XDP", s.metro, {
            inbound("10.1.0.70").untagged().tag(0x88a8, 0xe009).vlan(0x601e)
        })
        .at_xdp()
        .sent(s.twin, {
            let frame = s.forwarded(&inbound("10.1.0.70"), 63, s.twin);
            frame.untagged().tag(0x88a8, 0xe005).vlan(0x6007)
        }),
        row("the inner priority is kept at XDP", s.metro, {
            inbound("10.1.0.50").untagged().tag(0x88a8, 0xe009).vlan(0x601e)
        })
        .at_xdp()
        .sent(s.trunk, s.forwarded(&inbound("10.1.0.50"), 63, s.trunk).untagged().vlan(0x6007)),
        row("a tag keeps its priority behind another at XDP", s.uplink, {
            let frame = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.70").udp(1000, 53);
            frame.untagged().vlan(0xb01e)
        })
        .at_xdp()
        .sent(s.twin, {
            let frame = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.70").udp(1000, 53);
            s.forwarded(&frame, 63, s.twin).untagged().tag(0x88a8, 5).vlan(0xb007)
        }),
        row("another service VLAN's port cannot be it", s.red_twin, {
            twin.clone().untagged().vlans(s.red_twin.vlan)
        })
        .stopped(s.red, Stop::UnknownStation),
        row("a port behind two tags without the outer one", s.trunk, {
            twin.clone().untagged().vlan(7)
        })
        .stopped(s.blue, Stop::UnknownStation),
        row("a port behind one tag with another before it", s.twin, {
            from(s.trunk, "10.1.0.50", s.b).untagged().vlans(s.twin.vlan)
        })
        .stopped(s.blue, Stop::UnknownStation),
        nobodys("a service VLAN that nobody named", &twin, 4, 7),
        nobodys("a VLAN that nobody named in a service VLAN", &twin, 5, 8),
        nobodys("service VLAN 4095 is nobody's", &twin, 0x0fff, 7),
        nobodys("VLAN 4095 of a service VLAN is nobody's", &twin, 5, 0x0fff),
    ]
}

/// Tags that are neither one customer tag nor a service tag before one, and those that are cut.
fn other_tags(s: &Site) -> Vec<Row> {
    const CUSTOMER: u16 = 0x8100;
    const SERVICE: u16 = 0x88a8;
    let plain = s.switched(s.twin, s.b).untagged().ip("10.1.0.70", "10.1.0.20").udp(1000, 53);
    let tagged = |tags: &[(u16, u16)]| {
        tags.iter().fold(plain.clone(), |frame, &(protocol, tci)| frame.tag(protocol, tci))
    };
    let stopped = |(name, stop, frame)| row(name, s.twin, frame).stopped(0, stop).unseen();
    let (twice, service) = (tagged(&[(SERVICE, 5), (CUSTOMER, 7)]), tagged(&[(SERVICE, 5)]));
    [
        ("a service tag alone, of a service VLAN", service.clone()),
        ("a customer tag before a customer tag", tagged(&[(CUSTOMER, 5), (CUSTOMER, 7)])),
        ("a customer tag before a service tag", tagged(&[(CUSTOMER, 5), (SERVICE, 7)])),
        ("two service tags", tagged(&[(SERVICE, 5), (SERVICE, 7)])),
        ("a service tag without a VLAN", tagged(&[(SERVICE, 0xe000), (CUSTOMER, 7)])),
        ("a priority tag behind a service tag", tagged(&[(SERVICE, 5), (CUSTOMER, 0xe000)])),
        ("a priority tag before a service tag", tagged(&[(CUSTOMER, 0), (SERVICE, 5)])),
        ("a tag behind two", tagged(&[(SERVICE, 5), (CUSTOMER, 7), (CUSTOMER, 7)])),
        ("a service tag behind two", tagged(&[(SERVICE, 5), (CUSTOMER, 7), (SERVICE, 5)])),
        ("two tags behind a service tag", tagged(&[(SERVICE, 5), (SERVICE, 5), (CUSTOMER, 7)])),
        ("two tags behind a priority tag", {
            tagged(&[(CUSTOMER, 0), (SERVICE, 5), (CUSTOMER, 7)])
        }),
    ]
    .map(|(name, frame)| (name, Stop::TagUnsupported, frame))
    .into_iter()
    .chain([
        ("a frame that ends before its customer tag", Stop::Truncated, twice.clone().cut(18)),
        ("a frame that ends in its customer tag", Stop::Truncated, twice.clone().cut(20)),
        (
            "a frame that ends a byte before its EtherType does",
            Stop::Truncated,
            twice.clone().cut(21),
        ),
    ])
    .map(stopped)
    .chain([
        row("a frame that ends behind its two tags", s.twin, twice.clone().cut(22))
            .stopped(s.blue, Stop::Truncated),
        row("a frame that ends in its header behind two tags", s.twin, twice.cut(41))
            .stopped(s.blue, Stop::Truncated),
        row("an outdated service tag behind two tags", s.twin, {
            tagged(&[(SERVICE, 5), (CUSTOMER, 7), (0x9100, 7)])
        })
        .stopped(s.blue, Stop::EthertypeUnsupported),
    ])
    .collect()
}
