//! Full tables and used-up quotas: closed, counted, and at nobody else's cost.

use std::time::Duration;

use dataplane_common::{
    Stop, Tables,
    stage::conntrack::state,
    table::{
        flow::{BUCKET_LINES, bucket_of, homes, lines_of, status},
        next_hop,
    },
    word::Word64,
};
use dataplane_user::tables::HostTables;
use sekisho_tests::{
    build::{Frame, tcp},
    drive,
    world::{FLOWS_MAX, Site, via},
};

use crate::{answer, answer_in, question, question_out};

fn ask(s: &Site, port: u16) -> Frame {
    s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(port, 53)
}

#[test]
fn a_tenant_at_its_quota_opens_nothing_and_keeps_what_it_has() {
    let s = Site::new();
    let flows = FLOWS_MAX as u16 / 2;
    for port in 1..=flows {
        s.passes(s.a, &ask(&s, port), s.b);
    }
    s.stops(s.a, &ask(&s, 2000), Stop::FlowQuota);
    s.passes(s.a, &ask(&s, 1), s.b);
    let red = s.switched(s.red_a, s.red_b).ip("10.1.0.10", "10.1.0.20").udp(2000, 53);
    s.passes(s.red_a, &red, s.red_b);
}

#[test]
fn what_the_uplink_opens_the_receivers_tenant_pays() {
    let s = Site::new();
    s.passes(s.uplink, &s.routed(s.uplink).ip("8.8.8.8", "10.2.0.10").udp(1, 53), s.c);
    assert_eq!((s.halves_of(0), s.halves_of(s.blue)), (0, 2));
}

fn asked_from_outside(s: &Site, port: u16) -> Frame {
    s.routed(s.uplink).ip("8.8.8.8", "10.2.0.10").udp(port, 53)
}

fn answered_to_outside(s: &Site, port: u16) -> Frame {
    s.routed(s.c).ip("10.2.0.10", "8.8.8.8").udp(53, port)
}

#[test]
fn strangers_whom_nobody_answers_have_half_of_a_tenants_share() {
    let s = Site::new();
    let (flows, half) = (FLOWS_MAX as u16 / 4, FLOWS_MAX as i32 / 2);
    for port in 1..=flows {
        s.passes(s.uplink, &asked_from_outside(&s, port), s.c);
    }
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (half, half));
    s.stops(s.uplink, &asked_from_outside(&s, 2000), Stop::FlowQuota);
    // Their flows are known still, and those inside begin others.
    s.passes(s.uplink, &asked_from_outside(&s, 1), s.c);
    s.passes(s.a, &ask(&s, 1), s.b);
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (half + 2, half));
    // An answer shows nothing: it may go to whoever has the address.
    s.passes(s.c, &answered_to_outside(&s, 1), s.uplink);
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (half + 2, half));
    s.stops(s.uplink, &asked_from_outside(&s, 2000), Stop::FlowQuota);
}

#[test]
fn who_shakes_hands_is_no_stranger() {
    let s = Site::new();
    let from_outside = |flags, seq, ack| {
        s.routed(s.uplink).ip("8.8.8.8", "10.2.0.10").tcp(1000, 80, flags, seq, ack)
    };
    let to_outside =
        |flags, seq, ack| s.routed(s.c).ip("10.2.0.10", "8.8.8.8").tcp(80, 1000, flags, seq, ack);
    s.passes(s.uplink, &from_outside(tcp::SYN, 1, 0), s.c);
    s.passes(s.c, &to_outside(tcp::SYN | tcp::ACK, 0x7000_0000, 2), s.uplink);
    assert_eq!(s.inbound_of(s.blue), 2, "a server accepts whatever it gets");
    // Whoever has not seen that goes on in the blind.
    for blind in [2, 0x6fff_0000, 0x7000_0002, 0xffff_0000] {
        for flags in [tcp::ACK, tcp::FIN | tcp::ACK] {
            s.passes(s.uplink, &from_outside(flags, 2, blind), s.c);
            let states = drive::halves(&s.tables).into_iter().map(|half| half.state);
            assert_eq!(states.collect::<Vec<_>>(), [state::SYN_RECEIVED; 2], "{blind:x}");
            assert_eq!(s.inbound_of(s.blue), 2);
        }
    }
    s.passes(s.uplink, &from_outside(tcp::ACK, 2, 0x7000_0001), s.c);
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (2, 0));
    let states = drive::halves(&s.tables).into_iter().map(|half| half.state);
    assert_eq!(states.collect::<Vec<_>>(), [state::ESTABLISHED; 2]);
}

