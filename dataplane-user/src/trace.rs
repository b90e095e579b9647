//! Why does this packet (not) pass? The question becomes a frame, the loaded
//! program's twin runs on it, and its notes become sentences.

mod captured;
mod host;
mod sender;
mod tell;

use std::net::IpAddr;

use dataplane_common::table::{AttachmentKey, LocationKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    address::{addr, ip},
    compile::{Compiled, ids::Kind},
    frame::{self, Payload},
    model::Site,
    neighbour,
    view::Step,
};

pub use captured::{captured, first_segment};
use host::Host;
pub use tell::tell;

/// A packet to ask about.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub enum Question {
    /// Described by its ends and ports.
    Described(Described),
    /// A frame as it was captured, and where it comes in.
    Captured {
        /// The interface.
        interface: String,
        /// The VLAN it is tagged with, if the frame does not say so itself.
        #[serde(default)]
        vlan: Option<u16>,
        /// The service VLAN before it, likewise; only together with `vlan`.
        #[serde(default)]
        service_vlan: Option<u16>,
        /// The frame, from the Ethernet header on.
        frame: Vec<u8>,
    },
}

/// A packet described by its ends and ports.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
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
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
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
    #[error("--from {source_address} and --to {to} are not of one family, IPv4 or IPv6")]
    Families {
        /// From.
        source_address: IpAddr,
        /// To.
        to: IpAddr,
    },
    /// Nothing is plugged in there.
    #[error("interface {interface:?} has no {vlans} in the site; it has: {known}")]
    NoAttachment {
        /// The interface.
        interface: String,
        /// The VLANs, as [`frame::named`].
        vlans: String,
        /// What is plugged in.
        known: String,
    },
    /// The frame says otherwise.
    #[error("the frame itself is tagged with {own}, and {given} is asked for")]
    OwnTag {
        /// In the frame, as [`frame::named`].
        own: String,
        /// Beside it.
        given: String,
    },
}

/// A frame and where it comes in.
#[derive(Debug, PartialEq)]
pub struct Frame {
    /// The interface and VLANs.
    pub at: AttachmentKey,
    /// The frame, tagged in place.
    pub bytes: Vec<u8>,
    /// What led to it.
    pub steps: Vec<Step>,
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
        .find(|(_, attachment)| attachment.id == u32::from(hop.attachment))
        .map(|(key, _)| *key)
        .unwrap_or_default();
    let host = Host::of(model, site, sender, source);
    let src_mac = host.as_ref().map_or(hop.dst, |host| host.mac);
    let subnets = host.as_ref().map_or(&[][..], |host| &host.subnets);
    let next = host.as_ref().and_then(|host| host.next(described.to));
    let dst_mac = match (host::group_mac(described.to, subnets), next) {
        (Some(group), _) => group,
        (None, None) => hop.src,
        (None, Some(next)) => {
            let key = LocationKey { addr: addr(next), zone: endpoint.network, zero: 0 };
            let Some(location) = site.image.locations.get(&key) else {
                let bytes = neighbour::ask(
                    &neighbour::Question {
                        interface: String::new(),
                        vlans: at.vlan,
                        mac: src_mac,
                        own: source,
                        target: next,
                    },
                    None,
                );
                return Ok(Frame { at, bytes, steps: vec![host::asks(next, described.to)] });
            };
            location.mac
        }
    };
    let bytes = frame::build(&frame::Headers {
        src_mac,
        dst_mac,
        vlans: at.vlan,
        src: source,
        dst: described.to,
        ttl: described.ttl,
        payload: described.payload,
    });
    Ok(Frame { at, bytes, steps: Vec::new() })
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

    fn question(from: Sender, to: &str) -> Described {
        let payload = Payload::Udp { src: 1, dst: 2 };
        Described { from, source: None, to: to.parse().unwrap(), payload, ttl: 64 }
    }

    fn compiled(text: &str) -> (Site, Compiled) {
        let site = check::check(text).site.unwrap();
        let compiled = compile::compile(&site, &Facts::default(), &Compiled::default());
        (site, compiled)
    }

    fn ask(text: &str, name: &str) -> Result<Frame, Error> {
        let (site, compiled) = compiled(text);
        frame(&site, &compiled, &question(Sender::Line(name.to_owned()), "10.10.0.10"))
    }

    const DEMO: &str = include_str!("../../examples/demo.yaml");

