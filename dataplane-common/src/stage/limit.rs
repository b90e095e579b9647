//! May so much pass now, by the limits of the port that sends it, of the router that forwards it
//! and of the port that gets it?
//!
//! Which meters these are, the stages before have found in records that they read anyway.

use super::emit;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::meter::{Load, Meter};
use crate::tables::{Note, Tables, note};
use crate::work::{Meters, Work};

/// A packet passes whole or not at all, and one that does not uses nothing up.
#[inline(always)]
pub fn limit<P: Packet, T: Tables>(p: &P, t: &T, w: &Work) -> Result<(), Stop> {
    let Meters { sender, router, receiver } = w.meters;
    if sender | router | receiver == 0 {
        return Ok(());
    }
    let load = Load { packets: p.segments(), bytes: emit::wire_bytes(p, w) };
    within(t, w.meters, load)
}

/// A frame for many is its sender's, once; its copies are limited otherwise.
#[inline(always)]
pub fn limit_sender<P: Packet, T: Tables>(p: &P, t: &T, w: &Work) -> Result<(), Stop> {
    if w.meters.sender == 0 {
        return Ok(());
    }
    let load = Load { packets: p.segments(), bytes: emit::wire_bytes(p, w) };
    within(t, Meters { sender: w.meters.sender, ..Meters::default() }, load)
}

#[inline(always)]
fn within<T: Tables>(t: &T, meters: Meters, load: Load) -> Result<(), Stop> {
    if t.over_limit(meters, load) == 0 { Ok(()) } else { Err(Stop::OverLimit) }
}

/// Asks all of these meters, and then charges all; answers the first that has no room, or 0.
#[inline(always)]
pub fn over<T: Tables>(t: &T, meters: Meters, load: Load) -> u32 {
    let Meters { sender, router, receiver } = meters;
    let mut exact = 0;
    for number in [sender, router, receiver] {
        if number != 0 && !has_room(t, number, &mut exact, load) {
            return number;
        }
    }
    if t.is_tracing() {
        return 0;
    }
    for number in [sender, router, receiver] {
        if number != 0
            && let Some(meter) = t.meter(number)
        {
            meter.charge(t, now(t, meter, &mut exact), load);
        }
    }
    0
}

#[inline(always)]
fn has_room<T: Tables>(t: &T, number: u32, exact: &mut u64, load: Load) -> bool {
    let Some(meter) = t.meter(number) else { return false };
    let now = now(t, meter, exact);
    let has_room = cfg!(feature = "control-unlimited") || meter.has_room(now, load);
    t.note(Note { what: note::LIMIT, id: number, detail: has_room.into(), zero: 0 });
    has_room
}

/// The kernel's ticks cost nothing; the exact clock is a call, and read once for a packet.
#[inline(always)]
fn now<T: Tables>(t: &T, meter: &Meter, exact: &mut u64) -> u64 {
    if !meter.is_exact() {
        return t.now_steps(false);
    }
    if *exact == 0 {
        *exact = t.now_steps(true);
    }
    *exact
}
