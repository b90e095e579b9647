//! Why does this packet (not) pass? The question becomes a frame, the loaded
//! program's twin runs on it, and its notes become sentences.

mod sender;
mod tell;

use std::net::IpAddr;

use dataplane_common::table::{AttachmentKey, LocationKey, attachment_kind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    address::{addr, ip},
    compile::{Compiled, ids::Kind},
    frame::{self, Payload},
    model::Site,
};

pub use tell::tell;

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
    let sender = sender::endpoint(model, site, &described.from)?;
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
