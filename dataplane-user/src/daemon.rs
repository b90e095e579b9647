//! What runs: the site in force, and the dataplane that it is in force in.

mod answers;
mod interfaces;
mod lifeline;
mod needs;
mod put;
mod shared;
mod sweeping;
mod wanted;

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use crate::{
    address,
    check::Checked,
    claims::Claims,
    compile::{self, Compiled, ids::Kind},
    config::diagnostic::render,
    desired::log::{By, Operation},
    link::Sender,
    load::{self, Attached, Dataplane, Interfaces, Place},
    message,
    model::{self, AttachmentIx, Owner, Site},
    neighbour::{Question, announce::Announcer, watch::Watch},
    numbers,
    problem::{Fault, Faulty},
};
use dataplane_common::{addr::Mac, tables::Heard};

pub use lifeline::Asker;
use lifeline::Lifeline;
use put::{Guess, Note, Put, check_lifeline};
pub use shared::Shared;
pub use sweeping::Sweeping;
pub use wanted::{HowMuch, OF_FILES, Only, Take, Terms, What, Write};
use wanted::{Proposal, Wanted};

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The site file: what is to be in force at the very first start, and what `apply` reads
    /// when no other is named.
    pub config: Option<PathBuf>,
    /// The file with what is to be in force.
    pub store: PathBuf,
    /// Where programs and tables live on.
    pub place: Place,
    /// Half-flows that there is room for, a power of two.
    pub sizes: load::Sizes,
    /// Half-flows that a tenant may have; by default a quarter of those that there is room for.
    pub flows_per_tenant: Option<u32>,
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
    /// What is to be in force.
    wanted: Wanted,
    /// What is in force.
    in_force: InForce,
    /// Who is told, asked and heard on the links.
    neighbours: Neighbourhood,
    /// Something is known of the machine that the version in force does not know.
    is_behind: bool,
    started: Instant,
    /// Times that it [looked after](Daemon::look_after) the machine since then.
    looks: u64,
    /// Who looks after flows.
    sweeping: Arc<Sweeping>,
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
    file: Arc<File>,
    compiled: Arc<Compiled>,
    /// Interfaces that are there; the others are waited for.
    attached: Vec<Attached>,
    /// Why those that are there and not attached are not.
    refused: BTreeMap<String, String>,
    /// Who asked for it; what comes later is judged by that.
    asker: Asker,
}

