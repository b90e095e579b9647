//! Why does this packet (not) pass? The question becomes a frame, the loaded
//! program's twin runs on it, and its notes become sentences.

use std::net::IpAddr;

use dataplane_common::{
    Stop,
    stage::conntrack::state,
    table::{
        AttachmentKey, LocationKey, attachment_kind,
        flow::{action, status},
    },
    tables::{Note, note},
    work::job,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    address::{addr, ip},
    compile::{Compiled, ids::Kind, line_name},
    frame::{self, Payload},
    model::{Line, Number, Site},
    view::{Step, Trace},
};

/// A packet to ask about.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Question {
    /// Described by its ends and ports.
    Described(Described),
    /// A frame as it was captured, and where it comes in.
    Captured {
        /// The interface.
        interface: String,
        /// The VLAN it is tagged with beside the frame; 0: none.
        vlan: u16,
        /// The frame, from the Ethernet header on.
        frame: Vec<u8>,
    },
}

/// A packet described by its ends and ports.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Described {
    /// Who sends.
    pub from: Sender,
    /// The source address; the sender's first of the destination's family if absent.
    pub source: Option<IpAddr>,
    /// The destination.
    pub to: IpAddr,
    /// What it carries.
    pub payload: Payload,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// Who sends a described packet.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Sender {
    /// A port, `tenant/port` or its name alone if no other tenant has one of that name.
    Port(String),
    /// A line by its number in any usual spelling, `access/number` if it comes in at several;
    /// or by its name, `tenant/name` if several tenants have one of that name.
    Line(String),
    /// An uplink; then a source address is needed.
    Uplink(String),
}

/// Why no frame can be made of the question.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The name is nobody's.
    #[error("there is no {kind} {name:?}; there are: {known}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// By which name.
        name: String,
        /// What there is.
        known: String,
    },
    /// Several objects have that name.
    #[error("there are several {kind}s {name:?}; give one of {known}")]
    Ambiguous {
        /// What was looked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// The candidates.
        known: String,
    },
    /// The line has no address to send from.
    #[error("line {name:?} is registered and has no session")]
    NoSession {
        /// The line.
        name: String,
    },
    /// The sender has no address to send from.
    #[error("{sender} has no address of the family of {to}; give one with --from")]
    NoSource {
        /// Who.
        sender: String,
        /// To what.
        to: IpAddr,
    },
    /// The families differ.
    #[error("{source_address} and {to} are not of one family")]
    Families {
        /// From.
        source_address: IpAddr,
        /// To.
        to: IpAddr,
    },
    /// Nothing is plugged in there.
    #[error("no attachment of the site is at interface {interface:?}, VLAN {vlan}")]
    NoAttachment {
        /// The interface.
        interface: String,
        /// The VLAN.
        vlan: u16,
    },
}

/// A frame and where it comes in.
#[derive(Debug, PartialEq)]
pub struct Frame {
    /// The interface and VLAN.
    pub at: AttachmentKey,
    /// Does the program for NICs see it, or that for tenant ports?
    pub is_nic: bool,
    /// The frame, tagged in place.
    pub bytes: Vec<u8>,
}

/// Makes the frame that the sender would send.
pub fn frame(model: &Site, site: &Compiled, described: &Described) -> Result<Frame, Error> {
    let sender = match &described.from {
        Sender::Port(name) => port(site, name)?,
        Sender::Line(name) => line(model, site, name)?,
        Sender::Uplink(name) => by_suffix(site, "uplink", name)?,
    };
    let endpoint = site.image.endpoints[sender as usize];
    let source = match described.source {
        Some(source) => source,
        None => source_of(site, sender, described.to).ok_or_else(|| Error::NoSource {
            sender: site.ids.name(Kind::Endpoint, sender).to_owned(),
            to: described.to,
        })?,
    };
    if source.is_ipv4() != described.to.is_ipv4() {
        return Err(Error::Families { source_address: source, to: described.to });
    }
    let hop = site.image.next_hops[endpoint.next_hop as usize];
    let at = site
        .image
        .attachments
        .iter()
        .find(|(_, attachment)| attachment.id == hop.attachment)
        .map(|(key, _)| *key)
        .unwrap_or_default();
    // Within its network a port knows its neighbours' MACs; everything else goes to the router.
    let key = LocationKey { addr: addr(described.to), zone: endpoint.network, zero: 0 };
    let is_port = matches!(described.from, Sender::Port(_));
    let neighbour = site.image.locations.get(&key).filter(|_| is_port);
    let dst = neighbour.map_or(hop.src, |location| location.mac);
    let bytes = frame::build(&frame::Headers {
        src_mac: hop.dst,
        dst_mac: dst,
        vlan: at.vlan as u16,
        src: source,
        dst: described.to,
        ttl: described.ttl,
        payload: described.payload,
    });
    Ok(Frame { at, is_nic: !is_port, bytes })
}

