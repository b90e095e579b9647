//! Which flows are given up before their time, so that others may begin?
//!
//! A flow that only one side has agreed to, or that was refused, costs whoever makes it one
//! packet. Where such flows crowd a tenant's share, or all tenants' shares the table, those go
//! that were idle longest: a new one is answered long before it is one of them. A flow that both
//! sides have agreed to never goes. (nf_conntrack calls it early drop, pf adaptive timeouts.)

use std::collections::HashMap;

use dataplane_common::{
    stage::conntrack,
    table::flow::{held, status},
    word::Word64,
};

use super::sweep::FlowTable;

/// A flow that may go.
struct Candidate {
    idle_ticks: u32,
    index: usize,
}

/// How many half-flows of a tenant have to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Excess {
    /// Of all.
    all: u64,
    /// Of those that strangers opened.
    inbound: u64,
}

/// Tenants that have too many half-flows.
#[derive(Default)]
pub struct Crowd {
    excess: HashMap<u32, Excess>,
    candidates: HashMap<u32, Vec<Candidate>>,
}

impl Crowd {
    /// Who has more than three quarters of what `quota` permits gives up a quarter of that at
    /// least, and so it is with what of it is for strangers. Where more than half of the table is
    /// in use, it finds room for hardly any more: then half of it is shared out evenly among those
    /// who use it.
    pub fn of(of_tenant: &[Word64], lines: usize, quota: impl Fn(u32) -> Option<u32>) -> Self {
        let held = (0..).zip(of_tenant).map(|(tenant, held)| (tenant, held.load()));
        let held: Vec<_> = held.filter(|&(_, held)| held::all(held) > 0).collect();
        let half = lines as u64 / 2;
        let all: u64 = held.iter().map(|&(_, held)| count(held)).sum();
        let fair = if all > half { half / held.len() as u64 } else { u64::MAX };
        let excess = held.into_iter().filter_map(|(tenant, held)| {
            let quota = quota(tenant)?;
            let all = beyond(count(held), quota).max(count(held).saturating_sub(fair));
            let inbound = beyond(inbound(held), held::inbound_max(quota));
            (all > 0 || inbound > 0).then_some((tenant, Excess { all, inbound }))
        });
        Self { excess: excess.collect(), candidates: HashMap::new() }
    }

    /// Who has too many?
    pub fn tenants(&self) -> Vec<u32> {
        self.excess.keys().copied().collect()
    }

    /// Notes a half-flow of the tenant's that is in force, if it may go. An answering half goes
    /// with the other one.
    pub fn note(&mut self, tenant: u32, index: usize, seen: u32, idle_ticks: u32) {
        let may_go = conntrack::is_dispensable(seen & status::STATE) && seen & status::REPLY == 0;
        if may_go && self.excess.contains_key(&tenant) {
            self.candidates.entry(tenant).or_default().push(Candidate { idle_ticks, index });
        }
    }

    /// The lines of flows that go, both halves of each, with what their status was seen to be.
    pub fn leavers(self, table: FlowTable<'_>) -> Vec<(usize, u32)> {
        let mut leavers = Vec::new();
        for (tenant, mut candidates) in self.candidates {
            candidates.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.idle_ticks));
            let Some(&Excess { mut all, mut inbound }) = self.excess.get(&tenant) else { continue };
            for Candidate { index, .. } in candidates {
                let Some(first) = dispensable(table, index) else { continue };
                let is_inbound = first.1 & status::INBOUND != 0;
                if all == 0 && !(is_inbound && inbound > 0) {
                    continue;
                }
                let flow = std::iter::once(first).chain(partner(table, index));
                for leaver in flow {
                    all = all.saturating_sub(1);
                    inbound = inbound.saturating_sub(u64::from(is_inbound));
                    leavers.push(leaver);
                }
            }
        }
        leavers
    }
}

fn count(held: u64) -> u64 {
    u64::try_from(held::all(held)).unwrap_or(0)
}

fn inbound(held: u64) -> u64 {
    u64::try_from(held::inbound(held)).unwrap_or(0)
}

