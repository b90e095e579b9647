//! How are the figures shown? As a table of nanoseconds and packets a second.

use std::time::Duration;

use anyhow::Result;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};

/// As short as such a machine allows: its noise does not shrink with patience.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}

/// Lets criterion measure, as one of a group whose throughput is set; answers nanoseconds of an
/// iteration by sample, none if it was filtered out. `work` is told how many iterations, and
/// answers what they took.
///
/// # Panics
/// If `work` fails: criterion cannot be told otherwise.
pub fn samples(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut work: impl FnMut(u64) -> Result<Duration>,
) -> Vec<f64> {
    // Until it is warm criterion doubles the iterations, from one on; those are no samples.
    let mut warm_up = if is_trial() { 0 } else { 1 };
    let mut samples = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let took = work(iterations).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            warm_up = if iterations == warm_up { 2 * warm_up } else { 0 };
            if warm_up == 0 {
                samples.push(took.as_nanos() as f64 / iterations as f64);
            }
            took
        });
    });
    samples
}

/// A line of a table; `None`: it was filtered out.
pub struct Line {
    /// What was measured.
    pub name: String,
    /// Nanoseconds a packet: the median, and the quartiles.
    pub ns: [f64; 3],
}

impl Line {
    /// Of these samples, nanoseconds a packet each.
    #[must_use]
    pub fn of(name: &str, mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let at = |quarter: usize| samples.get(samples.len() * quarter / 4).copied();
        let ns = [at(2)?, at(1)?, at(3)?];
        Some(Self { name: name.to_owned(), ns })
    }
}

/// Is it only asked whether everything runs (`--test`)? One run, not optimised, measures nothing.
#[must_use]
pub fn is_trial() -> bool {
    std::env::args().any(|word| word == "--test")
}

/// Is this benchmark asked for? A word on the command line is a part of the names that are.
#[must_use]
pub fn is_asked_for(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Prints the lines, unless it is a trial.
pub fn print(title: &str, lines: &[Line]) {
    if is_trial() {
        return;
    }
    println!("\n{title:<52}{:>8}{:>16}{:>12}", "ns/packet", "(quartiles)", "packets/s");
    for Line { name, ns: [median, low, high] } in lines {
        let range = format!("({low:.0}–{high:.0})");
        println!("{name:<52}{median:>9.0}{range:>16}{:>12.0}", 1e9 / median.max(1.0));
    }
}
