//! How do a policy's rules become an object in which the first that matches is found quickly?
//!
//! What such an object looks like is told in [`dataplane_common::table::classifier`]. Rules
//! with the same remote are a [`Bundle`]; what remotes there are and how they contain each
//! other is a forest of chains ([`chains`]), which become trees ([`trees`]) over the keys that
//! rules match ([`keys`]).

use std::collections::{BTreeMap, HashMap};

use dataplane_common::{
    addr::{Addr, V4_PREFIX_OFFSET_BITS},
    table::{
        classifier::{Head, ROWS_MAX, Row, form, kind},
        heap::{LINE_BYTES, Line},
        policy::{Rule, family, remote},
    },
};

use super::{
    Lpm,
    classes::{Classes, is_by_set},
    heap::{Full, Space},
};
use chains::{Chains, Plan};
use keys::Keys;

mod chains;
mod keys;
mod trees;

/// What an object may take for each rule, and for each prefix of an address group that a rule
/// names.
pub const RULE_BYTES: usize = 128;
/// What it may take besides, however few rules there are.
pub const MORE_BYTES: usize = 64 << 10;
/// What it may take for each class of the tenant.
pub const CLASS_BYTES: usize = 8;

/// About what a prefix takes besides its tree.
const NET_BYTES: usize = 48;

/// Prefixes of address groups by their sets, of both families.
pub type Groups = HashMap<u32, Vec<(Addr, u8)>>;

/// Why there is no object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The heap is full.
    #[error(transparent)]
    Full(#[from] Full),
    /// The rules overlap so much that they would take too much room.
    #[error("its rules would take {bytes} bytes, and {most} is the most")]
    TooLarge {
        /// What they would take.
        bytes: usize,
        /// The most.
        most: usize,
        /// The ids of rules that take most of it.
        rules: Vec<u32>,
    },
}

/// How many rules an error names.
const NAMED_MAX: usize = 8;

/// Makes the object for those of a run's rules that are of this family; answers its first
/// line, 0 if there is no rule. `classes` are those of the rules' tenant.
pub fn build(
    rules: &[Rule],
    of: u8,
    groups: &Groups,
    classes: &Classes,
    space: &mut impl Space,
) -> Result<u32, Error> {
    let rules: Vec<Rule> = rules.iter().filter(|rule| rule.family == of).copied().collect();
    if rules.is_empty() {
        return Ok(0);
    }
    let run = Run { rules: &rules, is_v4: of == family::V4, groups, classes };
    match run.rows() {
        Some(rows) => Ok(run.in_rows(&rows, space)?),
        None => run.in_trees(space),
    }
}

/// Rules of one family, and what they refer to.
struct Run<'r> {
    rules: &'r [Rule],
    is_v4: bool,
    groups: &'r Groups,
    classes: &'r Classes,
}

/// Rules with the same remote, by their places in the run.
type Bundle = Vec<u32>;
/// A prefix, its first address in 128 bits and its length.
type Net = (u128, u8);

