//! Which mobile lines come in, whose are they, and where may each go?

use std::fmt;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::{
    AccessIx, AttachmentIx, GroupIx, HostShare, LineIx, Mac, Name, Neighbour, NetworkIx, Number,
    RouterIx, TenantIx, UplinkIx,
};

/// An attachment of the mobile network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Unique in the site.
    pub name: Name,
    /// Where its frames come in; nobody else's do.
    pub attachment: AttachmentIx,
    /// Our own MAC; `None`: the interface's.
    pub mac: Option<Mac>,
    /// Our own addresses, with the length of the link's prefix.
    pub addresses: Vec<IpNetwork>,
    /// The user plane function: packets to lines go there.
    pub next_hop: Neighbour,
    /// The lines' addresses; the pools do not overlap.
    pub pools: Vec<IpNetwork>,
    /// What is the host's there.
    pub host: HostShare,
}

/// Numbers that a tenant may register on an access. No two entitlements of an
/// access share a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// Who may.
    pub tenant: TenantIx,
    /// Where.
    pub access: AccessIx,
    /// Which.
    pub numbers: Vec<NumberRange>,
}

/// Numbers of equal length, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberRange {
    /// The lowest.
    pub from: Number,
    /// The highest.
    pub to: Number,
}

/// A registered line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Entitled to the number on the access.
    pub tenant: TenantIx,
    /// Unique on the access.
    pub number: Number,
    /// Unique among the tenant's lines.
    pub name: Option<Name>,
    /// Where it comes in.
    pub access: AccessIx,
    /// The SIM, if it is fixed.
    pub imsi: Option<Imsi>,
    /// Whether it gets in.
    pub state: LineState,
    /// Where it goes, and nowhere else.
    pub destination: Destination,
    /// The addresses that its sessions have; empty: any of the pools.
    pub fixed_ips: Vec<IpNetwork>,
    /// `None`: anything from its destination's networks, never from another
    /// line. Else as for a port; all are stateful, or none is.
    pub groups: Option<Vec<GroupIx>>,
}

/// A SIM's identity, 14 or 15 digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Imsi(Arc<str>);

impl Imsi {
    /// The identity, if it is one.
    pub fn new(text: &str) -> Option<Imsi> {
        let good = matches!(text.len(), 14 | 15) && text.bytes().all(|c| c.is_ascii_digit());
        good.then(|| Imsi(text.into()))
    }
}

impl fmt::Display for Imsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a line gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// It does.
    Active,
    /// It does not.
    Suspended,
}

/// Where a line goes. All are the line's own tenant's, or an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Every network of a router.
    Router(RouterIx),
    /// One network, through its router.
    Network {
        /// The network.
        network: NetworkIx,
        /// Its router.
        router: RouterIx,
    },
    /// A closed network or another site, which this uplink leads to; the
    /// uplink exports the access's pools.
    Uplink(UplinkIx),
}

/// A named set of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineGroup {
    /// The owner.
    pub tenant: TenantIx,
    /// Unique among the tenant's line groups.
    pub name: Name,
    /// Sorted, without repetition.
    pub lines: Vec<LineIx>,
}

/// A binding of a line to addresses that the file itself states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The line, which names the access.
    pub line: LineIx,
    /// Single addresses, or for IPv6 a prefix; unique on the access, inside
    /// its pools, among the line's fixed addresses if it has any.
    pub addresses: Vec<IpNetwork>,
}
