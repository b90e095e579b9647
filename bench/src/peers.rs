//! What else forwards packets? Each peer is a device of its own in a lab of its own.
//!
//! Two NICs, 10.1.0.0/24 and 10.2.0.0/24; what lies [`scene::OUTSIDE`] is beyond the second.

use std::fmt::Write;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Error, Result, ensure};
use dataplane_common::limits;
use dataplane_user::load::Interface;
use sekisho_tests::{
    Host, Lab,
    build::Frame,
    conntrack,
    program::{Attached, Field, Forwarding, Program, into_peer},
};

use crate::course::{Course, padded, sink, tenant_sink};
use crate::scene::{self, OUTSIDE, PORT, Size};
use crate::site::{self, silence};

/// Labs so far: those that live at the same time have different names.
static LABS: AtomicU32 = AtomicU32::new(0);

/// What a packet filter asks of packets that are of no established connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// An nftables set of addresses and ports: no prefixes, no ranges.
    Hash(u32),
    /// An nftables set of prefixes and ranges of ports, of which no two overlap.
    Intervals(u32),
    /// nftables rules, one after the other.
    Linear(u32),
}

/// What a device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// XDP_DROP: nothing is forwarded.
    Drop,
    /// MAC swap and redirect at XDP.
    Redirect,
    /// The same, and a line of a table of flows as large as ours by default is counted up.
    Remember,
    /// The kernel's routes at XDP.
    Fib,
    /// `bpf_redirect_peer` at tcx.
    RedirectPeer,
    /// Linux.
    Linux,
    /// Linux with nftables.
    Nftables(Filter),
}

/// Who is at the ends of the cables?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// NICs.
    Nics,
    /// A NIC, and a tenant's host.
    NicAndTenant,
    /// Tenants' hosts.
    Tenants,
}

/// A device that is there.
pub struct Peer {
    /// What it does.
    pub kind: Kind,
    /// Its namespaces.
    pub lab: Lab,
    /// Who sends, and who receives.
    pub ends: [Host; 2],
    /// How much it has of everything.
    pub size: Size,
    macs: [[u8; 6]; 2],
    programs: Vec<Attached>,
}

