//! How do rules by their first keys lie in lines?

use dataplane_common::table::{
    classifier::{
        FORK_BOUNDS, Fork, LANE_BITS, LEAF_RULES, LEVEL, Leaf, NOBODY, PLACE, STEPS_MAX, UNREACHED,
    },
    heap::Line,
};

/// The trees of an object, in one piece.
#[derive(Default)]
pub(super) struct Trees {
    pub(super) lines: Vec<Line>,
    /// Lines that are read one after the other, at most.
    pub(super) steps: u32,
}

impl Trees {
    /// Adds a tree for these rules, each from a key on; answers its name.
    pub(super) fn add(&mut self, spans: &[(u32, u32)], above: u32) -> u32 {
        if spans.iter().all(|(_, rule)| *rule == NOBODY) {
            return above;
        }
        // Each line's first key.
        let mut from: Vec<u32> = Vec::new();
        let mut first = self.next();
        for spans in spans.chunks(LEAF_RULES as usize) {
            let mut leaf = Leaf {
                bounds: bounds(spans.iter().map(|(from, _)| *from)),
                above,
                rules: [NOBODY; _],
            };
            for (rule, (_, place)) in leaf.rules.iter_mut().zip(spans) {
                *rule = *place;
            }
            from.push(spans[0].0);
            self.push(leaf);
        }
        let mut level = 0;
        while from.len() > 1 {
            let children = FORK_BOUNDS as usize + 1;
            let forks = self.next();
            for (at, from) in from.chunks(children).enumerate() {
                let child = first + (at * children) as u32;
                self.push(Fork { bounds: bounds(from.iter().copied()), child, zero: 0 });
            }
            from = from.into_iter().step_by(children).collect();
            first = forks;
            level += LEVEL;
        }
        level | first
    }

    /// Are there more lines than names, or too many to be read one after the other?
    pub(super) const fn is_too_large(&self) -> bool {
        self.lines.len() >= PLACE as usize || self.steps > STEPS_MAX
    }

    /// The place of the next line; the first is 1.
    const fn next(&self) -> u32 {
        self.lines.len() as u32 + 1
    }

    fn push<T: dataplane_common::table::Record>(&mut self, record: T) {
        let mut line = Line::default();
        line.put(0, record);
        self.lines.push(line);
    }
}

/// The keys from the second on, three to a word.
fn bounds<const WORDS: usize>(from: impl Iterator<Item = u32>) -> [u64; WORDS] {
    let mut bounds = from.skip(1).map(u64::from).chain(std::iter::repeat(UNREACHED));
    std::array::from_fn(|_| {
        (0..3).fold(0, |word, lane| word | bounds.next().unwrap_or(UNREACHED) << (LANE_BITS * lane))
    })
}