#[test]
fn what_begins_in_the_middle_and_ends_unanswered_is_nothing_agreed_to() {
    let s = Site::new();
    let from_outside =
        |flags| s.routed(s.uplink).ip("8.8.8.8", "10.2.0.10").tcp(1000, 80, flags, 1, 1);
    s.passes(s.uplink, &from_outside(tcp::ACK), s.c);
    s.passes(s.uplink, &from_outside(tcp::FIN | tcp::ACK), s.c);
    assert_eq!(s.inbound_of(s.blue), 2);
    let states = drive::halves(&s.tables).into_iter().map(|half| half.state);
    assert_eq!(states.collect::<Vec<_>>(), [state::PICKED_UP; 2]);
}

#[test]
fn a_strangers_flow_that_takes_its_own_place_again_is_paid_once() {
    let s = Site::new();
    for _ in 0..3 {
        s.passes(s.uplink, &asked_from_outside(&s, 1), s.c);
        assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (2, 2));
        s.tables.pass(Duration::from_secs(33));
    }
    s.passes(s.uplink, &asked_from_outside(&s, 1), s.c);
    s.passes(s.c, &answered_to_outside(&s, 1), s.uplink);
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (2, 2));
    s.tables.pass(Duration::from_secs(130));
    s.passes(s.uplink, &asked_from_outside(&s, 1), s.c);
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (2, 2));
}

#[test]
fn strangers_leave_a_quarter_of_each_bucket_to_those_inside() {
    let mut s = Site::new();
    s.tables = HostTables::new(s.world.image.clone(), BUCKET_LINES);
    for port in 1..=2 {
        s.passes(s.uplink, &asked_from_outside(&s, port), s.c);
    }
    s.stops(s.uplink, &asked_from_outside(&s, 3), Stop::FlowTableFull);
    // A half that was made is paid until it is swept.
    assert_eq!((s.halves_of(s.blue), s.inbound_of(s.blue)), (5, 5));
    s.passes(s.a, &ask(&s, 1), s.b);
    s.stops(s.a, &ask(&s, 2), Stop::FlowTableFull);
}

/// Fills what is left of blue's share.
fn fill_share(s: &Site) {
    for port in (3000..).take((FLOWS_MAX as usize - s.halves_of(s.blue) as usize) / 2) {
        s.passes(s.a, &ask(s, port), s.b);
    }
    s.stops(s.a, &ask(s, 2999), Stop::FlowQuota);
}

/// What a goes out by is the other uplink now.
fn lead_elsewhere(s: &mut Site) {
    let (router, hop) = (s.router, s.far.hop);
    s.change(|w| {
        w.image.next_hops[hop as usize].state = next_hop::state::READY;
        w.withdraw(router, "0.0.0.0/0");
        w.route(router, "0.0.0.0/0", via(&[hop]));
    });
}

#[test]
fn a_full_share_keeps_no_flow_from_going_on() {
    let mut s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    fill_share(&s);
    lead_elsewhere(&mut s);
    for _ in 0..2 {
        s.passes(s.a, &question_out(&s), s.far);
        s.passes(s.far, &s.routed(s.far).ip("8.8.8.8", "10.1.0.10").udp(53, 1000), s.a);
    }
    // What was given up is paid for until it is swept.
    assert_eq!(s.halves_of(s.blue), FLOWS_MAX as i32 + 1);
    s.stops(s.a, &ask(&s, 2000), Stop::FlowQuota);
}

