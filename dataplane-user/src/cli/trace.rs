//! `sekisho trace`: why does this packet (not) pass?

mod payload;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::{
    daemon::Daemon,
    number::number,
    output::{Output, table},
};
use crate::{
    frame, pcap,
    trace::{Described, Question, Sender},
    view::Trace,
};

/// Ask the loaded program why a packet passes or not, stage by stage
///
/// The packet is described by flags, or taken from a capture. Nothing is sent and nothing changes:
/// a twin of the loaded program judges it on the live tables. The last line tells what becomes of
/// it: forwarded, answered, flooded, heard by the daemon, or stopped, for the reason in the step
/// before.
///
/// A described packet is the frame that the sender's host would send; to an address of its own
/// subnet that nobody has, that is the question for the MAC. With -o json it is one object, the
/// frames of a capture are one array. Exit code 1: something could not be traced.
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  \
    sekisho trace --port web-1 --to 10.2.0.5 --proto tcp --dport 443\n  \
    sekisho trace --port web-1 --from 10.2.0.9 --to 10.2.0.5 --proto tcp --dport 443 --flags SA\n  \
    sekisho trace --line 090-1234-5601 --to 10.1.0.10\n  \
    sekisho trace --uplink internet --from 198.51.100.7 --to 203.0.113.10 --proto udp --dport 53\n  \
    sekisho trace --pcap lost.pcap --interface tap-web1\n  \
    sekisho trace --pcap inside-vlan.pcap --interface trunk --vlan 101 -o json"
)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// The sending port of a network: NAME, or TENANT/NAME if several tenants have one of that name
    #[arg(long, value_name = "PORT", group = "sender", help_heading = SENDER)]
    port: Option<String>,
    /// The sending line: its number in any usual spelling, ACCESS/NUMBER, NAME or TENANT/NAME
    #[arg(long, value_name = "LINE", group = "sender", help_heading = SENDER)]
    line: Option<String>,
    /// The uplink that the packet comes in by; needs --from
    #[arg(long, value_name = "NAME", group = "sender", requires = "from", help_heading = SENDER)]
    uplink: Option<String>,
    /// The source address [default: the sender's first of the destination's family]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "pcap", help_heading = PACKET)]
    from: Option<IpAddr>,
    /// The destination address
    #[arg(
        long,
        value_name = "ADDRESS",
        required_unless_present = "pcap",
        conflicts_with = "pcap",
        help_heading = PACKET
    )]
    to: Option<IpAddr>,
    #[command(flatten)]
    carries: payload::Carried,
    /// TTL or hop limit
    #[arg(
        long,
        value_name = "HOPS",
        default_value_t = 64,
        value_parser = number("a number of hops", 0..=u8::MAX),
        conflicts_with = "pcap",
        help_heading = PACKET
    )]
    ttl: u8,
    /// The capture: a pcap file of Ethernet frames, each of which is traced by itself
    #[arg(
        long,
        value_name = "FILE",
        group = "sender",
        requires = "interface",
        help_heading = CAPTURE
    )]
    pcap: Option<PathBuf>,
    /// The interface of the site file by which the frames come in
    #[arg(
        long,
        value_name = "NAME",
        requires = "pcap",
        conflicts_with_all = ["port", "line", "uplink"],
        help_heading = CAPTURE
    )]
    interface: Option<String>,
    /// The VLAN that they come in by, if the capture was taken where they have no tag, as inside a
    /// VLAN device; a frame with a tag of its own needs none
    #[arg(
        long,
        value_name = "VLAN",
        requires = "pcap",
        conflicts_with_all = ["port", "line", "uplink"],
        value_parser = number("a VLAN", 1..=4094_u16),
        help_heading = CAPTURE
    )]
    vlan: Option<u16>,
    /// The service VLAN before that VLAN (QinQ), if the capture does not show it either
    #[arg(
        long,
        value_name = "VLAN",
        requires = "vlan",
        conflicts_with_all = ["port", "line", "uplink"],
        value_parser = number("a VLAN", 1..=4094_u16),
        help_heading = CAPTURE
    )]
    service_vlan: Option<u16>,
}

