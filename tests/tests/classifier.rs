//! Does a compiled policy name the same rule as its rules, asked one by one?
//!
//! Random sets of all shapes and sizes, in both families; what is asked lies mostly where
//! rules begin and end. Of a set of up to 10,000 rules every rule is asked for; larger ones are
//! sampled.

use std::{collections::BTreeSet, net::IpAddr};

use dataplane_common::{
    addr::Addr,
    table::{
        classifier::{self, Asked, Head, form},
        heap::Heap,
        policy::{ANY_PROTOCOL, Rule, family, remote},
    },
};
use dataplane_user::tables::{
    classes::Classes,
    classifier::{CLASS_BYTES, Error, Groups, MORE_BYTES, RULE_BYTES, build},
    heap::HostHeap,
};
use sekisho_tests::{
    chance::Chance,
    sites::rules::{Prefix, Remote, RuleSet, Service, SetRule},
};

/// A set that is compiled, and who might ask.
struct Compiled {
    rules: Vec<Rule>,
    groups: Groups,
    /// Combinations of sets, by class.
    classes: Vec<Vec<u32>>,
    heap: HostHeap,
    table: u32,
    of: u8,
}

impl Compiled {
    /// With as many random combinations of the sets that rules name.
    fn new(set: &RuleSet, combinations: usize, chance: &mut Chance) -> Self {
        let groups = set.groups + set.line_groups;
        let named = |chance: &mut Chance| 1 + chance.below(groups) as u32;
        let mut all: BTreeSet<Vec<u32>> = BTreeSet::new();
        for _ in 0..combinations {
            if groups > 0 {
                let some: BTreeSet<u32> = (0..1 + chance.below(4)).map(|_| named(chance)).collect();
                all.insert(some.into_iter().collect());
            }
        }
        Self::of(set.records(), address_groups(set), &all)
    }

    fn of(rules: Vec<Rule>, groups: Groups, combinations: &BTreeSet<Vec<u32>>) -> Self {
        let classes = Classes::of(combinations.iter().map(Vec::as_slice), &Classes::default());
        let of = rules.first().map_or(family::V4, |rule| rule.family);
        let mut heap = HostHeap::new();
        let table = build(&rules, of, &groups, &classes, &mut heap).expect("it fits");
        let classes =
            (0..=classes.len()).map(|class| classes.sets(class as u32).to_vec()).collect();
        Self { rules, groups, classes, heap, table, of }
    }

    fn find(&self, asked: &Asked) -> Option<u32> {
        classifier::find(&self.heap, self.table, asked)
    }

    /// As the filter did it: rule after rule.
    fn scan(&self, asked: &Asked) -> Option<u32> {
        let sets = &self.classes[asked.class as usize];
        // The families are apart, also where ::/0 holds mapped addresses.
        let is_in = |(net, bits): &(Addr, u8)| {
            (net.is_v4() && *bits >= 96) == (self.of == family::V4)
                && asked.addr.is_within(net, *bits)
        };
        let is_remote = |rule: &Rule| match rule.remote {
            remote::ANY => true,
            remote::PREFIX => is_in(&(rule.prefix, rule.prefix_bits as u8)),
            remote::ADDRESSES => self.groups.get(&rule.set).is_some_and(|of| of.iter().any(is_in)),
            _ => sets.contains(&rule.set),
        };
        let protocol = u16::from(asked.protocol);
        // No iterator: not optimised, they take twice as long.
        for rule in &self.rules {
            if rule.low <= asked.port
                && asked.port <= rule.high
                && (rule.protocol == protocol || rule.protocol == ANY_PROTOCOL)
                && (!asked.lines_only || rule.remote == remote::LINES)
                && rule.family == self.of
                && is_remote(rule)
            {
                return Some(rule.id);
            }
        }
        None
    }

    fn form(&self) -> u32 {
        self.heap.line(self.table).map_or(0, |line| line.record::<Head>(0).form)
    }

