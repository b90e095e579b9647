//! How is `sekisho` itself run in a lab, what does it count, and how is it gone afterwards?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dataplane_user::view::{Amount, AttachmentCounters, Counters, Drop as Dropped, Flow, Status};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;

use crate::lab::Lab;
use crate::ledger::{Moment, balance, has_all};
use crate::process::{Output, PATIENCE, Process};

const WENT_BACK: &str = "a counter went back";
/// The line that says that the first configuration is in force.
const READY: &str = "sekisho: ready";
/// Each knows of nothing that others were to have in force.
static DAEMONS: AtomicU32 = AtomicU32::new(0);

/// A daemon in the device under test. When dropped it is killed and what it pinned is removed.
#[derive(Debug)]
pub struct Sekisho<'lab> {
    lab: &'lab Lab,
    program: String,
    site: PathBuf,
    socket: String,
    pins: String,
    state: String,
    store: PathBuf,
    options: Vec<String>,
    environment: Vec<String>,
    process: Option<Process>,
    /// What was counted when it first ran; none where the balance is not asked for.
    opened: Option<Moment>,
    /// Why there is no balance in the end.
    unbalanced: Option<&'static str>,
    /// NICs on which the host has a voice of its own.
    shared: Vec<&'static str>,
}

impl<'lab> Sekisho<'lab> {
    /// Runs a site file, and returns once it is in force.
    pub fn start(lab: &'lab Lab, site_yaml: &str) -> Result<Self> {
        let mut sekisho = Self::new(lab, site_yaml)?;
        sekisho.start_again()?;
        sekisho.opened = Some(Moment::take(lab, &sekisho)?);
        Ok(sekisho)
    }

    /// In the end it is not asked whether everything adds up, for this reason.
    pub fn unbalanced(&mut self, why: &'static str) {
        self.unbalanced = Some(why);
    }

    /// On this NIC more may be sent than we count: what the host itself says there passes no
    /// program of ours.
    pub fn shares(&mut self, nic: &'static str) {
        self.shared.push(nic);
    }

    /// Demands that everything adds up, since it first ran or since the last call.
    pub fn balance(&mut self) -> Result<Tally> {
        let before = self.opened.take().context("it never ran")?;
        let after = Moment::take(self.lab, self)?;
        ensure!(has_all(&before, &after), "attachments went, and their counters with them");
        let tally = balance(&before, &after, &self.shared).context("it does not add up")?;
        self.opened = Some(after);
        Ok(tally)
    }

    /// The balance at the end of a story that came to its end.
    fn close(&mut self) {
        if self.opened.is_none() || thread::panicking() {
            return;
        }
        if let Some(why) = self.unbalanced {
            println!("no balance: {why}");
            return;
        }
        let balanced = match self.process {
            Some(_) => self.balance().map(drop),
            None => Err(anyhow::anyhow!("the daemon is not there to be asked")),
        };
        if let Err(error) = balanced {
            panic!("{error:#}");
        }
    }

    /// A daemon that does not run yet.
    pub fn new(lab: &'lab Lab, site_yaml: &str) -> Result<Self> {
        let site = lab.folder().join("site.yaml");
        fs::write(&site, site_yaml)?;
        Ok(Self {
            lab,
            program: program()?,
            socket: lab.folder().join("sekisho.sock").display().to_string(),
            pins: lab.bpffs()?.join("sekisho").display().to_string(),
            // It goes with the lab, also when nobody comes to detach.
            state: lab.folder().join("state").display().to_string(),
            store: lab.folder().join(format!("store-{}.redb", DAEMONS.fetch_add(1, Relaxed))),
            site,
            options: Vec::new(),
            environment: Vec::new(),
            process: None,
            opened: None,
            unbalanced: None,
            shared: Vec::new(),
        })
    }

    /// Keeps what is to be in force in this folder.
    #[must_use]
    pub fn with_store_in(mut self, folder: &Path) -> Self {
        self.store = folder.join("store.redb");
        self
    }