/// How many of these have to go, of which there may be `max`?
fn beyond(count: u64, max: u32) -> u64 {
    let max = u64::from(max);
    if count > max / 4 * 3 { count.saturating_sub(max / 2) } else { 0 }
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

    fn word(value: u64) -> Word64 {
        let word = Word64::default();
        word.store(value);
        word
    }

    fn excess(counts: &[u64], lines: usize, quota: u32) -> Vec<(u32, u64)> {
        let words: Vec<_> = counts.iter().map(|&count| word(count)).collect();
        let excess = Crowd::of(&words, lines, |_| Some(quota)).excess.into_iter();
        let mut excess: Vec<_> = excess.map(|(tenant, excess)| (tenant, excess.all)).collect();
        excess.sort_unstable();
        excess
    }

    #[test]
    fn who_has_much_of_its_share_gives_up_to_half_of_it() {
        assert_eq!(excess(&[0, 75, 76, 100, 20], 1000, 100), [(2, 26), (3, 50)]);
        assert_eq!(excess(&[0, 0], 1000, 100), []);
    }

    #[test]
    fn a_table_that_is_half_full_is_shared_out_among_its_users() {
        // Half of it is 100 lines, of which each of four has 25.
        assert_eq!(excess(&[0, 60, 20, 25, 10], 200, 1000), [(1, 35)]);
        assert_eq!(excess(&[0, 50, 25, 25], 200, 1000), []);
    }

    #[test]
    fn what_is_for_strangers_is_crowded_by_strangers() {
        // Of 100 they may have 50, and have 38 of 39.
        let of_tenant = [word(0), word(38 * held::one(status::INBOUND) + held::one(0))];
        let mut crowd = Crowd::of(&of_tenant, 1000, |_| Some(100));
        assert_eq!(crowd.excess.get(&1), Some(&Excess { all: 0, inbound: 13 }));
        let lines: Vec<FlowLine> = (0..39).map(|_| FlowLine::default()).collect();
        let cold: Vec<FlowCold> = (0..39).map(|_| FlowCold::default()).collect();
        let more: Vec<FlowMore> = (0..39).map(|_| FlowMore::default()).collect();
        for (index, (line, more)) in lines.iter().zip(&more).enumerate() {
            let inbound = if index == 7 { 0 } else { status::INBOUND };
            line.status.store(status::LIVE | inbound | state::UNREPLIED);
            more.partner.store(99);
            crowd.note(1, index, line.status.load(), 100 - index as u32);
        }
        let secret = &Secret::of([1, 2]);
        let table = FlowTable {
            lines: &lines,
            cold: &cold,
            more: &more,
            away: &[],
            of_tenant: &of_tenant,
            secret,
        };
        let leavers: Vec<_> = crowd.leavers(table).into_iter().map(|(index, _)| index).collect();
        // The one from inside stays, though it was idle for longer than most.
        assert_eq!(leavers, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn who_is_no_tenant_is_no_business_of_the_crowds() {
        let words = [word(500)];
        assert!(Crowd::of(&words, 10, |_| None).tenants().is_empty());
    }

    #[test]
    fn those_that_were_idle_longest_go_and_what_both_agreed_to_stays() {
        let states = [
            (state::UNREPLIED, 5), // idle for so long
            (state::SYN_SENT, 9),
            (state::ESTABLISHED, 90),
            (state::SYN_RECEIVED, 7),
            (state::REPLIED, 80),
            (state::PICKED_UP, 1),
        ];
        let lines: Vec<FlowLine> = (0..12).map(|_| FlowLine::default()).collect();
        let cold: Vec<FlowCold> = (0..12).map(|_| FlowCold::default()).collect();
        let more: Vec<FlowMore> = (0..12).map(|_| FlowMore::default()).collect();
        let of_tenant = [word(0), word(12)];
        for (at, (state, _)) in states.into_iter().enumerate() {
            for (index, partner, half) in [(at, at + 6, 0), (at + 6, at, status::REPLY)] {
                lines[index].status.store(status::LIVE | half | state);
                more[index].partner.store(partner as u32);
            }
        }
        let table = FlowTable {
            lines: &lines,
            cold: &cold,
            more: &more,
            away: &[],
            of_tenant: &of_tenant,
            secret: &Secret::of([1, 2]),
        };
        // More than three quarters of 14: it is to have 7.
        let mut crowd = Crowd::of(&of_tenant, 1000, |_| Some(14));
        for (at, (_, idle)) in states.into_iter().enumerate() {
            for index in [at, at + 6] {
                crowd.note(1, index, lines[index].status.load(), idle);
            }
        }
        let leavers: Vec<_> = crowd.leavers(table).into_iter().map(|(index, _)| index).collect();
        assert_eq!(leavers, [1, 7, 3, 9, 0, 6]);
    }
}
