//! Is everything counted once, and nothing given up before its time?

use std::{cell::Cell, convert::Infallible, sync::RwLock, thread};

use dataplane_common::{
    stage::conntrack::state,
    table::{
        flow::{FlowKey, packed},
        total::{Intent, Total},
    },
    tables::Tally,
    wire::protocol,
    word::Word32,
};

use super::*;
use crate::load::totals::{Index, Ink};

const TENANT: u32 = 3;
const UNREPLIED_TICKS: u32 = 30_000;
const ASSURED_TICKS: u32 = 120_000;

fn anybody(_: u32) -> Option<u32> {
    Some(u32::MAX)
}

struct Memory {
    lines: Vec<FlowLine>,
    cold: Vec<FlowCold>,
    more: Vec<FlowMore>,
    away: Vec<Word64>,
    of_tenant: Vec<Word64>,
    secret: Secret,
    books: Books,
}

/// Totals for a test.
struct Books {
    totals: Vec<Total>,
    intent: Intent,
    index: Index,
}

impl Books {
    fn new() -> Self {
        let totals: Vec<_> = (0..16).map(|_| Total::default()).collect();
        let index = Index::of(&totals);
        Self { totals, intent: Intent::default(), index }
    }

    fn with<'t, P>(&'t mut self, pen: &'t P) -> Totals<'t, P> {
        let Self { totals, intent, index } = self;
        Totals { totals, intent, index, pen }
    }

    fn of_rule(&self, rule: u32) -> Tally {
        self.index.of_rule(&self.totals, rule)
    }

    fn of_tenant(&self) -> Tally {
        self.index.of_tenant(&self.totals, TENANT)
    }
}

/// The pen of a process that is killed after so many strokes: what it writes then is never
/// written.
struct Dying(Cell<u32>);

