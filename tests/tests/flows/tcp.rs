//! TCP: open, close, open again, reset.

use std::time::Duration;

use dataplane_common::{Stop, stage::conntrack::state};
use sekisho_tests::{
    build::{
        Frame,
        tcp::{ACK, FIN, RST, SYN},
    },
    drive,
    world::Site,
};

fn out(s: &Site, flags: u8, seq: u32, ack: u32) -> Frame {
    s.routed(s.a).ip("10.1.0.10", "10.2.0.10").tcp(1000, 80, flags, seq, ack)
}

fn back(s: &Site, flags: u8, seq: u32, ack: u32) -> Frame {
    s.routed(s.c).ip("10.2.0.10", "10.1.0.10").tcp(80, 1000, flags, seq, ack)
}

fn open(s: &Site) {
    s.passes(s.a, &out(s, SYN, 100, 0), s.c);
    s.passes(s.c, &back(s, SYN | ACK, 500, 101), s.a);
    s.passes(s.a, &out(s, ACK, 101, 501), s.c);
}

fn close(s: &Site) {
    s.passes(s.a, &out(s, FIN | ACK, 101, 501), s.c);
    s.passes(s.c, &back(s, FIN | ACK, 501, 102), s.a);
    s.passes(s.a, &out(s, ACK, 102, 502), s.c);
}

fn states(s: &Site) -> Vec<u32> {
    drive::halves(&s.tables).iter().map(|half| half.state).collect()
}

#[test]
fn both_halves_know_the_state() {
    let s = Site::new();
    s.passes(s.a, &out(&s, SYN, 100, 0), s.c);
    assert_eq!(states(&s), [state::SYN_SENT; 2]);
    s.passes(s.c, &back(&s, SYN | ACK, 500, 101), s.a);
    assert_eq!(states(&s), [state::SYN_RECEIVED; 2]);
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
    s.passes(s.a, &out(&s, FIN | ACK, 101, 501), s.c);
    assert_eq!(states(&s), [state::FIN_WAIT; 2]);
    s.passes(s.c, &back(&s, ACK, 501, 102), s.a);
    assert_eq!(states(&s), [state::CLOSE_WAIT; 2]);
    s.passes(s.c, &back(&s, FIN | ACK, 501, 102), s.a);
    assert_eq!(states(&s), [state::LAST_ACK; 2]);
    s.passes(s.a, &out(&s, ACK, 102, 502), s.c);
    assert_eq!(states(&s), [state::TIME_WAIT; 2]);
    assert_eq!(s.halves_of(s.blue), 2);
}

#[test]
fn established_packets_take_one_program() {
    let s = Site::new();
    open(&s);
    for (from, frame) in [(s.a, out(&s, ACK, 101, 501)), (s.c, back(&s, ACK, 501, 101))] {
        assert_eq!(s.send(from, &frame).programs, 1);
    }
}

#[test]
fn a_closed_connection_opens_again() {
    let s = Site::new();
    open(&s);
    close(&s);
    s.passes(s.a, &out(&s, SYN, 9000, 0), s.c);
    assert_eq!(states(&s), [state::SYN_SENT; 2]);
    s.passes(s.c, &back(&s, SYN | ACK, 7000, 9001), s.a);
    assert_eq!(s.halves_of(s.blue), 2, "the old flow's place was taken");
}

#[test]
fn opening_again_asks_the_rules() {
    let mut s = Site::new();
    open(&s);
    close(&s);
    let (server, blue) = (s.server, s.blue);
    s.change(|w| w.touch_policy(server, blue).ingress_count = 0);
    s.stops(s.a, &out(&s, SYN, 9000, 0), Stop::IngressDenied);
}

#[test]
fn the_responder_opens_again_only_if_its_own_direction_is_permitted() {
    let s = Site::new();
    open(&s);
    close(&s);
    s.stops(s.c, &back(&s, SYN, 9000, 0), Stop::IngressDenied);
}

#[test]
fn a_second_syn_in_between_changes_nothing() {
    let s = Site::new();
    open(&s);
    s.passes(s.a, &out(&s, SYN, 9000, 0), s.c);
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
    s.passes(s.c, &back(&s, ACK, 501, 101), s.a);
}

