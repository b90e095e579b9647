//! What became of the objects, and how is it taken back?

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    changes::Change,
    path::Path,
    store::{Error, Object, Store},
};

/// What revisions changed is kept for so long, if it is not of more objects.
const KEPT_MS: u64 = 15 * 60 * 1000;
const KEPT_CHANGES: usize = 1_000_000;
/// Of each scope so many whole sets are kept, however old.
const KEPT_SETS: usize = 50;

/// What became of an object.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Which.
    pub path: String,
    /// What it was before; nothing: it was not there.
    pub before: Option<Object>,
    /// What it was then.
    pub after: Option<Object>,
}

/// What was changed at once.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who wrote it.
    pub scope: Arc<str>,
    /// Is it the whole set of what the scope wants, and not an object of it?
    pub is_set: bool,
    /// Of how many objects.
    pub count: usize,
}

impl Revision {
    /// When it was, as RFC 3339 has it.
    #[must_use]
    pub fn at(&self) -> String {
        rfc3339(self.at_ms)
    }
}

/// A time in milliseconds since 1970, as RFC 3339 has it.
#[must_use]
pub fn rfc3339(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX).to_string()
}

/// What takes something back.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Back {
    /// What has to change.
    pub changes: Vec<Change>,
    /// What is not as it was left, because somebody else has changed it since.
    pub conflicts: Vec<Path>,
}

impl Store {
    /// A revision, if it is known what it changed.
    #[must_use]
    pub fn revision(&self, number: u64) -> Option<&Revision> {
        self.revisions().get(&number)
    }

    /// Is it known of all revisions after `from` what they changed, up to `to`?
    #[must_use]
    pub fn knows_all(&self, from: u64, to: u64) -> bool {
        from == to || self.revisions().range(from + 1..=to).count() as u64 == to - from
    }

    /// What the revisions after `from` changed, up to `to`, of each object first and last. Nothing:
    /// of one of them that is not known any more.
    pub fn between(&self, from: u64, to: u64) -> Result<Option<Vec<Changed>>, Error> {
        if !self.knows_all(from, to) {
            return Ok(None);
        }
        Ok(Some(self.joined(from + 1..=to)?))
    }

    /// What takes back all that a scope has changed after a revision.
    pub fn back(&self, scope: &str, after: u64) -> Result<Back, Error> {
        let own = self.revisions().range(after + 1..).filter(|(_, of)| &*of.scope == scope);
        let mut back = Back::default();
        for Changed { path, before, after } in self.joined(own.map(|(number, _)| *number))? {
            let path = path.parse().map_err(|error| Error::Damaged(format!("{error}")))?;
            if self.get(&path) == after.as_ref() {
                back.changes.push(Change { path, spec: before.map(|object| object.spec) });
            } else {
                back.conflicts.push(path);
            }
        }
        Ok(back)
    }

    /// What these revisions, one after the other, came to. In the order of paths: what something
    /// stands in comes before it.
    fn joined(&self, revisions: impl Iterator<Item = u64>) -> Result<Vec<Changed>, Error> {
        let mut all = BTreeMap::<Path, Changed>::new();
        for number in revisions {
            let changes = self.changes_of(number)?;
            for changed in changes.ok_or_else(|| Error::Damaged(format!("revision {number}")))? {
                let path = changed.path.parse();
                let path = path.map_err(|error| Error::Damaged(format!("{error}")))?;
                match all.entry(path) {
                    Entry::Vacant(entry) => drop(entry.insert(changed)),
                    Entry::Occupied(mut entry) => entry.get_mut().after = changed.after,
                }
            }
        }
        Ok(all.into_values().collect())
    }
}

/// Revisions of which, beside this new one, it need not be known any more what they changed.
pub fn forgotten(revisions: &BTreeMap<u64, Revision>, new: &Revision) -> Vec<u64> {
    let all = || revisions.values().chain([new]);
    let mut count: usize = all().map(|of| of.count).sum();
    let mut sets = HashMap::new();
    for of in all().filter(|of| of.is_set) {
        *sets.entry(&of.scope).or_insert(0) += 1;
    }
    let mut forgotten = Vec::new();
    for (number, of) in revisions {
        if new.at_ms.saturating_sub(of.at_ms) <= KEPT_MS && count <= KEPT_CHANGES {
            break;
        }
        if of.is_set
            && let Some(sets) = sets.get_mut(&of.scope)
        {
            if *sets <= KEPT_SETS {
                continue;
            }
            *sets -= 1;
        }
        count -= of.count;
        forgotten.push(*number);
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::store::tests::{Place, commit, path};

    #[test]
    fn what_a_scope_did_is_taken_back_unless_another_has_changed_it() {
        let place = Place::new("back");
        let mut store = place.store();
        let own = |spec: &str| (path("tenants/blue/networks/own"), Some(spec.into()));
        let shared = |spec: &str| (path("tenants/blue/networks/shared"), Some(spec.into()));
        let mut write = |scope: &str, changes: &[(Path, Option<Box<str>>)]| {
            let changes = changes.iter().cloned().map(|(path, spec)| Change { path, spec });
            commit(&mut store, scope, &changes.collect::<Vec<_>>());
        };
        write("site", &[own("1"), shared("1")]);
        write("site", &[own("2")]);
        write("site", &[own("3"), shared("3"), (path("uplinks/o"), Some("3".into()))]);
        write("api", &[shared("4")]);
        let change = |(path, spec)| Change { path, spec };
        let back = store.back("site", 1).expect("whole");
        let own_again = change(own("1"));
        let gone = Change { path: path("uplinks/o"), spec: None };
        assert_eq!(back.changes, [own_again, gone]);
        assert_eq!(back.conflicts, [shared("").0]);
        assert_eq!(store.back("site", 3).expect("whole"), Back::default());
        let changed = store.between(1, 4).expect("whole").expect("all is known");
        let told = changed.iter().map(|of| {
            let says = |of: &Option<Object>| of.as_ref().map(|of| of.spec.to_string());
            (of.path.as_str(), says(&of.before), says(&of.after))
        });
        let says = |text: &str| Some(text.to_owned());
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("tenants/blue/networks/own", says("1"), says("3")),
                ("tenants/blue/networks/shared", says("1"), says("4")),
                ("uplinks/o", None, says("3")),
            ]
        );
        assert!(store.knows_all(0, 4) && store.knows_all(4, 4) && !store.knows_all(0, 5));
    }

    #[test]
    fn what_is_old_is_forgotten_but_for_the_last_sets() {
        let of = |at_ms, scope: &str, is_set, count| Revision {
            at_ms,
            scope: scope.into(),
            is_set,
            count,
        };
        let mut revisions = BTreeMap::new();
        for number in 0..60 {
            revisions.insert(2 * number, of(number, "often", true, 1));
            revisions.insert(2 * number + 1, of(number, "api", false, 1));
        }
        revisions.insert(200, of(59, "seldom", true, 1));
        let now = of(KEPT_MS + 30, "api", false, 1);
        let old: Vec<_> = forgotten(&revisions, &now);
        // Ten of sixty sets, and what of the rest is older than a quarter of an hour.
        assert_eq!(old.iter().filter(|number| *number % 2 == 0).count(), 10);
        assert_eq!(old.iter().filter(|number| *number % 2 == 1).count(), 30);
        let much = of(59, "api", false, KEPT_CHANGES);
        let old = forgotten(&revisions, &much);
        assert_eq!(old.len(), 70, "{old:?}");
    }
}
