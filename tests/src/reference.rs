//! What does a site mean? A plain model of it, written from what is promised and not
//! from the compiler or the stages: linear rules, linear longest prefix, plain lists.
//!
//! For a packet it names everything that is wrong with it. The product has to stop the
//! packet for one of these reasons (in which order it looks is its own affair), or to
//! deliver it if there is none.

mod borders;
mod claims;
mod early;
mod floods;
mod host;
mod judge;
mod limits;
mod routes;
mod rules;
mod tags;

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane_common::Stop;
use dataplane_user::model::{LineIx, Mac, PortIx, Site, UplinkIx};

pub use self::{
    claims::{Announcement, Claim},
    early::Early,
    floods::{Flood, Shout},
    judge::link_local,
    limits::{Buckets, Load, Room},
    tags::{CUSTOMER, SERVICE},
};

/// The meaning of a site.
#[derive(Clone, Copy)]
pub struct Reference<'s> {
    site: &'s Site,
    claims: &'s [Claim],
}

/// Who sends or receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// A server's port.
    Port(PortIx),
    /// A line with its session.
    Line(LineIx),
    /// Somebody outside.
    Uplink(UplinkIx),
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Who sends it.
    pub from: Party,
    /// A port's source MAC.
    pub mac: Option<Mac>,
    /// The station that a port's frame is addressed to; `None`: the router.
    pub station: Option<Mac>,
    /// The source.
    pub src: IpAddr,
    /// The destination.
    pub dst: IpAddr,
    /// What it carries.
    pub traffic: Traffic,
}

/// What a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// TCP or UDP.
    Ports {
        /// The protocol.
        protocol: u8,
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// An ICMP or ICMPv6 query or reply.
    Query {
        /// The type.
        kind: u8,
        /// The identifier.
        id: u16,
    },
    /// An ICMP or ICMPv6 error of this type and code 1.
    Error {
        /// The type.
        kind: u8,
    },
    /// A listener's message (MLD) of this type.
    Listener {
        /// The type.
        kind: u8,
    },
    /// A protocol without ports.
    Bare(u8),
}

/// What may become of a packet, by whom it may go to: several where flows are spread
/// over next hops.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Who receives it, by which MAC; `None`: nobody.
    pub receiver: Option<(Party, Option<Mac>)>,
    /// Everything that is wrong with it.
    pub stops: BTreeSet<Stop>,
    /// It is for a router or for our end of a link.
    pub is_ours: bool,
    /// It goes up to the host that shares the link.
    pub is_hosts: bool,
}

/// How rules are asked of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Both ends', as of a first packet.
    Both,
    /// Those of the ends whose groups are stateless, as of an answer on a flow.
    Stateless,
}

/// How a flow between two ends is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Answers pass.
    Stateful,
    /// Answers pass by the rules of the stateless end.
    Half,
    /// Not at all: each packet is a first packet.
    Not,
}

impl<'s> Reference<'s> {
    /// Of this site, where ports announced these addresses.
    #[must_use]
    pub const fn new(site: &'s Site, claims: &'s [Claim]) -> Self {
        Self { site, claims }
    }

    /// The site.
    #[must_use]
    pub const fn site(&self) -> &'s Site {
        self.site
    }
}

/// Who speaks in DHCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dhcp {
    /// A client asks.
    Question,
    /// A server answers.
    Answer,
}

impl Traffic {
    /// Source ports below this one are services', which answer.
    pub const CLIENTS_FIRST: u16 = 2000;

    /// Is it a TCP segment that opens a connection?
    #[must_use]
    pub const fn connects(self) -> bool {
        matches!(self, Self::Ports { protocol: 6, src, .. } if src >= Self::CLIENTS_FIRST)
    }
}

impl Question {
    /// What it is in DHCP, by its ports (C1).
    #[must_use]
    pub const fn dhcp(&self) -> Option<Dhcp> {
        let Traffic::Ports { protocol: 17, src, dst } = self.traffic else { return None };
        match (self.dst.is_ipv4(), src, dst) {
            (true, 68, 67) | (false, 546, 547) => Some(Dhcp::Question),
            (true, 67, 68) | (false, 547, 546) => Some(Dhcp::Answer),
            _ => None,
        }
    }

    /// Why no flow may begin with this answer, if none may.
    #[must_use]
    pub const fn begins_nothing(&self) -> Option<Stop> {
        match self.traffic {
            Traffic::Ports { protocol: 6, .. } => Some(Stop::ConnectionState),
            Traffic::Query { kind: 0 | 14 | 129, .. } => Some(Stop::IcmpUnrelated),
            Traffic::Error { .. } => Some(Stop::IcmpUnrelated),
            Traffic::Ports { .. }
            | Traffic::Query { .. }
            | Traffic::Listener { .. }
            | Traffic::Bare(_) => None,
        }
    }

    /// The packet that answers it, from whoever got it.
    #[must_use]
    pub fn answer(&self, from: Party, mac: Option<Mac>) -> Self {
        let traffic = match self.traffic {
            Traffic::Ports { protocol, src, dst } => {
                Traffic::Ports { protocol, src: dst, dst: src }
            }
            Traffic::Query { kind: 8, id } => Traffic::Query { kind: 0, id },
            Traffic::Query { kind: 13, id } => Traffic::Query { kind: 14, id },
            Traffic::Query { kind: 128, id } => Traffic::Query { kind: 129, id },
            other @ (Traffic::Query { .. }
            | Traffic::Error { .. }
            | Traffic::Listener { .. }
            | Traffic::Bare(_)) => other,
        };
        let station = self.station.and(self.mac);
        Self { from, mac, station, src: self.dst, dst: self.src, traffic }
    }
}