    /// A class that is in the set; sometimes another.
    fn class(&self, set: Option<u32>, chance: &mut Chance) -> u32 {
        let with: Vec<usize> = match set {
            Some(set) => {
                (1..self.classes.len()).filter(|at| self.classes[*at].contains(&set)).collect()
            }
            None => Vec::new(),
        };
        match chance.below(4) {
            0 => 0,
            1 => chance.below(self.classes.len()) as u32,
            _ if with.is_empty() => 0,
            _ => *chance.of(&with) as u32,
        }
    }

    /// Something at or beside the end of the rule's keys and of its prefix, or of another's.
    fn question(&self, rule: &Rule, chance: &mut Chance) -> Asked {
        let other = chance.of(&self.rules);
        let ends =
            [rule.low, rule.high, rule.low.wrapping_sub(1), rule.high.wrapping_add(1), other.low];
        let protocols = [1, 6, 17, 33, 47, 58, 132, 136, 0, 255];
        let protocol = match u8::try_from(rule.protocol) {
            Ok(protocol) if !chance.once_in(16) => protocol,
            _ => *chance.of(&protocols),
        };
        let has_port = matches!(protocol, 1 | 6 | 17 | 33 | 58 | 132 | 136);
        let port = if has_port { *chance.of(&ends) } else { 0 };
        let prefixes: Vec<(Addr, u8)> = match rule.remote {
            remote::PREFIX => vec![(rule.prefix, rule.prefix_bits as u8)],
            remote::ADDRESSES => self.groups.get(&rule.set).cloned().unwrap_or_default(),
            _ => vec![(other.prefix, other.prefix_bits as u8)],
        };
        let is_v4 = self.of == family::V4;
        let mut addr = match prefixes.is_empty() {
            true => Addr::default(),
            false => within(*chance.of(&prefixes), chance),
        };
        if addr.is_v4() != is_v4 {
            addr = if is_v4 { Addr::v4([192, 0, 2, 1]) } else { Addr::v6([0x2a; 16]) };
        }
        let set = matches!(rule.remote, remote::MEMBERS | remote::LINES).then_some(rule.set);
        let class = self.class(set, chance);
        Asked { protocol, port, addr, class, lines_only: chance.once_in(5) }
    }

    /// Asks so much, of one rule after the other from anywhere on; answers how much is permitted.
    fn check(&self, questions: usize, chance: &mut Chance) -> usize {
        let (mut permitted, first) = (0, chance.below(self.rules.len()));
        for rule in self.rules.iter().cycle().skip(first).take(questions) {
            let asked = self.question(rule, chance);
            let expected = self.scan(&asked);
            assert_eq!(self.find(&asked), expected, "{asked:?} of {} rules", self.rules.len());
            permitted += usize::from(expected.is_some());
        }
        permitted
    }
}

/// The first or last address of a prefix, one beside it, or any of it.
fn within((net, bits): (Addr, u8), chance: &mut Chance) -> Addr {
    let host = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
    let net = u128::from_be_bytes(net.bytes());
    let random = u128::from(chance.any()) << 64 | u128::from(chance.any());
    let addr = match chance.below(6) {
        0 => net,
        1 => net | host,
        2 => net.wrapping_sub(1),
        3 => (net | host).wrapping_add(1),
        _ => net | random & host,
    };
    Addr::v6(addr.to_be_bytes())
}

fn address_groups(set: &RuleSet) -> Groups {
    let group = |(at, prefixes): (usize, &Vec<Prefix>)| {
        (set.set(Remote::Addresses(at)), prefixes.iter().map(Prefix::mapped).collect())
    };
    set.address_groups.iter().enumerate().map(group).collect()
}

/// How many lookups there are of sets of usual sizes, unless `SEKISHO_LOOKUPS` says otherwise;
/// of others it is a part of that.
fn lookups() -> usize {
    let lookups = std::env::var("SEKISHO_LOOKUPS").ok().and_then(|count| count.parse().ok());
    lookups.unwrap_or(4_000_000)
}

