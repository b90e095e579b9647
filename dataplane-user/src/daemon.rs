//! What runs: the site in force, and the dataplane that it is in force in.

mod answers;
mod interfaces;
mod lifeline;
mod needs;
mod put;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::fd::OwnedFd,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    address,
    check::{self, Checked},
    claims::Claims,
    compile::{self, Compiled, ids::Kind},
    config::{self, diagnostic::render},
    link::Sender,
    load::{self, Attached, Dataplane, Interfaces, Place},
    message,
    model::{self, AttachmentIx, Owner, Site},
    neighbour::{Question, announce::Announcer, watch::Watch},
    numbers, plan,
    view::Applied,
};
use anyhow::{Context, anyhow};
use dataplane_common::{addr::Mac, tables::Heard};

pub use lifeline::Asker;
use lifeline::Lifeline;
use put::{Put, check_lifeline};

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The site file.
    pub config: PathBuf,
    /// Where programs and tables live on.
    pub place: Place,
    /// Half-flows that there is room for, a power of two.
    pub sizes: load::Sizes,
    /// Half-flows that a tenant may have.
    pub flows_per_tenant: u32,
    /// What the programs tell of themselves.
    pub program_log: load::LogLevel,
    /// Refuse a site of which an interface is not there.
    pub require_interfaces: bool,
    /// Who starts it.
    pub asker: Asker,
}

/// The running daemon.
pub struct Daemon {
    options: Options,
    dataplane: Dataplane,
    /// What is in force.
    in_force: InForce,
    /// Who is told, asked and heard on the links.
    neighbours: Neighbourhood,
    /// Something is known of the machine that the version in force does not know.
    is_behind: bool,
    started: Instant,
    /// Passes of [`Daemon::sweep`] since then.
    sweeps: u64,
    /// Half-flows that were crowded out since then.
    crowded_out: u64,
    /// May flows be crowded out before the next of them?
    may_ease: bool,
}

/// What is known of those on the links, and what they are told.
struct Neighbourhood {
    /// The next hops that are asked for.
    watch: Watch,
    /// Addresses that ports claimed.
    claims: Claims,
    /// What others are told of addresses of ours.
    announcer: Announcer,
    /// By which all of that is said.
    sender: Sender,
}

/// A site, and what became of it on this machine.
struct InForce {
    site: Site,
    file: File,
    compiled: Compiled,
    /// Interfaces that are there; the others are waited for.
    attached: Vec<Attached>,
    /// Why those that are there and not attached are not.
    refused: BTreeMap<String, String>,
    /// Who asked for it; what comes later is judged by that.
    asker: Asker,
}

