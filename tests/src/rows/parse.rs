//! What a packet says it is: lengths, options, fragments, extension headers.

use crate::{
    build::{Frame, tcp::SYN},
    world::Site,
};
use dataplane_common::Stop;

use super::row::{Row, row};

pub fn rows(s: &Site) -> Vec<Row> {
    [v4(s), options(s), fragments(s), transport(s), v6(s), extensions(s)].concat()
}

fn v4(s: &Site) -> Vec<Row> {
    let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
    let udp = ip.clone().udp(1, 2).payload(b"content");
    let bad = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::BadHeader);
    let cut = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::Truncated);
    vec![
        cut("IPv4 that ends in its header", udp.clone().cut(33)),
        cut("IPv4 of no bytes", udp.clone().cut(14)),
        cut("IPv4 that states one byte more than there is", udp.clone().length(36)),
        cut("IPv4 that states all it can", udp.clone().length(0xffff)),
        bad("IPv4 that states less than its header", udp.clone().length(19)),
        bad("IPv4 that states nothing", udp.clone().length(0)),
        bad("IPv4 with a header of 16 bytes", udp.clone().patch_network(0, &[0x44])),
        bad("IPv4 of version 5", udp.clone().patch_network(0, &[0x55])),
        bad("IPv4 with a wrong checksum", udp.clone().patch_network(10, &[0, 1])),
        bad("IPv4 whose header reaches past the packet", udp.clone().patch_network(0, &[0x4f])),
        row("padding stays", s.a, udp.clone().padding(&[0x55; 20])).switched(s.free),
        row("a protocol without ports", s.a, ip.clone().protocol(47).payload(b"gre"))
            .switched(s.free),
        row("a protocol without content", s.a, ip.protocol(50)).switched(s.free),
        row("class and congestion marks stay", s.a, udp.tos(0xb9)).switched(s.free),
    ]
}

fn options(s: &Site) -> Vec<Row> {
    let with = |options: &[u8]| {
        s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").options(options).udp(1, 2)
    };
    let good = |name, options: &[u8]| row(name, s.a, with(options)).switched(s.free);
    let bad = |name, options: &[u8]| row(name, s.a, with(options)).stopped(s.blue, Stop::BadHeader);
    let loose =
        |name, options: &[u8]| row(name, s.a, with(options)).stopped(s.blue, Stop::SourceRoute);
    let mut last = [1; 40];
    last[36..].copy_from_slice(&[131, 4, 4, 0]);
    let mut full = [1; 40];
    full[39] = 0;
    let mut record = [0; 40];
    record[..3].copy_from_slice(&[7, 39, 4]);
    let mut twenty = [1; 20];
    twenty[19] = 7;
    vec![
        good("no-operations", &[1; 4]),
        good("a router alert", &[148, 4, 0, 0]),
        good("a recorded route", &record),
        good("forty bytes of options", &full),
        good("what follows the end of the list is no option", &[0, 131, 3, 4]),
        good("an option that begins in the last byte of a word", &[1, 1, 1, 68, 4, 5, 0, 0]),
        loose("a loose source route", &[131, 7, 4, 10, 1, 0, 1, 0]),
        loose("a strict source route", &[137, 7, 4, 10, 1, 0, 1, 0]),
        loose("a source route behind no-operations", &[1, 1, 1, 131, 7, 4, 10, 1, 0, 1, 0, 0]),
        loose("a source route behind another option", &[68, 5, 5, 0, 0, 131, 3, 4]),
        loose("a source route at the very end", &last),
        bad("an option of length 0", &[7, 0, 0, 0]),
        bad("an option of length 1", &[7, 1, 0, 0]),
        bad("an option that reaches past the header", &[7, 5, 4, 0]),
        bad("an option that reaches to the largest header's end", &[7, 40, 4, 0]),
        bad("an option whose length is not in the header", &[1, 1, 1, 7]),
        bad("an option whose length is the transport's", &twenty),
        row("options that are cut off", s.a, with(&[1; 8]).cut(14 + 24))
            .stopped(s.blue, Stop::Truncated),
    ]
}

