//! What a port's or a router's limit lets pass.
//!
//! The meters are so slow that what one large frame costs takes 50 s to be due again: whether
//! a frame passes is decided by what passed before it, and by no clock.

use dataplane_common::Stop;

use super::row::{Row, row};
use crate::{
    build::{Frame, tcp::SYN},
    packet::HostPacket,
    world::{End, Site},
};

pub fn rows(s: &Site) -> Vec<Row> {
    [sent(s), received(s), routed(s), together(s), segments(s), pieces(s), floods(s)].concat()
}

/// Its bytes on the wire.
const LARGE: u64 = 3042;

/// A large frame from a to b, of a flow by its port.
fn to_b(s: &Site, port: u16) -> Frame {
    let ip = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20");
    ip.udp(port, 53).payload(&[7; 3000])
}

/// The same to whoever is not filtered.
fn to_free(s: &Site, port: u16) -> Frame {
    let ip = s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30");
    ip.udp(port, 53).payload(&[7; 3000])
}

/// To the other network of the router.
fn to_c(s: &Site, port: u16) -> Frame {
    s.routed(s.a).ip("10.1.0.10", "10.2.0.10").udp(port, 53).payload(&[7; 1300])
}

fn egress(s: &mut Site, port: End, bytes: u64) {
    s.change(|w| {
        let meter = w.meter_of_bytes(bytes);
        w.limit_egress(port, meter);
    });
}

fn ingress(s: &mut Site, port: End, bytes: u64) {
    s.change(|w| {
        let meter = w.meter_of_bytes(bytes);
        w.limit_ingress(port, meter);
    });
}

fn router(s: &mut Site, bytes: u64) {
    let router = s.router;
    s.change(|w| {
        let meter = w.meter_of_bytes(bytes);
        w.limit_router(router, meter);
    });
}