/// A site file.
#[derive(Clone, Debug)]
pub struct File {
    /// How it is called in messages.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Enough to empty what programs tell the daemon, unless they go on telling.
const HEARD_READS_MAX: u32 = 16;
/// For how long an answer of new next hops is waited for before it is said that they do
/// not answer.
const ANSWERS_WAIT: Duration = Duration::from_millis(900);

impl Daemon {
    /// Loads the programs and puts the site file in force. On an error, a machine that
    /// had nothing of ours has nothing of ours again.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let file = own_file(&options)?;
        let (site, checked) = read(&file)?;
        warnings(&file, &checked).for_each(warn);
        // It is as large as the file.
        drop(checked);
        let mut dataplane = Dataplane::load(&load::Options {
            place: options.place.clone(),
            sizes: options.sizes,
            log: options.program_log,
            barrier: load::Barrier::Any,
        })?;
        let (made, wanted) = (dataplane.sizes(), options.sizes);
        if made.flow_lines != wanted.flow_lines {
            warn(format_args!(
                "the flow table has {} half-flows as it was made, not --flows {}; to change that, \
                 `sekisho detach` first",
                made.flow_lines, wanted.flow_lines
            ));
        }
        if made.heap_lines != wanted.heap_lines {
            warn(format_args!(
                "the heap has {} MiB as it was made, not --heap-mib {}; to change that, `sekisho \
                 detach` first",
                made.heap_lines >> 14,
                wanted.heap_lines >> 14
            ));
        }
        if !dataplane.unseen().is_empty() {
            warn(format_args!(
                "not every packet that the kernel refuses afterwards is counted (tx_refused): {}",
                dataplane.unseen().join("; ")
            ));
        }
        // What a daemon attached that ended before a version was in force stays guarded.
        let is_new = dataplane.version() == 0 && dataplane.attached().next().is_none();
        let known = numbers::read(&options.place, &dataplane)?;
        known.warning.iter().for_each(warn);
        let numbers::Known { compiled, neighbours, held, .. } = known;
        let mut watch = Watch::default();
        watch.follow(needs::questions(&site, &[]), &neighbours);
        let mut neighbours = Neighbourhood {
            watch,
            claims: Claims::new(held),
            announcer: Announcer::default(),
            sender: Sender::default(),
        };
        let put = Put { options: &options, dataplane: &mut dataplane, neighbours: &mut neighbours };
        let asker = options.asker.clone();
        match put.in_force((&compiled, &[]), site, file, &BTreeMap::new(), asker) {
            Ok((in_force, _)) => {
                needs::absent(&in_force.site, &Interfaces::look()?, &[]).iter().for_each(warn);
                let mut daemon = Self {
                    options,
                    dataplane,
                    in_force,
                    neighbours,
                    is_behind: false,
                    started: Instant::now(),
                    sweeps: 0,
                    crowded_out: 0,
                    may_ease: true,
                };
                // What was said of next hops while nobody listened may be old; of an address that
                // several ports may have, the last that said so believes that it has it.
                for _ in 0..HEARD_READS_MAX {
                    let heard = daemon.dataplane.heard();
                    if heard.is_empty() {
                        break;
                    }
                    daemon.note(heard, true);
                }
                daemon.wait_for_answers();
                Ok(daemon)
            }
            Err(error) => {
                drop(dataplane);
                if is_new {
                    // Interfaces are as they were found, unless one could not be given back.
                    match load::detach::detach(&options.place, false) {
                        Ok(outcome) => outcome.failed.iter().for_each(warn),
                        Err(error) => warn(error),
                    }
                }
                Err(error)
            }
        }
    }

    /// Puts another site file in force, or the daemon's own as it is now. On any error
    /// what runs is unchanged.
    pub fn apply(
        &mut self,
        file: Option<File>,
        dry_run: bool,
        asker: Asker,
    ) -> anyhow::Result<Applied> {
        let asker = Asker { force: asker.force || self.options.asker.force, ..asker };
        let file = file.map_or_else(|| own_file(&self.options), Ok)?;
        let (site, checked) = read(&file)?;
        let mut warnings: Vec<_> = warnings(&file, &checked).collect();
        let changes = plan::changes(&json(&self.in_force.file), &checked.json());
        drop(checked);
        // What went or came a moment ago is no reason to refuse anything.
        if let Err(error) = self.look_at_interfaces() {
            warnings.push(message::of(&error));
        }
        let waited = self.waiting();
        let refused = self.in_force.refused.clone();
        let released = if dry_run {
            let facts = self.neighbours.facts(&self.options, &site, &self.in_force.attached);
            let compiled = compile::compile(&site, &facts, &self.in_force.compiled);
            let now = Interfaces::look()?;
            let wanted = needs::now(&self.options, &site, &now, &refused);
            check_lifeline(&site, &wanted, &now, &asker)?;
            self.dataplane.may_attach(&wanted)?;
            self.dataplane.prepare(&compiled.image).map_err(|error| put::in_words(error, &file))?;
            self.dataplane.give_up();
            warnings.extend(needs::absent(&site, &now, &waited));
            Vec::new()
        } else {
            let Self { options, dataplane, neighbours, in_force, .. } = self;
            let put = Put { options, dataplane, neighbours };
            let before = (&in_force.compiled, in_force.attached.as_slice());
            match put.in_force(before, site, file, &refused, asker) {
                Ok((now, released)) => {
                    *in_force = now;
                    let absent = needs::absent(&in_force.site, &Interfaces::look()?, &waited);
                    absent.iter().for_each(warn);
                    warnings.extend(absent);
                    warnings.extend(self.wait_for_answers());
                    released
                }
                Err(error) => {
                    // Hooks as they were.
                    let known =
                        |name: &str| in_force.attached.iter().any(|at| at.interface.name == name);
                    let wanted = needs::wanted(&in_force.site, known);
                    if let Ok(attached) = dataplane.attach(&wanted) {
                        in_force.attached = attached;
                    }
                    return Err(error);
                }
            }
        };
        let site_version = self.dataplane.version();
        Ok(Applied { site_version, dry_run, changes, released, warnings })
    }

