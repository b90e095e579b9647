//! Does every command of the README work?
//!
//! All ```sh blocks are run in their order by one shell, on a machine that has the interfaces of
//! examples/demo.yaml. `cargo` is not: what it is asked for there, CI has to ask for as well.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataplane_common::Stop;
use dataplane_user::check;
use sekisho_tests::{Lab, plug, sekisho};

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");
const SITE: &str = include_str!("../../examples/demo.yaml");

/// The lines of all blocks of this language.
fn lines_of(language: &str) -> Vec<&'static str> {
    let mut is_inside = false;
    let inside = README.lines().filter(|line| match line.strip_prefix("```") {
        Some(fence) => {
            is_inside = fence == language;
            false
        }
        None => is_inside && !line.is_empty(),
    });
    inside.collect()
}

fn commands() -> Vec<&'static str> {
    lines_of("sh")
}

#[test]
fn site_file_is_right() {
    let checked = check::check(&lines_of("yaml").join("\n"));
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
}

/// In the second column of the table of what is not supported.
#[test]
fn stop_reasons_are_so_named() {
    let table = README.split("## What is not supported yet").nth(1).unwrap_or_default();
    let table = table.split("### Limits").next().unwrap_or_default();
    let reasons = table.lines().filter_map(|line| line.split('|').nth(2));
    let names = reasons.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names: Vec<_> = names.filter(|name| name.contains('_') || *name == "multicast").collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(Stop::ALL.iter().any(|stop| stop.name() == name), "{name} is no stop reason");
    }
}

#[test]
fn fences_are_known() {
    let fences: Vec<_> = README.lines().filter(|line| line.starts_with("```")).collect();
    for [open, close] in fences.as_chunks().0 {
        let known = ["```sh", "```text", "```yaml"].contains(open);
        assert!(known && *close == "```", "{open} … {close}");
    }
    assert!(fences.len() % 2 == 0 && commands().len() > 10, "{fences:?}");
}

#[test]
fn what_cargo_is_asked_for_is_asked_for_by_ci() {
    for command in commands().into_iter().filter(|line| line.starts_with("cargo")) {
        let verb = command.split(" #").next().unwrap_or_default().trim();
        // `cargo xtask demo` builds what `build` does, in the other profile.
        let is_asked = CI.contains(&format!("step {verb}")) || verb == "cargo xtask build";
        assert!(is_asked, "{verb} is not in .ci/run");
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn commands_work() -> Result<()> {
    let lab = Lab::new("readme")?;
    let _hosts = plug::hosts(&lab, SITE)?;
    let mut script = String::from(
        "set -eu\n\
         ended() { for job in $(jobs -p); do kill $job || true; done; wait; sekisho detach; }\n\
         trap ended EXIT\n",
    );
    let own = |line: &&str| !line.starts_with("cargo") && !line.starts_with("install");
    for line in commands().into_iter().filter(own) {
        script.push_str(&format!("echo '$ '{}\n{line}\n", quoted(line)));
        if line.ends_with('&') {
            script.push_str("for i in $(seq 100); do sekisho status && break; sleep 0.2; done\n");
        }
    }
    let program = sekisho::program()?;
    let folder = Path::new(&program).parent().context("a program is in a folder")?;
    let file = lab.folder().join("readme.sh");
    fs::write(&file, script)?;
    let path = std::env::var("PATH")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place = [
        format!("--chdir={}", root.display()),
        format!("PATH={}:{path}", folder.display()),
        format!("SEKISHO_SOCKET={}", lab.folder().join("sekisho.sock").display()),
        format!("SEKISHO_PIN_PATH={}", lab.bpffs()?.join("readme").display()),
        format!("SEKISHO_STATE_PATH={}", lab.folder().join("state").display()),
        format!("SEKISHO_STORE={}", lab.folder().join("store.redb").display()),
        "bash".to_owned(),
        file.display().to_string(),
    ];
    let command: Vec<_> = ["env"].into_iter().chain(place.iter().map(String::as_str)).collect();
    let output = lab.dut().run_within(&command, Duration::from_secs(120))?;
    ensure!(output.status.success(), "{}\n{}", output.stdout, output.stderr);
    Ok(())
}

fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', r"'\''"))
}
