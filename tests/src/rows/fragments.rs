//! Datagrams that come in pieces: what their first piece says holds for all of them.

use dataplane_common::{
    Stop, Tables, limits,
    table::datagram::{PARKED_BYTES_MAX, status},
};

use super::row::{Row, row};
use crate::{
    build::{Frame, tcp::SYN},
    drive,
    packet::{Hook, HostPacket},
    world::Site,
};

pub fn rows(s: &Site) -> Vec<Row> {
    [later(s), early(s), attacks(s), limits_of(s), headers(s), outside(s)].concat()
}

/// 104 bytes from port a to the one without port security.
fn whole(s: &Site) -> Frame {
    s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(1, 2).payload(&[7; 96])
}

fn whole_v6(s: &Site) -> Frame {
    s.switched(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30").udp(1, 2).payload(&[7; 96])
}

fn first(s: &Site) -> Frame {
    whole(s).piece(1, 0, 48)
}

fn twin(s: &Site) -> Frame {
    s.switched(s.twin, s.free).ip("10.1.0.70", "10.1.0.30").udp(1, 2).payload(&[7; 96])
}

fn middle(s: &Site) -> Frame {
    whole(s).piece(1, 48, 96)
}

fn last(s: &Site) -> Frame {
    whole(s).piece(1, 96, 104)
}

fn sent(s: &mut Site) {
    s.passes(s.a, &first(s), s.free);
}

fn sent_v6(s: &mut Site) {
    s.passes(s.a, &whole_v6(s).piece(0x0102_0304, 0, 48), s.free);
}

fn later(s: &Site) -> Vec<Row> {
    let far = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).payload(&[7; 1000]);
    let echo = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").icmp(8, 0, [0, 1, 0, 1]);
    let echo = echo.payload(&[7; 96]);
    let id = 0x0102_0304;
    vec![
        row("the first piece of a datagram", s.a, first(s)).switched(s.free),
        row("a first piece with two tags", s.twin, twin(s).piece(1, 0, 48)).switched(s.free),
        row("a last piece with two tags", s.twin, twin(s).piece(1, 48, 104))
            .after(|s| s.passes(s.twin, &twin(s).piece(1, 0, 48), s.free))
            .switched(s.free),
        row("a last piece with two tags comes early", s.twin, twin(s).piece(1, 48, 104)).parked(),
        row("a middle piece", s.a, middle(s)).after(sent).switched(s.free),
        row("a last piece", s.a, last(s)).after(sent).switched(s.free),
        row("the last piece after all others", s.a, last(s))
            .after(|s| {
                sent(s);
                s.passes(s.a, &middle(s), s.free);
            })
            .switched(s.free),
        row("a middle piece of IPv6", s.a, whole_v6(s).piece(id, 48, 96))
            .after(sent_v6)
            .switched(s.free),
        row("a last piece of IPv6", s.a, whole_v6(s).piece(id, 48, 104))
            .after(sent_v6)
            .switched(s.free),
        row("a piece of an echo request", s.a, echo.piece(1, 48, 104))
            .after(|s| {
                let echo = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
                let echo = echo.icmp(8, 0, [0, 1, 0, 1]).payload(&[7; 96]);
                s.passes(s.a, &echo.piece(1, 0, 48), s.free);
            })
            .switched(s.free),
        row("a piece of a TCP segment", s.a, {
            let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
            ip.tcp(1, 2, SYN, 0, 0).payload(&[7; 96]).piece(1, 48, 116)
        })
        .after(|s| {
            let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
            let segment = ip.tcp(1, 2, SYN, 0, 0).payload(&[7; 96]);
            s.passes(s.a, &segment.piece(1, 0, 48), s.free);
        })
        .switched(s.free),
        row("a piece to the uplink", s.a, far.piece(1, 504, 1008))
            .after(|s| {
                let far = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).payload(&[7; 1000]);
                s.passes(s.a, &far.piece(1, 0, 504), s.uplink);
            })
            .routed(s, s.uplink),
        row("a later piece on its last hop: nobody is told", s.a, far.piece(1, 504, 1008).ttl(1))
            .after(|s| {
                let far = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).payload(&[7; 1000]);
                s.passes(s.a, &far.piece(1, 0, 504), s.uplink);
            })
            .stopped(s.blue, Stop::TtlExceeded),
        row("a later piece that is too big: nobody is told", s.a, small(s).piece(1, 48, 1448))
            .after(|s| s.passes(s.a, &small(s).piece(1, 0, 48), s.c))
            .stopped(s.blue, Stop::TooBig),
        row("the same identification again, after the whole", s.a, first(s))
            .after(|s| {
                for piece in [first(s), middle(s), last(s)] {
                    s.passes(s.a, &piece, s.free);
                }
            })
            .switched(s.free),
        row("a piece of stateless ends", s.stateless, {
            let ip = s.routed(s.stateless).ip("10.1.0.60", "8.8.8.8");
            ip.udp(1, 53).payload(&[7; 1000]).piece(1, 504, 1008)
        })
        .after(|s| {
            let ip = s.routed(s.stateless).ip("10.1.0.60", "8.8.8.8");
            let far = ip.udp(1, 53).payload(&[7; 1000]);
            s.passes(s.stateless, &far.piece(1, 0, 504), s.uplink);
        })
        .routed(s, s.uplink),
    ]
}

