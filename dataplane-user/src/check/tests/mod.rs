//! The examples are right, each mistake has its words, nothing panics.

mod refusals;

use std::fmt::Write;
use std::sync::LazyLock;

use dataplane_common::limits::{COPIES_BURST, FLOOD_PORTS_OF_NETWORK};
use dataplane_common::table::zone::FloodPort;
use proptest::prelude::*;

use super::*;
use crate::compile::{self, Compiled, Facts};
use crate::config::Severity;
use crate::config::diagnostic::{FINDINGS_MAX, render};
use crate::config::tree::DEPTH_MAX;
use crate::model::{
    Destination, Direction, Ethertype, Exporter, Hook, Limit, Match, Owner, Remote, Target,
};

const WEB: &str = include_str!("../../../../examples/web.yaml");
const TWO: &str = include_str!("../../../../examples/two-tenants.yaml");
const MEC: &str = include_str!("../../../../examples/mec-direct.yaml");

#[test]
fn examples_are_clean() {
    for example in [WEB, TWO, MEC] {
        assert_eq!(findings(example), [""; 0]);
    }
}

#[test]
fn refusals() {
    let mut wrong = String::new();
    for (example, old, new, expected) in refusals::ROWS {
        assert!(example.contains(old), "the example has no {old:?}");
        let found = findings(&example.replacen(old, new, 1));
        if found != *expected {
            let _ = writeln!(wrong, "{old:?} replaced by {new:?}:\n{found:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "found otherwise than its row says:\n{wrong}");
}

#[test]
fn a_burst_that_is_not_given_is_what_a_twentieth_of_a_second_carries() {
    let limits = "        limits: {egress: {bits_per_second: 1000, packets_per_second: 1}, \
                  ingress: {bits_per_second: 400000000000, packets_per_second: 1000000000}}";
    let text = WEB.replacen("    routers:\n", &format!("{limits}\n    routers:\n"), 1);
    let text = text.replacen(
        "      - name: edge\n",
        "      - name: edge\n        limits: {bits_per_second: 30000000, burst_bytes: 1}\n",
        1,
    );
    let site = check(&text).site.expect("a site without an error");
    let rates = |limit: Option<Limit>| {
        let limit = limit.expect("a limit");
        [limit.bits, limit.packets].map(|rate| rate.map(|rate| (rate.per_second, rate.burst)))
    };
    let port = site.ports.values().last().expect("a port");
    assert_eq!(rates(port.limits.egress), [Some((1000, 131_072)), Some((1, 64))]);
    let most = [Some((400_000_000_000, 2_500_000_000)), Some((1_000_000_000, 50_000_000))];
    assert_eq!(rates(port.limits.ingress), most);
    let router = site.routers.values().last().expect("a router");
    assert_eq!(rates(router.limits), [Some((30_000_000, 1)), None]);
}

#[test]
fn every_error_at_once() {
    let text = "version: 2
country_cod: 81
limits: {}
tenants:
  - name: Blue
    networks:
      - name: web
        mtu: 100
        subnets: [{cidr: 10.0.0.1/24}, {cidr: 10.0.0.0/24, gateway: 10.1.0.1}]
      - name: web
        subnet: []
    ports:
      - name: p1
        network: wbe
        interface: tapppppppppppppppppp
        mac: 02:zz
        security_groups: [defualt]
      - name: p2
        network: web
        interface: eth0
        vlan: 0
        mac: 02:00:00:00:00:01
        allowed_address_pairs: [{ip_address: 0.0.0.0/0}]
";
    let expected = [
        "1:10 version: `2` is not a number in range: write 1",
        "2:1 country_cod: unknown field `country_cod`",
        "3:1 limits: `limits` is not supported yet",
        "5:11 tenants.Blue.name: `Blue` is not a name: 1 to 63 of a-z, 0-9, `-`, `_`, `.`, \
         beginning with a letter or digit",
        "8:14 tenants.Blue.networks.web.mtu: `100` is not a number in range: write a whole \
         number from 576 to 9216",
        "9:26 tenants.Blue.networks.web.subnets.0.cidr: `10.0.0.1/24` is not an IPv4 or IPv6 \
         prefix: host bits are set; did you mean 10.0.0.0/24?",
        "9:69 tenants.Blue.networks.web.subnets.1.gateway: the gateway 10.1.0.1 is no machine's \
         address in 10.0.0.0/24",
        "10:15 tenants.Blue.networks.web.name: there is another network `web`",
        "11:9 tenants.Blue.networks.web.subnet: unknown field `subnet`",
        "14:18 tenants.Blue.ports.p1.network: no network `wbe`",
        "15:20 tenants.Blue.ports.p1.interface: `tapppppppppppppppppp` is not an interface name: \
         1 to 15 visible ASCII characters without `/`, `:`, `%`",
        "16:14 tenants.Blue.ports.p1.mac: `02:zz` is not a station's MAC address: write six \
         bytes as 02:00:00:00:00:01",
        "17:27 tenants.Blue.ports.p1.security_groups.0: no security group `defualt`",
        "21:15 tenants.Blue.ports.p2.vlan: `0` is not a number in range: write a whole number \
         from 1 to 4094",
        "23:46 tenants.Blue.ports.p2.allowed_address_pairs.0.ip_address: the port may send from \
         any address (0.0.0.0/0)",
    ];
    assert_eq!(findings(text), expected);
}

#[test]
fn shown_as_a_compiler_would() {
    let text = WEB.replace("network: back\n        int", "network: bakc\n        int");
    let shown = anstream::adapter::strip_str(&render("web.yaml", &text, &check(&text).diagnostics))
        .to_string();
    let expected = "\
error: tenants.shop.ports.db-1.network: no network `bakc`
  --> web.yaml:37:18
   |
37 |         network: bakc
   |                  ^^^^
   |
   = help: did you mean `back`?

";
    assert_eq!(shown, expected);
}

#[test]
fn not_yaml() {
    let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
    let many = "x: 1\n".repeat(FINDINGS_MAX + 2);
    for (text, line, message) in [
        ("", 1, "the file is empty"),
        ("version: 1\ntenants: [\n", 2, "the file is not YAML"),
        ("- version: 1\n", 1, "a list is not a map of version, country_code"),
        ("version: 1\n---\nversion: 1\n", 2, "a file holds one document"),
        ("version: 1\n? [a]\n: b\n", 2, "a key must be a plain word"),
        ("tenants: &a []\nuplinks: *a\n", 2, "aliases are not supported"),
        ("version: 1\ntenants: &a []\n", 2, "anchors are not supported"),
        ("version: &a 1\n", 1, "anchors are not supported"),
        ("version: 1\ntenants: [&a {name: blue}]\n", 2, "anchors are not supported"),
        ("version: 1\n&a tenants: []\n", 2, "anchors are not supported"),
        ("version: !!int 1\n", 1, "tags are not supported"),
        ("version: 1\nx: \"\u{1b}[31m\"\n", 2, "the file is not YAML"),
        ("version: 1\n\"\\e[31m\": 1\n", 2, "unknown field `\\u{1b}[31m`"),
        (&deep, 1, "lists and maps nest too deep"),
        (&many, FINDINGS_MAX + 3, "more than 1000 findings"),
    ] {
        let found = check(text).diagnostics;
        let hit = |found: &&Diagnostic| found.line == line && found.message.contains(message);
        assert!(found.iter().any(|found| hit(&found)), "{text:.40?}: {found:#.9?}");
    }
    assert_eq!(check("version: 1\n").diagnostics, []);
    assert_eq!(check("{'version': 1,}").diagnostics, []);
    assert_eq!(check("\u{feff}version: 1\r\n").diagnostics, []);
}

#[test]
fn limits() {
    let listed = |many: usize, item: fn(usize) -> String| {
        (0..many).map(|n| format!("\n          - {}", item(n))).collect::<String>()
    };
    for (limit, example, old, new) in [
        (
            limit::ADDRESS_PAIRS_PER_PORT,
            WEB,
            "\n          - ip_address: 192.0.2.10",
            (|n| format!("{{ip_address: 192.0.3.{n}}}")) as fn(usize) -> String,
        ),
        (limit::SUBNETS_PER_NETWORK, TWO, " [{cidr: 192.0.2.0/28}]", |n| {
            format!("{{cidr: 192.0.{}.0/28}}", n + 2)
        }),
        (limit::PREFIXES_PER_ADDRESS_GROUP, WEB, " [198.51.100.7, 203.0.113.0/28]", |n| {
            format!("11.0.{}.{}", n / 256, n % 256)
        }),
    ] {
        let with = |many| check(&example.replacen(old, &listed(many, new), 1));
        assert!(with(limit.max).site.is_some(), "{}", limit.name);
        let over = with(limit.max + 1).diagnostics;
        assert_eq!(over.len(), 1, "{over:?}");
        assert!(over[0].help.as_deref().is_some_and(|help| help.contains(limit.name)), "{over:?}");
    }
}

#[test]
fn policy_limit() {
    let group = |name: &str, count: usize| {
        let mut group = format!("      - name: {name}\n        rules:\n");
        for number in 0..count {
            let (protocol, port) = (["tcp", "udp"][number / 60_000], number % 60_000 + 1);
            let _ = writeln!(
                group,
                "          - {{direction: egress, protocol: {protocol}, port_range_min: {port}, \
                 port_range_max: {port}}}"
            );
        }
        group
    };
    let with = |groups: &str, of_port: &str| {
        let text =
            TWO.replacen("    security_groups:\n", &format!("    security_groups:\n{groups}"), 1);
        findings(&text.replacen("[web]", of_port, 1))
    };
    let max = limit::RULES_PER_POLICY.max;
    // With the three rules of `web`.
    let found = with(&group("most", max), "[most, web]");
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("the groups up to here have 100003 rules"), "{found:?}");
    // Whoever is in it: ports that name no group are in `default`.
    for (name, of_port) in [("many", "[many, web]"), ("default", "[web]")] {
        let found = with(&group(name, max + 1), of_port);
        assert_eq!(found.len(), 1, "{found:?}");
        let message =
            format!("{name}.rules.{max}: 100001 rules of a port's or line's security groups");
        assert!(found[0].ends_with(&message), "{found:?}");
    }
}

/// In a network of too many ports nothing is copied to anybody, and that is said.
#[test]
fn a_crowded_network_is_told_of() {
    let crowd = |count: u32| {
        let mut text = String::from(
            "version: 1\ntenants:\n  - name: blue\n    networks: [{name: lan, subnets: \
             [{cidr: 10.0.0.0/16}]}]\n    ports:\n",
        );
        for at in 0..count {
            let [_, _, a, b] = at.to_be_bytes();
            let _ = writeln!(
                text,
                "      - {{name: p{at}, network: lan, interface: v{at}, mac: \
                 '02:00:00:00:{a:02x}:{b:02x}'}}"
            );
        }
        text
    };
    let flooded = |text: &str| {
        let site = check(text).site.expect("no error");
        let image = compile::compile(&site, &Facts::default(), &Compiled::default()).image;
        let counts: Vec<_> = image.zones.iter().map(|zone| zone.flood_count).collect();
        (image.flood_ports.len(), counts)
    };
    let most = crowd(FLOOD_PORTS_OF_NETWORK);
    assert_eq!(findings(&most), [""; 0]);
    assert_eq!(flooded(&most), (1024, vec![0, 1024]));
    let more = crowd(FLOOD_PORTS_OF_NETWORK + 1);
    let found = findings(&more);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("broadcast and multicast are not forwarded"), "{found:?}");
    assert_eq!(flooded(&more), (0, vec![0, 0]));
}

/// A network of so many ports, the first half of them in one group and the others in two, where
/// the two groups have so many rules with an address group each.
fn ruled(ports: usize, rules: usize) -> String {
    let mut text = String::from(
        "version: 1\ntenants:\n  - name: blue\n    networks:\n      - {name: lan, subnets: \
         [{cidr: 10.0.0.0/16}]}\n    address_groups: [{name: known, addresses: [10.0.0.0/8]}]\n    \
         security_groups:\n",
    );
    for group in ["one", "two"] {
        let _ = writeln!(
            text,
            "      - name: {group}\n        rules:\n          - {{direction: egress}}"
        );
        for port in 1..=rules {
            let _ = writeln!(
                text,
                "          - {{direction: ingress, protocol: tcp, port_range_min: {port}, \
                 port_range_max: {port}, remote_address_group: known}}"
            );
        }
    }
    text.push_str("    ports:\n");
    for at in 0..ports {
        let groups = if at % 2 == 0 { "one" } else { "one, two" };
        let [.., a, b] = at.to_be_bytes();
        let _ = writeln!(
            text,
            "      - {{name: p{at}, network: lan, interface: v{at}, mac: \
             '02:00:00:00:{a:02x}:{b:02x}', security_groups: [{groups}]}}"
        );
    }
    text
}

/// Where a frame would cost more than may be at once, none that needs a rule is copied, and that
/// is said at the network.
#[test]
fn a_network_of_too_many_rules_is_told_of() {
    let cost = |text: &str| {
        let site = check(text).site.expect("no error");
        let image = compile::compile(&site, &Facts::default(), &Compiled::default()).image;
        image.zones.iter().map(|zone| zone.flood_count + u32::from(zone.flood_rules)).sum::<u32>()
    };
    // 998 rules of the ports in both groups, and 499 of the others.
    let most = ruled(551, 499);
    assert_eq!((findings(&most), cost(&most)), (vec![], COPIES_BURST));
    let more = ruled(552, 499);
    assert_eq!(
        findings(&more),
        ["5:9 tenants.blue.networks.lan: broadcast and multicast that need a rule are not \
             forwarded here"]
    );
    let found = check(&more).diagnostics;
    let help = found[0].help.as_deref().unwrap_or_default();
    assert!(help.contains("costs 2049, at most 2048: 552 for the ports, 1497 for"), "{help}");
    assert_eq!(cost(&more), COPIES_BURST + 1);
}

/// Each policy is asked once, however the ports stand in the file; what is said to be its cost is
/// that of the records.
#[test]
fn ports_with_the_same_groups_are_asked_together() {
    let site = check(&ruled(40, 3)).site.expect("no error");
    let image = compile::compile(&site, &Facts::default(), &Compiled::default()).image;
    let policy = |port: &FloodPort| image.endpoints[port.endpoint as usize].policy;
    let mut asked: Vec<_> = image.flood_ports.iter().map(policy).collect();
    assert_eq!(asked.len(), 40);
    asked.dedup();
    let rules = |id: &u32| image.policies[*id as usize].ingress_count;
    assert_eq!(asked.iter().map(rules).collect::<Vec<_>>(), [3, 6]);
    assert_eq!(image.zones.iter().map(|zone| zone.flood_rules).max(), Some(9));

    // Those behind one attachment stay together, and are asked again.
    let text = ruled(40, 3).replace("interface: v7,", "interface: v6,").replace("v21,", "v20,");
    let site = check(&text).site.expect("no error");
    let image = compile::compile(&site, &Facts::default(), &Compiled::default()).image;
    let mut attachments: Vec<_> = image.flood_ports.iter().map(|port| port.attachment).collect();
    attachments.dedup();
    assert_eq!(attachments.len(), 38);
    let mut asked: Vec<_> = image
        .flood_ports
        .iter()
        .map(|port| image.endpoints[port.endpoint as usize].policy)
        .collect();
    asked.dedup();
    let rules: u32 = asked.iter().map(|id| image.policies[*id as usize].ingress_count).sum();
    assert_eq!(image.zones.iter().map(|zone| zone.flood_rules.into()).max(), Some(rules));
}

/// Sixteen rules of other kinds cost as much as one with an address group; whoever has no port
/// security costs nothing but its copy.
#[test]
fn what_rules_cost() {
    let cost = |text: &str| {
        let site = check(text).site.expect("no error");
        let (network, _) = site.networks.iter().next().expect("a network");
        site.flood_rules(&site.flood_order(network))
    };
    let plain = |rules| ruled(4, rules).replace(", remote_address_group: known", "");
    assert_eq!([0, 1, 8, 9, 16, 17].map(|rules| cost(&plain(rules))), [0, 2, 2, 3, 3, 5]);
    let open = ruled(4, 5).replace("security_groups: [one]", "port_security: false");
    assert_eq!((cost(&ruled(4, 5)), cost(&open)), (15, 10));
}

#[test]
fn site_of_web() {
    let site = check(WEB).site.unwrap();
    let (_, front) = site.networks.iter().next().unwrap();
    assert_eq!(front.mtu, 1500);
    assert_eq!(front.subnets[0].gateway, "192.0.2.1".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(front.subnets[1].gateway, "2001:db8:1::1".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(front.router.map(|ix| site.routers[ix].name.as_str()), Some("edge"));

    let web = site.groups.values().next().unwrap();
    let members: Vec<_> = web.ports.iter().map(|ix| site.ports[*ix].name.as_str()).collect();
    assert_eq!(members, ["web-1", "web-2"]);
    let rule = &web.rules[0];
    assert_eq!((rule.direction, rule.ethertype), (Direction::Ingress, Ethertype::Ipv4));
    assert_eq!(rule.matches, Match::Ports { protocol: 6, min: 80, max: 80 });
    assert_eq!(rule.remote, Remote::Any);
    assert_eq!(web.rules[3].matches, Match::Icmp { kind: 8, code: None });
    assert_eq!(web.rules[4].matches, Match::Protocol(58));

    let port = site.ports.values().next().unwrap();
    assert_eq!(port.address_pairs[0].mac, port.mac);
    let attachment = &site.attachments[port.attachment];
    assert_eq!((attachment.vlan, attachment.hook), (None, Hook::Auto));
    assert!(matches!(attachment.owner, Owner::Network(ix) if ix == port.network));

    let router = site.routers.values().next().unwrap();
    assert_eq!(router.mac, crate::model::Mac::derived(&["shop", "edge"]));
    assert_eq!(router.routes[2].target, Target::Blackhole);
}

#[test]
fn site_of_two_tenants() {
    let site = check(TWO).site.unwrap();
    let by_name =
        |name: &'static str| site.ports.values().filter(move |port| port.name.as_str() == name);
    let groups: Vec<_> = by_name("a")
        .map(|port| match &port.security {
            Security::On { groups, stateful: true } => &site.groups[groups[0]],
            Security::Off | Security::On { .. } => panic!("{port:?}"),
        })
        .collect();
    assert_eq!(groups[0].name, crate::model::Name::default_group());
    assert_ne!(groups[0].tenant, groups[1].tenant);
    assert_eq!(groups[0].rules.len(), 4);
    assert!(by_name("gw-1").all(|port| port.security == Security::Off));
    let shared: Vec<_> = ["gw-1", "gw-2"].iter().flat_map(|name| by_name(name)).collect();
    assert_eq!(shared[0].attachment, shared[1].attachment);
    let uplink = site.uplinks.values().next().unwrap();
    assert_eq!(site.attachments[uplink.attachment].hook, Hook::Xdp);
    assert_eq!(uplink.exports.len(), 2);
}

#[test]
fn site_of_mec_direct() {
    let site = check(MEC).site.unwrap();
    let lines: Vec<_> = site.lines.values().collect();
    assert_eq!(lines[0].number.to_string(), "+819012345601");
    assert_eq!(lines[0].fixed_ips.len(), 2);
    assert!(matches!(lines[0].destination, Destination::Network { .. }));
    assert!(lines[2].groups.is_none());
    assert!(matches!(lines[4].destination, Destination::Uplink(_)));
    assert_eq!(site.line_groups.values().next().unwrap().lines.len(), 2);
    assert_eq!(site.sessions[0].addresses, lines[0].fixed_ips);
    let uplink = site.uplinks.values().next().unwrap();
    assert!(matches!(uplink.exports[0].exporter, Exporter::Access(_)));
}

#[test]
fn full_port_range_is_the_protocol() {
    let text = TWO.replacen(
        "port_range_min: 8080, port_range_max: 8080",
        "port_range_min: 1, port_range_max: 65535",
        1,
    );
    let site = check(&text).site.unwrap();
    assert_eq!(site.groups.values().next().unwrap().rules[0].matches, Match::Protocol(6));
}

#[test]
fn json_is_as_good() {
    let compact = serde_json::to_string as fn(&serde_json::Value) -> _;
    for example in [WEB, TWO, MEC] {
        let site = check(example).site;
        assert!(site.is_some());
        let value = json(example);
        for text in [compact(&value), serde_json::to_string_pretty(&value)] {
            let text = text.unwrap();
            assert_eq!(check(&text).site, site, "{:?}", findings(&text));
            assert_eq!(check(&text.replace("  ", "\t")).site, site, "tabs");
        }
    }
}

#[test]
fn schema_accepts_the_examples() {
    let schema = serde_json::to_value(crate::config::schema()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for example in [WEB, TWO, MEC] {
        let errors: Vec<_> = validator.iter_errors(&json(example)).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
    for wrong in ["version: 2\n", "{}\n", "version: 1\ntenant: []\n", "version: 1\ntenants: [{}]\n"]
    {
        assert!(!validator.is_valid(&json(wrong)), "{wrong}");
    }
    described(&schema);
}

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::to_value(crate::config::schema()).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
});

/// What an editor marks as wrong, `check` refuses.
#[test]
fn schema_accepts_what_check_accepts() {
    for (example, old, new) in [
        (WEB, "version: 1", "version: \"1\""),
        (WEB, "mtu: 1450", "mtu: \"1450\""),
        (WEB, "mtu: 1450", "mtu: 1450\n        mec_only: \"False\""),
        (WEB, "mtu: 1450", "mtu: 1450\n        mec_only: TRUE"),
        (WEB, "mtu: 1450", "mtu: ~"),
        (WEB, "- name: db-1", "- name: 5"),
        (WEB, "- name: db-1", "- name: 1.5"),
        (WEB, "- name: db-1", "- name: 1e3"),
        (WEB, "- name: db-1", "- name: true"),
        (WEB, "- name: db-1", "- name: 0x1f"),
        (WEB, "- name: db-1", "- name: no"),
        (WEB, "interface: tap-db-1", "interface: 100"),
        (WEB, "mac: 02:00:00:00:02:01", "mac: 12-34-56-12-34-56"),
        (WEB, "description: ", "description: 5.0 # "),
        (
            WEB,
            "port_range_min: 80, port_range_max: 80",
            "port_range_min: \"80\", port_range_max: 80",
        ),
        (WEB, "protocol: tcp, port", "protocol: \"6\", port"),
        (TWO, "vlan: 202", "vlan: \"202\""),
        (MEC, "country_code: 81", "country_code: +81"),
        (MEC, "imsi: \"440101234567891\"", "imsi: 440101234567891"),
        (MEC, "number: +81 90 1234 5602", "number: +819012345602"),
        (MEC, "number: +81 90 1234 5602", "number: 8190123.45602"),
    ] {
        let text = example.replacen(old, new, 1);
        assert_eq!(findings(&text), [""; 0], "{new}");
        accepted(&text);
    }
    for name in [serde_json::json!(5), 1.5.into(), true.into()] {
        let mut file = json(WEB);
        file["tenants"][0]["ports"][2]["name"] = name;
        assert_eq!(findings(&file.to_string()), [""; 0]);
        assert!(SCHEMA.is_valid(&file), "{file}");
    }
    let text = TWO.replacen("vlan: 202", "vlan: 010", 1);
    assert!(findings(&text)[0].contains("`010` is not a number in range"));
}

/// Whoever is accepted by `check` is by the schema.
fn accepted(text: &str) {
    let errors: Vec<_> = SCHEMA.iter_errors(&json(text)).map(|e| e.to_string()).collect();
    assert_eq!(errors, [""; 0], "{text}");
}

/// Every field has a description.
fn described(schema: &serde_json::Value) {
    if let Some(properties) = schema.get("properties").and_then(|fields| fields.as_object()) {
        for (name, field) in properties {
            assert!(field.get("description").is_some(), "{name}: {field}");
        }
    }
    if let Some(map) = schema.as_object() {
        map.values().for_each(described);
    }
}

proptest! {
    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        judged(&text);
    }

    #[test]
    fn yaml_like_text_is_judged(text in "([a-z:\\-\\[\\]{}&*!|>#'\", \n\t0-9]{0,60}\n){0,6}") {
        judged(&text);
    }

    #[test]
    fn mutated_examples_are_judged(
        example in prop::sample::select(vec![WEB, TWO, MEC]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<char>()), 1..6),
    ) {
        let mut chars: Vec<char> = example.chars().collect();
        for (at, kind, c) in edits {
            let at = at.index(chars.len());
            match kind {
                0 => chars[at] = c,
                1 => chars.insert(at, c),
                2 => { chars.remove(at); }
                _ => { chars.drain(at..chars.len().min(at + 40)); }
            }
        }
        judged(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn mutated_lines_are_judged(
        example in prop::sample::select(vec![WEB, TWO, MEC]),
        other in prop::sample::select(vec![WEB, TWO, MEC]),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let donor: Vec<_> = other.lines().collect();
        let mut lines: Vec<_> = example.lines().collect();
        let at = to.index(lines.len());
        lines[at] = donor[from.index(donor.len())];
        judged(&lines.join("\n"));
    }
}

/// There is a site or an error, never both, the schema agrees, and the findings can be shown.
fn judged(text: &str) {
    let checked = check(text);
    let errors = checked.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(checked.site.is_none(), errors, "{text}");
    if !errors {
        accepted(text);
    }
    render("file", text, &checked.diagnostics);
}

/// Of each pair of 30 groups, each of which has 20 rules, what one has in common with another
/// pair is compiled again.
pub fn crowded() -> String {
    let mut text = "version: 1
tenants:
  - name: blue
    networks: [{name: n, subnets: [{cidr: 10.0.0.0/16}]}]
    ports:
      - {name: calm, network: n, interface: i, mac: 02:00:00:00:00:01, security_groups: []}
      - {name: busy, network: n, interface: i, mac: 02:00:00:00:00:02, security_groups: [all]}
"
    .to_owned();
    for (one, other) in (0..30).flat_map(|one| (one + 1..30).map(move |other| (one, other))) {
        let _ = writeln!(
            text,
            "      - {{name: p{one}-{other}, network: n, interface: i, \
             mac: 02:00:00:01:{one:02x}:{other:02x}, security_groups: [g{one}, g{other}]}}"
        );
    }
    text += "    security_groups:\n";
    for group in 0..30 {
        let _ = writeln!(text, "      - {{name: g{group}, rules: []}}");
    }
    text += "      - name: all\n        rules:\n";
    for (group, rule) in (0..30).flat_map(|group| (0..20).map(move |rule| (group, rule))) {
        let port = 1000 * group + 2 * rule + 1;
        let _ = writeln!(
            text,
            "          - {{id: r{group}-{rule}, direction: ingress, protocol: tcp, port_range_min: \
             {port}, port_range_max: {port}, remote_group: g{group}}}"
        );
    }
    text
}

#[test]
fn rules_that_take_too_much_room_are_named_as_they_are_written() {
    let text = crowded();
    assert_eq!(findings(&text), [""; 0], "what is only known when rules are compiled");
    let refused = check_all(&text);
    assert!(refused.site.is_none());
    let [found] = refused.diagnostics.as_slice() else { panic!("{:?}", refused.diagnostics) };
    let place = (found.line, found.column, found.path.as_str());
    assert_eq!(place, (7, 9, "tenants.blue.ports.busy"));
    let says = "the ingress IPv4 rules of security groups blue/{all} would take ";
    assert!(found.message.starts_with(says), "{}", found.message);
    let help = found.help.as_deref().expect("what would be right");
    let rules = help.split_once("most of it take ").expect("which rules").1;
    for rule in rules.split(", ") {
        let (name, line) = rule.split_once(" (line ").expect("where it stands");
        let id = name.strip_prefix("blue/all/").expect("its group");
        let line: usize = line.trim_end_matches(')').parse().expect("a number");
        let written = text.lines().nth(line - 1).expect("a line");
        assert!(written.contains(&format!("{{id: {id}, ")), "{rule} is {written}");
    }
    let nobodys = text.replace("security_groups: [all]", "security_groups: []");
    assert!(check_all(&nobodys).site.is_some(), "rules that nobody has take no room");
}

fn findings(text: &str) -> Vec<String> {
    let shown = |d: &Diagnostic| format!("{}:{} {}: {}", d.line, d.column, d.path, d.message);
    check(text).diagnostics.iter().map(shown).collect()
}

/// The same file as JSON.
fn json(text: &str) -> serde_json::Value {
    check(text).json()
}
