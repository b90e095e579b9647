//! Does it keep to its own place, and find out what of it was lost?

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dataplane_user::load::{
    Attach, Barrier, Dataplane, Hook, LogLevel, Options, Place, Role, Shared, Sizes,
};
use sekisho_tests::sekisho::program;
use sekisho_tests::{Lab, Sekisho};

use crate::cut::Connections;
use crate::operations::Interface;
use crate::town::{Site, Town};

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
    let store = lab.folder().join("other.redb").display().to_string();
    for (pin, state) in [(sekisho.pins(), &*none), (&base.join("new"), sekisho.state())] {
        let (pin, state) = (pin.display().to_string(), state.display().to_string());
        let run = ["run", "--config", &site, "--socket", &socket];
        let place = ["--pin-path", &pin, "--state-path", &state, "--store", &store];
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

/// A start that is refused, and touches nothing on the way.
fn is_refused(lab: &Lab, sekisho: &Sekisho<'_>, names: &[&str], words: &[&str]) -> Result<()> {
    let look = || names.iter().map(|name| Interface::look(lab, name)).collect::<Result<Vec<_>>>();
    let before = look()?;
    let said = sekisho.refused()?.stderr;
    for word in words {
        ensure!(said.contains(word), "no {word:?}: {said}");
    }
    ensure!(look()? == before, "{before:?}, then {:?}", look()?);
    Ok(())
}

const PORTS: [&str; 5] = ["blue-a", "blue-b", "blue-c", "red-a", "red-b"];

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn programs_whose_pins_are_lost_are_replaced() -> Result<()> {
    let lab = Lab::new("lost")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let mut connections = Connections::open(&town)?;
    let version = sekisho.status()?.site_version;
    let before = sekisho.tally()?;

    sekisho.kill()?;
    lose_programs(&sekisho)?;
    sekisho.start_again()?;
    connections.alive().context("with other programs")?;
    ensure!(sekisho.status()?.site_version == version, "there was nothing to repair");
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.at("blue-b")?.sent.packets > 0, "{tally:?}");

    // Without a table nothing can be repaired, and nothing is given up.
    sekisho.unbalanced("a table is lost");
    sekisho.kill()?;
    lose_programs(&sekisho)?;
    let lost = sekisho.table("FLOWS");
    fs::remove_file(&lost)?;
    let lost = lost.display().to_string();
    is_refused(&lab, &sekisho, &PORTS, &[&lost, "missing", "`sekisho detach`"])?;
    ensure!(Interface::look(&lab, "blue-a")?.tcx == 1, "blue-a is not guarded");
    let said = sekisho.detach(&[])?.ok()?;
    for port in PORTS {
        ensure!(said.contains(&format!("set down {port}\n")), "{port}: {said}");
        let now = Interface::look(&lab, port)?;
        ensure!(!now.is_up && now.tcx == 0, "{now:?}");
    }
    Ok(())
}

