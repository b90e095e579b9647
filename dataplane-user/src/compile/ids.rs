//! Which number does an object have, and has it changed since the last version?
//!
//! Objects are known by their names (`port blue/web-1`). A name keeps its number as
//! long as the object exists, so that flows, counters and traces go on meaning the
//! same thing. A number that became free is not given away again in the next version,
//! whose packets may still meet it, and a rule's never: flows go on naming the rules that
//! permitted them. Generations only grow, over all objects: a number's second owner never
//! has the generation of its first.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// Kinds of numbered objects; each has numbers of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// An attachment, by interface and VLAN.
    Attachment,
    /// A port, a line, an uplink.
    Endpoint,
    /// A network, a router, an uplink, an access.
    Zone,
    /// A next hop.
    NextHop,
    /// A tenant.
    Tenant,
    /// A combination of security groups.
    Policy,
    /// A rule.
    Rule,
    /// A security group, address group, line or line group that rules name.
    Set,
    /// A MAC of a port, a line, an uplink: who owns flows.
    Owner,
    /// A route.
    Route,
    /// A limit of a port or router, and what is agreed.
    Meter,
}

/// The numbers of one version.
#[derive(Clone, Default, Debug)]
pub struct Ids {
    numbers: BTreeMap<(Kind, String), u32>,
    names: HashMap<(Kind, u32), String>,
    /// A digest of what each object with a generation looks like, and its generation.
    contents: HashMap<(Kind, u32), (String, u32)>,
    newest: Newest,
}

/// The highest that were ever given away, also to objects that are no more.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Newest {
    /// Of all generations.
    pub generation: u32,
    /// Of the rules' numbers.
    pub rule: u32,
}

/// An object as it is kept over a restart: its kind, name and number, and if it has
/// a generation, that and the digest of what it looked like.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Kept {
    kind: Kind,
    name: String,
    number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dated: Option<(String, u32)>,
}

/// Numbers in the making, on the ground of the version before.
pub struct Numbering<'p> {
    previous: &'p Ids,
    next: Ids,
    free: HashMap<Kind, u32>,
    changed: HashSet<(Kind, u32)>,
}

impl Ids {
    /// Numbers of which nothing is known but that none was above these.
    #[must_use]
    pub fn beyond(newest: Newest) -> Self {
        Self { newest, ..Self::default() }
    }

    /// Everything, to be kept over a restart.
    #[must_use]
    pub fn keep(&self) -> Vec<Kept> {
        let keep = |((kind, name), &number): (&(Kind, String), &u32)| Kept {
            kind: *kind,
            name: name.clone(),
            number,
            dated: self.contents.get(&(*kind, number)).cloned(),
        };
        self.numbers.iter().map(keep).collect()
    }

    /// The highest numbers and generations so far.
    #[must_use]
    pub const fn newest(&self) -> Newest {
        self.newest
    }

    /// What was kept, and the highest of all.
    #[must_use]
    pub fn kept(kept: Vec<Kept>, newest: Newest) -> Self {
        let mut ids = Self::beyond(newest);
        for object in kept {
            ids.numbers.insert((object.kind, object.name.clone()), object.number);
            ids.names.insert((object.kind, object.number), object.name);
            if object.kind == Kind::Rule {
                ids.newest.rule = ids.newest.rule.max(object.number);
            }
            if let Some(dated) = object.dated {
                ids.newest.generation = ids.newest.generation.max(dated.1);
                ids.contents.insert((object.kind, object.number), dated);
            }
        }
        ids
    }

    /// The number of a name.
    #[must_use]
    pub fn number(&self, kind: Kind, name: &str) -> Option<u32> {
        self.numbers.get(&(kind, name.to_owned())).copied()
    }

    /// The name of a number; numbers come from tables and may be of another version.
    #[must_use]
    pub fn name(&self, kind: Kind, number: u32) -> &str {
        self.names.get(&(kind, number)).map_or("?", String::as_str)
    }

