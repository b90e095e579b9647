//! Which toolchain on this machine can compile for BPF, and if none can, what has
//! to be installed?
//!
//! Used by the build script and, by path, by xtask: no dependencies, and nothing
//! is installed from here.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The LLVM of Debian's rustc-web, and the oldest that knows
/// `allows-misaligned-mem-access`.
const LLVM_OLDEST: u32 = 22;

/// A compiler with a `core` for BPF.
#[derive(Debug)]
pub struct Compiler {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    /// `core` comes as source and is built along.
    pub build_std: bool,
    /// The major version of its LLVM: bpf-linker must not be older.
    pub llvm: u32,
}

/// A compiler and a linker.
#[derive(Debug)]
pub struct Toolchain {
    pub compiler: Compiler,
    pub linker: PathBuf,
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Compiler,
    /// The linker, which must be of this LLVM or newer.
    Linker {
        llvm: u32,
    },
}

impl Toolchain {
    pub fn find(target: &str) -> Result<Self, Missing> {
        let compiler = Compiler::find(target).ok_or(Missing::Compiler)?;
        let linker = linker().ok_or(Missing::Linker { llvm: compiler.llvm })?;
        Ok(Self { compiler, linker })
    }

    /// `cargo VERB` for the eBPF crate at `manifest`, unaffected by the cargo that
    /// runs us. `arch` is the machine whose registers the kernel hands to probes.
    pub fn cargo(&self, verb: &str, manifest: &Path, target: &str, arch: &str) -> Command {
        let mut command = match verb {
            // `cargo clippy` would look into CARGO_HOME first and find rustup's.
            "clippy" => Command::new(self.compiler.clippy()),
            _ => Command::new(&self.compiler.cargo),
        };
        clean(&mut command);
        let flags = [
            &format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf",
            "-Ctarget-cpu=v3", // the newest that Linux 6.1 takes
            // Every BPF machine we run on has them; without, a header field is
            // read byte by byte and packet code grows two- to sixfold.
            "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
            // Else six bytes of a MAC are copied by a call.
            "-Clink-arg=--disable-expand-memcpy-in-order",
            &format!("--cfg=bpf_target_arch=\"{arch}\""),
        ];
        command
            .env("CARGO", &self.compiler.cargo)
            .env("RUSTC", &self.compiler.rustc)
            .env("RUSTC_BOOTSTRAP", "1") // aya-ebpf and build-std use nightly features
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .args([verb, "--release", "--target", target, "--manifest-path"])
            .arg(manifest);
        if self.compiler.build_std {
            command.args(["-Z", "build-std=core"]);
        }
        command
    }

    /// The files whose change means another toolchain.
    pub fn files(&self) -> [&Path; 2] {
        [&self.compiler.rustc, &self.linker]
    }
}

impl Compiler {
    pub fn find(target: &str) -> Option<Self> {
        let rustup = ["nightly", "stable"].into_iter().filter_map(|toolchain| {
            output(Command::new("rustup").args(["which", "--toolchain", toolchain, "rustc"]))
        });
        let found = rustup
            .chain(["/usr/bin/rustc".into()])
            .filter_map(|rustc| Self::at(rustc.into(), target));
        // One with a finished `core` first: it and its linker were made for each other,
        // while a nightly's LLVM may be newer than any linker's.
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|compiler| compiler.build_std);
        found.into_iter().next()
    }

    /// Where its linter is, if it is installed.
    pub fn clippy(&self) -> PathBuf {
        self.rustc.with_file_name("cargo-clippy")
    }

    fn at(rustc: PathBuf, target: &str) -> Option<Self> {
        let ask = |what: &[&str]| output(Command::new(&rustc).args(what));
        let libdir = ask(&["--print", "target-libdir", "--target", target])?;
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);

        let precompiled = fs::read_dir(libdir).is_ok_and(|mut files| {
            files.any(|file| {
                file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
            })
        });
        let source = sysroot.join("lib/rustlib/src/rust/library/core").exists();
        if !precompiled && !source {
            return None;
        }
        let llvm = llvm_major(&ask(&["-vV"])?).unwrap_or(LLVM_OLDEST);
        Some(Self { cargo: rustc.with_file_name("cargo"), rustc, build_std: !precompiled, llvm })
    }
}

