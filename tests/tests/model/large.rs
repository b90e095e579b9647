//! Does a policy of thousands of rules permit what its file says, and by the first rule that
//! does?
//!
//! The rules come from the same set that the file was written from, and are asked here as they
//! are written: neither their records nor their numbers are trusted.

use std::{collections::BTreeMap, net::IpAddr};

use dataplane_common::{Tables, addr::Addr, table::classifier::Asked};
use dataplane_user::{check::check, compile::ids::Kind, tables::HostTables};
use sekisho_tests::{
    chance::Chance,
    sites::rules::{Prefix, Question, Remote, RuleSet},
    trial::Trial,
};

use crate::FLOW_LINES;

/// Rules of each family, and questions to each policy of two directions and families.
const SIZES: [(usize, usize); 5] =
    [(5, 1000), (40, 1000), (600, 1000), (3000, 1000), (10_000, 2000)];
/// Ports that are in groups, and as many lines; fewer than a trial has interfaces.
const MEMBERS: usize = 40;

/// Who asks.
struct Member {
    /// Its endpoint's name.
    name: String,
    /// The groups or line groups that it is in.
    of: Vec<Remote>,
}

#[test]
fn a_large_policy_means_what_its_file_says() {
    let mut chance = Chance::of_environment();
    let mut outcomes = BTreeMap::<&str, u32>::new();
    for (count, questions) in SIZES {
        let sets = [true, false].map(|is_v4| RuleSet::usual(count, is_v4, &mut chance));
        let members = members(&sets[0], &mut chance);
        let text = text(&sets, &members);
        let checked = check(&text);
        let Some(site) = checked.site else { panic!("{:?}", checked.diagnostics.first()) };
        let trial = Trial::new(site, None);
        let tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        let endpoint = |name: &str| {
            let number = trial.compiled.ids.number(Kind::Endpoint, name);
            tables.endpoint(number.expect("somebody of the site")).expect("a record")
        };
        let policy = tables.policy(endpoint("port blue/server").policy).expect("a policy");
        for (direction, rules) in [("ingress", policy.ingress), ("egress", policy.egress)] {
            for (set, at) in (0..questions).flat_map(|at| sets.iter().map(move |set| (set, at))) {
                let question = set.question(&mut chance);
                let is_of = |member: &&Member| {
                    question.member.is_some_and(|of| member.of.contains(&of)) || at % 4 == 0
                };
                let those: Vec<_> = members.iter().filter(is_of).collect();
                let member = (!those.is_empty()).then(|| *chance.of(&those));
                let lines_only = chance.once_in(5);
                let asked = Asked {
                    protocol: question.protocol,
                    port: question.port,
                    addr: addr(question.addr),
                    class: member.map_or(0, |member| endpoint(&member.name).class),
                    lines_only,
                };
                let sets = member.map_or(&[][..], |member| &member.of);
                let expected = first(set, &question, sets, lines_only);
                let expected = expected.map(|at| name(direction, set.is_v4, at));
                let found = tables.permits(rules, &asked);
                let found = found.map(|id| trial.compiled.ids.name(Kind::Rule, id).to_owned());
                assert_eq!(found, expected.map(|name| format!("blue/g0/{name}")), "{asked:?}");
                let name = match (&found, sets) {
                    (None, _) => "no rule",
                    (_, [Remote::Group(_), ..]) => "a port's",
                    (_, [Remote::Lines(_), ..]) => "a line's",
                    _ => "a stranger's",
                };
                *outcomes.entry(name).or_default() += 1;
            }
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.len() == 4 && outcomes.values().all(|count| *count > 500), "{outcomes:?}");
}

/// The first rule of the set that permits it.
fn first(set: &RuleSet, question: &Question, of: &[Remote], lines_only: bool) -> Option<usize> {
    set.rules.iter().position(|rule| {
        let service = rule.service;
        let is_within = |prefix: &Prefix| Prefix::of(question.addr, prefix.bits) == *prefix;
        service.protocol.is_none_or(|protocol| protocol == question.protocol)
            && (service.is_whole() || (service.low..=service.high).contains(&question.port))
            && (!lines_only || matches!(rule.remote, Remote::Lines(_)))
            && match &rule.remote {
                Remote::Any => true,
                Remote::Prefix(prefix) => is_within(prefix),
                Remote::Addresses(at) => set.address_groups[*at].iter().any(is_within),
                member @ (Remote::Group(_) | Remote::Lines(_)) => of.contains(member),
            }
    })
}

/// Ports, then lines, each in up to four groups that rules may name.
fn members(set: &RuleSet, chance: &mut Chance) -> Vec<Member> {
    let mut some = |count: usize, remote: fn(usize) -> Remote| {
        let mut some: Vec<_> = (0..chance.below(5)).map(|_| chance.below(count)).collect();
        some.sort_unstable();
        some.dedup();
        some.into_iter().map(remote).collect()
    };
    let ports = (0..MEMBERS)
        .map(|at| Member { name: format!("port blue/p{at}"), of: some(set.groups, Remote::Group) });
    let mut all: Vec<_> = ports.collect();
    all.extend(
        (0..MEMBERS).map(|at| Member { name: line(at), of: some(set.line_groups, Remote::Lines) }),
    );
    all
}

fn line(at: usize) -> String {
    format!("line blue/access/{}", phone(at))
}

fn phone(at: usize) -> String {
    format!("+8190000000{at:02}")
}

/// How a rule is known.
fn name(direction: &str, is_v4: bool, at: usize) -> String {
    format!("{direction}-{}-{at}", if is_v4 { 4 } else { 6 })
}

/// How a rule's remote is called: address groups have prefixes of one family alone.
fn remote(is_v4: bool, remote: Remote) -> String {
    match remote {
        Remote::Group(at) => format!("g{at}"),
        Remote::Lines(at) => format!("lg{at}"),
        Remote::Addresses(at) => format!("a{}-{at}", if is_v4 { 4 } else { 6 }),
        Remote::Any | Remote::Prefix(_) => String::new(),
    }
}

fn text(sets: &[RuleSet; 2], members: &[Member]) -> String {
    let mut text = String::from("version: 1\ntenants:\n  - name: blue\n");
    let mut line = |line: String| text.extend([line.as_str(), "\n"]);
    let (ports, lines) = members.split_at(MEMBERS);
    line("    networks: [{name: net, subnets: [{cidr: 192.0.2.0/24}]}]".to_owned());
    line("    routers: [{name: r, interfaces: [{network: net}]}]".to_owned());
    line("    ports:".to_owned());
    let groups = |member: &Member| {
        member.of.iter().map(|of| remote(true, *of)).collect::<Vec<_>>().join(", ")
    };
    let mut port = |at: usize, name: &str, groups: &str| {
        line(format!(
            "      - {{name: {name}, network: net, interface: i{at}, mac: '02:00:00:00:00:{at:02x}', \
             fixed_ips: [192.0.2.{}], security_groups: [{groups}]}}",
            at + 10
        ));
    };
    port(MEMBERS, "server", "g0");
    for (at, member) in ports.iter().enumerate() {
        port(at, &format!("p{at}"), &groups(member));
    }
    line("    security_groups:".to_owned());
    (1..sets[0].groups).for_each(|at| line(format!("      - {{name: g{at}}}")));
    line("      - name: g0\n        rules:".to_owned());
    for direction in ["ingress", "egress"] {
        for set in sets {
            for (at, rule) in set.rules.iter().enumerate() {
                let says = set.yaml(rule, direction, |of| remote(set.is_v4, of));
                let id = name(direction, set.is_v4, at);
                line(format!("          - {{id: {id}, {says}}}"));
            }
        }
    }
    line("    address_groups:".to_owned());
    for set in sets {
        for (at, prefixes) in set.address_groups.iter().enumerate() {
            let all: Vec<_> =
                prefixes.iter().map(|of| format!("'{}/{}'", of.addr, of.bits)).collect();
            let name = remote(set.is_v4, Remote::Addresses(at));
            line(format!("      - {{name: {name}, addresses: [{}]}}", all.join(", ")));
        }
    }
    line("    lines:".to_owned());
    for at in 0..lines.len() {
        line(format!(
            "      - {{name: l{at}, number: '{}', access: access, router: r}}",
            phone(at)
        ));
    }
    line("    line_groups:".to_owned());
    for group in 0..sets[0].line_groups {
        let of: Vec<_> = (0..lines.len())
            .filter(|at| lines[*at].of.contains(&Remote::Lines(group)))
            .map(|at| format!("l{at}"))
            .collect();
        line(format!("      - {{name: lg{group}, lines: [{}]}}", of.join(", ")));
    }
    line("accesses: [{name: access, interface: nic, addresses: [100.127.0.1/30], next_hop: {address: 100.127.0.2, mac: '02:00:00:00:01:00'}, pools: [100.64.0.0/16]}]".to_owned());
    line("entitlements:".to_owned());
    for at in 0..lines.len() {
        line(format!("  - {{tenant: blue, access: access, numbers: ['{}']}}", phone(at)));
    }
    line("sessions:".to_owned());
    for at in 0..lines.len() {
        line(format!(
            "  - {{access: access, number: '{}', addresses: [100.64.0.{}/32]}}",
            phone(at),
            at + 1
        ));
    }
    text
}

fn addr(addr: IpAddr) -> Addr {
    match addr {
        IpAddr::V4(addr) => Addr::v4(addr.octets()),
        IpAddr::V6(addr) => Addr::v6(addr.octets()),
    }
}
