//! What do sound ends say besides what is most usual?

use sekisho_tests::build::tcp::{ACK, FIN, RST, SYN};

use super::{
    ends::{Maker, Phase},
    segment::{Segment, Side},
};

/// Every kind.
const KINDS: [fn(&mut Maker<'_>); 6] =
    [last_again, both_open_first, give_up, begun_anew, challenged_once, fin_once];

/// One of them happens, if this is its time.
pub fn make(m: &mut Maker<'_>) {
    let kind = *m.chance.of(&KINDS);
    kind(m);
}

fn last_again(m: &mut Maker<'_>) {
    if let Some(last) = m.past.last().copied() {
        m.show(last);
    }
}

fn both_open_first(m: &mut Maker<'_>) {
    if m.past.is_empty() {
        both_open(m);
    }
}

fn give_up(m: &mut Maker<'_>) {
    if m.phase == Phase::Open {
        reset_and_over(m);
    }
}

fn challenged_once(m: &mut Maker<'_>) {
    if m.phase == Phase::Open {
        challenged(m);
    }
}

fn fin_once(m: &mut Maker<'_>) {
    let from = m.any_side();
    if m.phase == Phase::Open && !m.end(from).has_closed {
        m.say(from, FIN | ACK, 0);
        m.end(from).has_closed = true;
    }
}

pub fn both_open(m: &mut Maker<'_>) {
    m.renew();
    let (one, two) = (m.segment(Side::Opener, SYN, 0), m.segment(Side::Responder, SYN, 0));
    m.show(one);
    m.show(two);
    m.end(Side::Opener).heard = two.end();
    m.end(Side::Responder).heard = one.end();
    for side in [Side::Opener, Side::Responder] {
        let answer = m.segment(side, SYN | ACK, 0);
        m.show(answer);
        m.hear(&answer);
    }
    m.phase = Phase::Open;
}

/// The reset that an end sends when its program gives up.
pub fn reset_and_over(m: &mut Maker<'_>) {
    let from = m.any_side();
    m.say(from, RST | ACK, 0);
    m.phase = Phase::Ended;
}

/// The opener has forgotten the connection and opens it again; the responder agrees.
pub fn begun_anew(m: &mut Maker<'_>) {
    m.renew();
    m.say(Side::Opener, SYN, 0);
    m.say(Side::Responder, SYN | ACK, 0);
    m.say(Side::Opener, ACK, 0);
    m.phase = Phase::Open;
}

/// The same, but the responder still holds the old connection: RFC 5961 section 4.
pub fn challenged(m: &mut Maker<'_>) {
    let challenge = m.segment(Side::Responder, ACK, 0);
    m.renew();
    let syn = m.segment(Side::Opener, SYN, 0);
    m.show(syn);
    m.show(challenge);
    m.show(Segment { flags: RST, seq: challenge.ack, scale: None, ..syn });
    m.phase = Phase::Begin;
}
