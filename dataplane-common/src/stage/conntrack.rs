//! Does the packet fit the state of its connection, and what is the state after it?
//!
//! TCP follows the state machine of Linux (net/netfilter/nf_conntrack_proto_tcp.c),
//! whose corners are well known to operators; everything else is unreplied or
//! replied. Where we differ from Linux, `tests/tests/conntrack/differences.rs` says why.

use crate::stop::Stop;
use crate::wire::protocol;
use crate::wire::transport::{ACK, FIN, RST, SYN, SYN_ACK};
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
    /// Not TCP: a question has an answer.
    pub const REPLIED: u32 = 11;
    /// Established, as far as we know: it was picked up in the middle, and only the opener has
    /// sent since.
    pub const PICKED_UP: u32 = 12;
    /// Neither TCP nor ICMP: both have sent, and the opener [later](super::is_conversation) again.
    pub const ASSURED: u32 = 13;
    /// How many there are.
    pub const COUNT: usize = 14;

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
            PICKED_UP => "picked-up",
            ASSURED => "assured",
            _ => "none",
        }
    }
}

const FIN_ACK: u8 = FIN | ACK;
const RST_ACK: u8 = RST | ACK;

/// The packet passes and changes nothing.
const IG: u8 = 0xfe;
/// The packet does not fit.
const IV: u8 = 0xff;

/// Next state of a TCP connection, by state (none, SYN sent, SYN received,
/// established, FIN wait, close wait, last ACK, time wait, closed, SYN sent by both, two that are
/// not TCP's, picked up, which is established but for how long it is kept, and another that is not
/// TCP's).
/// Eight kinds of segment for each direction and sixteen states, so that an index is
/// inside by its masks: "invalid access to map value" says the verifier of an index
/// that is only compared.
#[rustfmt::skip]
static TCP_NEXT: [[u8; 16]; 16] = [
    // The opener sends: SYN, SYN+ACK, FIN, ACK, RST.
    [1,  1,  IG, IG, IG, IG, IG, 1,  1,  9,  IV, IV, IG, IV, IV, IV],
    [IV, IV, IG, IV, IV, IV, IV, IV, IV, 2,  IV, IV, IV, IV, IV, IV],
    [IV, IV, 4,  4,  6,  6,  6,  7,  8,  IV, IV, IV, 12, IV, IV, IV],
    [12, IV, 3,  3,  5,  5,  7,  7,  8,  IV, IV, IV, 12, IV, IV, IV],
    [IV, 8,  8,  8,  8,  8,  8,  8,  8,  8,  IV, IV, 8,  IV, IV, IV],
    [IV; 16], [IV; 16], [IV; 16],
    // The responder sends: the same.
    [IV, 9,  IV, IV, IV, IV, IV, IV, IV, 9,  IV, IV, IV, IV, IV, IV],
    [IV, 2,  IG, IG, IG, IG, IG, IG, IG, 2,  IV, IV, IG, IV, IV, IV],
    [IV, IV, 4,  4,  6,  6,  6,  7,  8,  IV, IV, IV, 4,  IV, IV, IV],
    [IV, IG, 2,  3,  5,  5,  7,  7,  8,  IG, IV, IV, 3,  IV, IV, IV],
    [IV, 8,  8,  8,  8,  8,  8,  8,  8,  8,  IV, IV, 8,  IV, IV, IV],
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
        state::NONE | state::UNREPLIED if !is_reply => state::UNREPLIED,
        state::NONE | state::UNREPLIED => state::REPLIED,
        // Replied, or TCP's: of a segment in pieces the first told what there is to be learnt.
        _ => state,
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

/// Has a flow, other than TCP's, become a conversation by the opener's packet at hand? A question
/// and its answers have not, of which there may be two at a time: `age_ms` says. An echo never
/// does. (Linux: `ASSURED`, by `udp.stream_ts`.)
#[inline(always)]
#[must_use]
pub fn is_conversation(w: &Work, state: u32, is_reply: bool, age_ms: u32) -> bool {
    const QUESTIONS_MS: i32 = 2000;
    // Another CPU may have made it after the clock was read: then it is younger than nothing.
    let is_old = age_ms as i32 >= QUESTIONS_MS;
    state == state::REPLIED && !is_reply && !w.is(flags::ICMP_QUERY) && is_old
}

/// Is a connection in this state none that both sides have agreed to, or is it over? Whoever
/// likes to makes as many of them as there is room for: others answer what they are asked.
#[inline(always)]
#[must_use]
pub const fn is_dispensable(state: u32) -> bool {
    !matches!(
        state,
        state::ESTABLISHED | state::FIN_WAIT | state::CLOSE_WAIT | state::LAST_ACK | state::ASSURED
    )
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
        // "Unacknowledged": one segment from anywhere makes such a flow.
        state::PICKED_UP => 300 * SECOND,
        state::FIN_WAIT | state::TIME_WAIT => 120 * SECOND,
        state::CLOSE_WAIT => 60 * SECOND,
        state::LAST_ACK => 30 * SECOND,
        state::CLOSED => 10 * SECOND,
        _ => match protocol {
            protocol::UDP | protocol::UDPLITE if state == state::ASSURED => 120 * SECOND,
            protocol::UDP | protocol::UDPLITE | protocol::ICMP | protocol::ICMPV6 => 30 * SECOND,
            _ => 600 * SECOND,
        },
    }
}