impl Peer {
    /// Makes it.
    pub fn new(kind: Kind, ends: Ends, routes: u32) -> Result<Self> {
        if matches!(kind, Kind::Nftables(_)) {
            ensure!(site::is_installed("nft"), "nft is not installed");
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let lab = Lab::new(&format!("peer-{number}"))?;
        let host = |name, address: &str, gateway: [u8; 4], is_nic| {
            let host = if is_nic { lab.nic(name) } else { lab.host(name) };
            host.address(address).gateway(gateway).build()
        };
        let hosts = [
            host("west", "10.1.0.2/24", [10, 1, 0, 1], ends != Ends::Tenants)?,
            host("east", "10.2.0.2/24", [10, 2, 0, 1], ends == Ends::Nics)?,
        ];
        let dut = lab.dut();
        silence([dut, &hosts[0], &hosts[1]])?;
        let run = |line: &str| -> Result<String> {
            dut.run(&line.split_whitespace().collect::<Vec<_>>())?.ok()
        };
        for (link, address, host) in [("west", "10.1.0", &hosts[0]), ("east", "10.2.0", &hosts[1])]
        {
            run(&format!("ip address add {address}.1/24 dev {link}"))?;
            run(&format!("ip neigh replace {address}.2 lladdr {} dev {link}", host.mac()))?;
            // Its driver takes frames that a program sends only so.
            run(&format!("ethtool -K {link} gro on"))?;
        }
        dut.sysctl("ipv4/ip_forward", "1")?;
        run(&format!("ip route add {OUTSIDE}/6 via 10.2.0.2"))?;
        batch(
            &lab,
            "ip -batch",
            scene::routes(routes).map(|to| format!("route add {to}/26 via 10.2.0.2")),
        )?;

        let mut programs = vec![
            if ends == Ends::Tenants { tenant_sink(&hosts[0])? } else { sink(&hosts[0])? },
            if ends == Ends::Nics { sink(&hosts[1])? } else { tenant_sink(&hosts[1])? },
        ];
        let mut size = Size { rules: 0, routes };
        dut.in_ns(|| -> Result<()> {
            match kind {
                Kind::Drop => programs.push(Program::dropping()?.attach("west")?),
                Kind::Redirect => {
                    programs.push(Forwarding::swapping("east")?.attach("west")?);
                    programs.push(Forwarding::swapping("west")?.attach("east")?);
                }
                Kind::Remember => {
                    for (from, to) in [("west", "east"), ("east", "west")] {
                        let memory = Forwarding::remembering(to, limits::FLOW_LINES)?;
                        programs.push(memory.attach(from)?);
                    }
                }
                Kind::Fib => {
                    let fib = Forwarding::by_routes(&["west", "east"])?;
                    programs.push(fib.attach("west")?);
                    programs.push(fib.attach("east")?);
                }
                Kind::RedirectPeer => {
                    programs.push(into_peer("west", "east")?);
                    programs.push(into_peer("east", "west")?);
                }
                Kind::Linux | Kind::Nftables(_) => {}
            }
            Ok(())
        })??;
        if let Kind::Nftables(filter) = kind {
            size.rules = filter.rules();
            batch(&lab, "nft -f", filter.lines().into_iter())?;
        }
        let mac =
            |link| dut.in_ns(|| Interface::find(link, "the benchmark").map(|found| found.mac.0));
        let macs = [mac("west")??, mac("east")??];
        Ok(Self { kind, lab, ends: hosts, size, macs, programs })
    }

    /// Its hosts take what they get, and all offloads are as the kernel has them by itself. Of a
    /// device that has programs nothing is left.
    pub fn hand_over(&mut self) -> Result<()> {
        self.programs.clear();
        ["west", "east"].into_iter().try_for_each(|link| {
            self.lab.dut().run(&["ethtool", "-K", link, "gro", "off"])?.ok().map(drop)
        })
    }

    /// How many connections it knows.
    pub fn connections(&self) -> Result<u32> {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        let count = self.lab.dut().in_ns(|| fs::read_to_string(path))?;
        // Without the module there are none.
        Ok(count.map_or(Ok(0), |count| count.trim().parse())?)
    }

    /// Sees that it may know so many connections.
    pub fn make_room(&self, connections: u32) -> Result<()> {
        let Kind::Nftables(_) = self.kind else { return Ok(()) };
        let path = "/proc/sys/net/netfilter/nf_conntrack_max";
        let most = || -> Result<u32> { Ok(fs::read_to_string(path)?.trim().parse()?) };
        self.lab.dut().in_ns(|| -> Result<()> {
            let before = most()?;
            if before < connections {
                // Where it is not the namespace's own, the kernel keeps us from changing it.
                let what = || format!("setting nf_conntrack_max, {before}, to {connections}");
                fs::write(path, connections.to_string()).with_context(what)?;
                ensure!(most()? >= connections, "nf_conntrack_max stays at {before}");
            }
            Ok(())
        })?
    }

    /// Into how many lists Linux sorts connections: the machine's.
    pub fn buckets(&self) -> Result<u32> {
        let path = "/proc/sys/net/netfilter/nf_conntrack_buckets";
        Ok(self.lab.dut().in_ns(|| fs::read_to_string(path))??.trim().parse()?)
    }

    /// It knows no flows any more.
    pub fn forget_flows(&self) -> Result<()> {
        self.lab.dut().in_ns(conntrack::forget)?
    }

    /// UDP through it, from west to east.
    pub fn course(&self) -> Result<Course<'_>> {
        let from = |end: usize| -> Result<Frame> {
            Ok(Frame::new(bytes(self.ends[end].mac())?, self.macs[end]))
        };
        let outside = OUTSIDE.to_string();
        let payload = [0; 22];
        let there = from(0)?.ip("10.1.0.2", &outside).udp(1024, PORT).payload(&payload).build();
        let back = from(1)?.ip(&outside, "10.1.0.2").udp(PORT, 1024).payload(&payload).build();
        let (there, back) = ((0, padded(there)), (1, padded(back)));
        Ok(Course {
            name: self.kind.name().to_owned(),
            ends: [&self.ends[0], &self.ends[1]],
            opening: vec![there.clone(), back],
            known: vec![there],
            vary: [Field::DstLow, Field::SrcPort],
            asked: self.size.asked(),
        })
    }
}

