//! How long is a datagram under way, and what does it cost?

use std::{collections::BTreeSet, time::Duration};

use dataplane_common::{
    Stop, Tables,
    limits::{DATAGRAMS, DATAGRAMS_PER_TENANT, PARKED_PER_TENANT},
    table::{datagram, flow::status},
    tables::Share,
};
use sekisho_tests::{
    build::Frame,
    drive::{self, End as Ended},
    packet::{Hook, HostPacket},
    world::{End, Site},
};

use crate::question;

fn whole(s: &Site) -> Frame {
    question(s).payload(&[7; 96])
}

fn whole_v6(s: &Site) -> Frame {
    let ip = s.switched(s.a, s.b).ip("2001:db8:1::10", "2001:db8:1::20");
    ip.udp(1000, 53).payload(&[7; 96])
}

fn under_way(s: &Site) -> u32 {
    s.tables.share_of(s.blue, Share::Datagrams)
}

fn waits(s: &Site, frame: &Frame) {
    let outcome = s.send(s.a, frame);
    assert_eq!(outcome.end, Ended::Parked);
}

#[test]
fn what_is_whole_takes_up_no_place() {
    let s = Site::new();
    for id in 0..3 * DATAGRAMS_PER_TENANT {
        s.passes(s.a, &whole(&s).piece(id, 0, 48), s.b);
        assert_eq!(under_way(&s), 1);
        // Out of order.
        s.passes(s.a, &whole(&s).piece(id, 96, 104), s.b);
        s.passes(s.a, &whole(&s).piece(id, 48, 96), s.b);
        assert_eq!(under_way(&s), 0);
    }
    // A piece that comes twice is told from one that comes early, but not for long.
    s.stops(s.a, &whole(&s).piece(7, 48, 96), Stop::FragmentDuplicate);
    s.tables.pass(Duration::from_millis(120));
    waits(&s, &whole(&s).piece(7, 48, 96));
}

#[test]
fn the_rest_is_waited_for_30_seconds_in_ipv4_and_60_in_ipv6() {
    for (whole, seconds) in [(whole as fn(&Site) -> Frame, 30), (whole_v6, 60)] {
        let s = Site::new();
        s.passes(s.a, &whole(&s).piece(1, 0, 48), s.b);
        s.passes(s.a, &whole(&s).piece(2, 0, 48), s.b);
        // Less than the tick that is longer than a millisecond makes of it.
        s.tables.pass(Duration::from_secs(seconds));
        // The flow may be over: its rules still permit it.
        s.passes(s.a, &whole(&s).piece(1, 48, 96), s.b);
        s.tables.pass(Duration::from_secs(seconds / 10));
        waits(&s, &whole(&s).piece(2, 48, 96));
        // A new first takes the place of the old one.
        assert_eq!(under_way(&s), 2);
        s.passes(s.a, &whole(&s).piece(2, 0, 48), s.b);
        assert_eq!(under_way(&s), 2);
        s.passes(s.a, &whole(&s).piece(2, 48, 96), s.b);
    }
}

#[test]
fn a_later_piece_opens_no_flow() {
    let s = Site::new();
    s.passes(s.a, &whole(&s).piece(1, 0, 48), s.b);
    assert_eq!(s.halves_of(s.blue), 2);
    for line in (0..s.tables.flow_lines()).filter_map(|index| s.tables.flow(index)) {
        line.status.store(status::EMPTY);
    }
    s.passes(s.a, &whole(&s).piece(1, 48, 96), s.b);
    assert_eq!(drive::halves(&s.tables).len(), 0);
}

#[test]
fn the_pieces_of_a_segment_do_not_disturb_its_connection() {
    let s = Site::new();
    let segment = |flags| {
        let ip = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20");
        ip.tcp(1000, 80, flags, 1, 1).payload(&[7; 96])
    };
    for (id, flags) in [(1, 2), (2, 16), (3, 17)] {
        s.passes(s.a, &segment(flags).piece(id, 0, 48), s.b);
        let before = drive::halves(&s.tables)[0].state;
        s.passes(s.a, &segment(flags).piece(id, 48, 116), s.b);
        assert_eq!(drive::halves(&s.tables)[0].state, before);
        let reply = s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10");
        s.passes(s.b, &reply.tcp(80, 1000, if flags == 2 { 18 } else { 16 }, 1, 98), s.a);
    }
}

#[test]
fn all_pieces_take_one_of_several_next_hops() {
    let s = Site::new();
    let mut ways = BTreeSet::new();
    for (from, own) in [(s.a, "10.1.0.10"), (s.stateless, "10.1.0.60")] {
        for number in 0..30 {
            let to = format!("11.0.{number}.9");
            let whole = s.routed(from).ip(own, &to).udp(1000, 53).payload(&[7; 96]);
            let way = |frame: &Frame| {
                let end = s.send(from, frame).end;
                let Ended::Left { output, frame, .. } = end else { panic!("{to}: {end:?}") };
                (output, frame[..12].to_vec())
            };
            let first = way(&whole.piece(number, 0, 48));
            assert_eq!(way(&whole.piece(number, 96, 104)), first);
            assert_eq!(way(&whole.piece(number, 48, 96)), first);
            ways.insert(first);
        }
    }
    assert!(ways.len() > 1, "one next hop for all: {ways:?}");
}

