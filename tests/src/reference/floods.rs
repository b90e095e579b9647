//! Who gets a broadcast or multicast frame? README, "Broadcast and multicast" and "DHCP".
//!
//! Its rate is not judged: whoever asks lets enough time go by, and a stop for the rate is
//! wrong then.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use dataplane_common::Stop;
use dataplane_user::model::{AttachmentIx, NetworkIx, Port, PortIx};
use ipnetwork::IpNetwork;

use super::{Dhcp, Party, Question, Reference, Traffic};
use crate::build::ip;

/// A packet in a frame to a group of stations.
#[derive(Clone, Copy, Debug)]
pub struct Shout {
    /// What it says; it has no one station.
    pub question: Question,
    /// The group's MAC.
    pub station: [u8; 6],
}

/// What becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flood {
    /// Everything that is wrong with it.
    pub stops: BTreeSet<Stop>,
    /// Where a copy goes, if nothing is.
    pub copies: BTreeSet<AttachmentIx>,
}

/// Whose rules are asked?
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Both ends'.
    Ruled,
    /// Nobody's.
    All,
    /// Nobody's, and it is for DHCP servers.
    Servers,
}

impl Reference<'_> {
    /// Where copies of the frame go.
    #[must_use]
    pub fn flood(&self, shout: &Shout) -> Flood {
        let question = &shout.question;
        let Party::Port(ix) = question.from else {
            // Only ports speak to many.
            return Flood { stops: BTreeSet::from([Stop::Multicast]), copies: BTreeSet::new() };
        };
        let port = &self.site.ports[ix];
        let whom = whom(question);
        let mut stops = self.source(question);
        if question.src.is_unspecified() && has_no_address_yet(question, whom) {
            stops.remove(&Stop::MartianSource);
            stops.remove(&Stop::SpoofedAddress);
        }
        if self.group_mac(port.network, question.dst) != Some(shout.station) {
            stops.insert(Stop::WrongStation);
        }
        if whom == For::Ruled && !self.may_leave(question, None) {
            stops.insert(Stop::EgressDenied);
        }
        let copies = self.others(ix, |other, of| match whom {
            For::Ruled => self.may_enter(question, Party::Port(other)),
            For::All => true,
            For::Servers => of.dhcp_server,
        });
        if copies.is_empty() {
            stops.insert(Stop::Multicast);
        }
        Flood { stops, copies }
    }

    /// The attachments of the network's ports of which one takes it, without the sender's.
    pub(super) fn others(
        &self,
        sender: PortIx,
        takes: impl Fn(PortIx, &Port) -> bool,
    ) -> BTreeSet<AttachmentIx> {
        let own = &self.site.ports[sender];
        let others = self.site.ports.iter().filter(|(ix, other)| {
            other.network == own.network && other.attachment != own.attachment && takes(*ix, other)
        });
        others.map(|(_, other)| other.attachment).collect()
    }

    /// The MAC that a frame to this group has (RFC 1112 section 6.4, RFC 2464 section 7);
    /// `None`: it is no group in this network.
    fn group_mac(&self, network: NetworkIx, dst: IpAddr) -> Option<[u8; 6]> {
        match dst {
            IpAddr::V6(v6) => {
                let [.., a, b, c, d] = v6.octets();
                v6.is_multicast().then_some([0x33, 0x33, a, b, c, d])
            }
            IpAddr::V4(v4) if v4.is_multicast() => {
                let [_, b, c, d] = v4.octets();
                Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V4(v4) => {
                let mut subnets = self.site.networks[network].subnets.iter();
                let is_broadcast = v4 == Ipv4Addr::BROADCAST
                    || subnets.any(|subnet| match subnet.prefix {
                        IpNetwork::V4(prefix) => prefix.prefix() < 31 && prefix.broadcast() == v4,
                        IpNetwork::V6(_) => false,
                    });
                is_broadcast.then_some([0xff; 6])
            }
        }
    }
}

fn whom(question: &Question) -> For {
    match (question.dhcp(), question.traffic) {
        (Some(Dhcp::Question), _) => For::Servers,
        (Some(Dhcp::Answer), _) => For::All,
        (None, Traffic::Listener { kind }) if is_listeners(question, kind) => For::All,
        _ => For::Ruled,
    }
}

/// Listener messages come from a link-local address, and reports from nobody yet (RFC 3590);
/// whoever is done tells routers, and reports of the second version go to a group of their own.
fn is_listeners(question: &Question, kind: u8) -> bool {
    let IpAddr::V6(src) = question.src else { return false };
    let is_report = matches!(kind, 131 | 143);
    let is_for_it = match kind {
        132 => question.dst == ip("ff02::2"),
        143 => question.dst == ip("ff02::16"),
        _ => true,
    };
    is_for_it && (src.is_unicast_link_local() || is_report && src.is_unspecified())
}

/// A client asks for its first address, and listens before it has one.
fn has_no_address_yet(question: &Question, whom: For) -> bool {
    match whom {
        For::Ruled => false,
        For::All => true,
        For::Servers => question.dst.is_ipv4(),
    }
}
