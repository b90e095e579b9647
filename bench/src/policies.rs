//! Which policies are asked, and what?

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;
use dataplane_common::{
    addr::Addr,
    table::{
        classifier::{self, Asked},
        policy::family,
    },
};
use dataplane_user::tables::{classes::Classes, classifier::build, heap::HostHeap};
use sekisho_tests::{
    chance::Chance,
    sites::rules::{Prefix, Remote, RuleSet},
};

/// Rule sets that are compiled, each for itself.
pub struct Policies {
    /// Where they lie.
    pub heap: HostHeap,
    sets: Vec<Policy>,
}

struct Policy {
    set: RuleSet,
    classes: Classes,
    table: u32,
}

/// How a set is made.
pub type Make = fn(usize, bool, &mut Chance) -> RuleSet;

impl Policies {
    /// So many of so many rules; remotes may be in each group, and in some combinations of them.
    pub fn new(make: Make, policies: usize, rules: usize, is_v4: bool) -> Result<Self> {
        let mut chance = Chance::new(5);
        let mut all = Self { heap: HostHeap::new(), sets: Vec::new() };
        for _ in 0..policies {
            let set = make(rules, is_v4, &mut chance);
            let sets = set.groups + set.line_groups;
            let mut combinations: BTreeSet<Vec<u32>> =
                (1..=sets as u32).map(|set| vec![set]).collect();
            for _ in 0..sets {
                let some = (0..2 + chance.below(3)).map(|_| 1 + chance.below(sets) as u32);
                combinations.insert(some.collect::<BTreeSet<u32>>().into_iter().collect());
            }
            let combinations = combinations.iter().map(Vec::as_slice);
            let classes = Classes::of(combinations, &Classes::default());
            let table = compile(&set, &classes, &mut all.heap)?;
            all.sets.push(Policy { set, classes, table });
        }
        Ok(all)
    }

    /// Compiles the first once more, into an empty heap.
    pub fn again(&self) -> Result<u32> {
        let Some(Policy { set, classes, .. }) = self.sets.first() else { return Ok(0) };
        compile(set, classes, &mut HostHeap::new())
    }

    /// So many questions to any of them, and which object each is for.
    #[must_use]
    pub fn questions(&self, count: usize) -> Vec<(u32, Asked)> {
        let mut chance = Chance::new(9);
        let question = |_| {
            let Policy { set, classes, table } = chance.of(&self.sets);
            let question = set.question(&mut chance);
            let addr = match question.addr {
                IpAddr::V4(addr) => Addr::v4(addr.octets()),
                IpAddr::V6(addr) => Addr::v6(addr.octets()),
            };
            let with = question.member.map_or(&[][..], |member| classes.with(set.set(member)));
            let class = if with.is_empty() { 0 } else { *chance.of(with) };
            let (protocol, port) = (question.protocol, question.port);
            (*table, Asked { protocol, port, addr, class, lines_only: false })
        };
        (0..count).map(question).collect()
    }

    /// The rule that permits it, 0 if none does.
    #[must_use]
    pub fn find(&self, (table, asked): &(u32, Asked)) -> u32 {
        classifier::find(&self.heap, *table, asked).unwrap_or(0)
    }
}

fn compile(set: &RuleSet, classes: &Classes, heap: &mut HostHeap) -> Result<u32> {
    let group = |(at, prefixes): (usize, &Vec<Prefix>)| {
        (set.set(Remote::Addresses(at)), prefixes.iter().map(Prefix::mapped).collect())
    };
    let groups = set.address_groups.iter().enumerate().map(group).collect();
    let family = if set.is_v4 { family::V4 } else { family::V6 };
    Ok(build(&set.records(), family, &groups, classes, heap)?)
}

/// A question as two inputs of a program: the address, and the rest.
#[must_use]
pub fn inputs((table, asked): &(u32, Asked)) -> [Addr; 2] {
    let place = u64::from(*table) | u64::from(asked.class) << 32;
    let service = u64::from(asked.protocol) | u64::from(asked.port) << 16;
    let lines_only = u64::from(asked.lines_only) << 32;
    [asked.addr, Addr::from_words([place, service | lines_only])]
}
