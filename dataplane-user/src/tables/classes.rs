//! Which groups and line groups is an endpoint in, as one small number?
//!
//! A *class* is a combination of those sets that rules of the tenant name. An endpoint's class
//! stands in its record; what a class means to a policy, in the policy's classifier. So a
//! member that comes or goes changes its own record, and a classifier only if the combination
//! is new.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dataplane_common::table::policy::remote;

use super::Image;

/// The classes of all tenants.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Memberships {
    tenants: HashMap<u32, Classes>,
    /// Of endpoints that are in a set.
    endpoints: HashMap<u32, u32>,
}

/// A tenant's classes: numbers from 1, which go on meaning the same from version to version.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Classes {
    numbers: BTreeMap<Vec<u32>, u32>,
    sets: HashMap<u32, Vec<u32>>,
    with: HashMap<u32, Vec<u32>>,
}

impl Memberships {
    /// Those of the image. A combination that was there `before` keeps its number; one that is
    /// no more leaves it to others.
    #[must_use]
    pub fn of(image: &Image, before: &Self) -> Self {
        let by_set = |rule: &&_| is_by_set(rule);
        let named: HashSet<u32> = image.rules.iter().filter(by_set).map(|rule| rule.set).collect();
        let mut sets: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for member in &image.members {
            if named.contains(&member.set) {
                sets.entry(member.endpoint).or_default().push(member.set);
            }
        }
        sets.values_mut().for_each(|sets| sets.sort_unstable());
        let tenant =
            |endpoint: u32| image.endpoints.get(endpoint as usize).map_or(0, |of| of.tenant);
        let mut tenants: HashMap<u32, BTreeSet<&[u32]>> = HashMap::new();
        for (endpoint, sets) in &sets {
            tenants.entry(tenant(*endpoint)).or_default().insert(sets);
        }
        let none = Classes::default();
        let number = |(tenant, combinations): (u32, BTreeSet<&[u32]>)| {
            let before = before.tenants.get(&tenant).unwrap_or(&none);
            (tenant, Classes::of(combinations, before))
        };
        let tenants: HashMap<u32, Classes> = tenants.into_iter().map(number).collect();
        let class = |(endpoint, sets): (&u32, &Vec<u32>)| {
            Some((*endpoint, *tenants.get(&tenant(*endpoint))?.numbers.get(sets)?))
        };
        let endpoints = sets.iter().filter_map(class).collect();
        Self { tenants, endpoints }
    }

    /// The class of an endpoint among its tenant's; 0: in no set that a rule names.
    #[must_use]
    pub fn class(&self, endpoint: u32) -> u32 {
        self.endpoints.get(&endpoint).copied().unwrap_or(0)
    }

    /// The classes of a tenant, if it has any.
    #[must_use]
    pub fn tenant(&self, tenant: u32) -> Option<&Classes> {
        self.tenants.get(&tenant)
    }
}

impl Classes {
    /// These combinations of sets, each in order. What was there `before` keeps its number.
    #[must_use]
    pub fn of<'s>(combinations: impl IntoIterator<Item = &'s [u32]>, before: &Self) -> Self {
        let (mut known, mut new) = (BTreeMap::new(), BTreeSet::new());
        for sets in combinations {
            match before.numbers.get(sets) {
                Some(&number) => {
                    known.insert(sets.to_vec(), number);
                }
                None => {
                    new.insert(sets);
                }
            }
        }
        let taken: HashSet<u32> = known.values().copied().collect();
        let free = (1..).filter(|number| !taken.contains(number));
        known.extend(new.into_iter().map(<[u32]>::to_vec).zip(free));
        let mut classes = Self { numbers: known, ..Self::default() };
        for (sets, &number) in &classes.numbers {
            classes.sets.insert(number, sets.clone());
            for &set in sets {
                classes.with.entry(set).or_default().push(number);
            }
        }
        classes
    }

    /// The classes that a set is part of.
    #[must_use]
    pub fn with(&self, set: u32) -> &[u32] {
        self.with.get(&set).map_or(&[], Vec::as_slice)
    }

    /// How many numbers there are, up to the highest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.values().max().map_or(0, |highest| *highest as usize)
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The sets of a class, in order.
    #[must_use]
    pub fn sets(&self, class: u32) -> &[u32] {
        self.sets.get(&class).map_or(&[], Vec::as_slice)
    }
}

/// Does the rule ask which sets the remote is in?
pub(crate) const fn is_by_set(rule: &dataplane_common::table::policy::Rule) -> bool {
    matches!(rule.remote, remote::MEMBERS | remote::LINES)
}

#[cfg(test)]
mod tests {
    use dataplane_common::table::{
        endpoint::Endpoint,
        policy::{MemberKey, Rule},
    };

    use super::*;

    fn image(members: &[(u32, u32)]) -> Image {
        let rule = |set, remote| Rule { set, remote, ..Rule::default() };
        let of = |tenant| Endpoint { tenant, ..Endpoint::default() };
        Image {
            members: members.iter().map(|&(set, endpoint)| MemberKey { set, endpoint }).collect(),
            endpoints: vec![of(0), of(1), of(1), of(1), of(2)],
            rules: vec![rule(1, remote::MEMBERS), rule(2, remote::LINES), rule(3, remote::MEMBERS)],
            ..Image::default()
        }
    }

    #[test]
    fn endpoints_in_the_same_named_sets_have_one_class() {
        // Set 9 is in no rule; endpoint 4 is another tenant's.
        let first = image(&[(1, 1), (2, 1), (1, 2), (9, 2), (9, 3), (3, 4)]);
        let first = Memberships::of(&first, &Memberships::default());
        let classes = [1, 2, 3, 4, 5].map(|endpoint| first.class(endpoint));
        assert_eq!(classes, [2, 1, 0, 1, 0]);
        let tenant = first.tenant(1).expect("it has classes");
        assert_eq!(
            (tenant.sets(1), tenant.sets(2), tenant.with(1)),
            (&[1][..], &[1, 2][..], &[1, 2][..])
        );
        assert_eq!((tenant.with(3), tenant.sets(3)), (&[][..], &[][..]));
        assert_eq!(first.tenant(2).map(|tenant| tenant.with(3)), Some(&[1][..]));
    }

    #[test]
    fn what_a_class_means_stays() {
        let before = image(&[(1, 1), (2, 1), (1, 2), (3, 3)]);
        let before = Memberships::of(&before, &Memberships::default());
        assert_eq!([1, 2, 3].map(|endpoint| before.class(endpoint)), [2, 1, 3]);
        // The first has left a set, the second has joined one: a new combination takes the
        // lowest number that is free.
        let after = Memberships::of(&image(&[(2, 1), (1, 2), (2, 2), (3, 3)]), &before);
        assert_eq!([1, 2, 3].map(|endpoint| after.class(endpoint)), [1, 2, 3]);
        assert_eq!(after.tenant(1).expect("classes").sets(1), [2]);
    }
}