    /// With further options of `sekisho run` from now on, such as `&["--require-interfaces"]`.
    #[must_use]
    pub fn with_options(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self
    }

    /// Runs the daemon (again) on the site file that is there.
    pub fn start_again(&mut self) -> Result<()> {
        let process = self.spawn(&self.socket)?;
        if let Err(error) = process.wait_for_line(READY) {
            // The story is told why, and fails of it.
            self.unbalanced("it did not start");
            return Err(error);
        }
        self.process = Some(process);
        Ok(())
    }

    /// Ends the daemon as an operator would, and runs this program in its place.
    pub fn upgrade(&mut self, program: &str) -> Result<()> {
        let ended = self.stop().and_then(Output::ok);
        ended.inspect_err(|_| self.unbalanced("it did not end"))?;
        program.clone_into(&mut self.program);
        self.start_again()
    }

    /// Runs the daemon for so long, ready or not, and kills it.
    pub fn live_for(&mut self, life: Duration) -> Result<()> {
        self.process = Some(self.spawn(&self.socket)?);
        thread::sleep(life);
        self.kill()
    }

    /// Runs a daemon on the same files and pins that is to be refused: how it ended.
    pub fn refused(&self) -> Result<Output> {
        let output = self.spawn(&format!("{}-2", self.socket))?.wait(PATIENCE)?;
        ensure!(!output.status.success(), "it was not refused: {output:?}");
        Ok(output)
    }

    /// With a variable of the environment, in every verb.
    #[must_use]
    pub fn with_environment(mut self, variable: &str, value: &str) -> Self {
        self.environment = vec!["env".to_owned(), format!("{variable}={value}")];
        self
    }

    fn spawn(&self, socket: &str) -> Result<Process> {
        let config = self.site.display().to_string();
        let verb = [self.program.as_str(), "run", "--config", &config, "--socket", socket];
        let store = self.store.display().to_string();
        let place = ["--pin-path", &self.pins, "--state-path", &self.state, "--store", &store];
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        let environment = self.environment();
        self.lab.dut().spawn(&[environment.as_slice(), &verb, &place, &options].concat())
    }

    /// Puts another site file in its place and asks for it to be read; a refusal is for the
    /// test to look at.
    pub fn apply(&self, site_yaml: &str) -> Result<Output> {
        self.write(site_yaml)?;
        self.cli(&["apply"])
    }

    /// Runs a verb that needs no daemon, such as `&["check", "site.yaml"]`.
    pub fn verb(&self, arguments: &[&str]) -> Result<Output> {
        let environment = self.environment();
        let program = [self.program.as_str()];
        self.lab.dut().run(&[environment.as_slice(), &program, arguments].concat())
    }

    /// The program that it is.
    pub fn program(&self) -> &str {
        &self.program
    }

    fn environment(&self) -> Vec<&str> {
        self.environment.iter().map(String::as_str).collect()
    }

    /// Puts another site file in force.
    pub fn change(&self, site_yaml: &str) -> Result<()> {
        self.apply(site_yaml)?.ok().map(drop)
    }

    /// Puts another site file in its place, and says nothing.
    pub fn write(&self, site_yaml: &str) -> Result<()> {
        Ok(fs::write(&self.site, site_yaml)?)
    }

