//! Groups without state, and a stateful end that talks to a stateless one.

use dataplane_common::{Stop, table::policy};
use sekisho_tests::{
    build::{
        Frame,
        tcp::{ACK, FIN, RST, SYN},
    },
    drive,
    world::Site,
};

const ANY_FLAGS: [u8; 7] = [0, SYN, SYN | ACK, ACK, FIN, RST, FIN | SYN | RST];

/// From the free port, which is not filtered, to the stateless one's service.
fn inward(s: &Site, flags: u8) -> Frame {
    s.switched(s.free, s.stateless).ip("10.1.0.30", "10.1.0.60").tcp(1000, 80, flags, 1, 1)
}

#[test]
fn a_stateless_end_passes_any_flags_and_keeps_no_flow() {
    let s = Site::new();
    for flags in ANY_FLAGS {
        s.passes(s.free, &inward(&s, flags), s.stateless);
        let back =
            s.switched(s.stateless, s.free).ip("10.1.0.60", "10.1.0.30").tcp(80, 1000, flags, 1, 1);
        s.passes(s.stateless, &back, s.free);
    }
    assert_eq!(drive::halves(&s.tables), []);
}

#[test]
fn a_stateless_ends_question_is_answered_only_by_a_rule() {
    let s = Site::new();
    s.passes(
        s.stateless,
        &s.switched(s.stateless, s.free).ip("10.1.0.60", "10.1.0.30").udp(1000, 53),
        s.free,
    );
    let answer = |port| s.switched(s.free, s.stateless).ip("10.1.0.30", "10.1.0.60").udp(53, port);
    s.stops(s.free, &answer(1000), Stop::IngressDenied);
    s.passes(s.free, &answer(53), s.stateless);
}

#[test]
fn between_stateful_and_stateless_each_end_has_its_own_way() {
    let s = Site::new();
    // a is stateful and asks; the stateless end's service answers by its egress rules,
    // and a's state lets the answer in.
    let there = |flags| {
        s.switched(s.a, s.stateless).ip("10.1.0.10", "10.1.0.60").tcp(1000, 80, flags, 1, 1)
    };
    let back = |flags| {
        s.switched(s.stateless, s.a).ip("10.1.0.60", "10.1.0.10").tcp(80, 1000, flags, 1, 2)
    };
    s.stops(s.stateless, &back(SYN | ACK), Stop::IngressDenied);
    s.passes(s.a, &there(SYN), s.stateless);
    s.passes(s.stateless, &back(SYN | ACK), s.a);
    s.passes(s.a, &there(ACK), s.stateless);
    // The stateless end asks a stateful one: the answer needs a rule of the stateless end.
    let ask = s.switched(s.stateless, s.b).ip("10.1.0.60", "10.1.0.20").udp(1000, 53);
    let answer = s.switched(s.b, s.stateless).ip("10.1.0.20", "10.1.0.60").udp(53, 1000);
    s.passes(s.stateless, &ask, s.b);
    s.stops(s.b, &answer, Stop::IngressDenied);
    s.passes(s.stateless, &ask, s.b);
}

#[test]
fn an_answer_that_a_stateless_end_may_not_send_is_stopped() {
    let mut s = Site::new();
    let there = s.switched(s.a, s.stateless).ip("10.1.0.10", "10.1.0.60").udp(1000, 53);
    let back = s.switched(s.stateless, s.a).ip("10.1.0.60", "10.1.0.10").udp(53, 1000);
    let (policy, blue) = (s.world.image.endpoints[s.stateless.id as usize].policy, s.blue);
    s.change(|w| w.touch_policy(policy, blue).egress_count = 0);
    s.passes(s.a, &there, s.stateless);
    s.stops(s.stateless, &back, Stop::EgressDenied);
}

#[test]
fn a_group_that_becomes_stateless_answers_no_more_by_state() {
    let mut s = Site::new();
    let ask = s.switched(s.b, s.free).ip("10.1.0.20", "10.1.0.30").udp(1000, 99);
    let answer = s.switched(s.free, s.b).ip("10.1.0.30", "10.1.0.20").udp(99, 1000);
    s.passes(s.b, &ask, s.free);
    s.passes(s.free, &answer, s.b);
    let (server, blue) = (s.server, s.blue);
    s.change(|w| w.touch_policy(server, blue).flags |= policy::flags::STATELESS);
    s.stops(s.free, &answer, Stop::IngressDenied);
    s.passes(s.b, &ask, s.free);
    s.stops(s.free, &answer, Stop::IngressDenied);
}

/// Without a flow nothing relates an error, so path MTU discovery needs a rule.
#[test]
fn an_error_reaches_a_stateless_end_by_a_rule() {
    use sekisho_tests::world::{any, everything};
    let mut s = Site::new();
    let (id, blue) = (s.stateless.id, s.blue);
    s.change(|w| {
        let open = w.policy(policy::flags::STATELESS, &everything(), &[any(4)]);
        w.touch_endpoint(id).policy = open;
        w.touch(blue);
    });
    let sent = s.routed(s.stateless).ip("10.1.0.60", "8.8.8.8").udp(1000, 53);
    s.passes(s.stateless, &sent, s.uplink);
    let error = s.routed(s.uplink).ip("7.7.7.7", "10.1.0.60").icmp(3, 4, [0, 0, 5, 0]);
    s.passes(s.uplink, &error.payload(&sent.packet()), s.stateless);
}
