//! How is `sekisho` itself run in a lab, and how is it gone afterwards?

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::lab::Lab;
use crate::process::{Output, PATIENCE, Process};

/// The line that says that the first configuration is in force.
const READY: &str = "sekisho: ready";

/// A daemon in the device under test. When dropped it is killed and what it pinned is removed.
#[derive(Debug)]
pub struct Sekisho<'lab> {
    lab: &'lab Lab,
    program: String,
    site: PathBuf,
    socket: String,
    pins: String,
    state: String,
    process: Option<Process>,
}

impl<'lab> Sekisho<'lab> {
    /// Runs a site file, and returns once it is in force.
    pub fn start(lab: &'lab Lab, site_yaml: &str) -> Result<Self> {
        let site = lab.folder().join("site.yaml");
        fs::write(&site, site_yaml)?;
        let mut sekisho = Self {
            lab,
            program: program()?,
            socket: lab.folder().join("sekisho.sock").display().to_string(),
            pins: lab.bpffs()?.join("sekisho").display().to_string(),
            // It goes with the lab, also when nobody comes to detach.
            state: lab.folder().join("state").display().to_string(),
            site,
            process: None,
        };
        let config = sekisho.site.display().to_string();
        let process = lab.dut().spawn(&[
            &sekisho.program,
            "run",
            "--config",
            &config, //
            "--socket",
            &sekisho.socket,
            "--pin-path",
            &sekisho.pins,
            "--state-path",
            &sekisho.state,
        ])?;
        process.wait_for_line(READY)?;
        sekisho.process = Some(process);
        Ok(sekisho)
    }

    /// Puts another site file in its place and asks for it to be read; a refusal is for the
    /// test to look at.
    pub fn apply(&self, site_yaml: &str) -> Result<Output> {
        fs::write(&self.site, site_yaml)?;
        self.cli(&["apply"])
    }

    /// Runs a verb that needs no daemon, such as `&["check", "site.yaml"]`.
    pub fn verb(&self, arguments: &[&str]) -> Result<Output> {
        self.lab.dut().run(&[&[self.program.as_str()], arguments].concat())
    }

    /// Asks the running daemon, for instance `&["counters", "-o", "json"]`.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.verb(&[arguments, &["--socket", &self.socket]].concat())
    }

    /// Ends the daemon as an operator would, and returns what it wrote.
    pub fn stop(mut self) -> Result<Output> {
        let process = self.process.take().context("it does not run")?;
        process.signal(Signal::SIGTERM)?;
        process.wait(PATIENCE)
    }

    /// Ends the daemon, and returns what `sekisho detach` says that it gave back.
    pub fn detach(mut self) -> Result<String> {
        drop(self.process.take());
        self.give_back()?.ok()
    }

    fn give_back(&self) -> Result<Output> {
        self.verb(&["detach", "--pin-path", &self.pins, "--state-path", &self.state])
    }
}

impl Drop for Sekisho<'_> {
    fn drop(&mut self) {
        drop(self.process.take());
        if let Err(error) = self.give_back().and_then(Output::ok) {
            eprintln!("detaching failed: {error:#}");
        }
    }
}

/// The program under test: `SEKISHO_BIN`, or what cargo built beside this one.
fn program() -> Result<String> {
    if let Ok(program) = std::env::var("SEKISHO_BIN") {
        return Ok(program);
    }
    // Tests are in target/debug/deps, xtask is in target/debug.
    let here = std::env::current_exe()?;
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("sekisho"))
        .find(|program| program.is_file())
        .map(|program| program.display().to_string())
        .context("there is no sekisho: set SEKISHO_BIN, or run cargo build -p dataplane-user")
}
