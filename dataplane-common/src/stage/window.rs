//! What do the two ends of a TCP connection permit each other, and does what ends it keep
//! to that?
//!
//! Windows are recorded, but only a reset is stopped by them (RFC 5961 section 3.2: a reset
//! outside the window is an attack). A FIN outside of them passes, and ends nothing.

use super::conntrack::state;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::flow::FlowMore;
use crate::wire::transport::{ACK, FIN, RST, SYN, SYN_ACK, TCP_BYTES};
use crate::work::{Work, flags};

/// [`FlowMore::scale`]: `end` counts.
pub const END_SEEN: u32 = 1 << 8;
/// [`FlowMore::scale`]: `permits` counts.
pub const PERMITS_SEEN: u32 = 1 << 9;
/// [`FlowMore::scale`]: `acknowledged` counts.
pub const ACKNOWLEDGED_SEEN: u32 = 1 << 10;
/// [`FlowMore::scale`]: `stray_end` counts.
pub const STRAY_SEEN: u32 = 1 << 11;
/// [`FlowMore::scale`]: a SYN of this side was seen, so that the scale counts.
pub const SYN_SEEN: u32 = 1 << 12;
/// [`FlowMore::scale`]: the window scale + 1.
const SCALE: u32 = 0xff;
/// [`FlowMore::scale`]: where the same of the stray SYN begins.
const STRAY_SCALE_OFFSET_BITS: u32 = 16;
/// The largest window scale (RFC 7323 section 2.3).
const SCALE_MAX: u8 = 14;
/// Slack of the lower edge: Linux's MAXACKWINCONST.
const WINDOW_BYTES_MIN: u32 = 66_000;

/// Does a reset from `sender` close the connection? It is an error if it lies outside what
/// `receiver` permits; where we did not see enough of the connection to know, it closes.
///
/// "If the RST bit is set and the sequence number does not exactly match the next expected
/// sequence value, yet is within the current receive window, TCP MUST send an
/// acknowledgment" (RFC 5961 section 3.2), and go on.
#[inline(always)]
pub fn closes(w: &Work, sender: &FlowMore, receiver: &FlowMore) -> Result<bool, Stop> {
    if !is_inside(w, sender, receiver) {
        return Err(Stop::ResetOutsideWindow);
    }
    let (own, other) = (sender.scale.load(), receiver.scale.load());
    if own & END_SEEN == 0 || other & PERMITS_SEEN == 0 {
        return Ok(true);
    }
    let end = sender.end.load();
    // The receiver expects what it acknowledged last, or more, if that is on its way.
    let is_acknowledged =
        other & ACKNOWLEDGED_SEEN != 0 && receiver.acknowledged.load() == w.tcp_seq;
    Ok(is_acknowledged || end == w.tcp_seq)
}

/// Does the segment begin inside what `receiver` permits `sender`? Where we did not see
/// enough of the connection to know, it does. What begins elsewhere ends nothing: its
/// receiver throws it away, and whoever forged it knows no sequence number.
#[inline(always)]
pub fn is_inside(w: &Work, sender: &FlowMore, receiver: &FlowMore) -> bool {
    let seen = sender.scale.load() & END_SEEN != 0 && receiver.scale.load() & PERMITS_SEEN != 0;
    let above = receiver.permits.load().wrapping_sub(w.tcp_seq);
    let below = w.tcp_seq.wrapping_sub(sender.end.load().wrapping_sub(WINDOW_BYTES_MIN));
    // Distances of sequence numbers are signed (RFC 9293 section 3.4).
    !seen || above as i32 >= 0 && below as i32 >= 0
}

/// Does the opener go on after a SYN-ACK that it has not seen? Whoever sends from an address that
/// is not its own gets no answers. It passes, and opens nothing.
#[inline(always)]
pub fn is_blind(w: &Work, state: u32, responder: &FlowMore) -> bool {
    /// What a responder may send before the handshake is over (RFC 7413), and more.
    const UNACKNOWLEDGED_BYTES_MAX: u32 = 0xffff;
    let unacknowledged = responder.end.load().wrapping_sub(w.tcp_ack);
    state == state::SYN_RECEIVED
        && w.tcp_flags & (ACK | RST) == ACK
        && unacknowledged > UNACKNOWLEDGED_BYTES_MAX
}

/// Notes a SYN of the opener that passes and is not believed: its responder may.
#[inline(always)]
pub fn note_stray(w: &Work, own: &FlowMore) {
    if w.tcp_flags & (SYN | ACK) == SYN {
        own.stray_end.store(w.tcp_seq.wrapping_add(1));
        let before = own.scale.load() & !(SCALE << STRAY_SCALE_OFFSET_BITS);
        let scale = u32::from(w.tcp_scale) << STRAY_SCALE_OFFSET_BITS;
        own.scale.store(before | scale | STRAY_SEEN);
    }
}

