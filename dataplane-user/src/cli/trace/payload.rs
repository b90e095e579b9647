//! What does the described packet carry?
//!
//! A flag that means nothing for the protocol is refused: who gave it expects an answer to
//! another question.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use clap::Args;
use dataplane_common::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

use crate::{cli::number::number, frame::Payload, protocol};

#[derive(Args, Default)]
#[command(next_help_heading = super::PACKET)]
pub struct Carried {
    /// The protocol, by name (tcp, udp, icmp, sctp, gre, …) or number; icmp to an IPv6 address is
    /// ICMPv6
    #[arg(long, value_name = "PROTOCOL", default_value = "icmp", conflicts_with = "pcap")]
    proto: String,
    /// Source port of tcp, udp, sctp, dccp or udplite [default: 40000]
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with = "pcap",
        value_parser = number("a port", 0..=u16::MAX)
    )]
    sport: Option<u16>,
    /// Destination port, which those need
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with = "pcap",
        value_parser = number("a port", 0..=u16::MAX)
    )]
    dport: Option<u16>,
    /// Flags of tcp, a letter each: S (SYN), A (ACK), F (FIN), R (RST), P (PSH), U (URG)
    /// [default: S]
    #[arg(long, value_name = "LETTERS", conflicts_with = "pcap")]
    flags: Option<String>,
    /// Type of icmp [default: 8 or 128, an echo request]
    #[arg(
        long,
        value_name = "TYPE",
        conflicts_with = "pcap",
        value_parser = number("a type of ICMP", 0..=u8::MAX)
    )]
    icmp_type: Option<u8>,
    /// Code of icmp [default: 0]
    #[arg(
        long,
        value_name = "CODE",
        conflicts_with = "pcap",
        value_parser = number("a code of ICMP", 0..=u8::MAX)
    )]
    icmp_code: Option<u8>,
    /// Identifier of an icmp query, which its reply repeats [default: 40000]
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "pcap",
        value_parser = number("an identifier", 0..=u16::MAX)
    )]
    icmp_id: Option<u16>,
}

/// The port or identifier of a sender that was given none.
const SPORT: u16 = 40_000;

const PORTS: [&str; 2] = ["--sport", "--dport"];
const TCP_FLAGS: [&str; 1] = ["--flags"];
const ICMPS: [&str; 3] = ["--icmp-type", "--icmp-code", "--icmp-id"];

impl Carried {
    /// As a packet to that address has it.
    pub fn payload(&self, to: IpAddr) -> anyhow::Result<Payload> {
        let number = protocol::number(&self.proto).with_context(|| {
            let names = protocol::names();
            format!("--proto {:?} is no protocol; give 0 to 255, or one of {names}", self.proto)
        })?;
        let is_icmp = number == ICMP || number == ICMPV6;
        self.mean_something(number, is_icmp)?;
        if is_icmp {
            ensure!(
                number == ICMP || to.is_ipv6(),
                "--proto {} does not go to the IPv4 address {to}; give icmp",
                self.proto
            );
            return Ok(Payload::Icmp {
                kind: self.icmp_type.unwrap_or(if to.is_ipv4() { 8 } else { 128 }),
                code: self.icmp_code.unwrap_or(0),
                id: self.icmp_id.unwrap_or(SPORT),
            });
        }
        if !protocol::has_ports(number) {
            return Ok(Payload::Other { protocol: number });
        }
        let src = self.sport.unwrap_or(SPORT);
        let dst = self.dport.with_context(|| {
            format!("{} packets go to a port; give --dport", protocol::name(number))
        })?;
        Ok(match number {
            TCP => Payload::Tcp { src, dst, flags: tcp_flags(self.flags.as_deref())? },
            UDP => Payload::Udp { src, dst },
            _ => Payload::Ports { protocol: number, src, dst },
        })
    }

    /// Refuses flags of other protocols.
    fn mean_something(&self, number: u8, is_icmp: bool) -> anyhow::Result<()> {
        let given = [
            (PORTS[0], self.sport.is_some()),
            (PORTS[1], self.dport.is_some()),
            (TCP_FLAGS[0], self.flags.is_some()),
            (ICMPS[0], self.icmp_type.is_some()),
            (ICMPS[1], self.icmp_code.is_some()),
            (ICMPS[2], self.icmp_id.is_some()),
        ];
        let good: Vec<&str> = match number {
            _ if is_icmp => ICMPS.to_vec(),
            TCP => [PORTS.as_slice(), &TCP_FLAGS].concat(),
            _ if protocol::has_ports(number) => PORTS.to_vec(),
            _ => Vec::new(),
        };
        let Some((wrong, _)) = given.iter().find(|(flag, is)| *is && !good.contains(flag)) else {
            return Ok(());
        };
        let good = if good.is_empty() { "none".to_owned() } else { good.join(", ") };
        let name = protocol::name(number);
        bail!("{wrong} means nothing for protocol {name} (--proto); of its own it has {good}")
    }
}