    /// Asks the running daemon, for instance `&["counters", "-o", "json"]`.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.verb(&[arguments, &["--socket", &self.socket]].concat())
    }

    /// What a verb says as JSON.
    fn ask<T: DeserializeOwned>(&self, verb: &str) -> Result<T> {
        let text = self.cli(&[verb, "-o", "json"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("`sekisho {verb}` wrote {text}"))
    }

    /// `sekisho status`.
    pub fn status(&self) -> Result<Status> {
        self.ask("status")
    }

    /// `sekisho flows`.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        self.ask("flows")
    }

    /// What the flows of a rule have carried.
    pub fn rule(&self, name: &str) -> Result<Amount> {
        let counters: Counters = self.ask("counters")?;
        let rule = counters.rules.iter().find(|rule| rule.rule == name);
        let known = || counters.rules.iter().map(|rule| rule.rule.as_str()).collect::<Vec<_>>();
        Ok(rule.with_context(|| format!("no rule {name} among {:?}", known()))?.amount)
    }

    /// What `sekisho counters` and `sekisho drops` say now.
    pub fn tally(&self) -> Result<Tally> {
        let counters: Counters = self.ask("counters")?;
        let drops: Vec<Dropped> = self.ask("drops")?;
        let stops = drops.into_iter().map(|drop| ((drop.tenant, drop.reason), drop.packets));
        let shared = counters.shared.into_iter().map(|at| (at.interface, at.refused)).collect();
        Ok(Tally { attachments: counters.attachments, shared, stops: stops.collect() })
    }

    /// The running daemon.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("it does not run")
    }

    /// Kills the daemon, which gets no chance to do anything.
    pub fn kill(&mut self) -> Result<()> {
        let process = self.process.take().context("it does not run")?;
        process.signal(Signal::SIGKILL)?;
        process.wait(PATIENCE).map(drop)
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        Path::new(&self.socket)
    }

    /// Where programs, tables and links are pinned.
    pub fn pins(&self) -> &Path {
        Path::new(&self.pins)
    }

    /// Where it writes down what there is to restore.
    pub fn state(&self) -> &Path {
        Path::new(&self.state)
    }

    /// Where it is kept what is to be in force.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Puts another site file in its place, of a daemon that does not run and knows of nothing
    /// else that is to be in force when it starts.
    pub fn replace(&self, site_yaml: &str) -> Result<()> {
        fs::remove_file(&self.store)?;
        self.write(site_yaml)
    }

    /// Where a table is pinned.
    pub fn table(&self, name: &str) -> PathBuf {
        self.pins().join("maps").join(name)
    }

    /// Loses what it wrote down beside the pins about the objects in force.
    pub fn forget_numbers(&self) -> Result<()> {
        let mut lost = 0;
        for entry in fs::read_dir(&self.state)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"numbers"))
            {
                fs::remove_file(path)?;
                lost += 1;
            }
        }
        ensure!(lost > 0, "there were no numbers in {}", self.state);
        Ok(())
    }

    /// Ends the daemon as an operator would, and returns what it wrote.
    pub fn stop(&mut self) -> Result<Output> {
        let process = self.process.take().context("it does not run")?;
        process.signal(Signal::SIGTERM)?;
        process.wait(PATIENCE)
    }

    /// Ends the daemon, and returns what `sekisho detach` says that it gave back.
    pub fn end(mut self) -> Result<String> {
        self.close();
        self.opened = None;
        drop(self.process.take());
        self.detach(&[])?.ok()
    }

    /// Gives everything back, with further options such as `&["--leave-open"]`.
    pub fn detach(&self, options: &[&str]) -> Result<Output> {
        let place = ["detach", "--pin-path", &self.pins, "--state-path", &self.state];
        self.verb(&[place.as_slice(), options].concat())
    }
}

impl Drop for Sekisho<'_> {
    fn drop(&mut self) {
        // Whatever comes of the balance, what it made goes.
        let balanced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.close()));
        drop(self.process.take());
        if let Err(error) = self.detach(&[]).and_then(Output::ok) {
            eprintln!("detaching failed: {error:#}");
        }
        if let Err(panic) = balanced {
            std::panic::resume_unwind(panic);
        }
    }
}

/// What was counted up to a moment, or between two.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    attachments: Vec<AttachmentCounters>,
    /// By interface, where several attachments share one.
    shared: BTreeMap<String, u64>,
    stops: BTreeMap<(String, String), u64>,
}

