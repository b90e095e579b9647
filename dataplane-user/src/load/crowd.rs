//! Which flows are given up before their time, so that others may begin?
//!
//! A flow that only one side has agreed to, or that was refused, costs whoever makes it one
//! packet. Where such flows take up most of what is left of a tenant's share, or of the table,
//! those go that were idle longest, of whoever has most of them: of the tenant, and among its
//! flows of the end that opened them. All strangers beyond an uplink are one such end. So those
//! who wait for an answer lose nothing to a flood of somebody else's. A flow that both sides have
//! agreed to never goes. (nf_conntrack calls it early drop, pf adaptive timeouts.)

use std::collections::HashMap;

use dataplane_common::{
    limits,
    stage::conntrack,
    table::flow::{held, status},
    word::Word64,
};

use super::sweep::FlowTable;

/// Half-flows of a tenant that do not go, whoever needs room.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Kept {
    /// All of them.
    pub all: u64,
    /// The strangers' among them.
    pub inbound: u64,
}

impl Kept {
    /// As one word, for whoever shares it.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.inbound << 32 | self.all
    }

    /// Of such a word.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self { all: word & 0xffff_ffff, inbound: word >> 32 }
    }
}

/// Has any tenant, or have all together, too many half-flows that may go? `kept` are those that
/// may not, by the last pass.
pub fn is_crowded(
    of_tenant: &[Word64],
    lines: usize,
    quota: impl Fn(u32) -> Option<u32>,
    kept: impl Fn(u32) -> Kept,
) -> bool {
    let (mut may_go, mut kept_of_all) = (0, 0);
    for (tenant, held) in (0..).zip(of_tenant) {
        let held = held.load();
        let Some(quota) = quota(tenant).filter(|_| held != 0) else { continue };
        let kept = kept(tenant);
        let all = count(held::all(held)).saturating_sub(kept.all);
        let inbound = count(held::inbound(held)).saturating_sub(kept.inbound);
        let of_strangers = left(held::inbound_max(quota), kept.inbound);
        if all > left(quota, kept.all) / 4 * 3 || inbound > of_strangers / 4 * 3 {
            return true;
        }
        may_go += all;
        kept_of_all += kept.all;
    }
    may_go > room(lines, kept_of_all)
}

/// How many half-flows each tenant has: what a pass counts.
#[derive(Default)]
pub struct Census(Vec<Counts>);

#[derive(Clone, Copy, Default)]
struct Counts {
    kept: Kept,
    /// Of those that may go: all, and the strangers'.
    all: u64,
    inbound: u64,
}

impl Census {
    /// Counts a half-flow of the tenant's that is in force.
    pub fn count(&mut self, tenant: u32, seen: u32) {
        if self.0.is_empty() {
            self.0.resize(limits::TENANTS_MAX as usize, Counts::default());
        }
        let Some(of) = self.0.get_mut(tenant as usize) else { return };
        let inbound = u64::from(seen & status::INBOUND != 0);
        if conntrack::is_dispensable(seen & status::STATE) {
            of.all += 1;
            of.inbound += inbound;
        } else {
            of.kept.all += 1;
            of.kept.inbound += inbound;
        }
    }

    /// What each tenant has that does not go.
    pub fn kept(&self) -> impl Iterator<Item = (u32, Kept)> {
        let all = (0..).zip(&self.0).map(|(tenant, of)| (tenant, of.kept));
        all.filter(|(_, kept)| *kept != Kept::default())
    }

    /// Who has to give up how much, if anybody has. Of what is left of a tenant's share, or of
    /// the strangers' part of it, those that may go have three quarters at most, and then half.
    pub fn crowd(&self, lines: usize, quota: impl Fn(u32) -> Option<u32>) -> Option<Crowd> {
        let room = room(lines, self.0.iter().map(|of| of.kept.all).sum());
        let all: Vec<_> = self.0.iter().map(|of| of.all).filter(|all| *all > 0).collect();
        let is_full = all.iter().sum::<u64>() > room;
        let fair = if is_full { level(&all, room / 4 * 3) } else { u64::MAX };
        let tenants = (0..).zip(&self.0).filter_map(|(tenant, of)| {
            // Flows of whoever is no tenant are over anyhow.
            let quota = quota(tenant)?;
            let beyond = |count: u64, left: u64| {
                if count > left / 4 * 3 { count.saturating_sub(left / 2) } else { 0 }
            };
            let of_strangers = left(held::inbound_max(quota), of.kept.inbound);
            let inbound = beyond(of.inbound, of_strangers);
            let all = beyond(of.all, left(quota, of.kept.all)).max(of.all.saturating_sub(fair));
            let excess = Excess { all, inbound, may_go: HashMap::new() };
            (all > 0 || inbound > 0).then_some((tenant, excess))
        });
        let tenants: HashMap<_, _> = tenants.collect();
        (!tenants.is_empty()).then_some(Crowd(tenants))
    }
}

