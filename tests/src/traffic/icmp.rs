//! What do ping and traceroute see?

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Client, first_address};
use crate::lab::Namespace;
use crate::process::{Output, PATIENCE};

/// What came back to `ping`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PingResult {
    /// Echo requests sent.
    pub sent: u32,
    /// Echo replies received.
    pub received: u32,
    /// ICMP errors received, and those of the sender's own kernel.
    pub errors: Vec<IcmpError>,
}

impl PingResult {
    /// Whether every request was answered, once, and nothing else came.
    pub fn all_answered(&self) -> bool {
        self.sent > 0 && self.received == self.sent && self.errors.is_empty()
    }
}

/// An error that `ping` reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who sent it; `None` for the sender's own kernel.
    pub from: Option<IpAddr>,
    /// As `ping` has it: "Time to live exceeded", "Destination unreachable: …".
    pub text: String,
    /// The MTU that it told.
    pub mtu: Option<u32>,
}

/// Sends `count` echo requests, with further options of ping(8) such as `&["-t", "1"]` or
/// `&["-M", "do", "-s", "1472"]`.
pub fn ping<'host>(
    client: impl Into<Client<'host>>,
    to: IpAddr,
    count: u32,
    options: &[&str],
) -> Result<PingResult> {
    let Client { namespace, source } = client.into();
    let (to, count) = (to.to_string(), count.to_string());
    let source = source.map(|source| source.to_string());
    // A tenth of a second between requests, and one for the last reply.
    let mut command = vec!["ping", "-n", "-c", &count, "-i", "0.1", "-W", "1"];
    if let Some(source) = &source {
        command.extend(["-I", source]);
    }
    command.extend(options);
    command.push(&to);
    let output = namespace.run_within(&command, 2 * PATIENCE)?;
    parse_ping(&output).with_context(|| format!("reading: {output:?}"))
}

fn parse_ping(output: &Output) -> Result<PingResult> {
    let mut result = PingResult::default();
    let mut counted = false;
    for line in output.stdout.lines().chain(output.stderr.lines()) {
        if let Some((sent, rest)) = line.split_once(" packets transmitted, ") {
            let (received, _) = rest.split_once(" received").context("nothing is received")?;
            (result.sent, result.received) = (sent.parse()?, received.parse()?);
            counted = true;
        } else if let Some(rest) = line.strip_prefix("From ") {
            result.errors.push(IcmpError {
                from: Some(first_address(rest)?),
                text: rest.split_once("icmp_seq=").and_then(after_word).unwrap_or(rest).into(),
                mtu: mtu(rest),
            });
        } else if let Some(rest) = line.strip_prefix("ping: ") {
            result.errors.push(IcmpError { from: None, text: rest.into(), mtu: mtu(rest) });
        }
    }
    anyhow::ensure!(counted, "there is no summary");
    Ok(result)
}

/// What follows the number after `icmp_seq=`.
fn after_word<'text>((_, rest): (&'text str, &'text str)) -> Option<&'text str> {
    rest.split_once(' ').map(|(_, text)| text)
}

/// "Frag needed and DF set (mtu = 1400)", "Packet too big: mtu=1400", "message too long, mtu: 1400"
fn mtu(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("mtu")?;
    let number = rest.trim_start_matches([' ', '=', ':']);
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// One step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who answered, if anybody did.
    pub from: Option<IpAddr>,
    /// What is marked: "!H", "!N", "!X".
    pub mark: Option<String>,
}

/// The hops on the way to `to`, eight at most, with further options of traceroute(8) such as
/// `&["-I"]`.
pub fn traceroute<'host>(
    client: impl Into<Client<'host>>,
    to: IpAddr,
    options: &[&str],
) -> Result<Vec<Hop>> {
    let Client { namespace, source } = client.into();
    let (to, source) = (to.to_string(), source.map(|source| source.to_string()));
    let mut command = vec!["traceroute", "-n", "-q", "1", "-w", "1", "-m", "8"];
    if let Some(source) = &source {
        command.extend(["-s", source]);
    }
    command.extend(options);
    command.push(&to);
    let text = namespace.run_within(&command, 2 * PATIENCE + Duration::from_secs(10))?.ok()?;
    // The first line is a heading; "1  *" and "1  10.0.0.1  0.1 ms !X" follow.
    Ok(text.lines().skip(1).map(parse_hop).collect())
}

/// The MTU of the whole way to `to`, as tracepath(8) finds it out by UDP from `port` on.
pub fn tracepath(from: &Namespace, to: IpAddr, port: u16) -> Result<u32> {
    let (to, port) = (to.to_string(), port.to_string());
    let command = ["tracepath", "-n", "-m", "8", "-p", &port, &to];
    let text = from.run_within(&command, 4 * PATIENCE)?.ok()?;
    // The last line: "Resume: pmtu 1400 hops 2 back 2".
    let found = text.lines().last().and_then(|line| line.split_once("Resume: pmtu "));
    let number = found.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    number.with_context(|| format!("tracepath says: {text}"))
}

fn parse_hop(line: &str) -> Hop {
    let mark = line.split_whitespace().find(|word| word.starts_with('!'));
    Hop { from: first_address(line).ok(), mark: mark.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn parsed(stdout: &str) -> PingResult {
        let output = Output {
            command: "ping".into(),
            status: ExitStatus::from_raw(0),
            stdout: stdout.into(),
            stderr: String::new(),
        };
        parse_ping(&output).expect("parses")
    }

    #[test]
    fn errors_keep_their_sender_and_mtu() {
        let result = parsed(
            "PING 10.2.0.5 (10.2.0.5) 1472(1500) bytes of data.\n\
             From 10.1.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)\n\
             From fd00::1 icmp_seq=2 Packet too big: mtu=1300\n\
             From 10.1.0.1: icmp_seq=3 Redirect Host(New nexthop: 10.1.0.2)\n\
             ping: local error: message too long, mtu: 1280\n\n\
             --- 10.2.0.5 ping statistics ---\n\
             3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 0ms\n",
        );
        assert_eq!((result.sent, result.received), (3, 0));
        let [frag, big, redirect, local] = &result.errors[..] else { panic!("{result:?}") };
        assert_eq!(frag.from, Some([10, 1, 0, 1].into()));
        assert_eq!(
            (frag.text.as_str(), frag.mtu),
            ("Frag needed and DF set (mtu = 1400)", Some(1400))
        );
        assert_eq!((big.from, big.mtu), ("fd00::1".parse().ok(), Some(1300)));
        assert_eq!((redirect.from, redirect.mtu), (Some([10, 1, 0, 1].into()), None));
        assert_eq!((local.from, local.mtu), (None, Some(1280)));
    }

    #[test]
    fn hops_are_addresses_or_silence() {
        let hop = parse_hop(" 2  10.1.0.1  0.034 ms !X");
        assert_eq!(hop, Hop { from: Some([10, 1, 0, 1].into()), mark: Some("!X".into()) });
        assert_eq!(parse_hop(" 3  *"), Hop { from: None, mark: None });
    }
}
