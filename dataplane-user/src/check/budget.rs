//! Do the rules of each combination of security groups fit in the room that they may take?
//!
//! Only their compiler knows, so they are compiled, and nobody gets what comes of it.

use std::collections::{HashMap, HashSet};

use super::{Context, Lists};
use crate::compile::{self, Compiled, Facts, ids::Kind};
use crate::config::tree::NodeId;
use crate::model::Site;
use crate::tables::{classes::Memberships, classifier::Error, heap::HostHeap, policies::Policies};

/// Reports rules that take too much, at the first port or line that has them.
pub(super) fn affordable(cx: &mut Context<'_>, lists: &Lists<'_>, site: &Site) {
    let compiled = compile::compile(site, &Facts::default(), &Compiled::default());
    let memberships = Memberships::of(&compiled.image, &Memberships::default());
    let policies = Policies::of(&compiled.image, &memberships);
    let mut refused = Vec::new();
    for (id, _) in (0..).zip(&compiled.image.policies) {
        for run in policies.runs(id) {
            if let Err(Error::TooLarge { bytes, most, rules }) = run.build(&mut HostHeap::new()) {
                refused.push((id, run, bytes, most, rules));
            }
        }
    }
    if refused.is_empty() {
        return;
    }
    let bearers = bearers(lists, site, &compiled);
    let named = refused.iter().flat_map(|(.., rules)| rules).copied().collect();
    let written = written(cx, lists, site, &compiled, &named);
    for (id, run, bytes, most, rules) in &refused {
        let Some(bearer) = bearers.get(id) else { continue };
        let groups = compiled.ids.name(Kind::Policy, *id);
        let message = format!(
            "the {run} rules of {groups} would take {bytes} bytes, of {most} that they may"
        );
        let rules: Vec<_> =
            rules.iter().filter_map(|rule| written.get(rule)).map(String::as_str).collect();
        let help = format!(
            "they overlap: merge rules, or spread them over more groups and ports; most of it \
             take {}",
            rules.join(", ")
        );
        cx.error(*bearer, message, &help);
    }
}

/// Who has a policy first, in the order of the file.
fn bearers(lists: &Lists<'_>, site: &Site, compiled: &Compiled) -> HashMap<u32, NodeId> {
    let ports = lists.ports.iter().zip(site.ports.iter());
    let ports = ports.map(|((_, port), (ix, _))| (compile::port_name(site, ix), port.node));
    let lines = lists.lines.iter().zip(site.lines.iter());
    let lines = lines.map(|((_, line), (ix, _))| (compile::line_name(site, ix), line.node));
    let mut bearers = HashMap::new();
    for (name, node) in ports.chain(lines) {
        let id = compiled.ids.number(Kind::Endpoint, &name);
        if let Some(end) = id.and_then(|id| compiled.image.endpoints.get(id as usize)) {
            bearers.entry(end.policy).or_insert(node);
        }
    }
    bearers
}

/// What these rules are called, and where they stand. Those of a group that the file does not
/// define stand nowhere.
fn written(
    cx: &Context<'_>,
    lists: &Lists<'_>,
    site: &Site,
    compiled: &Compiled,
    named: &HashSet<u32>,
) -> HashMap<u32, String> {
    let mut written = HashMap::new();
    for ((_, items), (_, group)) in lists.groups.iter().zip(site.groups.iter()) {
        let items = items.iter().flat_map(|items| items.rules.items());
        for (item, rule) in items.zip(&group.rules) {
            let name = compile::rule_name(site, group, rule);
            let id = compiled.ids.number(Kind::Rule, &name);
            if let Some(id) = id.filter(|id| named.contains(id)) {
                written.insert(id, format!("{name} (line {})", cx.line(item.node)));
            }
        }
    }
    written
}
