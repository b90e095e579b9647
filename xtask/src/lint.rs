//! Is the code in the house's form, for both targets?

use std::{env, fs, path::Path};

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
    exec::run(command.args(["--locked", "--", "--deny", "warnings"]))
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
    fn both_workspaces_have_the_same_lints() {
        let root = exec::root();
        same_lints(&root.join("Cargo.toml"), &root.join(EBPF)).expect("the tables are equal");
    }
}
