//! Which interfaces went, which came, and what has changed about them?

use std::collections::{BTreeSet, HashSet};

use super::{Daemon, Lifeline, needs, warn};
use crate::load::{self, Attach, Interfaces};

/// Interfaces that are attached in one look, for which the daemon answers nobody.
const COME_MAX: usize = 64;

impl Daemon {
    /// Interfaces of the site that are not there.
    pub(super) fn waiting(&self) -> Vec<String> {
        let there = self.in_force.attached.iter().map(|at| at.interface.name.as_str());
        let there: HashSet<_> = there.collect();
        let all = self.in_force.site.attachments.values().map(|at| at.interface.as_str());
        // Once each, whatever its VLANs.
        let waiting: BTreeSet<_> = all.filter(|name| !there.contains(name)).collect();
        waiting.into_iter().map(str::to_owned).collect()
    }

    /// Takes out what went, attaches what came, and follows what changed.
    /// Answers whether there is more to be attached, so that others get their turn between.
    pub fn look_at_interfaces(&mut self) -> anyhow::Result<bool> {
        // Before the look: what goes after it goes again in the next.
        let mut wrong = self.dataplane.release_gone().err();
        let now = Interfaces::look()?;
        let mut is_changed = self.note_gone();
        let mut is_more = false;
        for at in &mut self.in_force.attached {
            is_changed |= now.get(&at.interface.name).is_some_and(|found| at.follow(found));
        }
        match self.attach_come(&now) {
            Ok(Come { is_any, is_more: more }) => {
                is_changed |= is_any;
                is_more = more;
            }
            Err(error) => wrong = Some(error),
        }
        if is_changed {
            self.neighbours.watch.follow(
                needs::questions(&self.in_force.site, &self.in_force.attached),
                &self.neighbours.watch.known(),
            );
            self.is_behind = true;
        }
        if self.is_behind {
            self.renew()?;
        }
        wrong.map_or(Ok(is_more), |error| Err(error.into()))
    }

    /// Interfaces that were taken out are waited for; answers whether there are any.
    fn note_gone(&mut self) -> bool {
        let held: HashSet<_> = self.dataplane.attached().map(str::to_owned).collect();
        let attached = std::mem::take(&mut self.in_force.attached);
        let (there, gone): (Vec<_>, Vec<_>) =
            attached.into_iter().partition(|at| held.contains(&at.interface.name));
        self.in_force.attached = there;
        let gone: Vec<_> = gone.iter().map(|at| at.interface.name.as_str()).collect();
        if let Some(names) = several(&gone) {
            warn(format_args!("{names}: gone; attached when it comes again"));
        }
        !gone.is_empty()
    }

    /// Attaches what is waited for and has come. What is refused goes on waiting, and its
    /// reason is told once.
    fn attach_come(&mut self, now: &Interfaces) -> Result<Come, load::Error> {
        let waiting: HashSet<_> = self.waiting().into_iter().collect();
        self.in_force.refused.retain(|name, _| now.get(name).is_some());
        let refused = &self.in_force.refused;
        let mut come = needs::wanted(&self.in_force.site, |name| {
            waiting.contains(name) && now.get(name).is_some()
        });
        // What was refused is tried again last.
        come.sort_by_key(|attach| refused.contains_key(&attach.interface));
        let is_more = come.get(COME_MAX).is_some_and(|next| !refused.contains_key(&next.interface));
        come.truncate(COME_MAX.max(refused.len()));
        if come.is_empty() {
            return Ok(Come { is_any: false, is_more });
        }
        let lifeline = Lifeline::look(&self.in_force.asker)?;
        let mut attached = Vec::new();
        let mut outcomes = Vec::new();
        let is_refused = |attach: &Attach| {
            let checked =
                lifeline.as_ref().map(|line| line.check(&self.in_force.site, attach, now));
            checked.and_then(Result::err)
        };
        let mut free = Vec::new();
        for attach in come {
            match is_refused(&attach) {
                Some(error) => outcomes.push((attach, Err(error))),
                None => free.push(attach),
            }
        }
        let tried = self.dataplane.attach_each(&free)?;
        outcomes.extend(free.into_iter().zip(tried));
        for (attach, outcome) in outcomes {
            let name = &attach.interface;
            match outcome {
                Ok(at) => {
                    at.warning.iter().for_each(warn);
                    self.in_force.refused.remove(name);
                    attached.push(at);
                }
                // It went again meanwhile.
                Err(load::Error::InterfaceMissing { .. }) => {}
                Err(error) => {
                    let reason = error.to_string();
                    let told = self.in_force.refused.insert(name.clone(), reason.clone());
                    if told.as_ref() != Some(&reason) {
                        warn(format_args!("{reason}; {name} is waiting until that has changed"));
                    }
                }
            }
        }
        let names: Vec<_> = attached.iter().map(|at| at.interface.name.as_str()).collect();
        if let Some(names) = several(&names) {
            eprintln!("sekisho: {names}: attached");
        }
        let is_any = !attached.is_empty();
        self.in_force.attached.extend(attached);
        Ok(Come { is_any, is_more })
    }
}

/// Of the interfaces that have come.
struct Come {
    /// Some were attached.
    is_any: bool,
    /// Some are left for the next look.
    is_more: bool,
}

/// Names of interfaces in one line, however many they are; none if there are none.
fn several(names: &[&str]) -> Option<String> {
    const NAMES: usize = 8;
    match names {
        [] => None,
        [name] => Some(format!("interface {name}")),
        names if names.len() <= NAMES => Some(format!("interfaces {}", names.join(", "))),
        names => {
            let more = names.len() - NAMES;
            Some(format!("interfaces {} and {more} more", names[..NAMES].join(", ")))
        }
    }
}
