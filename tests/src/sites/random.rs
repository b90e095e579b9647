//! What stands in a random site file?

use super::{Access, Group, Line, Network, Port, Router, Session, Spec, Tenant, Uplink};
use crate::chance::Chance;

/// The access's pools, and the uplinks' names.
const POOLS: [&str; 2] = ["100.64.0.0/16", "2001:db8:64::/48"];
/// Host parts that ports have, the same in all tenants.
const HOSTS: [u8; 8] = [10, 11, 12, 70, 75, 76, 138, 140];

impl Spec {
    /// A random one.
    pub fn random(chance: &mut Chance) -> Self {
        let mut spec = Self::default();
        let tenants = 1 + chance.below(3);
        let has_access = !chance.once_in(4);
        let uplinks = chance.below(3);
        for number in 0..uplinks {
            spec.uplinks.push(uplink(number, chance));
        }
        if has_access {
            spec.accesses.push(Access {
                name: "acc0".to_owned(),
                addresses: vec!["100.127.0.2/30".to_owned(), "2001:db8:7f::2/64".to_owned()],
                next_hop: ("100.127.0.1".to_owned(), Some("02:00:00:00:fe:01".to_owned())),
                pools: POOLS.map(str::to_owned).to_vec(),
                host: host(["100.127.0.2", "2001:db8:7f::5"], "100.127.0.1", chance),
            });
            for uplink in &mut spec.uplinks {
                if chance.once_in(2) {
                    uplink.exports.push(export_pool(uplink.name == "up0"));
                }
            }
        }
        for number in 0..tenants {
            let tenant = tenant(number, &mut spec, chance);
            spec.tenants.push(tenant);
        }
        spec
    }
}

/// Half of the pool each, so that exports do not overlap and a part stays inside.
fn export_pool(is_first: bool) -> (String, String) {
    let prefix = if is_first { "100.64.0.0/18" } else { "100.64.64.0/18" };
    (prefix.to_owned(), "access: acc0".to_owned())
}

fn uplink(number: usize, chance: &mut Chance) -> Uplink {
    let mac = |last: u8| Some(format!("02:00:00:00:ff:{last:02x}"));
    let first = number as u8 * 16;
    let mut next_hops = vec![
        (format!("198.51.{}.1", 100 + number), mac(first + 1)),
        (format!("2001:db8:ff{number}::1"), mac(first + 2)),
    ];
    if chance.once_in(3) {
        next_hops.push((format!("198.51.{}.3", 100 + number), mac(first + 3)));
    }
    if chance.once_in(4) {
        next_hops[0].1 = None;
    }
    let protected = if chance.once_in(2) { vec!["192.0.2.0/24".to_owned()] } else { Vec::new() };
    let vlan = if chance.once_in(2) { 30 } else { 0 };
    Uplink {
        name: format!("up{number}"),
        vlan,
        service_vlan: if vlan != 0 && chance.once_in(2) { 40 } else { 0 },
        addresses: vec![
            format!("198.51.{}.2/24", 100 + number),
            format!("2001:db8:ff{number}::2/64"),
        ],
        next_hops,
        exports: Vec::new(),
        protected,
        host: host(
            // Our own as well, or one that is the host's alone.
            [
                &format!("198.51.{}.{}", 100 + number, chance.of(&[2, 5])),
                &format!("2001:db8:ff{number}::5"),
            ],
            &format!("198.51.{}.1", 100 + number),
            chance,
        ),
    }
}

/// What the host has on a link, often nothing.
fn host([v4, v6]: [&str; 2], next_hop: &str, chance: &mut Chance) -> Vec<String> {
    let mut entries = Vec::new();
    if chance.once_in(2) {
        return entries;
    }
    for _ in 0..1 + chance.below(4) {
        entries.push(entry(v4, next_hop, chance));
    }
    if chance.once_in(2) {
        entries.push(entry(v6, "2001:db8:99::1", chance));
    }
    entries
}

