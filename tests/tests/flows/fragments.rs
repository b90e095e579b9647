//! How long is a datagram under way, and what does it cost?

use std::{collections::BTreeSet, time::Duration};

use dataplane_common::{
    Stop, Tables, limits::DATAGRAMS_PER_TENANT, table::flow::status, tables::Share,
};
use sekisho_tests::{
    build::Frame,
    drive::{self, End as Ended},
    world::Site,
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