const SENDER: &str = "Who sends it (one of these, or --pcap)";
const PACKET: &str = "What is sent";
const CAPTURE: &str = "Instead of all that, a capture";

pub fn run(options: &Options) -> anyhow::Result<()> {
    if let (Some(path), Some(interface)) = (&options.pcap, &options.interface) {
        return captured(options, path, interface);
    }
    let trace = ask(options, &Question::Described(described(options)?))?;
    if let Some(error) = trace.error {
        bail!("{error}");
    }
    options.output.print(&trace, show)
}

fn ask(options: &Options, question: &Question) -> anyhow::Result<Trace> {
    options.daemon.post("/v1/trace", serde_json::to_vec(question)?)
}

fn show(trace: &Trace) -> String {
    let frame = trace.frame.map_or_else(String::new, |number| format!("frame {number}: "));
    if let Some(error) = &trace.error {
        return format!("{frame}{}\n→ {}: {error}\n", trace.packet, trace.verdict);
    }
    let rows = trace.steps.iter().map(|step| [step.stage.clone(), step.decision.clone()]);
    let steps = table(["STAGE", "DECISION"], rows);
    format!("{frame}{}\n{steps}\n→ {}\n", trace.packet, trace.verdict)
}

fn described(options: &Options) -> anyhow::Result<Described> {
    let from = match (&options.port, &options.line, &options.uplink) {
        (Some(port), _, _) => Sender::Port(port.clone()),
        (_, Some(line), _) => Sender::Line(line.clone()),
        (_, _, Some(uplink)) => Sender::Uplink(uplink.clone()),
        _ => bail!("who sends the packet? Give --port, --line, --uplink or --pcap"),
    };
    let Some(to) = options.to else { bail!("where does the packet go? Give --to") };
    let payload = options.carries.payload(to)?;
    Ok(Described { from, source: options.from, to, payload, ttl: options.ttl })
}

/// Each frame by itself: one that cannot be traced says nothing of those after it.
fn captured(options: &Options, path: &Path, interface: &str) -> anyhow::Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let frames = pcap::frames(&bytes).with_context(|| path.display().to_string())?;
    ensure!(!frames.is_empty(), "{}: there is no frame in it", path.display());
    let (mut traces, mut failed) = (Vec::new(), Vec::new());
    for (number, frame) in (1..).zip(frames) {
        let mut trace = match frame {
            Ok(frame) if frame.bytes.len() < frame.wire_bytes => Trace::untraceable(
                frame::describe(&frame.bytes),
                format!(
                    "{} of its {} bytes were captured; `tcpdump -s 0` captures all",
                    frame.bytes.len(),
                    frame.wire_bytes
                ),
            ),
            Ok(pcap::Frame { bytes: frame, .. }) => {
                let interface = interface.to_owned();
                let (vlan, service_vlan) = (options.vlan, options.service_vlan);
                ask(options, &Question::Captured { interface, vlan, service_vlan, frame })?
            }
            Err(error) => Trace::untraceable("a part of a frame".to_owned(), error.to_string()),
        };
        trace.frame = Some(number);
        failed.extend(trace.error.is_some().then_some(number));
        if options.output.is_table() {
            let gap = if number > 1 { "\n" } else { "" };
            options.output.print(&trace, |trace| format!("{gap}{}", show(trace)))?;
        }
        traces.push(trace);
    }
    if !options.output.is_table() {
        options.output.print(&traces, |_| String::new())?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let listed: Vec<_> = failed.iter().take(LISTED_MAX).map(usize::to_string).collect();
    let more = if failed.len() > LISTED_MAX { ", …" } else { "" };
    bail!(
        "{}: {} of {} frames could not be traced: {}{more}",
        path.display(),
        failed.len(),
        traces.len(),
        listed.join(", ")
    )
}

/// Numbers of frames in a message at most.
const LISTED_MAX: usize = 20;
