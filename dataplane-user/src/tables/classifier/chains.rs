//! Which rules does each tree hold, and which does it leave to the tree above?
//!
//! Remotes are in remotes: prefixes in prefixes, combinations of groups in smaller ones. A
//! tree that holds the rules of all that it is in answers at once, but every rule is in as
//! many trees as lie beneath its own. So a tree takes those of the next one above with it only
//! while they are few ([`FEW`]) or few beside its own ([`Try`]), and names that tree otherwise.

use std::collections::HashMap;

use dataplane_common::table::classifier::{FORK_BOUNDS, LEAF_RULES, LEVEL, LEVELS_MAX, STEPS_MAX};

use super::{
    Bundle,
    keys::{Keys, Work},
    trees::Trees,
};

/// So many rules fit into one leaf, wherever their keys are.
const FEW: usize = LEAF_RULES as usize / 2;
/// Tried in this order, until there is room.
const TRIES: [Try; 5] = [
    Try { share: 8, asked_max: 8 },
    Try { share: 3, asked_max: 8 },
    Try { share: 1, asked_max: 18 },
    Try { share: 1, asked_max: 12 },
    // As many lines as there may be, however many lines a tree has.
    Try { share: 1, asked_max: STEPS_MAX / (LEVELS_MAX + 1) },
];

/// How much is repeated.
#[derive(Clone, Copy)]
struct Try {
    /// How many times its own rules a tree may hold.
    share: usize,
    /// Trees that are asked one after the other, at most.
    asked_max: u32,
}

/// Remotes, each after the one that it is in.
#[derive(Default)]
pub(super) struct Chains {
    nodes: Vec<Node>,
}

struct Node {
    above: Option<usize>,
    bundles: Vec<u32>,
    /// How many remotes it is in, with itself.
    depth: u32,
    /// Of those that lie within it the greatest.
    deepest: u32,
}

/// Which trees there are.
pub(super) struct Plan {
    trees: Vec<Planned>,
    /// The tree of each remote.
    of: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Planned {
    bundles: Vec<u32>,
    above: Option<usize>,
}

impl Chains {
    /// Adds a remote with these rules.
    pub(super) fn add(&mut self, above: Option<usize>, bundles: Vec<u32>) -> usize {
        let depth = 1 + above.map_or(0, |above| self.nodes[above].depth);
        self.nodes.push(Node { above, bundles, depth, deepest: depth });
        self.nodes.len() - 1
    }

    /// What the remote is in.
    pub(super) fn above(&self, node: usize) -> Option<usize> {
        self.nodes[node].above
    }

    /// The first plan that fits into so many lines, or the last; the name of each remote's
    /// tree; and the trees.
    pub(super) fn trees(
        &mut self,
        bundles: &[Bundle],
        keys: &Keys,
        lines_max: usize,
    ) -> (Plan, Vec<u32>, Trees) {
        for node in (0..self.nodes.len()).rev() {
            if let Some(above) = self.nodes[node].above {
                self.nodes[above].deepest = self.nodes[above].deepest.max(self.nodes[node].deepest);
            }
        }
        let [roomy @ .., last] = TRIES;
        for roomy in roomy {
            let plan = self.plan(bundles, roomy);
            // Trees take less than that where rules are the same or hide others.
            if plan.lines(bundles) <= 2 * lines_max {
                let (names, trees) = plan.place(bundles, keys);
                if trees.lines.len() <= lines_max && !trees.is_too_large() {
                    return (plan, names, trees);
                }
            }
        }
        let plan = self.plan(bundles, last);
        let (names, trees) = plan.place(bundles, keys);
        (plan, names, trees)
    }

    fn plan(&self, bundles: &[Bundle], Try { share, asked_max }: Try) -> Plan {
        let rules = |of: &[u32]| of.iter().map(|at| bundles[*at as usize].len()).sum::<usize>();
        let mut plan = Plan { trees: Vec::new(), of: Vec::with_capacity(self.nodes.len()) };
        let mut known: HashMap<Planned, usize> = HashMap::new();
        // How many trees are asked, and how many rules each has.
        let mut asked: Vec<(u32, usize)> = Vec::new();
        for node in &self.nodes {
            let mut own = node.bundles.clone();
            let mut above = None;
            let mut steps = 1;
            if let Some(outer) = node.above.map(|outer| plan.of[outer]) {
                let (asked_above, rules_above) = asked[outer];
                let own_rules = rules(&own);
                let is_much = own_rules + rules_above > FEW.max(share * own_rules);
                // What may be asked is spread over the whole chain.
                let may = (asked_above + 1) * node.deepest <= asked_max * node.depth
                    || node.deepest <= asked_max;
                if is_much && may {
                    (above, steps) = (Some(outer), asked_above + 1);
                } else {
                    let planned = &plan.trees[outer];
                    own.extend(&planned.bundles);
                    (above, steps) = (planned.above, asked_above);
                }
            }
            own.sort_unstable();
            own.dedup();
            let count = rules(&own);
            let tree = *known.entry(Planned { bundles: own, above }).or_insert_with_key(|key| {
                plan.trees.push(key.clone());
                asked.push((steps, count));
                plan.trees.len() - 1
            });
            plan.of.push(tree);
        }
        plan
    }
}

impl Plan {
    /// About how many lines it takes.
    fn lines(&self, bundles: &[Bundle]) -> usize {
        let lines = |tree: &Planned| {
            let rules = tree.bundles.iter().map(|at| bundles[*at as usize].len());
            let leaves = (2 * rules.sum::<usize>() + 1).div_ceil(LEAF_RULES as usize);
            leaves + leaves / FORK_BOUNDS as usize + usize::from(leaves > 1)
        };
        self.trees.iter().map(lines).sum()
    }

    /// Makes the trees; answers the name of each remote's.
    fn place(&self, bundles: &[Bundle], keys: &Keys) -> (Vec<u32>, Trees) {
        let mut trees = Trees::default();
        let mut work = Work::default();
        // The name of each, and the lines to its end.
        let mut placed: Vec<(u32, u32)> = Vec::with_capacity(self.trees.len());
        for tree in &self.trees {
            let places = tree.bundles.iter().flat_map(|at| &bundles[*at as usize]).copied();
            let (above, steps_above) = tree.above.map_or((0, 0), |above| placed[above]);
            let name = trees.add(keys.first(places, &mut work), above);
            let own = if name == above { 0 } else { 1 + name / LEVEL };
            let steps = steps_above + own;
            trees.steps = trees.steps.max(steps);
            placed.push((name, steps));
        }
        (self.of.iter().map(|tree| placed[*tree].0).collect(), trees)
    }

    /// The bundles, those first that take the most room.
    pub(super) fn heaviest(&self, bundles: &[Bundle]) -> Vec<usize> {
        let mut rules = vec![0_usize; bundles.len()];
        for &bundle in self.trees.iter().flat_map(|tree| &tree.bundles) {
            rules[bundle as usize] += bundles[bundle as usize].len();
        }
        let mut order: Vec<usize> = (0..bundles.len()).collect();
        order.sort_by_key(|at| usize::MAX - rules[*at]);
        order
    }
}
