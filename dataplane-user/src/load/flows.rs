//! Which flows are there?

use dataplane_common::{
    stage::conntrack,
    stop::Stop,
    table::flow::{FlowCold, FlowKey, FlowLine, FlowMore, Judged, action, status},
};

/// A half-flow as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HalfFlow {
    /// Its line.
    pub index: u32,
    /// The other half's line.
    pub partner: u32,
    /// Zone, addresses, ports and protocol as its packets arrive.
    pub key: FlowKey,
    /// The connection's state: [`conntrack::state`].
    pub state: u32,
    /// Does it answer the other half?
    pub is_reply: bool,
    /// Why its packets are stopped, if they are.
    pub denied: Option<Stop>,
    /// The next hop of its packets, if they are forwarded.
    pub next_hop: u32,
    /// The epoch in which that was last found to hold; 0: it was not asked yet.
    pub epoch: u32,
    /// Whose packets it stands for; 0: nobody has sent yet.
    pub owner: u32,
    /// Who opened the flow, and to whom.
    pub opener: u32,
    /// See `opener`.
    pub responder: u32,
    /// The opener's rule, and the responder's.
    pub rule_egress: u32,
    /// See `rule_egress`.
    pub rule_ingress: u32,
    /// The tenant that pays for it.
    pub tenant: u32,
    /// Packets and bytes that it forwarded.
    pub packets: u64,
    /// See `packets`.
    pub bytes: u64,
    /// Milliseconds, nearly, since it was made, and since its last packet.
    pub age_ticks: u32,
    /// See `age_ticks`.
    pub idle_ticks: u32,
}

/// Every half-flow that is in force at `now`.
pub fn in_force<'t>(
    lines: &'t [FlowLine],
    cold: &'t [FlowCold],
    more: &'t [FlowMore],
    now_ticks: u32,
) -> impl Iterator<Item = HalfFlow> + 't {
    (0..)
        .zip(lines)
        .zip(cold)
        .zip(more)
        .filter_map(move |(((index, line), cold), more)| read(index, (line, cold, more), now_ticks))
}

/// Looks at the status, at the rest, and at the status again: a line that was rewritten
/// in between is looked at once more, and then left out.
fn read(
    index: u32,
    (line, cold, more): (&FlowLine, &FlowCold, &FlowMore),
    now_ticks: u32,
) -> Option<HalfFlow> {
    for _ in 0..2 {
        let before = line.status.load();
        if before & status::LIFE != status::LIVE {
            return None;
        }
        let Judged { action: outcome, epoch } = Judged::from_word(line.judged.load());
        let is_denied = outcome & action::DENIED != 0;
        let (packets, bytes) = cold.forwarded(line);
        let half = HalfFlow {
            index,
            partner: more.partner.load(),
            key: line.key(),
            state: before & status::STATE,
            is_reply: before & status::REPLY != 0,
            denied: is_denied.then(|| Stop::from_number(outcome)),
            next_hop: if is_denied { 0 } else { outcome & action::NEXT_HOP },
            epoch,
            owner: line.owner.load(),
            opener: cold.opener.load(),
            responder: cold.responder.load(),
            rule_egress: cold.rule_egress.load(),
            rule_ingress: cold.rule_ingress.load(),
            tenant: cold.tenant.load(),
            packets,
            bytes,
            age_ticks: since(now_ticks, cold.made_ticks.load()),
            idle_ticks: since(now_ticks, line.seen_ticks.load()),
        };
        if (line.status.load() ^ before) & !status::CHANGES == 0 {
            return Some(half);
        }
    }
    None
}

/// Ticks from `then` to `now`; none if a packet was quicker than our look at the clock.
pub(super) fn since(now_ticks: u32, then_ticks: u32) -> u32 {
    let ticks = now_ticks.wrapping_sub(then_ticks);
    if ticks as i32 >= 0 { ticks } else { 0 }
}

impl HalfFlow {
    /// The state's name.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        conntrack::state::name(self.state)
    }
}
