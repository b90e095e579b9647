//! What removes a lab when its owner cannot: after a signal, or after a run that was killed?
//!
//! Every name starts with `sk<pid>-`, so that runs side by side do not collide and the owner of
//! a leftover is known.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace::MAKING;
use super::{FOLDER, remove_folder};
use crate::process::{Output, run_here};
use crate::sys;

const NETNS: &str = "/run/netns";

/// What the names of this process start with.
pub(super) fn own_prefix() -> String {
    format!("sk{}-", std::process::id())
}

pub(super) fn netns_path(name: &str) -> PathBuf {
    Path::new(NETNS).join(name)
}

/// Removes a namespace and, with it, the interfaces in it.
pub(super) fn delete_netns(name: &str) {
    match run_here(&["ip", "netns", "delete", name]).and_then(Output::ok) {
        Ok(_) => {}
        Err(error) if netns_path(name).exists() => eprintln!("{name} was not removed: {error:#}"),
        Err(_) => {}
    }
}

/// From the first call on, SIGINT, SIGTERM and SIGHUP remove all that this process made, and then end it
/// with the exit code that shells give for them.
pub(super) fn clean_up_on_signals() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let signals = sys::signals_as_stream(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
            .map_err(|error| error.to_string())?;
        thread::Builder::new()
            .name("lab-signals".into())
            .spawn(move || {
                if let Ok(signal) = signals.wait() {
                    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
                    sweep(&own_prefix());
                    std::process::exit(128 + signal);
                }
            })
            .map_err(|error| error.to_string())?;
        Ok(())
    });
    installed.clone().map_err(|error| anyhow!("watching for signals: {error}"))
}

/// Removes what runs left behind whose process is gone, once in a run.
pub(super) fn sweep_dead() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        for prefix in names().iter().filter_map(|name| dead_owner(name)) {
            sweep(&prefix);
        }
    });
}

/// Ends the programs in the namespaces that start with `prefix`, and removes them.
fn sweep(prefix: &str) {
    for name in names().iter().filter(|name| name.starts_with(prefix)) {
        if netns_path(name).exists() {
            end_programs_in(name);
            delete_netns(name);
        }
        let folder = Path::new(FOLDER).join(name);
        if folder.exists() {
            remove_folder(&folder);
        }
    }
}

fn end_programs_in(netns: &str) {
    let pids = run_here(&["ip", "netns", "pids", netns]).and_then(Output::ok);
    for pid in pids.unwrap_or_default().lines().filter_map(|line| line.trim().parse().ok()) {
        if pid != std::process::id().cast_signed() {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// All namespaces and lab folders of this machine, whoever made them.
fn names() -> Vec<String> {
    let list = |folder| fs::read_dir(folder).into_iter().flatten().flatten();
    list(NETNS)
        .chain(list(FOLDER))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The prefix of a lab's name whose process no longer lives.
fn dead_owner(name: &str) -> Option<String> {
    let (pid, _) = name.strip_prefix("sk")?.split_once('-')?;
    let number: u32 = pid.parse().ok()?;
    let alive = Path::new("/proc").join(number.to_string()).exists();
    (!alive).then(|| format!("sk{pid}-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_labs_name_has_a_dead_owner() {
        assert_eq!(dead_owner(&format!("{}web-dut", own_prefix())), None);
        assert_eq!(dead_owner("sk4294967295-web-dut"), Some("sk4294967295-".into()));
        for foreign in ["skynet", "sk-1", "sk12", "skull-7", "qdhcp-1"] {
            assert_eq!(dead_owner(foreign), None, "{foreign}");
        }
    }
}
