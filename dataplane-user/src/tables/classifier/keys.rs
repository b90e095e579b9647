//! Which keys does a rule match, and which of several rules is the first for each key?

use dataplane_common::table::{
    classifier::{KEY_MAX, NOBODY, OTHERS, WITH_PORTS, key},
    policy::{ANY_PROTOCOL, Rule},
};

/// Runs of keys that a rule matches: the first of each, and the first after it.
pub(super) fn of(rule: &Rule) -> Vec<(u32, u32)> {
    let is_whole = rule.low == 0 && rule.high == u16::MAX;
    let run = |protocol: u8| (key(protocol, rule.low), key(protocol, rule.high) + 1);
    if rule.protocol == ANY_PROTOCOL {
        if is_whole {
            return vec![(0, KEY_MAX + 1)];
        }
        let others = (rule.low == 0).then_some((OTHERS, KEY_MAX + 1));
        return WITH_PORTS.into_iter().map(run).filter(|run| run.0 < run.1).chain(others).collect();
    }
    match u8::try_from(rule.protocol) {
        Ok(protocol) if WITH_PORTS.contains(&protocol) && rule.low <= rule.high => {
            vec![run(protocol)]
        }
        // Whatever has no ports has port 0.
        Ok(protocol) if !WITH_PORTS.contains(&protocol) && rule.low == 0 => vec![run(protocol)],
        _ => Vec::new(),
    }
}

/// What the rules of a run match.
pub(super) struct Keys {
    runs: Vec<(u32, u32)>,
    /// Where each rule's begin, and where the last ones end.
    first: Vec<u32>,
}

/// Room to work in, kept from call to call.
#[derive(Default)]
pub(super) struct Work {
    places: Vec<u32>,
    bounds: Vec<u32>,
    first: Vec<u32>,
    /// The next stretch from here on that nobody has: this one, or where to look further.
    next: Vec<u32>,
    spans: Vec<(u32, u32)>,
}

impl Keys {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let (mut runs, mut first) = (Vec::with_capacity(rules.len()), vec![0]);
        for rule in rules {
            runs.extend(of(rule));
            first.push(runs.len() as u32);
        }
        Self { runs, first }
    }

    fn of(&self, place: u32) -> &[(u32, u32)] {
        let place = place as usize;
        &self.runs[self.first[place] as usize..self.first[place + 1] as usize]
    }

    /// Which of these rules is the first, from which key on: in the order of keys, from key 0
    /// on, and never the same twice in a row.
    pub(super) fn first<'w>(
        &self,
        places: impl Iterator<Item = u32>,
        work: &'w mut Work,
    ) -> &'w [(u32, u32)] {
        let Work { places: order, bounds, first, next, spans } = work;
        order.clear();
        order.extend(places);
        order.sort_unstable();
        bounds.clear();
        bounds.push(0);
        let runs = order.iter().flat_map(|place| self.of(*place));
        bounds.extend(runs.flat_map(|&(low, end)| [low, end]));
        bounds.sort_unstable();
        bounds.dedup();
        first.clear();
        first.resize(bounds.len(), NOBODY);
        next.clear();
        next.extend(0..=bounds.len() as u32);
        for &place in order.iter() {
            for (low, end) in self.of(place) {
                let (Ok(low), Ok(end)) = (bounds.binary_search(low), bounds.binary_search(end))
                else {
                    continue;
                };
                let mut at = free(next, low);
                while at < end {
                    first[at] = place;
                    next[at] = at as u32 + 1;
                    at = free(next, at + 1);
                }
            }
        }
        spans.clear();
        for (&from, &place) in bounds.iter().zip(first.iter()) {
            if from <= KEY_MAX && spans.last().is_none_or(|(_, last)| *last != place) {
                spans.push((from, place));
            }
        }
        spans
    }
}

/// The first stretch from `at` on that nobody has; what was passed is passed at once next time.
fn free(next: &mut [u32], at: usize) -> usize {
    let mut end = at;
    while next[end] as usize != end {
        end = next[end] as usize;
    }
    let mut at = at;
    while next[at] as usize != at {
        at = std::mem::replace(&mut next[at], end as u32) as usize;
    }
    end
}
