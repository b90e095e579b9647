//! How is one network namespace made, entered and removed?

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::process::{Output, PATIENCE, Process, run_here};
use crate::sys::bpf;

/// Held while a namespace is made, and for good by the clean-up at a signal, so that none is
/// made behind its back.
pub(super) static MAKING: Mutex<()> = Mutex::new(());

/// One network namespace that the lab made, visible to `ip netns` while it lives.
///
/// Programs run in it keep the machine's mounts: `/sys/fs/bpf` is the machine's, and
/// `/sys/class/net` too, so ask `ip` about interfaces and not sysfs.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    pub(super) fn new(name: &str) -> Result<Self> {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        run_here(&["ip", "netns", "add", name])?.ok()?;
        let path = super::sweep::netns_path(name);
        let handle = match File::open(&path) {
            Ok(handle) => handle,
            Err(error) => {
                super::sweep::delete_netns(name);
                return Err(error).with_context(|| format!("opening {}", path.display()));
            }
        };
        let namespace = Self { name: name.to_owned(), handle };
        namespace.settle()?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a fresh thread inside the namespace. A socket opened there stays there,
    /// whichever thread uses it later.
    pub fn in_ns<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(&self.name, &self.handle, work)
    }

    /// Starts a program, which is ended when the returned handle is dropped.
    pub fn spawn(&self, command: &[&str]) -> Result<Process> {
        self.in_ns(|| Process::spawn(command))?
    }

    /// Runs a program to its end, for [`PATIENCE`] at most. A non-zero exit is no error here:
    /// see [`Output::ok`].
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        self.run_within(command, PATIENCE)
    }

    /// As [`run`](Self::run), for at most `within`.
    pub fn run_within(&self, command: &[&str], within: Duration) -> Result<Output> {
        self.spawn(command)?.wait(within)
    }

    /// Sets `/proc/sys/net/<key>`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.in_ns(|| fs::write(format!("/proc/sys/net/{key}"), value))?
            .with_context(|| format!("{}: setting net/{key} to {value}", self.name))
    }

    /// Puts an XDP program on an interface that passes every packet, for as long as the returned
    /// link is kept: somebody else's, to whoever comes next.
    pub fn occupy_xdp(&self, interface: &str) -> Result<OwnedFd> {
        let pass = [bpf::mov(bpf::R0, bpf::XDP_PASS), bpf::exit()];
        self.in_ns(|| bpf::attach(&pass, interface, bpf::Attach::Xdp))?
    }

    /// How many tcx programs see what comes in at an interface (bpftool before 7.3 knows none).
    pub fn tcx_programs(&self, interface: &str) -> Result<u32> {
        self.in_ns(|| bpf::attached(interface, bpf::Attach::TcxIngress))?
    }

    /// Waits until an interface is up at both ends and has no tentative address.
    pub fn wait_until_up(&self, interface: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let link = self.run(&["ip", "-o", "link", "show", "dev", interface])?.ok()?;
            let tentative = ["ip", "-o", "-6", "addr", "show", "dev", interface, "tentative"];
            // A tap that never was down is UNKNOWN.
            let up = link.contains("state UP") || link.contains("state UNKNOWN");
            let ready = up && link.contains("LOWER_UP");
            if ready && self.run(&tentative)?.ok()?.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{}: {interface} did not come up: {link}", self.name);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes a new namespace quiet and the same on every machine: no forwarding, no duplicate
    /// address detection (an address is usable at once), no router solicitations.
    fn settle(&self) -> Result<()> {
        let settings = [
            ("ipv4/ip_forward", "0"),
            ("ipv6/conf/all/forwarding", "0"),
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
        ];
        for (key, value) in settings {
            self.sysctl(key, value)?;
        }
        self.run(&["ip", "link", "set", "lo", "up"])?.ok()?;
        Ok(())
    }
}

/// Runs `work` inside a namespace of this name, if there still is one. It is not kept.
pub fn enter<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let handle = File::open(super::sweep::netns_path(name))?;
    inside(name, &handle, work)
}

fn inside<T: Send>(name: &str, handle: &File, work: impl FnOnce() -> T + Send) -> Result<T> {
    let inside = || {
        setns(handle, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {name}"))?;
        Ok(work())
    };
    thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        super::sweep::delete_netns(&self.name);
    }
}
