//! Does it keep to its own place, and find out what of it was lost?

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use anyhow::{Result, ensure};
use sekisho_tests::{Lab, Sekisho};

use crate::town::Site;

/// A folder of the mode that ours have.
fn folder(path: &Path) -> Result<()> {
    Ok(DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

/// What is said by a verb that is refused.
fn refused(sekisho: &Sekisho<'_>, arguments: &[&str]) -> Result<String> {
    let output = sekisho.verb(arguments)?;
    ensure!(output.status.code() == Some(1), "{arguments:?} is not refused: {output:?}");
    Ok(output.stderr)
}

/// Asks for another place's pins to be removed, which is refused for this reason.
fn spares(sekisho: &Sekisho<'_>, pin: &Path, state: &Path, word: &str) -> Result<()> {
    let (pin, state) = (pin.display().to_string(), state.display().to_string());
    let said = refused(sekisho, &["detach", "--pin-path", &pin, "--state-path", &state])?;
    ensure!(said.contains(word), "no {word:?}: {said}");
    ensure!(!Path::new(&state).exists(), "{state} was made");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn detach_removes_nothing_that_is_not_its_own() -> Result<()> {
    let lab = Lab::new("own")?;
    let (base, none) = (lab.bpffs()?, lab.folder().join("none"));
    // None of the interfaces is there.
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;

    let precious = lab.folder().join("precious");
    folder(&precious.join("maps"))?;
    fs::write(precious.join("maps/ROOT"), "all I have")?;
    spares(&sekisho, &precious, &none, "not on a BPF file system")?;
    ensure!(precious.join("maps/ROOT").exists(), "it is gone");

    for other in ["other/globals", "maps/tc", "links/eth0"] {
        let inside = base.join("another").join(other);
        folder(&inside)?;
        spares(&sekisho, &base.join("another"), &none, "not put there by it")?;
        ensure!(inside.is_dir(), "{other} is gone");
        fs::remove_dir(&inside)?;
    }
    let parent = base.join("parent");
    for part in ["maps", "links"] {
        folder(&parent.join("blue").join(part))?;
    }
    let word = format!("--pin-path {}", parent.join("blue").display());
    spares(&sekisho, &parent, &none, &word)?;
    ensure!(parent.join("blue/maps").is_dir(), "another's are gone");
    symlink(sekisho.pins(), base.join("way"))?;
    spares(&sekisho, &base.join("way"), &none, "not a directory")?;
    ensure!(sekisho.table("ROOT").exists(), "its pins are gone");

    // While it lives nobody else has its pins, or what it wrote down.
    let site = lab.folder().join("site.yaml").display().to_string();
    let socket = lab.folder().join("other.sock").display().to_string();
    for (pin, state) in [(sekisho.pins(), &*none), (&base.join("new"), sekisho.state())] {
        let (pin, state) = (pin.display().to_string(), state.display().to_string());
        let run = ["run", "--config", &site, "--socket", &socket];
        let place = ["--pin-path", &pin, "--state-path", &state];
        let said = refused(&sekisho, &[run.as_slice(), &place].concat())?;
        ensure!(said.contains("another sekisho is using it"), "{said}");
        let _ = fs::remove_dir_all(&none);
    }
    spares(&sekisho, sekisho.pins(), &none, "another sekisho is using it")?;
    ensure!(sekisho.table("ROOT").exists(), "its pins are gone");
    sekisho.balance()?;
    sekisho.stop()?;
    sekisho.start_again()?;
    sekisho.balance().map(drop)
}
