//! How long does a packet take to a tenant's port, and how much gets through?
//!
//! As `path.rs`, but tcx is where ports are, and a packet is an skb by then: the ceiling is a
//! bare `bpf_redirect_peer`. A tenant's host is a veth with the kernel's defaults, and the end of
//! small packets is a program at tcx there. Bulk TCP is by iperf3 between the same hosts.

use anyhow::{Context, Result};
use dataplane_common::limits;
use sekisho_bench::{
    ours::{self, Kind, Ours, Way, with_ours},
    peers::{self, Ends, Filter, Peer, made},
    report,
    results::{Results, Row},
    scene::Size,
    site,
    turns::{FRAMES, frames, known_beside},
};
use sekisho_tests::Host;

const SIZE: Size = Size { rules: 10, routes: 1 };
const FLOWS: u32 = 1 << 14;
const NFTABLES: peers::Kind = peers::Kind::Nftables(Filter::Intervals(SIZE.rules));
/// Of each that is measured by the clock on the wall.
const SAMPLES: usize = 5;
const SECONDS: &str = "2";

fn main() -> Result<()> {
    if !report::is_asked_for("ports") || !site::may_load() {
        return Ok(());
    }
    let mut results = Results::of("ports");
    let done = with_ours("ports", SIZE, limits::FLOW_LINES, |ours| {
        small(ours, Way::PortToPort, Ends::Tenants, &mut results)?;
        small(ours, Way::AccessToPort, Ends::NicAndTenant, &mut results)?;
        two_cpus(ours, &mut results)?;
        bulk(ours, &mut results)
    });
    results.end(done)
}

/// Small packets of known flows to a port.
fn small(ours: &mut Ours<'_>, way: Way, ends: Ends, results: &mut Results) -> Result<()> {
    let name = |kind: Kind| format!("known, {}, {}", way.name(), kind.name());
    let redirect = Peer::new(peers::Kind::Redirect, Ends::Nics, SIZE.routes)?;
    let kinds = [peers::Kind::RedirectPeer, peers::Kind::Linux, NFTABLES];
    let others = made(&kinds, ends, SIZE.routes, |kind, why| {
        let row = Row::ns(kind.name(), &name(Kind::Udp)).of(FLOWS, SIZE.rules, SIZE.routes);
        results.add(row.missing(format!("{why:#}")));
    });
    for kind in [Kind::Udp, Kind::UdpV6, Kind::TcpBoth] {
        let is_bare = |peer: &&Peer| peer.kind == peers::Kind::RedirectPeer;
        let others = others.iter().filter(|peer| kind == Kind::Udp || is_bare(peer));
        let beside: Vec<_> = [&redirect].into_iter().chain(others).collect();
        known_beside(ours, (way, kind), (&name(kind), FLOWS), &beside, results)?;
    }
    Ok(())
}

/// The two directions of the same flows, each by a CPU of its own, and both by one.
fn two_cpus(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let case = |cpus| format!("known, access to uplink, IPv4 both ways, {cpus}");
    let row = |cpus| Row::ns(ours::NAME, &case(cpus)).of(FLOWS, SIZE.rules, SIZE.routes);
    if std::thread::available_parallelism()?.get() < 2 {
        results.add(row("two CPUs").missing("there is one CPU"));
        return Ok(());
    }
    ours.loaded.forget_flows()?;
    let course = ours.course(Way::AccessToUplink, Kind::UdpBoth)?;
    course.open(FLOWS)?;
    let (one, two) = (course.known(FLOWS)?, course.apart(FLOWS)?);
    let mut ns = [const { Vec::new() }; 2];
    for _ in 0..samples() {
        ns[0].push(course.ns(&one, frames(2 * FRAMES))?);
        ns[1].push(course.ns_on_two_cpus(&two, frames(FRAMES))?);
    }
    let [one, two] = ns;
    results.add(row("one CPU").samples(one));
    results.add(row("two CPUs").samples(two));
    Ok(())
}

/// TCP that sends as much as gets through, with the offloads of a server, and without.
fn bulk(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let row = |device: &str, case: &str| {
        let row = Row::ns(device, case).of(1, SIZE.rules, SIZE.routes);
        Row { unit: "Gbit/s".to_owned(), ..row }
    };
    let cases =
        ["bulk TCP, port to port, default offloads", "bulk TCP, port to port, 1500-byte segments"];
    let mut refused = None;
    let mut peers = made(&[NFTABLES], Ends::Tenants, SIZE.routes, |_, why| refused = Some(why));
    let (peer, why) = (peers.pop(), refused.map(|why| format!("{why:#}")));
    let why =
        if site::is_installed("iperf3") { why } else { Some("iperf3 is not installed".to_owned()) };
    let (Some(mut peer), None) = (peer, why) else {
        for case in cases {
            results.add(row(ours::NAME, case).missing("iperf3 or nft is not installed"));
        }
        return Ok(());
    };
    let [front, back] = ours.hand_over()?;
    peer.hand_over()?;
    let devices = [(NFTABLES.name(), [&peer.ends[0], &peer.ends[1]]), (ours::NAME, [front, back])];
    for (case, is_whole) in cases.into_iter().zip([true, false]) {
        let mut rates = [const { Vec::new() }; 2];
        if !is_whole {
            for host in devices.iter().flat_map(|(_, ends)| ends) {
                let off = ["tso", "off", "gso", "off", "gro", "off"];
                host.run(&[["ethtool", "-K", host.link()].as_slice(), &off].concat())?.ok()?;
            }
        }
        for _ in 0..samples() {
            for ((name, ends), rates) in devices.iter().zip(&mut rates) {
                rates.push(iperf(*ends).with_context(|| format!("{name}: {case}"))?);
            }
        }
        for ((name, _), rates) in devices.iter().zip(rates) {
            results.add(row(name, case).samples(rates));
        }
    }
    Ok(())
}

/// Gbit/s from the first to the second, each on a CPU of its own.
fn iperf([from, to]: [&Host; 2]) -> Result<f64> {
    let server = to.spawn(&["iperf3", "-s", "-1", "--forceflush"])?;
    server.wait_for_line("listening")?;
    let address = to.v4()?.to_string();
    let how_much = if report::is_trial() { ["-n", "1M"] } else { ["-t", SECONDS] };
    let client = ["iperf3", "-c", &address, "-J", "-A", "0,1"];
    let text = from.run(&[client.as_slice(), &how_much].concat())?.ok()?;
    let told: serde_json::Value = serde_json::from_str(&text)?;
    let rate = told["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.with_context(|| format!("iperf3: {}", told["error"]))? / 1e9)
}

fn samples() -> usize {
    if report::is_trial() { 1 } else { SAMPLES }
}
