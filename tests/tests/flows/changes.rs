//! What a change of the site does to flows: it holds from the next packet on, for
//! both directions, and for nobody else.

use dataplane_common::{
    Stop,
    table::{
        endpoint::{Endpoint, flags},
        next_hop::state,
        policy::{MemberKey, family},
        route::kind,
    },
    tables::note,
};
use sekisho_tests::{
    build::Frame,
    drive,
    world::{Site, any, to, via},
};

use crate::{answer, answer_in, question, question_out};

/// A flow between a and b that both have used.
fn talking() -> Site {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    s
}

/// A flow between a and somebody outside.
fn talking_out() -> Site {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    s
}

fn is_readmitted(s: &Site, from: sekisho_tests::world::End, frame: &Frame) -> bool {
    s.tables.trace(true);
    s.tables.take_notes();
    let outcome = s.send(from, frame);
    s.tables.trace(false);
    let is_told = s.tables.take_notes().iter().any(|told| told.what == note::READMIT);
    assert_eq!(is_told, outcome.programs > 1);
    is_told
}

#[test]
fn a_removed_rule_cuts_both_directions_and_a_new_one_revives_them() {
    for is_answer_first in [false, true] {
        let mut s = talking();
        let (server, blue) = (s.server, s.blue);
        let count = s.world.image.policies[server as usize].ingress_count;
        s.change(|w| w.touch_policy(server, blue).ingress_count = 0);
        for is_answer in [is_answer_first, !is_answer_first, is_answer_first] {
            let (from, frame) = if is_answer { (s.b, answer(&s)) } else { (s.a, question(&s)) };
            s.stops(from, &frame, Stop::IngressDenied);
        }
        assert!(
            drive::halves(&s.tables).iter().all(|half| half.denied == Some(Stop::IngressDenied))
        );
        s.change(|w| w.touch_policy(server, blue).ingress_count = count);
        s.passes(s.b, &answer(&s), s.a);
        s.passes(s.a, &question(&s), s.b);
        assert_eq!(s.halves_of(s.blue), 2);
    }
}

#[test]
fn a_denied_flow_is_denied_by_one_program_until_something_changes() {
    let mut s = talking();
    let (server, blue) = (s.server, s.blue);
    s.change(|w| w.touch_policy(server, blue).ingress_count = 0);
    s.stops(s.a, &question(&s), Stop::IngressDenied);
    let outcome = s.send(s.a, &question(&s));
    assert_eq!(outcome.programs, 1);
    assert_eq!(outcome.end, drive::End::Stopped(Stop::IngressDenied));
}

#[test]
fn another_tenants_change_is_not_even_noticed() {
    let mut s = talking();
    let red = s.red;
    s.change(|w| w.touch(red).image.tenants.len());
    assert!(!is_readmitted(&s, s.a, &question(&s)));
    assert!(drive::halves(&s.tables).iter().all(|half| half.epoch == 2));
}

#[test]
fn an_unrelated_change_of_the_tenant_is_noted_once() {
    let mut s = talking();
    let (c, blue) = (s.c.id, s.blue);
    s.change(|w| w.touch_endpoint(c).generation);
    let epoch = s.world.image.tenants[blue as usize].epoch;
    assert!(!is_readmitted(&s, s.a, &question(&s)));
    assert!(!is_readmitted(&s, s.b, &answer(&s)));
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    assert!(drive::halves(&s.tables).iter().all(|half| half.epoch == 2 * epoch));
}

#[test]
fn the_receivers_tenants_change_counts_as_well() {
    let mut s = Site::new();
    let question = s.routed(s.uplink).ip("9.9.9.9", "10.66.0.10").udp(1000, 53);
    let answer = s.routed(s.red_c).ip("10.66.0.10", "9.9.9.9").udp(53, 1000);
    s.passes(s.uplink, &question, s.red_c);
    s.passes(s.red_c, &answer, s.uplink);
    let (server, red) = (s.red_server, s.red);
    s.change(|w| w.touch_policy(server, red).ingress_count = 0);
    s.stops(s.uplink, &question, Stop::IngressDenied);
    s.stops(s.red_c, &answer, Stop::IngressDenied);
}