/// Where a captured frame comes in.
pub fn captured(site: &Compiled, interface: &str, vlan: u16, bytes: &[u8]) -> Result<Frame, Error> {
    let name = crate::compile::attachment_name(interface, vlan);
    let absent = || Error::NoAttachment { interface: interface.to_owned(), vlan };
    let id = site.ids.number(Kind::Attachment, &name).ok_or_else(absent)?;
    let (key, attachment) =
        site.image.attachments.iter().find(|(_, at)| at.id == id).ok_or_else(absent)?;
    let is_nic = attachment.kind != attachment_kind::PORTS;
    Ok(Frame { at: *key, is_nic, bytes: frame::tagged(bytes, vlan) })
}

fn port(site: &Compiled, name: &str) -> Result<u32, Error> {
    if name.contains('/') {
        return by_suffix(site, "port", name);
    }
    let suffix = format!("/{name}");
    let found: Vec<_> = site
        .ids
        .all(Kind::Endpoint)
        .filter(|(known, _)| known.starts_with("port ") && known.ends_with(&suffix))
        .collect();
    match found.as_slice() {
        [(_, number)] => Ok(*number),
        [] => Err(unknown(site, "port", name)),
        several => Err(Error::Ambiguous {
            kind: "port",
            name: name.to_owned(),
            known: listed(several.iter().map(|(known, _)| known["port ".len()..].to_owned())),
        }),
    }
}

fn line(model: &Site, site: &Compiled, name: &str) -> Result<u32, Error> {
    let (access, digits) = name.split_once('/').map_or((None, name), |(a, n)| (Some(a), n));
    let number = Number::parse(digits, model.country_code).ok();
    let is_it = |line: &Line| {
        let tenant = model.tenants[line.tenant].name.as_str();
        let is_named = line.name.as_ref().is_some_and(|own| {
            own.as_str() == digits && access.is_none_or(|named| named == tenant)
        });
        let comes_in = model.accesses[line.access].name.as_str();
        is_named || number == Some(line.number) && access.is_none_or(|named| named == comes_in)
    };
    let found: Vec<_> = model.lines.iter().filter(|(_, line)| is_it(line)).collect();
    match found.as_slice() {
        [(ix, _)] => {
            let endpoint = site.ids.number(Kind::Endpoint, &line_name(model, *ix));
            endpoint.ok_or_else(|| Error::NoSession { name: name.to_owned() })
        }
        [] => {
            let known = model.lines.values().take(KNOWN_MAX).map(|line| shown(model, line));
            Err(Error::Unknown { kind: "line", name: name.to_owned(), known: listed(known) })
        }
        several => {
            let known = several.iter().map(|(_, line)| match &line.name {
                Some(_) if number.is_none() => shown(model, line),
                _ => format!("{}/{digits}", model.accesses[line.access].name),
            });
            Err(Error::Ambiguous { kind: "line", name: name.to_owned(), known: listed(known) })
        }
    }
}

/// A line by its name, or else by its number, of which the middle is nobody's business.
fn shown(model: &Site, line: &Line) -> String {
    let tenant = &model.tenants[line.tenant].name;
    line.name.as_ref().map_or_else(|| line.number.masked(), |name| format!("{tenant}/{name}"))
}

fn by_suffix(site: &Compiled, kind: &'static str, name: &str) -> Result<u32, Error> {
    let is_it =
        |known: &str| known.strip_prefix(kind).is_some_and(|rest| rest.trim_start() == name);
    let found = site.ids.all(Kind::Endpoint).find(|(known, _)| is_it(known));
    found.map(|(_, number)| number).ok_or_else(|| unknown(site, kind, name))
}

fn unknown(site: &Compiled, kind: &'static str, name: &str) -> Error {
    let known = site
        .ids
        .all(Kind::Endpoint)
        .filter_map(|(known, _)| known.strip_prefix(kind))
        .map(|known| known.trim_start().to_owned());
    Error::Unknown { kind, name: name.to_owned(), known: listed(known.take(KNOWN_MAX)) }
}

/// Names that an error lists at most.
const KNOWN_MAX: usize = 20;

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The first whole address that the sender may use, of the destination's family.
fn source_of(site: &Compiled, sender: u32, to: IpAddr) -> Option<IpAddr> {
    let permits = site
        .image
        .permits
        .iter()
        .filter(|(key, bits)| key.endpoint == sender && *bits == 128)
        .map(|(key, _)| key.addr);
    let sessions = site
        .image
        .sessions
        .iter()
        .filter(|(_, _, endpoint)| *endpoint == sender)
        .map(|(key, _, _)| key.addr);
    permits
        .chain(sessions)
        .find(|addr| addr.is_v4() == to.is_ipv4() && !addr.is_link_local())
        .map(ip)
}