impl Tally {
    /// What was counted between an earlier moment and this one.
    pub fn since(&self, before: &Self) -> Result<Self> {
        let mut between = self.clone();
        for at in &mut between.attachments {
            let same = |other: &&AttachmentCounters| other.place() == at.place();
            if let Some(earlier) = before.attachments.iter().find(same) {
                at.received = minus(at.received, earlier.received)?;
                at.sent = minus(at.sent, earlier.sent)?;
                at.answered = minus(at.answered, earlier.answered)?;
                at.reported = minus(at.reported, earlier.reported)?;
                at.heard = minus(at.heard, earlier.heard)?;
                at.flooded = minus(at.flooded, earlier.flooded)?;
                at.copied = minus(at.copied, earlier.copied)?;
                // A daemon that was started anew has sent nothing before.
                at.own = at.own.checked_sub(earlier.own).unwrap_or(at.own);
                at.refused = at.refused.checked_sub(earlier.refused).context(WENT_BACK)?;
                at.parked = minus(at.parked, earlier.parked)?;
                at.passed = minus(at.passed, earlier.passed)?;
            }
        }
        for (interface, packets) in &mut between.shared {
            let earlier = before.shared.get(interface).copied().unwrap_or(0);
            *packets = packets.checked_sub(earlier).context(WENT_BACK)?;
        }
        for (what, packets) in &mut between.stops {
            let earlier = before.stops.get(what).copied().unwrap_or(0);
            *packets = packets.checked_sub(earlier).context(WENT_BACK)?;
        }
        between.stops.retain(|_, packets| *packets > 0);
        Ok(between)
    }

    /// How many packets of a tenant (`-`: of nobody) were stopped for a reason.
    #[must_use]
    pub fn stopped(&self, tenant: &str, reason: &str) -> u64 {
        self.stops.get(&(tenant.to_owned(), reason.to_owned())).copied().unwrap_or(0)
    }

    /// Packets that the kernel did not take, by interface.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<String, u64> {
        let mut refused = self.shared.clone();
        for at in &self.attachments {
            *refused.entry(at.interface.clone()).or_default() += at.refused;
        }
        refused
    }

    /// Frames of the running daemon's own at an interface.
    #[must_use]
    pub fn own(&self, interface: &str) -> u64 {
        let here = self.attachments.iter().filter(|at| at.interface == interface);
        here.map(|at| at.own).sum()
    }

    /// All stops: tenant, reason, packets.
    pub fn stops(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.stops.iter().map(|((tenant, reason), count)| (&**tenant, &**reason, *count))
    }

    /// What an attachment counted: `eth0`, `eth0.5` for a VLAN, `eth0.7.5` in a service VLAN.
    pub fn at(&self, name: &str) -> Result<&AttachmentCounters> {
        let named = |at: &&AttachmentCounters| at.place() == name;
        let Some(found) = self.attachments.iter().find(named) else {
            bail!("nothing is counted at {name}")
        };
        Ok(found)
    }

    /// Every attachment.
    #[must_use]
    pub fn attachments(&self) -> &[AttachmentCounters] {
        &self.attachments
    }
}

fn minus(now: Amount, before: Amount) -> Result<Amount> {
    let less = |now: u64, before: u64| now.checked_sub(before).context(WENT_BACK);
    Ok(Amount {
        packets: less(now.packets, before.packets)?,
        bytes: less(now.bytes, before.bytes)?,
    })
}

/// A program whose working state of a packet is another one: `SEKISHO_OTHER_BIN`, or what
/// `cargo xtask test` built and put aside.
pub fn other_program() -> Result<String> {
    if let Ok(program) = std::env::var("SEKISHO_OTHER_BIN") {
        return Ok(program);
    }
    let here = std::env::current_exe()?;
    let aside = "controls/control-other-work";
    let found = here.ancestors().map(|folder| folder.join(aside)).find(|file| file.is_file());
    Ok(found
        .with_context(|| format!("no {aside}: `cargo xtask controls --build other-work` makes it"))?
        .display()
        .to_string())
}

/// The program under test: `SEKISHO_BIN`, or what cargo built beside this one.
pub fn program() -> Result<String> {
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
