//! What is known about an interface?
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than was asked")]

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv6Addr},
};

use dataplane_common::{addr::Mac, table::next_hop::output_kind};
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp},
};

use super::{
    Error,
    hook::{Hooked, Role, Shared},
    netlink::Route,
};

/// An interface of the calling thread's network namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number, until it is gone.
    pub index: u32,
    /// Its MAC, if it has one.
    pub mac: Mac,
    /// What its driver calls itself to the kernel (`veth`, `tun`); empty for hardware.
    pub kind: String,
    /// Where the other end is, if it is one of a pair.
    pub peer: Peer,
    /// The interface that it is a part of, as a VLAN device is.
    pub below: Option<u32>,
    /// Largest packet, bytes.
    pub mtu_bytes: u32,
    /// Is it up?
    pub is_up: bool,
    /// Does it do without ARP?
    pub is_noarp: bool,
    /// Is it a loopback?
    pub is_loopback: bool,
    /// The bridge, bond or VRF that it belongs to.
    pub master: Option<String>,
    /// The XDP program that it has.
    pub xdp_program: Option<u32>,
    /// What the host calls itself there, but for addresses that IPv6 makes by itself.
    pub addresses: Vec<IpAddr>,
}

/// The other end of a veth or netkit pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// It is not one of a pair.
    None,
    /// In this network namespace.
    Here,
    /// In another one.
    Elsewhere,
}

impl Interface {
    /// The interface of this name, which `wanted_by` asks for.
    pub fn find(name: &str, wanted_by: &str) -> Result<Self, Error> {
        Interfaces::look()?.find(name, wanted_by)
    }

    fn read(link: &LinkMessage, names: &HashMap<u32, &str>, addresses: Vec<IpAddr>) -> Self {
        let mut found = Self {
            name: String::new(),
            index: link.header.index,
            mac: Mac::default(),
            kind: String::new(),
            peer: Peer::None,
            below: None,
            mtu_bytes: 0,
            is_up: link.header.flags.contains(LinkFlags::Up),
            is_noarp: link.header.flags.contains(LinkFlags::Noarp),
            is_loopback: link.header.flags.contains(LinkFlags::Loopback),
            master: None,
            xdp_program: None,
            addresses,
        };
        let (mut has_other_end, mut is_elsewhere) = (false, false);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => found.name.clone_from(name),
                LinkAttribute::Address(bytes) => {
                    if let Ok(mac) = <[u8; 6]>::try_from(bytes.as_slice()) {
                        found.mac = Mac(mac);
                    }
                }
                LinkAttribute::Mtu(bytes) => found.mtu_bytes = *bytes,
                LinkAttribute::Link(index) => {
                    has_other_end = true;
                    found.below = Some(*index);
                }
                LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
                LinkAttribute::Controller(index) => {
                    let name = names.get(index).map(|&name| name.to_owned());
                    found.master = Some(name.unwrap_or_else(|| format!("interface {index}")));
                }
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            found.kind = kind.to_string();
                        }
                    }
                }
                LinkAttribute::Xdp(facts) => found.xdp_program = xdp_program(facts),
                _ => {}
            }
        }
        let is_pair = matches!(found.kind.as_str(), "veth" | "netkit");
        if is_pair || is_elsewhere {
            found.below = None;
        }
        if is_pair && has_other_end {
            found.peer = if is_elsewhere { Peer::Elsewhere } else { Peer::Here };
        }
        found
    }

    /// How it is sent to when it is this to us and is attached by that:
    /// [`output_kind`].
    #[must_use]
    pub fn output_kind(&self, role: Role, hooked: Hooked) -> u32 {
        match (hooked, role, self.peer) {
            (Hooked::Xdp, Role::Uplink | Role::Access, _) => output_kind::NIC,
            // A program at the other end of a NIC's cable must see the frame, so only a
            // port's peer is entered directly.
            (_, Role::Port, Peer::Elsewhere) => output_kind::PEER,
            _ => output_kind::DEVICE,
        }
    }

    /// Refuses an interface that is not ours to take, but for what the host shares.
    pub fn check(&self, wanted_by: &str, shared: &Shared) -> Result<(), Error> {
        let (interface, wanted_by) = (self.name.clone(), wanted_by.to_owned());
        if self.is_loopback {
            return Err(Error::Loopback { interface, wanted_by });
        }
        if let Some(master) = self.master.clone() {
            return Err(Error::Master { interface, wanted_by, master });
        }
        self.check_addresses(&wanted_by, shared)
    }

    /// Refuses addresses that the host does not share.
    pub fn check_addresses(&self, wanted_by: &str, shared: &Shared) -> Result<(), Error> {
        let (interface, wanted_by) = (self.name.clone(), wanted_by.to_owned());
        match self.addresses.iter().find(|own| !shared.addresses.contains(own)) {
            Some(&address) => Err(Error::HostAddress { interface, wanted_by, address }),
            None => Ok(()),
        }
    }
}