    /// What has to be done now and then: expired flows are cleared and counters folded;
    /// interfaces that went are taken out, and put back when they come again.
    pub fn sweep(&mut self) -> anyhow::Result<()> {
        self.sweeps += 1;
        self.sweep_flows()?;
        self.may_ease = true;
        let Self { dataplane, in_force, .. } = self;
        dataplane.fold_refused(|ifindex| in_force.compiled.tenant_at(ifindex))?;
        self.look_at_interfaces().map(drop)
    }

    /// Where flows crowd the table, those go that only one side has agreed to, so that others may
    /// begin in the meantime. If none could go, that is left to the next [`sweep`](Self::sweep).
    pub fn make_room(&mut self) -> anyhow::Result<()> {
        let Self { options, in_force, dataplane, .. } = self;
        if self.may_ease && dataplane.is_crowded(quota(options, in_force)) {
            self.may_ease = self.sweep_flows()? > 0;
        }
        Ok(())
    }

    /// Answers how many half-flows were crowded out.
    fn sweep_flows(&mut self) -> anyhow::Result<u64> {
        let Self { options, in_force, dataplane, .. } = self;
        let crowded_out = dataplane.sweep(quota(options, in_force))?.crowded_out as u64;
        self.crowded_out += crowded_out;
        Ok(crowded_out)
    }

    /// Asks next hops that are due, hears what they say, and tells of our own addresses.
    pub fn attend(&mut self) -> anyhow::Result<()> {
        let Neighbourhood { announcer, sender, .. } = &mut self.neighbours;
        let attached = &self.in_force.attached;
        announcer.tell(sender, |index| {
            let at = attached.iter().find(|at| at.interface.index == index)?;
            Some(at.interface.name.as_str())
        });
        self.hear();
        if self.is_behind {
            let start = Instant::now();
            self.renew()?;
            self.neighbours.claims.rest(start.elapsed());
        }
        Ok(())
    }

    /// Can be read when a fragment came before its first one.
    pub fn parked_signal(&self) -> std::io::Result<OwnedFd> {
        self.dataplane.parked_signal()
    }

    /// Sends in again the fragments whose first one has come, or does not come; answers
    /// whether others wait.
    pub fn send_parked(&mut self) -> anyhow::Result<bool> {
        Ok(self.dataplane.send_parked()?)
    }

    /// Notes what is heard, and asks again.
    fn hear(&mut self) {
        let heard = self.dataplane.heard();
        self.note(heard, false);
        self.is_behind |= self.neighbours.claims.due(Instant::now());
        let Neighbourhood { watch, sender, .. } = &mut self.neighbours;
        for dead in watch.ask(sender) {
            let Question { target, interface, .. } = dead;
            warn(format_args!("next hop {target} ({interface}) does not answer any more"));
            self.is_behind = true;
        }
        // Its counters have them as well, and nobody's packet was lost.
        for interface in self.neighbours.sender.take_refused() {
            self.dataplane.not_refused(&interface);
        }
    }

