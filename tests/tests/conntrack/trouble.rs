//! What goes wrong between two ends, or is done to them on purpose?

use sekisho_tests::build::tcp::{ACK, FIN, RST, SYN};

use super::{
    ends::Maker,
    segment::{PUSH, Segment, Side, URGENT},
    sound::{begun_anew, both_open, challenged, reset_and_over},
};

/// Every kind of trouble.
const KINDS: [fn(&mut Maker<'_>); 14] = [
    sent_again,
    sent_again,
    another_syn,
    old_syn_ack,
    both_open,
    reset,
    reset,
    reset_and_over,
    fin,
    begun_anew,
    challenged,
    odd_flags,
    window_edge,
    odd_ack,
];

/// One of them happens.
pub fn make(m: &mut Maker<'_>) {
    let kind = *m.chance.of(&KINDS);
    kind(m);
}

fn sent_again(m: &mut Maker<'_>) {
    if !m.past.is_empty() {
        let again = *m.chance.of(&m.past);
        m.show(again);
    }
}

/// A SYN, of the same number or another, in whatever state.
fn another_syn(m: &mut Maker<'_>) {
    let from = *m.chance.of(&[Side::Opener, Side::Opener, Side::Responder]);
    let syn = m.segment(from, SYN, 0);
    let distance = *m.chance.of(&[0, 1, 100_000, 1 << 30, u32::MAX, 3 << 30]);
    m.show(Segment { seq: syn.seq.wrapping_add(distance), ..syn });
}

/// A SYN-ACK of another connection, or from the wrong side.
fn old_syn_ack(m: &mut Maker<'_>) {
    let from = *m.chance.of(&[Side::Responder, Side::Responder, Side::Opener]);
    let answer = m.segment(from, SYN | ACK, 0);
    let (seq, ack) = (m.chance.any() as u32, m.chance.any() as u32);
    let old = [answer, Segment { seq, ..answer }, Segment { ack, ..answer }];
    let old = *m.chance.of(&old);
    m.show(old);
}

/// A reset at, near, or far from the number that is expected.
fn reset(m: &mut Maker<'_>) {
    let from = m.any_side();
    let flags = *m.chance.of(&[RST, RST | ACK, RST | ACK]);
    let reset = m.segment(from, flags, 0);
    let expected = m.end(from.other()).heard;
    let distance = *m.chance.of(&[
        0,
        0,
        1,
        300,
        20_000,
        60_000,
        1 << 20,
        1 << 30,
        3 << 30,
        u32::MAX,
        0xffff_fc00,
        0xfffe_0000,
    ]);
    let (seq, ack) = if m.chance.once_in(8) {
        (0, reset.ack)
    } else {
        (expected.wrapping_add(distance), *m.chance.of(&[reset.ack, reset.ack, 0]))
    };
    m.show(Segment { seq, ack, ..reset });
}

fn fin(m: &mut Maker<'_>) {
    let from = m.any_side();
    let flags = *m.chance.of(&[FIN | ACK, FIN | ACK | PUSH, FIN | ACK | URGENT]);
    m.say(from, flags, 0);
}

fn odd_flags(m: &mut Maker<'_>) {
    let from = m.any_side();
    let flags = *m.chance.of(&[
        0,
        PUSH,
        URGENT,
        FIN,
        SYN | FIN,
        SYN | RST,
        SYN | FIN | ACK,
        FIN | RST,
        RST | FIN | ACK,
        SYN | PUSH,
        SYN | URGENT,
        SYN | ACK | URGENT,
        RST | URGENT,
        RST | ACK | PUSH,
        ACK | URGENT | PUSH,
        0xff,
    ]);
    let odd = m.segment(from, flags, 0);
    m.show(odd);
}

/// Data before, at and behind the edges of what the other side takes.
fn window_edge(m: &mut Maker<'_>) {
    let from = m.any_side();
    let data = m.segment(from, ACK, 10);
    let edge = u32::from(m.end(from.other()).window);
    let at =
        [edge - edge.min(10), edge, edge + 1, edge + 100_000, 1 << 31, 0_u32.wrapping_sub(70_000)];
    let distance = *m.chance.of(&at);
    m.show(Segment { seq: data.seq.wrapping_add(distance), ..data });
}

/// An acknowledgement of what was never sent, or of what is long past.
fn odd_ack(m: &mut Maker<'_>) {
    let from = m.any_side();
    let ack = m.segment(from, ACK, 0);
    let distance = *m.chance.of(&[1, 5000, 100_000, 1 << 31, u32::MAX, 0xfffe_0000]);
    m.show(Segment { ack: ack.ack.wrapping_add(distance), ..ack });
}
