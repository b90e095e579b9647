//! Which kernels besides the one that runs are asked, and how do they get here?
//!
//! From Debian's archive, whatever distribution this is, without root and without touching
//! this machine's own sources: apt has its lists, and a kernel lies unpacked, under
//! `target/kernels`. Nothing of it is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::exec;

/// A series of kernels, and the release of Debian that has it.
#[derive(Clone, Copy)]
pub struct Kernel {
    pub series: &'static str,
    suite: &'static str,
}

/// Debian's kernels for clouds: small, and with what a virtual machine needs built in.
pub const ALL: [Kernel; 2] =
    [Kernel { series: "6.1", suite: "bookworm" }, Kernel { series: "6.12", suite: "trixie" }];

/// What Debian's archive is signed with.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Always of the latest version in its release.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Those of the named series, or all.
pub fn named(series: &[String]) -> Result<Vec<Kernel>> {
    if series.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| {
        let Some(kernel) = ALL.into_iter().find(|kernel| kernel.series == name) else {
            let known = ALL.map(|kernel| kernel.series).join(", ");
            bail!("there is no kernel {name}; there are {known}");
        };
        Ok(kernel)
    };
    series.iter().map(find).collect()
}

impl Kernel {
    /// Where it lies, and what is made for it.
    pub fn folder(&self) -> PathBuf {
        folder().join(self.series)
    }
}

/// A kernel on this machine.
pub struct Unpacked {
    pub image: PathBuf,
    modules: PathBuf,
}

impl Unpacked {
    fn find(kernel: &Kernel) -> Option<Self> {
        let unpacked = kernel.folder().join("unpacked");
        let image = only(&unpacked.join("boot"), "vmlinuz-")?;
        // Below /usr since Debian 13.
        let below = |lib: &str| only(&unpacked.join(lib), "");
        let modules = below("lib/modules").or_else(|| below("usr/lib/modules"))?;
        Some(Self { image, modules })
    }

    /// A module as a kernel loads it, by its path in the tree.
    pub fn module(&self, path: &str) -> Result<Vec<u8>> {
        let plain = self.modules.join("kernel").join(path);
        let packed = plain.with_extension("ko.xz");
        if packed.exists() {
            return exec::output(Command::new("xz").args(["-dc".as_ref(), packed.as_os_str()]));
        }
        fs::read(&plain).with_context(|| plain.display().to_string())
    }
}

/// The entry of a folder that begins so.
fn only(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    entries
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
}

/// Brings a kernel here, unless it is here.
pub fn fetch(kernel: &Kernel) -> Result<Unpacked> {
    if let Some(unpacked) = Unpacked::find(kernel) {
        return Ok(unpacked);
    }
    download(kernel).with_context(|| {
        format!("Linux {} is to come from Debian's archive ({})", kernel.series, kernel.suite)
    })?;
    Unpacked::find(kernel).with_context(|| {
        format!("{} holds no kernel with modules; remove it", kernel.folder().display())
    })
}

fn download(kernel: &Kernel) -> Result<()> {
    let apt = Apt::of(kernel)?;
    exec::run(apt.command("apt-get").args(["update", "-q"]))?;
    let shown = exec::output(apt.command("apt-cache").args(["show", META_PACKAGE]))?;
    let package = package(&String::from_utf8_lossy(&shown), kernel.series)?;
    exec::run(apt.command("apt-get").args(["download", "-q", &package]))?;
    let archive = only(&apt.folder, &format!("{package}_"))
        .with_context(|| format!("{package} is not in {}", apt.folder.display()))?;
    // Aside until it is complete: what is there is taken as it is.
    let draft = kernel.folder().join("draft");
    exec::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&draft))?;
    fs::rename(&draft, kernel.folder().join("unpacked"))?;
    fs::remove_file(&archive).with_context(|| archive.display().to_string())
}

/// The package that the latest meta-package stands for.
fn package(shown: &str, series: &str) -> Result<String> {
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "));
    let package = depends.and_then(|depends| depends.split(' ').next()).unwrap_or_default();
    if !package.starts_with(&format!("linux-image-{series}.")) {
        bail!("{META_PACKAGE} is {package:?} and no Linux {series} any more");
    }
    Ok(package.to_owned())
}

/// An apt that knows one release of Debian, and nothing of this machine.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn of(kernel: &Kernel) -> Result<Self> {
        let folder = kernel.folder().join("apt");
        for part in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let source = format!(
            "deb [arch=amd64 signed-by={KEYRING}] http://deb.debian.org/debian {} main\n",
            kernel.suite
        );
        fs::write(folder.join("sources/debian.list"), source)?;
        Ok(Self { folder })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        let options = [
            ("Dir::Etc::SourceList", "/dev/null".into()),
            ("Dir::Etc::SourceParts", self.folder.join("sources").display().to_string()),
            ("Dir::State::lists", self.folder.join("lists").display().to_string()),
            ("Dir::Cache", self.folder.join("cache").display().to_string()),
            // The user that apt would become may not write here.
            ("APT::Sandbox::User", "root".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
        ];
        for (name, value) in options {
            command.args(["-o", &format!("{name}={value}")]);
        }
        command
    }
}

fn folder() -> PathBuf {
    exec::target().join("kernels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meta_package_names_the_kernel() {
        let shown = "Package: linux-image-cloud-amd64\nVersion: 6.12.9-1\n\
                     Depends: linux-image-6.12.9+deb13-cloud-amd64 (= 6.12.9-1)\n";
        assert_eq!(package(shown, "6.12").unwrap(), "linux-image-6.12.9+deb13-cloud-amd64");
        package(shown, "6.1").expect_err("another series");
        package("", "6.1").expect_err("nothing");
    }

    #[test]
    fn an_unknown_kernel_is_named() {
        assert_eq!(named(&[]).unwrap().len(), ALL.len());
        assert_eq!(named(&["6.1".into()]).unwrap()[0].series, "6.1");
        let refusal = named(&["5.4".into()]).map(drop).expect_err("too old").to_string();
        assert!(refusal.contains("5.4") && refusal.contains("6.12"), "{refusal}");
    }
}
