//! What may a port or line send and receive? Neutron's allow rules.

use ipnetwork::IpNetwork;

use super::{AddressGroupIx, GroupIx, LineGroupIx, LineIx, Name, PortIx, TenantIx};

/// A security group: what is allowed; all else is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The owner.
    pub tenant: TenantIx,
    /// Unique among the tenant's groups.
    pub name: Name,
    /// Whether replies pass without a rule.
    pub stateful: bool,
    /// No two match the same.
    pub rules: Vec<Rule>,
    /// The ports in the group. As a remote, a group stands for their fixed
    /// addresses and address pairs, and for no line's.
    pub ports: Vec<PortIx>,
}

/// An allow rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique in the group. Counters follow it, or the rule's content without it.
    pub id: Option<Name>,
    /// Which way.
    pub direction: Direction,
    /// Which family.
    pub ethertype: Ethertype,
    /// What is matched above the addresses.
    pub matches: Match,
    /// The other side.
    pub remote: Remote,
}

/// Seen from the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the port.
    Ingress,
    /// From the port.
    Egress,
}

/// The address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ethertype {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What a rule matches above the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// Every packet.
    Any,
    /// Every packet of a protocol.
    Protocol(u8),
    /// Destination ports of TCP, UDP, SCTP, DCCP or UDP-Lite; not all of them.
    Ports {
        /// The protocol.
        protocol: u8,
        /// At least 1.
        min: u16,
        /// At least `min`.
        max: u16,
    },
    /// A type of ICMP or, in an IPv6 rule, of ICMPv6.
    Icmp {
        /// The type.
        kind: u8,
        /// The code, or all of them.
        code: Option<u8>,
    },
}

/// The other side of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remote {
    /// Anybody. Only a line's own rules ask for more: they admit another line
    /// by a line remote alone.
    Any,
    /// Host bits are zero; never of length 0.
    Prefix(IpNetwork),
    /// The ports of a group.
    Group(GroupIx),
    /// A named set of prefixes.
    AddressGroup(AddressGroupIx),
    /// One line, wherever its session is.
    Line(LineIx),
    /// A named set of lines.
    LineGroup(LineGroupIx),
}

/// A named set of prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressGroup {
    /// The owner.
    pub tenant: TenantIx,
    /// Unique among the tenant's address groups.
    pub name: Name,
    /// Sorted, without repetition; host bits are zero.
    pub prefixes: Vec<IpNetwork>,
}