fn fragments(s: &Site) -> Vec<Row> {
    let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
    let first = |frame: Frame| frame.fragment(0, true);
    let tiny = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::FragmentTiny);
    let bad = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::FragmentBad);
    vec![
        row("a first fragment", s.a, first(ip.clone().udp(1, 2).payload(&[7; 24])))
            .switched(s.free),
        tiny(
            "a first fragment with half a TCP header",
            first(ip.clone().protocol(6).payload(&[0; 8])),
        ),
        bad(
            "a first fragment with half a UDP header",
            first(ip.clone().protocol(17).payload(&[0; 4])),
        ),
        bad(
            "a first fragment with half an ICMP header",
            first(ip.clone().protocol(1).payload(&[8; 4])),
        ),
        bad(
            "a first fragment with half of SCTP's ports",
            first(ip.clone().protocol(132).payload(&[8; 2])),
        ),
        tiny(
            "a first fragment without all TCP options",
            first(ip.tcp(1, 2, SYN, 0, 0).payload(&[1; 4]).patch_transport(12, &[0x70])),
        ),
    ]
}

fn transport(s: &Site) -> Vec<Row> {
    let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
    let syn = ip.clone().tcp(1, 2, SYN, 0, 0);
    let udp = ip.clone().udp(1, 2).payload(b"content");
    let bad = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::BadTransport);
    let ports = [0, 1, 0, 2];
    vec![
        bad("half a TCP header", ip.clone().protocol(6).payload(&[0; 19])),
        bad("half a TCP header, the rest in the padding", syn.clone().length(39)),
        bad("TCP with a header of 16 bytes", syn.clone().patch_transport(12, &[0x40])),
        bad("TCP whose header reaches past the packet", syn.patch_transport(12, &[0x60])),
        bad("half a UDP header", ip.clone().protocol(17).payload(&[0; 7])),
        bad("UDP that states less than its header", udp.clone().patch_transport(4, &[0, 7])),
        bad("UDP that states more than there is", udp.clone().patch_transport(4, &[0, 16])),
        bad("half an ICMP header", ip.clone().protocol(1).payload(&[8; 7])),
        bad("half of SCTP's ports", ip.clone().protocol(132).payload(&[8; 3])),
        row("UDP that states less than there is", s.a, udp.clone().patch_transport(4, &[0, 8]))
            .switched(s.free),
        row("UDP without a checksum", s.a, udp.patch_transport(6, &[0, 0])).switched(s.free),
        row("SCTP", s.a, ip.clone().transport(132, ports.to_vec(), None).payload(&[9; 8]))
            .switched(s.free),
        row("DCCP", s.a, ip.clone().transport(33, ports.to_vec(), None).payload(&[9; 8]))
            .switched(s.free),
        row("UDP-Lite", s.a, ip.transport(136, [ports, [0; 4]].concat(), None)).switched(s.free),
    ]
}

