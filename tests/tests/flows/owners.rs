//! Whose is a flow? Nobody else may use it, answer on it, or spoil it.

use dataplane_common::Stop;
use sekisho_tests::{
    build::tcp::{ACK, SYN},
    drive,
    world::Site,
};

use crate::{answer, question};

/// The free port may use any address: it plays the neighbour that spoofs.
#[test]
fn a_neighbour_cannot_answer() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let spoofed = s.switched(s.free, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1000);
    s.stops(s.free, &spoofed, Stop::FlowOwner);
    s.passes(s.b, &answer(&s), s.a);
    s.stops(s.free, &spoofed, Stop::FlowOwner);
}

#[test]
fn a_neighbours_answer_does_not_spoil_the_flow() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    let spoofed = s.switched(s.free, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1000);
    s.stops(s.free, &spoofed, Stop::FlowOwner);
    let outcome = s.send(s.b, &answer(&s));
    assert!(matches!(outcome.end, drive::End::Left { .. }), "{:?}", outcome.end);
    assert_eq!(outcome.programs, 1);
}

#[test]
fn a_neighbour_that_replays_a_question_passes_the_rules_for_itself() {
    let s = Site::new();
    let syn = |from| s.switched(from, s.a).ip("10.1.0.20", "10.1.0.10").udp(1, 5000);
    // b may reach a's port 5000 as a member of the group; the free port is none.
    s.passes(s.b, &syn(s.b), s.a);
    s.stops(s.free, &syn(s.free), Stop::IngressDenied);
    s.passes(s.b, &syn(s.b), s.a);
}

#[test]
fn a_secure_neighbour_does_not_even_get_there() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let spoofed = s.switched(s.pair, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1000);
    s.stops(s.pair, &spoofed, Stop::SpoofedAddress);
}

#[test]
fn another_mac_of_the_same_port_opens_a_flow_of_its_own() {
    let mut s = Site::new();
    let (a, second) = (s.a, [2, 0, 0, 0, 9, 9]);
    s.change(|w| {
        w.station(a, second);
        w.permit(sekisho_tests::world::End { mac: second, ..a }, "10.1.0.10/32");
    });
    s.passes(s.a, &question(&s), s.b);
    let outcome = s.send(s.a, &question(&s).eth(second, s.b.mac));
    assert!(matches!(outcome.end, drive::End::Left { .. }) && outcome.programs == 2);
    assert_eq!(s.halves_of(s.blue), 2);
}

#[test]
fn who_gets_a_lines_address_is_judged_by_its_own_rules() {
    let mut s = Site::new();
    s.passes(s.a, &s.routed(s.a).ip("10.1.0.10", "100.64.0.10").udp(1000, 9), s.line_a);
    let (line_a, line_b, client) = (s.line_a.id, s.line_b.id, s.client);
    s.change(|w| {
        for (_, _, line) in &mut w.image.sessions {
            *line = if *line == line_a { line_b } else { *line };
        }
        w.touch_endpoint(line_a);
        w.touch_endpoint(line_b).policy = client;
    });
    let reply = s.routed(s.line_b).ip("100.64.0.10", "10.1.0.10").udp(9, 1000);
    s.stops(s.line_b, &reply, Stop::IngressDenied);
}

#[test]
fn a_removed_opener_is_no_longer_answered() {
    let mut s = Site::new();
    s.passes(s.c, &s.routed(s.c).ip("10.2.0.10", "8.8.8.8").udp(9, 5353), s.uplink);
    let reply = s.routed(s.uplink).ip("8.8.8.8", "10.2.0.10").udp(5353, 9);
    s.passes(s.uplink, &reply, s.c);
    // The tenant's epoch was 1 and the provider's goes on by 1: the sum of the two
    // epochs is the same as that of the provider alone.
    let c = s.c;
    s.change(|w| {
        w.image.endpoints[c.id as usize] = Default::default();
        w.image.stations.retain(|key, _| key.attachment != c.attachment);
        w.image.locations.retain(|_, location| location.endpoint != c.id);
        w.touch(0);
    });
    s.stops(s.uplink, &reply, Stop::UnknownDestination);
}

#[test]
fn a_segment_with_one_address_twice_opens_nothing() {
    let s = Site::new();
    let land = s.switched(s.free, s.b).ip("10.1.0.20", "10.1.0.20").tcp(80, 80, SYN, 1, 0);
    s.stops(s.free, &land, Stop::MartianSource);
    assert_eq!(drive::halves(&s.tables), []);
}

#[test]
fn an_answer_on_the_last_hop_is_told_and_counted_under_the_flows_tenant() {
    let s = Site::new();
    s.passes(s.a, &s.routed(s.a).ip("10.1.0.10", "8.8.8.8").tcp(1, 80, SYN, 1, 0), s.uplink);
    let reply = |flags| s.routed(s.uplink).ip("8.8.8.8", "10.1.0.10").tcp(80, 1, flags, 7, 2);
    s.passes(s.uplink, &reply(SYN | ACK), s.a);
    let outcome = s.send(s.uplink, &reply(ACK).ttl(1));
    assert_eq!(outcome.programs, 2);
    assert_eq!(
        outcome.counters.stops.into_keys().collect::<Vec<_>>(),
        [(s.blue, Stop::TtlExceeded)]
    );
}
