//! How are figures kept, until a report is made of them?
//!
//! A benchmark writes `target/bench/<its name>.json`: a line that tells of the run, then one for
//! each row. What could not be measured is a row, too, and says why. A run that fails, or is asked
//! for some of its rows alone, leaves what it has in `<its name>.part` and nothing else changed.

use std::fs;
use std::path::{Path, PathBuf};
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
    /// Why it is not a whole run.
    #[serde(default)]
    pub cut_short: Option<String>,
}

/// How files of whole runs end, and of others.
const WHOLE: &str = "json";
const PART: &str = "part";

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

    /// Takes the samples of a row, unless there are none: then it was not asked for, and the run
    /// is a part of one.
    pub fn add_asked(&mut self, row: Row, samples: Vec<f64>) {
        if samples.is_empty() {
            self.cut_short("not every row was asked for");
        } else {
            self.add(row.samples(samples));
        }
    }

    /// The run will not be whole.
    pub fn cut_short(&mut self, why: impl ToString) {
        self.run.cut_short = Some(why.to_string());
    }

    /// The end of the run. The rows of a whole one take the place of those of the run before;
    /// what was measured until something failed is of use, too, and is written beside them. In a
    /// trial nothing is written: then only that it can be read again is seen.
    pub fn end(mut self, done: Result<()>) -> Result<()> {
        if let Err(error) = &done {
            self.cut_short(format!("{error:#}"));
        }
        let kept = if report::is_trial() {
            self.text().and_then(|text| read(&text)).map(drop)
        } else {
            self.write(&folder()).map(|path| println!("written to {}", path.display()))
        };
        // What failed first is what has to be told.
        done.and(kept)
    }

    fn text(&self) -> Result<String> {
        let mut text = serde_json::to_string(&self.run)? + "\n";
        for row in &self.rows {
            text += &(serde_json::to_string(row)? + "\n");
        }
        Ok(text)
    }

    fn write(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let part = folder.join(format!("{}.{PART}", self.run.bench));
        fs::write(&part, self.text()?).with_context(|| part.display().to_string())?;
        if self.run.cut_short.is_some() {
            return Ok(part);
        }
        let whole = part.with_extension(WHOLE);
        fs::rename(&part, &whole).with_context(|| whole.display().to_string())?;
        Ok(whole)
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
            cut_short: None,
        }
    }
}

/// What the benchmarks left; of a run that was cut short only where there is no whole one.
pub fn all() -> Result<Vec<(Run, Vec<Row>)>> {
    all_in(&folder())
}

fn all_in(folder: &Path) -> Result<Vec<(Run, Vec<Row>)>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let has = |path: &PathBuf, wanted| path.extension().is_some_and(|found| found == wanted);
    files
        .retain(|path| has(path, WHOLE) || has(path, PART) && !path.with_extension(WHOLE).exists());
    files.sort();
    let text = |path: &PathBuf| fs::read_to_string(path);
    files
        .iter()
        .map(|path| read(&text(path)?).with_context(|| path.display().to_string()))
        .collect()
}

/// The command that measures what this benchmark does.
#[must_use]
pub fn command(bench: &str) -> &'static str {
    match bench {
        "path" | "ports" => "cargo xtask bench path",
        _ => "cargo xtask bench",
    }
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

    const DEVICE: &str = "sekisho";

    fn results(ns: f64) -> Results {
        let rows = vec![
            Row::ns(DEVICE, "one").of(1, 2, 3).samples(vec![ns + 1.0, ns - 1.0, ns]),
            Row::ns("nftables", "two").missing("nft is not installed"),
        ];
        Results { run: Run::here("a-test"), rows }
    }

    #[test]
    fn rows_survive_their_file() {
        let results = results(2.0);
        let (run, rows) = read(&results.text().expect("plain data")).expect("as it was written");
        assert_eq!((&run, &rows), (&results.run, &results.rows));
        assert_eq!(rows[0].figure, Some([2.0, 1.0, 3.0]));
    }

    #[test]
    fn only_a_whole_run_takes_the_place_of_another() {
        let folder = folder().join(format!("test-{}", std::process::id()));
        let medians = || -> Vec<_> {
            let all = all_in(&folder).expect("files that were written");
            all.iter().map(|(run, rows)| (run.cut_short.clone(), rows[0].figure)).collect()
        };
        let cut = |ns| {
            let mut part = results(ns);
            part.run.cut_short = Some("frames were lost".to_owned());
            part.write(&folder).expect("a folder of ours")
        };
        assert_eq!(medians(), []);
        // While there is nothing better, a part is shown as one.
        cut(2.0);
        assert_eq!(medians(), [(Some("frames were lost".into()), Some([2.0, 1.0, 3.0]))]);
        let whole = results(5.0).write(&folder).expect("a folder of ours");
        let part = cut(8.0);
        assert!(part != whole && part.exists());
        assert_eq!(medians(), [(None, Some([5.0, 4.0, 6.0]))]);
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn what_was_not_asked_for_makes_a_part() {
        let mut results = results(2.0);
        results.add_asked(Row::ns(DEVICE, "three"), vec![1.0]);
        assert_eq!((results.rows.len(), &results.run.cut_short), (3, &None));
        results.add_asked(Row::ns(DEVICE, "four"), Vec::new());
        assert_eq!(results.rows.len(), 3);
        assert!(results.run.cut_short.is_some());
    }
}
