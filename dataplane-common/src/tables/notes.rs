//! What does a packet's trace tell?

/// What a stage decided, for `sekisho trace`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Note {
    /// A [`note`] code.
    pub what: u32,
    /// The object: an id of the kind that the code names.
    pub id: u32,
    /// A second number that the code names.
    pub detail: u32,
    /// Zero.
    pub zero: u32,
}

/// Notes of a traced packet at most.
pub const NOTES_MAX: u32 = 32;

/// What a [`Note`] tells. The codes are the words that `sekisho trace` prints.
pub mod note {
    use crate::table::flow::action;

    /// Came in at attachment `id`, with the VLANs `detail`.
    pub const ATTACHED: u32 = 1;
    /// Was sent by endpoint `id`, zone `detail`.
    pub const SENDER: u32 = 2;
    /// Half-flow `id` was found; `detail`: its status and [action flags](flow_detail).
    pub const FLOW: u32 = 3;
    /// No half-flow; `id`: 0.
    pub const NO_FLOW: u32 = 4;
    /// The half-flow is out of date and is judged again; `id`: its index, `detail` as for
    /// [`FLOW`].
    pub const READMIT: u32 = 5;
    /// Route `id` of zone `detail` was taken.
    pub const ROUTE: u32 = 6;
    /// Endpoint `id` receives it by next hop `detail`.
    pub const RECEIVER: u32 = 7;
    /// Rule `id` of the sender permits it (0: it is not filtered); `detail`: the policy.
    pub const EGRESS: u32 = 8;
    /// Rule `id` of the receiver permits it (0: it is not filtered); `detail`: the policy.
    pub const INGRESS: u32 = 9;
    /// It becomes part of an existing flow as an ICMP error; `id`: the half-flow.
    pub const RELATED: u32 = 10;
    /// It is answered by us; `id`: what with ([`crate::work::job`]).
    pub const ANSWER: u32 = 11;
    /// It leaves by output `id` with the VLANs `detail`.
    pub const EMIT: u32 = 12;
    /// It stops; `id`: the reason.
    pub const STOP: u32 = 13;
    /// Connection state before (`id`) and after (`detail`).
    pub const STATE: u32 = 14;
    /// The daemon is told which MAC its sender says that it has.
    pub const HEARD: u32 = 15;
    /// A copy leaves by output `id`, which endpoint `detail` takes.
    pub const COPIED: u32 = 16;
    /// That were all copies: `id`.
    pub const FLOODED: u32 = 17;
    /// It is a later fragment of datagram `id`, whose first one has come; `detail`: where in
    /// the datagram it begins.
    pub const PIECE: u32 = 18;
    /// It is a later fragment, and the first one has not come; `detail` as for [`PIECE`].
    pub const EARLY: u32 = 19;
    /// It is passed up to the host.
    pub const PASSED: u32 = 20;

    /// Meter `id` was asked; `detail`: 1, it lets the packet pass, or 0.
    pub const LIMIT: u32 = 21;

    /// The `detail` of [`FLOW`]: the low half of a status, the flags of an action above it.
    #[inline(always)]
    #[must_use]
    pub const fn flow_detail(status: u32, flow_action: u32) -> u32 {
        (status & 0xffff) | (flow_action & action::FLAGS) >> 8
    }

    /// Is this [action flag](action) in the `detail` of a [`FLOW`]?
    #[must_use]
    pub const fn has_flag(detail: u32, flag: u32) -> bool {
        detail & (flag >> 8) != 0
    }
}