#[test]
fn usual_sets_of_any_size() {
    let mut chance = Chance::of_environment();
    let mut forms = [0; 3];
    let sizes = [1, 2, 3, 5, 8, 12, 16, 17, 20, 30, 50, 100, 200, 500, 1000, 3000, 10_000];
    for at in 0..200 {
        let count = sizes[at % if at < 150 { 12 } else { sizes.len() }];
        let make = if at % 4 == 3 { RuleSet::hostile } else { RuleSet::usual };
        let set = make(count, !chance.once_in(3), &mut chance);
        let compiled = Compiled::new(&set, 40, &mut chance);
        forms[compiled.form() as usize] += 1;
        // A scan costs as much as the set is long.
        let questions = (lookups() / 200 / count.div_ceil(1000)).max(count);
        let permitted = compiled.check(questions, &mut chance);
        assert!(permitted > questions / 20, "{permitted} of {questions} with {count} rules");
    }
    assert!(forms[form::ROWS as usize] > 20 && forms[form::TREES as usize] > 20, "{forms:?}");
}

#[test]
fn a_hundred_thousand_rules_by_samples() {
    let mut chance = Chance::of_environment();
    for is_v4 in [true, false] {
        for set in [RuleSet::usual, RuleSet::hostile].map(|make| make(100_000, is_v4, &mut chance))
        {
            let compiled = Compiled::new(&set, 200, &mut chance);
            assert!(compiled.check(lookups() / 1000, &mut chance) > 50);
        }
    }
}

/// Everything that a record can say, few values of each: most rules touch others.
#[test]
fn small_sets_of_odd_rules() {
    let mut chance = Chance::of_environment();
    let mut forms = [0; 3];
    for _ in 0..lookups() / 500 {
        let is_v4 = chance.once_in(2);
        let count = 1 + chance.below(40);
        let rules = (1..=count as u32).map(|id| odd_rule(id, is_v4, &mut chance)).collect();
        let prefixes = |chance: &mut Chance| {
            let many = chance.below(4);
            (0..many).map(|_| odd_prefix(chance.once_in(2), chance)).collect()
        };
        let groups: Groups = (10..13).map(|set| (set, prefixes(&mut chance))).collect();
        let mut some = || (1..5).filter(|_| chance.once_in(2)).collect::<Vec<u32>>();
        let combinations: BTreeSet<_> =
            (0..6).map(|_| some()).filter(|of| !of.is_empty()).collect();
        let compiled = Compiled::of(rules, groups, &combinations);
        forms[compiled.form() as usize] += 1;
        compiled.check(200, &mut chance);
    }
    assert!(forms.iter().skip(1).all(|count| *count > 50), "{forms:?}");
}

fn odd_rule(id: u32, is_v4: bool, chance: &mut Chance) -> Rule {
    let protocols = [ANY_PROTOCOL, ANY_PROTOCOL, 6, 6, 6, 17, 1, 58, 132, 33, 136, 47, 0, 255];
    let ends = [0, 1, 22, 80, 81, 0x0800, 0x08ff, 1024, 65_534, 65_535];
    let (one, other) = (*chance.of(&ends), *chance.of(&ends));
    let (low, high) =
        if chance.once_in(3) { (0, u16::MAX) } else { (one.min(other), one.max(other)) };
    let remote = *chance.of(&[
        remote::ANY,
        remote::PREFIX,
        remote::PREFIX,
        remote::PREFIX,
        remote::MEMBERS,
        remote::LINES,
        remote::ADDRESSES,
    ]);
    let (prefix, bits) = odd_prefix(is_v4, chance);
    let set = match remote {
        // A set may be named by both kinds of rules, and of one nobody is a member.
        remote::MEMBERS => 1 + chance.below(3),
        remote::LINES => 3 + chance.below(3),
        remote::ADDRESSES => 10 + chance.below(4),
        _ => 0,
    };
    Rule {
        id,
        protocol: *chance.of(&protocols),
        family: if is_v4 { family::V4 } else { family::V6 },
        remote,
        low,
        high,
        set: set as u32,
        prefix,
        prefix_bits: bits.into(),
        ..Rule::default()
    }
}

