//! How long does one lookup take in the kernel, beside the kernel's own table of the kind?
//!
//! BPF_PROG_TEST_RUN on programs that look up many addresses one after the other, net of one
//! that looks up nothing, A B A B. The sums of all results have to be equal: the kernel's trie
//! judges ours. What changes cost is by the clock, in this process.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use dataplane_common::{addr::Addr, table::lpm};
use dataplane_user::tables::{heap::HostHeap, lpm::Lpm};
use sekisho_bench::{
    object::{self, Object},
    prefixes::{Chance, Prefix, destinations, prefixes},
    report::is_trial,
    results::{Results, Row},
    site,
};

/// Lookups of a run.
const RUN: u32 = 1 << 18;
/// Runs of each program.
const RUNS: u32 = 9;
/// Next hops.
const VALUES: usize = 256;
/// Destinations that are known well, and very many.
const DESTINATIONS: [(&str, usize); 2] = [("4k", 1 << 12), ("1M", 1 << 20)];

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    let Some(bytes) = object::bytes()? else { return Ok(()) };
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
    let mut results = Results::of("lookup");
    let done =
        sizes.iter().try_for_each(|(is_v4, count)| table(&bytes, *is_v4, *count, &mut results));
    results.end(done)
}

fn table(bytes: &[u8], is_v4: bool, count: usize, results: &mut Results) -> Result<()> {
    let prefixes = prefixes(is_v4, count);
    let values: Vec<u32> = {
        let mut chance = Chance(5);
        prefixes.iter().map(|_| 1 + chance.below(VALUES) as u32).collect()
    };
    let start = Instant::now();
    let mut table = Lpm::new();
    for ((addr, length), value) in prefixes.iter().zip(&values) {
        table.insert(*addr, *length, *value);
    }
    let mut heap = HostHeap::new();
    let first = table.store(&mut heap)?;
    let loaded = start.elapsed();

    let (lines, routes) = (heap.lines(), u32::try_from(count)?);
    let family = if is_v4 { "IPv4" } else { "IPv6" };
    for (name, count) in DESTINATIONS {
        if is_trial() && count > 4096 {
            continue;
        }
        let inputs = destinations(&prefixes, count);
        let sizes = if is_v4 { ("TRIE_V4", "bench_trie_v4") } else { ("TRIE_V6", "bench_trie_v6") };
        let (map, trie) = sizes;
        let mut object = Object::load(bytes, &heap, &inputs, &[(map, prefixes.len() as u32)])?;
        fill(&mut object, map, is_v4, &prefixes, &values)?;
        let programs = ["bench_none", "bench_route", trie];
        for program in programs {
            object.verify(program)?;
        }
        same(&mut object, &heap, first, &inputs, trie)?;
        if is_trial() {
            continue;
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
    }
    let took = changes(&mut table, &mut heap, &prefixes)?;
    let mut add = |case: &str, unit: &str, figure: f64| {
        let row = Row::ns("sekisho", &format!("{family}, {case}")).unit(unit);
        results.add(row.of(0, 0, routes).samples(vec![figure]));
    };
    add("load", "ms", loaded.as_secs_f64() * 1e3);
    add("one change", "ns", took.as_secs_f64() * 1e9);
    add("memory of a prefix", "bytes", lines as f64 * 64.0 / prefixes.len() as f64);
    Ok(())
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

/// How long a change takes: one prefix out or in, and placed.
fn changes(table: &mut Lpm, heap: &mut HostHeap, prefixes: &[Prefix]) -> Result<Duration> {
    let mut chance = Chance(9);
    let count = if is_trial() { 10 } else { 1000 };
    let start = Instant::now();
    for _ in 0..count / 2 {
        let (addr, length) = prefixes[chance.below(prefixes.len())];
        let value = table.remove(addr, length);
        table.store(heap)?;
        if let Some(value) = value {
            table.insert(addr, length, value);
        }
        table.store(heap)?;
    }
    Ok(start.elapsed() / count)
}
