//! `sekisho trace`: why does this packet (not) pass?

mod payload;

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::{
    pcap,
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
    /// Packets of a capture (pcap, Ethernet), one trace each
    #[arg(long, value_name = "FILE", group = "sender", requires = "interface")]
    pcap: Option<PathBuf>,
    /// Where the captured packets come in
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// The VLAN that they come in with
    #[arg(long, value_name = "VLAN", default_value_t = 0)]
    vlan: u16,
    /// The source address [default: the sender's first of the family]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The destination address
    #[arg(long, value_name = "ADDRESS", required_unless_present = "pcap")]
    to: Option<IpAddr>,
    #[command(flatten)]
    carries: payload::Options,
    /// TTL or hop limit
    #[arg(long, value_name = "HOPS", default_value_t = 64)]
    ttl: u8,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    for question in questions(options)? {
        let trace: Trace = options.daemon.post("/v1/trace", serde_json::to_vec(&question)?)?;
        options.output.print(&trace, show)?;
    }
    Ok(())
}

fn show(trace: &Trace) -> String {
    let rows = trace.steps.iter().map(|step| [step.stage.clone(), step.decision.clone()]);
    format!("{}\n{}\n→ {}\n", trace.packet, table(["STAGE", "DECISION"], rows), trace.verdict)
}

fn questions(options: &Options) -> anyhow::Result<Vec<Question>> {
    if let (Some(path), Some(interface)) = (&options.pcap, &options.interface) {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let frames = pcap::frames(&bytes).with_context(|| path.display().to_string())?;
        let captured =
            |frame| Question::Captured { interface: interface.clone(), vlan: options.vlan, frame };
        return Ok(frames.into_iter().map(captured).collect());
    }
    let from = match (&options.port, &options.line, &options.uplink) {
        (Some(port), _, _) => Sender::Port(port.clone()),
        (_, Some(line), _) => Sender::Line(line.clone()),
        (_, _, Some(uplink)) => Sender::Uplink(uplink.clone()),
        _ => bail!("who sends the packet? Give --port, --line, --uplink or --pcap"),
    };
    let Some(to) = options.to else { bail!("where does the packet go? Give --to") };
    let payload = options.carries.payload(to)?;
    let described = Described { from, source: options.from, to, payload, ttl: options.ttl };
    Ok(vec![Question::Described(described)])
}
