//! How do two prefixes, or a prefix and an address, lie to each other?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::config::tree::NodeId;

/// Whether one prefix is within another.
pub(super) fn inside(inner: IpNetwork, outer: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

/// Whether two prefixes share an address: one is within the other.
pub(super) fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    inside(a, b) || inside(b, a)
}

/// A prefix as it is written: a single address without its length.
pub(super) fn shown(prefix: IpNetwork) -> String {
    let whole = if prefix.is_ipv4() { 32 } else { 128 };
    if prefix.prefix() == whole { prefix.ip().to_string() } else { prefix.to_string() }
}

/// The first few of some prefixes, for a help.
pub(super) fn listed(what: &str, prefixes: impl Iterator<Item = IpNetwork>) -> String {
    const SHOWN_MAX: usize = 10;
    let all: Vec<_> = prefixes.take(SHOWN_MAX).map(shown).collect();
    format!("{what}: {}", if all.is_empty() { "none".into() } else { all.join(", ") })
}

/// Each prefix that overlaps an earlier one of the list, with that one.
pub(super) fn overlaps(list: &[(IpNetwork, NodeId)]) -> Vec<(NodeId, NodeId)> {
    let mut sorted = list.to_vec();
    sorted.sort_by_key(|(prefix, node)| (prefix.network(), prefix.prefix(), *node));
    let mut found = Vec::new();
    // Prefixes nest, so all that overlap the outermost one follow it directly.
    let mut outer: Option<(IpNetwork, NodeId)> = None;
    for (prefix, node) in sorted {
        match outer {
            Some((wide, first)) if inside(prefix, wide) => {
                found.push((node.max(first), node.min(first)));
            }
            _ => outer = Some((prefix, node)),
        }
    }
    found
}

/// Whether a machine on the prefix can have the address: neither the
/// network's own nor the broadcast address, nor IPv6's subnet-router anycast.
pub(super) fn for_hosts(prefix: IpNetwork, address: IpAddr) -> bool {
    let whole = match prefix {
        // RFC 3021: both addresses of a /31 are machines'.
        IpNetwork::V4(v4) => v4.prefix() >= 31 || IpAddr::V4(v4.broadcast()) != address,
        IpNetwork::V6(_) => true,
    };
    // RFC 6164: so are both of a /127.
    let point_to_point = prefix.prefix() >= if prefix.is_ipv4() { 31 } else { 127 };
    prefix.contains(address) && whole && (point_to_point || prefix.network() != address)
}

/// The first address that a machine can have.
pub(super) fn first_host(prefix: IpNetwork) -> IpAddr {
    match prefix {
        IpNetwork::V4(v4) if v4.prefix() >= 31 => IpAddr::V4(v4.network()),
        IpNetwork::V4(v4) => IpAddr::V4((v4.network().to_bits() | 1).into()),
        IpNetwork::V6(v6) if v6.prefix() >= 127 => IpAddr::V6(v6.network()),
        IpNetwork::V6(v6) => IpAddr::V6((v6.network().to_bits() | 1).into()),
    }
}

/// Addresses that no packet is forwarded to.
pub(super) struct Reserved {
    first: IpAddr,
    bits: u8,
    why: &'static str,
    /// Good on a link, and never beyond it.
    pub on_link: bool,
}

impl Reserved {
    const fn v4(first: [u8; 2], bits: u8, why: &'static str) -> Self {
        let [a, b] = first;
        Reserved { first: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), bits, why, on_link: false }
    }

    const fn v6(first: u16, bits: u8, why: &'static str) -> Self {
        let first = IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0));
        Reserved { first, bits, why, on_link: false }
    }

    const fn on_link(self) -> Self {
        Reserved { on_link: true, ..self }
    }

    fn prefix(&self) -> Option<IpNetwork> {
        IpNetwork::new(self.first, self.bits).ok()
    }
}

impl std::fmt::Display for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.first, self.bits, self.why)
    }
}

/// What the program stops: `dataplane_common::addr` has the same, with the RFCs.
const RESERVED: &[Reserved] = &[
    Reserved::v4([0, 0], 8, "is no machine's"),
    Reserved::v4([127, 0], 8, "is loopback"),
    Reserved::v4([169, 254], 16, "is link-local and never routed").on_link(),
    Reserved::v4([224, 0], 4, "is multicast"),
    Reserved::v4([240, 0], 4, "is reserved"),
    Reserved::v6(0, 64, "is reserved"),
    Reserved::v6(0xfe80, 10, "is link-local and never routed").on_link(),
    Reserved::v6(0xff00, 8, "is multicast"),
];

/// What is reserved of a prefix.
pub(super) fn reserved_in(prefix: IpNetwork) -> Option<&'static Reserved> {
    RESERVED.iter().find(|range| range.prefix().is_some_and(|range| overlap(range, prefix)))
}

/// Why all of a prefix is reserved.
pub(super) fn reserved(prefix: IpNetwork) -> Option<&'static Reserved> {
    RESERVED.iter().find(|range| range.prefix().is_some_and(|range| inside(prefix, range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_is_what_the_program_stops() {
        let high = (0..=u16::MAX).map(|high| Ipv6Addr::new(high, 0, 0, 1, 0, 0, 0, 1).into());
        let low = ["::", "::1", "::2:3:4:5", "0:0:0:1::", "0:0:0:1::1"].map(str::parse);
        let v4 = (0..=u16::MAX).map(|high| Ipv4Addr::from(u32::from(high) << 16 | 0x102).into());
        for address in high.chain(low.map(Result::unwrap)).chain(v4) {
            let of = crate::address::addr(address);
            let stopped = of.is_martian() || of.is_multicast() || of.is_link_local();
            let found = reserved(address.into());
            assert_eq!(found.is_some(), stopped, "{address}");
            let on_link = found.is_some_and(|range| range.on_link);
            assert_eq!(on_link, of.is_link_local(), "{address}");
        }
    }

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn hosts() {
        for (prefix, address, good) in [
            ("10.0.0.0/24", "10.0.0.1", true),
            ("10.0.0.0/24", "10.0.0.0", false),
            ("10.0.0.0/24", "10.0.0.255", false),
            ("10.0.0.0/24", "10.0.1.1", false),
            ("10.0.0.0/24", "2001:db8::1", false),
            ("10.0.0.0/31", "10.0.0.0", true),
            ("10.0.0.0/31", "10.0.0.1", true),
            ("2001:db8::/64", "2001:db8::", false),
            ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::/127", "2001:db8::", true),
        ] {
            assert_eq!(
                for_hosts(net(prefix), address.parse().unwrap()),
                good,
                "{prefix} {address}"
            );
        }
    }

    #[test]
    fn the_first_host_is_one() {
        for (prefix, first) in [
            ("10.0.0.0/24", "10.0.0.1"),
            ("10.0.0.2/31", "10.0.0.2"),
            ("2001:db8::/64", "2001:db8::1"),
            ("2001:db8::2/127", "2001:db8::2"),
            ("2001:db8::2/128", "2001:db8::2"),
        ] {
            let found = first_host(net(prefix));
            assert_eq!(found, first.parse::<IpAddr>().unwrap(), "{prefix}");
            assert!(for_hosts(net(prefix), found), "{prefix}");
        }
    }

    #[test]
    fn nesting() {
        assert!(inside(net("10.1.0.0/16"), net("10.0.0.0/8")));
        assert!(!inside(net("10.0.0.0/8"), net("10.1.0.0/16")));
        assert!(!overlap(net("0.0.0.0/0"), net("::/0")));
        assert!(overlap(net("::/0"), net("2001:db8::/32")));
    }
}