/// A segment that opens a connection unless it is said otherwise.
fn tcp_flags(letters: Option<&str>) -> anyhow::Result<u8> {
    let letters = letters.unwrap_or("S");
    letters.chars().try_fold(0, |flags, letter| {
        Ok(flags
            | match letter.to_ascii_uppercase() {
                'F' => 0x01,
                'S' => 0x02,
                'R' => 0x04,
                'P' => 0x08,
                'A' => 0x10,
                'U' => 0x20,
                _ => bail!(
                    "--flags {letters:?}: {letter:?} is no TCP flag; the letters are S A F R P U"
                ),
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(change: impl FnOnce(&mut Carried), to: &str) -> Result<Payload, String> {
        let mut options = Carried { proto: "icmp".to_owned(), ..Carried::default() };
        change(&mut options);
        options.payload(to.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_numbers_are_the_same() {
        let carried = |proto: &str, dport| {
            let proto = proto.to_owned();
            payload(|options| *options = Carried { proto, dport, ..Carried::default() }, "10.0.0.1")
        };
        for (name, number) in
            [("tcp", "6"), ("udp", "17"), ("sctp", "132"), ("dccp", "33"), ("udplite", "136")]
        {
            assert_eq!(carried(name, Some(80)).unwrap(), carried(number, Some(80)).unwrap());
            let error = format!("{name} packets go to a port; give --dport");
            assert_eq!(carried(number, None), Err(error));
        }
        assert_eq!(carried("6", Some(80)), Ok(Payload::Tcp { src: SPORT, dst: 80, flags: 2 }));
        let sctp = Payload::Ports { protocol: 132, src: SPORT, dst: 80 };
        assert_eq!(carried("132", Some(80)), Ok(sctp));
        assert_eq!(carried("1", None), Ok(Payload::Icmp { kind: 8, code: 0, id: SPORT }));
        assert_eq!(carried("gre", None), Ok(Payload::Other { protocol: 47 }));
        let v6 = payload(|options| options.proto = "58".to_owned(), "2001:db8::1");
        assert_eq!(v6, Ok(Payload::Icmp { kind: 128, code: 0, id: SPORT }));
        assert_eq!(v6, payload(|_| (), "2001:db8::1"));
        let error = carried("icmpv6", None).unwrap_err();
        assert_eq!(error, "--proto icmpv6 does not go to the IPv4 address 10.0.0.1; give icmp");
        let error = carried("tpc", None).unwrap_err();
        assert!(error.starts_with("--proto \"tpc\" is no protocol; give 0 to 255, or one of icmp"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let refused = |proto: &str, change: fn(&mut Carried)| {
            let change = |options: &mut Carried| {
                options.proto = proto.to_owned();
                change(options);
            };
            payload(change, "10.0.0.1").unwrap_err()
        };
        for (error, wanted) in [
            (
                refused("icmp", |options| options.dport = Some(80)),
                "--dport means nothing for protocol icmp (--proto); of its own it has --icmp-type, --icmp-code, --icmp-id",
            ),
            (
                refused("17", |options| options.flags = Some("S".to_owned())),
                "--flags means nothing for protocol udp (--proto); of its own it has --sport, --dport",
            ),
            (
                refused("tcp", |options| options.icmp_type = Some(8)),
                "--icmp-type means nothing for protocol tcp (--proto); of its own it has --sport, --dport, --flags",
            ),
            (
                refused("47", |options| options.sport = Some(1)),
                "--sport means nothing for protocol gre (--proto); of its own it has none",
            ),
            (
                refused("tcp", |options| {
                    (options.dport, options.flags) = (Some(80), Some("SX".to_owned()));
                }),
                "--flags \"SX\": 'X' is no TCP flag; the letters are S A F R P U",
            ),
        ] {
            assert_eq!(error, wanted);
        }
    }
}