/// An entry of the host's as it is written.
pub(super) fn entry(address: &str, from: &str, chance: &mut Chance) -> String {
    let matches = *chance.of(&[
        ", protocol: tcp, port: 22",
        ", protocol: tcp, port: 22",
        ", protocol: udp, port: 53",
        ", protocol: udp, source_port: 53",
        ", protocol: tcp, source_port: 443",
        ", protocol: tcp, source_port: 2003",
        ", protocol: icmp",
        ", protocol: 47",
        "",
    ]);
    let sources = if chance.once_in(3) { format!(", sources: ['{from}']") } else { String::new() };
    format!("address: '{address}'{matches}{sources}")
}

fn tenant(number: usize, spec: &mut Spec, chance: &mut Chance) -> Tenant {
    let mut of = Tenant { name: format!("t{number}"), ..Tenant::default() };
    let networks = 1 + chance.below(3);
    for net in 0..networks {
        let mut subnets = vec![format!("10.{net}.0.0/24")];
        if chance.once_in(2) {
            subnets.push(format!("2001:db8:{net}::/64"));
        }
        let mec_only = chance.once_in(4);
        of.networks.push(Network { name: format!("n{net}"), mec_only, subnets });
    }
    for set in 0..2 {
        let all = ["10.1.0.0/25", "8.8.8.0/24", "100.64.0.0/17", "2001:db8:1::/64", "10.0.0.11/32"];
        let prefixes = all.iter().filter(|_| chance.once_in(2));
        of.address_groups.push((format!("as{set}"), prefixes.map(|&p| p.to_owned()).collect()));
    }
    router(&mut of, spec, chance);
    if !spec.accesses.is_empty() {
        lines(number, &mut of, spec, chance);
    }
    for group in 0..3 {
        let stateful = group != 2;
        of.groups.push(Group { name: format!("g{group}"), stateful, rules: Vec::new() });
    }
    for group in &mut of.groups {
        for family in ["IPv4", "IPv6"] {
            if !chance.once_in(4) {
                group.rules.push(format!("direction: egress, ethertype: {family}"));
            }
            if chance.once_in(3) {
                group.rules.push(format!("direction: ingress, ethertype: {family}"));
            }
        }
    }
    for group in 0..3 {
        let count = chance.below(6);
        for _ in 0..count {
            let rule = rule(&of, chance);
            if !of.groups[group].rules.contains(&rule) {
                of.groups[group].rules.push(rule);
            }
        }
    }
    ports(number, &mut of, chance);
    for at in 0..of.lines.len() {
        of.lines[at].groups = if chance.once_in(2) { None } else { Some(some_groups(chance)) };
    }
    of
}

/// One router for all networks but the last, sometimes none.
fn router(of: &mut Tenant, spec: &mut Spec, chance: &mut Chance) {
    if chance.once_in(8) {
        return;
    }
    let count = of.networks.len();
    let routed = if chance.once_in(4) { count - 1 } else { count };
    let mut routes = Vec::new();
    for uplink in &mut spec.uplinks {
        let is_default = routes.is_empty() && !chance.once_in(4);
        if is_default {
            routes.push(("0.0.0.0/0".to_owned(), format!("uplink: {}", uplink.name)));
            routes.push(("::/0".to_owned(), format!("uplink: {}", uplink.name)));
        } else if chance.once_in(2) {
            routes.push(("9.0.0.0/8".to_owned(), format!("uplink: {}", uplink.name)));
        }
        for net in &of.networks[..routed] {
            let at = of.name.as_bytes()[1] - b'0';
            let index = &net.name[1..];
            // A quarter of the network for each tenant, so that exports do not overlap.
            if !net.mec_only && !chance.once_in(3) {
                let prefix = format!("10.{index}.0.{}/26", at * 64);
                uplink.exports.push((prefix, format!("tenant: {}, router: r", of.name)));
            }
        }
    }
    if chance.once_in(2) {
        routes.push(("198.18.0.0/15".to_owned(), "blackhole: true".to_owned()));
    }
    if routed > 0 && !chance.once_in(3) {
        let hops = ["10.0.0.10, 10.0.0.11", "10.0.0.10", "10.0.0.200"];
        let hops = chance.of(&hops);
        routes.push(("10.99.0.0/16".to_owned(), format!("next_hops: [{hops}]")));
        if chance.once_in(3) {
            routes.push(("10.99.7.0/24".to_owned(), "blackhole: true".to_owned()));
        }
    }
    let interfaces = of.networks[..routed].iter().map(|net| net.name.clone()).collect();
    let limits = chance.once_in(3).then(|| limit(chance));
    of.routers.push(Router { name: "r".to_owned(), interfaces, routes, limits });
}

