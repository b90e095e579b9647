//! Which sites are as large as a target asks?
//!
//! Of many tenants with ports and rules, or of very many mobile lines, each with a session. What
//! a tenant has is drawn as in [`RuleSet::usual`]; the same again on every run. Every port has
//! an interface of its own; none of them is there, so that they are waited for.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use sekisho_tests::{
    chance::Chance,
    sites::rules::{Remote, RuleSet},
};

/// The access of all lines, and its interface.
pub const ACCESS: &str = "mobile";
/// Where lines' addresses begin: in the order of their numbers.
pub const FIRST_LINE: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
/// A mobile number in Japan, without its last digits.
const NUMBERS: u64 = 81_900_000_000;

/// Tenants with ports and rules.
#[derive(Clone, Copy, Debug)]
pub struct Town {
    /// At most 2^16 of them.
    pub tenants: u32,
    /// Of each tenant, at most 200.
    pub ports: u32,
    /// Of each tenant, more than it has security groups.
    pub rules: u32,
}

impl Town {
    /// Nobody: an access and an uplink.
    pub const EMPTY: Self = Self { tenants: 0, ports: 0, rules: 0 };

    /// The site file.
    #[must_use]
    pub fn site(self) -> String {
        let mut chance = Chance::new(11);
        let tenants = (0..self.tenants).map(|number| self.tenant(number, &mut chance));
        let tenants: String = tenants.collect();
        let exports = (0..self.tenants).map(|number| {
            format!("\n      - {{prefix: {}/24, tenant: t{number}, router: r}}", subnet(number))
        });
        let exports: String = exports.collect();
        let entitled = (0..self.tenants).map(|of| {
            format!("\n  - {{tenant: t{of}, access: {ACCESS}, numbers: ['{}']}}", number(of))
        });
        let entitled: String = entitled.collect();
        format!(
            "version: 1
tenants:{}{tenants}
uplinks:
  - name: internet
    interface: internet
    addresses: [172.16.1.2/30]
    next_hops: [{{address: 172.16.1.1, mac: 02:00:00:00:aa:01}}]
    exports:{}{exports}
{}
entitlements:{}{entitled}
",
            none(&tenants),
            none(&exports),
            access(),
            none(&entitled),
        )
    }

