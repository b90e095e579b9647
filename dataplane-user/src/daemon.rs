//! What runs: the site in force, and the dataplane that it is in force in.

mod answers;

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, bail};
use dataplane_common::addr::Mac;
use ipnetwork::IpNetwork;

use crate::{
    check,
    compile::{self, Compiled, Facts, Interface, Neighbours, ids::Kind, plan},
    config::diagnostic::render,
    load::{self, Attach, Attached, Dataplane, Hook, Place, Role},
    model::{self, AttachmentIx, Owner, Site},
    neighbour, numbers,
    view::Applied,
};

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
    started: Instant,
}

/// A site, and what became of it on this machine.
struct InForce {
    site: Site,
    /// The site file as it was given.
    text: String,
    compiled: Compiled,
    attached: Vec<Attached>,
    neighbours: Neighbours,
}

impl Daemon {
    /// Loads the programs and puts the site file in force. On an error, a machine that
    /// had nothing of ours has nothing of ours again.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let (site, text) = read(&options, None)?;
        let mut dataplane = Dataplane::load(&load::Options {
            place: options.place.clone(),
            flow_lines: options.flow_lines,
            log: options.program_log,
        })?;
        let is_new = dataplane.version() == 0;
        let (before, neighbours) = numbers::read(&options.place, &dataplane)?;
        match put_in_force(&options, &mut dataplane, &before, &neighbours, site, text) {
            Ok(in_force) => Ok(Self { options, dataplane, in_force, started: Instant::now() }),
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
    pub fn apply(&mut self, text: Option<String>, dry_run: bool) -> anyhow::Result<Applied> {
        let (site, text) = read(&self.options, text)?;
        let before = self.in_force.compiled.ids.clone();
        if dry_run {
            let compiled = compile::compile(&site, &self.facts(), &self.in_force.compiled);
            let changes = plan::changes(&before, &compiled.ids);
            return Ok(Applied { site_version: self.dataplane.version(), dry_run, changes });
        }
        let Self { options, dataplane, in_force, .. } = self;
        *in_force = {
            let InForce { compiled, neighbours, .. } = &*in_force;
            put_in_force(options, dataplane, compiled, neighbours, site, text)?
        };
        let changes = plan::changes(&before, &self.in_force.compiled.ids);
        Ok(Applied { site_version: self.dataplane.version(), dry_run, changes })
    }

    /// What is known of the machine, for a site that is only tried: nothing is
    /// attached, and nobody is asked.
    fn facts(&self) -> Facts {
        facts(&self.options, &self.in_force.attached, self.in_force.neighbours.clone())
    }

    /// Clears expired flows and folds counters.
    pub fn sweep(&mut self) -> anyhow::Result<()> {
        let ids = &self.in_force.compiled.ids;
        self.dataplane.sweep(|tenant| tenant == 0 || ids.has(Kind::Tenant, tenant))?;
        Ok(())
    }
}

/// New interfaces are attached first: the version in force knows nothing of them, so
/// nothing passes there. Those that are no longer named are given back last.
fn put_in_force(
    options: &Options,
    dataplane: &mut Dataplane,
    before: &Compiled,
    known_neighbours: &Neighbours,
    site: Site,
    text: String,
) -> anyhow::Result<InForce> {
    let neighbours = resolve(&site, known_neighbours)?;
    let known: Vec<_> = dataplane.attached().map(str::to_owned).collect();
    let attached = dataplane.attach(&interfaces(&site))?;
    for warning in attached.iter().filter_map(|at| at.warning.as_ref()) {
        warn(warning);
    }
    let facts = facts(options, &attached, neighbours.clone());
    let compiled = compile::compile(&site, &facts, before);
    let installed =
        numbers::write(&options.place, dataplane.version() + 1, &compiled.ids, &neighbours)
            .and_then(|()| Ok(dataplane.install(&compiled.image)?));
    if let Err(error) = installed {
        let is_new = |at: &&Attached| !known.contains(&at.interface.name);
        for at in attached.iter().filter(is_new) {
            dataplane.release(&at.interface.name, true)?;
        }
        return Err(error);
    }
    let is_wanted = |name: &String| attached.iter().any(|at| at.interface.name == *name);
    for name in known.iter().filter(|name| !is_wanted(name)) {
        dataplane.release(name, false)?;
    }
    Ok(InForce { site, text, compiled, attached, neighbours })
}

fn facts(options: &Options, attached: &[Attached], neighbours: Neighbours) -> Facts {
    let interfaces = attached.iter().map(|at| (at.interface.name.clone(), fact(at)));
    Facts {
        interfaces: interfaces.collect(),
        neighbours,
        flows_per_tenant: options.flows_per_tenant,
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

/// Asks for the MACs of next hops that the file does not state.
fn resolve(site: &Site, known: &Neighbours) -> anyhow::Result<Neighbours> {
    let uplinks = site.uplinks.values().flat_map(|uplink| {
        let hops = uplink.next_hops.iter();
        hops.map(move |hop| (uplink.attachment, uplink.mac, uplink.addresses.as_slice(), hop))
    });
    let accesses = site.accesses.values().map(|access| {
        (access.attachment, access.mac, access.addresses.as_slice(), &access.next_hop)
    });
    let mut found = Neighbours::new();
    for (ix, mac, addresses, hop) in uplinks.chain(accesses) {
        if hop.mac.is_some() {
            continue;
        }
        let at = &site.attachments[ix];
        let interface = at.interface.to_string();
        let link = (interface.clone(), at.vlan.unwrap_or(0), hop.address);
        if let Some(&mac) = known.get(&link) {
            found.insert(link, mac);
            continue;
        }
        let of_family = |address: &&IpNetwork| address.is_ipv4() == hop.address.is_ipv4();
        let Some(own) = addresses.iter().find(of_family) else {
            warn(format_args!(
                "{}: next hop {} has no MAC, and there is no address of its family to ask from",
                owner(site, ix),
                hop.address
            ));
            continue;
        };
        let facts = load::Interface::find(&interface, &owner(site, ix))?;
        let question = neighbour::Question {
            vlan: at.vlan.unwrap_or(0),
            mac: mac.map_or(facts.mac, |mac| Mac(mac.octets())),
            own: own.ip(),
            target: hop.address,
            interface,
        };
        match neighbour::resolve(&question).with_context(|| owner(site, ix))? {
            Some(mac) => {
                found.insert(link, mac);
            }
            None => warn(format_args!(
                "{}: next hop {} does not answer; give its `mac`, or packets to it are stopped \
                 until a start finds it (once XDP is attached, its answers end there)",
                owner(site, ix),
                hop.address
            )),
        }
    }
    Ok(found)
}

/// Every interface once: attachments differ by VLAN as well.
fn interfaces(site: &Site) -> Vec<Attach> {
    let mut wanted: Vec<Attach> = Vec::new();
    for (ix, at) in site.attachments.iter() {
        if wanted.iter().any(|known| known.interface == at.interface.as_str()) {
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

/// Reads and checks a site file: the text, or the daemon's own file.
fn read(options: &Options, text: Option<String>) -> anyhow::Result<(Site, String)> {
    let name = options.config.display().to_string();
    let text = match text {
        Some(text) => text,
        None => {
            fs::read_to_string(&options.config).with_context(|| format!("cannot read {name}"))?
        }
    };
    let checked = check::check(&text);
    match checked.site {
        Some(site) => Ok((site, text)),
        None => bail!(
            "the site file has errors; nothing was changed\n{}",
            anstream::adapter::strip_str(&render(&name, &text, &checked.diagnostics))
        ),
    }
}

fn fact(at: &Attached) -> Interface {
    Interface {
        ifindex: at.interface.index,
        mac: at.mac(),
        output_kind: at.output_kind,
        mtu_bytes: at.interface.mtu_bytes,
    }
}