fn lines(number: usize, of: &mut Tenant, spec: &mut Spec, chance: &mut Chance) {
    for line in 0..chance.below(4) {
        let mut destinations = Vec::new();
        if let Some(router) = of.routers.first() {
            destinations.push("router: r".to_owned());
            destinations.extend(router.interfaces.iter().map(|net| format!("network: {net}")));
        }
        for uplink in &spec.uplinks {
            if uplink.exports.iter().any(|(_, rest)| rest.starts_with("access")) {
                destinations.push(format!("uplink: {}", uplink.name));
            }
        }
        if destinations.is_empty() {
            return;
        }
        let phone = format!("+81900000{number}00{line}");
        of.lines.push(Line {
            name: format!("l{line}"),
            number: phone.clone(),
            access: "acc0".to_owned(),
            suspended: chance.once_in(6),
            destination: chance.of(&destinations).clone(),
            groups: None,
        });
        if !chance.once_in(8) {
            // Some in either export, some in none.
            let third = *chance.of(&[1_u8, 65, 200]);
            let mut addresses = vec![format!("100.64.{third}.{}/32", 10 * (number + 1) + line)];
            if chance.once_in(2) {
                addresses.push(format!("2001:db8:64:{number}{line}::/64"));
            }
            spec.sessions.push(Session { access: "acc0".to_owned(), number: phone, addresses });
        }
    }
    let members = of.lines.iter().filter(|_| chance.once_in(2)).map(|line| line.name.clone());
    of.line_groups.push(("lg".to_owned(), members.collect()));
}

fn ports(number: usize, of: &mut Tenant, chance: &mut Chance) {
    for net in 0..of.networks.len() {
        let network = of.networks[net].clone();
        let trunk = format!("trunk{number}");
        let mut hosts = HOSTS.to_vec();
        for at in 0..1 + chance.below(4) {
            let host = hosts.remove(chance.below(hosts.len()));
            let mut fixed_ips = vec![format!("10.{net}.0.{host}")];
            if network.subnets.len() > 1 && !chance.once_in(3) {
                fixed_ips.push(format!("2001:db8:{net}::{host:x}"));
            }
            let mac = format!("02:00:00:0{number}:0{net}:{at:02x}");
            let mut pairs = Vec::new();
            if chance.once_in(4) {
                pairs.push((format!("10.{net}.0.{}", chance.of(&[12, 99, 99, 70])), None));
            }
            if network.subnets.len() > 1 && chance.once_in(6) {
                pairs.push((format!("2001:db8:{net}::99"), None));
            }
            if chance.once_in(4) {
                let other = Some(format!("02:00:00:0{number}:0{net}:f{at}"));
                pairs.push((
                    "10.99.0.0/16".to_owned(),
                    if chance.once_in(2) { other } else { None },
                ));
            }
            let is_secure = !chance.once_in(6);
            // Networks have VLANs of their own, or the same one of several service VLANs.
            let is_trunked = chance.once_in(3);
            let is_of_service = is_trunked && chance.once_in(2);
            let groups = is_secure.then(|| some_groups(chance));
            of.ports.push(Port {
                name: format!("p{net}-{at}"),
                network: network.name.clone(),
                interface: if is_trunked { trunk.clone() } else { format!("v{number}-{net}-{at}") },
                vlan: match (is_trunked, is_of_service) {
                    (false, _) => 0,
                    (true, false) => 100 + net as u16,
                    (true, true) => 100,
                },
                service_vlan: if is_of_service { 50 + net as u16 } else { 0 },
                mac,
                fixed_ips,
                pairs: if is_secure { pairs } else { Vec::new() },
                groups,
                dhcp_server: chance.once_in(4),
                limits: limits(chance),
            });
        }
    }
}