/// Who has to give up how many half-flows, and which there are.
pub struct Crowd(HashMap<u32, Excess>);

struct Excess {
    all: u64,
    /// Of strangers at least.
    inbound: u64,
    /// By the end that opened them.
    may_go: HashMap<u32, Vec<Candidate>>,
}

/// A flow that may go: its opening half.
struct Candidate {
    idle_ticks: u32,
    index: usize,
    is_inbound: bool,
}

impl Crowd {
    /// Notes a half-flow of the tenant's that is in force, opened by this end, if it may go. An
    /// answering half goes with the other one.
    pub fn note(&mut self, tenant: u32, opener: u32, index: usize, seen: u32, idle_ticks: u32) {
        let may_go = conntrack::is_dispensable(seen & status::STATE) && seen & status::REPLY == 0;
        if let Some(of) = self.0.get_mut(&tenant).filter(|_| may_go) {
            let is_inbound = seen & status::INBOUND != 0;
            let candidate = Candidate { idle_ticks, index, is_inbound };
            of.may_go.entry(opener).or_default().push(candidate);
        }
    }

    /// The lines of flows that go, both halves of each, with what their status was seen to be.
    pub fn leavers(self, table: FlowTable<'_>) -> Vec<(usize, u32)> {
        let mut leavers = Vec::new();
        for mut of in self.0.into_values() {
            let before = leavers.len();
            of.give_up(table, of.inbound, |candidate| candidate.is_inbound, &mut leavers);
            let given = (leavers.len() - before) as u64;
            of.give_up(table, of.all.saturating_sub(given), |_| true, &mut leavers);
        }
        leavers
    }
}

impl Excess {
    /// Gives so many half-flows up, of those ends that have most of them.
    fn give_up(
        &mut self,
        table: FlowTable<'_>,
        excess: u64,
        which: impl Fn(&Candidate) -> bool,
        leavers: &mut Vec<(usize, u32)>,
    ) {
        if excess == 0 {
            return;
        }
        let counts = |of: &Vec<Candidate>| 2 * of.iter().filter(|one| which(one)).count() as u64;
        let by_end: Vec<_> = self.may_go.values().map(counts).collect();
        let level = level(&by_end, by_end.iter().sum::<u64>().saturating_sub(excess));
        for candidates in self.may_go.values_mut() {
            candidates.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.idle_ticks));
            let mut more = counts(candidates).saturating_sub(level);
            candidates.retain(|candidate| {
                if more == 0 || !which(candidate) {
                    return true;
                }
                more = more.saturating_sub(2);
                let index = candidate.index;
                let flow = dispensable(table, index).into_iter().chain(partner(table, index));
                leavers.extend(flow);
                false
            });
        }
    }
}

/// How much each may have so that all of it is `room` at most: who has less keeps it.
fn level(counts: &[u64], room: u64) -> u64 {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    let (mut room, mut others) = (room, counts.len() as u64);
    for count in counts {
        if count > room / others {
            return room / others;
        }
        room -= count;
        others -= 1;
    }
    u64::MAX
}

/// What is left of a share beside what is kept of it.
fn left(share: u32, kept: u64) -> u64 {
    u64::from(share).saturating_sub(kept)
}

/// How many half-flows that may go there is room for in the table: with more than half of its
/// lines in use a new flow finds hardly any. Where those that are kept are as many, a quarter of
/// what is left.
fn room(lines: usize, kept: u64) -> u64 {
    let lines = lines as u64;
    (lines / 2).saturating_sub(kept).max(lines.saturating_sub(kept) / 4)
}