/// Every interface of the calling thread's network namespace, as it was at one moment.
#[derive(Clone, Default, Debug)]
pub struct Interfaces {
    by_name: BTreeMap<String, Interface>,
}

impl Interfaces {
    /// Asks the kernel.
    pub fn look() -> Result<Self, Error> {
        Self::ask().map_err(|source| Error::Netlink { source })
    }

    fn ask() -> io::Result<Self> {
        let route = Route::open()?;
        let links = route.links()?;
        let names: HashMap<u32, &str> =
            links.iter().filter_map(|link| Some((link.header.index, name_of(link)?))).collect();
        let mut addresses: HashMap<u32, Vec<IpAddr>> = HashMap::new();
        for message in route.addresses()? {
            let own = addresses.entry(message.header.index).or_default();
            own.extend(address(&message));
        }
        let read = |link: &LinkMessage| {
            let own = addresses.get(&link.header.index).cloned().unwrap_or_default();
            Interface::read(link, &names, own)
        };
        let all = links.iter().map(read);
        Ok(Self { by_name: all.map(|found| (found.name.clone(), found)).collect() })
    }

    /// The interface of this name, if it is there. Alternative names, which settings and
    /// pins do not know, are none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Interface> {
        self.by_name.get(name)
    }

    /// The interface of this number, if it is there.
    #[must_use]
    pub fn of_index(&self, index: u32) -> Option<&Interface> {
        self.by_name.values().find(|found| found.index == index)
    }

    /// An interface and all that are a part of it: its VLAN devices, and theirs.
    #[must_use]
    pub fn with_parts(&self, of: &Interface) -> Vec<&Interface> {
        let mut found: Vec<&Interface> =
            self.by_name.values().filter(|other| other.index == of.index).collect();
        let mut next = 0;
        while let Some(below) = found.get(next).map(|below| below.index) {
            let is_new = |other: &&Interface| {
                other.below == Some(below) && found.iter().all(|known| known.index != other.index)
            };
            let above: Vec<_> = self.by_name.values().filter(is_new).collect();
            found.extend(above);
            next += 1;
        }
        found
    }

    /// The interface of this name, which `wanted_by` asks for.
    pub fn find(&self, name: &str, wanted_by: &str) -> Result<Interface, Error> {
        self.get(name).cloned().ok_or_else(|| Error::InterfaceMissing {
            interface: name.into(),
            wanted_by: wanted_by.into(),
            names: similar(name, self.by_name.keys().map(String::as_str)),
        })
    }
}

/// How many packets an interface dropped that it should have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxDropped {
    /// Its number.
    pub ifindex: u32,
    /// Is it a veth?
    pub is_veth: bool,
    /// How many, since it was made.
    pub packets: u64,
}

