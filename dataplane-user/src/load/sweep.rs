//! Which flows are over, and what have they carried?
//!
//! A pass through the flow table has three parts. It *folds*: what a half-flow has
//! forwarded since the last pass is added to its rules' and its tenant's totals
//! (`totals.rs`). It
//! *marks*: a pair that saw no packet for as long as its state allows becomes dead. And
//! after a grace period, when no packet holds a dead line's index any more, it
//! *empties*: the rest is folded, the counters start from zero, the tenant's quota is
//! given back, and the line is free.
//!
//! All of it works on plain memory, the kernel's or a test's.

use dataplane_common::{
    stage::conntrack,
    table::{
        flow::{FlowCold, FlowLine, FlowMore, bucket_of, held, homes, status},
        secret::Secret,
    },
    word::Word64,
};

use super::{
    crowd::{Census, Kept},
    flows::since,
    totals::{Pen, Totals},
};

/// The flow table: lines, their cold parts, and how many lines each tenant has.
#[derive(Clone, Copy)]
pub struct FlowTable<'t> {
    /// The hot parts.
    pub lines: &'t [FlowLine],
    /// The cold parts, by the same index.
    pub cold: &'t [FlowCold],
    /// The rest, by the same index.
    pub more: &'t [FlowMore],
    /// By bucket: half-flows that are in their second one.
    pub away: &'t [Word64],
    /// By tenant ([`held`]).
    pub of_tenant: &'t [Word64],
    /// What keys are hashed with.
    pub secret: &'t Secret,
}

/// What a pass found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Swept {
    /// Half-flows in force at the end.
    pub live: usize,
    /// That it marked dead.
    pub expired: usize,
    /// That it marked dead before their time, as others found no room.
    pub crowded_out: usize,
    /// That it emptied.
    pub emptied: usize,
    /// By tenant, what does not go though others find no room.
    pub kept: Vec<(u32, Kept)>,
}

/// One pass. Flows of whoever has no `quota`, half-flows that a tenant may have, are over. `grace`
/// waits until no packet is under way that was under way at its call; if it fails, dead lines stay
/// dead until the next pass.
pub fn sweep<P: Pen, E>(
    table: FlowTable<'_>,
    totals: &mut Totals<'_, P>,
    quota: impl Fn(u32) -> Option<u32>,
    now_ticks: u32,
    grace: impl FnOnce() -> Result<(), E>,
) -> Result<Swept, E> {
    let mut swept = Swept::default();
    let mut census = Census::default();
    let mut dead = Vec::new();
    for (index, (line, cold)) in table.lines.iter().zip(table.cold).enumerate() {
        let seen = line.status.load();
        match seen & status::LIFE {
            status::LIVE => {
                totals.fold(table.lines, table.cold, index);
                let tenant = cold.tenant.load();
                let is_over = quota(tenant).is_none() || is_over(table, index, now_ticks);
                if is_over && mark(line, seen, totals.pen) {
                    swept.expired += 1;
                    dead.push(index);
                } else {
                    swept.live += 1;
                    census.count(tenant, seen);
                }
            }
            status::DEAD => dead.push(index),
            _ => {}
        }
    }
    swept.kept = census.kept().collect();
    for (index, seen) in leavers(table, &census, quota, now_ticks) {
        if table.lines.get(index).is_some_and(|line| mark(line, seen, totals.pen)) {
            swept.live -= 1;
            swept.crowded_out += 1;
            dead.push(index);
        }
    }
    if dead.is_empty() {
        return Ok(swept);
    }
    grace()?;
    for index in dead {
        swept.emptied += usize::from(empty(table, index, totals));
    }
    Ok(swept)
}

/// Flows that go before their time, as others find no room.
fn leavers(
    table: FlowTable<'_>,
    census: &Census,
    quota: impl Fn(u32) -> Option<u32>,
    now_ticks: u32,
) -> Vec<(usize, u32)> {
    let Some(mut crowd) = census.crowd(table.lines.len(), quota) else { return Vec::new() };
    for (index, (line, cold)) in table.lines.iter().zip(table.cold).enumerate() {
        let seen = line.status.load();
        if seen & status::LIFE == status::LIVE {
            let (tenant, opener) = (cold.tenant.load(), cold.opener.load());
            crowd.note(tenant, opener, index, seen, idle_ticks(line, now_ticks));
        }
    }
    crowd.leavers(table)
}

/// Has the line been idle for too long, and its other half too? The programs ask the
/// same (`stage/flow_record.rs`); a pair is given up as a pair, so that no half outlives the
/// other.
fn is_over(table: FlowTable<'_>, index: usize, now_ticks: u32) -> bool {
    let (Some(line), Some(more)) = (table.lines.get(index), table.more.get(index)) else {
        return false;
    };
    let (idle, idle_max) = (idle_ticks(line, now_ticks), idle_max(line));
    if idle < idle_max {
        // Of most, nothing else has to be looked at: the other half lies anywhere.
        return false;
    }
    let at = more.partner.load() as usize;
    match table.lines.get(at).zip(table.more.get(at)) {
        Some((partner, its)) if its.partner.load() as usize == index => {
            let idle = idle.min(idle_ticks(partner, now_ticks));
            let is_live = partner.status.load() & status::LIFE == status::LIVE;
            idle >= if is_live { idle_max.max(self::idle_max(partner)) } else { idle_max }
        }
        // A line that was given to another flow says nothing about this one.
        _ => idle >= idle_max,
    }
}

fn idle_ticks(line: &FlowLine, now_ticks: u32) -> u32 {
    since(now_ticks, line.seen_ticks.load())
}

/// A tick is 1.05 ms, and counts as one, as in the programs.
fn idle_max(line: &FlowLine) -> u32 {
    conntrack::idle_ms_max(line.status.load() & status::STATE, line.key().protocol)
}

/// Gives the line up, unless a packet has rewritten it since its status was `seen`.
fn mark(line: &FlowLine, seen: u32, pen: &impl Pen) -> bool {
    pen.swap32(&line.status, seen, (seen & !status::LIFE) | status::DEAD)
}

/// Frees a line that nobody uses any more, if its counters could be taken over. The sequence
/// stays, so that whoever takes the line next goes on counting.
fn empty<P: Pen>(table: FlowTable<'_>, index: usize, totals: &mut Totals<'_, P>) -> bool {
    let (Some(line), Some(cold)) = (table.lines.get(index), table.cold.get(index)) else {
        return false;
    };
    totals.fold(table.lines, table.cold, index);
    if cold.forwarded(line).0 as u32 != cold.folded_packets.load() {
        return false;
    }
    totals.clear(table.lines, table.cold, index);
    // Dying here gives the quota back twice: a tenant may then have a half-flow more. The other
    // way round it would have one less for ever.
    if let Some(held) = table.of_tenant.get(cold.tenant.load() as usize) {
        totals.pen.add(held, 0_u64.wrapping_sub(held::one(line.status.load())));
    }
    let home = homes(&line.key().words(), table.secret, table.lines.len() as u32)[0];
    totals.pen.put32(&line.status, line.status.load() & !(status::SEQUENCE - 1));
    // Only now: dying before, a bucket may be taken to have a half-flow away that is no more. The
    // other way round, one that is away would not be found.
    if bucket_of(home) != bucket_of(index as u32)
        && let Some(away) = table.away.get(bucket_of(home) as usize)
        && away.load() > 0
    {
        totals.pen.add(away, u64::MAX);
    }
    true
}

#[cfg(test)]
mod tests;
