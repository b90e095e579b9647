//! What runs: the site in force, the dataplane that it is in force in, and the
//! answers to questions about both.

use std::{collections::HashMap, fs, net::IpAddr, path::PathBuf, time::Instant};

use anyhow::{Context, bail};
use dataplane_common::{addr::Mac, limits, stage::conntrack::state, tables::Tally};
use ipnetwork::IpNetwork;

use crate::{
    check,
    compile::{self, Compiled, Facts, Interface, ids::Kind, plan},
    config::{self, Findings, diagnostic::render, tree::Tree},
    frame,
    load::{self, Attach, Attached, Dataplane, Hook, Hooked, Place, Role, TestFrame},
    model::{self, AttachmentIx, Owner, Site},
    neighbour, numbers, protocol, trace,
    view::{
        Amount, Applied, Attachment, AttachmentCounters, Counters, Drop, Fill, Flow, RuleCounters,
        Session, Status, Trace,
    },
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
    neighbours: HashMap<(AttachmentIx, IpAddr), Mac>,
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
        let before = numbers::read(&options.place, &dataplane)?;
        match put_in_force(&options, &mut dataplane, &before, site, text) {
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
        *in_force = put_in_force(options, dataplane, &in_force.compiled, site, text)?;
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
        self.dataplane.sweep()?;
        Ok(())
    }
}