/// Of all lengths, around two addresses.
fn odd_prefix(is_v4: bool, chance: &mut Chance) -> (Addr, u8) {
    let (addr, least) = match is_v4 {
        true => (Addr::v4(*chance.of(&[[10, 1, 2, 3], [10, 1, 130, 255]])), 96),
        false => (Addr::v6(*chance.of(&[[0x20; 16], [0xfd; 16]])), 0),
    };
    let bits = least + chance.below(129 - usize::from(least)) as u8;
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (Addr::v6((u128::from_be_bytes(addr.bytes()) & mask).to_be_bytes()), bits)
}

/// Each prefix lies in all others, and each has rules of its own.
#[test]
fn prefixes_in_one_chain() {
    let mut chance = Chance::of_environment();
    for (is_v4, of_each) in [(true, 1), (true, 4), (true, 200), (false, 1), (false, 4), (false, 10)]
    {
        let (addr, longest) = match is_v4 {
            true => (IpAddr::from([10, 77, 99, 13]), 32),
            false => (IpAddr::from([0x2a; 16]), 128),
        };
        let mut rules = Vec::new();
        for bits in 1..=longest {
            for _ in 0..of_each {
                let low = 1 + chance.below(60_000) as u16;
                let service =
                    Service { protocol: Some(6), low, high: low + chance.below(2) as u16 };
                rules.push(SetRule { service, remote: Remote::Prefix(Prefix::of(addr, bits)) });
            }
        }
        let compiled = Compiled::new(&only(rules, is_v4), 0, &mut chance);
        assert_eq!(compiled.form(), form::TREES);
        compiled.check(lookups() / 100, &mut chance);
    }
}

#[test]
fn each_port_has_a_rule() {
    let mut chance = Chance::of_environment();
    let (low, remote) = (0..=u16::MAX, Remote::Any);
    let service = |port| Service { protocol: Some(17), low: port, high: port };
    let rules = low.map(|port| SetRule { service: service(port), remote }).collect();
    let compiled = Compiled::new(&only(rules, true), 0, &mut chance);
    compiled.check(lookups() / 2000, &mut chance);
    for port in 0..=u16::MAX {
        let addr = Addr::v4([192, 0, 2, 1]);
        let asked = Asked { protocol: 17, port, addr, class: 0, lines_only: false };
        assert_eq!(compiled.find(&asked), Some(u32::from(port) + 1));
    }
}

/// Pairs of groups, each of which has many rules: what one has in common with another pair
/// is written again.
#[test]
fn rules_that_take_too_much_are_named() {
    let rule = |set: u32, port: u32| Rule {
        id: set * 1000 + port,
        protocol: 6,
        family: family::V4,
        remote: remote::MEMBERS,
        low: (set * 500 + 2 * port) as u16,
        high: (set * 500 + 2 * port) as u16,
        set,
        ..Rule::default()
    };
    let rules: Vec<Rule> =
        (1..=60).flat_map(|set| (1..=50).map(move |port| rule(set, port))).collect();
    let pairs = (1..=60).flat_map(|one| (one + 1..=60).map(move |other| vec![one, other]));
    let pairs: Vec<Vec<u32>> = pairs.collect();
    let classes = Classes::of(pairs.iter().map(Vec::as_slice), &Classes::default());
    let mut heap = HostHeap::new();
    let refused = build(&rules, family::V4, &Groups::new(), &classes, &mut heap);
    let Err(Error::TooLarge { bytes, most, rules: named }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*most, MORE_BYTES + 3000 * RULE_BYTES + 1770 * CLASS_BYTES);
    assert!(bytes > most && named.iter().all(|id| rules.iter().any(|rule| rule.id == *id)));
    assert!(!named.is_empty() && heap.lines() == 2, "nothing was placed");
}

fn only(rules: Vec<SetRule>, is_v4: bool) -> RuleSet {
    RuleSet { is_v4, rules, address_groups: Vec::new(), groups: 0, line_groups: 0 }
}
