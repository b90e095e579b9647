//! Policies and rules: what is permitted?

use super::{heap::List, record};
use crate::addr::Addr;

/// The rules of an endpoint, both directions: the union of its security groups.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Raised whenever a rule of it changes.
    pub generation: u32,
    /// [`flags`].
    pub flags: u32,
    /// Its [classifiers](super::classifier) of egress rules, of IPv4 and IPv6.
    pub egress: [u32; 2],
    /// Those of ingress rules.
    pub ingress: [u32; 2],
    /// Of an address of the host's: [`Rule`]s, which are looked at one by one.
    pub host: List,
}
record!(Policy, 32);

/// What is special about a policy.
pub mod flags {
    /// Its groups are stateless: replies need rules of their own.
    pub const STATELESS: u32 = 1;
}

/// What is special about a rule.
pub mod rule_flags {
    /// Of the host's: `low` and `high` are source ports, and no TCP connection is opened.
    pub const ANSWERS: u32 = 1;
}

/// Rules for one address of the host's at most.
pub const HOST_RULES_MAX: u32 = 1024;

/// An allow rule. What it does not name, it does not ask.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Which rule of the site it is: what is counted and shown.
    pub id: u32,
    /// [`ANY_PROTOCOL`] or an IP protocol number.
    pub protocol: u16,
    /// A [`family`].
    pub family: u8,
    /// A [`remote`].
    pub remote: u8,
    /// Lowest destination port, or lowest ICMP type << 8 | code.
    pub low: u16,
    /// Highest of them.
    pub high: u16,
    /// Which group, address group, line or line group.
    pub set: u32,
    /// The remote prefix.
    pub prefix: Addr,
    /// Its length, counted in 128 bits.
    pub prefix_bits: u32,
    /// [`rule_flags`].
    pub flags: u32,
    /// Zero.
    pub zero: [u32; 6],
}
record!(Rule, 64);

/// [`Rule::protocol`] of a rule for every protocol.
pub const ANY_PROTOCOL: u16 = 0x100;

/// IP versions of a rule.
pub mod family {
    /// IPv4.
    pub const V4: u8 = 4;
    /// IPv6.
    pub const V6: u8 = 6;
}

/// Who stands at the other end of a rule.
pub mod remote {
    /// Anyone.
    pub const ANY: u8 = 0;
    /// Addresses inside [`super::Rule::prefix`].
    pub const PREFIX: u8 = 1;
    /// Members of the group, line or line group [`super::Rule::set`].
    pub const MEMBERS: u8 = 2;
    /// Addresses inside the address group [`super::Rule::set`].
    pub const ADDRESSES: u8 = 3;
    /// Members of the line or line group [`super::Rule::set`]: the only rules
    /// that admit one line to another.
    pub const LINES: u8 = 4;
}

/// Key of a membership: is this endpoint in this group, line group or line?
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct MemberKey {
    /// The set.
    pub set: u32,
    /// The endpoint.
    pub endpoint: u32,
}
record!(MemberKey, 8);
