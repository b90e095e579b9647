//! Which site is measured on the path, and which rules and routes of how many?
//!
//! A tenant's two networks with a port each, its router with a limit that nothing reaches, two
//! mobile lines of its own, and the internet behind an uplink. Rules and routes are for [`OUTSIDE`]: prefixes of 64 addresses, in
//! an order that a multiplication makes, so that the sets are the same on every run and for
//! every peer.

use std::net::Ipv4Addr;

/// What lies beyond the uplink: 2^20 prefixes of 64 addresses.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(16, 0, 0, 0);
/// Prefixes there.
const PREFIXES: u32 = 1 << 20;
/// Destinations of flows are of no more of the prefixes than this, from the first on.
pub const ASKED_MAX: u32 = 512;
/// The ports that packets go to begin here.
pub const PORT: u16 = 5000;
/// The line that leads to the tenant's router.
pub const PHONE: &str = "100.64.0.1";
/// The line that leads to the uplink.
pub const MODEM: &str = "100.64.0.2";
/// The same in IPv6.
pub const MODEM_V6: &str = "2001:db8:64:2::1";
/// The tenant's ports.
pub const FRONT: &str = "10.1.0.2";
/// The port that the others send to.
pub const BACK: &str = "10.2.0.2";
/// The same in IPv6.
pub const BACK_V6: &str = "2001:db8:2::2";
/// Prime, so that the order of the rules is none of ours.
const STRIDE: u64 = 7919;

/// Rules of a policy beside those for [`OUTSIDE`].
const RULES_BESIDE: u32 = 6;

/// How much of everything there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Rules of the one policy, those that no packet asks for included; more than
    /// [`RULES_BESIDE`].
    pub rules: u32,
    /// Routes of the router to the uplink.
    pub routes: u32,
}

impl Size {
    /// Prefixes that flows may go to, so that each is permitted by a rule of its own: a power
    /// of two. Without rules, everything is permitted.
    #[must_use]
    pub const fn asked(self) -> u32 {
        let own = self.rules.saturating_sub(RULES_BESIDE);
        1 << if self.rules == 0 || own > ASKED_MAX { ASKED_MAX } else { own }.ilog2()
    }
}

/// What a rule permits: UDP to a prefix and a range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permit {
    /// The first of 64 addresses.
    pub to: Ipv4Addr,
    /// The first port.
    pub first: u16,
    /// The last one.
    pub last: u16,
}

/// So many permits, no two of which match the same packet: other filters' interval sets take no
/// others. Each of the first [`ASKED_MAX`] prefixes is in one, wherever that stands.
pub fn permits(count: u32) -> impl Iterator<Item = Permit> {
    (0..u64::from(count)).map(move |at| {
        let number = (at * STRIDE % u64::from(count)) as u32;
        let width = (number.wrapping_mul(0x9e37_79b9) >> 24) as u16;
        Permit { to: prefix(number), first: PORT - width, last: PORT + 1000 + width }
    })
}

/// So many destinations, prefixes of 64 addresses, the default route not among them.
pub fn routes(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (1..count).map(|number| prefix(number - 1))
}

/// The first address of a prefix, by its number.
fn prefix(number: u32) -> Ipv4Addr {
    assert!(number < PREFIXES, "prefix {number}");
    let (high, low) = (number >> 10, number & 0x3ff);
    Ipv4Addr::from(u32::from(OUTSIDE) + (high << 16) + (low << 6))
}

