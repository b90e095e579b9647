//! How are figures kept, until a report is made of them?
//!
//! A benchmark writes `target/bench/<its name>.json`: a line that tells of the run, then one for
//! each row. What could not be measured is a row, too, and says why.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::report;

/// Where and of what figures are.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The benchmark.
    pub bench: String,
    /// The processor, and how many of them.
    pub machine: String,
    /// Linux.
    pub kernel: String,
    /// Of this repository.
    pub commit: String,
}

/// One figure.
#[derive(Serialize, Deserialize, Clone, Default, PartialEq, Debug)]
pub struct Row {
    /// What is measured: `sekisho`, or a peer.
    pub device: String,
    /// On what, in words; the same for all devices that can be compared.
    pub case: String,
    /// Flows, or what else is alive at a time; 0: it does not matter.
    #[serde(default)]
    pub flows: u32,
    /// Rules; 0: they do not matter.
    #[serde(default)]
    pub rules: u32,
    /// Routes; 0: they do not matter.
    #[serde(default)]
    pub routes: u32,
    /// Of what the figure is: `ns`, `Gbit/s`, `ms`, `bytes`.
    pub unit: String,
    /// The median, the smallest, the largest; none: it could not be measured.
    #[serde(default)]
    pub figure: Option<[f64; 3]>,
    /// Why it could not be measured.
    #[serde(default)]
    pub missing: Option<String>,
}

impl Row {
    /// A row in nanoseconds, still without a figure.
    #[must_use]
    pub fn ns(device: &str, case: &str) -> Self {
        Self {
            device: device.to_owned(),
            case: case.to_owned(),
            unit: "ns".into(),
            ..Self::default()
        }
    }

    /// Of another unit than nanoseconds.
    #[must_use]
    pub fn unit(self, unit: &str) -> Self {
        Self { unit: unit.into(), ..self }
    }

    /// With so many flows, rules and routes.
    #[must_use]
    pub fn of(self, flows: u32, rules: u32, routes: u32) -> Self {
        Self { flows, rules, routes, ..self }
    }

    /// With the figure of these samples.
    #[must_use]
    pub fn samples(mut self, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let (median, last) = (samples.get(samples.len() / 2), samples.last());
        self.figure =
            samples.first().zip(median).zip(last).map(|((min, median), max)| [*median, *min, *max]);
        self
    }

    /// Without a figure.
    #[must_use]
    pub fn missing(mut self, why: impl ToString) -> Self {
        self.missing = Some(why.to_string());
        self
    }
}

/// The rows of a run, as they come in.
pub struct Results {
    run: Run,
    rows: Vec<Row>,
}

impl Results {
    /// Of this benchmark, on this machine.
    #[must_use]
    pub fn of(bench: &str) -> Self {
        if !report::is_trial() {
            println!("{:<12}{:<46}{:>9}{:>8}{:>8}{:>10}", "", "", "flows", "rules", "routes", "");
        }
        Self { run: Run::here(bench), rows: Vec::new() }
    }

    /// One more, which is printed at once, unless it is a trial.
    pub fn add(&mut self, row: Row) {
        if !report::is_trial() {
            let Row { device, case, flows, rules, routes, unit, .. } = &row;
            print!("{device:<22}{case:<46}{flows:>9}{rules:>8}{routes:>8}");
            match (&row.figure, &row.missing) {
                (Some([median, min, max]), _) => {
                    println!("{median:>10.1} {unit} ({min:.1}–{max:.1})");
                }
                (None, why) => println!("  not measured: {}", why.as_deref().unwrap_or("?")),
            }
        }
        self.rows.push(row);
    }

    /// Writes them, unless it is a trial: then only that they can be read again is seen.
    pub fn write(&self) -> Result<()> {
        let mut text = serde_json::to_string(&self.run)? + "\n";
        for row in &self.rows {
            text += &(serde_json::to_string(row)? + "\n");
        }
        if report::is_trial() {
            return read(&text).map(drop);
        }
        let folder = folder();
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.run.bench));
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("written to {}", path.display());
        Ok(())
    }
}

impl Run {
    /// This machine and this commit.
    #[must_use]
    pub fn here(bench: &str) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let models: Vec<_> = processors
            .lines()
            .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, model)| model)
            .collect();
        let model = models.first().copied().unwrap_or("unknown processor");
        let is_guest = processors.contains(" hypervisor");
        let guest = if is_guest { ", a virtual machine" } else { "" };
        let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
        let commit = git.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned());
        Self {
            bench: bench.to_owned(),
            machine: format!("{} × {model}{guest}", models.len().max(1)),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit.unwrap_or_default(),
        }
    }
}

/// What the benchmarks left.
pub fn all() -> Result<Vec<(Run, Vec<Row>)>> {
    let folder = folder();
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let text = |path: &PathBuf| fs::read_to_string(path);
    files
        .iter()
        .map(|path| read(&text(path)?).with_context(|| path.display().to_string()))
        .collect()
}

/// Where they are.
#[must_use]
pub fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("bench")
}

fn read(text: &str) -> Result<(Run, Vec<Row>)> {
    let mut lines = text.lines();
    let run = serde_json::from_str(lines.next().context("an empty file")?)?;
    let rows = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((run, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_their_file() {
        let run = Run::here("a test");
        let rows = [
            Row::ns("sekisho", "one").of(1, 2, 3).samples(vec![3.0, 1.0, 2.0]),
            Row::ns("nftables", "two").missing("nft is not installed"),
        ];
        let mut text = serde_json::to_string(&run).expect("plain data") + "\n";
        for row in &rows {
            text += &(serde_json::to_string(row).expect("plain data") + "\n");
        }
        let (read_run, read_rows) = read(&text).expect("as it was written");
        assert_eq!((read_run, read_rows.as_slice()), (run, rows.as_slice()));
        assert_eq!(rows[0].figure, Some([2.0, 1.0, 3.0]));
    }
}