    /// Is the number anybody's?
    #[must_use]
    pub fn has(&self, kind: Kind, number: u32) -> bool {
        self.names.contains_key(&(kind, number))
    }

    /// The generation of a number, if its kind has generations.
    #[must_use]
    pub fn generation(&self, kind: Kind, number: u32) -> Option<u32> {
        self.contents.get(&(kind, number)).map(|(_, generation)| *generation)
    }

    /// Objects of a kind that `before` did not have under their number.
    pub fn new_since<'a>(&'a self, before: &'a Self, kind: Kind) -> impl Iterator<Item = u32> {
        let is_new = move |(name, number): &(&str, u32)| before.number(kind, name) != Some(*number);
        self.all(kind).filter(is_new).map(|(_, number)| number)
    }

    /// All objects of a kind, by name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, u32)> {
        self.numbers
            .range((kind, String::new())..)
            .take_while(move |((of, _), _)| *of == kind)
            .map(|((_, name), &number)| (name.as_str(), number))
    }
}

impl<'p> Numbering<'p> {
    /// Begins a version after `previous`.
    #[must_use]
    pub fn after(previous: &'p Ids) -> Self {
        let next = Ids::beyond(previous.newest);
        Self { previous, next, free: HashMap::new(), changed: HashSet::new() }
    }

    /// The number of an object, its old one if it had one. Numbers begin with 1.
    pub fn number(&mut self, kind: Kind, name: &str) -> u32 {
        let key = (kind, name.to_owned());
        if let Some(&number) = self.next.numbers.get(&key) {
            return number;
        }
        let number = self.previous.numbers.get(&key).copied().unwrap_or_else(|| self.fresh(kind));
        self.next.numbers.insert(key, number);
        self.next.names.insert((kind, number), name.to_owned());
        number
    }

    /// The lowest number that neither this version nor the one before uses; for a rule, one
    /// that no rule ever had.
    fn fresh(&mut self, kind: Kind) -> u32 {
        if kind == Kind::Rule
            && let Some(rule) = self.next.newest.rule.checked_add(1)
        {
            self.next.newest.rule = rule;
            return rule;
        }
        let lowest = self.free.entry(kind).or_insert(1);
        while self.previous.names.contains_key(&(kind, *lowest)) {
            *lowest += 1;
        }
        *lowest += 1;
        *lowest - 1
    }

    /// The generation of an object that looks like `content`: its old one if it
    /// looked the same before.
    pub fn generation(&mut self, kind: Kind, number: u32, content: &str) -> u32 {
        let content = digest(content);
        let generation = match self.previous.contents.get(&(kind, number)) {
            Some((before, generation)) if *before == content => *generation,
            _ => {
                self.changed.insert((kind, number));
                self.next.newest.generation += 1;
                self.next.newest.generation
            }
        };
        self.next.contents.insert((kind, number), (content, generation));
        generation
    }

    /// Did [`generation`](Self::generation) find the object changed or new?
    #[must_use]
    pub fn is_changed(&self, kind: Kind, number: u32) -> bool {
        self.changed.contains(&(kind, number))
    }

    /// The numbers of the version.
    #[must_use]
    pub fn finish(self) -> Ids {
        self.next
    }

    /// Objects of the version before that are no more, by kind and name.
    #[must_use]
    pub fn removed(&self) -> Vec<(Kind, String)> {
        let gone = |key: &&(Kind, String)| !self.next.numbers.contains_key(*key);
        self.previous.numbers.keys().filter(gone).cloned().collect()
    }
}

