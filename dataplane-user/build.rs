//! Where does the BPF object come from that this crate embeds?
//!
//! Normally from `dataplane-ebpf`, built here; it ends up as `sekisho.bpf.o` in
//! OUT_DIR. On a machine that cannot build for BPF the file is empty, so that
//! `cargo check` and `cargo test` work on a laptop. The environment decides:
//!
//! - `SEKISHO_BPF_OBJECT=PATH`: this object instead of building one.
//! - `SEKISHO_SKIP_BPF=1`: an empty object (editors, documentation, Miri).
//! - `SEKISHO_REQUIRE_BPF=1`: no toolchain is an error, not a warning.
//! - `SEKISHO_BPF_FEATURES=A,B`: features of dataplane-ebpf, for the control builds
//!   that a test suite must fail on.

#[path = "build/object.rs"]
mod object;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use toolchain::{Distribution, Missing, Toolchain};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    match object().and_then(|object| embed(&object)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn object() -> Result<Vec<u8>, String> {
    let prebuilt = setting("SEKISHO_BPF_OBJECT");
    let skip = setting("SEKISHO_SKIP_BPF").is_some();
    let require = setting("SEKISHO_REQUIRE_BPF").is_some();
    let features = setting("SEKISHO_BPF_FEATURES").unwrap_or_default();

    if let Some(path) = prebuilt {
        println!("cargo::rerun-if-changed={path}");
        return read(Path::new(&path));
    }
    if skip {
        return Ok(Vec::new());
    }
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    match Toolchain::find(target) {
        Ok(toolchain) => build(&toolchain, target, &features),
        Err(missing) if require => Err(advice(missing)),
        Err(missing) => {
            println!("cargo::warning=built without the packet programs: {}", advice(missing));
            for trace in toolchain::traces_of_installation() {
                println!("cargo::rerun-if-changed={}", trace.display());
            }
            Ok(Vec::new())
        }
    }
}

fn build(toolchain: &Toolchain, target: &str, features: &str) -> Result<Vec<u8>, String> {
    // Where it is now: a script that was built in another work tree may be taken again.
    let own = env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?;
    let root = Path::new(&own).join("..");
    let sources =
        ["src", "Cargo.toml", "Cargo.lock"].map(|name| root.join("dataplane-ebpf").join(name));
    let shared = ["src", "Cargo.toml"].map(|name| root.join("dataplane-common").join(name));
    for file in sources.iter().chain(&shared).map(PathBuf::as_path).chain(toolchain.files()) {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    // Outside OUT_DIR, of which there is one for each profile and check mode. One
    // for each set of features, so that switching between them rebuilds nothing.
    let set = if features.is_empty() { "default" } else { features };
    let target_dir = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join("ebpf")
        .join(set.replace(',', "+"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut command =
        toolchain.cargo("build", &root.join("dataplane-ebpf/Cargo.toml"), target, &arch);
    command.args(["--features", features]).arg("--target-dir").arg(&target_dir);
    match command.status() {
        Ok(status) if status.success() => {}
        // The compiler has said why, on stderr, which cargo shows below this line.
        Ok(status) => {
            return Err(format!(
                "dataplane-ebpf does not build ({status}); if the linker says `Invalid record`, \
                 its LLVM is older than the compiler's, {}",
                toolchain.compiler.llvm
            ));
        }
        Err(error) => return Err(format!("{}: {error}", toolchain.compiler.cargo.display())),
    }
    read(&target_dir.join(target).join("release/sekisho"))
}

fn embed(object: &[u8]) -> Result<(), String> {
    if !object.is_empty() {
        let panics = object::panics(object).ok_or("the BPF object is not an ELF file")?;
        if !panics.is_empty() {
            return Err(format!(
                "the verifier will refuse a reachable panic: {}",
                panics.join(", ")
            ));
        }
    }
    let path =
        Path::new(&env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("sekisho.bpf.o");
    fs::write(&path, object).map_err(|error| format!("{}: {error}", path.display()))
}

fn advice(missing: Missing) -> String {
    format!(
        "{} is missing; `cargo xtask setup` installs it, or type: {}",
        missing.name(),
        missing.remedy(Distribution::of_this_machine())
    )
}

/// The value of a variable, which cargo is to watch; empty and 0 count as unset.
fn setting(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !matches!(value.as_str(), "" | "0"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