impl Kind {
    /// What rows call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "bare XDP_DROP",
            Self::Redirect => "bare redirect",
            Self::Remember => "redirect and a line",
            Self::Fib => "xdp_fwd",
            Self::RedirectPeer => "bare redirect_peer",
            Self::Linux => "Linux",
            Self::Nftables(Filter::Hash(_)) => "nft hash set",
            Self::Nftables(Filter::Intervals(_)) => "nft intervals",
            Self::Nftables(Filter::Linear(_)) => "nft linear",
        }
    }
}

impl Filter {
    const fn rules(self) -> u32 {
        match self {
            Self::Hash(rules) | Self::Intervals(rules) | Self::Linear(rules) => rules,
        }
    }

    /// For `nft -f`: established flows first, then the permits, then TCP between the hosts.
    fn lines(self) -> Vec<String> {
        const ESTABLISHED: &str = "ct state established,related accept";
        const BY_SET: &str = "ip protocol udp ip daddr . udp dport @s accept";
        const TCP: &str = "ip daddr 10.2.0.2 tcp dport 5000-7047 accept";
        let rule = |text: &str| format!("add rule ip f c {text}");
        let element = |permit: scene::Permit| match self {
            Self::Hash(_) => format!("{} . {PORT}", permit.to),
            Self::Intervals(_) | Self::Linear(_) => {
                format!("{}/26 . {}-{}", permit.to, permit.first, permit.last)
            }
        };
        let linear = |scene::Permit { to, first, last }| {
            rule(&format!("ip daddr {to}/26 udp dport {first}-{last} accept"))
        };
        let permits: Vec<_> = scene::permits(self.rules()).collect();
        let mut lines = vec![
            "add table ip f".to_owned(),
            "add chain ip f c { type filter hook forward priority 0; policy drop; }".to_owned(),
            rule(ESTABLISHED),
        ];
        if let Self::Linear(_) = self {
            lines.extend(permits.into_iter().map(linear));
        } else {
            let flags = if let Self::Intervals(_) = self { "flags interval;" } else { "" };
            lines.push(format!("add set ip f s {{ type ipv4_addr . inet_service; {flags} }}"));
            lines.extend(permits.chunks(1000).map(|some| {
                let some: Vec<_> = some.iter().copied().map(element).collect();
                format!("add element ip f s {{ {} }}", some.join(", "))
            }));
            lines.push(rule(BY_SET));
        }
        lines.push(rule(TCP));
        lines
    }
}

/// Makes those that can be made; of the others it is told why they cannot.
pub fn made(
    kinds: &[Kind],
    ends: Ends,
    routes: u32,
    mut refused: impl FnMut(Kind, Error),
) -> Vec<Peer> {
    let make =
        |&kind: &Kind| Peer::new(kind, ends, routes).map_err(|error| refused(kind, error)).ok();
    kinds.iter().filter_map(make).collect()
}

/// Gives a program many lines at once, in a lab's device.
fn batch(lab: &Lab, program: &str, lines: impl Iterator<Item = String>) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}")?;
    }
    let path = lab.folder().join("batch");
    fs::write(&path, text)?;
    let path = path.to_str().context("a folder with a strange name")?;
    let command: Vec<_> = program.split(' ').chain([path]).collect();
    lab.dut().run(&command)?.ok()?;
    Ok(())
}

fn bytes(mac: &str) -> Result<[u8; 6]> {
    let bytes: Vec<_> =
        mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    bytes.try_into().ok().with_context(|| format!("{mac} is no MAC"))
}