/// What came of putting a site in force.
struct Outcome {
    /// What was done to interfaces that it does not name any more.
    released: Vec<String>,
    /// Which of those that it names are not there.
    absent: Vec<String>,
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

impl Daemon {
    /// As [`Shared::start`], but for waiting for answers.
    fn start(options: Options) -> anyhow::Result<Self> {
        let wanted = Wanted::open(&options.store)?;
        let Proposal { site, file, asked, warnings } =
            wanted.at_start(&options.store, options.config.as_deref())?;
        let by = By::itself("it began");
        let (noted, _) = wanted.noted(asked, Operation::new(by, "apply", OF_FILES))?;
        warnings.iter().for_each(warn);
        let mut dataplane = Dataplane::load(&load::Options {
            place: options.place.clone(),
            sizes: options.sizes,
            log: options.program_log,
            barrier: load::Barrier::Any,
        })?;
        let (made, asked) = (dataplane.sizes(), options.sizes);
        if made.flow_lines != asked.flow_lines {
            warn(format_args!(
                "the flow table has {} half-flows as it was made, not --flows {}; to change that, \
                 `sekisho detach` first",
                made.flow_lines, asked.flow_lines
            ));
        }
        if made.heap_lines != asked.heap_lines {
            warn(format_args!(
                "the heap has {} MiB as it was made, not --heap-mib {}; to change that, `sekisho \
                 detach` first",
                made.heap_lines >> 14,
                asked.heap_lines >> 14
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
        let share = share(made.flow_lines, options.flows_per_tenant);
        let sweeping = Arc::new(Sweeping::new(dataplane.sweeper(), share));
        sweeping.expect(&compiled.image.tenants);
        let put = Put {
            options: &options,
            dataplane: &mut dataplane,
            neighbours: &mut neighbours,
            sweeping: &sweeping,
            note: Box::new(|version| wanted.note(wanted.begin(noted)?, version)),
        };
        let (asker, before) = (options.asker.clone(), (&Arc::new(compiled), [].as_slice()));
        match put.in_force(before, (site, file), None, &BTreeMap::new(), asker) {
            Ok((in_force, _)) => {
                needs::absent(&in_force.site, &Interfaces::look()?, &[]).iter().for_each(warn);
                let mut daemon = Self {
                    options,
                    dataplane,
                    wanted,
                    in_force,
                    neighbours,
                    is_behind: false,
                    started: Instant::now(),
                    looks: 0,
                    sweeping,
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

    /// Would this site come into force? Answers what else there is to say about it.
    fn try_out(
        &mut self,
        site: &Site,
        file: &File,
        guess: Guess,
        asker: &Asker,
    ) -> anyhow::Result<Vec<String>> {
        let waited = self.waiting();
        let Self { options, dataplane, neighbours, in_force, sweeping, .. } = self;
        let facts = neighbours.facts(sweeping, site, &in_force.attached);
        let compiled = Guess::proven(Some(guess), site, &facts, &in_force.compiled);
        let now = Interfaces::look()?;
        let wanted = needs::now(options, site, &now, &in_force.refused);
        check_lifeline(site, &wanted, &now, asker)?;
        dataplane.may_attach(&wanted)?;
        dataplane.prepare(&compiled.image).map_err(|error| put::in_words(error, file))?;
        dataplane.give_up();
        Ok(needs::absent(site, &now, &waited))
    }

    /// Puts the site in force. On any error what runs is unchanged.
    fn put_in_force(
        &mut self,
        site: Site,
        file: Arc<File>,
        note: Note<'_>,
        guess: Guess,
        asker: Asker,
    ) -> anyhow::Result<Outcome> {
        let waited = self.waiting();
        let refused = self.in_force.refused.clone();
        let Self { options, dataplane, neighbours, in_force, sweeping, .. } = self;
        let put = Put { options, dataplane, neighbours, sweeping, note };
        let before = (&in_force.compiled, in_force.attached.as_slice());
        match put.in_force(before, (site, file), Some(guess), &refused, asker) {
            Ok((now, released)) => {
                *in_force = now;
                let absent = needs::absent(&in_force.site, &Interfaces::look()?, &waited);
                absent.iter().for_each(warn);
                Ok(Outcome { released, absent })
            }
            Err(error) => {
                // Hooks as they were.
                let known =
                    |name: &str| in_force.attached.iter().any(|at| at.interface.name == name);
                let wanted = needs::wanted(&in_force.site, known);
                if let Ok(attached) = dataplane.attach(&wanted) {
                    in_force.attached = attached;
                }
                Err(error)
            }
        }
    }

    /// What has to be done now and then: what was refused is counted, interfaces that went are
    /// taken out, and put back when they come again.
    pub fn look_after(&mut self) -> anyhow::Result<()> {
        self.looks += 1;
        let Self { dataplane, in_force, .. } = self;
        dataplane.look_after()?;
        dataplane.fold_refused(|ifindex| in_force.compiled.tenant_at(ifindex))?;
        self.look_at_interfaces().map(drop)
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

    /// Does it wait for answers of new next hops?
    fn is_asking(&mut self) -> bool {
        self.hear();
        self.neighbours.watch.unknown().next().is_some()
    }

    /// Answers which new next hops did not answer, and what went wrong.
    fn end_asking(&mut self) -> Vec<String> {
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
        let Self { options, dataplane, neighbours, in_force, sweeping, .. } = self;
        let put = Put { options, dataplane, neighbours, sweeping, note: Box::new(|_| Ok(())) };
        let InForce { site, attached, compiled: before, .. } = &*in_force;
        in_force.compiled = Arc::new(put.version(site, attached, before, None)?);
        self.is_behind = false;
        Ok(())
    }
}

/// How many half-flows a tenant may have in a table of so many, however many were wanted when it
/// was made.
fn share(flow_lines: u32, wanted: Option<u32>) -> u32 {
    let Some(wanted) = wanted else { return flow_lines / 4 };
    if wanted > flow_lines {
        warn(format_args!("--flows-per-tenant {wanted} is more than the flow table holds"));
    }
    wanted.min(flow_lines)
}

/// Tells the operator, on standard error.
fn warn(what: impl std::fmt::Display) {
    eprintln!("sekisho: warning: {what}");
}

/// Why a site file is refused.
fn refusal(File { name, text }: &File, checked: &Checked) -> anyhow::Error {
    let shown = render(name, text, &checked.diagnostics);
    let said = format!(
        "the site file has errors; nothing was changed\n{}",
        anstream::adapter::strip_str(&shown)
    );
    Faulty { said, faults: Fault::of_file(&checked.diagnostics) }.into()
}
