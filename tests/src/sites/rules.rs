//! Which rules does a large policy have, and what is it asked? For tests and benchmarks of
//! policies of any size: the same again for the same seed.
//!
//! [`RuleSet::usual`] is what operators write, at scale. Services are drawn by Zipf's law (the
//! k-th most popular is named 1/k times as often as the first) from a catalogue that grows
//! with the set: well-known ones first, then single ports, ranges, ICMP types and whole
//! protocols. Remotes are prefixes that nest (half of the new ones lie within one that is
//! there, and half of the rules name one that is there), groups and line groups by Zipf's
//! law, address groups, and seldom anybody. [`RuleSet::hostile`] is what makes compiled tables
//! large: every rule has a wide range of ports of its own. The shares are our own choice, made
//! to be plain; no rule set of anybody's stands behind them.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dataplane_common::{
    addr::{Addr, V4_PREFIX_OFFSET_BITS},
    table::policy::{self, ANY_PROTOCOL, Rule, family},
    wire::protocol,
};

use crate::chance::Chance;

/// A policy's rules of one direction and family, in order, none twice.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// IPv4, or IPv6.
    pub is_v4: bool,
    /// The rules.
    pub rules: Vec<SetRule>,
    /// Prefixes of the address groups that rules name.
    pub address_groups: Vec<Vec<Prefix>>,
    /// How many groups rules may name.
    pub groups: usize,
    /// How many line groups rules may name.
    pub line_groups: usize,
}

/// A prefix, its host bits zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    /// The first address.
    pub addr: IpAddr,
    /// Its length, of 32 or 128 bits.
    pub bits: u8,
}

/// A rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SetRule {
    /// What may be done.
    pub service: Service,
    /// With whom.
    pub remote: Remote,
}

/// A protocol, and its destination ports or ICMP type << 8 | code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// `None`: any.
    pub protocol: Option<u8>,
    /// The lowest; 0 to 65535: not asked.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

/// The other side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Remote {
    /// Anybody.
    Any,
    /// Addresses of a prefix.
    Prefix(Prefix),
    /// Members of a group, by its place.
    Group(usize),
    /// Members of a line group, by its place.
    Lines(usize),
    /// Addresses of an address group, by its place.
    Addresses(usize),
}

/// A packet's part that rules ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port, or ICMP type << 8 | code; 0 for what has neither.
    pub port: u16,
    /// The remote's address.
    pub addr: IpAddr,
    /// The group or line group that the remote is a member of, if any.
    pub member: Option<Remote>,
}

/// Groups, line groups and address groups that a usual set may name.
const GROUPS: usize = 64;
/// Rules for anybody at most: who opens more than that needs no rules.
const ANYBODY_MAX: usize = 512;
/// Draws for each rule, before the set is left shorter than was asked for.
const DRAWS_MAX: usize = 64;

impl RuleSet {
    /// So many rules as operators write them.
    #[must_use]
    pub fn usual(count: usize, is_v4: bool, chance: &mut Chance) -> Self {
        let catalogue = catalogue(64 + count / 8, is_v4, chance);
        let services = Zipf::new(catalogue.len());
        let groups = GROUPS.min(1 + count / 16);
        let popular = Zipf::new(groups);
        let mut tree = Tree { is_v4, prefixes: Vec::new() };
        let address_groups = (0..groups.div_ceil(4)).map(|_| {
            let prefixes = 1 + chance.below(16);
            (0..prefixes).map(|_| tree.draw(chance)).collect()
        });
        let address_groups: Vec<Vec<Prefix>> = address_groups.collect();
        let mut anybody = 0;
        let draw = |chance: &mut Chance| {
            let service = catalogue[services.draw(chance)];
            let remote = match chance.below(100) {
                0..5 if anybody < ANYBODY_MAX => {
                    anybody += 1;
                    Remote::Any
                }
                5..20 => Remote::Group(popular.draw(chance)),
                20..25 => Remote::Lines(popular.draw(chance)),
                25..30 => Remote::Addresses(chance.below(address_groups.len())),
                _ => Remote::Prefix(tree.draw(chance)),
            };
            SetRule { service, remote }
        };
        let rules = distinct(count, chance, draw);
        Self { is_v4, rules, address_groups, groups, line_groups: groups }
    }

