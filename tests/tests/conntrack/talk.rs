//! Which segments do two ends of a connection exchange, when mostly all goes well?

use sekisho_tests::{
    build::tcp::{ACK, FIN, SYN},
    chance::Chance,
};

use super::{
    ends::{End, Maker, Phase},
    segment::{PUSH, Side, Talk},
    sound, trouble,
};

/// Segments of a talk at most.
const SEGMENTS_MAX: usize = 20;

/// A random talk. If it is sound, nobody sends what it should not, and nothing overtakes.
pub fn make(chance: &mut Chance, is_v6: bool, is_sound: bool) -> Talk {
    let ends = [End::default(); 2];
    let phase = Phase::Begin;
    let mut maker = Maker { chance, ends, phase, past: vec![], shown: vec![], is_sound };
    maker.renew();
    if maker.chance.once_in(6) {
        // It began before the judges came.
        maker.phase = Phase::Open;
        if is_sound {
            maker.say(Side::Opener, ACK, 0);
        }
    }
    let count = 6 + maker.chance.below(SEGMENTS_MAX - 5);
    while maker.shown.len() < count {
        if maker.chance.once_in(4) {
            let make = if is_sound { sound::make } else { trouble::make };
            make(&mut maker);
        } else {
            sensible(&mut maker);
        }
    }
    maker.shown.truncate(count);
    Talk { is_v6, segments: maker.shown }
}

fn sensible(m: &mut Maker<'_>) {
    match m.phase {
        Phase::Begin => {
            if m.try_to_say(Side::Opener, SYN, 0) {
                m.phase = Phase::SynSent;
            }
        }
        Phase::SynSent => {
            if m.try_to_say(Side::Responder, SYN | ACK, 0) {
                m.phase = Phase::SynReceived;
            }
        }
        Phase::SynReceived => {
            m.try_to_say(Side::Opener, ACK, 0);
            m.phase = Phase::Open;
        }
        Phase::Open => exchange(m),
        Phase::Ended => {
            m.renew();
            m.phase = Phase::Begin;
        }
    }
}

fn exchange(m: &mut Maker<'_>) {
    let side = m.any_side();
    if m.end(side).has_closed {
        let is_over = m.end(side.other()).has_closed;
        m.try_to_say(side, ACK, 0);
        if is_over {
            m.phase = Phase::Ended;
        }
        return;
    }
    match m.chance.below(6) {
        0 => {
            let bytes = *m.chance.of(&[0, 0, 100]);
            let bytes = m.fitting(side, bytes);
            m.try_to_say(side, FIN | ACK, bytes);
            m.end(side).has_closed = true;
        }
        1 | 2 => {
            m.try_to_say(side, ACK, 0);
        }
        _ => {
            let flags = *m.chance.of(&[ACK, ACK | PUSH]);
            let bytes = 1 + m.chance.below(1400) as u16;
            let bytes = m.fitting(side, bytes);
            m.try_to_say(side, flags, bytes);
        }
    }
}