fn v6(s: &Site) -> Vec<Row> {
    let ip = s.switched(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30");
    let udp = ip.clone().udp(1, 2).payload(b"content");
    let mapped = s.switched(s.free, s.a);
    vec![
        row("IPv6", s.a, udp.clone()).switched(s.free),
        row("nothing follows", s.a, ip.clone().protocol(59)).switched(s.free),
        row("IPv6 that ends in its header", s.a, udp.clone().cut(53))
            .stopped(s.blue, Stop::Truncated),
        row("IPv6 that states one byte more than there is", s.a, udp.clone().length(16))
            .stopped(s.blue, Stop::Truncated),
        row("a jumbogram", s.a, ip.extension(0, &[0, 0xc2, 4, 0, 1, 0, 0]).udp(1, 2).length(0))
            .stopped(s.blue, Stop::Truncated),
        row("IPv6 of version 4", s.a, udp.clone().patch_network(0, &[0x45]))
            .stopped(s.blue, Stop::BadHeader),
        row("IPv6 that says it is IPv4", s.a, udp.ethertype(0x0800))
            .stopped(s.blue, Stop::BadHeader),
        row(
            "from a mapped address",
            s.free,
            mapped.clone().ip("::ffff:10.1.0.20", "2001:db8:1::10").udp(1, 2),
        )
        .stopped(s.blue, Stop::BadHeader),
        row(
            "to a mapped address",
            s.free,
            mapped.ip("2001:db8:1::30", "::ffff:10.1.0.10").udp(1, 2),
        )
        .stopped(s.blue, Stop::BadHeader),
    ]
}

fn extensions(s: &Site) -> Vec<Row> {
    /// Padding that fills a header of 8 bytes.
    const PAD: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION: u8 = 60;
    let ip = s.switched(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30");
    let good =
        |name, frame: Frame| row(name, s.a, frame.udp(1, 2).payload(&[1; 16])).switched(s.free);
    let refused = |name, frame: Frame| {
        row(name, s.a, frame.udp(1, 2)).stopped(s.blue, Stop::ExtensionRefused)
    };
    let repeated = |kind, count| (0..count).fold(ip.clone(), |ip, _| ip.extension(kind, &PAD));
    let mut long = vec![0; 2047];
    long[0] = 255;
    vec![
        good("hop-by-hop options", ip.clone().extension(HOP_BY_HOP, &PAD)),
        good("destination options", ip.clone().extension(DESTINATION, &PAD)),
        good("both", ip.clone().extension(HOP_BY_HOP, &PAD).extension(DESTINATION, &PAD)),
        good("four extension headers", repeated(DESTINATION, 4)),
        good("a long extension header", ip.clone().extension(DESTINATION, &long)),
        good("an atomic fragment", ip.clone().fragment_v6(0, false)),
        good("a first fragment of IPv6", ip.clone().fragment_v6(0, true)),
        good(
            "options of a first fragment",
            ip.clone().fragment_v6(0, true).extension(DESTINATION, &PAD),
        ),
        refused("five extension headers", repeated(DESTINATION, 5)),
        refused("a routing header", ip.clone().extension(ROUTING, &PAD)),
        refused(
            "a routing header behind options",
            ip.clone().extension(DESTINATION, &PAD).extension(ROUTING, &PAD),
        ),
        refused(
            "a routing header behind a fragment header",
            ip.clone().fragment_v6(0, false).extension(ROUTING, &PAD),
        ),
        refused(
            "hop-by-hop options out of place",
            ip.clone().extension(DESTINATION, &PAD).extension(HOP_BY_HOP, &PAD),
        ),
        refused("hop-by-hop options twice", repeated(HOP_BY_HOP, 2)),
        row(
            "an extension header past the end",
            s.a,
            ip.clone().extension(DESTINATION, &[1, 0, 0, 0, 0, 0, 0]).protocol(59),
        )
        .stopped(s.blue, Stop::Truncated),
        row("extension headers past what can be read", s.a, {
            let two = ip.clone().extension(DESTINATION, &long).extension(DESTINATION, &long);
            two.extension(DESTINATION, &PAD).udp(1, 2)
        })
        .stopped(s.blue, Stop::Truncated),
        row(
            "an extension header in the padding",
            s.a,
            ip.clone().protocol(DESTINATION).padding(&[17, 0, 1, 4, 0, 0, 0, 0]),
        )
        .stopped(s.blue, Stop::Truncated),
        row(
            "a first fragment that ends in its chain",
            s.a,
            ip.clone()
                .fragment_v6(0, true)
                .extension(DESTINATION, &[1, 0, 0, 0, 0, 0, 0])
                .protocol(59),
        )
        .stopped(s.blue, Stop::FragmentTiny),
        row(
            "a first fragment of IPv6 with half a TCP header",
            s.a,
            ip.fragment_v6(0, true).protocol(6).payload(&[0; 8]),
        )
        .stopped(s.blue, Stop::FragmentTiny),
    ]
}
