//! Would the stories notice? Programs that permit everything, and programs that forward
//! nothing, have to fail them.
//!
//! The command is built once with each mutant and once as it is, which is what stays in
//! `target`. As it is every story named here passes; with a mutant those fail that are named
//! for it, one by one and not by a mere failure of the run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{exec, privilege};

/// Build programs with a defect, and demand that the stories find it
#[derive(clap::Args)]
pub struct Options {
    /// Only these mutants
    #[arg(value_name = "MUTANT")]
    only: Vec<String>,
    /// Only build these, and put them aside for the stories
    #[arg(long, value_name = "FEATURE", conflicts_with_all = ["only", "rotating"])]
    build: Option<String>,
    /// Only as many, another day others
    #[arg(long, value_name = "N", conflicts_with = "only")]
    rotating: Option<usize>,
}

/// The mutants that are asked for.
fn chosen(options: &Options) -> Result<Vec<&'static Control>> {
    let all: Vec<_> = CONTROLS.iter().collect();
    if let Some(count) = options.rotating {
        let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / (24 * 60 * 60);
        let first = days as usize * count;
        return Ok((first..first + count.min(all.len())).map(|at| all[at % all.len()]).collect());
    }
    let is_named = |control: &Control, name: &String| control.feature.ends_with(name.as_str());
    for name in &options.only {
        if !all.iter().any(|control| is_named(control, name)) {
            let known: Vec<_> = all.iter().map(|control| control.feature).collect();
            bail!("there is no mutant {name}; there are {}", known.join(", "));
        }
    }
    let wanted = |control: &&Control| {
        options.only.is_empty() || options.only.iter().any(|name| is_named(control, name))
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// A mutant, which is a feature of dataplane-ebpf.
struct Control {
    feature: &'static str,
    /// Stories that are about what the mutant does wrong.
    fail: &'static [&'static str],
    /// Stories that have nothing to do with it: the mutant is no mere wreck.
    pass: &'static [&'static str],
}

const ISOLATION: &str = "isolation::tenants_with_the_same_addresses_reach_only_their_own";
const REPLAY: &str = "replay::a_port_that_replays_an_established_connection_is_stopped";
const CUT: &str = "cut::a_removed_rule_cuts_connections_and_the_rule_back_revives_them";

const CONTROLS: [Control; 13] = [
    Control {
        feature: "control-allow-all",
        fail: &[
            "accounting::every_packet_is_accounted_for",
            CUT,
            "groups::a_member_that_leaves_is_cut_and_one_that_joins_is_let_in",
            "groups::an_address_group_counts_as_it_is_now",
            "mec::a_line_reaches_its_destination_and_nothing_else",
            "router::ping_and_traceroute_see_a_router",
        ],
        pass: &[ISOLATION, REPLAY],
    },
    Control {
        feature: "control-drop-all",
        fail: &[
            "accounting::every_packet_is_accounted_for",
            ISOLATION,
            "mec::a_line_reaches_its_destination_and_nothing_else",
            "mixed::a_virtual_machine_at_a_tap_is_a_tenant_like_others",
            "router::ping_and_traceroute_see_a_router",
        ],
        pass: &["operations::a_start_that_is_refused_leaves_nothing"],
    },
    Control { feature: "control-flow-owner", fail: &[REPLAY], pass: &[ISOLATION] },
    Control {
        feature: "control-generations",
        fail: &[CUT, "groups::a_member_that_leaves_is_cut_and_one_that_joins_is_let_in"],
        pass: &[ISOLATION, REPLAY],
    },
    Control { feature: "control-egress-ignored", fail: &[CUT], pass: &[ISOLATION, REPLAY] },
    Control { feature: "control-readmit-observed", fail: &[CUT], pass: &[ISOLATION, REPLAY] },
    Control {
        feature: "control-session-unchecked",
        fail: &["mec::a_line_is_cut_in_mid_connection_and_comes_back"],
        pass: &[ISOLATION, REPLAY],
    },
    Control {
        feature: "control-error-destination",
        fail: &["errors::an_error_about_a_flow_reaches_its_sender_and_a_forged_one_nobody"],
        pass: &[ISOLATION, REPLAY],
    },
    Control {
        feature: "control-flood-ingress",
        fail: &["floods::broadcast_and_multicast_reach_whose_rules_permit_it_and_nobody_else"],
        pass: &[ISOLATION, REPLAY],
    },
    Control {
        feature: "control-fragment-early",
        fail: &["fragments::a_piece_passes_only_after_its_own_first"],
        pass: &[ISOLATION, "fragments::datagrams_in_pieces_arrive_whole"],
    },
    Control {
        feature: "control-uncounted",
        fail: &["accounting::every_packet_is_accounted_for", REPLAY],
        // Every story ends with the balance; this one has none.
        pass: &["operations::a_start_that_is_refused_leaves_nothing"],
    },
    Control {
        feature: "control-refused-uncounted",
        fail: &[
            "refused::what_a_port_does_not_take_is_counted",
            "refused::what_a_nic_does_not_take_is_counted",
        ],
        pass: &[ISOLATION, REPLAY],
    },
    Control {
        feature: "control-unlimited",
        fail: &[
            "limits::a_port_sends_as_much_as_its_limit_lets_pass",
            "limits::a_router_has_one_limit_for_all_of_its_ports",
            "limits::a_large_packet_counts_as_its_segments",
        ],
        pass: &[ISOLATION, REPLAY],
    },
];

