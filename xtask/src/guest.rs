//! How is a kernel asked that is not the one that runs: what is it booted with, and what
//! did it say?
//!
//! In qemu without hardware's help, which works everywhere, and without a network. What
//! counts is what was said; the time is bounded, and running out of it is a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{exec, initramfs::Initramfs, kernels::Kernel, kernels::Unpacked};

pub const QEMU: &str = "qemu-system-x86_64";

/// A quarter of it is usual on a busy machine.
const SECONDS_MAX: u32 = 900;

/// What a kernel said.
pub struct Heard {
    /// Its release: `6.12.117+deb13-cloud-amd64`.
    pub release: String,
    /// Rows of the golden file.
    pub measured: Vec<String>,
    /// The verifier's last words about a program that it refused.
    pub refused: Vec<String>,
    /// What became of the packet table.
    pub rows: Option<String>,
}

/// Boots a kernel with the test program, and hears it to the end.
pub fn ask(kernel: &Kernel, unpacked: &Unpacked, program: &Path) -> Result<Heard> {
    let initramfs = initramfs(kernel, unpacked, program)?;
    let console = kernel.folder().join("console.txt");
    boot(&unpacked.image, &initramfs, &console)?;
    let text = fs::read(&console).with_context(|| console.display().to_string())?;
    hear(&String::from_utf8_lossy(&text))
        .with_context(|| format!("Linux {}; its console is {}", kernel.series, console.display()))
}

fn initramfs(kernel: &Kernel, unpacked: &Unpacked, program: &Path) -> Result<PathBuf> {
    let mut initramfs = Initramfs::default();
    for folder in ["/dev", "/proc", "/sys", "/run", "/tmp"] {
        initramfs.folder(folder);
    }
    initramfs.program("/init", program)?;
    initramfs.program("/bin/ip", &exec::which("ip").context("ip is not in PATH")?)?;
    // Needs no other module.
    initramfs.file("/modules/veth.ko", &unpacked.module("drivers/net/veth.ko")?);
    let path = kernel.folder().join("initramfs");
    initramfs.write(&path)?;
    Ok(path)
}

fn boot(image: &Path, initramfs: &Path, console: &Path) -> Result<()> {
    let mut qemu = Command::new("timeout");
    qemu.args(["--foreground", &SECONDS_MAX.to_string(), QEMU]);
    qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024"]);
    qemu.args(["-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot"]);
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    qemu.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    // A panic ends the guest. Where the machine is busy, an emulated timer is too late for the
    // kernel's check of it, which panics.
    qemu.args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check"]);
    exec::run(&mut qemu)
}

/// What the lines of the console say, if they were said to the end.
fn hear(console: &str) -> Result<Heard> {
    let said = |what: &str| {
        let prefix = format!("sekisho: {what}");
        let lines = console.lines().filter_map(|line| line.trim_end().strip_prefix(&prefix));
        lines.map(|line| line.trim_start().to_owned()).collect::<Vec<_>>()
    };
    let failed = said("failed");
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    if said("end").is_empty() {
        let lines: Vec<_> = console.lines().collect();
        bail!("it did not come to its end: {}", lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    let (rows, refused) = (said("rows").pop(), said("refused"));
    if rows.is_none() && refused.is_empty() {
        bail!("it says nothing of the packet table");
    }
    let release = said("kernel").pop().unwrap_or_default();
    Ok(Heard { release, measured: said("verifier"), refused, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_heard_to_the_end() {
        let heard = hear(
            "SeaBIOS\r\nsekisho: kernel 6.12.1-x\r\nsekisho: verifier 6.12 sekisho_tc 5\r\n\
             sekisho: rows 2 rows\r\nsekisho: end\r\n",
        )
        .expect("all of it is there");
        assert_eq!(heard.release, "6.12.1-x");
        assert_eq!(heard.measured, ["6.12 sekisho_tc 5"]);
        assert_eq!(heard.rows.as_deref(), Some("2 rows"));
        assert!(heard.refused.is_empty());
    }

    #[test]
    fn silence_is_no_success() {
        let refused = |console| hear(console).map(drop).expect_err("not good").to_string();
        assert!(refused("Kernel panic\n").contains("Kernel panic"));
        assert!(refused("sekisho: verifier x\nsekisho: end\n").contains("packet table"));
        let failed = "sekisho: failed a row:\nsekisho: failed   differs\nsekisho: end\n";
        assert_eq!(refused(failed), "a row:\ndiffers");
    }
}
