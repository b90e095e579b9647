//! How much of the verifier's budget does each program use on a kernel: this one, or the
//! one of which a file tells (`--measured`)?
//!
//! The golden file holds what was measured when a change was reviewed. A program that
//! moved by more than a tenth, that comes near the verifier's limit, or that is refused
//! and was not, fails; `--bless` writes what was measured now.

use std::{collections::BTreeMap, env, fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use sekisho_tests::verifier::{self, Said};

/// Where the numbers are, beside the kernel that they were measured on.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/verifier.txt");
/// The kernel's limit is 1,000,000 (BPF_COMPLEXITY_LIMIT_INSNS); older kernels follow
/// more states than new ones do.
const VERIFIED_MAX: u32 = 800_000;

fn main() -> Result<ExitCode> {
    let mut arguments: Vec<_> = env::args().skip(1).collect();
    let bless = arguments.iter().position(|word| word == "--bless");
    bless.map(|at| arguments.remove(at));
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (kernel, measured) = match words[..] {
        [] => (verifier::kernel()?, here()?),
        ["--measured", kernel, file] => (kernel.to_owned(), read(Path::new(file), kernel)?),
        _ => bail!("there are --bless and --measured KERNEL FILE"),
    };
    compare(&kernel, &measured, bless.is_some())
}

/// What this kernel says.
fn here() -> Result<BTreeMap<String, Said>> {
    let measured = verifier::measure()?;
    if let Some(reason) = measured.reason {
        println!("{reason}");
    }
    Ok(measured.said)
}

fn compare(kernel: &str, measured: &BTreeMap<String, Said>, bless: bool) -> Result<ExitCode> {
    let golden = read(Path::new(GOLDEN), kernel)?;
    println!("{:24} {:>9} {:>9}   (Linux {kernel})", "program", "verified", "golden");
    let mut is_good = true;
    for (name, &said) in measured {
        let before = golden.get(name).copied();
        let is_over = matches!(said, Said::Verified(now) if now > VERIFIED_MAX);
        let moved = moved(before, said);
        is_good &= !is_over && (bless || moved.is_none());
        let remark = if is_over { "over the budget" } else { moved.unwrap_or_default() };
        let before = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        println!("{}", format!("{name:24} {said:>9} {before:>9}  {remark}").trim_end());
    }
    if bless {
        write(Path::new(GOLDEN), kernel, measured)?;
    } else if !is_good {
        println!(
            "If the change is meant: the same command with --bless, and let the difference be \
             reviewed"
        );
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What there is to be said about a difference, if it matters.
fn moved(before: Option<Said>, now: Said) -> Option<&'static str> {
    match (before, now) {
        (Some(Said::Verified(before)), Said::Verified(now)) => {
            (now.abs_diff(before) > before / 10).then_some("moved by more than a tenth")
        }
        (Some(Said::Refused), Said::Refused) => None,
        (Some(Said::Refused), Said::Verified(_)) => Some("was refused"),
        (Some(Said::Verified(_)), Said::Refused) => Some("was not refused"),
        (None, _) => Some("is not known"),
    }
}

/// The rows of one kernel: `kernel program verified`.
fn read(path: &Path, kernel: &str) -> Result<BTreeMap<String, Said>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let rows = text.lines().filter_map(|line| row(line, kernel));
    rows.collect::<Result<_>>().with_context(|| path.display().to_string())
}

fn row(line: &str, kernel: &str) -> Option<Result<(String, Said)>> {
    let mut words = line.split_whitespace();
    if words.next() != Some(kernel) {
        return None;
    }
    let (name, said) = (words.next()?, words.next()?);
    Some(said.parse().map(|said| (name.to_owned(), said)))
}

/// Replaces the rows of this kernel.
fn write(path: &Path, kernel: &str, measured: &BTreeMap<String, Said>) -> Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let others = text.lines().filter(|line| row(line, kernel).is_none());
    let mut rows: Vec<_> = others.map(str::to_owned).collect();
    rows.extend(measured.iter().map(|(name, said)| format!("{kernel} {name} {said}")));
    rows.sort();
    fs::write(path, rows.join("\n") + "\n").with_context(|| path.display().to_string())
}
