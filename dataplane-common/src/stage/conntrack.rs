//! Does the packet fit the state of its connection, and what is the state after it?
//!
//! TCP follows the state machine of Linux (net/netfilter/nf_conntrack_proto_tcp.c),
//! whose corners are well known to operators; everything else is unreplied or
//! replied. Windows are recorded, but only a reset is judged by them
//! (RFC 5961 section 3.2: a reset outside the window is an attack). Where we differ from
//! Linux, `tests/tests/conntrack/differences.rs` says why.

use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::flow::FlowCold;
use crate::wire::protocol;
use crate::wire::transport::{ACK, FIN, RST, SYN, TCP_BYTES};
use crate::work::{Work, flags};

/// States of a connection.
pub mod state {
    #![expect(missing_docs, reason = "the names are the RFC's, or say all")]
    pub const NONE: u32 = 0;
    pub const SYN_SENT: u32 = 1;
    pub const SYN_RECEIVED: u32 = 2;
    pub const ESTABLISHED: u32 = 3;
    pub const FIN_WAIT: u32 = 4;
    pub const CLOSE_WAIT: u32 = 5;
    pub const LAST_ACK: u32 = 6;
    pub const TIME_WAIT: u32 = 7;
    pub const CLOSED: u32 = 8;
    /// Both sides sent a SYN.
    pub const SYN_SENT_BOTH: u32 = 9;
    /// Not TCP: only the opener has sent.
    pub const UNREPLIED: u32 = 10;
    /// Not TCP: both have sent.
    pub const REPLIED: u32 = 11;
    /// How many there are.
    pub const COUNT: usize = 12;

    /// The name that `sekisho flows` prints.
    #[must_use]
    pub const fn name(state: u32) -> &'static str {
        match state {
            SYN_SENT => "syn-sent",
            SYN_RECEIVED => "syn-received",
            ESTABLISHED => "established",
            FIN_WAIT => "fin-wait",
            CLOSE_WAIT => "close-wait",
            LAST_ACK => "last-ack",
            TIME_WAIT => "time-wait",
            CLOSED => "closed",
            SYN_SENT_BOTH => "syn-sent-both",
            UNREPLIED => "unreplied",
            REPLIED => "replied",
            _ => "none",
        }
    }
}

const SYN_ACK: u8 = SYN | ACK;
const FIN_ACK: u8 = FIN | ACK;
const RST_ACK: u8 = RST | ACK;

/// The packet passes and changes nothing.
const IG: u8 = 0xfe;
/// The packet does not fit.
const IV: u8 = 0xff;

/// Next state of a TCP connection, by state (none, SYN sent, SYN received,
/// established, FIN wait, close wait, last ACK, time wait, closed, SYN sent by both).
/// Eight kinds of segment for each direction and sixteen states, so that an index is
/// inside by its masks: "invalid access to map value" says the verifier of an index
/// that is only compared.
#[rustfmt::skip]
static TCP_NEXT: [[u8; 16]; 16] = [
    // The opener sends: SYN, SYN+ACK, FIN, ACK, RST.
    [1,  1,  IG, IG, IG, IG, IG, 1,  1,  9,  IV, IV, IV, IV, IV, IV],
    [IV, IV, IG, IV, IV, IV, IV, IV, IV, 2,  IV, IV, IV, IV, IV, IV],
    [IV, IV, 4,  4,  6,  6,  6,  7,  8,  IV, IV, IV, IV, IV, IV, IV],
    [3,  IV, 3,  3,  5,  5,  7,  7,  8,  IV, IV, IV, IV, IV, IV, IV],
    [IV, 8,  8,  8,  8,  8,  8,  8,  8,  8,  IV, IV, IV, IV, IV, IV],
    [IV; 16], [IV; 16], [IV; 16],
    // The responder sends: the same.
    [IV, 9,  IV, IV, IV, IV, IV, IV, IV, 9,  IV, IV, IV, IV, IV, IV],
    [IV, 2,  IG, IG, IG, IG, IG, IG, IG, 2,  IV, IV, IV, IV, IV, IV],
    [IV, IV, 4,  4,  6,  6,  6,  7,  8,  IV, IV, IV, IV, IV, IV, IV],
    [IV, IG, 2,  3,  5,  5,  7,  7,  8,  IG, IV, IV, IV, IV, IV, IV],
    [IV, 8,  8,  8,  8,  8,  8,  8,  8,  8,  IV, IV, IV, IV, IV, IV],
    [IV; 16], [IV; 16], [IV; 16],
];

/// What a packet does to its connection.
#[derive(Clone, Copy)]
pub struct Step {
    /// The state after it.
    pub state: u32,
    /// It may be stray or forged: it passes, and nothing is learnt from it.
    pub is_ignored: bool,
}

/// What the packet at hand does to a connection in this state.
#[inline(always)]
pub fn next(w: &Work, state: u32, is_reply: bool) -> Result<Step, Stop> {
    if w.is(flags::TCP) {
        // Every other combination is a probe of how hosts take it.
        let segment = match w.tcp_flags & (RST | SYN | FIN | ACK) {
            SYN => 0,
            SYN_ACK => 1,
            FIN_ACK => 2,
            ACK => 3,
            RST | RST_ACK => 4,
            _ => return Err(Stop::ConnectionState),
        };
        let row = segment | if is_reply { 8 } else { 0 };
        return match TCP_NEXT[row & 15][state as usize & 15] {
            IV => Err(Stop::ConnectionState),
            IG => Ok(Step { state, is_ignored: true }),
            next => Ok(Step { state: u32::from(next), is_ignored: false }),
        };
    }
    if w.is(flags::ICMP_QUERY) {
        // A flow is opened by a query, and only its responder sends replies.
        let is_request = super::parse::is_request(w.icmp[0], w.is(flags::V6));
        if is_request == is_reply {
            return Err(Stop::IcmpUnrelated);
        }
    }
    let state = match state {
        state::NONE if !is_reply => state::UNREPLIED,
        state::UNREPLIED if !is_reply => state::UNREPLIED,
        _ => state::REPLIED,
    };
    Ok(Step { state, is_ignored: false })
}

