//! How long does one lookup take, in our tables and in the kernel's own of the kind, and how long
//! a change?
//!
//! On the host by criterion: routes, and the lines of flows. In the kernel by BPF_PROG_TEST_RUN
//! on programs that look up many addresses one after the other, net of one that looks up nothing,
//! A B A B. The sums of all results have to be equal: the kernel's trie judges ours.

use std::time::{Duration, Instant};
use std::{collections::HashSet, hint::black_box};

use anyhow::{Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use criterion::{Criterion, SamplingMode, Throughput};
use dataplane_common::{
    Work,
    addr::Addr,
    stage::flow_record,
    table::{flow::FlowKey, lpm},
};
use dataplane_user::tables::{HostTables, heap::HostHeap, lpm::Lpm};
use sekisho_bench::{
    object::{self, Object},
    prefixes::{Chance, Prefix, destinations, prefixes},
    report::{self, is_trial},
    results::{Results, Row},
    site,
};
use sekisho_tests::world::World;

/// Lookups of a run.
const RUN: u32 = 1 << 18;
/// Runs of each program.
const RUNS: u32 = 9;
/// Next hops.
const VALUES: usize = 256;
/// Odd, so that each flow's turn comes.
const STRIDE: u32 = 0x5bd1_e995;
/// Destinations that are known well, and very many.
const DESTINATIONS: [(&str, usize); 2] = [("4k", 1 << 12), ("1M", 1 << 20)];

/// Changes of a sample at most: what was replaced keeps its room here.
const CHANGES_MAX: u64 = 1000;
/// Flows that are found and made.
const FLOWS: [u32; 2] = [1 << 14, 1 << 20];
/// Of so many, one at most finds no room.
const REFUSED_IN: u32 = 1 << 17;

fn main() -> Result<()> {
    let mut results = Results::of("lookup");
    let done = all(&mut results);
    results.end(done)
}

fn all(results: &mut Results) -> Result<()> {
    let mut criterion = report::criterion();
    let bytes = if site::may_load() { object::bytes()? } else { None };
    if bytes.is_none() {
        results.cut_short("the kernel was not asked");
    }
    let sizes: &[(bool, usize)] = if is_trial() {
        &[(true, 1000), (false, 1000)]
    } else {
        &[
            (true, 1000),
            (true, 10_000),
            (true, 100_000),
            (true, 1_000_000),
            (false, 1000),
            (false, 10_000),
            (false, 200_000),
        ]
    };
    for (is_v4, count) in sizes {
        table(&mut criterion, bytes.as_deref(), *is_v4, *count, results)?;
    }
    for flows in if is_trial() { &FLOWS[..1] } else { &FLOWS } {
        self::flows(&mut criterion, *flows);
    }
    criterion.final_summary();
    Ok(())
}

/// A table with its prefixes, placed: its first line.
fn load(prefixes: &[Prefix], values: &[u32], mut heap: HostHeap) -> Result<(Lpm, HostHeap, u32)> {
    let mut table = Lpm::new();
    for ((addr, length), value) in prefixes.iter().zip(values) {
        table.insert(*addr, *length, *value);
    }
    let first = table.store(&mut heap)?;
    Ok((table, heap, first))
}

fn table(
    criterion: &mut Criterion,
    bytes: Option<&[u8]>,
    is_v4: bool,
    count: usize,
    results: &mut Results,
) -> Result<()> {
    let prefixes = prefixes(is_v4, count);
    let values: Vec<u32> = {
        let mut chance = Chance(5);
        prefixes.iter().map(|_| 1 + chance.below(VALUES) as u32).collect()
    };
    let family = if is_v4 { "IPv4" } else { "IPv6" };
    let routes = u32::try_from(count)?;
    let row = |case: &str, unit: &str| {
        Row::ns("sekisho", &format!("{family}, {case}")).unit(unit).of(0, 0, routes)
    };
    let mut group = criterion.benchmark_group(format!("{count} routes, {family}"));
    group.throughput(Throughput::Elements(routes.into()));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let loaded = report::samples(&mut group, "load", |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let start = Instant::now();
            let loaded = load(&prefixes, &values, HostHeap::new())?;
            took += start.elapsed();
            drop(black_box(loaded));
        }
        Ok(took)
    });
    results.add_asked(row("load", "ms"), loaded.iter().map(|ns| ns / 1e6).collect());

    let (mut table, mut heap, first) = load(&prefixes, &values, HostHeap::new())?;
    let bytes_of_prefix = heap.lines() as f64 * 64.0 / prefixes.len() as f64;
    results.add(row("memory of a prefix", "bytes").samples(vec![bytes_of_prefix]));
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for (name, count) in known(&DESTINATIONS) {
        let inputs = destinations(&prefixes, count);
        report::samples(&mut group, &format!("lookup, {name} destinations"), |times| {
            let start = Instant::now();
            let mut last = 0;
            for at in 0..times as usize {
                // The next destination is not known before the last value is.
                let addr = inputs[(at ^ (last >> 31) as usize) & (count - 1)];
                last = lpm::find(&heap, first, &addr);
            }
            black_box(last);
            Ok(start.elapsed())
        });
        if let Some(bytes) = bytes {
            let sets = (prefixes.as_slice(), values.as_slice(), inputs.as_slice());
            kernel(bytes, (is_v4, name), (&heap, first), sets, results)?;
        }
    }
    // Until it is warm criterion doubles how many it asks for, and would count beyond 64 bits.
    group.warm_up_time(Duration::from_millis(1));
    let changed = report::samples(&mut group, "one change", |times| {
        let some = times.min(CHANGES_MAX);
        Ok(changes(&mut table, &mut heap, &prefixes, some)?.mul_f64(times as f64 / some as f64))
    });
    results.add_asked(row("one change", "ns"), changed);
    group.finish();
    Ok(())
}