    /// One group has the most of the rules, and every other group has one.
    fn tenant(self, number: u32, chance: &mut Chance) -> String {
        let set = RuleSet::usual(self.rules as usize, number.is_multiple_of(2), chance);
        let mut text = format!(
            "
  - name: t{number}
    networks:
      - {{name: n, subnets: [{{cidr: {}/24}}, {{cidr: \"2001:db8:{number:x}::/64\"}}]}}
    routers:
      - name: r
        interfaces: [{{network: n}}]
        routes: [{{destination: 0.0.0.0/0, uplink: internet}}]
    lines:
      - {{name: l, number: '{}', access: {ACCESS}, router: r, security_groups: [g0]}}
    ports:",
            subnet(number),
            self::number(number),
        );
        let groups = set.groups as u32;
        for port in 0..self.ports {
            let group = if port % 2 == 0 { 0 } else { port % groups };
            let host = port + 2;
            let address = Ipv4Addr::from(u32::from(subnet(number)) + host);
            let [high, low] = (number as u16).to_be_bytes();
            write(
                &mut text,
                format_args!(
                    "\n      - {{name: p{port}, network: n, interface: t{number}p{port}, \
                     mac: '02:00:{high:02x}:{low:02x}:00:{host:02x}', \
                     fixed_ips: [{address}, \"2001:db8:{number:x}::{host:x}\"], \
                     security_groups: [g{group}]}}"
                ),
            );
        }
        text.push_str("\n    security_groups:");
        for group in 0..set.groups {
            write(&mut text, format_args!("\n      - name: g{group}\n        rules:"));
            let own = set.rules.iter().enumerate();
            let own = own.filter(|(at, _)| group == if *at < set.groups { *at } else { 0 });
            for (at, rule) in own {
                let direction = if at % 2 == 0 { "ingress" } else { "egress" };
                let rule = set.yaml(rule, direction, |remote| match remote {
                    Remote::Group(at) => format!("g{at}"),
                    Remote::Lines(at) => format!("l{at}"),
                    Remote::Addresses(at) => format!("a{at}"),
                    Remote::Any | Remote::Prefix(_) => String::new(),
                });
                write(&mut text, format_args!("\n          - {{{rule}}}"));
            }
        }
        text.push_str("\n    address_groups:");
        for (at, prefixes) in set.address_groups.iter().enumerate() {
            let prefixes = prefixes.iter().map(|of| format!("'{}/{}'", of.addr, of.bits));
            let prefixes: Vec<_> = prefixes.collect();
            let prefixes = prefixes.join(", ");
            write(&mut text, format_args!("\n      - {{name: a{at}, addresses: [{prefixes}]}}"));
        }
        text.push_str("\n    line_groups:");
        for at in 0..set.line_groups {
            write(&mut text, format_args!("\n      - {{name: l{at}, lines: [l]}}"));
        }
        text
    }
}

/// The site file of lines of so many tenants, each with so many lines. Each line has a session,
/// and leads to the internet; nobody may send anything to it but what it asked for.
#[must_use]
pub fn lines(tenants: u32, each: u32) -> String {
    let range = |of: u32| of * each..(of + 1) * each;
    let mut text = "version: 1\ntenants:".to_owned();
    text.push_str(none(if tenants == 0 { "" } else { "some" }));
    for of in 0..tenants {
        write(
            &mut text,
            format_args!(
                "\n  - name: t{of}
    security_groups: [{{name: g, rules: [{{direction: egress}}]}}]
    lines:"
            ),
        );
        for line in range(of) {
            let number = number(line);
            write(
                &mut text,
                format_args!(
                    "\n    - {{number: {number}, access: {ACCESS}, uplink: internet, \
                     security_groups: [g]}}"
                ),
            );
        }
    }
    write(
        &mut text,
        format_args!(
            "
uplinks:
  - name: internet
    interface: internet
    addresses: [172.16.1.2/30]
    next_hops: [{{address: 172.16.1.1, mac: 02:00:00:00:aa:01}}]
    exports: [{{prefix: {FIRST_LINE}/10, access: {ACCESS}}}]
{}
entitlements:{}",
            access(),
            none(if tenants == 0 { "" } else { "some" })
        ),
    );
    for of in 0..tenants {
        let range = range(of);
        let (from, to) = (number(range.start), number(range.end - 1));
        write(
            &mut text,
            format_args!(
                "\n- {{tenant: t{of}, access: {ACCESS}, numbers: [{{from: {from}, to: {to}}}]}}"
            ),
        );
    }
    text.push_str("\nsessions:");
    text.push_str(none(if tenants == 0 { "" } else { "some" }));
    for line in 0..tenants * each {
        let (number, address) = (number(line), address(line));
        write(
            &mut text,
            format_args!("\n- {{access: {ACCESS}, number: {number}, addresses: [{address}]}}"),
        );
    }
    text.push('\n');
    text
}

/// The address of a line.
#[must_use]
pub fn address(line: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(FIRST_LINE) + line)
}

/// The number of a line.
#[must_use]
pub fn number(line: u32) -> String {
    format!("+{}", NUMBERS + u64::from(line))
}

fn subnet(tenant: u32) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) + (tenant << 8))
}

fn access() -> String {
    format!(
        "accesses:
  - {{name: {ACCESS}, interface: {ACCESS}, addresses: [172.16.0.2/30], \
         next_hop: {{address: 172.16.0.1, mac: 02:00:00:00:aa:02}}, pools: [{FIRST_LINE}/10]}}"
    )
}

/// How a list without elements goes on.
const fn none(elements: &str) -> &'static str {
    if elements.is_empty() { " []" } else { "" }
}

fn write(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Memory takes whatever is written.
    let _ = text.write_fmt(words);
}
