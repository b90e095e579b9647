//! What runs: the site in force, and the dataplane that it is in force in.

mod answers;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    address, check,
    claims::Claims,
    compile::{self, Compiled, Facts, Interface, Link, ids::Kind},
    config::{self, diagnostic::render},
    load::{self, Attach, Attached, Dataplane, Hook, Place, Role},
    message,
    model::{self, AttachmentIx, Owner, Site},
    neighbour::{Question, announce::Announcer, watch::Watch},
    numbers, plan,
    view::Applied,
};
use anyhow::{Context, bail};
use dataplane_common::addr::Mac;

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
}

/// A site, and what became of it on this machine.
struct InForce {
    site: Site,
    file: File,
    compiled: Compiled,
    /// Interfaces that are there; the others are waited for.
    attached: Vec<Attached>,
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
        let mut neighbours =
            Neighbourhood { watch, claims: Claims::new(held), announcer: Announcer::default() };
        let put = Put { options: &options, dataplane: &mut dataplane, neighbours: &mut neighbours };
        match put.in_force(&compiled, site, file, &[]) {
            Ok((in_force, _)) => {
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
    pub fn apply(&mut self, file: Option<File>, dry_run: bool) -> anyhow::Result<Applied> {
        let file = file.map_or_else(|| own_file(&self.options), Ok)?;
        let (site, mut warnings) = read(&file)?;
        let changes = plan::changes(&json(&self.in_force.file), &json(&file));
        // What went or came a moment ago is no reason to refuse anything.
        if let Err(error) = self.look_at_interfaces() {
            warnings.push(message::of(&error));
        }
        let waiting = self.waiting();
        let released = if dry_run {
            let facts = self.neighbours.facts(&self.options, &self.in_force.attached);
            let compiled = compile::compile(&site, &facts, &self.in_force.compiled);
            self.dataplane.may_attach(&wanted(&site, &waiting))?;
            self.dataplane.may_install(&compiled.image)?;
            Vec::new()
        } else {
            let Self { options, dataplane, neighbours, in_force, .. } = self;
            let put = Put { options, dataplane, neighbours };
            match put.in_force(&in_force.compiled, site, file, &waiting) {
                Ok((now, released)) => {
                    *in_force = now;
                    warnings.extend(self.wait_for_answers());
                    released
                }
                Err(error) => {
                    // Hooks as they were.
                    if let Ok(attached) = dataplane.attach(&wanted(&in_force.site, &waiting)) {
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
        self.look_at_interfaces()
    }

    /// Asks next hops that are due, hears what they say, and tells of our own addresses.
    pub fn attend(&mut self) -> anyhow::Result<()> {
        self.neighbours.announcer.tell();
        self.hear();
        if self.is_behind { self.renew() } else { Ok(()) }
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
        for dead in self.neighbours.watch.ask() {
            let Question { target, interface, .. } = dead;
            warn(format_args!("next hop {target} ({interface}) does not answer any more"));
            self.is_behind = true;
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

    /// Takes out what went, attaches what came.
    fn look_at_interfaces(&mut self) -> anyhow::Result<()> {
        let present = load::interface::indexes()?;
        let is_there = |at: &Attached| present.get(&at.interface.name) == Some(&at.interface.index);
        let (there, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.in_force.attached).into_iter().partition(is_there);
        self.in_force.attached = there;
        let mut is_changed = !gone.is_empty();
        let mut refused = Ok(());
        for at in gone {
            let name = &at.interface.name;
            warn(format_args!("interface {name} is gone; it is attached when it comes again"));
            if let Err(error) = self.dataplane.release(name, false) {
                refused = Err(error);
            }
        }
        for name in self.waiting() {
            if !present.contains_key(&name) {
                continue;
            }
            let others: Vec<_> =
                self.waiting().into_iter().filter(|other| *other != name).collect();
            match self.dataplane.attach(&wanted(&self.in_force.site, &others)) {
                Ok(attached) => {
                    eprintln!("sekisho: interface {name} is attached again");
                    self.in_force.attached = attached;
                    is_changed = true;
                }
                Err(error) => refused = Err(error),
            }
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
        Ok(refused?)
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
        waiting: &[String],
    ) -> anyhow::Result<(InForce, Vec<String>)> {
        let Self { options, dataplane, neighbours } = self;
        // What does not fit is refused before anything is touched.
        let tried = compile::compile(&site, &neighbours.facts(options, &[]), before);
        dataplane.may_install(&tried.image)?;
        let known: Vec<_> = dataplane.attached().map(str::to_owned).collect();
        let attached = dataplane.attach(&wanted(&site, waiting))?;
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
        Ok((InForce { site, file, compiled, attached }, released))
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
        let compiled = compile::compile(site, &facts, before);
        dataplane.may_install(&compiled.image)?;
        let known = neighbours.watch.known();
        numbers::write(&options.place, compiled.version, &compiled.ids, &known, &held)?;
        let tenants: Vec<_> = compiled.ids.new_since(&before.ids, Kind::Tenant).collect();
        dataplane.begin_counting(&tenants, &compiled.new_attachments(before))?;
        dataplane.forget_rules(|rule| !compiled.ids.has(Kind::Rule, rule));
        dataplane.install(&compiled.image)?;
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

/// Every interface once, but for those that are waited for: attachments differ by VLAN as
/// well.
fn wanted(site: &Site, waiting: &[String]) -> Vec<Attach> {
    let mut wanted: Vec<Attach> = Vec::new();
    for (ix, at) in site.attachments.iter() {
        let name = at.interface.as_str();
        let is_known = wanted.iter().any(|known| known.interface == name);
        if is_known || waiting.iter().any(|other| other == name) {
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
        });
    }
    wanted
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