    /// So many rules, each with a wide range of its own for a prefix of the same tree.
    #[must_use]
    pub fn hostile(count: usize, is_v4: bool, chance: &mut Chance) -> Self {
        let mut tree = Tree { is_v4, prefixes: Vec::new() };
        let draw = |chance: &mut Chance| {
            let low = 1 + chance.below(60_000) as u16;
            let high = low + 1 + chance.below(usize::from(u16::MAX - low)) as u16;
            let protocol = Some(*chance.of(&[protocol::TCP, protocol::UDP]));
            let remote = Remote::Prefix(tree.draw(chance));
            SetRule { service: Service { protocol, low, high }, remote }
        };
        let rules = distinct(count, chance, draw);
        Self { is_v4, rules, address_groups: Vec::new(), groups: 0, line_groups: 0 }
    }

    /// As records: rule k has the number k + 1.
    #[must_use]
    pub fn records(&self) -> Vec<Rule> {
        let record = |(at, rule): (usize, &SetRule)| Rule {
            id: at as u32 + 1,
            ..rule.record(self.is_v4, |remote| self.set(remote))
        };
        self.rules.iter().enumerate().map(record).collect()
    }

    /// The number of a remote's set: groups first, then line groups, then address groups.
    /// 0 for others.
    #[must_use]
    pub const fn set(&self, remote: Remote) -> u32 {
        let at = match remote {
            Remote::Any | Remote::Prefix(_) => return 0,
            Remote::Group(at) => at,
            Remote::Lines(at) => self.groups + at,
            Remote::Addresses(at) => self.groups + self.line_groups + at,
        };
        at as u32 + 1
    }

    /// What might be asked: three times in four something that a rule of the set permits,
    /// else the same from a neighbour of its remote or of another service.
    #[must_use]
    pub fn question(&self, chance: &mut Chance) -> Question {
        let rule = chance.of(&self.rules);
        let (low, high) = (rule.service.low, rule.service.high);
        let mut member = None;
        let whole = Prefix { addr: unspecified(self.is_v4), bits: 0 };
        let mut addr = match rule.remote {
            Remote::Any => whole.some(chance),
            Remote::Prefix(prefix) => prefix.some(chance),
            Remote::Addresses(at) => chance.of(&self.address_groups[at]).some(chance),
            Remote::Group(_) | Remote::Lines(_) => {
                member = Some(rule.remote);
                whole.some(chance)
            }
        };
        let mut port = low + chance.below(usize::from(high - low) + 1) as u16;
        match chance.below(8) {
            0 => addr = flip(addr, chance),
            1 => port ^= 1 << chance.below(16),
            _ => {}
        }
        let number = rule.service.protocol.unwrap_or_else(|| *chance.of(&[6, 17, 47, 132]));
        let is_icmp = number == if self.is_v4 { protocol::ICMP } else { protocol::ICMPV6 };
        let has_ports = matches!(number, 6 | 17 | 33 | 132 | 136);
        let port = if is_icmp || has_ports { port } else { 0 };
        Question { protocol: number, port, addr, member }
    }

    /// A security group's entry in a site file: `group 3` is written as `names(Remote::Group(3))`.
    #[must_use]
    pub fn yaml(
        &self,
        rule: &SetRule,
        direction: &str,
        names: impl Fn(Remote) -> String,
    ) -> String {
        let family = if self.is_v4 { "IPv4" } else { "IPv6" };
        let mut text = format!("direction: {direction}, ethertype: {family}");
        let Service { protocol: number, low, high } = rule.service;
        if let Some(number) = number {
            text.push_str(&format!(", protocol: {number}"));
        }
        match (number, rule.service.is_whole()) {
            (_, true) => {}
            (Some(protocol::ICMP | protocol::ICMPV6), _) => {
                text.push_str(&format!(", icmp_type: {}", low >> 8));
                if low == high {
                    text.push_str(&format!(", icmp_code: {}", low & 0xff));
                }
            }
            _ => text.push_str(&format!(", port_range_min: {low}, port_range_max: {high}")),
        }
        match rule.remote {
            Remote::Any => {}
            Remote::Prefix(Prefix { addr, bits }) => {
                text.push_str(&format!(", remote_ip_prefix: '{addr}/{bits}'"));
            }
            remote @ Remote::Group(_) => {
                text.push_str(&format!(", remote_group: {}", names(remote)));
            }
            remote @ Remote::Lines(_) => {
                text.push_str(&format!(", remote_line_group: {}", names(remote)));
            }
            remote @ Remote::Addresses(_) => {
                text.push_str(&format!(", remote_address_group: {}", names(remote)));
            }
        }
        text
    }
}

impl SetRule {
    /// Its prefix, if it names one.
    #[must_use]
    pub const fn net(&self) -> Option<Prefix> {
        match self.remote {
            Remote::Prefix(prefix) => Some(prefix),
            Remote::Any | Remote::Group(_) | Remote::Lines(_) | Remote::Addresses(_) => None,
        }
    }