#[test]
fn a_member_that_leaves_its_group_is_cut() {
    let mut s = Site::new();
    let there = s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(1, 5000);
    let back = s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(5000, 1);
    s.passes(s.b, &there, s.a);
    s.passes(s.a, &back, s.b);
    let key = MemberKey { set: s.group, endpoint: s.b.id };
    s.change(|w| {
        w.image.members.remove(&key);
        w.touch_endpoint(key.endpoint);
    });
    s.stops(s.a, &back, Stop::IngressDenied);
    s.stops(s.b, &there, Stop::IngressDenied);
    s.change(|w| {
        w.image.members.insert(key);
        w.touch_endpoint(key.endpoint);
    });
    s.passes(s.a, &back, s.b);
    s.passes(s.b, &there, s.a);
}

/// The endpoint's generation rises by as much as its policy's is lower.
#[test]
fn other_groups_whose_generations_add_up_to_the_same_cut_nevertheless() {
    let mut s = talking();
    let (b, blue, server) = (s.b.id as usize, s.blue, s.server as usize);
    s.change(|w| {
        w.image.policies[server].generation = 8;
        w.image.endpoints[b].generation = 7;
        w.touch(blue);
    });
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    s.change(|w| {
        let closed = w.policy(0, &[any(family::V4)], &[]);
        w.image.policies[closed as usize].generation = 6;
        w.image.endpoints[b].policy = closed;
        w.image.endpoints[b].generation = 9;
        w.touch(blue);
    });
    s.stops(s.a, &question(&s), Stop::IngressDenied);
    s.stops(s.b, &answer(&s), Stop::IngressDenied);
}

#[test]
fn a_suspended_line_is_cut_in_both_directions() {
    let mut s = Site::new();
    let there = s.routed(s.line_a).ip("100.64.0.10", "10.1.0.20").udp(9, 53);
    let back = s.routed(s.b).ip("10.1.0.20", "100.64.0.10").udp(53, 9);
    s.passes(s.line_a, &there, s.b);
    s.passes(s.b, &back, s.line_a);
    let line = s.line_a.id;
    s.change(|w| w.touch_endpoint(line).flags |= flags::SUSPENDED);
    s.stops(s.b, &back, Stop::LineSuspended);
    s.stops(s.line_a, &there, Stop::LineSuspended);
    s.change(|w| w.touch_endpoint(line).flags &= !flags::SUSPENDED);
    s.passes(s.b, &back, s.line_a);
    s.passes(s.line_a, &there, s.b);
}

#[test]
fn a_session_that_ended_is_cut_in_both_directions() {
    let mut s = Site::new();
    let there = s.routed(s.line_a).ip("100.64.0.10", "10.1.0.20").udp(9, 53);
    let back = s.routed(s.b).ip("10.1.0.20", "100.64.0.10").udp(53, 9);
    s.passes(s.line_a, &there, s.b);
    s.passes(s.b, &back, s.line_a);
    let line = s.line_a.id;
    s.change(|w| {
        w.image.sessions.retain(|(_, _, id)| *id != line);
        w.touch_endpoint(line);
    });
    s.stops(s.line_a, &there, Stop::NoSession);
    s.stops(s.b, &back, Stop::UnknownDestination);
}

#[test]
fn a_line_that_is_sent_elsewhere_leaves_what_it_reached() {
    let mut s = Site::new();
    let there = s.routed(s.line_a).ip("100.64.0.10", "10.2.0.10").udp(9, 53);
    let back = s.routed(s.c).ip("10.2.0.10", "100.64.0.10").udp(53, 9);
    s.passes(s.line_a, &there, s.c);
    s.passes(s.c, &back, s.line_a);
    let (line, net) = (s.line_a.id, s.net.zone);
    s.change(|w| w.touch_endpoint(line).network = net);
    s.stops(s.line_a, &there, Stop::LineDestination);
    s.stops(s.c, &back, Stop::LineDestination);
}

