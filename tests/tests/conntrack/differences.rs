//! In what do we differ from Linux, and why is that right?
//!
//! Compared with Linux 6.18, `nf_conntrack_tcp_loose` and `nf_conntrack_tcp_be_liberal` on:
//! both judge by windows only resets. The first row that fits names a difference.

use dataplane_common::stage::conntrack::state::{
    CLOSED, ESTABLISHED, LAST_ACK, NONE, SYN_RECEIVED, SYN_SENT, TIME_WAIT,
};

use sekisho_tests::build::tcp::FIN;

use super::{seen::Seen, segment::URGENT};

/// One difference.
pub struct Difference {
    pub name: &'static str,
    /// Why ours is right for the user.
    pub why: &'static str,
    pub is: fn(&Seen<'_>) -> bool,
}

/// All of them.
pub const ALL: &[Difference] = &[
    Difference {
        name: "an urgent SYN-ACK or reset passes and means what it says",
        why: "The urgent pointer says nothing about the connection, and RFC 9293 forbids it on no \
              segment; what such a reset has closed takes no SYN-ACK of its opener",
        is: |s| {
            let is_urgent = s.segment.has(URGENT) && (s.is_syn_ack() || s.is_reset());
            let is_closed = s.before[0] == CLOSED && s.is_syn_ack() && s.is_openers();
            is_urgent && s.only_ours() || is_closed && s.only_linux()
        },
    },
    Difference {
        name: "a reset outside the window is stopped",
        why: "RFC 5961 section 3.2: its receiver would drop it silently; who sends it guesses",
        is: |s| s.is_reset() && s.only_linux() && s.before[0] != NONE,
    },
    Difference {
        name: "a reset below the last acknowledgement passes and closes nothing",
        why: "Acknowledgements overtake resets on several CPUs; the receiver tells, and we do not \
              believe it",
        is: |s| s.is_reset() && s.only_ours() && s.before[0] == s.after[0] && s.before[1] != NONE,
    },
    Difference {
        name: "a reset that is not the next number closes nothing, in every state",
        why: "RFC 5961 section 3.2: its receiver answers with a challenge and goes on; Linux \
              believes it unless the connection is established and both have sent",
        is: |s| s.is_reset() && s.both() && s.before[0] == s.after[0] && s.before[1] != NONE,
    },
    Difference {
        name: "a reset that ends all that was sent closes",
        why: "The next number is what was sent last, be it acknowledged or not; Linux looks only \
              whether the segment before it was its sender's",
        is: |s| s.is_reset() && s.both() && s.after[0] == CLOSED && s.after[1] == s.before[1],
    },
    Difference {
        name: "a FIN outside the window ends nothing",
        why: "Its receiver throws it away (RFC 9293 section 3.10.7.4); believed, two of them and \
              an acknowledgement would cut any connection without a number being known",
        is: |s| s.segment.has(FIN) && s.both() && s.before[0] == s.after[0],
    },
    Difference {
        name: "a connection that was reset before it was answered is kept for ten seconds",
        why: "A late answer then finds its flow and reaches the end that can reset it",
        is: |s| s.is_reset() && s.both() && s.after == [CLOSED, NONE],
    },
    Difference {
        name: "what follows a reset passes for ten seconds",
        why: "The same: Linux has forgotten the connection and judges as of a new one",
        is: |s| s.before[1] == NONE && s.before[0] == CLOSED && s.only_ours(),
    },
    Difference {
        name: "a connection goes on that Linux does not know",
        why: "The difference was before: a reset that was none to its receiver, or an urgent \
              SYN-ACK. Linux has forgotten the connection, or takes a stray SYN for a new one",
        is: |s| s.differ_apart() && s.is_beginning_for_linux() && !s.is_asking(),
    },
    Difference {
        name: "the opener's SYN opens a closed connection at once",
        why: "The rules are asked again and windows begin anew, whoever sent the reset; Linux \
              waits for the SYN-ACK if it was the responder, and lets it open the connection",
        is: |s| {
            let is_opened = s.is_syn() && s.is_openers() && s.after == [SYN_SENT, CLOSED];
            let is_late = s.is_syn_ack() && s.after == [CLOSED, SYN_RECEIVED];
            s.both() && (is_opened || is_late)
        },
    },
    Difference {
        name: "a connection that was opened again begins with its handshake",
        why: "Until the SYN is answered an opener has nothing to acknowledge or to end; Linux \
              still holds the connection before it",
        is: |s| {
            let is_opening = s.is_asking() || s.before[0] == SYN_RECEIVED;
            s.differ_apart() && is_opening
        },
    },
    Difference {
        name: "a SYN-ACK begins the connection anew, whatever came after its SYN",
        why: "Data and challenges of the old connection may be on their way between the two; Linux \
              remembers only the segment before",
        is: |s| s.is_syn_ack() && s.both() && s.after == [SYN_RECEIVED, s.before[1]],
    },
    Difference {
        name: "a reset of the connection that was begun anew closes it",
        why: "It is the next number of the new connection; Linux, that missed it, drops the reset, \
              and its receiver keeps a connection that nobody has",
        is: |s| s.is_reset() && s.only_ours() && s.after[0] == CLOSED,
    },
    Difference {
        name: "the responder's acknowledgement does not complete a simultaneous open",
        why: "The opener's own does; until then we keep the connection for the shorter time",
        is: |s| !s.is_openers() && s.both() && s.after == [SYN_RECEIVED, ESTABLISHED],
    },
    Difference {
        name: "who acknowledges what was not sent opens nothing",
        why: "It is in the blind: whoever sends from an address that is not its own gets no \
              SYN-ACK; believed, it would have connections that nobody evicts for five days",
        is: |s| {
            let is_opening = s.after[0] == SYN_RECEIVED || s.before[1] != SYN_RECEIVED;
            s.both() && s.before[0] == SYN_RECEIVED && is_opening
        },
    },
    Difference {
        name: "a challenge to a stray SYN counts as the last acknowledgement",
        why: "All that follows passes in either state, and a SYN opens the connection again",
        is: |s| !s.is_openers() && s.both() && s.after == [TIME_WAIT, LAST_ACK],
    },
    Difference {
        name: "the responder's SYN leaves a closed connection as it is",
        why: "The rules deny it to both; a packet that is denied changes nothing",
        is: |s| s.is_syn() && !s.is_openers() && s.neither() && s.after == [TIME_WAIT, NONE],
    },
];