/// All of them, or in a trial the first.
fn known<'k>(all: &'k [(&'k str, usize)]) -> impl Iterator<Item = (&'k str, usize)> {
    all.iter().copied().take(if is_trial() { 1 } else { all.len() })
}

/// One lookup in the kernel, net: ours, and in its own trie.
fn kernel(
    bytes: &[u8],
    (is_v4, name): (bool, &str),
    (heap, first): (&HostHeap, u32),
    (prefixes, values, inputs): (&[Prefix], &[u32], &[Addr]),
    results: &mut Results,
) -> Result<()> {
    let (family, map, trie) = if is_v4 {
        ("IPv4", "TRIE_V4", "bench_trie_v4")
    } else {
        ("IPv6", "TRIE_V6", "bench_trie_v6")
    };
    let routes = u32::try_from(prefixes.len())?;
    let mut object = Object::load(bytes, heap, inputs, &[(map, routes)])?;
    fill(&mut object, map, is_v4, prefixes, values)?;
    let programs = ["bench_none", "bench_route", trie];
    for program in programs {
        object.verify(program)?;
    }
    same(&mut object, heap, first, inputs, trie)?;
    if is_trial() {
        return Ok(());
    }
    let mut samples = programs.map(|_| Vec::new());
    for run in 0..RUNS {
        for (samples, program) in samples.iter_mut().zip(programs) {
            samples.push(object.run(program, first, run * RUN, RUN)?.ns);
        }
    }
    let [none, ours, peer] = samples;
    let case = format!("{family}, {name} destinations");
    for (device, samples) in [("sekisho", ours), ("LPM_TRIE", peer)] {
        let net = samples.iter().map(|ns| ns - median(&none)).collect();
        results.add(Row::ns(device, &case).of(0, 0, routes).samples(net));
    }
    Ok(())
}

/// Half-flows in plain memory, of which four lines in eight are taken in the end: one found among
/// all, one more made with its answer.
fn flows(criterion: &mut Criterion, flows: u32) {
    let (empty, payer) = nobodys();
    let tables = || HostTables::new(empty.image.clone(), 4 * flows);
    let open = |tables: &HostTables, number: u32| {
        let mut work = Work { key: key(number), tenant: payer, ..Work::default() };
        flow_record::open(tables, &mut work).map(|()| work.flow)
    };
    let mut group = criterion.benchmark_group(format!("{flows} flows"));
    group.throughput(Throughput::Elements(1));
    let full = tables();
    // A line of each bucket is for flows that go on: with four of eight taken, that is all of a few.
    let refused: HashSet<_> = (0..flows).filter(|at| open(&full, *at).is_err()).collect();
    assert!(refused.len() <= (flows / REFUSED_IN) as usize, "{} found no room", refused.len());
    report::samples(&mut group, "find", |times| {
        let start = Instant::now();
        let mut work = Work::default();
        for at in 0..times as u32 {
            // The next key is not known before the last line is.
            let number = (at.wrapping_mul(STRIDE) ^ (work.flow >> 31)) & (flows - 1);
            work.key = key(number);
            let is_found = flow_record::find_known(&full, &mut work).is_some();
            ensure!(is_found || refused.contains(&number), "a flow is not found");
        }
        black_box(work.flow);
        Ok(start.elapsed())
    });
    drop(full);
    // Tables take longer to be made than to be filled.
    group.sample_size(10);
    report::samples(&mut group, "insert", |times| {
        let mut took = Duration::ZERO;
        for done in (0..times as u32).step_by(flows as usize) {
            let (tables, some) = (tables(), flows.min(times as u32 - done));
            let start = Instant::now();
            for number in 0..some {
                let made = open(&tables, number);
                ensure!(made.is_ok() || refused.contains(&number), "a flow is not made: {made:?}");
            }
            took += start.elapsed();
        }
        Ok(took)
    });
    group.finish();
}

/// A site with nothing but a tenant, who may have as many flows as there are.
fn nobodys() -> (World, u32) {
    let mut world = World::new();
    let payer = world.tenant();
    world.image.tenants[payer as usize].flows_max = u32::MAX;
    (world, payer)
}

/// Of UDP from a /8 to a server.
fn key(number: u32) -> FlowKey {
    FlowKey {
        src: Addr::v4((10 << 24 | number).to_be_bytes()),
        dst: Addr::v4([192, 0, 2, 1]),
        src_port: [4, 0],
        dst_port: [0, 53],
        protocol: 17,
        ..FlowKey::default()
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The same prefixes for the kernel's own.
fn fill(
    object: &mut Object,
    map: &str,
    is_v4: bool,
    prefixes: &[Prefix],
    values: &[u32],
) -> Result<()> {
    let map = object.map(map)?;
    if is_v4 {
        let mut trie: LpmTrie<_, [u8; 4], u32> = map.try_into()?;
        for ((addr, length), value) in prefixes.iter().zip(values) {
            trie.insert(&Key::new(u32::from(*length) - 96, addr.v4_bytes()), value, 0)?;
        }
    } else {
        let mut trie: LpmTrie<_, [u64; 2], u32> = map.try_into()?;
        for ((addr, length), value) in prefixes.iter().zip(values) {
            trie.insert(&Key::new(u32::from(*length), addr.words()), value, 0)?;
        }
    }
    Ok(())
}

/// Do all three agree on every destination?
fn same(
    object: &mut Object,
    heap: &HostHeap,
    table: u32,
    inputs: &[Addr],
    trie: &str,
) -> Result<()> {
    let find = |addr| lpm::find(heap, table, addr);
    let count = inputs.len() as u32;
    let host =
        inputs.iter().map(find).fold(0_u32, |sum, value| sum.wrapping_mul(31).wrapping_add(value));
    let ours = object.run("bench_route", table, 0, count)?.sum;
    let peer = object.run(trie, table, 0, count)?.sum;
    ensure!(host == ours && ours == peer, "host {host:08x}, kernel {ours:08x}, trie {peer:08x}");
    Ok(())
}

/// How long so many changes take: one prefix out or in, and placed.
fn changes(
    table: &mut Lpm,
    heap: &mut HostHeap,
    prefixes: &[Prefix],
    count: u64,
) -> Result<Duration> {
    let mut chance = Chance(9);
    let start = Instant::now();
    for _ in 0..count.div_ceil(2) {
        let (addr, length) = prefixes[chance.below(prefixes.len())];
        let value = table.remove(addr, length);
        table.store(heap)?;
        if let Some(value) = value {
            table.insert(addr, length, value);
        }
        table.store(heap)?;
    }
    let even = count.next_multiple_of(2);
    Ok(start.elapsed().mul_f64(count as f64 / even as f64))
}