#[test]
fn a_removed_route_cuts_both_directions() {
    let mut s = talking_out();
    let router = s.router;
    s.change(|w| w.withdraw(router, "0.0.0.0/0"));
    s.stops(s.a, &question_out(&s), Stop::NoRoute);
    s.stops(s.uplink, &answer_in(&s), Stop::NoRoute);
    let hop = s.uplink.hop;
    s.change(|w| {
        w.route(router, "0.0.0.0/0", via(&[hop]));
        w.touch_zone(router);
    });
    s.passes(s.uplink, &answer_in(&s), s.a);
    s.passes(s.a, &question_out(&s), s.uplink);
}

#[test]
fn the_default_route_of_one_family_is_none_of_the_other() {
    let mut s = talking_out();
    let router = s.router;
    s.change(|w| w.withdraw(router, "::/0"));
    s.passes(s.a, &question_out(&s), s.uplink);
    let six = s.routed(s.a).ip("2001:db8:1::10", "2001:db8:99::1").udp(1000, 53);
    s.stops(s.a, &six, Stop::NoRoute);
}

#[test]
fn a_removed_route_cuts_lines_that_used_it() {
    let mut s = Site::new();
    let there = s.routed(s.line_a).ip("100.64.0.10", "8.8.8.8").udp(9, 53);
    let back = s.routed(s.uplink).ip("8.8.8.8", "100.64.0.10").udp(53, 9);
    s.passes(s.line_a, &there, s.uplink);
    s.passes(s.uplink, &back, s.line_a);
    let router = s.router;
    s.change(|w| w.withdraw(router, "0.0.0.0/0"));
    s.stops(s.line_a, &there, Stop::NoRoute);
    s.stops(s.uplink, &back, Stop::NoRoute);
}

#[test]
fn a_flow_goes_on_by_the_uplink_that_its_route_leads_to_now() {
    let mut s = talking_out();
    let (router, hop) = (s.router, s.far.hop);
    s.change(|w| {
        w.image.next_hops[hop as usize].state = state::READY;
        w.withdraw(router, "0.0.0.0/0");
        w.route(router, "0.0.0.0/0", via(&[hop]));
    });
    let far_answer = s.routed(s.far).ip("8.8.8.8", "10.1.0.10").udp(53, 1000);
    s.passes(s.a, &question_out(&s), s.far);
    s.passes(s.far, &far_answer, s.a);
    s.stops(s.uplink, &answer_in(&s), Stop::ReversePath);
    let (router, hop) = (s.router, s.uplink.hop);
    s.change(|w| {
        w.withdraw(router, "0.0.0.0/0");
        w.route(router, "0.0.0.0/0", via(&[hop]));
    });
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    // The two halves that were given up are still paid for until they are swept.
    assert_eq!(s.halves_of(s.blue), 4);
}

#[test]
fn an_address_that_changed_hands_answers_nobody_of_the_other_tenant() {
    let mut s = Site::new();
    let asked = s.routed(s.b).ip("10.1.0.20", "100.64.0.10").udp(53, 9);
    s.passes(s.b, &asked, s.line_a);
    let (access, line, red, red_router) = (s.access, s.line_a, s.red, s.red_router);
    let red_line = s.change(|w| {
        w.image.sessions.retain(|(_, _, endpoint)| *endpoint != line.id);
        let of = Endpoint { tenant: red, destination: red_router, ..Endpoint::default() };
        w.line(access, &["100.64.0.10"], of)
    });
    let own = s.routed(red_line).ip("100.64.0.10", "10.1.0.20").udp(9, 53);
    s.passes(red_line, &own, s.red_b);
}

#[test]
fn an_address_pair_that_is_lost_gets_no_more_answers() {
    let mut s = Site::new();
    let (router, hop, pair) = (s.router, s.pair.hop, s.pair);
    s.change(|w| {
        w.route(router, "10.77.0.0/24", via(&[hop]));
        w.touch_zone(router);
    });
    let there = s.routed(s.pair).ip("10.77.0.5", "10.2.0.10").udp(9, 53);
    let back = s.routed(s.c).ip("10.2.0.10", "10.77.0.5").udp(53, 9);
    let error = s.routed(s.c).ip("10.2.0.10", "10.77.0.5").icmp(3, 1, [0; 4]);
    let error = error.payload(&there.packet());
    s.passes(s.pair, &there, s.c);
    s.passes(s.c, &back, s.pair);
    s.passes(s.c, &error, s.pair);
    let permits = s.world.image.permits.clone();
    s.change(|w| {
        w.image.permits.retain(|(key, bits)| key.endpoint != pair.id || *bits == 128);
        w.touch_endpoint(pair.id);
    });
    s.stops(s.c, &back, Stop::UnknownDestination);
    s.stops(s.c, &error, Stop::UnknownDestination);
    s.stops(s.pair, &there, Stop::SpoofedAddress);
    s.change(|w| {
        w.image.permits = permits;
        w.touch_endpoint(pair.id);
    });
    s.passes(s.c, &back, s.pair);
    s.passes(s.pair, &there, s.c);
}

