//! Which site is measured, and how does it get into the kernel?
//!
//! An example with its hosts; the same tables as `sekisho run` makes, but in this process,
//! which can then ask the kernel to run the programs.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use aya::programs::ProgramInfo;
use dataplane_common::addr::Mac;
use dataplane_user::{
    check,
    compile::{self, Compiled, Facts, Interface, Link},
    config::Severity,
    frame::Payload,
    load::{
        self, Attach, Attached, Dataplane, Hook, Hooked, Place, Role, Shared, TestFrame, Verdict,
    },
    model::{AttachmentIx, Neighbour, Owner, Site},
    trace::{self, Described, Sender},
};
use sekisho_tests::{Lab, lab::Namespace, plug, plug::Hosts, trial};

/// Room for every first packet that is measured.
const FLOW_LINES: u32 = 1 << 20;

/// Whether the kernel can be asked; says so if not.
#[must_use]
pub fn may_load() -> bool {
    let may = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")));
    if !may {
        println!("skipped: it needs root and BPF; see README.md, Requirements");
    }
    may
}

/// Is a program there? It may be missing where `cargo xtask setup` may install nothing.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// The site in the kernel, in a lab of its own.
pub struct Loaded {
    /// Its programs and tables.
    pub dataplane: Dataplane,
    place: Place,
    site: Site,
    compiled: Compiled,
    attached: Vec<Attached>,
    hooked: Vec<(u32, Hooked)>,
}

impl Loaded {
    /// Puts the site in force. To be called in the lab's device under test.
    pub fn new(site_yaml: &str, place: Place, hosts: &Hosts) -> Result<Self> {
        let sizes = load::Sizes { flow_lines: FLOW_LINES, ..load::Sizes::default() };
        Self::sized(site_yaml, place, hosts, sizes)
    }

    /// The same with so much room; one tenant may have all half-flows.
    pub fn sized(site_yaml: &str, place: Place, hosts: &Hosts, sizes: load::Sizes) -> Result<Self> {
        let site = checked(site_yaml)?;
        let options =
            load::Options { place: place.clone(), sizes, ..load::Options::named("bench") };
        let mut dataplane = Dataplane::load(&options)?;
        let attached = dataplane.attach(&interfaces(&site))?;
        let hooked = attached.iter().map(|at| (at.interface.index, at.hooked)).collect();
        let compiled = Compiled::default();
        let mut loaded = Self { dataplane, place, site, compiled, attached, hooked };
        loaded.compile(hosts)?;
        Ok(loaded)
    }

    /// Puts another site in force, on the same interfaces. An error changes nothing.
    pub fn put(&mut self, site_yaml: &str, hosts: &Hosts) -> Result<()> {
        let before = std::mem::replace(&mut self.site, checked(site_yaml)?);
        self.compile(hosts).inspect_err(|_| self.site = before)
    }

    fn compile(&mut self, hosts: &Hosts) -> Result<()> {
        let (site, attached) = (&self.site, &self.attached);
        let flows_per_tenant = self.dataplane.sizes().flow_lines;
        let mut facts = Facts { flows_per_tenant, ..Facts::default() };
        for at in attached {
            let interface = Interface {
                ifindex: at.interface.index,
                mac: at.mac(),
                output_kind: at.output_kind,
                mtu_bytes: at.interface.mtu_bytes,
            };
            facts.interfaces.insert(at.interface.name.clone(), interface);
        }
        neighbours(&mut facts, site, |at, hop| mac_of(site, hosts, at, hop))?;
        let compiled = compile::compile(site, &facts, &self.compiled);
        self.dataplane.install(&compiled.image)?;
        self.compiled = compiled;
        Ok(())
    }

    /// The program at this hook that sees every packet first.
    pub fn entry(&self, hooked: Hooked) -> Result<ProgramInfo> {
        let own = self.place.generations()?.into_iter().max().context("no programs are pinned")?;
        let name = if hooked == Hooked::Xdp { "sekisho_xdp" } else { "sekisho_tc" };
        let path = self.place.programs(own).join(name);
        ProgramInfo::from_pin(&path).with_context(|| path.display().to_string())
    }

    /// Every flow is over, and its place free again. How many half-flows were there?
    pub fn forget_flows(&mut self) -> Result<usize> {
        Ok(self.dataplane.sweeper().sweep(|_| None)?.emptied)
    }

    /// The frame that a sender would send, as it comes in.
    pub fn frame(
        &self,
        from: Sender,
        source: Option<&str>,
        to: &str,
        payload: Payload,
    ) -> Result<Question> {
        let source = source.map(str::parse).transpose()?;
        let to: IpAddr = to.parse()?;
        let described = Described { from, source, to, payload, ttl: 255 };
        let frame = trace::frame(&self.site, &self.compiled, &described)?;
        self.question(frame.at.ifindex, frame.bytes)
    }

    /// Any frame that comes in there.
    pub fn question(&self, ifindex: u32, bytes: Vec<u8>) -> Result<Question> {
        let of = |(index, _): &&(u32, Hooked)| *index == ifindex;
        let (_, hooked) = self.hooked.iter().find(of).context("no interface of the site")?;
        Ok(Question { hooked: *hooked, ifindex, bytes })
    }