    /// Notes who has an address now, and whether anything about a next hop is new.
    fn note(&mut self, heard: Vec<Heard>, is_old: bool) {
        let links = if heard.is_empty() { HashMap::new() } else { self.links() };
        for heard in heard {
            let Some((ix, interface, vlans)) = links.get(&heard.attachment) else { continue };
            let (address, mac) = (address::ip(heard.addr), Mac::from_word(heard.mac));
            let Neighbourhood { watch, claims, .. } = &mut self.neighbours;
            let site = &self.in_force.site;
            if let Owner::Network(_) = site.attachments[*ix].owner {
                claims.announced(site, *ix, address, mac);
                continue;
            }
            let link = (interface.clone(), *vlans, address);
            let was_silent = watch.is_dead(&link);
            if !is_old && watch.heard(&link, mac, heard.overrides != 0) {
                self.is_behind = true;
                if was_silent {
                    eprintln!("sekisho: next hop {address} ({interface}) answers now");
                }
            }
        }
    }

    /// Where the numbers of attachments are.
    fn links(&self) -> HashMap<u32, (AttachmentIx, String, u32)> {
        let ids = &self.in_force.compiled.ids;
        let of = |(ix, at): (AttachmentIx, &model::Attachment)| {
            let (interface, vlans) = (at.interface.to_string(), at.vlans());
            let name = compile::attachment_name(&interface, vlans);
            Some((ids.number(Kind::Attachment, &name)?, (ix, interface, vlans)))
        };
        self.in_force.site.attachments.iter().filter_map(of).collect()
    }

    /// Gives new next hops a moment to answer; answers who did not, and what went wrong.
    fn wait_for_answers(&mut self) -> Vec<String> {
        let until = Instant::now() + ANSWERS_WAIT;
        self.hear();
        while self.neighbours.watch.unknown().next().is_some() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
            self.hear();
        }
        let renewed = if self.is_behind { self.renew() } else { Ok(()) };
        let silent = self.neighbours.watch.give_up().into_iter().map(|question| {
            let Question { target, interface, .. } = question;
            format!("next hop {target} ({interface}) does not answer yet; it is asked again")
        });
        let mut silent: Vec<_> = silent.collect();
        // The next turn tries it again.
        silent.extend(renewed.err().map(|error| message::of(&error)));
        silent.iter().for_each(warn);
        silent
    }

    /// The same site, as the machine is now.
    fn renew(&mut self) -> anyhow::Result<()> {
        let Self { options, dataplane, neighbours, in_force, .. } = self;
        let put = Put { options, dataplane, neighbours };
        let InForce { site, attached, compiled: before, .. } = &*in_force;
        in_force.compiled = put.version(site, attached, before, None)?;
        self.is_behind = false;
        Ok(())
    }
}

/// How many half-flows a tenant may have; nothing: it is none.
fn quota(options: &Options, in_force: &InForce) -> impl Fn(u32) -> Option<u32> {
    let (ids, quota) = (&in_force.compiled.ids, options.flows_per_tenant);
    move |tenant| (tenant == 0 || ids.has(Kind::Tenant, tenant)).then_some(quota)
}

/// Tells the operator, on standard error.
fn warn(what: impl std::fmt::Display) {
    eprintln!("sekisho: warning: {what}");
}

/// The daemon's own file, as it is now.
fn own_file(options: &Options) -> anyhow::Result<File> {
    let name = options.config.display().to_string();
    let text =
        fs::read_to_string(&options.config).with_context(|| format!("cannot read {name}"))?;
    Ok(File { name, text })
}

/// Checks a site file; answers what it means, and what else there is to say about it.
fn read(file: &File) -> anyhow::Result<(Site, Checked)> {
    let mut checked = check::check(&file.text);
    match checked.site.take() {
        Some(site) => Ok((site, checked)),
        None => Err(refusal(file, &checked)),
    }
}

/// Why a site file is refused.
fn refusal(File { name, text }: &File, checked: &Checked) -> anyhow::Error {
    anyhow!(
        "the site file has errors; nothing was changed\n{}",
        anstream::adapter::strip_str(&render(name, text, &checked.diagnostics))
    )
}

/// What was probably not meant.
fn warnings(file: &File, checked: &Checked) -> impl Iterator<Item = String> {
    checked.diagnostics.iter().map(|one| one.in_line(&file.name))
}

/// The site file as `get` shows it.
fn json(file: &File) -> serde_json::Value {
    config::json::of_text(&file.text)
}