/// To a network whose link takes 1400 bytes.
fn small(s: &Site) -> Frame {
    s.routed(s.a).ip("10.1.0.10", "10.2.0.10").udp(1, 53).payload(&[7; 1500])
}

fn early(s: &Site) -> Vec<Row> {
    let large = whole(s).payload(&[7; 2 * PARKED_BYTES_MAX as usize]);
    let at = PARKED_BYTES_MAX as usize;
    vec![
        row("a piece before its first", s.a, middle(s)).parked(),
        row("a last piece before its first", s.a, last(s)).parked(),
        row("a piece of IPv6 before its first", s.a, whole_v6(s).piece(1, 48, 96)).parked(),
        row("a piece that was parked, and no first", s.a, middle(s))
            .after(|s| {
                let packet = HostPacket::new(Hook::Tc, s.a.ifindex, &middle(s).build());
                drive::note_again(&s.tables, &drive::pass(&s.tables, packet));
            })
            .stopped(s.blue, Stop::FragmentEarly),
        row("a piece before its first, too long to wait", s.a, large.piece(1, 800, 800 + at))
            .stopped(s.blue, Stop::FragmentEarly),
        row("a piece before its first, and no room", s.a, middle(s))
            .after(|s| {
                for id in 0..limits::PARKED_PER_TENANT {
                    s.send(s.a, &whole(s).piece(100 + id, 48, 96));
                }
            })
            .stopped(s.blue, Stop::FragmentEarly),
        row("a piece from a neighbour's address", s.a, {
            let spoofed = s.switched(s.a, s.free).ip("10.1.0.20", "10.1.0.30");
            spoofed.udp(1, 2).payload(&[7; 96]).piece(1, 48, 96)
        })
        .stopped(s.blue, Stop::SpoofedAddress),
        row("a piece of another datagram", s.a, whole(s).piece(2, 48, 96)).after(sent).parked(),
        row("a piece for another receiver", s.a, {
            let other = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20");
            other.udp(1, 2).payload(&[7; 96]).piece(1, 48, 96)
        })
        .after(sent)
        .parked(),
        row("a piece after a first that was denied", s.a, {
            let denied = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 9);
            denied.payload(&[7; 96]).piece(1, 48, 96)
        })
        .after(|s| {
            let denied = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 9);
            let denied = denied.payload(&[7; 96]).piece(1, 0, 48);
            s.stops(s.a, &denied, Stop::IngressDenied);
        })
        .parked(),
        row("a piece of a neighbour's datagram, with its addresses", s.free, {
            whole(s).eth(s.free.mac, s.b.mac).piece(1, 48, 96)
        })
        .after(sent)
        .parked(),
        row("a piece of an ICMP error", s.uplink, quoted(s).piece(1, 48, 56))
            .after(|s| {
                let asked = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53);
                s.passes(s.a, &asked.payload(&[7; 100]), s.uplink);
                s.passes(s.uplink, &quoted(s).piece(1, 0, 48), s.a);
            })
            .parked(),
    ]
}

/// An error about a datagram from port a.
fn quoted(s: &Site) -> Frame {
    let asked = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).payload(&[7; 100]).packet();
    let error = s.routed(s.uplink).ip("7.7.7.7", "10.1.0.10").icmp(11, 0, [0; 4]);
    error.payload(&asked[..48])
}