fn sent(s: &Site) -> Vec<Row> {
    let over = |name, frame| row(name, s.a, frame).stopped(s.blue, Stop::OverLimit);
    vec![
        row("the second of two that a port may send", s.a, to_b(s, 1))
            .after(|s| {
                egress(s, s.a, 2 * LARGE);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .switched(s.b),
        over("one more than a port may send, of its flow", to_b(s, 1)).after(|s| {
            egress(s, s.a, 2 * LARGE);
            s.passes(s.a, &to_b(s, 1), s.b);
            s.passes(s.a, &to_b(s, 1), s.b);
        }),
        over("one more than a port may send, to somebody else", to_free(s, 1)).after(|s| {
            egress(s, s.a, 2 * LARGE);
            s.passes(s.a, &to_b(s, 1), s.b);
            s.passes(s.a, &to_b(s, 2), s.b);
        }),
        over("one byte more than a port may send", to_b(s, 1).payload(&[7; 3001])).after(|s| {
            egress(s, s.a, 2 * LARGE);
            s.passes(s.a, &to_b(s, 1), s.b);
        }),
        row("larger than all that a port may send at once", s.a, to_b(s, 1))
            .after(|s| egress(s, s.a, 1))
            .switched(s.b),
        over("after what was larger than all at once", to_b(s, 1)).after(|s| {
            egress(s, s.a, 1);
            s.passes(s.a, &to_b(s, 1), s.b);
        }),
        row("what another port sends", s.free, {
            s.switched(s.free, s.b).ip("10.1.0.30", "10.1.0.20").udp(1, 53)
        })
        .after(|s| {
            egress(s, s.a, 1);
            s.passes(s.a, &to_b(s, 1), s.b);
        })
        .switched(s.b),
        row("what a limited port receives", s.b, {
            s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1)
        })
        .after(|s| {
            egress(s, s.a, 1);
            s.passes(s.a, &to_b(s, 1), s.b);
        })
        .switched(s.a),
        over("one more than a port may send, of another flow", to_b(s, 2)).after(|s| {
            egress(s, s.a, 1);
            s.passes(s.a, &to_b(s, 1), s.b);
        }),
        row("what no rule permits uses up nothing", s.a, to_b(s, 1))
            .after(|s| {
                egress(s, s.a, LARGE);
                let denied = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1, 54);
                s.stops(s.a, &denied.payload(&[7; 3000]), Stop::IngressDenied);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("we answer a port that may send no more", s.a, {
            s.frame(s.a, [0xff; 6]).arp(1, (s.a.mac, "10.1.0.10"), ([0; 6], "10.1.0.1"))
        })
        .after(|s| {
            egress(s, s.a, 1);
            s.passes(s.a, &to_b(s, 1), s.b);
        })
        .answered({
            let to = s.frame(s.a, s.a.mac).eth(s.a.router, s.a.mac);
            to.arp(2, (s.a.router, "10.1.0.1"), (s.a.mac, "10.1.0.10"))
        }),
    ]
}

fn received(s: &Site) -> Vec<Row> {
    let inbound = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1, 53).payload(&[7; 1400]);
    vec![
        row("one more than a port may receive", s.a, to_b(s, 1))
            .after(|s| {
                ingress(s, s.b, LARGE);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("one more than a port may receive, from outside", s.uplink, inbound.clone())
            .after(|s| {
                ingress(s, s.b, LARGE);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("one more than a port may receive, of a flow from outside", s.uplink, inbound)
            .after(|s| {
                ingress(s, s.b, LARGE);
                let inbound = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1, 53);
                for _ in 0..2 {
                    s.passes(s.uplink, &inbound.clone().payload(&[7; 1400]), s.b);
                }
            })
            .stopped(s.blue, Stop::OverLimit),
        row("what a port sends that may receive no more", s.b, {
            s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1)
        })
        .after(|s| {
            ingress(s, s.b, LARGE);
            s.passes(s.a, &to_b(s, 1), s.b);
        })
        .switched(s.a),
    ]
}

fn routed(s: &Site) -> Vec<Row> {
    let over = |name, from, frame| row(name, from, frame).stopped(s.blue, Stop::OverLimit);
    let line = s.routed(s.access).ip("100.64.0.10", "8.8.8.8").udp(1, 53).payload(&[7; 1400]);
    let inbound = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1, 53).payload(&[7; 1400]);
    let to_line = s.routed(s.uplink).ip("8.8.8.8", "100.64.0.10").udp(1, 9);
    vec![
        over("one more than a router forwards, from network to network", s.a, to_c(s, 2)).after(
            |s| {
                router(s, 1);
                s.passes(s.a, &to_c(s, 1), s.c);
            },
        ),
        over("one more than a router forwards, back on the flow", s.c, {
            s.routed(s.c).ip("10.2.0.10", "10.1.0.10").udp(53, 1)
        })
        .after(|s| {
            router(s, 1);
            s.passes(s.a, &to_c(s, 1), s.c);
        }),
        over("one more than a router forwards, from outside", s.uplink, inbound).after(|s| {
            router(s, 1);
            s.passes(s.a, &to_c(s, 1), s.c);
        }),
        over("one more than a router forwards, from a line outside", s.line_a, line.clone()).after(
            |s| {
                router(s, 1);
                s.passes(s.a, &to_c(s, 1), s.c);
            },
        ),
        over("one more than a router forwards, from outside to a line", s.uplink, to_line).after(
            |s| {
                router(s, 1);
                let line = s.routed(s.access).ip("100.64.0.10", "8.8.8.8").udp(1, 53);
                s.passes(s.line_a, &line.payload(&[7; 1400]), s.uplink);
            },
        ),
        row("a frame that passes a router is charged to it once", s.a, to_c(s, 2))
            .after(|s| {
                router(s, 2 * 1342);
                s.passes(s.a, &to_c(s, 1), s.c);
            })
            .routed(s, s.c),
        row("within a network no router counts", s.a, to_b(s, 1))
            .after(|s| {
                router(s, 1);
                s.passes(s.a, &to_c(s, 1), s.c);
            })
            .switched(s.b),
        row("what a line sends to an uplink of its own", s.line_up, {
            s.routed(s.access).ip("100.65.0.10", "8.8.8.8").udp(1, 53)
        })
        .after(|s| {
            router(s, 1);
            s.passes(s.a, &to_c(s, 1), s.c);
        })
        .routed(s, s.uplink),
    ]
}

fn together(s: &Site) -> Vec<Row> {
    vec![
        row("what the receiver's limit stops, the sender's is not charged", s.a, to_free(s, 1))
            .after(|s| {
                egress(s, s.a, 2 * LARGE);
                ingress(s, s.b, 1);
                s.passes(s.a, &to_b(s, 1), s.b);
                s.stops(s.a, &to_b(s, 1), Stop::OverLimit);
            })
            .switched(s.free),
        row("what the sender's limit stops, the receiver's is not charged", s.free, {
            let ip = s.switched(s.free, s.b).ip("10.1.0.30", "10.1.0.20");
            ip.udp(1, 53).payload(&[7; 3000])
        })
        .after(|s| {
            egress(s, s.a, 1);
            ingress(s, s.b, 2 * LARGE);
            s.passes(s.a, &to_b(s, 1), s.b);
            s.stops(s.a, &to_b(s, 1), Stop::OverLimit);
        })
        .switched(s.b),
        row("the sender, the router and the receiver have room", s.a, to_c(s, 2))
            .after(|s| {
                egress(s, s.a, 2 * 1342);
                router(s, 2 * 1342);
                ingress(s, s.c, 2 * 1342);
                s.passes(s.a, &to_c(s, 1), s.c);
            })
            .routed(s, s.c),
        row("all but the receiver have room", s.a, to_c(s, 2))
            .after(|s| {
                egress(s, s.a, 2 * 1342);
                router(s, 2 * 1342);
                ingress(s, s.c, 1342 + 100);
                s.passes(s.a, &to_c(s, 1), s.c);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("another version of the site refills nothing", s.a, to_b(s, 1))
            .after(|s| {
                egress(s, s.a, 1);
                s.passes(s.a, &to_b(s, 1), s.b);
                let (red, b) = (s.red, s.b.id);
                s.change(|w| {
                    w.touch(red);
                    w.touch_endpoint(b);
                });
            })
            .stopped(s.blue, Stop::OverLimit),
        row("another limit begins anew", s.a, to_b(s, 1))
            .after(|s| {
                egress(s, s.a, 1);
                s.passes(s.a, &to_b(s, 1), s.b);
                egress(s, s.a, 1);
            })
            .switched(s.b),
        row("a number that somebody had is full for the next", s.free, {
            let ip = s.switched(s.free, s.b).ip("10.1.0.30", "10.1.0.20");
            ip.udp(1, 53).payload(&[7; 3000])
        })
        .after(|s| {
            egress(s, s.a, 1);
            s.passes(s.a, &to_b(s, 1), s.b);
            let (a, free) = (s.a, s.free);
            s.change(|w| {
                w.limit_egress(a, 0);
                w.image.meters.clear();
            });
            s.change(|w| {
                let meter = w.meter_of_bytes(1);
                w.limit_egress(free, meter);
            });
        })
        .switched(s.b),
    ]
}

fn segments(s: &Site) -> Vec<Row> {
    let many = |bytes: usize| {
        let ip = s.routed(s.a).ip("10.1.0.10", "10.2.0.10").whole();
        ip.tcp(1, 80, SYN, 0, 0).payload(&vec![7; bytes])
    };
    let ten = |packet: HostPacket| packet.segments_of(300, 10);
    vec![
        row("segments count one by one", s.a, many(3000))
            .with(ten)
            .at_tc()
            .after(|s| {
                let a = s.a;
                s.change(|w| {
                    let meter = w.meter_of_packets(11);
                    w.limit_egress(a, meter);
                });
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .routed(s, s.c),
        row("more segments than packets may be at once", s.a, many(3000))
            .with(ten)
            .at_tc()
            .after(|s| {
                let a = s.a;
                s.change(|w| {
                    let meter = w.meter_of_packets(6);
                    w.limit_egress(a, meter);
                });
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        // 3000 bytes of payload, and ten times 54 of headers.
        row("each segment's headers count", s.a, many(3000))
            .with(ten)
            .at_tc()
            .after(|s| {
                egress(s, s.a, LARGE + 3540);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .routed(s, s.c),
        row("room for the payload, and not for each segment's headers", s.a, many(3000))
            .with(ten)
            .at_tc()
            .after(|s| {
                egress(s, s.a, LARGE + 3054);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("a byte too little for each segment's headers", s.a, many(3000))
            .with(ten)
            .at_tc()
            .after(|s| {
                egress(s, s.a, LARGE + 3539);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
    ]
}

fn pieces(s: &Site) -> Vec<Row> {
    let whole = |s: &Site| to_free(s, 7);
    let first = whole(s).piece(1, 0, 1480);
    let last = whole(s).piece(1, 1480, 3008);
    vec![
        row("a first piece beyond the limit", s.a, first)
            .after(|s| {
                egress(s, s.a, 1);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("a piece after a first that was beyond the limit", s.a, last.clone())
            .after(|s| {
                egress(s, s.a, 1);
                s.passes(s.a, &to_b(s, 1), s.b);
                s.stops(s.a, &to_free(s, 7).piece(1, 0, 1480), Stop::OverLimit);
            })
            .parked(),
        row("a later piece beyond the limit", s.a, last)
            .after(|s| {
                egress(s, s.a, 1);
                s.passes(s.a, &to_free(s, 7).piece(1, 0, 1480), s.free);
            })
            .stopped(s.blue, Stop::OverLimit),
    ]
}

fn floods(s: &Site) -> Vec<Row> {
    let all = |s: &Site| {
        let frame = s.frame(s.a, [0xff; 6]).ip("10.1.0.10", "255.255.255.255");
        frame.udp(1, 9).payload(&[7; 3000])
    };
    vec![
        row("broadcast is its sender's, once", s.a, all(s))
            .at_tc()
            .after(|s| {
                egress(s, s.a, 2 * LARGE);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .flooded(&[s.free]),
        row("broadcast beyond its sender's limit", s.a, all(s))
            .at_tc()
            .after(|s| {
                egress(s, s.a, 1);
                s.passes(s.a, &to_b(s, 1), s.b);
            })
            .stopped(s.blue, Stop::OverLimit),
        row("broadcast beyond a receiver's limit", s.a, all(s))
            .at_tc()
            .after(|s| {
                ingress(s, s.free, 1);
                s.passes(s.a, &to_free(s, 1), s.free);
            })
            .flooded(&[s.free]),
    ]
}
