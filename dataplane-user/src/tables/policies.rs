//! Which classifiers do the policies of an image need?

use std::fmt;

use dataplane_common::table::policy::{Rule, family};

use super::{
    Image,
    classes::{Classes, Memberships},
    classifier::{self, Error, Groups},
    heap::Space,
};

/// The policies, and what their rules are compiled with.
pub struct Policies<'i> {
    image: &'i Image,
    /// Whose a policy is, those tell who have it.
    tenants: Vec<Option<u32>>,
    groups: Groups,
    memberships: &'i Memberships,
    none: Classes,
}

/// The rules of one direction of a policy that are of one family: what a classifier is of.
pub struct Run<'p> {
    /// Do they say what may come in?
    pub is_ingress: bool,
    /// [`family`].
    pub family: u8,
    rules: &'p [Rule],
    groups: &'p Groups,
    classes: &'p Classes,
}

impl<'i> Policies<'i> {
    /// Those of the image; `memberships` are its own.
    #[must_use]
    pub fn of(image: &'i Image, memberships: &'i Memberships) -> Self {
        let mut tenants = vec![None; image.policies.len()];
        for endpoint in &image.endpoints {
            if let Some(tenant) = tenants.get_mut(endpoint.policy as usize) {
                *tenant = Some(endpoint.tenant);
            }
        }
        let mut groups = Groups::new();
        for (key, bits) in &image.group_prefixes {
            groups.entry(key.zone).or_default().push((key.addr, *bits));
        }
        Self { image, tenants, groups, memberships, none: Classes::default() }
    }

    /// What has to be compiled of a policy; nothing of nobody's, and of what may come to the
    /// host, whose rules are a list.
    pub fn runs(&self, id: u32) -> impl Iterator<Item = Run<'_>> {
        let tenant = self.tenants.get(id as usize).copied().flatten();
        let policy = self.image.policies.get(id as usize).filter(|policy| !policy.is_host);
        tenant.zip(policy).into_iter().flat_map(move |(tenant, policy)| {
            let classes = self.memberships.tenant(tenant).unwrap_or(&self.none);
            let rules = &self.image.rules;
            let [egress, ingress] = [(false, policy.egress(rules)), (true, policy.ingress(rules))];
            [egress, ingress].into_iter().flat_map(move |(is_ingress, rules)| {
                let groups = &self.groups;
                [family::V4, family::V6].map(|family| Run {
                    is_ingress,
                    family,
                    rules,
                    groups,
                    classes,
                })
            })
        })
    }
}

impl Run<'_> {
    /// Places the classifier; answers its first line, 0 if there is no rule.
    pub fn build(&self, space: &mut impl Space) -> Result<u32, Error> {
        classifier::build(self.rules, self.family, self.groups, self.classes, space)
    }
}

impl fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_ingress { "ingress" } else { "egress" };
        let family = if self.family == family::V4 { "IPv4" } else { "IPv6" };
        write!(f, "{direction} {family}")
    }
}
