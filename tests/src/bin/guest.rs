//! What does a kernel say to the programs and to the packet table, when nothing else runs
//! on it?
//!
//! The first process of a guest that `cargo xtask verify --kernels` boots, and never to be
//! started elsewhere: it mounts, loads modules, and switches the machine off. What it
//! says are the lines of its console that begin with `sekisho:`; it was heard to the end if
//! the last of them is `sekisho: end`.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
};
use sekisho_tests::{pair::rows, verifier};

/// What the initramfs has beside this program.
const MODULES: &str = "/modules";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this is the first process of a guest: cargo xtask verify --kernels");
        return ExitCode::FAILURE;
    }
    if let Err(error) = ask() {
        say("failed", &format!("{error:?}"));
    }
    println!("sekisho: end");
    let _ = reboot(RebootMode::RB_POWER_OFF);
    // The kernel panics when its first process ends, which ends the guest as well.
    ExitCode::FAILURE
}

fn ask() -> Result<()> {
    furnish()?;
    say("kernel", &fs::read_to_string("/proc/sys/kernel/osrelease")?);
    let measured = verifier::measure()?;
    let kernel = verifier::kernel()?;
    for (name, said) in &measured.said {
        say("verifier", &format!("{kernel} {name} {said}"));
    }
    if let Some(reason) = measured.reason {
        say("refused", &reason);
        return Ok(());
    }
    let ran = rows::agree("rows")?;
    say("rows", &format!("{} rows, {} packets agree with the host", ran.rows, ran.packets));
    Ok(())
}

/// What a lab stands on.
fn furnish() -> Result<()> {
    let mounts = [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
    ];
    for (kind, at) in mounts {
        mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {at}"))?;
    }
    for module in fs::read_dir(MODULES).context(MODULES)? {
        let path = module?.path();
        finit_module(fs::File::open(&path)?, c"", ModuleInitFlags::empty())
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Each line by itself, so that none is taken for another's.
fn say(what: &str, text: &str) {
    for line in text.trim_end().lines() {
        println!("sekisho: {what} {line}");
    }
}