/// New interfaces are attached first: the version in force knows nothing of them, so
/// nothing passes there. Those that are no longer named are given back last.
fn put_in_force(
    options: &Options,
    dataplane: &mut Dataplane,
    before: &Compiled,
    site: Site,
    text: String,
) -> anyhow::Result<InForce> {
    let neighbours = resolve(&site)?;
    let known: Vec<_> = dataplane.attached().map(str::to_owned).collect();
    let attached = dataplane.attach(&interfaces(&site))?;
    for warning in attached.iter().filter_map(|at| at.warning.as_ref()) {
        warn(warning);
    }
    let facts = facts(options, &attached, neighbours.clone());
    let compiled = compile::compile(&site, &facts, before);
    let installed = numbers::write(&options.place, dataplane.version() + 1, &compiled.ids)
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

fn facts(
    options: &Options,
    attached: &[Attached],
    neighbours: HashMap<(AttachmentIx, IpAddr), Mac>,
) -> Facts {
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

/// Answers.
impl Daemon {
    /// `sekisho status`.
    pub fn status(&self) -> anyhow::Result<Status> {
        let mut attachments: Vec<_> = self
            .in_force
            .site
            .attachments
            .iter()
            .map(|(ix, at)| Attachment {
                interface: at.interface.to_string(),
                vlan: at.vlan,
                object: self.owner(ix),
                hook: self.hook(at.interface.as_str()).to_owned(),
            })
            .collect();
        attachments.sort_by(|a, b| (&a.interface, a.vlan).cmp(&(&b.interface, b.vlan)));
        Ok(Status {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            site_version: self.dataplane.version(),
            config: self.options.config.display().to_string(),
            uptime_s: self.started.elapsed().as_secs(),
            attachments,
            tables: self.tables()?,
        })
    }

    fn tables(&self) -> anyhow::Result<Vec<Fill>> {
        let image = &self.in_force.compiled.image;
        let fill = |table: &str, used: usize, max: u32| Fill {
            table: table.to_owned(),
            used: used as u64,
            max: u64::from(max),
        };
        let flows = self.dataplane.flows().count();
        Ok(vec![
            fill("half_flows", flows, self.options.flow_lines),
            fill("attachments", image.attachments.len(), limits::ATTACHMENTS_MAX),
            fill("endpoints", image.endpoints.len(), limits::ENDPOINTS_MAX),
            fill("stations", image.stations.len(), limits::STATIONS_MAX),
            fill("locations", image.locations.len(), limits::LOCATIONS_MAX),
            fill("permits", image.permits.len(), limits::PERMITS_MAX),
            fill("sessions", image.sessions.len(), limits::SESSIONS_MAX),
            fill("zones", image.zones.len(), limits::ZONES_MAX),
            fill("routes", image.routes.len(), limits::ROUTES_MAX),
            fill("next_hops", image.next_hops.len(), limits::NEXT_HOPS_MAX),
            fill("policies", image.policies.len(), limits::POLICIES_MAX),
            fill("rules", image.rules.len(), limits::RULES_MAX),
            fill("members", image.members.len(), limits::MEMBERS_MAX),
            fill("group_prefixes", image.group_prefixes.len(), limits::GROUP_PREFIXES_MAX),
        ])
    }

    /// `sekisho counters`.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let ids = &self.in_force.compiled.ids;
        let attachments_max = ids.all(Kind::Attachment).map(|(_, id)| id + 1).max().unwrap_or(0);
        let counted = self.dataplane.counters(attachments_max)?;
        let mut attachments = Vec::new();
        for (ix, at) in self.in_force.site.attachments.iter() {
            let vlan = at.vlan.unwrap_or(0);
            let name = compile::attachment_name(at.interface.as_str(), vlan);
            let id = self.in_force.compiled.ids.number(Kind::Attachment, &name).unwrap_or(0);
            let of = counted.get(id as usize).copied().unwrap_or_default();
            attachments.push(AttachmentCounters {
                object: self.owner(ix),
                interface: at.interface.to_string(),
                vlan: at.vlan,
                received: amount(of.received),
                sent: amount(of.sent),
                answered: amount(of.answered),
                reported: amount(of.reported),
            });
        }
        attachments.sort_by(|a, b| (&a.interface, a.vlan).cmp(&(&b.interface, b.vlan)));
        let totals = self.dataplane.totals();
        let rules = self.in_force.compiled.ids.all(Kind::Rule).map(|(name, id)| RuleCounters {
            rule: name.to_owned(),
            amount: totals.rules.get(&id).copied().map(amount).unwrap_or_default(),
        });
        Ok(Counters { attachments, rules: rules.collect() })
    }

    /// `sekisho drops`.
    pub fn drops(&self) -> anyhow::Result<Vec<Drop>> {
        let tenants = self.in_force.compiled.image.tenants.len() as u32;
        let stops = self.dataplane.stops(tenants)?;
        let drops = stops.iter().filter(|count| count.packets > 0).map(|count| Drop {
            tenant: self.tenant(count.tenant),
            reason: count.stop.name().to_owned(),
            sentence: count.stop.sentence().trim().to_owned(),
            packets: count.packets,
        });
        Ok(drops.collect())
    }

    /// `sekisho flows`.
    pub fn flows(&self) -> anyhow::Result<Vec<Flow>> {
        let ids = &self.in_force.compiled.ids;
        let rule = |id: u32| (id != 0).then(|| ids.name(Kind::Rule, id).to_owned());
        let flows = self.dataplane.flows().map(|half| Flow {
            tenant: self.tenant(half.tenant),
            zone: ids.name(Kind::Zone, half.key.zone()).to_owned(),
            src: trace::ip(half.key.src).to_string(),
            dst: trace::ip(half.key.dst).to_string(),
            protocol: protocol::name(half.key.protocol),
            src_port: u16::from_be_bytes(half.key.src_port),
            dst_port: u16::from_be_bytes(half.key.dst_port),
            direction: if half.is_reply { "reply" } else { "original" }.to_owned(),
            state: state::name(half.state).to_owned(),
            denied: half.denied.map(|stop| stop.name().to_owned()),
            amount: Amount { packets: half.packets, bytes: half.bytes },
            // A tick is 2^20 ns.
            idle_s: (u64::from(half.idle_ticks) << 20) / 1_000_000_000,
            egress_rule: rule(half.rule_egress),
            ingress_rule: rule(half.rule_ingress),
        });
        Ok(flows.collect())
    }

    /// `sekisho sessions`.
    pub fn sessions(&self, reveal: bool) -> anyhow::Result<Vec<Session>> {
        let site = &self.in_force.site;
        let sessions = site.sessions.iter().map(|session| {
            let line = &site.lines[session.line];
            let number = line.number.to_string();
            Session {
                access: site.accesses[line.access].name.to_string(),
                tenant: site.tenants[line.tenant].name.to_string(),
                number: if reveal { number } else { mask(&number) },
                addresses: session.addresses.iter().map(ToString::to_string).collect(),
                state: match line.state {
                    model::LineState::Active => "active",
                    model::LineState::Suspended => "suspended",
                }
                .to_owned(),
                destination: self.destination(line),
            }
        });
        Ok(sessions.collect())
    }

    fn destination(&self, line: &model::Line) -> String {
        match line.destination {
            model::Destination::Router(ix) => {
                format!("router {}", self.in_force.site.routers[ix].name)
            }
            model::Destination::Network { network, .. } => {
                format!("network {}", self.in_force.site.networks[network].name)
            }
            model::Destination::Uplink(ix) => {
                format!("uplink {}", self.in_force.site.uplinks[ix].name)
            }
        }
    }

    /// `sekisho get`: the site file in force.
    pub fn site(&self) -> anyhow::Result<serde_json::Value> {
        let (tree, root) = Tree::parse(&self.in_force.text, &mut Findings::default());
        Ok(root.map_or(serde_json::Value::Null, |root| config::json::of(&tree, root)))
    }

    /// `sekisho trace`.
    pub fn trace(&mut self, question: &trace::Question) -> anyhow::Result<Trace> {
        let site = &self.in_force.compiled;
        let asked = match question {
            trace::Question::Described(described) => trace::frame(site, described)?,
            trace::Question::Captured { interface, vlan, frame } => {
                trace::captured(site, interface, *vlan, frame)?
            }
        };
        let interface =
            self.in_force.attached.iter().find(|at| at.interface.index == asked.at.ifindex);
        let hooked = interface.map_or(Hooked::Tcx, |at| at.hooked);
        let frame = TestFrame::new(hooked, asked.at.ifindex, &asked.bytes);
        let traced = self.dataplane.trace_run(frame)?;
        let site = &self.in_force.compiled;
        Ok(trace::tell(site, frame::describe(&asked.bytes), &traced.notes))
    }

    fn tenant(&self, id: u32) -> String {
        if id == 0 {
            "-".to_owned()
        } else {
            self.in_force.compiled.ids.name(Kind::Tenant, id).to_owned()
        }
    }

    fn hook(&self, interface: &str) -> &'static str {
        let at = self.in_force.attached.iter().find(|at| at.interface.name == interface);
        at.map_or("-", |at| at.hooked.name())
    }

    /// What is plugged in there.
    fn owner(&self, ix: AttachmentIx) -> String {
        owner(&self.in_force.site, ix)
    }
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
fn resolve(site: &Site) -> anyhow::Result<HashMap<(AttachmentIx, IpAddr), Mac>> {
    let uplinks = site.uplinks.values().flat_map(|uplink| {
        let hops = uplink.next_hops.iter();
        hops.map(move |hop| (uplink.attachment, uplink.mac, uplink.addresses.as_slice(), hop))
    });
    let accesses = site.accesses.values().map(|access| {
        (access.attachment, access.mac, access.addresses.as_slice(), &access.next_hop)
    });
    let mut found = HashMap::new();
    for (ix, mac, addresses, hop) in uplinks.chain(accesses) {
        if hop.mac.is_some() {
            continue;
        }
        let at = &site.attachments[ix];
        let interface = at.interface.to_string();
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
                found.insert((ix, hop.address), mac);
            }
            None => warn(format_args!(
                "{}: next hop {} does not answer; packets to it are stopped until the next apply",
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
    Interface { ifindex: at.interface.index, mac: at.mac(), output_kind: at.output_kind }
}

fn amount(tally: Tally) -> Amount {
    Amount { packets: tally.packets, bytes: tally.bytes }
}

/// The number with its middle hidden: enough to recognise, not to call.
fn mask(number: &str) -> String {
    let shown = number.len() / 3;
    let (head, tail) = (&number[..shown.min(5)], &number[number.len() - shown.min(3)..]);
    let hidden = number.len() - head.len() - tail.len();
    format!("{head}{}{tail}", "*".repeat(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        assert_eq!(mask("+819012345678"), "+819******678");
        assert_eq!(mask("+8112"), "+***2");
    }
}