#[test]
fn a_removed_pool_cuts_line_to_line() {
    let mut s = Site::new();
    let there = s.routed(s.line_a).ip("100.64.0.10", "100.64.0.13").udp(1, 9);
    let back = s.routed(s.line_b).ip("100.64.0.13", "100.64.0.10").udp(9, 1);
    s.passes(s.line_a, &there, s.line_b);
    s.passes(s.line_b, &back, s.line_a);
    let router = s.router;
    s.change(|w| {
        w.withdraw(router, "100.64.0.0/24");
        w.route(router, "100.64.0.0/24", to(kind::BLACKHOLE, 0));
    });
    s.stops(s.line_a, &there, Stop::Blackhole);
    s.stops(s.line_b, &back, Stop::Blackhole);
}

#[test]
fn a_withdrawn_export_cuts_both_directions() {
    let mut s = talking_out();
    let uplink = s.uplink.zone;
    s.change(|w| w.withdraw(uplink, "10.1.0.0/24"));
    s.stops(s.uplink, &answer_in(&s), Stop::NotExported);
    s.stops(s.a, &question_out(&s), Stop::NotExported);
}

#[test]
fn a_protected_prefix_cuts_what_leads_there() {
    let mut s = talking_out();
    let uplink = s.uplink.zone;
    s.change(|w| {
        w.route(uplink, "8.8.8.0/24", to(kind::PROTECTED, 0));
        w.touch_zone(uplink);
    });
    s.stops(s.a, &question_out(&s), Stop::ProtectedDestination);
}

#[test]
fn a_closed_network_is_cut_from_the_uplink() {
    let mut s = talking_out();
    let a = s.a.id;
    s.change(|w| w.touch_endpoint(a).flags |= flags::MEC_ONLY);
    s.stops(s.uplink, &answer_in(&s), Stop::MecOnly);
    s.stops(s.a, &question_out(&s), Stop::MecOnly);
}

#[test]
fn an_address_that_moves_takes_no_flow_along() {
    let mut s = talking();
    let (b, pair) = (s.b, s.pair);
    s.change(|w| {
        for location in w.image.locations.values_mut().filter(|at| at.endpoint == b.id) {
            (location.endpoint, location.next_hop) = (pair.id, pair.hop);
        }
        w.touch_endpoint(b.id);
        w.touch_endpoint(pair.id);
    });
    // The flow is judged again for who has the address now, and that one's rules.
    s.stops(s.a, &question(&s), Stop::IngressDenied);
    s.stops(s.b, &answer(&s), Stop::IngressDenied);
}

#[test]
fn flows_over_either_of_two_uplinks_are_answered() {
    let mut s = Site::new();
    let (router, uplink, far) = (s.router, s.uplink, s.far);
    s.change(|w| {
        w.image.next_hops[far.hop as usize].state = 1;
        w.withdraw(router, "0.0.0.0/0");
        w.route(router, "0.0.0.0/0", via(&[uplink.hop, far.hop]));
    });
    let mut by = [0; 2];
    for port in 1..=20 {
        let question = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(port, 53);
        let drive::End::Left { output, .. } = s.send(s.a, &question).end else { panic!("{port}") };
        let from = if output == uplink.attachment { uplink } else { far };
        by[usize::from(output == far.attachment)] += 1;
        let answer = s.routed(from).ip("8.8.8.8", "10.1.0.10").udp(53, port);
        s.passes(from, &answer, s.a);
    }
    assert!(by[0] > 0 && by[1] > 0, "{by:?}");
}