#[test]
fn a_full_share_keeps_no_flow_from_beginning_anew() {
    let s = Site::new();
    let segment = |flags| s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").tcp(1, 80, flags, 1, 0);
    s.passes(s.a, &segment(tcp::SYN), s.b);
    s.passes(s.a, &segment(tcp::RST), s.b);
    fill_share(&s);
    s.passes(s.a, &segment(tcp::SYN), s.b);
    let states: Vec<_> = drive::halves(&s.tables).iter().map(|half| half.state).collect();
    assert!(states.contains(&state::SYN_SENT), "{states:?}");
    assert_eq!(s.halves_of(s.blue), FLOWS_MAX as i32);
}

#[test]
fn a_full_table_keeps_no_flow_from_going_on() {
    let mut s = Site::new();
    s.tables = HostTables::new(s.world.image.clone(), BUCKET_LINES);
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    let taken = |s: &Site, life| {
        let lines = lines_of(0).filter_map(|index| s.tables.flow(index));
        let lines = lines.filter(|line| line.status.load() & status::LIFE != status::LIVE);
        lines.for_each(|line| line.status.store(life));
    };
    taken(&s, status::DEAD);
    lead_elsewhere(&mut s);
    let answer = s.routed(s.far).ip("8.8.8.8", "10.1.0.10").udp(53, 1000);
    for _ in 0..2 {
        s.passes(s.a, &question_out(&s), s.far);
        s.stops(s.far, &answer, Stop::IngressDenied);
    }
    assert_eq!(s.halves_of(s.blue), 2);
    // Its next packet looks again.
    taken(&s, status::EMPTY);
    s.passes(s.a, &question_out(&s), s.far);
    s.passes(s.far, &answer, s.a);
}

#[test]
fn a_full_table_evicts_nobody() {
    let mut s = Site::new();
    s.tables = HostTables::new(s.world.image.clone(), BUCKET_LINES);
    for port in 1..=3 {
        s.passes(s.a, &ask(&s, port), s.b);
    }
    s.stops(s.a, &ask(&s, 4), Stop::FlowTableFull);
    s.stops(s.a, &ask(&s, 5), Stop::FlowTableFull);
    // The last line is for what there is; a half that was made is paid until it is swept.
    assert_eq!(s.halves_of(s.blue), 7, "what was not opened is not paid");
    for port in 1..=3 {
        s.passes(s.a, &ask(&s, port), s.b);
    }
}

#[test]
fn a_table_with_room_for_one_half_opens_nothing() {
    let mut s = Site::new();
    s.tables = HostTables::new(s.world.image.clone(), BUCKET_LINES);
    s.passes(s.a, &ask(&s, 1), s.b);
    // All but one of the lines that are left, and the one that nobody begins in, are somebody
    // else's.
    let lines = lines_of(0).filter_map(|index| s.tables.flow(index));
    let free = lines.filter(|line| line.status.load() == status::EMPTY);
    free.skip(2).for_each(|line| line.status.store(status::DEAD));
    s.stops(s.a, &ask(&s, 2), Stop::FlowTableFull);
    assert_eq!(drive::halves(&s.tables).len(), 2);
    // The half that was made is paid until the sweeper frees it.
    assert_eq!(s.halves_of(s.blue), 3);
}

#[test]
fn a_flow_does_not_live_by_the_flow_that_took_its_partners_line() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let line = |is_reply: bool| {
        let lines =
            (0..s.tables.flow_lines()).filter_map(|index| Some((index, s.tables.flow(index)?)));
        let mut live = lines.filter(|(_, line)| line.status.load() & 0x300 == 0x200);
        live.find(|(_, line)| (line.status.load() & 0x400 != 0) == is_reply).expect("a half")
    };
    // The sweeper frees the answering half and another flow takes its line.
    let (index, taken) = line(true);
    taken.key[4].store(0);
    s.tables.flow_more(index).expect("the rest of it").partner.store(999);
    s.tables.pass(Duration::from_secs(60));
    taken.seen_ticks.store(s.tables.now_ticks());
    let outcome = s.send(s.a, &question(&s));
    assert_eq!(outcome.programs, 2, "it was judged as a new flow");
}