/// Is it a SYN or SYN-ACK? What it opens is always asked of the rules, and its options are
/// read on the slow path.
#[inline(always)]
pub fn is_opening(w: &Work) -> bool {
    w.is(flags::TCP) && w.tcp_flags & SYN != 0
}

/// Does a SYN begin a new connection where an old one has ended?
#[inline(always)]
pub fn is_reopening(w: &Work, state: u32) -> bool {
    w.is(flags::TCP)
        && w.tcp_flags & (SYN | ACK | RST | FIN) == SYN
        && (state == state::TIME_WAIT || state == state::CLOSED)
}

/// How long a flow in this state is kept without a packet, in milliseconds: Linux's
/// defaults (nf_conntrack sysctls), but that other protocols than TCP, UDP and ICMP
/// have its generic 600 s.
#[must_use]
#[inline(always)]
pub const fn idle_ms_max(state: u32, protocol: u8) -> u32 {
    const SECOND: u32 = 1000;
    match state {
        state::SYN_SENT | state::SYN_SENT_BOTH => 120 * SECOND,
        state::SYN_RECEIVED => 60 * SECOND,
        state::ESTABLISHED => 432_000 * SECOND,
        state::FIN_WAIT | state::TIME_WAIT => 120 * SECOND,
        state::CLOSE_WAIT => 60 * SECOND,
        state::LAST_ACK => 30 * SECOND,
        state::CLOSED => 10 * SECOND,
        _ => match protocol {
            protocol::UDP | protocol::UDPLITE if state == state::REPLIED => 120 * SECOND,
            protocol::UDP | protocol::UDPLITE | protocol::ICMP | protocol::ICMPV6 => 30 * SECOND,
            _ => 600 * SECOND,
        },
    }
}

/// [`FlowCold::scale`]: `end` counts.
pub const END_SEEN: u32 = 1 << 8;
/// [`FlowCold::scale`]: `permits` counts.
pub const PERMITS_SEEN: u32 = 1 << 9;
/// [`FlowCold::scale`]: `acknowledged` counts.
pub const ACKNOWLEDGED_SEEN: u32 = 1 << 10;
/// [`FlowCold::scale`]: `stray_end` counts.
pub const STRAY_SEEN: u32 = 1 << 11;
/// [`FlowCold::scale`]: a SYN of this side was seen, so that the scale counts.
pub const SYN_SEEN: u32 = 1 << 12;
/// [`FlowCold::scale`]: the window scale + 1.
const SCALE: u32 = 0xff;
/// [`FlowCold::scale`]: where the same of the stray SYN begins.
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
pub fn closes(w: &Work, sender: &FlowCold, receiver: &FlowCold) -> Result<bool, Stop> {
    let (own, other) = (sender.scale.load(), receiver.scale.load());
    if own & END_SEEN == 0 || other & PERMITS_SEEN == 0 {
        return Ok(true);
    }
    let end = sender.end.load();
    let above = receiver.permits.load().wrapping_sub(w.tcp_seq);
    let below = w.tcp_seq.wrapping_sub(end.wrapping_sub(WINDOW_BYTES_MIN));
    // Distances of sequence numbers are signed (RFC 9293 section 3.4).
    if (above as i32) < 0 || (below as i32) < 0 {
        return Err(Stop::ResetOutsideWindow);
    }
    // The receiver expects what it acknowledged last, or more, if that is on its way.
    let is_acknowledged =
        other & ACKNOWLEDGED_SEEN != 0 && receiver.acknowledged.load() == w.tcp_seq;
    Ok(is_acknowledged || end == w.tcp_seq)
}

/// Notes a SYN of the opener that passes and is not believed: its responder may.
#[inline(always)]
pub fn note_stray(w: &Work, own: &FlowCold) {
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
pub fn is_agreement(w: &Work, state: u32, opener: &FlowCold) -> bool {
    state < state::TIME_WAIT
        && w.tcp_flags & (SYN | ACK) == SYN_ACK
        && opener.scale.load() & STRAY_SEEN != 0
        && opener.stray_end.load() == w.tcp_ack
}

/// Forgets the windows of the connection before the one that was agreed to.
#[inline(always)]
pub fn renew(opener: &FlowCold, responder: &FlowCold) {
    opener.end.store(opener.stray_end.load());
    let scale = (opener.scale.load() >> STRAY_SCALE_OFFSET_BITS) & SCALE;
    opener.scale.store(scale | SYN_SEEN | END_SEEN);
    responder.scale.store(0);
}

/// Notes how far the sender has sent, and how far it permits the other to send.
/// Plain stores: where two CPUs race, the slack of [`closes`] covers the loss.
#[inline(always)]
pub fn note_window(w: &Work, own: &FlowCold, other: &FlowCold) {
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
    if w.tcp_flags & ACK != 0 {
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
