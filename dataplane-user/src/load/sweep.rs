//! Which flows are over, and what have they carried?
//!
//! A pass through the flow table has three parts. It *folds*: what a half-flow has
//! forwarded since the last pass is added to its rules' and its tenant's totals. It
//! *marks*: a pair that saw no packet for as long as its state allows becomes dead. And
//! after a grace period, when no packet holds a dead line's index any more, it
//! *empties*: the rest is folded, the counters start from zero, the tenant's quota is
//! given back, and the line is free.
//!
//! All of it works on plain memory, the kernel's or a test's.

use std::collections::HashMap;

use dataplane_common::{
    stage::conntrack,
    table::flow::{FlowCold, FlowLine, status},
    tables::Tally,
    word::Word64,
};

use super::flows::since;

/// The flow table: lines, their cold parts, and how many lines each tenant has.
#[derive(Clone, Copy)]
pub struct FlowTable<'t> {
    /// The hot parts.
    pub lines: &'t [FlowLine],
    /// The cold parts, by the same index.
    pub cold: &'t [FlowCold],
    /// By tenant.
    pub of_tenant: &'t [Word64],
}

/// What flows have carried since this process began to fold.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// By rule. A packet counts for the sender's rule and for the receiver's.
    pub rules: HashMap<u32, Tally>,
    /// By the tenant that pays for the flow.
    pub tenants: HashMap<u32, Tally>,
}

/// What a pass found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Swept {
    /// Half-flows in force at the end.
    pub live: usize,
    /// That it marked dead.
    pub expired: usize,
    /// That it emptied.
    pub emptied: usize,
}

/// One pass. Flows of whoever is no `is_tenant` are over. `grace` waits until no packet is under way that was under way at its
/// call; if it fails, dead lines stay dead until the next pass.
pub fn sweep<E>(
    table: FlowTable<'_>,
    totals: &mut Totals,
    is_tenant: impl Fn(u32) -> bool,
    now_ticks: u32,
    grace: impl FnOnce() -> Result<(), E>,
) -> Result<Swept, E> {
    let mut swept = Swept::default();
    let mut dead = Vec::new();
    for (index, (line, cold)) in table.lines.iter().zip(table.cold).enumerate() {
        let seen = line.status.load();
        match seen & status::LIFE {
            status::LIVE => {
                fold(cold, totals);
                let is_over = !is_tenant(cold.tenant.load()) || is_over(table, index, now_ticks);
                if is_over && mark(line, seen) {
                    swept.expired += 1;
                    dead.push(index);
                } else {
                    swept.live += 1;
                }
            }
            status::DEAD => dead.push(index),
            _ => {}
        }
    }
    if dead.is_empty() {
        return Ok(swept);
    }
    grace()?;
    for index in dead {
        if let (Some(line), Some(cold)) = (table.lines.get(index), table.cold.get(index)) {
            empty(line, cold, table.of_tenant, totals);
            swept.emptied += 1;
        }
    }
    Ok(swept)
}

/// Adds to the totals what the half-flow has forwarded since it was last folded.
fn fold(cold: &FlowCold, totals: &mut Totals) {
    let packets = cold.packets.load();
    let bytes = cold.bytes.load();
    // The low words differ by less than 2^32 packets a pass.
    let more = Tally {
        packets: u64::from((packets as u32).wrapping_sub(cold.folded_packets.load())),
        bytes: bytes.wrapping_sub(cold.folded_bytes.load()),
    };
    if more == Tally::default() {
        return;
    }
    cold.folded_packets.store(packets as u32);
    cold.folded_bytes.store(bytes);
    let rules = [cold.rule_egress.load(), cold.rule_ingress.load()];
    for rule in rules.into_iter().filter(|&rule| rule != 0) {
        add(totals.rules.entry(rule).or_default(), more);
    }
    add(totals.tenants.entry(cold.tenant.load()).or_default(), more);
}

fn add(total: &mut Tally, more: Tally) {
    total.packets += more.packets;
    total.bytes += more.bytes;
}