pub fn run(options: &Options) -> Result<()> {
    if let Some(feature) = &options.build {
        return put_aside(feature);
    }
    privilege::require_for_kernel()?;
    let controls = chosen(options)?;
    let mut mutants = Vec::new();
    for &control in &controls {
        mutants.push((control, build(control.feature)?));
    }
    let sekisho = build("")?;
    let stories = stories()?;

    let all: BTreeSet<_> = controls.iter().flat_map(|of| of.fail.iter().chain(of.pass)).collect();
    let all: Vec<_> = all.into_iter().copied().collect();
    let outcome = tell(&stories, &sekisho, &all)?;
    outcome.demand(&all, true).context("as it is")?;
    for (control, sekisho) in mutants {
        let named = [control.fail, control.pass].concat();
        let outcome = tell(&stories, &sekisho, &named)?;
        outcome.demand(control.fail, false).context(control.feature)?;
        outcome.demand(control.pass, true).context(control.feature)?;
    }
    eprintln!("every control was found out");
    Ok(())
}

/// Builds the command with a feature, for the stories that want one beside the one under test.
pub fn put_aside(feature: &str) -> Result<()> {
    build(&format!("control-{}", feature.trim_start_matches("control-")))?;
    build("").map(drop)
}

/// Builds the command with a feature of the packet programs, and puts a mutant aside.
fn build(feature: &str) -> Result<PathBuf> {
    let mut cargo = exec::cargo("build");
    cargo.args(["--package", "dataplane-user"]).env("SEKISHO_BPF_FEATURES", feature);
    exec::run(&mut cargo)?;
    let built = exec::target().join("debug/sekisho");
    if feature.is_empty() {
        return Ok(built);
    }
    let folder = exec::target().join("controls");
    fs::create_dir_all(&folder)?;
    let aside = folder.join(feature);
    fs::copy(&built, &aside).with_context(|| format!("copying {}", built.display()))?;
    Ok(aside)
}

/// The test program of the stories.
fn stories() -> Result<PathBuf> {
    let mut cargo = exec::cargo("test");
    cargo.args(["--package", "sekisho-tests", "--test", "stories", "--no-run"]);
    // `  Executable tests/stories/main.rs (target/debug/deps/stories-0123456789abcdef)`
    let output = cargo.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the stories do not build:\n{text}");
    let line = text.lines().find(|line| line.trim_start().starts_with("Executable"));
    let path = line.and_then(|line| line.split(['(', ')']).nth(1));
    Ok(exec::root().join(path.with_context(|| format!("no test program in:\n{text}"))?))
}

/// Stories that passed and that failed.
struct Outcome {
    text: String,
}

/// Runs these stories against a command.
fn tell(stories: &Path, sekisho: &Path, names: &[&str]) -> Result<Outcome> {
    eprintln!("{} stories with {}", names.len(), sekisho.display());
    let output = Command::new(stories)
        .args(["--include-ignored", "--exact"])
        .args(names)
        .env("SEKISHO_BIN", sekisho)
        .env("RUST_BACKTRACE", "0")
        .current_dir(exec::root())
        .output()
        .with_context(|| format!("{}", stories.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A program that the kernel refuses would fail every story for another reason.
    if text.contains("did not write \"sekisho: ready\"") {
        bail!("{} does not start:\n{text}", sekisho.display());
    }
    Ok(Outcome { text })
}

impl Outcome {
    /// Each of these stories has to have passed, or failed.
    fn demand(&self, names: &[&str], passed: bool) -> Result<()> {
        let word = if passed { "ok" } else { "FAILED" };
        for name in names {
            let line = format!("test {name} ... {word}");
            ensure!(
                self.text.lines().any(|told| told == line),
                "{name} is not {word}:\n{}",
                self.text
            );
            eprintln!("{line}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_story_by_story() {
        let text = "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\n".to_owned();
        let outcome = Outcome { text };
        outcome.demand(&["a::b"], true).expect("passed");
        outcome.demand(&["a::c"], false).expect("failed");
        for (name, passed) in [("a::b", false), ("a::c", true), ("a::d", true), ("a::d", false)] {
            outcome.demand(&[name], passed).expect_err("is not so");
        }
    }
}