fn attacks(s: &Site) -> Vec<Row> {
    let overlap = |name, frame: Frame| {
        row(name, s.a, frame).after(sent).stopped(s.blue, Stop::FragmentOverlap)
    };
    let again = |name, frame: Frame| row(name, s.a, frame).stopped(s.blue, Stop::FragmentDuplicate);
    vec![
        overlap("a piece over the end of the first", whole(s).piece(1, 40, 96)),
        overlap("a piece over the header of the first", whole(s).piece(1, 8, 104)),
        overlap("another first, with other ports and more of it", {
            let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
            ip.udp(3, 4).payload(&[7; 96]).piece(1, 0, 96)
        }),
        again("a piece that comes twice", middle(s)).after(|s| {
            sent(s);
            s.passes(s.a, &middle(s), s.free);
        }),
        again("a first that comes twice", first(s)).after(sent),
        again("a piece that comes twice, of the whole", middle(s)).after(|s| {
            for piece in [first(s), middle(s), last(s)] {
                s.passes(s.a, &piece, s.free);
            }
        }),
        overlap("a piece after pieces that overlap", middle(s)).after(|s| {
            sent(s);
            s.stops(s.a, &whole(s).piece(1, 40, 96), Stop::FragmentOverlap);
        }),
        overlap("a first after pieces that overlap", first(s)).after(|s| {
            sent(s);
            s.stops(s.a, &whole(s).piece(1, 40, 96), Stop::FragmentOverlap);
        }),
        overlap("pieces of IPv6 that overlap", whole_v6(s).piece(0x0102_0304, 40, 104))
            .after(sent_v6),
        overlap("a second end", whole(s).payload(&[7; 48]).piece(1, 48, 56)).after(|s| {
            sent(s);
            s.passes(s.a, &last(s), s.free);
        }),
        overlap("a piece beyond the end", whole(s).payload(&[7; 400]).piece(1, 200, 208)).after(
            |s| {
                sent(s);
                s.passes(s.a, &last(s), s.free);
            },
        ),
        overlap("an end before a piece", whole(s).payload(&[7; 48]).piece(1, 48, 56)).after(|s| {
            sent(s);
            s.passes(s.a, &whole(s).payload(&[7; 400]).piece(1, 200, 208), s.free);
        }),
    ]
}

fn limits_of(s: &Site) -> Vec<Row> {
    vec![
        row("a first piece, and too many datagrams under way", s.a, first(s))
            .after(|s| {
                for id in 0..limits::DATAGRAMS_PER_TENANT {
                    s.passes(s.a, &whole(s).piece(100 + id, 0, 48), s.free);
                }
            })
            .stopped(s.blue, Stop::FragmentQuota),
        row("a first piece, and no room for another datagram", s.a, first(s))
            .after(|s| {
                for index in 0..limits::DATAGRAMS {
                    let slot = s.tables.datagram(index).expect("it is one of the table");
                    slot.seen_ticks.store(s.tables.now_ticks());
                    slot.ms_max.store(1000);
                    slot.status.store(status::LIVE);
                }
            })
            .stopped(s.blue, Stop::FragmentTableFull),
    ]
}

/// Options of IPv6 that say nothing.
const PADDING: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

fn headers(s: &Site) -> Vec<Row> {
    let bad = |name, frame: Frame| row(name, s.a, frame).stopped(s.blue, Stop::FragmentBad);
    let ip = || s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").protocol(17);
    let ip6 = || s.switched(s.a, s.free).ip("2001:db8:1::10", "2001:db8:1::30").protocol(17);
    vec![
        bad("a middle piece of seven bytes", ip().fragment(8, true).payload(&[7; 7])),
        bad("a first piece of nine bytes", ip().fragment(0, true).payload(&[7; 9])),
        bad("an empty piece", ip().fragment(8, true)),
        bad("an empty last piece", ip().fragment(8, false)),
        bad("a piece beyond what a datagram can be", ip().fragment(65_528, false).payload(&[7; 8])),
        bad(
            "a piece with which a datagram and its header are too long",
            ip().fragment(65_504, false).payload(&[7; 12]),
        ),
        bad(
            "a piece with which a datagram and its options are too long",
            ip().options(&[1; 4]).fragment(65_504, false).payload(&[7; 8]),
        ),
        row(
            "the last piece of the longest datagram",
            s.a,
            ip().fragment(65_504, false).payload(&[7; 11]),
        )
        .parked(),
        bad(
            "a piece of IPv6 with which a datagram and its headers are too long",
            ip6().extension(60, &PADDING).fragment_v6(65_520, false).payload(&[7; 8]),
        ),
        row(
            "the last piece of the longest datagram of IPv6",
            s.a,
            ip6().extension(60, &PADDING).fragment_v6(65_520, false).payload(&[7; 7]),
        )
        .parked(),
        bad("a middle piece of IPv6 of seven bytes", ip6().fragment_v6(8, true).payload(&[7; 7])),
        bad("an empty piece of IPv6", ip6().fragment_v6(8, false)),
        bad(
            "a piece of IPv6 beyond what a datagram can be",
            ip6().fragment_v6(65_528, false).payload(&[7; 8]),
        ),
        row(
            "a piece of a piece",
            s.a,
            ip6().fragment_v6(0, true).fragment_v6(8, true).payload(&[7; 8]),
        )
        .stopped(s.blue, Stop::ExtensionRefused),
        row(
            "a piece that stands for several",
            s.a,
            ip().protocol(1).fragment(8, false).payload(&[7; 96]),
        )
        .at_tc()
        .with(|packet| packet.segments_of(10, 4))
        .stopped(s.blue, Stop::BadTransport),
    ]
}