/// Has the line been idle for too long, and its other half too? The programs ask the
/// same (`stage/flow.rs`); a pair is given up as a pair, so that no half outlives the
/// other.
fn is_over(table: FlowTable<'_>, index: usize, now_ticks: u32) -> bool {
    let Some(line) = table.lines.get(index) else { return false };
    let (idle, idle_max) = (idle_ticks(line, now_ticks), idle_max(line));
    match table.lines.get(line.partner.load() as usize) {
        Some(partner) if partner.partner.load() as usize == index => {
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
fn mark(line: &FlowLine, seen: u32) -> bool {
    line.status.swap(seen, (seen & !status::LIFE) | status::DEAD)
}

/// Frees a line that nobody uses any more. The sequence stays, so that whoever takes
/// the line next goes on counting.
fn empty(line: &FlowLine, cold: &FlowCold, of_tenant: &[Word64], totals: &mut Totals) {
    fold(cold, totals);
    cold.packets.store(0);
    cold.bytes.store(0);
    cold.folded_packets.store(0);
    cold.folded_bytes.store(0);
    if let Some(count) = of_tenant.get(cold.tenant.load() as usize)
        && count.load() > 0
    {
        count.add(u64::MAX); // one less
    }
    line.status.store(line.status.load() & !(status::SEQUENCE - 1));
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::RwLock, thread};

    use dataplane_common::{
        stage::conntrack::state, table::flow::FlowKey, wire::protocol, word::Word32,
    };

    use super::*;

    const TENANT: u32 = 3;
    const UNREPLIED_TICKS: u32 = 30_000;
    const REPLIED_TICKS: u32 = 120_000;

    fn anybody(_: u32) -> bool {
        true
    }

    struct Memory {
        lines: Vec<FlowLine>,
        cold: Vec<FlowCold>,
        of_tenant: Vec<Word64>,
        totals: Totals,
    }

    #[test]
    fn a_pair_is_given_up_when_both_halves_are_idle() {
        let mut memory = Memory::new(8);
        memory.open(1, 5, state::REPLIED, 1000);
        memory.lines[5].seen_ticks.store(2000);
        assert_eq!(memory.sweep(1000 + REPLIED_TICKS), Swept { live: 2, ..Swept::default() });
        assert_eq!(memory.sweep(1999 + REPLIED_TICKS), Swept { live: 2, ..Swept::default() });
        assert_eq!(memory.sweep(2000 + REPLIED_TICKS), Swept { live: 0, expired: 2, emptied: 2 });
        assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
    }

    #[test]
    fn an_emptied_line_keeps_nothing_but_its_sequence() {
        let mut memory = Memory::new(4);
        memory.open(0, 3, state::UNREPLIED, 0);
        memory.forward(0, 7, 700);
        memory.sweep(UNREPLIED_TICKS);
        assert_eq!(memory.lines[0].status.load(), 9 * status::SEQUENCE);
        let cold = &memory.cold[0];
        assert_eq!((cold.packets.load(), cold.bytes.load()), (0, 0));
        assert_eq!((cold.folded_packets.load(), cold.folded_bytes.load()), (0, 0));
        assert_eq!(memory.totals.tenants[&TENANT], Tally { packets: 7, bytes: 700 });
    }

    #[test]
    fn flows_of_a_tenant_that_is_no_more_are_over() {
        let memory = Memory::new(4);
        memory.open(0, 1, state::ESTABLISHED, 0);
        let (table, totals) = (memory.table(), &mut Totals::default());
        let swept = sweep(table, totals, |tenant| tenant != TENANT, 1, || Ok::<_, Infallible>(()));
        assert_eq!(swept, Ok(Swept { live: 0, expired: 2, emptied: 2 }));
        assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
    }

    #[test]
    fn without_grace_a_dead_line_stays() {
        let mut memory = Memory::new(4);
        memory.open(0, 1, state::UNREPLIED, 0);
        let table = memory.table();
        let refused: Result<Swept, u8> =
            sweep(table, &mut Totals::default(), anybody, UNREPLIED_TICKS, || Err(7));
        assert_eq!(refused, Err(7));
        assert_eq!(memory.lines[0].status.load() & status::LIFE, status::DEAD);
        assert_eq!(memory.of_tenant[TENANT as usize].load(), 2);
        let next = memory.sweep(UNREPLIED_TICKS);
        assert_eq!(next, Swept { live: 0, expired: 0, emptied: 2 });
    }

    #[test]
    fn a_packet_quicker_than_our_clock_keeps_its_flow() {
        let mut memory = Memory::new(4);
        memory.open(0, 1, state::UNREPLIED, 101);
        assert_eq!(memory.sweep(100).live, 2);
        memory.open(2, 3, state::UNREPLIED, 5);
        assert_eq!(memory.sweep(u32::MAX - 5).live, 4);
    }

    #[test]
    fn a_line_rewritten_meanwhile_is_not_given_up() {
        let memory = Memory::new(4);
        memory.open(0, 1, state::UNREPLIED, 0);
        let seen = memory.lines[0].status.load();
        memory.lines[0].status.store(seen + status::SEQUENCE);
        assert!(!mark(&memory.lines[0], seen));
        assert_eq!(memory.lines[0].status.load(), seen + status::SEQUENCE);
    }

    #[test]
    fn a_half_without_its_other_expires_alone() {
        let mut memory = Memory::new(4);
        memory.open(0, 1, state::UNREPLIED, 500);
        memory.lines[1].status.store(status::DEAD);
        assert_eq!(memory.sweep(600), Swept { live: 1, expired: 0, emptied: 1 });
        // The line of the other half is another flow's now.
        memory.open(1, 3, state::REPLIED, 10_000);
        assert_eq!(memory.sweep(499 + UNREPLIED_TICKS), Swept { live: 3, ..Swept::default() });
        assert_eq!(memory.sweep(500 + UNREPLIED_TICKS), Swept { live: 2, expired: 1, emptied: 1 });
    }

    #[test]
    fn what_arrives_until_the_grace_period_ends_is_folded() {
        let mut memory = Memory::new(4);
        memory.open(0, 1, state::UNREPLIED, 0);
        memory.forward(0, 1, 100);
        let (lines, cold, of_tenant) = (&memory.lines, &memory.cold, &memory.of_tenant);
        let table = FlowTable { lines, cold, of_tenant };
        let swept = sweep(table, &mut memory.totals, anybody, UNREPLIED_TICKS, || {
            cold[0].packets.add(2);
            cold[0].bytes.add(200);
            Ok::<_, Infallible>(())
        });
        assert_eq!(swept.map(|swept| swept.emptied), Ok(2));
        assert_eq!(memory.totals.rules[&11], Tally { packets: 3, bytes: 300 });
        assert_eq!(memory.totals.rules[&22], Tally { packets: 3, bytes: 300 });
    }

    /// Whatever comes in whatever order, every packet is counted once.
    #[test]
    fn every_packet_is_folded_once() {
        let mut memory = Memory::new(64);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut forwarded = Tally::default();
        let mut now = 0_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = (random >> 40) as usize % 32;
            let is_live = memory.lines[index].status.load() & status::LIFE == status::LIVE;
            match random >> 60 {
                0 => {
                    memory.sweep(now);
                }
                1..=3 if !is_live => memory.open(index, index + 32, state::UNREPLIED, now),
                4..=6 => now += 5000,
                _ if is_live => {
                    let packets = (random >> 33) & 0xff;
                    memory.forward(index, packets, packets * 60);
                    memory.lines[index].seen_ticks.store(now);
                    forwarded.packets += packets;
                    forwarded.bytes += packets * 60;
                }
                _ => {}
            }
        }
        memory.sweep(now + 10 * UNREPLIED_TICKS);
        assert!(forwarded.packets > 100_000, "{forwarded:?}");
        assert_eq!(memory.totals.tenants[&TENANT], forwarded);
        assert_eq!(memory.totals.rules[&11], forwarded);
        assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
    }

    /// Packets on other threads open, use and give up flows while they are swept. A lock
    /// that every packet holds for reading plays the grace period.
    #[test]
    fn nothing_is_lost_among_packets_of_other_threads() {
        const THREADS: u64 = 3;
        const PACKETS: u64 = 100_000;
        let memory = Memory::new(512);
        let under_way = RwLock::new(());
        let (now, done) = (Word32::default(), Word32::default());
        let mut totals = Totals::default();
        let grace = || {
            drop(under_way.write());
            Ok::<_, Infallible>(())
        };
        let forwarded = thread::scope(|scope| {
            let packet = |random: u64| {
                let _guard = under_way.read();
                memory.packet((random >> 40) as usize % 256, now.load())
            };
            let workers: Vec<_> = (1..=THREADS)
                .map(|seed| {
                    let done = &done;
                    scope.spawn(move || {
                        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        let mut forwarded = 0;
                        for _ in 0..PACKETS {
                            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            forwarded += u64::from(packet(random));
                        }
                        done.add(1);
                        forwarded
                    })
                })
                .collect();
            let mut emptied = 0;
            while done.load() < THREADS as u32 {
                now.add(UNREPLIED_TICKS);
                emptied +=
                    sweep(memory.table(), &mut totals, anybody, now.load(), grace).unwrap().emptied;
            }
            assert!(emptied > 0);
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum::<u64>()
        });
        sweep(memory.table(), &mut totals, anybody, now.load() + UNREPLIED_TICKS, grace).unwrap();
        assert_eq!(totals.tenants[&TENANT], Tally { packets: forwarded, bytes: forwarded * 60 });
        assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
    }

    impl Memory {
        fn new(lines: usize) -> Self {
            Self {
                lines: (0..lines).map(|_| FlowLine::default()).collect(),
                cold: (0..lines).map(|_| FlowCold::default()).collect(),
                of_tenant: (0..8).map(|_| Word64::default()).collect(),
                totals: Totals::default(),
            }
        }

        fn table(&self) -> FlowTable<'_> {
            FlowTable { lines: &self.lines, cold: &self.cold, of_tenant: &self.of_tenant }
        }

        fn sweep(&mut self, now_ticks: u32) -> Swept {
            let (lines, cold, of_tenant) = (&self.lines, &self.cold, &self.of_tenant);
            let table = FlowTable { lines, cold, of_tenant };
            sweep(table, &mut self.totals, anybody, now_ticks, || Ok::<_, Infallible>(())).unwrap()
        }

        /// As the programs do it.
        fn open(&self, forward: usize, reply: usize, state: u32, now_ticks: u32) {
            for (index, partner, half) in [(forward, reply, 0), (reply, forward, status::REPLY)] {
                let (line, cold) = (&self.lines[index], &self.cold[index]);
                let key = FlowKey { protocol: protocol::UDP, ..FlowKey::default() };
                line.set_key(&key.words());
                line.seen_ticks.store(now_ticks);
                line.partner.store(partner as u32);
                cold.tenant.store(TENANT);
                cold.rule_egress.store(11);
                cold.rule_ingress.store(22);
                line.status.store((9 * status::SEQUENCE) | status::LIVE | half | state);
            }
            self.of_tenant[TENANT as usize].add(2);
        }

        /// A packet of flow `index`, as the programs treat it: it uses its line, or takes
        /// an empty one with its other half, or is stopped. Was it forwarded?
        fn packet(&self, index: usize, now_ticks: u32) -> bool {
            let line = &self.lines[index];
            let status = line.status.load();
            if status & status::LIFE == status::LIVE {
                line.seen_ticks.store(now_ticks);
                self.forward(index, 1, 60);
                return true;
            }
            let quota = &self.of_tenant[TENANT as usize];
            quota.add(2);
            let Some(seen) = self.take(index, now_ticks) else {
                quota.add(0_u64.wrapping_sub(2));
                return false;
            };
            if self.take(index + 256, now_ticks).is_none() {
                quota.add(0_u64.wrapping_sub(1));
                line.status.swap(seen, seen | status::DEAD);
                return false;
            }
            line.partner.store(index as u32 + 256);
            self.lines[index + 256].partner.store(index as u32);
            self.forward(index, 1, 60);
            true
        }

        fn take(&self, index: usize, now_ticks: u32) -> Option<u32> {
            let (line, cold) = (&self.lines[index], &self.cold[index]);
            let old = line.status.load();
            let sequence = old.wrapping_add(status::SEQUENCE) & !0xffff;
            if old & status::LIFE != status::EMPTY
                || !line.status.swap(old, sequence | status::BUSY)
            {
                return None;
            }
            line.set_key(&FlowKey { protocol: protocol::UDP, ..FlowKey::default() }.words());
            line.seen_ticks.store(now_ticks);
            line.partner.store(0);
            cold.tenant.store(TENANT);
            let live = sequence | status::LIVE | state::UNREPLIED;
            line.status.store(live);
            Some(live)
        }

        fn forward(&self, index: usize, packets: u64, bytes: u64) {
            self.cold[index].packets.add(packets);
            self.cold[index].bytes.add(bytes);
        }
    }
}
