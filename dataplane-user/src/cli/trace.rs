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
    output::{Output, table},
};
use crate::{
    frame, pcap,
    trace::{Described, Question, Sender},
    view::Trace,
};

/// Ask the loaded program what it would do with a packet, stage by stage
///
/// The packet is described by flags, or taken from a capture. Nothing is sent and
/// nothing changes: a twin of the loaded program runs on the live tables.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    sekisho trace --port web-1 --to 10.2.0.5 --proto tcp --dport 443\n  \
    sekisho trace --line +819012345678 --to 10.1.0.10 --proto icmp\n  \
    sekisho trace --uplink internet --from 198.51.100.7 --to 203.0.113.10 --proto udp --dport 53\n  \
    sekisho trace --pcap lost.pcap --interface tap-web1")]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// The sending port: NAME or TENANT/NAME
    #[arg(long, value_name = "PORT", group = "sender")]
    port: Option<String>,
    /// The sending line: its number in any usual spelling, NAME or TENANT/NAME
    #[arg(long, value_name = "LINE", group = "sender")]
    line: Option<String>,
    /// The uplink that the packet comes in by
    #[arg(long, value_name = "NAME", group = "sender", requires = "from")]
    uplink: Option<String>,
    /// The frames of a capture (pcap, Ethernet), one trace each
    #[arg(long, value_name = "FILE", group = "sender", requires = "interface")]
    pcap: Option<PathBuf>,
    /// Where the captured packets come in
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Their VLAN, if the capture has no tags, as one inside a VLAN device
    #[arg(long, value_name = "VLAN", value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Option<u16>,
    /// The source address [default: the sender's first of the family]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The destination address
    #[arg(long, value_name = "ADDRESS", required_unless_present = "pcap")]
    to: Option<IpAddr>,
    #[command(flatten)]
    carries: payload::Carried,
    /// TTL or hop limit
    #[arg(long, value_name = "HOPS", default_value_t = 64)]
    ttl: u8,
}

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
                ask(options, &Question::Captured { interface, vlan: options.vlan, frame })?
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