impl Run<'_> {
    /// A row for each rule and prefix, with the rule's place; `None` if they are too many.
    fn rows(&self) -> Option<Vec<(usize, Row)>> {
        let mut rows = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            for (low, end) in keys::of(rule) {
                let high = end - 1;
                let row = Row { id: rule.id, low, high, ..Row::default() };
                if is_by_set(rule) {
                    rows.push((at, row));
                }
                for (net, bits) in self.nets(rule) {
                    let (high, low) = (64 - bits.min(64), 128 - bits.max(64));
                    let shifts = [high / 2, high - high / 2, low / 2, low - low / 2];
                    let net = [(net >> 64) as u64, net as u64];
                    rows.push((at, Row { shifts, net, ..row }));
                    if rows.len() > ROWS_MAX as usize {
                        return None;
                    }
                }
            }
        }
        (rows.len() <= ROWS_MAX as usize).then_some(rows)
    }

    fn in_rows(&self, rows: &[(usize, Row)], space: &mut impl Space) -> Result<u32, Full> {
        let mut bits = [Vec::new(), Vec::new()];
        let mut by_prefix = 0;
        for (place, (at, _)) in rows.iter().enumerate() {
            let rule = &self.rules[*at];
            let lists = if rule.remote == remote::LINES { 2 } else { 1 };
            if !is_by_set(rule) {
                by_prefix |= 1 << place;
                continue;
            }
            for bits in &mut bits[..lists] {
                for &class in self.classes.with(rule.set) {
                    put(bits, class, |of: &mut u32| *of |= 1 << place);
                }
            }
        }
        let [members, lines] = bits;
        let kinds = kinds(space)?;
        let head = Head {
            kinds,
            form: form::ROWS,
            rows: rows.len() as u32,
            by_prefix,
            members: space.list(&members)?,
            lines: space.list(&lines)?,
            ..Head::default()
        };
        let mut object = vec![Line::default(); 1 + rows.len().div_ceil(2)];
        object[0].put(0, head);
        for (place, (_, row)) in rows.iter().enumerate() {
            object[1 + place / 2].put(place as u32, *row);
        }
        space.place(object)
    }

    fn in_trees(&self, space: &mut impl Space) -> Result<u32, Error> {
        let mut forest = self.forest();
        let most = self.budget_bytes();
        let keys = Keys::new(self.rules);
        // What is asked of a heap's room is known before any of it is taken, but for the
        // prefixes', which need the trees' places.
        let others = forest.nets.len() * NET_BYTES + self.rules.len() * size_of::<u32>();
        let room = most.saturating_sub(others) / LINE_BYTES;
        let (plan, tree_of, trees) = forest.chains.trees(&forest.bundles, &keys, room);
        let too_large =
            |bytes| Error::TooLarge { bytes, most, rules: self.blame(&plan, &forest.bundles) };
        let mut bytes = trees.lines.len() * LINE_BYTES + self.rules.len() * size_of::<u32>();
        if bytes > most || trees.is_too_large() {
            return Err(too_large(bytes));
        }
        let mut lpm = Lpm::new();
        for (node, (net, bits)) in &forest.nets {
            let above = forest.chains.above(*node).map_or(0, |above| tree_of[above]);
            if tree_of[*node] != above {
                lpm.insert(Addr::v6(net.to_be_bytes()), *bits, tree_of[*node]);
            }
        }
        let by_class = |classes: &[(u32, usize)]| {
            let mut list = Vec::new();
            for &(class, node) in classes {
                put(&mut list, class, |of: &mut u32| *of = tree_of[node]);
            }
            list
        };
        let (members, lines) = (by_class(&forest.members), by_class(&forest.lines));
        bytes += (members.len() + lines.len()) * size_of::<u32>();

        let mut counted = Counted { space, lines: 0 };
        let prefixes = lpm.store(&mut counted)?;
        bytes += counted.lines * LINE_BYTES;
        if bytes > most {
            return Err(too_large(bytes));
        }
        let ids: Vec<u32> = self.rules.iter().map(|rule| rule.id).collect();
        let kinds = kinds(space)?;
        let head = Head {
            kinds,
            form: form::TREES,
            members: space.list(&members)?,
            lines: space.list(&lines)?,
            prefixes,
            everybody: forest.everybody.map_or(0, |node| tree_of[node]),
            // Places of trees count from 1.
            trees: space.place(trees.lines)?.saturating_sub(1),
            ids: space.list(&ids)?,
            ..Head::default()
        };
        let mut object = Line::default();
        object.put(0, head);
        Ok(space.place(vec![object])?)
    }

    /// What remotes there are.
    fn forest(&self) -> Forest {
        let mut bundles = Vec::new();
        let mut of: HashMap<(u8, u32, Net), u32> = HashMap::new();
        let mut everybody = Vec::new();
        let mut nets: BTreeMap<Net, Vec<u32>> = BTreeMap::new();
        let mut by_set: HashMap<u32, Vec<(bool, u32)>> = HashMap::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let net =
                (rule.remote == remote::PREFIX).then(|| net(rule.prefix, rule.prefix_bits as u8));
            let set = if net.is_some() || rule.remote == remote::ANY { 0 } else { rule.set };
            let number =
                *of.entry((rule.remote, set, net.unwrap_or_default())).or_insert_with(|| {
                    let number = bundles.len() as u32;
                    bundles.push(Bundle::new());
                    if is_by_set(rule) {
                        by_set.entry(set).or_default().push((rule.remote == remote::LINES, number));
                    }
                    for net in self.nets(rule) {
                        if net.1 == self.whole_bits() {
                            everybody.push(number);
                        } else {
                            nets.entry(net).or_default().push(number);
                        }
                    }
                    number
                });
            bundles[number as usize].push(at as u32);
        }
        let mut chains = Chains::default();
        let everybody = (!everybody.is_empty()).then(|| chains.add(None, everybody));
        // In order, so that a prefix comes after those that it is in.
        let mut within: Vec<(Net, usize)> = Vec::new();
        let mut placed = Vec::with_capacity(nets.len());
        for (net, own) in nets {
            while within.last().is_some_and(|(outer, _)| !is_within(net, *outer)) {
                within.pop();
            }
            let node = chains.add(within.last().map(|(_, node)| *node), own);
            within.push((net, node));
            placed.push((node, net));
        }
        let members = self.by_class(&mut chains, &bundles, &by_set, false);
        let lines = self.by_class(&mut chains, &bundles, &by_set, true);
        Forest { bundles, chains, everybody, nets: placed, members, lines }
    }

    /// Classes that are in a set of a rule, and their places: sets with many rules first, so
    /// that combinations share them.
    fn by_class(
        &self,
        chains: &mut Chains,
        bundles: &[Bundle],
        by_set: &HashMap<u32, Vec<(bool, u32)>>,
        lines_only: bool,
    ) -> Vec<(u32, usize)> {
        let mut sets: Vec<(usize, u32, Vec<u32>)> = Vec::new();
        for (set, of) in by_set {
            let counts = of.iter().filter(|(is_line, _)| *is_line || !lines_only);
            let own: Vec<u32> = counts.map(|(_, bundle)| *bundle).collect();
            let rules = own.iter().map(|bundle| bundles[*bundle as usize].len()).sum();
            if rules > 0 {
                sets.push((rules, *set, own));
            }
        }
        sets.sort_unstable_by_key(|(rules, set, _)| (usize::MAX - rules, *set));
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (rank, (_, set, _)) in sets.iter().enumerate() {
            for &class in self.classes.with(*set) {
                classes.entry(class).or_default().push(rank);
            }
        }
        let mut nodes: HashMap<(Option<usize>, usize), usize> = HashMap::new();
        let mut place = |ranks: Vec<usize>| {
            ranks.into_iter().fold(None, |above, rank| {
                let add = || chains.add(above, sets[rank].2.clone());
                Some(*nodes.entry((above, rank)).or_insert_with(add))
            })
        };
        classes.into_iter().filter_map(|(class, ranks)| Some((class, place(ranks)?))).collect()
    }

    /// The prefixes of a rule's remote, of its family.
    fn nets(&self, rule: &Rule) -> Vec<Net> {
        let whole = self.whole_bits();
        let nets: &[(Addr, u8)] = match rule.remote {
            remote::ANY => return vec![(net(Addr::v4([0; 4]), whole).0, whole)],
            remote::PREFIX => &[(rule.prefix, rule.prefix_bits as u8)],
            remote::ADDRESSES => self.groups.get(&rule.set).map_or(&[], Vec::as_slice),
            _ => &[],
        };
        // Mapped addresses are IPv4's, whatever prefix holds them.
        let is_ours = |(addr, bits): &&(Addr, u8)| {
            *bits <= 128 && (addr.is_v4() && *bits >= V4_PREFIX_OFFSET_BITS) == self.is_v4
        };
        let mut nets: Vec<Net> = nets.iter().filter(is_ours).map(|of| net(of.0, of.1)).collect();
        nets.sort_unstable();
        nets.dedup();
        nets
    }

    /// The length of a prefix that holds every address.
    const fn whole_bits(&self) -> u8 {
        if self.is_v4 { V4_PREFIX_OFFSET_BITS } else { 0 }
    }

    /// How much room there is.
    fn budget_bytes(&self) -> usize {
        let named = self.rules.iter().filter(|rule| rule.remote == remote::ADDRESSES);
        let sets: std::collections::HashSet<u32> = named.map(|rule| rule.set).collect();
        let prefixes = sets.iter().filter_map(|set| Some(self.groups.get(set)?.len()));
        let rules = self.rules.len() + prefixes.sum::<usize>();
        MORE_BYTES + rules * RULE_BYTES + self.classes.len() * CLASS_BYTES
    }

    /// The ids of rules that take most of the room.
    fn blame(&self, plan: &Plan, bundles: &[Bundle]) -> Vec<u32> {
        let rules = plan.heaviest(bundles).into_iter().flat_map(|at| &bundles[at]);
        rules.take(NAMED_MAX).map(|&at| self.rules[at as usize].id).collect()
    }
}