/// Does the responder agree to a SYN of the opener that was not believed? Then the two have
/// begun a new connection, of which this is the second segment, as in Linux. A connection
/// that has ended was opened by the SYN itself.
#[inline(always)]
pub fn is_agreement(w: &Work, state: u32, opener: &FlowMore) -> bool {
    // Neither that nor closed, by one comparison: of two the verifier follows each outcome.
    state.wrapping_sub(state::TIME_WAIT) > 1
        && w.tcp_flags & (SYN | ACK) == SYN_ACK
        && opener.scale.load() & STRAY_SEEN != 0
        && opener.stray_end.load() == w.tcp_ack
}

/// Forgets the windows of the connection before the one that was agreed to.
#[inline(always)]
pub fn renew(opener: &FlowMore, responder: &FlowMore) {
    opener.end.store(opener.stray_end.load());
    let scale = (opener.scale.load() >> STRAY_SCALE_OFFSET_BITS) & SCALE;
    opener.scale.store(scale | SYN_SEEN | END_SEEN);
    responder.scale.store(0);
}

/// Notes how far the sender has sent, and how far it permits the other to send.
/// Plain stores: where two CPUs race, the slack of [`closes`] covers the loss.
#[inline(always)]
pub fn note_window(w: &Work, own: &FlowMore, other: &FlowMore) {
    let before = own.scale.load();
    let theirs = other.scale.load();
    let mut after = before;
    if w.tcp_flags & SYN != 0 {
        after = (after & !SCALE) | u32::from(w.tcp_scale) | SYN_SEEN;
    }
    let phantom = u32::from(w.tcp_flags & SYN != 0) + u32::from(w.tcp_flags & FIN != 0);
    let end = w.tcp_seq.wrapping_add(w.payload_bytes).wrapping_add(phantom);
    let is_first = before & END_SEEN == 0 || w.tcp_flags & SYN != 0;
    let ahead = end.wrapping_sub(own.end.load()) as i32;
    // What the other does not permit may be forged, and is never acknowledged.
    let room = other.permits.load().wrapping_sub(end) as i32;
    if is_first || (ahead > 0 && (theirs & PERMITS_SEEN == 0 || room >= 0)) {
        own.end.store(end);
        after |= END_SEEN;
    }
    if w.tcp_flags & (SYN | ACK) == SYN_ACK {
        // It tells which SYN is answered: perhaps an older one, which its sender will reset.
        other.end.store(w.tcp_ack);
    }
    // What the other has not sent is acknowledged by nobody but a forger.
    let unsent = w.tcp_ack.wrapping_sub(other.end.load().wrapping_add(WINDOW_BYTES_MIN)) as i32;
    if w.tcp_flags & ACK != 0 && (theirs & END_SEEN == 0 || unsent <= 0) {
        let shift = if w.tcp_flags & SYN != 0 {
            // Never on a SYN (RFC 7323 section 2.2).
            0
        } else if after & theirs & SYN_SEEN == 0 {
            // The flow was picked up in the middle: it may be scaled.
            SCALE_MAX.into()
        } else if theirs & SCALE != 0 && after & SCALE != 0 {
            // Scaling counts only if both offered it (RFC 7323 section 2.2).
            ((after & SCALE) - 1) & 15
        } else {
            0
        };
        // A full window is probed with a byte (RFC 9293 section 3.8.6.1), or with the FIN.
        let permits = w.tcp_ack.wrapping_add(w.tcp_window << shift).wrapping_add(1);
        if before & PERMITS_SEEN == 0 || (permits.wrapping_sub(own.permits.load()) as i32) > 0 {
            own.permits.store(permits);
            after |= PERMITS_SEEN;
        }
        let ahead = w.tcp_ack.wrapping_sub(own.acknowledged.load());
        if before & ACKNOWLEDGED_SEEN == 0 || ahead as i32 > 0 {
            own.acknowledged.store(w.tcp_ack);
            after |= ACKNOWLEDGED_SEEN;
        }
    }
    if after != before {
        own.scale.store(after);
    }
}

/// Reads the window scale option of a SYN into the work (RFC 7323 section 2.2).
#[inline(always)]
pub fn read_scale<P: Packet>(p: &mut P, w: &mut Work) -> Result<(), Stop> {
    /// Largest TCP header.
    const TCP_BYTES_MAX: u32 = 60;
    const NO_OPERATION: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    if !w.is(flags::TCP) || w.tcp_flags & SYN == 0 {
        return Ok(());
    }
    p.need(w.l4 + TCP_BYTES_MAX)?;
    let end = w.l3 + w.l3_bytes - w.payload_bytes;
    let mut next = w.l4 + TCP_BYTES;
    // A SYN carries at most about five options; padding comes one byte at a time.
    let mut steps = 0;
    while steps < 12 {
        steps += 1;
        if next + 2 > end {
            break;
        }
        let Some(&[kind, length]) = p.get::<[u8; 2]>(next) else { break };
        if kind == 0 {
            break;
        }
        if kind == NO_OPERATION {
            next += 1;
            continue;
        }
        if kind == WINDOW_SCALE {
            // Often the last three bytes of the packet: no more than them is read.
            if let Some(&[_, shift]) = p.get::<[u8; 2]>(next + 1) {
                w.tcp_scale = if shift < SCALE_MAX { shift } else { SCALE_MAX } + 1;
            }
            break;
        }
        if length < 2 {
            break;
        }
        next += u32::from(length);
    }
    Ok(())
}