fn count(held: i32) -> u64 {
    u64::try_from(held).unwrap_or(0)
}

/// The other half of a flow that may go.
fn partner(table: FlowTable<'_>, index: usize) -> Option<(usize, u32)> {
    let at = table.more.get(index)?.partner.load() as usize;
    let names = table.more.get(at)?.partner.load() as usize;
    dispensable(table, at).filter(|_| names == index)
}

/// The line, if it is still of a flow that may go.
fn dispensable(table: FlowTable<'_>, index: usize) -> Option<(usize, u32)> {
    let seen = table.lines.get(index)?.status.load();
    let is_live = seen & status::LIFE == status::LIVE;
    (is_live && conntrack::is_dispensable(seen & status::STATE)).then_some((index, seen))
}

#[cfg(test)]
mod tests {
    use dataplane_common::{
        stage::conntrack::state,
        table::{
            flow::{FlowCold, FlowLine, FlowMore},
            secret::Secret,
        },
    };

    use super::*;

    /// A table of so many lines of which pairs are in use: whose, opened by whom, of which state,
    /// marked how, and idle for how long. Opening halves are at twice their position.
    struct Memory {
        lines: Vec<FlowLine>,
        cold: Vec<FlowCold>,
        more: Vec<FlowMore>,
        flows: Vec<Flow>,
    }

    #[derive(Clone, Copy)]
    struct Flow {
        tenant: u32,
        opener: u32,
        state: u32,
        mark: u32,
        idle_ticks: u32,
    }

    const WAITING: Flow =
        Flow { tenant: 1, opener: 1, state: state::UNREPLIED, mark: 0, idle_ticks: 9 };
    const AGREED: Flow = Flow { state: state::ESTABLISHED, ..WAITING };
    const STRANGER: Flow = Flow { opener: 7, mark: status::INBOUND, idle_ticks: 1, ..WAITING };

    const NONE: [usize; 0] = [];

    impl Memory {
        fn of(lines: usize, flows: Vec<Flow>) -> Self {
            let memory = Self {
                lines: (0..lines).map(|_| FlowLine::default()).collect(),
                cold: (0..lines).map(|_| FlowCold::default()).collect(),
                more: (0..lines).map(|_| FlowMore::default()).collect(),
                flows,
            };
            for (at, flow) in memory.flows.iter().enumerate() {
                for (index, partner, half) in
                    [(2 * at, 2 * at + 1, 0), (2 * at + 1, 2 * at, status::REPLY)]
                {
                    let status = status::LIVE | half | flow.mark | flow.state;
                    memory.lines[index].status.store(status);
                    memory.more[index].partner.store(partner as u32);
                }
            }
            memory
        }

        /// The flows that go, of tenants with this quota, by their positions.
        fn leavers(&self, quota: u32) -> Vec<usize> {
            let halves = || {
                let flows = self.flows.iter().enumerate();
                flows.flat_map(|(at, flow)| [(2 * at, flow), (2 * at + 1, flow)])
            };
            let mut census = Census::default();
            for (index, flow) in halves() {
                census.count(flow.tenant, self.lines[index].status.load());
            }
            let table = FlowTable {
                lines: &self.lines,
                cold: &self.cold,
                more: &self.more,
                away: &[],
                of_tenant: &[],
                secret: &Secret::of([1, 2]),
            };
            let kept: HashMap<_, _> = census.kept().collect();
            let kept = |tenant| kept.get(&tenant).copied().unwrap_or_default();
            let mut held = vec![0; 64];
            for flow in &self.flows {
                held[flow.tenant as usize] += 2 * held::one(flow.mark);
            }
            let held = held.into_iter().map(|count| {
                let word = Word64::default();
                word.store(count);
                word
            });
            let held: Vec<_> = held.collect();
            let is_crowded = is_crowded(&held, self.lines.len(), |_| Some(quota), kept);
            let crowd = census.crowd(self.lines.len(), |_| Some(quota)).map(|mut crowd| {
                for (index, flow) in halves() {
                    let seen = self.lines[index].status.load();
                    crowd.note(flow.tenant, flow.opener, index, seen, flow.idle_ticks);
                }
                crowd.leavers(table)
            });
            let leavers = crowd.unwrap_or_default();
            assert_eq!(is_crowded, !leavers.is_empty(), "it is looked at for nothing, or not");
            assert!(leavers.len().is_multiple_of(2), "a half without the other");
            let mut flows: Vec<_> = leavers.into_iter().map(|(index, _)| index / 2).collect();
            flows.sort_unstable();
            flows.dedup();
            flows
        }
    }