/// The program's notes as sentences.
#[must_use]
pub fn tell(site: &Compiled, packet: String, notes: &[Note]) -> Trace {
    let steps = notes.iter().filter_map(|note| step(site, note)).collect();
    let last =
        notes.iter().rev().find(|note| matches!(note.what, note::EMIT | note::STOP | note::HEARD));
    let stop = notes
        .iter()
        .find(|note| note.what == note::STOP)
        .map(|note| Stop::from_number(note.id).name().to_owned());
    let is_answered = notes.iter().any(|note| note.what == note::ANSWER);
    let verdict = match last.map(|note| note.what) {
        Some(note::EMIT) if stop.is_some() => "stopped, and the sender is told",
        Some(note::EMIT) if is_answered => "answered",
        Some(note::HEARD) => "heard by the daemon",
        Some(note::EMIT) => "forwarded",
        Some(_) => "stopped",
        None => "unknown",
    };
    Trace { packet, steps, verdict: verdict.to_owned(), stop }
}

fn step(site: &Compiled, note: &Note) -> Option<Step> {
    let name = |kind| site.ids.name(kind, note.id).to_owned();
    let rule = |kind: &str| {
        if note.id == 0 {
            format!("not filtered: no {kind} rules apply")
        } else {
            let policy = site.ids.name(Kind::Policy, note.detail);
            format!("permitted by rule {} ({policy})", name(Kind::Rule))
        }
    };
    let (stage, decision) = match note.what {
        note::ATTACHED => ("attach", format!("came in at {}", name(Kind::Attachment))),
        note::SENDER => {
            let zone = site.ids.name(Kind::Zone, note.detail);
            ("admit", format!("sent by {}, into {zone}", name(Kind::Endpoint)))
        }
        note::FLOW => ("flow", format!("part of a known flow (half {})", flow_state(note))),
        note::NO_FLOW => ("flow", "no known flow".to_owned()),
        note::READMIT => ("flow", "judged anew in the direction that opened it".to_owned()),
        note::ROUTE => ("route", name(Kind::Route)),
        note::RECEIVER => ("route", format!("leads to {}", name(Kind::Endpoint))),
        note::EGRESS => ("filter", format!("egress: {}", rule("egress"))),
        note::INGRESS => ("filter", format!("ingress: {}", rule("ingress"))),
        note::RELATED => ("flow", "an ICMP error about a known flow".to_owned()),
        note::ANSWER => ("answer", answered(note.id).to_owned()),
        note::EMIT => ("emit", format!("leaves by {}", name(Kind::Attachment))),
        note::HEARD => ("answer", "tells the daemon of a MAC".to_owned()),
        note::STOP => {
            let stop = Stop::from_number(note.id);
            ("stop", format!("{}: {}", stop.name(), stop.sentence().trim()))
        }
        note::STATE if note.id == note.detail => return None,
        note::STATE => {
            let (before, after) = (state::name(note.id), state::name(note.detail));
            ("flow", format!("connection: {before} → {after}"))
        }
        _ => return None,
    };
    Some(Step { stage: stage.to_owned(), decision })
}

fn flow_state(note: &Note) -> String {
    let direction = if note.detail & status::REPLY == 0 { "original" } else { "reply" };
    let denied = if note::has_flag(note.detail, action::DENIED) { ", denied" } else { "" };
    format!("{}: {direction}, {}{denied}", note.id, state::name(note.detail & status::STATE))
}

fn answered(what: u32) -> &'static str {
    match what {
        job::ARP => "asked by ARP",
        job::NEIGHBOUR => "asked by neighbour discovery",
        job::ECHO => "an echo request to the router",
        job::ERROR => "the sender is told by an ICMP error",
        _ => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check,
        compile::{self, Facts},
    };

    fn ask(text: &str, name: &str) -> Result<Frame, Error> {
        let site = check::check(text).site.unwrap();
        let compiled = compile::compile(&site, &Facts::default(), &Compiled::default());
        let described = Described {
            from: Sender::Line(name.to_owned()),
            source: None,
            to: IpAddr::from([10, 10, 0, 10]),
            payload: Payload::Udp { src: 1, dst: 2 },
            ttl: 64,
        };
        frame(&site, &compiled, &described)
    }

    #[test]
    fn a_line_is_known_by_any_spelling_of_its_number_or_by_its_name() {
        let text = include_str!("../../examples/mec-direct.yaml");
        let names = ["+819012345601", "090-1234-5601", "mobile/09012345601", "robot-1"];
        let frames: Vec<_> = names.into_iter().map(|name| ask(text, name).unwrap()).collect();
        assert!(frames.iter().all(|frame| *frame == frames[0] && frame.is_nic));
        assert_eq!(ask(text, "factory/robot-1"), Ok(frames.into_iter().next().unwrap()));
        for name in ["090-1234-5605", "office/robot-1", "elsewhere/090-1234-5601", "robot"] {
            let error = ask(text, name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no line {name:?}; there are: factory/")));
            assert!(!error.contains("+8190"), "{error}");
        }
        let last = "  - {access: mobile, number: 090-1234-5601, addresses: [100.64.0.1, \"2001:db8:64:1::/64\"]}\n";
        let error = ask(&text.replace(last, ""), "robot-1").unwrap_err();
        assert_eq!(error, Error::NoSession { name: "robot-1".to_owned() });
    }
}
