//! What becomes of a flow: its packets, its errors, and what a change does to it?

mod changes;
mod errors;
mod fragments;
mod limits;
mod owners;
mod stateless;
mod tcp;
mod udp;

use sekisho_tests::{build::Frame, world::Site};

/// A question of a to b's UDP port 53.
fn question(s: &Site) -> Frame {
    s.switched(s.a, s.b).ip("10.1.0.10", "10.1.0.20").udp(1000, 53)
}

/// Its answer.
fn answer(s: &Site) -> Frame {
    s.switched(s.b, s.a).ip("10.1.0.20", "10.1.0.10").udp(53, 1000)
}

/// A question of a to somebody outside.
fn question_out(s: &Site) -> Frame {
    s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1000, 53)
}

/// Its answer.
fn answer_in(s: &Site) -> Frame {
    s.routed(s.uplink).ip("8.8.8.8", "10.1.0.10").udp(53, 1000)
}
