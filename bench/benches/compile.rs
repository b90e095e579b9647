//! How long does a large site take from its text until it is in force, and how long a daemon to
//! begin?
//!
//! A site is put in force as `sekisho apply` does it, in this process, in the place of one of
//! nobody: all of it is new. What that consists of is measured by itself, by criterion and without
//! root as far as the kernel is not needed. A beginning is that of the `sekisho` command, on a
//! machine that had nothing of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use criterion::{SamplingMode, Throughput};
use dataplane_common::table::secret::Secret;
use dataplane_user::{
    check,
    compile::{self, Compiled, FLOWS_PER_TENANT, Facts},
    config::{
        Findings, Reader,
        tree::{TEXT_BYTES_MAX, Tree},
    },
    daemon::{self, Asker, File, Shared, Terms},
    load::{self, Dataplane, LogLevel, Place, Sizes},
    model::Site,
    tables::{heap::HostHeap, layout},
};
use sekisho_bench::{
    large::Town,
    ours,
    report::{self, is_trial},
    results::{Results, Row},
    scene::{self, Size},
    site,
};
use sekisho_tests::{Lab, Sekisho, plug};

/// As many tenants and ports, and 100,000 rules.
const TOWN: Town = Town { tenants: 1000, ports: 10, rules: 100 };
const RUNS: usize = 5;
/// What a daemon begins with.
const DEMO: &str = include_str!("../../examples/demo.yaml");
/// In which two versions of a million routes have room.
const HEAP_MIB: &str = "256";
/// Half-flows of a million flows.
const LINES_OF_MILLION: &str = "2097152";

fn main() -> Result<()> {
    let mut results = Results::of("compile");
    let done = all(&mut results);
    results.end(done)
}

fn all(results: &mut Results) -> Result<()> {
    let town = if is_trial() { Town { tenants: 10, ..TOWN } } else { TOWN };
    let texts = [Town::EMPTY.site(), town.site()];
    ensure!(texts[1].len() < TEXT_BYTES_MAX, "{} bytes of text", texts[1].len());
    parts(&texts, town, results)?;
    if !site::may_load() {
        results.cut_short("the kernel was not asked");
        return Ok(());
    }
    site::in_lab("compile", &texts[0], &[], |place, _| {
        put_in_force(&texts, &place, town, results)?;
        publish(&texts, &place, town, results)
    })?;
    for (case, options) in
        [("cold start", &[][..]), ("cold start, 1M flows", &["--flows", LINES_OF_MILLION])]
    {
        let row = Row::ns(ours::NAME, case).unit("ms");
        let begun = (0..runs()).map(|_| begin(options).map(ms)).collect::<Result<_>>()?;
        results.add(row.samples(begun));
    }
    let other = texts[1].replacen("02:00:00:00:aa:01", "02:00:00:00:aa:02", 1);
    served(&texts[1], &other, |row| row.of(0, town.tenants * town.rules, 0), results)?;
    for routes in if is_trial() { &[2][..] } else { &[200_000, 1_000_000] } {
        let text = scene::site(Size { rules: 10, routes: *routes });
        let other = text.replacen("/26, uplink", "/27, uplink", 1);
        served(&text, &other, |row| row.of(0, 0, *routes), results)?;
    }
    Ok(())
}

fn runs() -> usize {
    if is_trial() { 1 } else { RUNS }
}

fn row(case: &str, town: Town) -> Row {
    Row::ns(ours::NAME, case).unit("ms").of(0, town.tenants * town.rules, 0)
}

/// By the daemon: everything that an operator waits for.
fn put_in_force(texts: &[String], place: &Place, town: Town, results: &mut Results) -> Result<()> {
    let config = place.state.with_file_name("site.yaml");
    std::fs::write(&config, &texts[0]).with_context(|| config.display().to_string())?;
    let daemon = Shared::start(daemon::Options {
        config: Some(config),
        store: place.state.with_file_name("store.redb"),
        place: place.clone(),
        sizes: Sizes::default(),
        flows_per_tenant: Some(FLOWS_PER_TENANT),
        program_log: LogLevel::Off,
        require_interfaces: false,
        asker: Asker::default(),
    })?;
    let apply = |text: &str| -> Result<Duration> {
        let file = File { name: "site.yaml".to_owned(), text: text.to_owned() };
        let start = Instant::now();
        daemon.apply(Some(file), &Terms::default(), false, Asker::default())?;
        Ok(start.elapsed())
    };
    let mut took = Vec::new();
    for _ in 0..runs() {
        took.push(ms(apply(&texts[1])?));
        apply(&texts[0])?;
    }
    results.add(row("compile and publish", town).samples(took));
    Ok(())
}