#[test]
fn what_is_sent_in_again_waits_no_more_and_nothing_else_does() {
    let s = Site::new();
    let waiting = |from: End, whole: &Frame| {
        let frame = whole.piece(1, 48, 96).build();
        drive::pass(&s.tables, HostPacket::new(Hook::Tc, from.ifindex, &frame))
    };
    drive::note_again(&s.tables, &waiting(s.a, &whole(&s)));
    s.stops(s.a, &whole(&s).piece(1, 48, 96), Stop::FragmentEarly);
    s.stops(s.a, &whole(&s).piece(1, 96, 104), Stop::FragmentEarly);
    waits(&s, &whole(&s).piece(2, 48, 96));
    waits(&s, &whole_v6(&s).piece(1, 48, 96));
    // The same words of another sender.
    let theirs = whole(&s).eth(s.free.mac, s.b.mac).piece(1, 48, 96);
    assert_eq!(s.send(s.free, &theirs).end, Ended::Parked);
    // A tenth of a second later it is another datagram's.
    s.tables.pass(Duration::from_millis(120));
    waits(&s, &whole(&s).piece(1, 48, 96));
    // Whatever is noted: once its first has come, it passes.
    drive::note_again(&s.tables, &waiting(s.a, &whole(&s)));
    s.passes(s.a, &whole(&s).piece(1, 0, 48), s.b);
    s.passes(s.a, &whole(&s).piece(1, 48, 96), s.b);
}

#[test]
fn strangers_use_up_nothing_that_those_inside_need() {
    let s = Site::new();
    let far = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1000, 53).payload(&[7; 96]);
    for id in 0..DATAGRAMS_PER_TENANT {
        s.passes(s.uplink, &far.piece(id, 0, 48), s.b);
    }
    s.stops(s.uplink, &far.piece(5000, 0, 48), Stop::FragmentQuota);
    for id in 0..PARKED_PER_TENANT {
        assert_eq!(s.send(s.uplink, &far.piece(6000 + id, 48, 96)).end, Ended::Parked);
    }
    s.stops(s.uplink, &far.piece(7000, 48, 96), Stop::FragmentEarly);
    // Nor does the other direction anything of theirs.
    for id in 0..DATAGRAMS_PER_TENANT {
        s.passes(s.a, &whole(&s).piece(id, 0, 48), s.b);
    }
    s.stops(s.a, &whole(&s).piece(5000, 0, 48), Stop::FragmentQuota);
    waits(&s, &whole(&s).piece(6000, 48, 96));
    // Each gives back what it took.
    let taken =
        || [Share::InboundDatagrams, Share::Datagrams].map(|of| s.tables.share_of(s.blue, of));
    s.passes(s.uplink, &far.piece(0, 48, 104), s.b);
    assert_eq!(taken(), [DATAGRAMS_PER_TENANT - 1, DATAGRAMS_PER_TENANT]);
    s.passes(s.a, &whole(&s).piece(0, 48, 104), s.b);
    assert_eq!(taken(), [DATAGRAMS_PER_TENANT - 1, DATAGRAMS_PER_TENANT - 1]);
    // And so does whoever is taken the place of, when its time is over and nothing is free.
    for index in 0..DATAGRAMS {
        let slot = s.tables.datagram(index).expect("it is one of the table");
        if slot.status.load() & datagram::status::LIFE != datagram::status::LIVE {
            slot.status.store(datagram::status::BUSY);
        }
    }
    s.tables.pass(Duration::from_secs(40));
    let before = taken();
    for id in 0..DATAGRAMS_PER_TENANT {
        if let Ended::Left { .. } = s.send(s.a, &whole(&s).piece(9000 + id, 0, 48)).end {
            s.passes(s.a, &whole(&s).piece(9000 + id, 48, 104), s.b);
        }
    }
    let live = [datagram::status::INBOUND, 0].map(|inbound| {
        let mask = datagram::status::LIFE | datagram::status::INBOUND;
        let slots = s.tables.datagrams().iter();
        slots.filter(|slot| slot.status.load() & mask == datagram::status::LIVE | inbound).count()
    });
    assert_eq!(taken().map(|taken| taken as usize), live);
    assert!(taken()[0] < before[0] && taken()[1] < before[1], "{before:?} {:?}", taken());
}

#[test]
fn strangers_leave_room_in_the_table_however_many_they_send_to() {
    let s = Site::new();
    let far = s.routed(s.uplink).ip("8.8.8.8", "10.1.0.20").udp(1000, 53).payload(&[7; 96]);
    let is_free = |index: &u32| {
        let slot = s.tables.datagram(*index).expect("it is one of the table");
        slot.status.load() & datagram::status::LIFE != datagram::status::LIVE
    };
    let mut id = 0;
    while s.send(s.uplink, &far.piece(id, 0, 48)).end != Ended::Stopped(Stop::FragmentTableFull) {
        // As if it were another tenant's each time.
        s.tables.release(Share::InboundDatagrams, s.blue);
        id += 1;
        assert!(id <= DATAGRAMS, "they fill the table");
    }
    let free = (0..DATAGRAMS).filter(is_free).count() as u32;
    assert!(free >= DATAGRAMS / 4, "{free}");
    s.passes(s.a, &whole(&s).piece(1, 0, 48), s.b);
}