fn outside(s: &Site) -> Vec<Row> {
    let to = |dst| s.routed(s.uplink).ip("8.8.8.8", dst).udp(1, 53).payload(&[7; 96]);
    let line = s.routed(s.access).ip("100.64.0.10", "8.8.8.8").udp(1, 53).payload(&[7; 96]);
    let stopped = |name, src, dst| {
        let whole = s.routed(s.uplink).ip(src, dst).udp(1, 53).payload(&[7; 96]);
        row(name, s.uplink, whole.piece(1, 48, 96))
    };
    vec![
        row("a piece from outside", s.uplink, to("10.1.0.20").piece(1, 48, 96))
            .after(|s| {
                let whole = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1, 53);
                s.passes(s.uplink, &whole.payload(&[7; 96]).piece(1, 0, 48), s.b);
            })
            .routed(s, s.b),
        row("a piece from outside before its first", s.uplink, to("10.1.0.20").piece(1, 48, 96))
            .parked(),
        stopped("a piece from outside to what is not exported", "8.8.8.8", "10.9.9.9")
            .stopped(0, Stop::NotExported),
        stopped("a piece from outside to nobody's address", "8.8.8.8", "10.1.0.99")
            .stopped(s.blue, Stop::UnknownDestination),
        stopped("a piece from outside to the router", "8.8.8.8", "10.1.0.1")
            .stopped(s.blue, Stop::ToRouter),
        stopped("a piece from outside, from a tenant's address", "10.1.0.10", "10.1.0.20")
            .stopped(s.blue, Stop::ReversePath),
        stopped("a piece from outside, from a line's address", "100.64.0.10", "10.1.0.20")
            .stopped(s.blue, Stop::ReversePath),
        stopped("a piece from outside, from a black hole", "198.18.0.1", "10.1.0.20")
            .stopped(s.blue, Stop::ReversePath),
        stopped("a piece from outside, from what is protected", "192.0.2.1", "10.1.0.20")
            .stopped(s.blue, Stop::ReversePath),
        stopped("a piece from outside, from this host", "127.0.0.1", "10.1.0.20")
            .stopped(0, Stop::MartianSource),
        stopped("a piece for the host itself", "8.8.8.8", "198.51.100.5")
            .stopped(0, Stop::FragmentEarly),
        row("a piece from outside that came twice", s.uplink, to("10.1.0.20").piece(1, 48, 96))
            .after(|s| {
                let whole = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1, 53);
                let whole = whole.payload(&[7; 96]);
                s.passes(s.uplink, &whole.piece(1, 0, 48), s.b);
                s.passes(s.uplink, &whole.piece(1, 48, 96), s.b);
            })
            .stopped(s.blue, Stop::FragmentDuplicate),
        row("a line's piece", s.line_a, line.piece(1, 48, 104))
            .after(|s| {
                let line = s.routed(s.access).ip("100.64.0.10", "8.8.8.8").udp(1, 53);
                s.passes(s.access, &line.payload(&[7; 96]).piece(1, 0, 48), s.uplink);
            })
            .routed(s, s.uplink),
        row("a piece to a line", s.uplink, to("100.64.0.10").piece(1, 48, 104)).parked(),
        row("a line's piece before its first", s.line_a, line.piece(1, 48, 104)).parked(),
    ]
}
