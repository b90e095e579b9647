//! Which next hops are asked for, and what is known of them?

use std::{collections::BTreeMap, time::Instant};

use dataplane_common::addr::Mac;

use super::{
    Question, ask,
    probe::{Due, Probe},
};
use crate::{
    compile::{Link, Neighbours},
    link::Sender,
};

/// Every next hop without a stated MAC.
#[derive(Clone, Default)]
pub struct Watch {
    probes: BTreeMap<Link, (Question, Probe)>,
}

impl Watch {
    /// From now on these are asked for; what is known of them, or was before, counts.
    pub fn follow(&mut self, questions: Vec<(Link, Question)>, before: &Neighbours) {
        let now = Instant::now();
        let mut known = std::mem::take(&mut self.probes);
        for (link, question) in questions {
            let probe = match known.remove(&link) {
                Some((asked, probe)) if asked == question => probe,
                _ => Probe::new(before.get(&link).copied(), now),
            };
            self.probes.insert(link, (question, probe));
        }
    }

    /// The MACs of those that are alive.
    #[must_use]
    pub fn known(&self) -> Neighbours {
        let known = self.probes.iter();
        known.filter_map(|(link, (_, probe))| Some((link.clone(), probe.mac()?))).collect()
    }

    /// The MAC of the next hop at this place, if it is alive.
    #[must_use]
    pub fn mac(&self, link: &Link) -> Option<Mac> {
        self.probes.get(link).and_then(|(_, probe)| probe.mac())
    }

    /// Those whose MAC is not known.
    pub fn unknown(&self) -> impl Iterator<Item = &Question> {
        let unknown = self.probes.values().filter(|(_, probe)| probe.mac().is_none());
        unknown.map(|(question, _)| question)
    }

    /// Those whose MAC is not known count as dead from now on, until they answer.
    pub fn give_up(&mut self) -> Vec<&Question> {
        let mut unknown = Vec::new();
        for (question, probe) in self.probes.values_mut() {
            if probe.mac().is_none() {
                probe.give_up();
                unknown.push(&*question);
            }
        }
        unknown
    }

    /// Was it said that it does not answer?
    #[must_use]
    pub fn is_dead(&self, link: &Link) -> bool {
        self.probes.get(link).is_some_and(|(_, probe)| probe.is_dead())
    }

    /// Somebody at this place said that it has this MAC, whatever was known before or not;
    /// answers whether that is news.
    pub fn heard(&mut self, link: &Link, mac: Mac, overrides: bool) -> bool {
        let Some((question, probe)) = self.probes.get_mut(link) else { return false };
        // Nobody else has our own MAC, and nobody has none.
        let is_possible = mac != question.mac && mac != Mac::default();
        is_possible && probe.heard(mac, overrides, Instant::now())
    }

    /// Asks whoever is due; answers who died.
    pub fn ask(&mut self, sender: &mut Sender) -> Vec<&Question> {
        let now = Instant::now();
        let mut dead = Vec::new();
        for (question, probe) in self.probes.values_mut() {
            let to = match probe.due(now) {
                Due::Nothing => continue,
                Due::Ask(to) => to,
                Due::Dead => {
                    dead.push(&*question);
                    None
                }
            };
            sender.send(&question.interface, question.vlans, &ask(question, to));
        }
        dead
    }
}
