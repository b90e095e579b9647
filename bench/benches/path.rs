//! How long does a packet take from NIC to NIC, the kernel's own part included?
//!
//! One CPU, closed loop: live frames → veth → the device under test at XDP → veth → XDP_DROP.
//! Nothing is lost in it, so nanoseconds a packet are the generator's CPU time by the packets
//! at the sink. A bare drop and a bare redirect in the device's place, in turn with it in one
//! run, are the floor and the ceiling; the generator's own share is in every figure.
//!
//! The device is the MEC Direct example; the packets are those of one flow of the line that
//! leads to a closed network: tagged as they come in, untagged as they leave.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataplane_user::{frame::Payload, load::Place, trace::Sender};
use sekisho_bench::{
    report::{self, Line},
    site::{self, Loaded},
};
use sekisho_tests::{Host, plug::Hosts, program::Program};

const SITE: &str = include_str!("../../examples/mec-direct.yaml");
/// Its access and its uplink; and two NICs for the bare programs.
const NICS: [&str; 4] = ["eth2", "eth1", "bare-in", "bare-out"];

const FRAME_BYTES: usize = 64;
/// Frames of a sample, and samples of each row, in turn.
const FRAMES: u32 = 400_000;
const SAMPLES: usize = 9;

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    site::in_lab("path", SITE, &NICS[2..], measure)
}

fn measure(place: Place, hosts: &Hosts) -> Result<()> {
    let loaded = Loaded::new(SITE, place, hosts)?;
    let host = |name: &str| hosts.get(name).with_context(|| format!("no host {name}"));
    let [access, uplink, bare_in, bare_out] = NICS;
    let sinks = [host(uplink)?, host(bare_out)?];
    let _sinks = sinks
        .iter()
        .map(|sink| sink.in_ns(|| Program::dropping()?.attach(sink.link()))?)
        .collect::<Result<Vec<_>>>()?;
    let (redirect, drop) = (Program::redirecting(bare_out)?, Program::dropping()?);

    let payload = Payload::Udp { src: 5000, dst: 53 };
    let tablet = Sender::Line("+819012345700".to_owned());
    let mut frame = loaded.frame(tablet, None, "198.18.0.1", payload)?.bytes;
    frame.resize(FRAME_BYTES, 0);
    let (frames, samples) = if report::is_trial() { (1000, 1) } else { (FRAMES, SAMPLES) };

    let mut ns = [const { Vec::new() }; 3];
    for _ in 0..samples {
        let [dropped, redirected, ours] = &mut ns;
        {
            let _device = drop.attach(bare_in)?;
            dropped.push(per_packet(send(host(bare_in)?, &frame, frames)?, frames));
        }
        {
            let _device = redirect.attach(bare_in)?;
            redirected.push(through(host(bare_in)?, host(bare_out)?, &frame, frames)?);
        }
        ours.push(through(host(access)?, host(uplink)?, &frame, frames)?);
    }
    let [dropped, redirected, ours] = ns;
    let lines = [
        Line::of("bare XDP_DROP", dropped),
        Line::of("bare redirect", redirected),
        Line::of("sekisho, known flow, access to uplink", ours),
    ];
    let lines: Vec<_> = lines.into_iter().flatten().collect();
    report::print("path, one CPU, one flow", &lines);
    if let [_, redirected, ours] = lines.as_slice()
        && !report::is_trial()
    {
        println!("sekisho ÷ bare redirect: {:.2}", ours.ns[0] / redirected.ns[0]);
    }
    Ok(())
}

/// Sends, sees that every frame arrived, and answers nanoseconds a packet.
fn through(from: &Host, to: &Host, frame: &[u8], frames: u32) -> Result<f64> {
    let before = received(to)?;
    let took = send(from, frame, frames)?;
    let arrived = received(to)? - before;
    ensure!(arrived.abs_diff(frames.into()) < 100, "{arrived} of {frames} frames arrived");
    Ok(per_packet(took, frames))
}

fn send(from: &Host, frame: &[u8], frames: u32) -> Result<Duration> {
    from.in_ns(|| Program::sending(frame, from.link())?.generate(frame, frames))?
}

fn per_packet(took: Duration, frames: u32) -> f64 {
    took.as_nanos() as f64 / f64::from(frames)
}

/// Packets that came in at the host's end of its cable: proc_net_dev(5).
fn received(host: &Host) -> Result<u64> {
    let text = host.in_ns(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let link = format!("{}:", host.link());
    let line = text.lines().find(|line| line.trim_start().starts_with(&link));
    let packets = line.and_then(|line| line.split_whitespace().nth(2));
    Ok(packets.context("the link has no counters")?.parse()?)
}