/// 128 bits that no other content has, not even one that a tenant makes for it. A router's million
/// routes would otherwise be kept, written down and compared with every version.
fn digest(content: &str) -> String {
    let mut digest = blake3::hash(content.as_bytes()).to_hex().to_string();
    digest.truncate(32);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(previous: &Ids, names: &[(&str, &str)]) -> Ids {
        let mut numbering = Numbering::after(previous);
        for (name, content) in names {
            let number = numbering.number(Kind::Endpoint, name);
            numbering.generation(Kind::Endpoint, number, content);
        }
        numbering.finish()
    }

    #[test]
    fn names_keep_their_numbers_and_numbers_rest_for_a_version() {
        let first = version(&Ids::default(), &[("a", ""), ("b", ""), ("c", "")]);
        let second = version(&first, &[("d", ""), ("c", ""), ("a", "")]);
        assert_eq!(second.number(Kind::Endpoint, "a"), first.number(Kind::Endpoint, "a"));
        assert_eq!(second.number(Kind::Endpoint, "c"), Some(3));
        assert_eq!(second.number(Kind::Endpoint, "d"), Some(4));
        let third = version(&second, &[("e", ""), ("a", ""), ("c", ""), ("d", "")]);
        assert_eq!(third.number(Kind::Endpoint, "e"), Some(2));
        assert_eq!(third.name(Kind::Endpoint, 2), "e");
        assert_eq!(third.name(Kind::Endpoint, 9), "?");
    }

    #[test]
    fn what_is_kept_goes_on() {
        let first = version(&Ids::default(), &[("a", "x"), ("b", "x")]);
        let kept = serde_json::to_string(&first.keep()).unwrap();
        let again = Ids::kept(serde_json::from_str(&kept).unwrap(), first.newest());
        let second = version(&again, &[("a", "x"), ("b", "y"), ("c", "z")]);
        let of = |ids: &Ids, number| ids.generation(Kind::Endpoint, number).unwrap();
        assert_eq!(of(&second, 1), of(&first, 1));
        assert!(of(&second, 2) > of(&first, 2) && of(&second, 3) > of(&second, 2));
        // The newest object goes, the daemon starts again, an object comes: it has a
        // generation that none had.
        let gone = version(&second, &[("a", "x")]);
        let again = Ids::kept(gone.keep(), gone.newest());
        let back = version(&again, &[("a", "x"), ("c", "z")]);
        assert!(back.newest().generation > of(&second, 3));
        let newest = Newest { generation: of(&second, 3), rule: 0 };
        let lost = version(&Ids::beyond(newest), &[("a", "x")]);
        assert!(of(&lost, 1) > of(&second, 3));
    }

    #[test]
    fn the_number_of_a_rule_is_never_another_rules() {
        let version = |previous: &Ids, names: &[&str]| {
            let mut numbering = Numbering::after(previous);
            for name in names {
                numbering.number(Kind::Rule, name);
            }
            numbering.finish()
        };
        let first = version(&Ids::default(), &["a", "b"]);
        let second = version(&version(&version(&first, &["a"]), &["a"]), &["a", "c"]);
        assert_eq!(second.number(Kind::Rule, "c"), Some(3));
        assert_eq!(second.new_since(&first, Kind::Rule).collect::<Vec<_>>(), [3]);
        let again = Ids::kept(version(&second, &[]).keep(), second.newest());
        assert_eq!(version(&again, &["d"]).number(Kind::Rule, "d"), Some(4));
        assert_eq!(version(&Ids::beyond(again.newest()), &["d"]).number(Kind::Rule, "d"), Some(4));
    }

    #[test]
    fn generations_grow_only_with_a_change_and_are_never_met_again() {
        let first = version(&Ids::default(), &[("a", "x"), ("b", "x")]);
        let second = version(&first, &[("a", "x"), ("b", "y")]);
        let of = |ids: &Ids, number| ids.generation(Kind::Endpoint, number).unwrap();
        assert_eq!(of(&first, 1), of(&second, 1));
        assert!(of(&second, 2) > of(&first, 2));
        // Gone and come again, with the same number and look: still another generation.
        let third = version(&version(&second, &[("a", "x")]), &[("a", "x"), ("b", "y")]);
        assert_eq!(third.number(Kind::Endpoint, "b"), Some(2));
        assert!(of(&third, 2) > of(&second, 2));
    }
}
