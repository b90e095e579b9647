//! What is missing on this machine, and how does it get here?
//!
//! Root on Debian or Ubuntu gets all of it; others get the compiler through rustup
//! and are told the rest. Nothing is upgraded and nothing is removed.

use std::{fs, path::Path};

use anyhow::{Result, bail};

use crate::{
    exec, guest,
    kernels::{self, Kernel},
    privilege,
    toolchain::{Distribution, Missing, Toolchain},
};

/// Install what building and testing need; quick when all is there
#[derive(clap::Args, Default)]
pub struct Options {
    /// Also what `cargo xtask lint` needs, which takes minutes to compile
    #[arg(long)]
    lint: bool,
    /// Also what `cargo xtask verify --kernels` needs: qemu, and Debian's kernels
    #[arg(long)]
    kernels: bool,
}

/// What the tests call, and the Debian package it is in.
const TEST_TOOLS: [(&str, &str); 16] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("tshark", "tshark"),
    ("tcpdump", "tcpdump"),
    ("ping", "iputils-ping"),
    ("tracepath", "iputils-tracepath"),
    ("traceroute", "traceroute"),
    // The package `arping` has other options; its program is /usr/sbin/arping.
    ("/usr/bin/arping", "iputils-arping"),
    ("dnsmasq", "dnsmasq-base"),
    ("udhcpc", "udhcpc"),
    ("iperf3", "iperf3"),
    ("nc.openbsd", "netcat-openbsd"),
    ("socat", "socat"),
    ("nft", "nftables"),
    ("bpftool", "bpftool"),
    ("cc", "gcc"),
];

/// The same, of `cargo xtask verify --kernels`.
const KERNEL_TOOLS: [(&str, &str); 4] = [
    (guest::QEMU, "qemu-system-x86"),
    ("xz", "xz-utils"),
    ("ip", "iproute2"),
    (kernels::KEYRING, "debian-archive-keyring"),
];

/// The target whose compiler is looked for; the object is for this machine.
pub const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

pub fn run(options: &Options) -> Result<()> {
    let distribution = Distribution::of_this_machine();
    tools(&TEST_TOOLS, distribution)?;
    let toolchain = toolchain(distribution)?;
    mount_bpffs()?;
    if options.lint {
        lint_tools(&toolchain, distribution)?;
    }
    if options.kernels {
        kernels(&kernels::ALL)?;
    }
    Ok(())
}

/// What other kernels are asked with, and these kernels.
pub fn kernels(wanted: &[Kernel]) -> Result<()> {
    tools(&KERNEL_TOOLS, Distribution::of_this_machine())?;
    wanted.iter().try_for_each(|kernel| kernels::fetch(kernel).map(drop))
}

fn tools(tools: &[(&str, &'static str)], distribution: Distribution) -> Result<()> {
    let missing: Vec<_> = tools
        .iter()
        .filter(|(program, _)| exec::which(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !may_apt(distribution) {
        let how = match distribution {
            Distribution::Bookworm | Distribution::DebianLike => "sudo apt-get install",
            Distribution::Other => "install, by Debian's names,",
        };
        bail!("tools are missing: {how} {}", missing.join(" "));
    }
    apt(&missing)
}

/// Each step can reveal the next: the linker must match the compiler.
fn toolchain(distribution: Distribution) -> Result<Toolchain> {
    let mut tried: Option<Missing> = None;
    loop {
        let missing = match Toolchain::find(TARGET) {
            Ok(toolchain) => return Ok(toolchain),
            Err(missing) => missing,
        };
        // apt-get is root's; rustup and cargo install are anybody's.
        let remedy = missing.remedy(match distribution {
            Distribution::Bookworm if !privilege::is_root() => Distribution::DebianLike,
            Distribution::Bookworm | Distribution::DebianLike | Distribution::Other => distribution,
        });
        if tried == Some(missing) {
            bail!("{} is still not found after: {remedy}", missing.name());
        }
        tried = Some(missing);

        eprintln!("{} is missing", missing.name());
        if remedy.starts_with("apt-get") {
            exec::shell("apt-get update -q")?;
        }
        if let Err(error) = exec::shell(&remedy) {
            let Missing::Linker { llvm } = missing else { return Err(error) };
            bail!(
                "{error}\nbpf-linker needs LLVM {llvm} with its development files (packages: \
                 apt.llvm.org); or put a released binary into PATH: \
                 https://github.com/aya-rs/bpf-linker/releases"
            );
        }
    }
}

/// Where programs and tables are pinned, so that they outlive the daemon.
fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf"));
    if mounted || !Path::new("/sys/fs/bpf").exists() || privilege::require_for_kernel().is_err() {
        return Ok(());
    }
    exec::shell("mount -t bpf bpf /sys/fs/bpf")
}

fn lint_tools(toolchain: &Toolchain, distribution: Distribution) -> Result<()> {
    if !toolchain.compiler.clippy().exists() {
        if may_apt(distribution) && toolchain.compiler.rustc.starts_with("/usr/bin") {
            apt(&["rust-web-clippy"])?;
        } else {
            exec::shell("rustup component add clippy --toolchain nightly")?;
        }
    }
    if exec::which("cargo-deny").is_none() {
        exec::run(exec::cargo("install").args(["--locked", "cargo-deny@0.20.2"]))?;
    }
    Ok(())
}

fn may_apt(distribution: Distribution) -> bool {
    distribution != Distribution::Other && privilege::is_root()
}

fn apt(packages: &[&str]) -> Result<()> {
    exec::shell("apt-get update -q")?;
    exec::shell(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    ))
}
