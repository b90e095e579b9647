//! UDP and ICMP queries: who may answer, how long, and what is counted.

use std::time::Duration;

use dataplane_common::{Stop, stage::conntrack::state};
use sekisho_tests::{drive, world::Site};

use crate::{answer, answer_in, question, question_out};

#[test]
fn an_answer_needs_a_question() {
    let s = Site::new();
    s.stops(s.b, &answer(&s), Stop::IngressDenied);
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    let states: Vec<_> = drive::halves(&s.tables).iter().map(|half| half.state).collect();
    assert_eq!(states, [state::REPLIED; 2]);
}

#[test]
fn an_answer_from_another_port_is_none() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let other = s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(54, 1000);
    s.stops(s.b, &other, Stop::IngressDenied);
    let other = s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1001);
    s.stops(s.b, &other, Stop::IngressDenied);
}

#[test]
fn an_answer_from_outside_needs_a_question() {
    let s = Site::new();
    s.stops(s.uplink, &answer_in(&s), Stop::IngressDenied);
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    assert_eq!(s.send(s.uplink, &answer_in(&s)).programs, 1);
}

#[test]
fn the_other_uplink_does_not_answer() {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    let frame = s.routed(s.far).ip("8.8.8.8", "10.1.0.10").udp(53, 1000);
    s.stops(s.far, &frame, Stop::ReversePath);
}

#[test]
fn a_question_is_kept_for_30_seconds_and_a_conversation_for_120() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    s.tables.pass(Duration::from_secs(33));
    s.stops(s.b, &answer(&s), Stop::IngressDenied);
    // Two at once are no conversation.
    for _ in 0..2 {
        s.passes(s.a, &question(&s), s.b);
        s.passes(s.b, &answer(&s), s.a);
        s.tables.pass(Duration::from_secs(1));
    }
    s.tables.pass(Duration::from_secs(33));
    s.stops(s.b, &answer(&s), Stop::IngressDenied);
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    s.tables.pass(Duration::from_secs(3));
    s.passes(s.b, &answer(&s), s.a);
    let states = || drive::halves(&s.tables).into_iter().map(|half| half.state).collect::<Vec<_>>();
    assert_eq!(states(), [state::REPLIED; 2]);
    s.passes(s.a, &question(&s), s.b);
    assert_eq!(states(), [state::ASSURED; 2]);
    s.tables.pass(Duration::from_secs(100));
    s.passes(s.b, &answer(&s), s.a);
    s.tables.pass(Duration::from_secs(100));
    s.passes(s.b, &answer(&s), s.a);
    s.tables.pass(Duration::from_secs(130));
    s.stops(s.b, &answer(&s), Stop::IngressDenied);
}

#[test]
fn an_echo_is_never_a_conversation() {
    let s = Site::new();
    let echo = |from, to, kind, [src, dst]: [&str; 2]| {
        s.switched(from, to).ip(src, dst).icmp(kind, 0, [0, 7, 0, 1])
    };
    for _ in 0..3 {
        s.passes(s.a, &echo(s.a, s.b, 8, ["10.1.0.10", "10.1.0.20"]), s.b);
        s.passes(s.b, &echo(s.b, s.a, 0, ["10.1.0.20", "10.1.0.10"]), s.a);
        s.tables.pass(Duration::from_secs(3));
    }
    let states: Vec<_> = drive::halves(&s.tables).iter().map(|half| half.state).collect();
    assert_eq!(states, [state::REPLIED; 2]);
}

#[test]
fn an_expired_flow_gives_its_place_to_the_next() {
    let s = Site::new();
    for _ in 0..3 {
        s.passes(s.a, &question(&s), s.b);
        s.tables.pass(Duration::from_secs(60));
    }
    assert_eq!(s.halves_of(s.blue), 2);
    assert_eq!(drive::halves(&s.tables).len(), 2);
}

#[test]
fn packets_and_bytes_are_counted_on_their_half() {
    let s = Site::new();
    s.passes(s.a, &question(&s).payload(&[0; 100]), s.b);
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    let counted: Vec<_> =
        drive::halves(&s.tables).iter().map(|half| (half.packets, half.bytes)).collect();
    assert_eq!(counted, [(2, 42 + 142), (1, 42)]);
}