#[test]
fn a_stray_syn_teaches_nothing_about_the_window() {
    let s = Site::new();
    open(&s);
    s.passes(s.a, &out(&s, SYN, 9_000_000, 0), s.c);
    s.stops(s.a, &out(&s, RST, 9_000_001, 0), Stop::ResetOutsideWindow);
    s.passes(s.a, &out(&s, RST, 101, 0), s.c);
}

#[test]
fn a_stray_syn_keeps_nothing_alive() {
    let s = Site::new();
    open(&s);
    s.tables.pass(Duration::from_secs(431_000));
    s.passes(s.a, &out(&s, SYN, 9000, 0), s.c);
    s.tables.pass(Duration::from_secs(30_000));
    s.stops(s.c, &back(&s, ACK, 501, 101), Stop::IngressDenied);
}

#[test]
fn a_fin_outside_the_window_ends_nothing() {
    let s = Site::new();
    open(&s);
    for seq in [101 + 200_000, 101_u32.wrapping_sub(200_000)] {
        s.passes(s.a, &out(&s, FIN | ACK, seq, 501), s.c);
        s.passes(s.c, &back(&s, FIN | ACK, seq, 101), s.a);
    }
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
    close(&s);
    assert_eq!(states(&s), [state::TIME_WAIT; 2]);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_opens_no_window() {
    let s = Site::new();
    open(&s);
    s.passes(s.a, &out(&s, ACK, 101, 501 + 500_000_000), s.c);
    s.stops(s.c, &back(&s, RST, 501 + 400_000_000, 0), Stop::ResetOutsideWindow);
    s.passes(s.c, &back(&s, RST, 501, 0), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn contradicting_flags_fit_no_state() {
    let s = Site::new();
    for flags in [SYN | FIN, SYN | FIN | ACK, SYN | RST, FIN, FIN | RST, SYN | RST | ACK, 0] {
        s.stops(s.a, &out(&s, flags, 100, 0), Stop::ConnectionState);
    }
    open(&s);
    for flags in [SYN | FIN, SYN | FIN | ACK, SYN | RST, FIN, FIN | RST, SYN | RST | ACK, 0] {
        s.stops(s.a, &out(&s, flags, 101, 501), Stop::ConnectionState);
        s.stops(s.c, &back(&s, flags, 501, 101), Stop::ConnectionState);
    }
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
}

#[test]
fn what_does_not_fit_the_state_is_stopped() {
    let s = Site::new();
    s.passes(s.a, &out(&s, SYN, 100, 0), s.c);
    s.stops(s.a, &out(&s, ACK, 101, 501), Stop::ConnectionState);
    s.stops(s.c, &back(&s, FIN | ACK, 500, 101), Stop::ConnectionState);
    s.stops(s.c, &back(&s, 0, 500, 101), Stop::ConnectionState);
    assert_eq!(states(&s), [state::SYN_SENT; 2]);
}

#[test]
fn a_reset_closes_if_it_is_in_the_window() {
    let s = Site::new();
    open(&s);
    s.stops(s.c, &back(&s, RST, 501 + 70_000, 0), Stop::ResetOutsideWindow);
    s.stops(s.c, &back(&s, RST, 501_u32.wrapping_sub(70_000), 0), Stop::ResetOutsideWindow);
    s.stops(s.a, &out(&s, RST, 101 + 70_000, 0), Stop::ResetOutsideWindow);
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
    s.passes(s.c, &back(&s, RST, 501, 0), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn a_reset_that_is_not_the_next_number_closes_nothing() {
    let s = Site::new();
    open(&s);
    s.passes(s.c, &back(&s, RST, 501 + 5, 0), s.a);
    s.passes(s.c, &back(&s, RST, 501 - 5, 0), s.a);
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
    s.passes(s.c, &back(&s, ACK, 501, 101).payload(&[0; 100]), s.a);
    // What was acknowledged, though more is on its way.
    s.passes(s.c, &back(&s, RST, 501, 0), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn a_reset_behind_all_that_was_sent_closes() {
    let s = Site::new();
    open(&s);
    s.passes(s.c, &back(&s, ACK, 501, 101).payload(&[0; 100]), s.a);
    s.passes(s.c, &back(&s, RST | ACK, 601, 101), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn an_old_syn_ack_is_reset_by_its_receiver() {
    let s = Site::new();
    s.passes(s.a, &out(&s, SYN, 1_000_000, 0), s.c);
    // The responder holds what is left of a connection before; RFC 9293 section 3.5.1.
    s.passes(s.c, &back(&s, SYN | ACK, 500, 101), s.a);
    s.passes(s.a, &out(&s, RST, 101, 0), s.c);
    assert_eq!(states(&s), [state::CLOSED; 2]);
    s.passes(s.a, &out(&s, SYN, 1_000_000, 0), s.c);
    s.passes(s.c, &back(&s, SYN | ACK, 7000, 1_000_001), s.a);
}

#[test]
fn a_connection_that_the_opener_forgot_begins_anew_if_the_responder_agrees() {
    let s = Site::new();
    open(&s);
    s.passes(s.a, &out(&s, FIN | ACK, 101, 501), s.c);
    s.passes(s.a, &out(&s, SYN, 9_000_000, 0), s.c);
    s.passes(s.c, &back(&s, SYN | ACK, 7_000_000, 9_000_000), s.a);
    assert_eq!(states(&s), [state::FIN_WAIT; 2], "that answers another SYN");
    s.passes(s.c, &back(&s, SYN | ACK, 7_000_000, 9_000_001), s.a);
    assert_eq!(states(&s), [state::SYN_RECEIVED; 2]);
    s.passes(s.a, &out(&s, ACK, 9_000_001, 7_000_001), s.c);
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
    s.stops(s.a, &out(&s, RST, 101, 0), Stop::ResetOutsideWindow);
    s.passes(s.a, &out(&s, RST, 9_000_001, 0), s.c);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn only_the_responder_answers_a_syn() {
    let s = Site::new();
    open(&s);
    s.stops(s.a, &out(&s, SYN | ACK, 101, 501), Stop::ConnectionState);
}

#[test]
fn a_refused_connection_is_closed() {
    let s = Site::new();
    s.passes(s.a, &out(&s, SYN, 100, 0), s.c);
    s.passes(s.c, &back(&s, RST | ACK, 0, 101), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn windows_go_round_the_end_of_the_numbers() {
    let s = Site::new();
    s.passes(s.a, &out(&s, SYN, u32::MAX, 0), s.c);
    s.passes(s.c, &back(&s, SYN | ACK, u32::MAX - 1, 0), s.a);
    s.passes(s.a, &out(&s, ACK, 0, u32::MAX), s.c);
    s.passes(s.c, &back(&s, RST, 5, 0), s.a);
}

#[test]
fn scaled_windows_let_far_resets_pass() {
    let s = Site::new();
    let scaled = |frame: Frame| frame.tcp_options(&[1, 3, 3, 7]);
    s.passes(s.a, &scaled(out(&s, SYN, 100, 0)), s.c);
    s.passes(s.c, &scaled(back(&s, SYN | ACK, 500, 101)), s.a);
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.passes(s.c, &back(&s, RST, 501 + 1_000_000, 0), s.a);
}

#[test]
fn a_syn_sent_again_keeps_its_scale() {
    let s = Site::new();
    let scaled = |frame: Frame| frame.tcp_options(&[1, 3, 3, 7]);
    s.passes(s.a, &scaled(out(&s, SYN, 100, 0)), s.c);
    s.passes(s.a, &scaled(out(&s, SYN, 100, 0)), s.c);
    s.passes(s.c, &scaled(back(&s, SYN | ACK, 500, 101)), s.a);
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.passes(s.c, &back(&s, RST, 501 + 1_000_000, 0), s.a);
}

#[test]
fn windows_of_a_connection_that_was_picked_up_may_be_scaled() {
    let s = Site::new();
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.passes(s.c, &back(&s, ACK, 501, 101).payload(&[0; 1000]), s.a);
    s.passes(s.c, &back(&s, RST, 501 + 1_000_000, 0), s.a);
}

#[test]
fn a_fin_may_follow_what_fills_the_window() {
    let s = Site::new();
    open(&s);
    s.passes(s.a, &out(&s, ACK, 101, 501).window(0), s.c);
    s.passes(s.c, &back(&s, FIN | ACK, 501 + 0xffff, 101), s.a);
    s.passes(s.c, &back(&s, RST, 501 + 0xffff + 1, 0), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn what_is_behind_the_window_does_not_move_it() {
    let s = Site::new();
    open(&s);
    s.passes(s.c, &back(&s, ACK, 501 + 200_000, 101).payload(&[0; 10]), s.a);
    s.passes(s.c, &back(&s, RST, 501, 0), s.a);
    assert_eq!(states(&s), [state::CLOSED; 2]);
}

#[test]
fn an_idle_connection_is_judged_as_a_new_one() {
    let s = Site::new();
    open(&s);
    s.tables.pass(Duration::from_secs(431_000));
    s.passes(s.c, &back(&s, ACK, 501, 101), s.a);
    s.tables.pass(Duration::from_secs(431_000));
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.tables.pass(Duration::from_secs(500_000));
    // The answer alone is not permitted; the opener's packet picks the connection up.
    s.stops(s.c, &back(&s, ACK, 501, 101), Stop::IngressDenied);
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.passes(s.c, &back(&s, ACK, 501, 101), s.a);
}

#[test]
fn only_the_opener_picks_up_in_the_middle() {
    let s = Site::new();
    s.stops(s.c, &back(&s, ACK, 501, 101), Stop::IngressDenied);
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    assert_eq!(states(&s), [state::PICKED_UP; 2]);
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    assert_eq!(states(&s), [state::PICKED_UP; 2]);
    s.passes(s.c, &back(&s, ACK, 501, 101), s.a);
    assert_eq!(states(&s), [state::ESTABLISHED; 2]);
}

#[test]
fn what_was_picked_up_and_never_answered_is_soon_over() {
    let s = Site::new();
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.tables.pass(Duration::from_secs(200));
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.tables.pass(Duration::from_secs(290));
    s.passes(s.c, &back(&s, ACK, 501, 101), s.a);
    // Answered, it is a connection as any other.
    s.tables.pass(Duration::from_secs(431_000));
    s.passes(s.c, &back(&s, ACK, 501, 101), s.a);

    let s = Site::new();
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.tables.pass(Duration::from_secs(320));
    s.stops(s.c, &back(&s, ACK, 501, 101), Stop::IngressDenied);
}

#[test]
fn what_was_picked_up_closes_and_begins_anew_as_what_was_established() {
    let s = Site::new();
    s.passes(s.a, &out(&s, ACK, 101, 501), s.c);
    s.stops(s.c, &back(&s, SYN, 501, 0), Stop::ConnectionState);
    s.stops(s.a, &out(&s, SYN | ACK, 101, 501), Stop::ConnectionState);
    s.passes(s.a, &out(&s, SYN, 9_000_000, 0), s.c);
    s.passes(s.c, &back(&s, SYN | ACK, 7_000_000, 9_000_001), s.a);
    assert_eq!(states(&s), [state::SYN_RECEIVED; 2]);
    for (from, frame, after) in [
        (s.a, out(&s, FIN | ACK, 101, 501), state::PICKED_UP),
        (s.a, out(&s, RST, 101, 0), state::CLOSED),
        (s.c, back(&s, FIN | ACK, 501, 101), state::FIN_WAIT),
        (s.c, back(&s, RST, 501, 0), state::CLOSED),
    ] {
        let fresh = Site::new();
        fresh.passes(fresh.a, &out(&fresh, ACK, 101, 501), fresh.c);
        let to = if from.id == fresh.a.id { fresh.c } else { fresh.a };
        fresh.passes(from, &frame, to);
        assert_eq!(states(&fresh), [after; 2]);
    }
}