impl Dying {
    fn lives(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

impl Pen for Dying {
    fn put(&self, word: &Word64, value: u64) {
        if self.lives() {
            word.store(value);
        }
    }

    fn put32(&self, word: &Word32, value: u32) {
        if self.lives() {
            word.store(value);
        }
    }

    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool {
        self.lives() && word.swap(old, new)
    }

    fn add(&self, word: &Word64, value: u64) {
        if self.lives() {
            word.add(value);
        }
    }
}

#[test]
fn whenever_the_process_dies_each_packet_is_counted_once() {
    // Three pairs: one that is over, one that lives, and one whose ends have one rule.
    let begin = || {
        let memory = Memory::new(8);
        memory.open(0, 1, state::UNREPLIED, 0);
        memory.open(2, 3, state::ASSURED, UNREPLIED_TICKS);
        memory.open(4, 5, state::ASSURED, UNREPLIED_TICKS);
        memory.cold[4].rule_ingress.store(11);
        for (line, packets) in [(0, 3), (1, 5), (2, 7), (3, 11), (4, 13)] {
            memory.forward(line, packets, packets * 60);
        }
        memory
    };
    let tally = |packets| Tally { packets, bytes: packets * 60 };
    let mut strokes = 0;
    loop {
        let mut memory = begin();
        let Memory { lines, cold, more, away, of_tenant, secret, books } = &mut memory;
        let table = FlowTable { lines, cold, more, away, of_tenant, secret };
        let grace = || Ok::<_, Infallible>(());
        let pen = Dying(Cell::new(strokes));
        sweep(table, &mut books.with(&pen), anybody, UNREPLIED_TICKS, grace).unwrap();
        let is_whole = pen.0.get() > 0;

        // Packets go on; another process finds what is there.
        lines[2].seen_ticks.store(UNREPLIED_TICKS);
        cold[2].packets.add(1);
        cold[2].bytes.add(60);
        books.index = Index::of(&books.totals);
        books.with(&Ink).recover(lines, cold);
        for _ in 0..2 {
            let totals = &mut books.with(&Ink);
            sweep(table, totals, anybody, UNREPLIED_TICKS, grace).unwrap();
        }
        let Books { totals, index, .. } = books;
        let when = format!("killed after {strokes} strokes");
        assert_eq!(index.of_tenant(totals, TENANT), tally(40), "{when}");
        assert_eq!(index.of_rule(totals, 11), tally(40 + 13), "{when}");
        assert_eq!(index.of_rule(totals, 22), tally(40 - 13), "{when}");
        let halves = of_tenant[TENANT as usize].load();
        assert!((3..=4).contains(&halves), "{halves} after {strokes} strokes");
        assert_eq!(lines[0].status.load() & status::LIFE, status::EMPTY);
        if is_whole {
            break;
        }
        strokes += 1;
    }
    assert!(strokes > 50, "{strokes} strokes");
}

#[test]
fn a_total_without_room_waits() {
    let mut memory = Memory::new(4);
    memory.books.totals.truncate(2);
    memory.books.index = Index::of(&memory.books.totals);
    memory.open(0, 1, state::UNREPLIED, 0);
    memory.forward(0, 7, 700);
    let swept = memory.sweep(UNREPLIED_TICKS);
    assert_eq!((swept.expired, swept.emptied), (2, 1));
    assert_eq!(memory.lines[0].status.load() & status::LIFE, status::DEAD);
    memory.books.with(&Ink).forget_rules(|rule| rule == 11);
    memory.cold[0].rule_egress.store(0);
    assert_eq!(memory.sweep(UNREPLIED_TICKS).emptied, 1);
    assert_eq!(memory.books.of_tenant(), Tally { packets: 7, bytes: 700 });
}

#[test]
fn a_pair_is_given_up_when_both_halves_are_idle() {
    let mut memory = Memory::new(8);
    memory.open(1, 5, state::ASSURED, 1000);
    memory.lines[5].seen_ticks.store(2000);
    let kept = vec![(TENANT, Kept { all: 2, inbound: 0 })];
    let both = Swept { live: 2, kept, ..Swept::default() };
    assert_eq!(memory.sweep(1000 + ASSURED_TICKS), both);
    assert_eq!(memory.sweep(1999 + ASSURED_TICKS), both);
    assert_eq!(
        memory.sweep(2000 + ASSURED_TICKS),
        Swept { live: 0, expired: 2, emptied: 2, ..Swept::default() }
    );
    assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
}

#[test]
fn what_nobody_answered_is_not_kept_for_days() {
    let mut memory = Memory::new(4);
    memory.open(0, 1, state::PICKED_UP, 0);
    assert_eq!(memory.sweep(299_999).live, 2);
    assert_eq!(
        memory.sweep(300_000),
        Swept { live: 0, expired: 2, emptied: 2, ..Swept::default() }
    );
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
    assert_eq!(memory.books.of_tenant(), Tally { packets: 7, bytes: 700 });
}

#[test]
fn what_a_stranger_opened_is_given_back_where_it_was_taken() {
    let mut memory = Memory::new(4);
    memory.open(0, 1, state::UNREPLIED, 0);
    memory.open(2, 3, state::ASSURED, 0);
    for line in &memory.lines[..2] {
        line.status.store(line.status.load() | status::INBOUND);
    }
    let held = &memory.of_tenant[TENANT as usize];
    held.store(held.load() + 2 * (held::one(status::INBOUND) - held::one(0)));
    assert_eq!((held::all(held.load()), held::inbound(held.load())), (4, 2));
    memory.sweep(UNREPLIED_TICKS);
    assert_eq!(memory.of_tenant[TENANT as usize].load(), 2 * held::one(0));
    assert_eq!(memory.lines[0].status.load(), 9 * status::SEQUENCE);
}

#[test]
fn a_bucket_has_no_key_away_any_more_when_its_line_is_free() {
    let mut memory = Memory::new(64);
    memory.open(0, 63, state::UNREPLIED, 0);
    let home = homes(&memory.lines[0].key().words(), &memory.secret, 64)[0];
    let away = |memory: &Memory| memory.away[bucket_of(home) as usize].load();
    assert!(bucket_of(home) != 0 && bucket_of(home) != 7, "both are away");
    memory.away[bucket_of(home) as usize].store(3);
    memory.sweep(UNREPLIED_TICKS - 1);
    assert_eq!(away(&memory), 3);
    memory.sweep(UNREPLIED_TICKS);
    assert_eq!(away(&memory), 1);
}

#[test]
fn flows_of_a_tenant_that_is_no_more_are_over() {
    let (memory, mut books) = (Memory::new(4), Books::new());
    memory.open(0, 1, state::ESTABLISHED, 0);
    let (table, totals) = (memory.table(), &mut books.with(&Ink));
    let swept = sweep(
        table,
        totals,
        |tenant| (tenant != TENANT).then_some(9),
        1,
        || Ok::<_, Infallible>(()),
    );
    assert_eq!(swept, Ok(Swept { live: 0, expired: 2, emptied: 2, ..Swept::default() }));
    assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
}

#[test]
fn without_grace_a_dead_line_stays() {
    let mut memory = Memory::new(4);
    memory.open(0, 1, state::UNREPLIED, 0);
    let (table, mut books) = (memory.table(), Books::new());
    let refused: Result<Swept, u8> =
        sweep(table, &mut books.with(&Ink), anybody, UNREPLIED_TICKS, || Err(7));
    assert_eq!(refused, Err(7));
    assert_eq!(memory.lines[0].status.load() & status::LIFE, status::DEAD);
    assert_eq!(memory.of_tenant[TENANT as usize].load(), 2);
    let next = memory.sweep(UNREPLIED_TICKS);
    assert_eq!(next, Swept { live: 0, expired: 0, emptied: 2, ..Swept::default() });
}

#[test]
fn a_packet_quicker_than_our_clock_keeps_its_flow() {
    let mut memory = Memory::new(16);
    memory.open(0, 1, state::UNREPLIED, 101);
    assert_eq!(memory.sweep(100).live, 2);
    memory.open(2, 3, state::UNREPLIED, 5);
    assert_eq!(memory.sweep(u32::MAX - 5).live, 4);
}

#[test]
fn a_line_rewritten_meanwhile_is_not_given_up() {
    let memory = Memory::new(16);
    memory.open(0, 1, state::UNREPLIED, 0);
    let seen = memory.lines[0].status.load();
    memory.lines[0].status.store(seen + status::SEQUENCE);
    assert!(!mark(&memory.lines[0], seen, &Ink));
    assert_eq!(memory.lines[0].status.load(), seen + status::SEQUENCE);
}

#[test]
fn a_half_without_its_other_expires_alone() {
    let mut memory = Memory::new(16);
    memory.open(0, 1, state::UNREPLIED, 500);
    memory.lines[1].status.store(status::DEAD);
    assert_eq!(memory.sweep(600), Swept { live: 1, expired: 0, emptied: 1, ..Swept::default() });
    // The line of the other half is another flow's now.
    memory.open(1, 3, state::ASSURED, 10_000);
    assert_eq!(
        memory.sweep(499 + UNREPLIED_TICKS),
        Swept { live: 3, kept: vec![(TENANT, Kept { all: 2, inbound: 0 })], ..Swept::default() }
    );
    assert_eq!(
        memory.sweep(500 + UNREPLIED_TICKS),
        Swept {
            live: 2,
            expired: 1,
            emptied: 1,
            kept: vec![(TENANT, Kept { all: 2, inbound: 0 })],
            ..Swept::default()
        }
    );
}

#[test]
fn what_arrives_until_the_grace_period_ends_is_folded() {
    let mut memory = Memory::new(4);
    memory.open(0, 1, state::UNREPLIED, 0);
    memory.forward(0, 1, 100);
    let Memory { lines, cold, more, away, of_tenant, secret, books } = &mut memory;
    let table = FlowTable { lines, cold, more, away, of_tenant, secret };
    let totals = &mut books.with(&Ink);
    let swept = sweep(table, totals, anybody, UNREPLIED_TICKS, || {
        cold[0].packets.add(2);
        cold[0].bytes.add(200);
        Ok::<_, Infallible>(())
    });
    assert_eq!(swept.map(|swept| swept.emptied), Ok(2));
    assert_eq!(memory.books.of_rule(11), Tally { packets: 3, bytes: 300 });
    assert_eq!(memory.books.of_rule(22), Tally { packets: 3, bytes: 300 });
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
    assert_eq!(memory.books.of_tenant(), forwarded);
    assert_eq!(memory.books.of_rule(11), forwarded);
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
    let (now, done, emptied) = (Word32::default(), Word32::default(), Word32::default());
    let mut books = Books::new();
    let mut totals = books.with(&Ink);
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
                let (done, emptied) = (&done, &emptied);
                scope.spawn(move || {
                    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let mut forwarded = 0;
                    for packets in 0..100 * PACKETS {
                        // On a busy machine the sweeper may come late.
                        if packets >= PACKETS && emptied.load() > 0 {
                            break;
                        }
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        forwarded += u64::from(packet(random));
                    }
                    done.add(1);
                    forwarded
                })
            })
            .collect();
        while done.load() < THREADS as u32 {
            now.add(UNREPLIED_TICKS);
            let swept = sweep(memory.table(), &mut totals, anybody, now.load(), grace);
            emptied.add(swept.unwrap().emptied as u32);
        }
        assert!(emptied.load() > 0);
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum::<u64>()
    });
    sweep(memory.table(), &mut totals, anybody, now.load() + UNREPLIED_TICKS, grace).unwrap();
    assert_eq!(books.of_tenant(), Tally { packets: forwarded, bytes: forwarded * 60 });
    assert_eq!(memory.of_tenant[TENANT as usize].load(), 0);
}

