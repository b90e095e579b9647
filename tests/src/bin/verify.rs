//! How much of the verifier's budget does each program use on this kernel?
//!
//! The golden file holds what was measured when a change was reviewed. A program that
//! moved by more than a tenth, or that comes near the verifier's limit, fails;
//! `--bless` writes what was measured now.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use dataplane_user::load::{Dataplane, LogLevel, Options, Place};
use sekisho_tests::lab::Lab;

/// Where the numbers are, beside the kernel that they were measured on.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/verifier.txt");
/// The kernel's limit is 1,000,000 (BPF_COMPLEXITY_LIMIT_INSNS); older kernels follow
/// more states than new ones do.
const VERIFIED_MAX: u32 = 500_000;

fn main() -> Result<ExitCode> {
    let bless = std::env::args().any(|argument| argument == "--bless");
    let measured = measure()?;
    let kernel = kernel()?;
    let golden = read(Path::new(GOLDEN), &kernel)?;
    println!("{:24} {:>9} {:>9}   (Linux {kernel})", "program", "verified", "golden");
    let mut is_good = true;
    for (name, &verified) in &measured {
        let before = golden.get(name).copied();
        let moved = before.is_none_or(|before| verified.abs_diff(before) > before / 10);
        let is_over = verified > VERIFIED_MAX;
        let remark = match (is_over, moved) {
            (true, _) => "  over the budget",
            (false, true) => "  moved by more than a tenth",
            (false, false) => "",
        };
        is_good &= !is_over && (bless || !moved);
        let before = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        println!("{name:24} {verified:>9} {before:>9}{remark}");
    }
    if bless {
        write(Path::new(GOLDEN), &kernel, &measured)?;
    } else if !is_good {
        println!(
            "If the change is meant: cargo xtask verify --bless, and let the difference be reviewed"
        );
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Instructions that the verifier looked at, by program.
fn measure() -> Result<BTreeMap<String, u32>> {
    let lab = Lab::new("verify")?;
    let place = Place { pin: lab.bpffs()?.join("sekisho"), state: lab.folder().join("state") };
    let dataplane = Dataplane::load(&Options { place, flow_lines: 1 << 10, log: LogLevel::Off })?;
    let programs = dataplane.programs()?;
    Ok(programs.into_iter().map(|facts| (facts.name.to_owned(), facts.verified)).collect())
}

/// The kernel's series: `6.18`.
fn kernel() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.split('.').take(2).collect::<Vec<_>>().join("."))
}

/// The rows of one kernel: `kernel program verified`.
fn read(path: &Path, kernel: &str) -> Result<BTreeMap<String, u32>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| row(line, kernel)).collect()
}

fn row(line: &str, kernel: &str) -> Option<Result<(String, u32)>> {
    let mut words = line.split_whitespace();
    if words.next() != Some(kernel) {
        return None;
    }
    let (name, verified) = (words.next()?, words.next()?);
    let verified = verified.parse().with_context(|| format!("{GOLDEN}: {line:?}"));
    Some(verified.map(|verified| (name.to_owned(), verified)))
}

/// Replaces the rows of this kernel.
fn write(path: &Path, kernel: &str, measured: &BTreeMap<String, u32>) -> Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let others = text.lines().filter(|line| row(line, kernel).is_none());
    let mut rows: Vec<_> = others.map(str::to_owned).collect();
    rows.extend(measured.iter().map(|(name, verified)| format!("{kernel} {name} {verified}")));
    fs::write(path, rows.join("\n") + "\n").with_context(|| path.display().to_string())
}