/// A port's limits, often none.
pub(super) fn limits(chance: &mut Chance) -> Vec<String> {
    let mut limits = Vec::new();
    for direction in ["egress", "ingress"] {
        if chance.once_in(3) {
            limits.push(format!("{direction}: {}", limit(chance)));
        }
    }
    limits
}

/// A limit that lets everything pass that is said here.
pub(super) fn limit(chance: &mut Chance) -> String {
    let bits = format!("bits_per_second: {}000000", 1 + chance.below(9));
    let bits = format!("{bits}, burst_bytes: 1000000000");
    let packets = format!("packets_per_second: {}000", 1 + chance.below(9));
    let packets = format!("{packets}, burst_packets: 1000000");
    match chance.below(3) {
        0 => format!("{{{bits}}}"),
        1 => format!("{{{packets}}}"),
        _ => format!("{{{bits}, {packets}}}"),
    }
}

/// Stateful ones or the stateless one, sometimes none, often the default one.
pub(super) fn some_groups(chance: &mut Chance) -> Vec<String> {
    let groups: &[&str] = match chance.below(8) {
        0 => &[],
        1 => &["g2"],
        2 => &["g0"],
        3 => &["g1"],
        4 => &["g0", "g1"],
        5 => &["default", "g0"],
        6 => &["default", "g1"],
        _ => &["default"],
    };
    groups.iter().map(|&name| name.to_owned()).collect()
}

/// A rule as it is written.
pub(super) fn rule(of: &Tenant, chance: &mut Chance) -> String {
    let direction = *chance.of(&["ingress", "ingress", "egress"]);
    let is_v4 = !chance.once_in(4);
    let family = if is_v4 { "IPv4" } else { "IPv6" };
    let ranges = [
        "protocol: tcp, port_range_min: 80, port_range_max: 80",
        "protocol: tcp, port_range_min: 1, port_range_max: 400",
        "protocol: udp, port_range_min: 53, port_range_max: 53",
        "protocol: udp",
        "protocol: tcp",
        "protocol: icmp",
        if is_v4 { "protocol: icmp, icmp_type: 8" } else { "protocol: icmp, icmp_type: 132" },
        "protocol: 47",
    ];
    let matches =
        if chance.once_in(3) { String::new() } else { format!(", {}", chance.of(&ranges)) };
    let mut remotes = vec![
        String::new(),
        ", remote_group: default".to_owned(),
        ", remote_group: g0".to_owned(),
        ", remote_group: g1".to_owned(),
        ", remote_address_group: as0".to_owned(),
        ", remote_address_group: as1".to_owned(),
    ];
    let prefixes: &[&str] = if is_v4 {
        &["10.0.0.0/25", "10.0.0.0/8", "8.8.8.8", "100.64.0.0/16", "10.1.0.11"]
    } else {
        &["2001:db8::/32", "2001:db8:1::/64", "2001:db8:99::1"]
    };
    remotes.push(format!(", remote_ip_prefix: '{}'", chance.of(prefixes)));
    remotes.extend(of.lines.iter().map(|line| format!(", remote_line: {}", line.name)));
    remotes.extend(of.line_groups.iter().map(|(name, _)| format!(", remote_line_group: {name}")));
    let remote = chance.of(&remotes);
    format!("direction: {direction}, ethertype: {family}{matches}{remote}")
}