impl Memory {
    fn new(lines: usize) -> Self {
        Self {
            lines: (0..lines).map(|_| FlowLine::default()).collect(),
            cold: (0..lines).map(|_| FlowCold::default()).collect(),
            more: (0..lines).map(|_| FlowMore::default()).collect(),
            away: (0..lines).map(|_| Word64::default()).collect(),
            of_tenant: (0..8).map(|_| Word64::default()).collect(),
            secret: Secret::of([1, 2]),
            books: Books::new(),
        }
    }

    fn table(&self) -> FlowTable<'_> {
        FlowTable {
            lines: &self.lines,
            cold: &self.cold,
            more: &self.more,
            away: &self.away,
            of_tenant: &self.of_tenant,
            secret: &self.secret,
        }
    }

    fn sweep(&mut self, now_ticks: u32) -> Swept {
        let Self { lines, cold, more, away, of_tenant, secret, books } = self;
        let table = FlowTable { lines, cold, more, away, of_tenant, secret };
        let totals = &mut books.with(&Ink);
        sweep(table, totals, anybody, now_ticks, || Ok::<_, Infallible>(())).unwrap()
    }

    /// As the programs do it.
    fn open(&self, forward: usize, reply: usize, state: u32, now_ticks: u32) {
        for (index, partner, half) in [(forward, reply, 0), (reply, forward, status::REPLY)] {
            let (line, cold) = (&self.lines[index], &self.cold[index]);
            let key = FlowKey { protocol: protocol::UDP, ..FlowKey::default() };
            line.set_key(&key.words());
            line.seen_ticks.store(now_ticks);
            self.more[index].partner.store(partner as u32);
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
        self.more[index].partner.store(index as u32 + 256);
        self.more[index + 256].partner.store(index as u32);
        self.forward(index, 1, 60);
        true
    }

    fn take(&self, index: usize, now_ticks: u32) -> Option<u32> {
        let (line, cold) = (&self.lines[index], &self.cold[index]);
        let old = line.status.load();
        let sequence = old.wrapping_add(status::SEQUENCE) & !0xffff;
        if old & status::LIFE != status::EMPTY || !line.status.swap(old, sequence | status::BUSY) {
            return None;
        }
        line.set_key(&FlowKey { protocol: protocol::UDP, ..FlowKey::default() }.words());
        line.seen_ticks.store(now_ticks);
        self.more[index].partner.store(0);
        cold.tenant.store(TENANT);
        let live = sequence | status::LIVE | state::UNREPLIED;
        line.status.store(live);
        Some(live)
    }

    fn forward(&self, index: usize, packets: u64, bytes: u64) {
        // As the programs do, in the line first.
        let (line, cold) = (&self.lines[index], &self.cold[index]);
        line.counts.add(packed::of(packets as u32, bytes as u32));
        let counts = line.counts.load();
        let (late_packets, late_bytes) = packed::split(counts);
        if packets > 8 {
            cold.packets.add(packets);
            cold.bytes.add(bytes);
        } else if late_packets > 30 && line.counts.swap(counts, 0) {
            cold.packets.add(late_packets.into());
            cold.bytes.add(late_bytes.into());
        }
    }
}