/// Everything that has a tree.
struct Forest {
    bundles: Vec<Bundle>,
    chains: Chains,
    everybody: Option<usize>,
    nets: Vec<(usize, Net)>,
    members: Vec<(u32, usize)>,
    lines: Vec<(u32, usize)>,
}

/// Counts the lines that are placed in a space.
struct Counted<'s, S> {
    space: &'s mut S,
    lines: usize,
}

impl<S: Space> Space for Counted<'_, S> {
    fn place(&mut self, lines: Vec<Line>) -> Result<u32, Full> {
        self.lines += lines.len();
        self.space.place(lines)
    }

    fn keep(&mut self, first: u32) {
        self.space.keep(first);
    }
}

/// The kinds of all protocols.
fn kinds(space: &mut impl Space) -> Result<u32, Full> {
    let kinds: Vec<u8> = (0..=u8::MAX).map(kind).collect();
    Ok(space.list(&kinds)?.first)
}

/// Changes the element at `at` of a list that is as long as it has to be.
fn put<T: Default + Clone>(list: &mut Vec<T>, at: u32, change: impl FnOnce(&mut T)) {
    let at = at as usize;
    if list.len() <= at {
        list.resize(at + 1, T::default());
    }
    change(&mut list[at]);
}

fn net(addr: Addr, bits: u8) -> Net {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
    (u128::from_be_bytes(addr.bytes()) & mask, bits)
}

fn is_within(net: Net, outer: Net) -> bool {
    outer.1 <= net.1 && (net.0 ^ outer.0).checked_shr(128 - u32::from(outer.1)).unwrap_or(0) == 0
}