    #[test]
    fn who_has_much_of_its_share_gives_up_half_of_it_the_longest_idle_first() {
        let flows = |count: u32| (0..count).map(|at| Flow { idle_ticks: at, ..WAITING }).collect();
        assert_eq!(Memory::of(1000, flows(37)).leavers(100), NONE);
        assert_eq!(Memory::of(1000, flows(38)).leavers(100), (25..38).collect::<Vec<_>>());
    }

    #[test]
    fn what_both_agreed_to_stays_and_what_is_left_is_shared_by_those_who_wait() {
        let states = [state::SYN_SENT, state::SYN_RECEIVED, state::PICKED_UP, state::CLOSED];
        let waiting = states.map(|state| Flow { state, ..WAITING });
        let flows = [vec![AGREED; 40], waiting.to_vec()].concat();
        // Twenty half-flows are left of a hundred, of which they have eight.
        assert_eq!(Memory::of(1000, flows.clone()).leavers(100), NONE);
        let more = [flows, vec![WAITING; 4]].concat();
        assert_eq!(Memory::of(1000, more).leavers(100).len(), 3);
    }

    #[test]
    fn of_a_tenants_ends_those_give_up_that_have_most() {
        let flood = vec![Flow { opener: 2, idle_ticks: 0, ..WAITING }; 40];
        let leavers = Memory::of(1000, [vec![WAITING; 5], flood].concat()).leavers(100);
        assert_eq!(leavers.len(), 20);
        assert!(leavers.iter().all(|at| *at >= 5), "{leavers:?}");
    }

    #[test]
    fn what_is_for_strangers_is_crowded_by_strangers() {
        // Of a hundred half-flows they may have fifty.
        let flows = |count| [vec![WAITING; 2], vec![STRANGER; count]].concat();
        assert_eq!(Memory::of(1000, flows(18)).leavers(100), NONE);
        let leavers = Memory::of(1000, flows(19)).leavers(100);
        assert_eq!(leavers.len(), 7);
        assert!(leavers.iter().all(|at| *at >= 2), "{leavers:?}");
        // What goes on without a handshake is theirs and stays; an answer alone is nothing.
        let assured = vec![Flow { state: state::ASSURED, ..STRANGER }; 20];
        let answered = vec![Flow { state: state::REPLIED, ..STRANGER }; 4];
        let leavers = Memory::of(1000, [assured, answered].concat()).leavers(100);
        assert_eq!(leavers.len(), 2);
        assert!(leavers.iter().all(|at| *at >= 20), "{leavers:?}");
    }

    #[test]
    fn of_all_tenants_those_give_up_that_have_most() {
        let of = |tenant, count| vec![Flow { tenant, ..WAITING }; count];
        let agreed = vec![Flow { tenant: 2, ..AGREED }; 30];
        let flows = [agreed, of(2, 5), of(1, 40), of(3, 60)].concat();
        let leavers = Memory::of(300, flows.clone()).leavers(1000);
        assert!(leavers.iter().all(|at| *at >= 35), "{leavers:?}");
        // Of 150 lines 60 are kept; of the other 90 there is room for 67 from then on.
        let left = flows.len() - 30 - leavers.len();
        assert!((32..=34).contains(&left), "{left}");
        assert_eq!(Memory::of(600, flows).leavers(1000), NONE);
    }

    #[test]
    fn a_level_is_what_each_may_have() {
        assert_eq!(level(&[5, 10, 40], 30), 15);
        assert_eq!(level(&[20, 20, 20], 30), 10);
        assert_eq!(level(&[1, 2, 3], 30), u64::MAX);
        assert_eq!(level(&[5, 5], 0), 0);
        assert_eq!(level(&[], 7), u64::MAX);
    }
}