fn lose_programs(sekisho: &Sekisho<'_>) -> Result<()> {
    for entry in fs::read_dir(sekisho.pins())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"programs-")) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_port_that_a_daemon_attached_stays_guarded_when_the_next_one_fails() -> Result<()> {
    let lab = Lab::new("halfway")?;
    let _host = lab.host("blue-a").build()?;
    let strict = ["--require-interfaces"];
    let mut sekisho = Sekisho::new(&lab, &Site::town().0)?.with_options(&strict);
    // Ended between attaching and its first version.
    let place = Place { pin: sekisho.pins().into(), state: sekisho.state().into() };
    let options = Options {
        place,
        sizes: Sizes { flow_lines: 1 << 12, ..Sizes::default() },
        log: LogLevel::Off,
        barrier: Barrier::Any,
    };
    let mut dataplane = Dataplane::load(&options)?;
    let (interface, wanted_by) = ("blue-a".to_owned(), "a story".to_owned());
    let (role, hook, shared) = (Role::Port, Hook::Auto, Shared::default());
    let port = [Attach { interface, wanted_by, role, hook, shared }];
    lab.dut().in_ns(|| dataplane.attach(&port))??;
    drop(dataplane);

    is_refused(&lab, &sekisho, &["blue-a"], &["there is no interface"])?;
    ensure!(Interface::look(&lab, "blue-a")?.tcx == 1, "blue-a is not guarded");
    sekisho.unbalanced("it never ran");
    let said = sekisho.detach(&[])?.ok()?;
    ensure!(said.contains("set down blue-a\n"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn without_its_state_file_detach_knows_interfaces_by_their_links() -> Result<()> {
    let lab = Lab::new("renamed")?;
    let town = Town::build(&lab)?;
    let dut = |words: &str| lab.dut().run(&words.split(' ').collect::<Vec<_>>())?.ok();
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("it is detached");
    sekisho.kill()?;
    fs::remove_file(sekisho.state().join("state.json"))?;
    // In another namespace a port's number is somebody else's.
    let (pins, state) = (sekisho.pins().display().to_string(), sekisho.state());
    let (program, state) = (program()?, state.display().to_string());
    let detach = [&program, "detach", "--pin-path", &pins, "--state-path", &state];
    let said = town.red_a.run(&detach)?;
    ensure!(said.stderr.contains("in another network namespace"), "{said:?}");
    ensure!(Interface::look(&lab, "blue-a")?.tcx == 1 && said.stdout.is_empty(), "{said:?}");

    dut("ip link set blue-a down name moved")?;
    dut("ip link set moved up")?;
    // Whoever has its name by now is nobody of ours.
    dut("ip link add blue-a type bridge")?;
    dut("ip link set blue-a up")?;
    dut("ip link del blue-c")?;

    let output = sekisho.detach(&[])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    for word in ["set down moved\n", "detached tcx from moved\n", "interface blue-c is gone\n"] {
        ensure!(output.stdout.contains(word), "no {word:?}: {output:?}");
    }
    ensure!(output.stderr.contains("how blue-b, moved, red-a, red-b were"), "{output:?}");
    let moved = Interface::look(&lab, "moved")?;
    ensure!(!moved.is_up && moved.tcx == 0, "{moved:?}");
    ensure!(Interface::look(&lab, "blue-a")?.is_up, "a stranger is down");
    let output = sekisho.detach(&[])?.ok()?;
    ensure!(!sekisho.pins().exists(), "pins are left: {output}");
    drop(town);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_full_disk_keeps_nobody_from_detaching() -> Result<()> {
    let lab = Lab::new("full")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("it is detached");
    sekisho.kill()?;
    // The state file cannot be replaced.
    fs::create_dir(sekisho.state().join("state.new"))?;
    let said = sekisho.detach(&[])?.ok()?;
    for word in ["set down red-b\n", "restored settings of red-b\n", "removed programs and tables"]
    {
        ensure!(said.contains(word), "no {word:?}: {said}");
    }
    ensure!(!sekisho.pins().exists(), "pins are left");
    ensure!(!sekisho.state().join("state.json").exists(), "the state file is left");

    // What fails is said, after what was done.
    fs::remove_dir(sekisho.state().join("state.new"))?;
    sekisho.start_again()?;
    sekisho.kill()?;
    let state = sekisho.state().join("state.json");
    let text = fs::read_to_string(&state)?;
    fs::write(&state, text.replace("\"blue-a\"", "\"blue-x\""))?;
    fs::create_dir(sekisho.state().join("state.new"))?;
    let output = sekisho.detach(&[])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    for word in ["set down red-b\n", "set down blue-a\n", "removed programs and tables"] {
        ensure!(output.stdout.contains(word), "no {word:?}: {output:?}");
    }
    for word in ["how blue-a were before", "state.new", "detach once more"] {
        ensure!(output.stderr.contains(word), "no {word:?}: {output:?}");
    }
    drop(town);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_full_disk_keeps_what_is_in_force_and_takes_nothing_new() -> Result<()> {
    let lab = Lab::new("full-store")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let disk = lab.disk(16 << 20)?;
    let mut sekisho = Sekisho::new(&lab, &site.0)?.with_store_in(&disk);
    sekisho.start_again()?;
    let mut connections = Connections::open(&town)?;
    let rules = (1..5000).map(|port| {
        format!("          - {{id: r{port}, direction: ingress, protocol: tcp, port_range_min: {port}, port_range_max: {port}}}\n")
    });
    let rules = format!("      - name: more\n        rules:\n{}", rules.collect::<String>());
    let more = site.with("    security_groups:\n", &format!("    security_groups:\n{rules}"));

    let filler = disk.join("filler");
    let full = fs::write(&filler, vec![0; 16 << 20]);
    ensure!(full.is_err(), "it is a larger disk");
    let version = sekisho.status()?.site_version;
    let refused = sekisho.apply(&more.0)?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains("No space left on device"), "{refused:?}");
    ensure!(sekisho.status()?.site_version == version, "it is in force");
    connections.alive()?;
    sekisho.stop()?;
    sekisho.start_again().context("on a full disk")?;
    let groups = sekisho.cli(&["get", "tenants/blue/security_groups"])?.ok()?;
    ensure!(!groups.contains("more"), "what was refused is in force: {groups}");
    connections.alive()?;

    let refused = sekisho.apply(&more.0)?;
    ensure!(refused.stderr.contains("No space left on device"), "{refused:?}");
    fs::remove_file(&filler)?;
    sekisho.change(&more.0).context("once there is room")?;
    sekisho.kill()?;
    sekisho.start_again()?;
    let told = sekisho.cli(&["get", "tenants/blue/security_groups/more"])?.ok()?;
    ensure!(told.contains("r4999"), "{told}");
    connections.alive()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn numbers_that_are_lost_are_told_of() -> Result<()> {
    let lab = Lab::new("numbers")?;
    // None of the interfaces is there.
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("what was counted is lost");
    let sites = [Site::town().without(&["red-echo-v4"]), Site::town()];
    let damages =
        [("missing", "is missing"), ("old", "is of version"), ("\"number\":1", "is damaged")];
    for ((what, why), site) in damages.into_iter().zip(sites.iter().cycle()) {
        // So that there is a version before.
        sekisho.change(&site.0)?;
        let version = sekisho.status()?.site_version;
        sekisho.kill()?;
        let [own, before] = [version, version + 1]
            .map(|version| sekisho.state().join(format!("numbers-{}.json", version % 2)));
        match what {
            "missing" => fs::remove_file(&own)?,
            "old" => drop(fs::copy(&before, &own)?),
            // A number is another one.
            from => {
                let text = fs::read_to_string(&own)?;
                fs::write(&own, text.replacen(from, "\"number\":9", 1))?;
            }
        }
        sekisho.start_again()?;
        let said = sekisho.process()?.wait_for_line(&own.display().to_string())?;
        for word in ["sekisho: warning: ", why, "counters and drops begin at zero"] {
            ensure!(said.contains(word), "no {word:?}: {said}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_place_that_is_damaged_is_refused_with_a_way_out() -> Result<()> {
    let lab = Lab::new("damaged")?;
    // None of the interfaces is there.
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("it is damaged");
    sekisho.kill()?;
    let state = sekisho.state().join("state.json");
    let text = fs::read_to_string(&state)?;
    for damaged in ["", "{", "state", &text[..text.len() / 2]] {
        fs::write(&state, damaged)?;
        let path = state.display().to_string();
        is_refused(&lab, &sekisho, &[], &[&path, "not a state file", "`sekisho detach`"])?;
    }
    fs::write(&state, text)?;
    let lost = sekisho.table("HEAP");
    fs::remove_file(&lost)?;
    is_refused(&lab, &sekisho, &[], &[&lost.display().to_string(), "missing", "`sekisho detach`"])?;

    // A file where a folder should be.
    let (file, none) = (sekisho.table("ROOT"), lab.folder().join("none"));
    let (site, socket) = (lab.folder().join("site.yaml"), lab.folder().join("other.sock"));
    let words = [&site, &socket, sekisho.store(), &*file, &none];
    let words = words.map(|path| path.display().to_string());
    let [site, socket, store, file, none] = words.each_ref().map(String::as_str);
    let place = ["--pin-path", file, "--state-path", none];
    let run = ["run", "--config", site, "--socket", socket, "--store", store];
    for verb in [&run[..], &["detach"]] {
        let said = refused(&sekisho, &[verb, &place].concat())?;
        ensure!(said.contains(&format!("{file}: not a directory")), "{said}");
    }
    sekisho.detach(&[])?.ok()?;
    fs::write(sekisho.state(), "")?;
    is_refused(&lab, &sekisho, &[], &["state: not a directory"])?;
    ensure!(!sekisho.detach(&[])?.status.success(), "it was detached");
    Ok(fs::remove_file(sekisho.state())?)
}