    /// Blue's web server is 192.0.2.2 in a /28, and 2001:db8:1::2.
    fn from_port(port: &str, to: &str) -> Frame {
        let (site, compiled) = compiled(DEMO);
        frame(&site, &compiled, &question(Sender::Port(port.to_owned()), to)).unwrap()
    }

    #[test]
    fn a_group_is_sent_to_by_its_mac() {
        for (to, mac) in [
            ("224.0.0.1", [1, 0, 0x5e, 0, 0, 1]),
            ("239.255.129.2", [1, 0, 0x5e, 0x7f, 0x81, 2]),
            ("255.255.255.255", [0xff; 6]),
            ("192.0.2.15", [0xff; 6]),
            ("ff02::1:ff00:7", [0x33, 0x33, 0xff, 0, 0, 7]),
        ] {
            let frame = from_port("blue/web", to);
            assert_eq!(frame.bytes[..6], mac, "{to}");
            assert_eq!(frame.steps, []);
        }
        // Another network's broadcast is an address like others.
        let macs =
            ["10.0.0.255", "10.0.0.254"].map(|to| from_port("blue/web", to).bytes[..6].to_vec());
        assert_eq!(macs[0], macs[1]);
        let (site, compiled) = compiled(DEMO);
        let mut described = question(Sender::Uplink("internet".to_owned()), "224.0.0.251");
        described.source = Some([203, 0, 113, 7].into());
        let frame = frame(&site, &compiled, &described).unwrap();
        assert_eq!(frame.bytes[..6], [1, 0, 0x5e, 0, 0, 0xfb]);
    }

    #[test]
    fn a_neighbour_that_nobody_is_is_asked_for() {
        for (to, packet) in [
            ("192.0.2.9", "arp who-has 192.0.2.9 tell 192.0.2.2"),
            ("2001:db8:1::9", "icmpv6 2001:db8:1::2 > ff02::1:ff00:9 who-has 2001:db8:1::9"),
            ("fe80::9", "icmpv6 2001:db8:1::2 > ff02::1:ff00:9 who-has fe80::9"),
        ] {
            let frame = from_port("blue/web", to);
            assert_eq!(frame::describe(&frame.bytes), packet);
            assert!(
                frame.steps[0]
                    .decision
                    .starts_with(&format!("{to} is on the sender's own link, and"))
            );
        }
        for to in ["192.0.2.1", "10.0.0.77", "192.0.2.2"] {
            assert_eq!(from_port("blue/web", to).steps, [], "{to}");
        }
        // A network without a router has a gateway all the same, but it may be nobody.
        let (site, compiled) = compiled(
            "{version: 1, tenants: [{name: t, networks: [{name: n, subnets: [{cidr: 10.9.0.0/24}]}], \
             ports: [{name: p, network: n, interface: i, mac: 02:00:00:00:00:01, fixed_ips: [10.9.0.5]}]}]}",
        );
        let described = question(Sender::Port("p".to_owned()), "192.0.2.2");
        let frame = frame(&site, &compiled, &described).unwrap();
        assert_eq!(frame::describe(&frame.bytes), "arp who-has 10.9.0.1 tell 10.9.0.5");
        assert!(
            frame.steps[0]
                .decision
                .starts_with("10.9.0.1 is on the sender's own link as the gateway")
        );
    }

    #[test]
    fn a_pair_of_another_mac_is_sent_from_by_that_mac() {
        let pair =
            "allowed_address_pairs: [{ip_address: 192.0.2.7, mac_address: \"02:00:00:00:00:77\"}]";
        let text = DEMO.replace(
            "        security_groups: [web]\n",
            &format!("        security_groups: [web]\n        {pair}\n"),
        );
        assert_ne!(text, DEMO);
        let (site, compiled) = compiled(&text);
        let mut described = question(Sender::Port("blue/web".to_owned()), "192.0.2.1");
        let mac = |described: &Described| {
            frame(&site, &compiled, described).unwrap().bytes[6..12].to_vec()
        };
        assert_ne!(mac(&described), [2, 0, 0, 0, 0, 0x77]);
        described.source = Some([192, 0, 2, 7].into());
        assert_eq!(mac(&described), [2, 0, 0, 0, 0, 0x77]);
    }

    #[test]
    fn a_line_is_known_by_any_spelling_of_its_number_or_by_its_name() {
        let text = include_str!("../../examples/mec-direct.yaml");
        let names = ["+819012345601", "090-1234-5601", "mobile/09012345601", "robot-1"];
        let frames: Vec<_> = names.into_iter().map(|name| ask(text, name).unwrap()).collect();
        assert!(frames.iter().all(|frame| *frame == frames[0]));
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