    fn record(&self, is_v4: bool, set: impl Fn(Remote) -> u32) -> Rule {
        let (remote, prefix) = match self.remote {
            Remote::Any => (policy::remote::ANY, None),
            Remote::Prefix(prefix) => (policy::remote::PREFIX, Some(prefix.mapped())),
            Remote::Group(_) => (policy::remote::MEMBERS, None),
            Remote::Lines(_) => (policy::remote::LINES, None),
            Remote::Addresses(_) => (policy::remote::ADDRESSES, None),
        };
        let (prefix, bits) = prefix.unwrap_or_default();
        Rule {
            protocol: self.service.protocol.map_or(ANY_PROTOCOL, u16::from),
            family: if is_v4 { family::V4 } else { family::V6 },
            remote,
            low: self.service.low,
            high: self.service.high,
            set: set(self.remote),
            prefix,
            prefix_bits: bits.into(),
            ..Rule::default()
        }
    }
}

impl Service {
    /// Are ports or types not asked for?
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.low == 0 && self.high == u16::MAX
    }
}

impl Prefix {
    /// As tables have it: one address type, lengths counted in 128 bits.
    #[must_use]
    pub const fn mapped(&self) -> (Addr, u8) {
        match self.addr {
            IpAddr::V4(addr) => (Addr::v4(addr.octets()), self.bits + V4_PREFIX_OFFSET_BITS),
            IpAddr::V6(addr) => (Addr::v6(addr.octets()), self.bits),
        }
    }

    /// Some address of it.
    fn some(&self, chance: &mut Chance) -> IpAddr {
        let random = u128::from(chance.any()) << 64 | u128::from(chance.any());
        from_bits(to_bits(self.addr) | random & !mask(self.bits), self.addr.is_ipv4())
    }

    /// The prefix of this length that the address is in.
    #[must_use]
    pub fn of(addr: IpAddr, bits: u8) -> Self {
        Self { addr: from_bits(to_bits(addr) & mask(bits), addr.is_ipv4()), bits }
    }
}

/// Prefixes that nest.
struct Tree {
    is_v4: bool,
    prefixes: Vec<Prefix>,
}

impl Tree {
    /// One that is there; or a new one, within one that is there or anywhere.
    fn draw(&mut self, chance: &mut Chance) -> Prefix {
        if !self.prefixes.is_empty() && chance.once_in(2) {
            return *chance.of(&self.prefixes);
        }
        let (longest, roots) = if self.is_v4 { (32, V4_ROOTS) } else { (128, V6_ROOTS) };
        let anywhere = u128::from(chance.any()) << 64 | u128::from(chance.any());
        let within = if !self.prefixes.is_empty() && chance.once_in(2) {
            *chance.of(&self.prefixes)
        } else {
            let (first, bits) = *chance.of(roots);
            Prefix { addr: from_bits(first, self.is_v4), bits }
        };
        let step = if self.is_v4 { 8 } else { 24 };
        let bits = (within.bits + 1 + chance.below(step) as u8).min(longest);
        let addr = to_bits(within.addr) | anywhere & !mask(within.bits);
        let new = Prefix::of(from_bits(addr, self.is_v4), bits);
        self.prefixes.push(new);
        new
    }
}

/// Where new prefixes begin: private networks, and a few others (first bits of 128, length).
const V4_ROOTS: &[(u128, u8)] = &[
    (10 << 120, 8),
    (10 << 120, 16),
    (0xac10 << 112, 12),
    (0xc0a8 << 112, 16),
    (0x6440 << 112, 10),
    (0xcb00 << 112, 12),
    (0x2000 << 112, 8),
];
const V6_ROOTS: &[(u128, u8)] =
    &[(0x2001_0db8 << 96, 32), (0x2001_0db8_0001 << 80, 48), (0x2a00 << 112, 12), (0xfd << 120, 8)];

