//! What does Linux's connection tracking say of each segment of a talk?
//!
//! The device under test is a Linux router with the policy of [`super::ours`]: the
//! opener sends everything, the responder only answers. All talks go side by side, each with
//! a port of its own: the first segment of all of them, then the second of all, and so on.
//!
//! With `tcp_be_liberal` Linux lets pass what is outside a window, but for resets below the
//! last acknowledgement: that compares with our rule, which judges only resets by windows.
//! With `tcp_loose` it picks connections up in the middle, as we do; no timer runs out.

use anyhow::{Context, Result, ensure};
use sekisho_tests::{
    Host, Lab,
    lab::{Wire, stay_on_one_cpu},
};

use super::{
    batch::{self, Sent},
    entries,
    segment::{Judged, Side, Talk, addrs},
};

/// A lab with the router.
pub struct Linux {
    lab: Lab,
    /// They go when they are dropped.
    _hosts: [Host; 2],
    wires: [Wire; 2],
    port: u16,
    batches: u64,
    passed: u64,
    sent: u64,
}

/// The MACs of the router on either side.
pub const ROUTER: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2]];
/// The MACs of both sides.
pub const HOST: [[u8; 6]; 2] = [[2, 0, 0, 0, 2, 1], [2, 0, 0, 0, 2, 2]];
/// No entry goes by itself while a test runs.
const TIMEOUT_SECONDS: &str = "100000";
/// The policy.
pub const RULES: &str = "
table inet judge {
    counter stopped {}
    chain forward {
        type filter hook forward priority filter; policy drop;
        meta l4proto udp accept
        ct state invalid counter name stopped drop
        ct state established,related accept
        iifname \"opener\" accept
        counter name stopped drop
    }
}";

impl Linux {
    pub fn new(name: &str, rules: &str) -> Result<Self> {
        stay_on_one_cpu()?;
        let lab = Lab::new(name)?;
        let hosts = [side(&lab, Side::Opener)?, side(&lab, Side::Responder)?];
        let wires = [Wire::new(&hosts[0])?, Wire::new(&hosts[1])?];
        let dut = lab.dut();
        dut.sysctl("ipv4/ip_forward", "1")?;
        dut.sysctl("ipv6/conf/all/forwarding", "1")?;
        dut.run(&["nft", rules])?.ok()?;
        dut.sysctl("netfilter/nf_conntrack_tcp_loose", "1")?;
        dut.sysctl("netfilter/nf_conntrack_tcp_be_liberal", "1")?;
        for state in [
            "syn_sent",
            "syn_recv",
            "fin_wait",
            "close_wait",
            "last_ack",
            "time_wait",
            "close",
            "max_retrans",
            "unacknowledged",
        ] {
            let key = format!("netfilter/nf_conntrack_tcp_timeout_{state}");
            dut.sysctl(&key, TIMEOUT_SECONDS)?;
        }
        Ok(Self { lab, _hosts: hosts, wires, port: 1024, batches: 0, passed: 0, sent: 0 })
    }

    /// Judges every segment; each call takes ports that were not used before.
    pub fn judge(&mut self, talks: &[Talk]) -> Result<Vec<Vec<Judged>>> {
        let ports = (self.port..=u16::MAX).take(talks.len());
        let talks: Vec<_> = talks.iter().zip(ports).collect();
        self.port = self.port.checked_add(talks.len() as u16).context("no ports are left")?;
        let mut judged = vec![Vec::new(); talks.len()];
        let longest = talks.iter().map(|(talk, _)| talk.segments.len()).max().unwrap_or(0);
        for step in 0..longest {
            let due = talks.iter().enumerate().filter_map(|(index, (talk, port))| {
                let segment = talk.segments.get(step)?;
                Some((index, Sent::new(segment, talk.is_v6, *port)))
            });
            let (indices, frames): (Vec<_>, Vec<_>) = due.unzip();
            let mut arrived = Vec::new();
            for frames in frames.chunks(batch::FRAMES_MAX) {
                self.batches += 1;
                arrived.extend(batch::pass(&mut self.wires, frames, self.batches)?);
            }
            let states = entries::read(self.lab.dut())?;
            for (index, has_passed) in indices.into_iter().zip(arrived) {
                let (talk, port) = talks[index];
                let state = states.get(&(talk.is_v6, port)).copied().unwrap_or(0);
                judged[index].push(Judged { has_passed, state });
                self.sent += 1;
                self.passed += u64::from(has_passed);
            }
        }
        self.check()?;
        Ok(judged)
    }

    /// Every segment arrived or was stopped by a rule; none was lost elsewhere.
    fn check(&self) -> Result<()> {
        self.wires.iter().try_for_each(Wire::check_lost)?;
        let list = ["nft", "list", "counter", "inet", "judge", "stopped"];
        let text = self.lab.dut().run(&list)?.ok()?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        let stopped: u64 = words.nth(1).context("no count")?.parse()?;
        let (sent, passed) = (self.sent, self.passed);
        ensure!(sent == passed + stopped, "{sent} sent, {passed} arrived, {stopped} stopped");
        Ok(())
    }
}

/// A side without addresses: it answers nothing by itself, and the router need not ask for it.
fn side(lab: &Lab, side: Side) -> Result<Host> {
    let (name, net) = match side {
        Side::Opener => ("opener", 1),
        Side::Responder => ("responder", 2),
    };
    let host = lab.host(name).mac(&text(HOST[side as usize])).build()?;
    let router = text(ROUTER[side as usize]);
    let dut = lab.dut();
    dut.run(&["ip", "link", "set", name, "address", &router])?.ok()?;
    for is_v6 in [false, true] {
        let both = addrs(is_v6);
        let addr = if side == Side::Opener { both.0 } else { both.1 };
        let own = if is_v6 { format!("2001:db8:{net}::1/64") } else { format!("10.{net}.0.1/24") };
        dut.run(&["ip", "address", "add", &own, "dev", name])?.ok()?;
        dut.run(&["ip", "neighbour", "add", addr, "lladdr", host.mac(), "dev", name])?.ok()?;
    }
    Ok(host)
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