#[test]
fn of_a_key_that_two_cpus_placed_one_line_is_taken() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let mut lines = (0..s.tables.flow_lines()).filter_map(|index| s.tables.flow(index));
    let line = lines.find(|line| line.status.load() & 0x700 == 0x200).expect("the asking half");
    let words = line.key().words();
    let homes = homes(&words, s.tables.secret(), s.tables.flow_lines());
    // Another CPU has just placed it in its other bucket.
    let twin = s.tables.flow(homes[1]).expect("a line");
    assert!(!std::ptr::eq(line, twin) && twin.status.load() == 0);
    twin.set_key(&words);
    twin.status.store(line.status.load());
    s.tables.flows_away(bucket_of(homes[0])).expect("a count").store(1);
    s.tables.pass(Duration::from_secs(60));
    s.passes(s.a, &question(&s), s.b);
}

#[test]
fn a_key_whose_first_bucket_is_nearly_full_lies_in_the_second_and_is_found_there() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let bucket = |line: u32| -> (u32, u32) {
        let words = s.tables.flow(line).expect("a line").key().words();
        let [first, second] = homes(&words, s.tables.secret(), s.tables.flow_lines());
        (bucket_of(first), bucket_of(second))
    };
    let live =
        |line: &u32| s.tables.flow(*line).is_some_and(|of| of.status.load() & 0x300 == 0x200);
    let halves: Vec<_> = (0..s.tables.flow_lines()).filter(live).collect();
    let places: Vec<_> = halves.iter().map(|&line| bucket(line)).collect();
    drive::forget(&s.tables);
    // Others take all but three lines of each first bucket.
    for (first, _) in &places {
        for line in lines_of(first * BUCKET_LINES).skip(3) {
            s.tables.flow(line).expect("a line").status.store(status::DEAD);
        }
    }
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    let moved: Vec<_> = (0..s.tables.flow_lines()).filter(live).collect();
    assert_eq!(moved.len(), 2);
    for line in moved {
        let (first, second) = bucket(line);
        assert_eq!(bucket_of(line), second);
        assert_eq!(s.tables.flows_away(first).map(Word64::load), Some(1));
    }
    assert_eq!(s.send(s.a, &question(&s)).programs, 1, "it is known");
    // Were it not said that one is away, it would be a new one.
    for (first, _) in places {
        s.tables.flows_away(first).expect("a count").store(0);
    }
    assert_eq!(s.send(s.a, &question(&s)).programs, 2);
}

#[test]
fn a_packet_that_another_cpu_saw_later_does_not_expire_the_flow() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    s.passes(s.b, &answer(&s), s.a);
    for index in 0..s.tables.flow_lines() {
        let line = s.tables.flow(index).expect("a line");
        line.seen_ticks.store(s.tables.now_ticks() + 1);
    }
    assert_eq!(s.send(s.b, &answer(&s)).programs, 1);
}

#[test]
fn errors_go_out_at_a_rate_for_each_tenant() {
    let s = Site::new();
    let gone = s.routed(s.a).ip("10.1.0.10", "10.2.0.77").udp(1, 2);
    let red = s.routed(s.red_a).ip("10.1.0.10", "8.8.8.8").udp(1, 2);
    let told = |from, frame| matches!(s.send(from, frame).end, drive::End::Left { .. });
    assert_eq!((0..200).filter(|_| told(s.a, &gone)).count(), 50);
    assert!(told(s.red_a, &red), "another tenant's rate is its own");
    s.tables.pass(Duration::from_millis(100));
    assert_eq!((0..200).filter(|_| told(s.a, &gone)).count(), 10);
}