/// What every interface dropped that it should have sent.
pub fn tx_dropped() -> Result<HashMap<String, TxDropped>, Error> {
    let netlink = |source| Error::Netlink { source };
    let links = Route::open().and_then(|route| route.links()).map_err(netlink)?;
    let of = |link: &LinkMessage| {
        let mut found = TxDropped { ifindex: link.header.index, is_veth: false, packets: 0 };
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::Stats64(counters) => found.packets = counters.tx_dropped,
                LinkAttribute::LinkInfo(infos) => {
                    let veth = LinkInfo::Kind(InfoKind::Veth);
                    found.is_veth = infos.contains(&veth);
                }
                _ => {}
            }
        }
        Some((name_of(link)?.to_owned(), found))
    };
    Ok(links.iter().filter_map(of).collect())
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn xdp_program(facts: &[LinkXdp]) -> Option<u32> {
    facts.iter().find_map(|fact| match fact {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) if *id != 0 => {
            Some(*id)
        }
        _ => None,
    })
}

/// An address of an interface, but for IPv6 link-local ones: those go when IPv6 is
/// switched off there.
fn address(message: &AddressMessage) -> Option<IpAddr> {
    // On a link between two hosts `Address` is the other one's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(local) => Some(*local),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    });
    address.filter(|address| !matches!(address, IpAddr::V6(address) if is_link_local(address)))
}

fn is_link_local(address: &Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Names that may have been meant, the likeliest first.
fn similar<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    const NAMES: usize = 3;
    let mut near: Vec<_> = names
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|&(distance, _)| distance <= wanted.len().div_ceil(2))
        .collect();
    near.sort_unstable();
    near.into_iter().take(NAMES).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_offered() {
        let names = ["lo", "eth0", "eth1", "tap-blue-a", "tap-blue-b"];
        assert_eq!(similar("eht0", names.into_iter()), ["eth0", "eth1"]);
        assert_eq!(similar("tap-blue-c", names.into_iter()), ["tap-blue-a", "tap-blue-b"]);
        assert!(similar("wlan7", names.into_iter()).is_empty());
    }

    #[test]
    fn a_missing_interface_names_who_wants_it() {
        let refusal = Interface::find("no-such-if", "uplink internet").expect_err("missing");
        assert!(
            refusal.to_string().starts_with("uplink internet: there is no interface no-such-if")
        );
    }

    #[test]
    fn a_name_that_cannot_be_is_a_missing_interface() {
        for name in ["", "sixteen-letters-"] {
            let refusal = Interface::find(name, "a test");
            assert!(matches!(refusal, Err(Error::InterfaceMissing { .. })), "{refusal:?}");
        }
    }

    #[test]
    fn the_loopback_is_refused() {
        let lo = Interface::find("lo", "port blue/a").expect("every namespace has one");
        assert_eq!((lo.name.as_str(), lo.index, lo.peer), ("lo", 1, Peer::None));
        assert!(matches!(lo.check("port blue/a", &Shared::default()), Err(Error::Loopback { .. })));
    }

    #[test]
    fn what_is_sent_how() {
        let mut found = Interface::find("lo", "a test").unwrap();
        for (role, hooked, peer, kind) in [
            (Role::Uplink, Hooked::Xdp, Peer::None, output_kind::NIC),
            (Role::Uplink, Hooked::Tcx, Peer::Elsewhere, output_kind::DEVICE),
            (Role::Access, Hooked::Xdp, Peer::Elsewhere, output_kind::NIC),
            (Role::Port, Hooked::Tcx, Peer::Elsewhere, output_kind::PEER),
            (Role::Port, Hooked::Tcx, Peer::Here, output_kind::DEVICE),
            (Role::Port, Hooked::Tcx, Peer::None, output_kind::DEVICE),
            (Role::Port, Hooked::Xdp, Peer::Elsewhere, output_kind::PEER),
        ] {
            found.peer = peer;
            assert_eq!(found.output_kind(role, hooked), kind, "{role:?} {hooked:?} {peer:?}");
        }
    }
}
