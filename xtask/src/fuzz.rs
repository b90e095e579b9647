//! Which input breaks it?

use std::{
    collections::BTreeSet,
    env, fs,
    path::{self, Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::exec;

/// Try inputs that nobody thought of: packets, sequences of them, site files
#[derive(clap::Args)]
pub struct Options {
    /// One target instead of all
    #[arg(value_parser = TARGETS.map(|target| target.name))]
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Try this input only
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Replace the committed corpus by the least that reaches as much
    #[arg(long, conflicts_with = "input")]
    minimise: bool,
}

/// What is fuzzed.
struct Target {
    name: &'static str,
    /// Longer inputs take longer and say no more.
    bytes_max: u32,
    /// Inputs that are committed.
    files_max: usize,
}

const TARGETS: [Target; 3] = [
    Target { name: "packet", bytes_max: 2200, files_max: 50 },
    Target { name: "sequence", bytes_max: 250, files_max: 25 },
    Target { name: "site", bytes_max: 8000, files_max: 25 },
];
/// Longer than any input takes on a busy machine.
const INPUT_SECONDS_MAX: u32 = 30;
const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";

pub fn run(options: &Options) -> Result<()> {
    let fuzzer = Fuzzer::find()?;
    let is_asked = |name: &str| options.target.as_deref().is_none_or(|target| target == name);
    let targets = TARGETS.iter().filter(|target| is_asked(target.name));
    if let (Some(target), Some(input)) = (&options.target, &options.input) {
        // cargo-fuzz works in the root.
        return exec::run(fuzzer.command().arg(target).arg(path::absolute(input)?));
    }
    let mut seeds = exec::cargo("run");
    seeds.env_remove("SEKISHO_REQUIRE_BPF").env("SEKISHO_SKIP_BPF", "1");
    seeds.args(["--quiet", "--package", "sekisho-tests", "--bin", "seeds"]);
    exec::run(seeds.arg(&fuzzer.corpus))?;
    for target in targets {
        fuzzer.fuzz(target, options.seconds)?;
        if options.minimise {
            fuzzer.minimise(target)?;
        }
    }
    Ok(())
}

/// cargo-fuzz, and what it works on.
struct Fuzzer {
    program: PathBuf,
    target_dir: PathBuf,
    /// What was found so far, besides what is committed.
    corpus: PathBuf,
    sanitizer: &'static str,
}

impl Fuzzer {
    fn find() -> Result<Self> {
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| exec::root().join("target"), PathBuf::from);
        let tools = target.join("tools");
        ensure!(
            exec::which("c++").is_some(),
            "a C++ compiler is missing, which libFuzzer is built with: apt-get install g++"
        );
        let program = exec::which("cargo-fuzz").unwrap_or_else(|| tools.join("bin/cargo-fuzz"));
        if !program.exists() {
            eprintln!("cargo-fuzz is missing");
            exec::run(exec::cargo("install").args(["--locked", CARGO_FUZZ, "--root"]).arg(&tools))?;
        }
        let sanitizer = if has_address_sanitizer()? { "address" } else { "none" };
        if sanitizer == "none" {
            eprintln!("without AddressSanitizer, whose library this compiler has not got");
        }
        let (target_dir, corpus) = (target.join("fuzz"), target.join("fuzz/corpus"));
        Ok(Self { program, target_dir, corpus, sanitizer })
    }

    fn command(&self) -> Command {
        // What `cargo fuzz` would run.
        let mut command = Command::new(&self.program);
        command.current_dir(exec::root()).arg("fuzz");
        // The sanitizers' flags are for nightly compilers; a stable one knows them as well.
        command.env("RUSTC_BOOTSTRAP", "1");
        command
            .env("SEKISHO_SKIP_BPF", "1")
            .args(["run", "--sanitizer", self.sanitizer, "--target-dir"])
            .arg(&self.target_dir);
        command
    }

    fn fuzz(&self, target: &Target, seconds: u32) -> Result<()> {
        let &Target { name: target, bytes_max, .. } = target;
        let found = exec::root().join("fuzz/artifacts").join(target);
        let before = files(&found);
        let mut fuzz = self.command();
        // New inputs are put into the first of the two.
        fuzz.arg(target).arg(self.corpus.join(target)).arg(committed(target)).arg("--");
        fuzz.args([
            format!("-max_total_time={seconds}"),
            format!("-timeout={INPUT_SECONDS_MAX}"),
            format!("-max_len={bytes_max}"),
            "-print_final_stats=1".to_owned(),
        ]);
        if target == "site" {
            fuzz.arg(format!("-dict={}", self.corpus.join("site.words").display()));
        }
        let Err(error) = exec::run(&mut fuzz) else { return Ok(()) };
        let found: Vec<_> = files(&found).difference(&before).cloned().collect();
        for file in &found {
            eprintln!("found: cargo xtask fuzz {target} --input {}", file.display());
        }
        if found.is_empty() {
            return Err(error);
        }
        bail!(
            "{target}: {} finding(s); mend the cause, make a row of the packet table of it \
             (tests/src/rows) and put the input into fuzz/corpus/{target}",
            found.len()
        )
    }

    fn minimise(&self, target: &Target) -> Result<()> {
        let &Target { name: target, files_max, .. } = target;
        let least = self.corpus.with_file_name("least").join(target);
        let _ = fs::remove_dir_all(&least);
        fs::create_dir_all(&least).with_context(|| least.display().to_string())?;
        let mut merge = self.command();
        merge.arg(target).arg(&least).arg(self.corpus.join(target)).arg(committed(target));
        // By what is reached, not by how often: else ten times as many.
        exec::run(merge.args(["--", "-set_cover_merge=1", "-use_counters=0"]))?;
        let committed = committed(target);
        fs::remove_dir_all(&committed)?;
        fs::create_dir_all(&committed)?;
        // The merge writes those first that add most.
        let mut least: Vec<_> = files(&least).into_iter().collect();
        least.sort_by_key(|file| file.metadata().and_then(|data| data.modified()).ok());
        for file in least.iter().take(files_max) {
            fs::copy(file, committed.join(file.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }
}

fn committed(target: &str) -> PathBuf {
    exec::root().join("fuzz/corpus").join(target)
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Debian's compilers come without it.
fn has_address_sanitizer() -> Result<bool> {
    let rustc = Command::new("rustc").args(["--print", "target-libdir"]).output();
    let libdir = rustc.context("rustc --print target-libdir")?.stdout;
    let libdir = PathBuf::from(String::from_utf8_lossy(&libdir).trim());
    Ok(files(&libdir).iter().any(|file| {
        file.file_name().is_some_and(|name| name.to_string_lossy().ends_with("rt.asan.a"))
    }))
}
