//! What runs: the site in force, and the dataplane that it is in force in.

mod answers;
mod lifeline;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    net::IpAddr,
    os::fd::OwnedFd,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    address, check,
    claims::Claims,
    compile::{self, Compiled, Facts, Interface, Link, ids::Kind},
    config::{self, diagnostic::render},
    link::Sender,
    load::{self, Attach, Attached, Dataplane, Hook, Interfaces, Place, Role, Shared},
    message,
    model::{self, AttachmentIx, Owner, Site},
    neighbour::{Question, announce::Announcer, watch::Watch},
    numbers, plan,
    view::Applied,
};
use anyhow::{Context, bail};
use dataplane_common::addr::Mac;

pub use lifeline::Asker;
use lifeline::Lifeline;

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The site file.
    pub config: PathBuf,
    /// Where programs and tables live on.
    pub place: Place,
    /// Half-flows that there is room for, a power of two.
    pub flow_lines: u32,
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

/// Interfaces that are attached in one look, for which the daemon answers nobody.
const COME_MAX: usize = 64;
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
        let (site, warnings) = read(&file)?;
        warnings.iter().for_each(warn);
        let mut dataplane = Dataplane::load(&load::Options {
            place: options.place.clone(),
            flow_lines: options.flow_lines,
            log: options.program_log,
        })?;
        if dataplane.flow_lines() != options.flow_lines {
            warn(format_args!(
                "the flow table has {} half-flows as it was made, not --flows {}; to change that, \
                 `sekisho detach` first",
                dataplane.flow_lines(),
                options.flow_lines
            ));
        }
        if !dataplane.unseen().is_empty() {
            warn(format_args!(
                "not every packet that the kernel refuses afterwards is counted (tx_refused): {}",
                dataplane.unseen().join("; ")
            ));
        }
        let is_new = dataplane.version() == 0;
        let (compiled, neighbours, held) = numbers::read(&options.place, &dataplane)?;
        // What was heard while nobody listened may be old.
        for _ in 0..HEARD_READS_MAX {
            if dataplane.heard().is_empty() {
                break;
            }
        }
        let mut watch = Watch::default();
        watch.follow(questions(&site, &[]), &neighbours);
        let mut neighbours = Neighbourhood {
            watch,
            claims: Claims::new(held),
            announcer: Announcer::default(),
            sender: Sender::default(),
        };
        let put = Put { options: &options, dataplane: &mut dataplane, neighbours: &mut neighbours };
        match put.in_force(&compiled, site, file, &BTreeMap::new(), options.asker.clone()) {
            Ok((in_force, _)) => {
                in_force.absent()?.iter().for_each(warn);
                let started = Instant::now();
                let is_behind = false;
                let mut daemon =
                    Self { options, dataplane, in_force, neighbours, is_behind, started };
                daemon.wait_for_answers();
                Ok(daemon)
            }
            Err(error) => {
                drop(dataplane);
                if is_new {
                    load::detach::detach(&options.place, true)?;
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
        let (site, mut warnings) = read(&file)?;
        let changes = plan::changes(&json(&self.in_force.file), &json(&file));
        // What went or came a moment ago is no reason to refuse anything.
        if let Err(error) = self.look_at_interfaces() {
            warnings.push(message::of(&error));
        }
        let waited = self.waiting();
        let refused = self.in_force.refused.clone();
        let released = if dry_run {
            let facts = self.neighbours.facts(&self.options, &self.in_force.attached);
            let compiled = compile::compile(&site, &facts, &self.in_force.compiled);
            let now = Interfaces::look()?;
            let wanted = self.options.wanted(&site, &now, &refused);
            check_lifeline(&site, &wanted, &now, &asker)?;
            self.dataplane.may_attach(&wanted)?;
            self.dataplane.may_install(&compiled.image)?;
            warnings.extend(absent(&site, &now, &waited));
            Vec::new()
        } else {
            let Self { options, dataplane, neighbours, in_force, .. } = self;
            let put = Put { options, dataplane, neighbours };
            match put.in_force(&in_force.compiled, site, file, &refused, asker) {
                Ok((now, released)) => {
                    *in_force = now;
                    let absent = absent(&in_force.site, &Interfaces::look()?, &waited);
                    absent.iter().for_each(warn);
                    warnings.extend(absent);
                    warnings.extend(self.wait_for_answers());
                    released
                }
                Err(error) => {
                    // Hooks as they were.
                    let known =
                        |name: &str| in_force.attached.iter().any(|at| at.interface.name == name);
                    let wanted = wanted(&in_force.site, known);
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
        let ids = &self.in_force.compiled.ids;
        self.dataplane.sweep(|tenant| tenant == 0 || ids.has(Kind::Tenant, tenant))?;
        let Self { dataplane, in_force, .. } = self;
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
        let attached = &self.in_force.attached;
        let hooked =
            |ifindex| attached.iter().find(|at| at.interface.index == ifindex).map(|at| at.hooked);
        Ok(self.dataplane.send_parked(hooked)?)
    }

    /// Notes whether anything about a next hop is new.
    fn hear(&mut self) {
        let heard = self.dataplane.heard();
        let links = if heard.is_empty() { HashMap::new() } else { self.links() };
        for heard in heard {
            let Some((ix, interface, vlan)) = links.get(&heard.attachment) else { continue };
            let (address, mac) = (address::ip(heard.addr), Mac::from_word(heard.mac));
            let Neighbourhood { watch, claims, .. } = &mut self.neighbours;
            let site = &self.in_force.site;
            if let Owner::Network(_) = site.attachments[*ix].owner {
                claims.announced(site, *ix, address, mac);
                continue;
            }
            let link = (interface.clone(), *vlan, address);
            let was_dead = watch.is_dead(&link);
            if watch.heard(&link, mac) {
                self.is_behind = true;
                if was_dead {
                    eprintln!("sekisho: next hop {address} ({interface}) answers again");
                }
            }
        }
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

    /// Where the numbers of attachments are.
    fn links(&self) -> HashMap<u32, (AttachmentIx, String, u16)> {
        let ids = &self.in_force.compiled.ids;
        let of = |(ix, at): (AttachmentIx, &model::Attachment)| {
            let (interface, vlan) = (at.interface.to_string(), at.vlan.unwrap_or(0));
            let name = compile::attachment_name(&interface, vlan);
            Some((ids.number(Kind::Attachment, &name)?, (ix, interface, vlan)))
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
        let silent = self.neighbours.watch.unknown().map(|question| {
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
        in_force.compiled = put.version(&in_force.site, &in_force.attached, &in_force.compiled)?;
        self.is_behind = false;
        Ok(())
    }

    /// Interfaces of the site that are not there.
    fn waiting(&self) -> Vec<String> {
        let there = self.in_force.attached.iter().map(|at| at.interface.name.as_str());
        let there: HashSet<_> = there.collect();
        let all = self.in_force.site.attachments.values().map(|at| at.interface.as_str());
        // Once each, whatever its VLANs.
        let waiting: BTreeSet<_> = all.filter(|name| !there.contains(name)).collect();
        waiting.into_iter().map(str::to_owned).collect()
    }

    /// Takes out what went, attaches what came, and follows what changed.
    /// Answers whether there is more to be attached, so that others get their turn between.
    pub fn look_at_interfaces(&mut self) -> anyhow::Result<bool> {
        // Before the look: what goes after it goes again in the next.
        let mut wrong = self.dataplane.release_gone().err();
        let now = Interfaces::look()?;
        let mut is_changed = self.note_gone();
        let mut is_more = false;
        for at in &mut self.in_force.attached {
            is_changed |= now.get(&at.interface.name).is_some_and(|found| at.follow(found));
        }
        match self.attach_come(&now) {
            Ok(Come { is_any, is_more: more }) => {
                is_changed |= is_any;
                is_more = more;
            }
            Err(error) => wrong = Some(error),
        }
        if is_changed {
            self.neighbours.watch.follow(
                questions(&self.in_force.site, &self.in_force.attached),
                &self.neighbours.watch.known(),
            );
            self.is_behind = true;
        }
        if self.is_behind {
            self.renew()?;
        }
        wrong.map_or(Ok(is_more), |error| Err(error.into()))
    }

    /// Interfaces that were taken out are waited for; answers whether there are any.
    fn note_gone(&mut self) -> bool {
        let held: HashSet<_> = self.dataplane.attached().map(str::to_owned).collect();
        let attached = std::mem::take(&mut self.in_force.attached);
        let (there, gone): (Vec<_>, Vec<_>) =
            attached.into_iter().partition(|at| held.contains(&at.interface.name));
        self.in_force.attached = there;
        let gone: Vec<_> = gone.iter().map(|at| at.interface.name.as_str()).collect();
        if let Some(names) = several(&gone) {
            warn(format_args!("{names}: gone; attached when it comes again"));
        }
        !gone.is_empty()
    }

    /// Attaches what is waited for and has come. What is refused goes on waiting, and its
    /// reason is told once.
    fn attach_come(&mut self, now: &Interfaces) -> Result<Come, load::Error> {
        let waiting: HashSet<_> = self.waiting().into_iter().collect();
        self.in_force.refused.retain(|name, _| now.get(name).is_some());
        let refused = &self.in_force.refused;
        let mut come =
            wanted(&self.in_force.site, |name| waiting.contains(name) && now.get(name).is_some());
        // What was refused is tried again last.
        come.sort_by_key(|attach| refused.contains_key(&attach.interface));
        let is_more = come.get(COME_MAX).is_some_and(|next| !refused.contains_key(&next.interface));
        come.truncate(COME_MAX.max(refused.len()));
        if come.is_empty() {
            return Ok(Come { is_any: false, is_more });
        }
        let lifeline = Lifeline::look(&self.in_force.asker)?;
        let mut attached = Vec::new();
        let mut outcomes = Vec::new();
        let is_refused = |attach: &Attach| {
            let checked =
                lifeline.as_ref().map(|line| line.check(&self.in_force.site, attach, now));
            checked.and_then(Result::err)
        };
        let mut free = Vec::new();
        for attach in come {
            match is_refused(&attach) {
                Some(error) => outcomes.push((attach, Err(error))),
                None => free.push(attach),
            }
        }
        let tried = self.dataplane.attach_each(&free)?;
        outcomes.extend(free.into_iter().zip(tried));
        for (attach, outcome) in outcomes {
            let name = &attach.interface;
            match outcome {
                Ok(at) => {
                    at.warning.iter().for_each(warn);
                    self.in_force.refused.remove(name);
                    attached.push(at);
                }
                // It went again meanwhile.
                Err(load::Error::InterfaceMissing { .. }) => {}
                Err(error) => {
                    let reason = error.to_string();
                    let told = self.in_force.refused.insert(name.clone(), reason.clone());
                    if told.as_ref() != Some(&reason) {
                        warn(format_args!("{reason}; {name} is waiting until that has changed"));
                    }
                }
            }
        }
        let names: Vec<_> = attached.iter().map(|at| at.interface.name.as_str()).collect();
        if let Some(names) = several(&names) {
            eprintln!("sekisho: {names}: attached");
        }
        let is_any = !attached.is_empty();
        self.in_force.attached.extend(attached);
        Ok(Come { is_any, is_more })
    }
}

/// Of the interfaces that have come.
struct Come {
    /// Some were attached.
    is_any: bool,
    /// Some are left for the next look.
    is_more: bool,
}

impl InForce {
    /// What there is to be said of interfaces that are not there.
    fn absent(&self) -> Result<Vec<String>, load::Error> {
        Ok(absent(&self.site, &Interfaces::look()?, &[]))
    }
}

impl Options {
    /// What a site attaches now: all of its interfaces that are there, but for those that
    /// were refused when they came, and all of them if they are required.
    fn wanted(
        &self,
        site: &Site,
        now: &Interfaces,
        refused: &BTreeMap<String, String>,
    ) -> Vec<Attach> {
        let is_there = |name: &str| self.require_interfaces || now.get(name).is_some();
        wanted(site, |name| is_there(name) && !refused.contains_key(name))
    }
}

/// What there is to be said of interfaces of the site that are not there and were not waited
/// for before: what may have been meant.
fn absent(site: &Site, now: &Interfaces, waited: &[String]) -> Vec<String> {
    const TOLD: usize = 10;
    let known: HashSet<_> = waited.iter().collect();
    let is_new = |name: &str| !known.contains(&name.to_owned()) && now.get(name).is_none();
    let absent = wanted(site, is_new);
    let mut told: Vec<_> = absent
        .iter()
        .take(TOLD)
        .filter_map(|attach| now.find(&attach.interface, &attach.wanted_by).err())
        .map(|missing| format!("{missing}; it is attached when it comes"))
        .collect();
    if absent.len() > TOLD {
        told.push(format!("{} more interfaces are waited for", absent.len() - TOLD));
    }
    told
}

/// Names of interfaces in one line, however many they are; none if there are none.
fn several(names: &[&str]) -> Option<String> {
    const NAMES: usize = 8;
    match names {
        [] => None,
        [name] => Some(format!("interface {name}")),
        names if names.len() <= NAMES => Some(format!("interfaces {}", names.join(", "))),
        names => {
            let more = names.len() - NAMES;
            Some(format!("interfaces {} and {more} more", names[..NAMES].join(", ")))
        }
    }
}

/// What putting a site in force works with.
struct Put<'d> {
    options: &'d Options,
    dataplane: &'d mut Dataplane,
    neighbours: &'d mut Neighbourhood,
}

impl Put<'_> {
    /// New interfaces are attached first: the version in force knows nothing of them, so
    /// nothing passes there. Those that are no longer named are given back last; what is
    /// done to them is answered.
    fn in_force(
        self,
        before: &Compiled,
        site: Site,
        file: File,
        refused: &BTreeMap<String, String>,
        asker: Asker,
    ) -> anyhow::Result<(InForce, Vec<String>)> {
        let Self { options, dataplane, neighbours } = self;
        // What does not fit is refused before anything is touched.
        let tried = compile::compile(&site, &neighbours.facts(options, &[]), before);
        dataplane.may_install(&tried.image)?;
        // What was refused belongs to whose interfaces they were.
        dataplane.fold_refused(|ifindex| before.tenant_at(ifindex))?;
        let known: Vec<_> = dataplane.attached().map(str::to_owned).collect();
        let attached = Self::attach(options, dataplane, &site, refused, &asker)?;
        attached.iter().filter_map(|at| at.warning.as_ref()).for_each(warn);
        let asked = neighbours.watch.clone();
        neighbours.watch.follow(questions(&site, &attached), &asked.known());
        let put = Put { options, dataplane: &mut *dataplane, neighbours: &mut *neighbours };
        let version = put.version(&site, &attached, before);
        let compiled = match version {
            Ok(compiled) => compiled,
            Err(error) => {
                neighbours.watch = asked;
                let is_new = |at: &&Attached| !known.contains(&at.interface.name);
                for at in attached.iter().filter(is_new) {
                    // What cannot be given back now is by `detach`.
                    let _ = dataplane.release(&at.interface.name, true);
                }
                return Err(error);
            }
        };
        let is_wanted = |name: &String| attached.iter().any(|at| at.interface.name == *name);
        let mut released = Vec::new();
        // The version is in force: nothing is an error of putting it there any more.
        for name in known.iter().filter(|name| !is_wanted(name)) {
            match dataplane.release(name, false) {
                Ok(done) => released.extend(done.iter().map(ToString::to_string)),
                Err(error) => released.push(format!("{name} is not given back: {error}")),
            }
        }
        let is_named =
            |name: &str| site.attachments.values().any(|at| at.interface.as_str() == name);
        let mut refused = refused.clone();
        refused.retain(|name, _| is_named(name));
        Ok((InForce { site, file, compiled, attached, refused, asker }, released))
    }

    /// Attaches what is there. What goes between the look and the attaching is not there.
    fn attach(
        options: &Options,
        dataplane: &mut Dataplane,
        site: &Site,
        refused: &BTreeMap<String, String>,
        asker: &Asker,
    ) -> Result<Vec<Attached>, load::Error> {
        const TRIES: u32 = 3;
        let mut tries = 1;
        loop {
            let now = Interfaces::look()?;
            let wanted = options.wanted(site, &now, refused);
            check_lifeline(site, &wanted, &now, asker)?;
            match dataplane.attach(&wanted) {
                Err(_) if tries < TRIES && has_gone(&wanted, &now)? => tries += 1,
                attached => return attached,
            }
        }
    }

    /// Puts the next version in force. Objects that are new under their number begin to be
    /// counted from zero.
    fn version(
        self,
        site: &Site,
        attached: &[Attached],
        before: &Compiled,
    ) -> anyhow::Result<Compiled> {
        let Self { options, dataplane, neighbours } = self;
        let in_force = dataplane.version();
        if before.version != in_force {
            // Numbers and epochs would be given away twice.
            bail!("version {in_force} is in force, not {}: start the daemon anew", before.version);
        }
        let held = neighbours.claims.held_in(site);
        let facts = Facts { claims: held.clone(), ..neighbours.facts(options, attached) };
        let mut compiled = compile::compile(site, &facts, before);
        dataplane.may_install(&compiled.image)?;
        let is_same = in_force != 0
            && dataplane.is_whole()
            && compiled.image.clone().normal() == before.image.clone().normal();
        if is_same {
            // As it is in force already, in the kernel and not only in our memory.
            compiled.version = in_force;
        }
        let known = neighbours.watch.known();
        numbers::write(&options.place, compiled.version, &compiled.ids, &known, &held)?;
        let tenants: Vec<_> = compiled.ids.new_since(&before.ids, Kind::Tenant).collect();
        let new = compiled.new_attachments(before);
        dataplane.begin_counting(&tenants, &new, &compiled.interfaces_of(&new))?;
        dataplane.forget_rules(|rule| !compiled.ids.has(Kind::Rule, rule));
        if !is_same {
            dataplane.install(&compiled.image)?;
        }
        neighbours.claims.follow(site);
        neighbours.announcer.follow(&before.image, &compiled.image);
        Ok(compiled)
    }
}

impl Neighbourhood {
    /// What the compiler is told.
    fn facts(&self, options: &Options, attached: &[Attached]) -> Facts {
        let interfaces = attached.iter().map(|at| (at.interface.name.clone(), fact(at)));
        Facts {
            interfaces: interfaces.collect(),
            neighbours: self.watch.known(),
            claims: self.claims.held().clone(),
            flows_per_tenant: options.flows_per_tenant,
        }
    }
}

/// Tells the operator, on standard error.
fn warn(what: impl std::fmt::Display) {
    eprintln!("sekisho: warning: {what}");
}

fn owner(site: &Site, ix: AttachmentIx) -> String {
    match site.attachments[ix].owner {
        Owner::Network(network) => {
            let network = &site.networks[network];
            format!("network {}/{}", site.tenants[network.tenant].name, network.name)
        }
        Owner::Uplink(uplink) => format!("uplink {}", site.uplinks[uplink].name),
        Owner::Access(access) => format!("access {}", site.accesses[access].name),
    }
}

/// Whom to ask for the MACs that the file does not state, and from where. Of an interface
/// that is not there the MAC is not known, and nobody is asked.
fn questions(site: &Site, attached: &[Attached]) -> Vec<(Link, Question)> {
    let uplinks = site.uplinks.values().flat_map(|uplink| {
        let hops = uplink.next_hops.iter();
        hops.map(move |hop| (uplink.attachment, uplink.mac, uplink.addresses.as_slice(), hop))
    });
    let accesses = site.accesses.values().map(|access| {
        (access.attachment, access.mac, access.addresses.as_slice(), &access.next_hop)
    });
    let questions = uplinks.chain(accesses).filter(|(.., hop)| hop.mac.is_none()).filter_map(
        |(ix, mac, addresses, hop)| {
            let at = &site.attachments[ix];
            let (interface, vlan) = (at.interface.to_string(), at.vlan.unwrap_or(0));
            // From the address beside it, or from any of its family.
            let near = addresses.iter().find(|own| own.contains(hop.address));
            let of_family = || addresses.iter().find(|own| own.is_ipv4() == hop.address.is_ipv4());
            let own = near.or_else(of_family)?.ip();
            let found = attached.iter().find(|at| at.interface.name == interface);
            let mac = mac.map(|mac| Mac(mac.octets())).or_else(|| Some(found?.mac()));
            let mac = mac.unwrap_or_default();
            let question =
                Question { interface: interface.clone(), vlan, mac, own, target: hop.address };
            Some(((interface, vlan, hop.address), question))
        },
    );
    questions.collect()
}

/// Refuses all that would cut the host off.
fn check_lifeline(
    site: &Site,
    wanted: &[Attach],
    now: &Interfaces,
    asker: &Asker,
) -> Result<(), load::Error> {
    let Some(lifeline) = Lifeline::look(asker)? else { return Ok(()) };
    let refused = wanted.iter().filter_map(|attach| lifeline.check(site, attach, now).err());
    load::Error::all(refused.collect())
}

/// Has one of these gone that was there?
fn has_gone(wanted: &[Attach], before: &Interfaces) -> Result<bool, load::Error> {
    let now = Interfaces::look()?;
    let index = |of: &Interfaces, name: &str| of.get(name).map(|found| found.index);
    let is_gone = |attach: &Attach| {
        let name = &attach.interface;
        index(before, name).is_some_and(|was| index(&now, name) != Some(was))
    };
    Ok(wanted.iter().any(is_gone))
}

/// Every interface that is asked for, once: attachments differ by VLAN as well.
fn wanted(site: &Site, is_asked: impl Fn(&str) -> bool) -> Vec<Attach> {
    let mut seen = HashSet::new();
    let mut shares = shares(site);
    let mut wanted: Vec<Attach> = Vec::new();
    for (ix, at) in site.attachments.iter() {
        let name = at.interface.as_str();
        if !is_asked(name) || !seen.insert(name) {
            continue;
        }
        wanted.push(Attach {
            interface: at.interface.to_string(),
            wanted_by: owner(site, ix),
            role: match at.owner {
                Owner::Network(_) => Role::Port,
                Owner::Uplink(_) => Role::Uplink,
                Owner::Access(_) => Role::Access,
            },
            hook: match at.hook {
                model::Hook::Auto => Hook::Auto,
                model::Hook::Tcx => Hook::Tcx,
                model::Hook::Xdp => Hook::Xdp,
            },
            shared: shares.remove(name).unwrap_or_default(),
        });
    }
    wanted
}

/// What the host has on interfaces. Its addresses on a VLAN are those of a device of its own
/// there.
fn shares(site: &Site) -> HashMap<&str, Shared> {
    let mut shares: HashMap<&str, Shared> = HashMap::new();
    for (ix, at) in site.attachments.iter() {
        let Some(host) = site.host_at(ix) else { continue };
        let shared = shares.entry(at.interface.as_str()).or_default();
        let addresses = host.addresses();
        shared.speaks_arp |= addresses.iter().any(IpAddr::is_ipv4);
        if at.vlan.is_none() {
            shared.addresses.extend(addresses);
        }
    }
    shares
}

/// The daemon's own file, as it is now.
fn own_file(options: &Options) -> anyhow::Result<File> {
    let name = options.config.display().to_string();
    let text =
        fs::read_to_string(&options.config).with_context(|| format!("cannot read {name}"))?;
    Ok(File { name, text })
}

/// Checks a site file; answers what it means, and what was probably not meant.
fn read(file: &File) -> anyhow::Result<(Site, Vec<String>)> {
    let File { name, text } = file;
    let checked = check::check(text);
    match checked.site {
        Some(site) => Ok((site, checked.diagnostics.iter().map(|one| one.in_line(name)).collect())),
        None => bail!(
            "the site file has errors; nothing was changed\n{}",
            anstream::adapter::strip_str(&render(name, text, &checked.diagnostics))
        ),
    }
}

/// The site file as `get` shows it.
fn json(file: &File) -> serde_json::Value {
    config::json::of_text(&file.text)
}

fn fact(at: &Attached) -> Interface {
    Interface {
        ifindex: at.interface.index,
        mac: at.mac(),
        output_kind: at.output_kind,
        mtu_bytes: at.interface.mtu_bytes,
    }
}