#[test]
fn segments_are_counted_as_the_wire_sees_them() {
    use sekisho_tests::packet::{Hook, HostPacket};
    let s = Site::new();
    let frame = question(&s).payload(&[0; 3000]).build();
    let packet = HostPacket::new(Hook::Tc, s.a.ifindex, &frame).segments_of(1000, 3);
    drive::run(&s.tables, packet);
    let half = &drive::halves(&s.tables)[0];
    assert_eq!((half.packets, half.bytes), (3, 3 * (42 + 1000)));
}

#[test]
fn a_query_has_one_kind_of_answer() {
    let s = Site::new();
    let out =
        |kind, id| s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").icmp(kind, 0, [0, id, 0, 1]);
    let back =
        |kind, id| s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").icmp(kind, 0, [0, id, 0, 1]);
    s.passes(s.a, &out(8, 1), s.b);
    s.passes(s.b, &back(0, 1), s.a);
    s.stops(s.b, &back(0, 2), Stop::IngressDenied);
    s.stops(s.b, &back(14, 1), Stop::IngressDenied);
    s.stops(s.b, &back(8, 1), Stop::IngressDenied);
    s.stops(s.a, &out(0, 9), Stop::IngressDenied);
}

#[test]
fn a_query_of_ipv6_has_one_kind_of_answer() {
    let s = Site::new();
    let out =
        |kind| s.routed(s.a).ip("2001:db8:1::10", "2001:db8:2::10").icmp(kind, 0, [0, 1, 0, 1]);
    let back =
        |kind| s.routed(s.c).ip("2001:db8:2::10", "2001:db8:1::10").icmp(kind, 0, [0, 1, 0, 1]);
    s.passes(s.a, &out(128), s.c);
    s.passes(s.c, &back(129), s.a);
    s.stops(s.c, &back(128), Stop::IngressDenied);
}

#[test]
fn the_same_flow_of_two_tenants_is_two_flows() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let red = s.switched(s.red_b, s.red_a).ip("10.1.0.20", "10.1.0.10").udp(53, 1000);
    s.stops(s.red_b, &red, Stop::IngressDenied);
    let red = s.switched(s.red_a, s.red_b).ip("10.1.0.10", "10.1.0.20").udp(1000, 53);
    s.passes(s.red_a, &red, s.red_b);
    assert_eq!((s.halves_of(s.blue), s.halves_of(s.red)), (2, 2));
}

#[test]
fn a_line_is_answered_where_it_asked() {
    let s = Site::new();
    s.passes(s.line_a, &s.routed(s.line_a).ip("100.64.0.10", "10.1.0.20").udp(9, 53), s.b);
    s.passes(s.b, &s.routed(s.b).ip("10.1.0.20", "100.64.0.10").udp(53, 9), s.line_a);
    s.passes(s.line_a, &s.routed(s.line_a).ip("100.64.0.10", "8.8.8.8").udp(9, 53), s.uplink);
    s.passes(s.uplink, &s.routed(s.uplink).ip("8.8.8.8", "100.64.0.10").udp(53, 9), s.line_a);
    s.passes(s.line_up, &s.routed(s.line_up).ip("100.65.0.10", "8.8.8.8").udp(9, 53), s.uplink);
    s.passes(s.uplink, &s.routed(s.uplink).ip("8.8.8.8", "100.65.0.10").udp(53, 9), s.line_up);
}

#[test]
fn line_to_line_needs_a_rule_in_one_direction_alone() {
    let s = Site::new();
    let there = s.routed(s.line_a).ip("100.64.0.10", "100.64.0.13").udp(1, 9);
    let back = s.routed(s.line_b).ip("100.64.0.13", "100.64.0.10").udp(9, 1);
    s.stops(s.line_b, &back, Stop::LineToLine);
    s.passes(s.line_a, &there, s.line_b);
    s.passes(s.line_b, &back, s.line_a);
}

#[test]
fn a_tracer_leaves_no_mark() {
    let s = Site::new();
    s.tables.trace(true);
    let outcome = s.send(s.a, &question(&s));
    assert!(matches!(outcome.end, drive::End::Left { .. }));
    assert_eq!(outcome.counters, Default::default());
    assert_eq!(drive::halves(&s.tables), []);
    assert_eq!(s.halves_of(s.blue), 0);
    assert!(!s.tables.take_notes().is_empty());
    s.tables.trace(false);
    s.passes(s.a, &question(&s), s.b);
    assert_eq!(s.tables.take_notes(), []);
}
