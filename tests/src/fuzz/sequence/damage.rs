//! Packets that are nearly those of a flow.

use super::flow::Flow;
use crate::{chance::Chance, check, trial::Trial, world::Sent};

/// Behind this, nothing is read of most packets.
const REACH: usize = 110;

/// A packet of the flow with some bytes changed. Its ports stay, so that it is of no other
/// flow.
pub fn damaged(trial: &Trial, flow: &Flow, chance: &mut Chance) -> Sent {
    let mut sent = match chance.below(5) {
        0 | 1 => flow.sent.clone(),
        2 | 3 => flow.answer.clone(),
        _ => flow.error(trial),
    };
    let frame = &mut sent.frame;
    let ports = ports(frame);
    for _ in 0..=chance.below(3) {
        let at = chance.below(frame.len().min(REACH));
        let byte = chance.below(256) as u8;
        if !ports.contains(&at) {
            frame[at] = byte;
        }
    }
    match chance.below(8) {
        0 => frame.truncate(chance.below(frame.len())),
        1 => {}
        _ => check::mend(frame),
    }
    sent
}

/// Where ports or identifiers are in a frame that we made.
fn ports(frame: &[u8]) -> std::ops::Range<usize> {
    let l3 = check::l3(frame);
    let l4 = l3 + if frame[l3] >> 4 == 4 { 20 } else { 40 };
    l4..l4 + 8
}
