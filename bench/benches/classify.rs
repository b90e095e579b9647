//! How long does it take to find the rule that permits a packet, and to compile the rules?
//!
//! Policies of many sizes, 4,096 flows that are asked again and again and a million; on the
//! host by criterion, and in the kernel by BPF_PROG_TEST_RUN, net of a program that reads the
//! same questions and looks up nothing, A B A B. The kernel has to find what the host finds.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use criterion::{BenchmarkId, Criterion, Throughput};
use sekisho_bench::{
    object::{self, Object},
    policies::{Make, Policies, inputs},
    report::{self, is_trial},
    results::{Results, Row},
    site,
};
use sekisho_tests::sites::rules::RuleSet;

/// Lookups of a run.
const RUN: u32 = 1 << 18;
/// Runs of each program.
const RUNS: u32 = 9;
/// Flows that are known well, and very many.
const FLOWS: [(&str, usize); 2] = [("4k", 1 << 12), ("1M", 1 << 20)];

/// What is made; how; how many policies, of how many rules; IPv4?
type Set = (&'static str, Make, usize, usize, bool);

const ROWS: [Set; 8] = [
    ("usual rules", RuleSet::usual, 1, 10, true),
    ("usual rules", RuleSet::usual, 1, 100, true),
    ("usual rules", RuleSet::usual, 1, 1000, true),
    ("usual rules", RuleSet::usual, 1, 10_000, true),
    ("usual rules", RuleSet::usual, 1, 100_000, true),
    ("1k policies of usual rules", RuleSet::usual, 1000, 100, true),
    ("hostile rules", RuleSet::hostile, 1, 10_000, true),
    ("usual rules of IPv6", RuleSet::usual, 1, 10_000, false),
];

fn main() -> Result<()> {
    let mut results = Results::of("classify");
    let done = all(&mut results);
    results.end(done)
}

fn all(results: &mut Results) -> Result<()> {
    let (rows, flows) =
        if is_trial() { (&ROWS[..3], &FLOWS[..1]) } else { (&ROWS[..], &FLOWS[..]) };
    let mut criterion = report::criterion();
    let object = if site::may_load() { object::bytes()? } else { None };
    if object.is_none() {
        results.cut_short("the kernel was not asked");
    }
    for row in rows {
        let (what, make, policies, rules, is_v4) = *row;
        let compiled = Policies::new(make, policies, rules, is_v4)?;
        let name = format!("{what}, {rules}");
        let row = |of: &str| Row::ns("sekisho", &format!("{what}, {of}")).of(0, rules as u32, 0);
        for (known, flows) in flows {
            host(&mut criterion, &name, &compiled, *flows);
            if let Some(bytes) = &object {
                let net = kernel(bytes, &name, &compiled, *flows)?;
                results.add(row(&format!("{known} flows")).samples(net));
            }
        }
        let bytes = (compiled.heap.lines() * 64) as f64 / (policies * rules) as f64;
        results.add(row("memory of a rule").unit("bytes").samples(vec![bytes]));
        if policies == 1 {
            compile(&mut criterion, &name, &compiled, rules)?;
        }
    }
    criterion.final_summary();
    Ok(())
}

fn host(criterion: &mut Criterion, name: &str, compiled: &Policies, flows: usize) {
    let questions = compiled.questions(flows);
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new(name, flows), |bencher| {
        bencher.iter_custom(|lookups| {
            let start = Instant::now();
            let mut last = 0;
            for at in 0..lookups as usize {
                // The next question is not known before the last rule is.
                let (table, mut asked) = questions[at & (flows - 1)];
                asked.protocol ^= (last >> 31) as u8;
                last = compiled.find(&(table, asked));
            }
            black_box(last);
            start.elapsed()
        });
    });
    group.finish();
}

fn compile(criterion: &mut Criterion, name: &str, compiled: &Policies, rules: usize) -> Result<()> {
    compiled.again()?;
    let mut group = criterion.benchmark_group("compile");
    group.throughput(Throughput::Elements(rules as u64));
    group.measurement_time(Duration::from_secs(2)).sample_size(10);
    group.bench_function(name, |bencher| bencher.iter(|| black_box(compiled.again())));
    group.finish();
    Ok(())
}

/// Nanoseconds a lookup, net.
fn kernel(bytes: &[u8], name: &str, compiled: &Policies, flows: usize) -> Result<Vec<f64>> {
    let questions = compiled.questions(flows);
    let words: Vec<_> = questions.iter().flat_map(inputs).collect();
    let mut object = Object::load(bytes, &compiled.heap, &words, &[])?;
    let programs = ["bench_classify_none", "bench_classify"];
    for program in programs {
        object.verify(program)?;
    }
    let found = questions.iter().map(|question| compiled.find(question));
    let host = found.fold(0_u32, |sum, rule| sum.wrapping_mul(31).wrapping_add(rule));
    let ours = object.run("bench_classify", 0, 0, flows as u32)?.sum;
    ensure!(host == ours, "{name}: host {host:08x}, kernel {ours:08x}");
    let mut samples = programs.map(|_| Vec::new());
    for run in 0..if is_trial() { 1 } else { RUNS } {
        for (samples, program) in samples.iter_mut().zip(programs) {
            samples.push(object.run(program, 0, run * RUN, RUN)?.ns);
        }
    }
    let [mut none, ours] = samples;
    none.sort_by(f64::total_cmp);
    Ok(ours.iter().map(|ns| ns - none[none.len() / 2]).collect())
}