/// The site of this size.
#[must_use]
pub fn site(size: Size) -> String {
    let permits: String = permits(size.rules - RULES_BESIDE)
        .map(|Permit { to, first, last }| {
            format!(
                "          - {{direction: egress, protocol: udp, port_range_min: {first}, \
                 port_range_max: {last}, remote_ip_prefix: {to}/26}}\n"
            )
        })
        .collect();
    let routes: String = routes(size.routes)
        .map(|to| format!("          - {{destination: {to}/26, uplink: internet}}\n"))
        .collect();
    format!(
        "version: 1
country_code: 81
tenants:
  - name: blue
    networks:
      - {{name: front, subnets: [{{cidr: 10.1.0.0/24}}, {{cidr: \"2001:db8:1::/64\"}}]}}
      - {{name: back, subnets: [{{cidr: 10.2.0.0/24}}, {{cidr: \"2001:db8:2::/64\"}}]}}
    ports:
      - {{name: front, network: front, interface: front, mac: 02:00:00:00:01:02, fixed_ips: [10.1.0.2, \"2001:db8:1::2\"], security_groups: [many, some]}}
      - {{name: back, network: back, interface: back, mac: 02:00:00:00:02:02, fixed_ips: [10.2.0.2, \"2001:db8:2::2\"], security_groups: [some]}}
    routers:
      - name: r
        interfaces: [{{network: front}}, {{network: back}}]
        limits: {{bits_per_second: 400000000000, packets_per_second: 1000000000}}
        routes:
          - {{destination: 0.0.0.0/0, uplink: internet}}
          - {{destination: \"::/0\", uplink: internet}}
{routes}    security_groups:
      - name: many
        rules:
{permits}      - name: some
        rules:
          - {{direction: ingress, protocol: udp, port_range_min: 5000, port_range_max: 7047}}
          - {{direction: ingress, protocol: tcp, port_range_min: 5000, port_range_max: 7047}}
          - {{direction: ingress, ethertype: IPv6, protocol: udp}}
          - {{direction: egress, protocol: udp, remote_ip_prefix: 10.2.0.0/24}}
          - {{direction: egress, protocol: tcp}}
          - {{direction: egress, ethertype: IPv6}}
    lines:
      - {{name: phone, number: 090-1234-5601, access: mobile, router: r, security_groups: [many, some]}}
      - {{name: modem, number: 090-1234-5602, access: mobile, uplink: internet, security_groups: [many, some]}}
accesses:
  - {{name: mobile, interface: mobile, addresses: [172.16.0.2/30], next_hop: {{address: 172.16.0.1}}, pools: [100.64.0.0/16, \"2001:db8:64::/48\"]}}
entitlements:
  - {{tenant: blue, access: mobile, numbers: [{{from: 090-1234-5600, to: 090-1234-5699}}]}}
sessions:
  - {{access: mobile, number: 090-1234-5601, addresses: [{PHONE}, \"2001:db8:64:1::/64\"]}}
  - {{access: mobile, number: 090-1234-5602, addresses: [{MODEM}, \"2001:db8:64:2::/64\"]}}
uplinks:
  - name: internet
    interface: internet
    addresses: [172.16.1.2/30, \"2001:db8:ff::2/64\"]
    next_hops: [{{address: 172.16.1.1}}, {{address: \"2001:db8:ff::1\"}}]
    exports:
      - {{prefix: 10.1.0.0/24, tenant: blue, router: r}}
      - {{prefix: 100.64.0.0/16, access: mobile}}
      - {{prefix: \"2001:db8:64::/48\", access: mobile}}
"
    )
}

/// The same with one more port of the tenant's, whose MAC has this number.
#[must_use]
pub fn site_beside(size: Size, number: u8) -> String {
    let port = format!(
        "      - {{name: beside, network: back, interface: beside, mac: '02:00:00:00:03:{number:02x}'}}\n"
    );
    let routers = "    routers:\n";
    site(size).replacen(routers, &(port + routers), 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dataplane_user::check::check;

    use super::*;

    #[test]
    fn site_is_right() {
        let checked = check(&site(Size { rules: 10, routes: 10 }));
        assert!(checked.site.is_some(), "{:#?}", checked.diagnostics);
    }

    #[test]
    fn permits_are_apart_and_cover_what_is_asked_for() {
        for rules in [7, 10, 1000, 100_000] {
            let own = rules - RULES_BESIDE;
            let permits: BTreeSet<_> = permits(own).map(|permit| permit.to).collect();
            assert_eq!(permits.len(), own as usize);
            let asked = Size { rules, routes: 1 }.asked();
            assert!((0..asked).all(|number| permits.contains(&prefix(number))));
        }
    }
}
