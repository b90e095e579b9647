//! Is the code in the house's form, for both targets?

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    exec,
    setup::TARGET,
    toolchain::{Distribution, Toolchain},
};

/// Check format, lints, licences and sources
#[derive(clap::Args)]
pub struct Options {}

const EBPF: &str = "dataplane-ebpf/Cargo.toml";
const FUZZ: &str = "fuzz/Cargo.toml";

pub fn run(_: &Options) -> Result<()> {
    let ebpf = exec::root().join(EBPF);
    same_lints(&exec::root().join("Cargo.toml"), &ebpf)?;
    all_named(&exec::root())?;

    exec::run(exec::cargo("fmt").args(["--all", "--check"]))?;
    for manifest in [&ebpf, &exec::root().join(FUZZ)] {
        exec::run(exec::cargo("fmt").arg("--manifest-path").arg(manifest).arg("--check"))?;
    }

    // A stale lock file is found here too, one for each workspace.
    let strict = ["--locked", "--all-targets", "--", "--deny", "warnings"];
    exec::run(exec::cargo("clippy").arg("--workspace").args(strict))?;
    clippy_for_bpf(&ebpf)?;

    if exec::which("cargo-deny").is_none() {
        eprintln!("skipped: licences and sources; `cargo xtask setup --lint` installs cargo-deny");
        return Ok(());
    }
    for manifest in ["Cargo.toml", EBPF, FUZZ] {
        let mut deny = exec::cargo("deny");
        deny.args(["--manifest-path", manifest, "check", "bans", "licenses", "sources"]);
        exec::run(&mut deny)?;
    }
    Ok(())
}

fn clippy_for_bpf(manifest: &Path) -> Result<()> {
    let toolchain = Toolchain::find(TARGET).map_err(|missing| {
        let remedy = missing.remedy(Distribution::of_this_machine());
        anyhow!("{} is missing: {remedy}", missing.name())
    })?;
    let clippy = toolchain.compiler.clippy();
    ensure!(
        clippy.exists(),
        "{} is missing; `cargo xtask setup --lint` installs it",
        clippy.display()
    );
    let mut command = toolchain.cargo("clippy", manifest, TARGET, env::consts::ARCH);
    command.arg("--target-dir").arg(exec::root().join("target/ebpf/default"));
    // With the programs of the benchmarks.
    exec::run(command.args(["--locked", "--features", "bench", "--", "--deny", "warnings"]))
}

/// Cargo cannot share a lint table between workspaces, so we compare.
fn same_lints(root: &Path, ebpf: &Path) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    for tool in ["rust", "clippy"] {
        ensure!(
            section(&read(root)?, &format!("[workspace.lints.{tool}]"))
                == section(&read(ebpf)?, &format!("[lints.{tool}]")),
            "the {tool} lints of {} and {} differ",
            root.display(),
            ebpf.display()
        );
    }
    Ok(())
}

/// A file that no `mod` names is never compiled, and the tests in it never fail.
fn all_named(root: &Path) -> Result<()> {
    const FOLDERS: [&str; 7] = [
        "bench/src",
        "dataplane-common/src",
        "dataplane-ebpf/src",
        "dataplane-user/src",
        "tests/src",
        "tests/tests",
        "xtask/src",
    ];
    let mut nameless = Vec::new();
    for folder in FOLDERS {
        // Cargo itself names what lies at the top, and each binary.
        let mut below = folders_in(&root.join(folder))?;
        below.retain(|folder| !folder.ends_with("bin"));
        if folder != "tests/tests" {
            below.push(root.join(folder));
        }
        for folder in &below {
            nameless.extend(nameless_in(folder)?);
        }
    }
    ensure!(nameless.is_empty(), "no `mod` names {nameless:?}");
    Ok(())
}

/// Every folder beneath.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            folders.extend(folders_in(&path)?);
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Files of modules in the folder that the folder's own module does not have.
fn nameless_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let inside = ["lib.rs", "main.rs", "mod.rs"].map(|name| folder.join(name));
    let owners = || inside.iter().cloned().chain([folder.with_extension("rs")]);
    let owned: String = owners().filter_map(|owner| fs::read_to_string(owner).ok()).collect();
    let mut nameless = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_module = path.extension().is_some_and(|end| end == "rs") && !inside.contains(&path);
        let name = path.file_stem().unwrap_or_default().display().to_string();
        if is_module && !owned.contains(&format!("mod {name};")) {
            nameless.push(path);
        }
    }
    Ok(nameless)
}

/// The lines below a header, up to the next.
fn section<'a>(manifest: &'a str, header: &str) -> Vec<&'a str> {
    manifest
        .lines()
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_ends_at_the_next_header() {
        let manifest = "[a]\nx = 1\n\n[lints.rust]\ny = 2 # why\n\n[b]\nz = 3\n";
        assert_eq!(section(manifest, "[lints.rust]"), ["y = 2 # why"]);
        assert!(section(manifest, "[absent]").is_empty());
    }

    #[test]
    fn every_file_is_named_by_a_module() {
        let root = exec::root();
        all_named(&root).expect("all of them are");
        let folder = root.join("target/tmp/nameless");
        fs::create_dir_all(&folder).expect("a folder of our own");
        fs::write(folder.join("mod.rs"), "mod named;\n").expect("a file of our own");
        for name in ["named.rs", "forgotten.rs"] {
            fs::write(folder.join(name), "").expect("a file of our own");
        }
        assert_eq!(nameless_in(&folder).expect("it is there"), [folder.join("forgotten.rs")]);
    }

    #[test]
    fn both_workspaces_have_the_same_lints() {
        let root = exec::root();
        same_lints(&root.join("Cargo.toml"), &root.join(EBPF)).expect("the tables are equal");
    }
}