/// The same, piece by piece, as far as no kernel is needed.
fn parts(texts: &[String], town: Town, results: &mut Results) -> Result<()> {
    let facts = facts();
    let none = compile::compile(&checked(&texts[0])?, &facts, &Compiled::default());
    let site = checked(&texts[1])?;
    let compiled = compile::compile(&site, &facts, &none);
    let secret = Secret::of([1, 2]);
    ensure!(parse(&texts[1]), "it is no site file");

    let mut criterion = report::criterion();
    let mut group = criterion.benchmark_group("site");
    let rules = town.tenants * town.rules;
    group.throughput(Throughput::Elements(rules.into()));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let mut part = |name: &str, work: &mut dyn FnMut() -> Result<Duration>| {
        let samples = report::samples(&mut group, name, |times| (0..times).map(|_| work()).sum());
        let row = row(&format!("compile and publish: {name}"), town);
        results.add_asked(row, samples.iter().map(|ns| ns / 1e6).collect());
    };
    part("parse", &mut || Ok(timed(|| parse(&texts[1])).1));
    part("parse and check", &mut || {
        let (site, took) = timed(|| checked(&texts[1]));
        site.map(|_| took)
    });
    part("compile", &mut || Ok(timed(|| compile::compile(&site, &facts, &none)).1));
    part("lay out", &mut || {
        let (mut tables, mut heap) = (layout::Tables::default(), HostHeap::new());
        let lay = || layout::lay(&compiled.image, &secret, &mut tables, &mut heap);
        let (laid, took) = timed(lay);
        black_box(laid?);
        Ok(took)
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// The same as far as the kernel's tables are needed.
fn publish(texts: &[String], place: &Place, town: Town, results: &mut Results) -> Result<()> {
    let options = load::Options { place: place.clone(), ..load::Options::named("bench") };
    let (mut dataplane, facts) = (Dataplane::load(&options)?, facts());
    let none = compile::compile(&checked(&texts[0])?, &facts, &Compiled::default());
    let compiled = compile::compile(&checked(&texts[1])?, &facts, &none);
    let names = ["lay out beside the version in force", "publish"];
    let mut took = names.map(|_| Vec::new());
    for _ in 0..runs() {
        dataplane.install(&none.image)?;
        let (laid, lay) = timed(|| dataplane.prepare(&compiled.image));
        laid?;
        let (installed, publish) = timed(|| dataplane.commit());
        installed?;
        took.iter_mut().zip([lay, publish]).for_each(|(took, part)| took.push(ms(part)));
    }
    for (name, took) in names.into_iter().zip(took) {
        results.add(row(&format!("compile and publish: {name}"), town).samples(took));
    }
    let lines = dataplane.room().used as f64;
    results.add(row("compile and publish: heap", town).unit("bytes").samples(vec![lines * 64.0]));
    Ok(())
}

fn facts() -> Facts {
    Facts { flows_per_tenant: FLOWS_PER_TENANT, ..Facts::default() }
}

/// Text to records of the file; is it one?
fn parse(text: &str) -> bool {
    let mut out = Findings::default();
    let (tree, root) = Tree::parse(text, &mut out);
    root.is_some_and(|root| Reader::file(&tree, root, &mut out).is_some()) && !out.any_error()
}

fn checked(text: &str) -> Result<Site> {
    let checked = check::check(text);
    let first = checked.diagnostics.first().map(|found| found.in_line("site.yaml"));
    checked.site.with_context(|| first.unwrap_or_default())
}

/// A daemon that this site file is handed to, and then `other`, in which little is different, and
/// both again: how long does each take, and how much memory does the daemon need?
fn served(text: &str, other: &str, of: impl Fn(Row) -> Row, results: &mut Results) -> Result<()> {
    ensure!(text != other, "nothing is different");
    let lab = Lab::new("served")?;
    let options = ["--heap-mib", HEAP_MIB];
    let mut sekisho = Sekisho::new(&lab, &Town::EMPTY.site())?.with_options(&options);
    sekisho.start_again()?;
    let pid = sekisho.process()?.pid();
    // All of it, and of this what is the process's own.
    let memory = |line| memory_mb(pid, line);
    let (mut took, mut own) = (Vec::new(), Vec::new());
    for text in [text, other, text, other] {
        let (applied, time) = timed(|| sekisho.change(text));
        applied?;
        took.push(ms(time));
        own.push(memory("RssAnon:")?);
    }
    let all = took.remove(0);
    let mut add = |case: &str, unit: &str, samples: Vec<f64>| {
        results.add(of(Row::ns(ours::NAME, case).unit(unit)).samples(samples));
    };
    add("apply: all is new", "ms", vec![all]);
    add("apply: little is different", "ms", took);
    add("memory of the daemon: at most, with tables", "MB", vec![memory("VmHWM:")?]);
    add("memory of the daemon: afterwards, its own", "MB", own);
    Ok(())
}

/// A line of what the kernel says of the process.
fn memory_mb(pid: u32, line: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|of| of.strip_prefix(line)?.strip_suffix("kB"));
    Ok(kib.with_context(|| format!("no {line}"))?.trim().parse::<f64>()? * 1024.0 / 1e6)
}

/// From the start of the process until it says that the site is in force.
fn begin(options: &[&str]) -> Result<Duration> {
    let lab = Lab::new("begin")?;
    let _hosts = plug::hosts(&lab, DEMO)?;
    let mut sekisho = Sekisho::new(&lab, DEMO)?.with_options(options);
    let (begun, took) = timed(|| sekisho.start_again());
    begun?;
    sekisho.end()?;
    Ok(took)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
