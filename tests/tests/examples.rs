//! Does every example do what an operator does with a site file?
//!
//! Each is checked, run on a machine that has every interface that it names, applied once more,
//! asked about, and given back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dataplane_user::check;
use dataplane_user::model::Site;
use sekisho_tests::process::Output;
use sekisho_tests::{Lab, Sekisho, plug};

fn examples() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files.len() >= 4, "examples are missing: {files:?}");
    Ok(files)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn every_example_runs() -> Result<()> {
    for file in examples()? {
        run(&file).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn run(file: &Path) -> Result<()> {
    let yaml = fs::read_to_string(file)?;
    let site = check::check(&yaml).site.context("the file has errors")?;
    let lab = Lab::new(&file.file_stem().context("no name")?.to_string_lossy())?;
    let hosts = plug::hosts(&lab, &yaml)?;
    let sekisho = Sekisho::start(&lab, &yaml)?;
    let ask = |verb: &[&str]| sekisho.cli(verb).and_then(Output::ok);

    let checked = sekisho.verb(&["check", &file.display().to_string()])?.ok()?;
    ensure!(checked.contains("ok: "), "{checked}");
    let status = ask(&["status"])?;
    for interface in hosts.keys() {
        ensure!(status.contains(interface.as_str()), "{interface} is not in {status}");
    }

    // The same file again changes nothing; one with an error is refused and changes nothing.
    let applied = sekisho.apply(&yaml)?.ok()?;
    ensure!(applied.contains("nothing changes"), "{applied}");
    let version = ask(&["status", "-o", "json"])?;
    let refused = sekisho.apply(&yaml.replacen("version: 1", "version: 1\nmistake: 1", 1))?;
    ensure!(!refused.status.success() && refused.stderr.contains("mistake"), "{refused:?}");
    let of =
        |status: &str| status.lines().find(|line| line.contains("site_version")).map(str::to_owned);
    ensure!(of(&ask(&["status", "-o", "json"])?) == of(&version), "the version changed");

    let counters = ask(&["counters"])?;
    for interface in hosts.keys() {
        ensure!(counters.contains(interface.as_str()), "{interface} is not in {counters}");
    }
    ask(&["drops"])?;
    ask(&["flows"])?;
    ask(&["sessions"])?;
    for (port, to) in questions(&site)? {
        let trace =
            ask(&["trace", "--port", &port, "--to", &to, "--proto", "tcp", "--dport", "80"])?;
        ensure!(trace.contains("came in at") && trace.contains("\n→ "), "{port}: {trace}");
    }

    let given_back = sekisho.end()?;
    for interface in hosts.keys() {
        ensure!(given_back.contains(interface.as_str()), "{interface} is not in {given_back}");
        let link = lab.dut().run(&["ip", "-d", "link", "show", "dev", interface])?.ok()?;
        ensure!(!link.contains("xdp") && !link.contains("NOARP"), "{link}");
    }
    Ok(())
}

/// Every port asks for the first address of every other of its tenant and family.
fn questions(site: &Site) -> Result<Vec<(String, String)>> {
    let mut questions = Vec::new();
    for from in site.ports.values() {
        let name = format!("{}/{}", site.tenants[from.tenant].name, from.name);
        let v4 = |port: &&_| first_v4(port).is_some();
        for to in site.ports.values().filter(|to| to.tenant == from.tenant).filter(v4) {
            let to = first_v4(to).context("filtered for one")?;
            if first_v4(from).is_some_and(|own| own != to) {
                questions.push((name.clone(), to));
            }
        }
    }
    ensure!(!questions.is_empty(), "the site has no two ports");
    Ok(questions)
}

fn first_v4(port: &dataplane_user::model::Port) -> Option<String> {
    port.fixed_ips.iter().find(|ip| ip.is_ipv4()).map(ToString::to_string)
}