impl Missing {
    pub fn name(self) -> &'static str {
        match self {
            Self::Compiler => "a Rust compiler for BPF",
            Self::Linker { .. } => "bpf-linker",
        }
    }

    /// The shell line that installs it. A missing compiler hides what the linker
    /// must match, so after that line one has to look again.
    pub fn remedy(self, distribution: Distribution) -> String {
        match (self, distribution) {
            (Self::Compiler, Distribution::Bookworm) => {
                "apt-get install -y rustc-web cargo-web libstd-rust-web-dev-bpf".into()
            }
            (Self::Compiler, Distribution::DebianLike | Distribution::Other) => {
                "rustup toolchain install nightly --no-self-update --profile minimal \
                 --component rust-src"
                    .into()
            }
            (Self::Linker { llvm }, Distribution::Bookworm) => {
                format!("apt-get install -y llvm-{llvm}-dev && {}", install_linker(llvm))
            }
            (Self::Linker { llvm }, Distribution::DebianLike | Distribution::Other) => {
                install_linker(llvm)
            }
        }
    }
}

/// Needs LLVM's libraries, which `llvm-config` in that directory leads to.
fn install_linker(llvm: u32) -> String {
    format!(
        "PATH=/usr/lib/llvm-{llvm}/bin:$PATH cargo install --locked bpf-linker@0.13.0 \
         --no-default-features --features llvm-{llvm}"
    )
}

/// As far as it decides how something is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian 12, whose security updates bring a compiler with a `core` for BPF.
    Bookworm,
    /// Has apt.
    DebianLike,
    Other,
}

impl Distribution {
    pub fn of_this_machine() -> Self {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// From os-release(5).
    pub fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            os_release
                .lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| *name == key)
                .map_or("", |(_, value)| value.trim_matches(['"', '\'']))
        };
        match (value("ID"), value("VERSION_ID")) {
            ("debian", "12") => Self::Bookworm,
            ("debian" | "ubuntu", _) => Self::DebianLike,
            _ if value("ID_LIKE").split(' ').any(|like| like == "debian") => Self::DebianLike,
            _ => Self::Other,
        }
    }
}

/// Places that change when a toolchain is installed, for a build that has none to
/// notice. Only those that exist: cargo takes an absent file for a changed one.
pub fn traces_of_installation() -> Vec<PathBuf> {
    let mut traces = vec![cargo_home().join("bin"), "/var/lib/dpkg/status".into()];
    if let Some(rustup) = home("RUSTUP_HOME", ".rustup") {
        traces.push(rustup.join("update-hashes"));
        for toolchain in fs::read_dir(rustup.join("toolchains")).into_iter().flatten().flatten() {
            traces.push(toolchain.path().join("lib/rustlib/components"));
        }
    }
    traces.retain(|trace| trace.exists());
    traces
}

/// Also where `cargo install` puts it, which is not always in PATH.
fn linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([cargo_home().join("bin")])
        .map(|directory| directory.join("bpf-linker"))
        .find(|linker| linker.is_file())
}

fn cargo_home() -> PathBuf {
    home("CARGO_HOME", ".cargo").unwrap_or_default()
}

fn home(variable: &str, below_home: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(below_home)))
}

/// Without what a surrounding cargo, clippy or rustup says about *its* build.
/// Where to download from and where things are kept stays.
fn clean(command: &mut Command) {
    const KEEP: [&str; 5] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    const DROP: [&str; 5] = ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CLIPPY_ARGS"];
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if has(&DROP) && !has(&KEEP) {
            command.env_remove(name);
        }
    }
}

/// What a program prints, or nothing if it isn't there or fails.
fn output(command: &mut Command) -> Option<String> {
    // Asking for a toolchain must not download it.
    let output = command.env("RUSTUP_AUTO_INSTALL", "0").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn llvm_major(rustc_verbose_version: &str) -> Option<u32> {
    let version =
        rustc_verbose_version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distribution_is_read_from_os_release() {
        let rows = [
            ("NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n", Distribution::Bookworm),
            ("ID=debian\nVERSION_ID=\"13\"\n", Distribution::DebianLike),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID='24.04'\n", Distribution::DebianLike),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Distribution::DebianLike),
            ("ID=fedora\nVERSION_ID=12\n", Distribution::Other),
            ("", Distribution::Other),
        ];
        for (os_release, expected) in rows {
            assert_eq!(Distribution::parse(os_release), expected, "{os_release:?}");
        }
    }

    #[test]
    fn remedy_fits_the_distribution() {
        let compiler = |on| Missing::Compiler.remedy(on);
        assert!(compiler(Distribution::Bookworm).starts_with("apt-get install -y rustc-web "));
        assert!(compiler(Distribution::DebianLike).starts_with("rustup "));
        assert!(compiler(Distribution::Other).starts_with("rustup "));

        let linker = |on| Missing::Linker { llvm: 23 }.remedy(on);
        assert!(linker(Distribution::Bookworm).starts_with("apt-get install -y llvm-23-dev && "));
        assert!(linker(Distribution::Other).ends_with("--features llvm-23"));
    }

    #[test]
    fn llvm_is_read_from_the_compiler() {
        assert_eq!(llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }
}