    /// Runs the program so many times on it.
    pub fn run(&self, question: &Question, repeat: u32) -> Result<Verdict> {
        let Question { hooked, ifindex, bytes } = question;
        let frame = TestFrame { repeat, ..TestFrame::new(*hooked, *ifindex, bytes) };
        Ok(self.dataplane.test_run(frame)?)
    }
}

/// A frame, and where it comes in.
#[derive(Clone)]
pub struct Question {
    /// At which hook.
    pub hooked: Hooked,
    /// Which interface.
    pub ifindex: u32,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// The codes of XDP and tcx for a packet that goes on: XDP_PASS with a decision for the
/// delivering program, XDP_REDIRECT, TC_ACT_REDIRECT.
#[must_use]
pub fn goes_on(question: &Question, verdict: &Verdict) -> bool {
    match question.hooked {
        Hooked::Xdp => verdict.code == 4 || verdict.code == 2 && !verdict.metadata.is_empty(),
        Hooked::Tcx => verdict.code == 7,
    }
}

/// The site, or what is wrong with it first.
fn checked(site_yaml: &str) -> Result<Site> {
    let checked = check::check(site_yaml);
    let first = checked.diagnostics.into_iter().find(|found| found.severity == Severity::Error);
    match (checked.site, first) {
        (Some(site), _) => Ok(site),
        (None, Some(first)) => bail!("{}", first.message),
        (None, None) => bail!("there is no site"),
    }
}

fn mac_of(site: &Site, hosts: &Hosts, at: AttachmentIx, hop: &Neighbour) -> Result<Mac> {
    let interface = site.attachments[at].interface.as_str();
    let text = hosts.get(interface).with_context(|| format!("no host {interface}"))?.mac();
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    ensure!(bytes.len() == 6, "{text} of {} is no MAC", hop.address);
    Ok(Mac(bytes.try_into().unwrap_or_default()))
}

/// The site's records, compiled for no kernel: interfaces and MACs are made up.
pub fn on_host(site_yaml: &str) -> Result<(Site, Compiled)> {
    let (site, mut facts) = (checked(site_yaml)?, Facts::default());
    facts.flows_per_tenant = u32::MAX;
    trial::plug(&mut facts, &site);
    neighbours(&mut facts, &site, |_, _| Ok(Mac([2, 0, 0, 0, 0, 1])))?;
    let compiled = compile::compile(&site, &facts, &Compiled::default());
    Ok((site, compiled))
}

/// Tells the compiler the MAC of each next hop.
fn neighbours(
    facts: &mut Facts,
    site: &Site,
    mac: impl Fn(AttachmentIx, &Neighbour) -> Result<Mac>,
) -> Result<()> {
    let uplinks = site.uplinks.values();
    let uplinks = uplinks.flat_map(|of| of.next_hops.iter().map(|hop| (of.attachment, hop)));
    let accesses = site.accesses.values().map(|of| (of.attachment, &of.next_hop));
    for (at, hop) in uplinks.chain(accesses) {
        facts.neighbours.insert(link(site, at, hop.address), mac(at, hop)?);
    }
    Ok(())
}

/// Each interface of the site.
fn interfaces(site: &Site) -> Vec<Attach> {
    let attach = |at: &dataplane_user::model::Attachment| Attach {
        interface: at.interface.to_string(),
        wanted_by: "the benchmark".to_owned(),
        role: match at.owner {
            Owner::Network(_) => Role::Port,
            Owner::Uplink(_) => Role::Uplink,
            Owner::Access(_) => Role::Access,
        },
        hook: Hook::Auto,
        shared: Shared::default(),
    };
    let mut all: Vec<_> = site.attachments.values().map(attach).collect();
    all.sort_by(|a, b| a.interface.cmp(&b.interface));
    all.dedup_by(|a, b| a.interface == b.interface);
    all
}

/// A lab with the site's hosts and further NICs, in which `work` is done: it is told where it
/// may pin.
pub fn in_lab<T: Send>(
    name: &str,
    site_yaml: &str,
    nics: &[&str],
    work: impl FnOnce(Place, &Hosts) -> Result<T> + Send,
) -> Result<T> {
    let lab = Lab::new(name)?;
    let mut hosts = plug::hosts(&lab, site_yaml)?;
    for nic in nics {
        hosts.insert((*nic).to_owned(), lab.nic(nic).build()?);
    }
    silence(hosts.values().map(|host| &**host).chain([lab.dut()]))?;
    let place = Place { pin: lab.bpffs()?.join("bench"), state: lab.folder().join("bench") };
    lab.dut().in_ns(|| work(place, &hosts))?
}

/// Keeps a lab's kernels from speaking IPv6 of their own accord, as they do for seconds after a
/// link came up. The CPU on which that happens has the link's queue then, until it is empty: of
/// what another CPU sends meanwhile most gets lost.
pub fn silence<'l>(namespaces: impl IntoIterator<Item = &'l Namespace>) -> Result<()> {
    let set = |namespace: &Namespace| namespace.sysctl("ipv6/conf/all/disable_ipv6", "1");
    namespaces.into_iter().try_for_each(set)
}

/// Where a next hop is, as the compiler asks for it.
fn link(site: &Site, at: AttachmentIx, address: IpAddr) -> Link {
    let at = &site.attachments[at];
    (at.interface.to_string(), at.vlans(), address)
}
