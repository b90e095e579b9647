//! How long does a large site take from its text until it is in force, and how long a daemon to
//! begin?
//!
//! A site is put in force as `sekisho apply` does it, in this process, in the place of one of
//! nobody: all of it is new. What that consists of is measured by itself. A beginning is that of
//! the `sekisho` command, on a machine that had nothing of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dataplane_user::{
    check,
    compile::{self, Compiled, FLOWS_PER_TENANT, Facts},
    config::{
        Findings, Reader,
        tree::{TEXT_BYTES_MAX, Tree},
    },
    daemon::{self, Asker, Daemon, File},
    load::{self, Dataplane, LogLevel, Place, Sizes},
    model::Site,
};
use sekisho_bench::{
    large::Town,
    ours,
    report::is_trial,
    results::{Results, Row},
    site,
};
use sekisho_tests::{Lab, Sekisho, plug};

/// As many tenants and ports, and 100,000 rules.
const TOWN: Town = Town { tenants: 1000, ports: 10, rules: 100 };
const RUNS: usize = 5;
/// What a daemon begins with.
const DEMO: &str = include_str!("../../examples/demo.yaml");
/// Half-flows of a million flows.
const LINES_OF_MILLION: &str = "2097152";

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    let mut results = Results::of("compile");
    let done = all(&mut results);
    results.end(done)
}

fn all(results: &mut Results) -> Result<()> {
    let town = if is_trial() { Town { tenants: 10, ..TOWN } } else { TOWN };
    let texts = [Town::EMPTY.site(), town.site()];
    ensure!(texts[1].len() < TEXT_BYTES_MAX, "{} bytes of text", texts[1].len());
    site::in_lab("compile", &texts[0], &[], |place, _| {
        put_in_force(&texts, &place, town, results)?;
        parts(&texts, &place, town, results)
    })?;
    for (case, options) in
        [("cold start", &[][..]), ("cold start, 1M flows", &["--flows", LINES_OF_MILLION])]
    {
        let row = Row::ns(ours::NAME, case).unit("ms");
        let begun = (0..runs()).map(|_| begin(options).map(ms)).collect::<Result<_>>()?;
        results.add(row.samples(begun));
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
    let mut daemon = Daemon::start(daemon::Options {
        config,
        place: place.clone(),
        sizes: Sizes::default(),
        flows_per_tenant: FLOWS_PER_TENANT,
        program_log: LogLevel::Off,
        require_interfaces: false,
        asker: Asker::default(),
    })?;
    let mut apply = |text: &str| -> Result<Duration> {
        let file = File { name: "site.yaml".to_owned(), text: text.to_owned() };
        let start = Instant::now();
        daemon.apply(Some(file), false, Asker::default())?;
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

/// The same, piece by piece.
fn parts(texts: &[String], place: &Place, town: Town, results: &mut Results) -> Result<()> {
    let options = load::Options { place: place.clone(), ..load::Options::named("bench") };
    let mut dataplane = Dataplane::load(&options)?;
    let facts = Facts { flows_per_tenant: FLOWS_PER_TENANT, ..Facts::default() };
    let none = compile::compile(&checked(&texts[0])?, &facts, &Compiled::default());
    let names = ["parse", "check", "compile", "lay out", "publish"];
    let mut took = names.map(|_| Vec::new());
    for _ in 0..runs() {
        let (parsed, parse) = timed(|| parse(&texts[1]));
        ensure!(parsed, "it is no site file");
        let (site, check) = timed(|| checked(&texts[1]));
        let site = site?;
        let (compiled, compile) = timed(|| compile::compile(&site, &facts, &none));
        dataplane.install(&none.image)?;
        let (laid, lay) = timed(|| dataplane.prepare(&compiled.image));
        laid?;
        let (installed, publish) = timed(|| dataplane.commit());
        installed?;
        // A check begins with parsing.
        let all = [parse, check.saturating_sub(parse), compile, lay, publish];
        took.iter_mut().zip(all).for_each(|(took, part)| took.push(ms(part)));
    }
    for (name, took) in names.into_iter().zip(took) {
        results.add(row(&format!("compile and publish: {name}"), town).samples(took));
    }
    let lines = dataplane.room().used as f64;
    results.add(row("compile and publish: heap", town).unit("bytes").samples(vec![lines * 64.0]));
    Ok(())
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