/// So many different services, popular ones first.
fn catalogue(count: usize, is_v4: bool, chance: &mut Chance) -> Vec<Service> {
    let one = |protocol, port| Service { protocol: Some(protocol), low: port, high: port };
    let (icmp, echo) = if is_v4 { (protocol::ICMP, 8) } else { (protocol::ICMPV6, 128) };
    let whole = |protocol| Service { protocol, low: 0, high: u16::MAX };
    let of_type =
        |kind: u16| Service { protocol: Some(icmp), low: kind << 8, high: kind << 8 | 0xff };
    let (tcp, udp) = (protocol::TCP, protocol::UDP);
    let mut all = vec![
        one(tcp, 443),
        one(tcp, 80),
        one(tcp, 22),
        one(udp, 53),
        of_type(echo),
        whole(None),
        one(tcp, 3306),
        whole(Some(tcp)),
        one(udp, 123),
        one(tcp, 8080),
        Service { protocol: Some(tcp), low: 30_000, high: 32_767 },
        whole(Some(udp)),
        one(tcp, 5432),
        whole(Some(icmp)),
        one(udp, 5060),
        one(protocol::SCTP, 38_412),
        Service { protocol: Some(udp), low: 10_000, high: 20_000 },
        whole(Some(47)),
    ];
    let more = distinct(count.saturating_sub(all.len()), chance, |chance| {
        let low = 1 + chance.below(65_000) as u16;
        let protocol = *chance.of(&[tcp, tcp, tcp, udp]);
        match chance.below(40) {
            0..12 => {
                let wide = chance.once_in(4);
                let width = if wide { chance.below(8192) } else { chance.below(32) };
                let high = low.saturating_add(1 + width as u16);
                Service { protocol: Some(protocol), low, high }
            }
            12 => of_type(chance.below(64) as u16),
            13 => whole(Some(50 + chance.below(50) as u8)),
            _ => one(protocol, low),
        }
    });
    let known: HashSet<Service> = all.iter().copied().collect();
    all.extend(more.into_iter().filter(|service| !known.contains(service)));
    all
}

/// So many of them, none twice; fewer if there are no more.
fn distinct<T: Copy + Eq + std::hash::Hash>(
    count: usize,
    chance: &mut Chance,
    mut draw: impl FnMut(&mut Chance) -> T,
) -> Vec<T> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(count);
    for _ in 0..count * DRAWS_MAX {
        if all.len() == count {
            break;
        }
        let one = draw(chance);
        if seen.insert(one) {
            all.push(one);
        }
    }
    all
}

/// Zipf's law with exponent 1 over places 0 to count - 1.
struct Zipf {
    /// Sums of 1/k, in millionths.
    sums: Vec<u64>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0;
        let sums = (1..=count.max(1) as u64).map(|k| {
            sum += 1_000_000 / k;
            sum
        });
        Self { sums: sums.collect() }
    }

    fn draw(&self, chance: &mut Chance) -> usize {
        let last = self.sums.len() - 1;
        let at = chance.any() % self.sums[last];
        self.sums.partition_point(|sum| *sum <= at)
    }
}

/// The first of 128 bits of an address; of IPv4 the upper 32.
const fn to_bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => (addr.to_bits() as u128) << 96,
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

const fn from_bits(bits: u128, is_v4: bool) -> IpAddr {
    if is_v4 {
        IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

const fn unspecified(is_v4: bool) -> IpAddr {
    from_bits(0, is_v4)
}

/// An address that differs in one bit.
fn flip(addr: IpAddr, chance: &mut Chance) -> IpAddr {
    let is_v4 = addr.is_ipv4();
    let bit = chance.below(if is_v4 { 32 } else { 128 });
    from_bits(to_bits(addr) ^ 1 << (127 - bit), is_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_set_again_and_no_rule_twice() {
        for is_v4 in [true, false] {
            let set = RuleSet::usual(5000, is_v4, &mut Chance::new(7));
            assert_eq!(set.rules, RuleSet::usual(5000, is_v4, &mut Chance::new(7)).rules);
            assert_eq!(set.rules.len(), 5000);
            assert_eq!(set.rules.iter().collect::<HashSet<_>>().len(), 5000);
            let nets: HashSet<_> = set.rules.iter().filter_map(SetRule::net).collect();
            let nested = nets
                .iter()
                .filter(|net| (1..net.bits).any(|bits| nets.contains(&Prefix::of(net.addr, bits))));
            let nested = nested.count();
            assert!(nested > 100 && nested < nets.len(), "{nested} of {}", nets.len());
        }
    }

    #[test]
    fn hosts_of_a_prefix_are_in_it() {
        let mut chance = Chance::new(1);
        let mut tree = Tree { is_v4: true, prefixes: Vec::new() };
        for _ in 0..10_000 {
            let prefix = tree.draw(&mut chance);
            let (net, bits) = prefix.mapped();
            let IpAddr::V4(host) = prefix.some(&mut chance) else { panic!("not IPv4") };
            assert!(Addr::v4(host.octets()).is_within(&net, bits), "{prefix:?} {host}");
        }
    }
}
