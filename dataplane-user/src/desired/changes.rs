//! What has to change, and what would there be with it?

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value as Json, json};

use super::{
    objects::shown,
    path::Path,
    store::{Error, Object, Store},
};
use crate::plan;

/// The scope of what is written object by object.
pub const OF_OBJECTS: &str = "api";

/// What is to become of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub path: Path,
    /// What it is to say; nothing: it goes.
    pub spec: Option<Box<str>>,
}

/// What a scope wants of the objects.
pub struct Want<'s> {
    /// Who.
    pub scope: &'s str,
    /// What, in the order in which it is made.
    pub objects: Vec<(Path, Box<str>)>,
    /// Is this all that the scope wants? Then what it wanted beside it goes.
    pub prune: bool,
    /// What others say otherwise is to be as this scope says.
    pub take_over: bool,
}

/// What others say otherwise.
pub struct Conflict {
    /// Of what.
    pub path: Path,
    /// As it is.
    pub object: Object,
}

impl Store {
    /// What has to change so that all is as the scope wants it. Objects of others stay; those that
    /// are named here and say something else are conflicts, unless they are taken over.
    ///
    /// Of what something stands in, an entry that says nothing but its name only tells where that
    /// is. What was written object by object (scope [`OF_OBJECTS`]) nobody wants but who says it,
    /// too: it is the scope's then.
    pub fn changes_to(&self, want: Want<'_>) -> Result<Vec<Change>, Vec<Conflict>> {
        let Want { scope, objects, prune, take_over } = want;
        let own = self.objects().filter(|(_, of)| prune && &*of.scope == scope);
        let mut gone: BTreeSet<_> = own.map(|(path, _)| path).collect();
        let (mut changes, mut conflicts) = (Vec::new(), Vec::new());
        for (path, spec) in objects {
            gone.remove(&path);
            if let Some(object) = self.get(&path) {
                let (is_own, is_same) = (&*object.scope == scope, object.spec == spec);
                let is_theirs = !is_own && &*object.scope != OF_OBJECTS;
                if is_same && (is_own || is_theirs) || !is_own && is_bare(&path, &spec) {
                    continue;
                }
                if !is_same && !is_own && !take_over {
                    conflicts.push(Conflict { path, object: object.clone() });
                    continue;
                }
            }
            changes.push(Change { path, spec: Some(spec) });
        }
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        // What stands in something goes before that does.
        let gone = gone.into_iter().rev();
        changes.extend(gone.map(|path| Change { path: path.clone(), spec: None }));
        Ok(changes)
    }

    /// What would stand in something that goes with these changes, and whose it is.
    #[must_use]
    pub fn orphan(&self, changes: &[Change]) -> Option<(&Path, &Object)> {
        let gone: HashSet<_> =
            changes.iter().filter(|of| of.spec.is_none()).map(|of| &of.path).collect();
        let is_left = |path: &Path| {
            !gone.contains(path) && path.parent().is_some_and(|parent| gone.contains(&parent))
        };
        self.objects().find(|(path, _)| is_left(path))
    }

    /// The site file that there is with these changes.
    pub fn site_with(&self, changes: &[Change]) -> Result<Json, Error> {
        let new: BTreeMap<_, _> = changes.iter().map(|of| (&of.path, of.spec.as_deref())).collect();
        let old = self.objects().filter_map(|(path, object)| {
            let spec = new.get(path).copied().unwrap_or(Some(&object.spec))?;
            Some((object.made, path, spec))
        });
        let made = (0..).zip(changes).filter_map(|(at, Change { path, spec })| {
            let is_new = self.get(path).is_none();
            is_new.then_some(((self.number() + 1, at), path, spec.as_deref()?))
        });
        let mut all: Vec<_> = old.chain(made).collect();
        all.sort_unstable_by_key(|(made, ..)| *made);
        let all = all.into_iter().map(|(_, path, spec)| Ok((path, parsed(path, spec)?)));
        let all = all.collect::<Result<Vec<_>, Error>>()?;
        Ok(super::join(all.iter().map(|(path, spec)| (*path, spec))))
    }

    /// What these changes are, as lines to read.
    pub fn told(&self, changes: &[Change]) -> Result<Vec<String>, Error> {
        let is_moved = |of: &&Change| {
            of.path.kind.is_outer() && of.spec.is_some() != self.get(&of.path).is_some()
        };
        let moved: HashSet<_> = changes.iter().filter(is_moved).map(|of| &of.path).collect();
        let mut lines = Vec::new();
        for Change { path, spec } in changes {
            // What stands in something that comes or goes, does so with it.
            if path.parent().is_some_and(|parent| moved.contains(&parent)) {
                continue;
            }
            let says = |spec: Option<&str>| spec.map(|spec| parsed(path, spec)).transpose();
            let before = says(self.get(path).map(|object| &*object.spec))?;
            match (before, says(spec.as_deref())?) {
                (Some(before), Some(after)) => {
                    plan::compare(&path.to_string(), &before, &after, &mut lines);
                }
                (None, after) => {
                    lines.extend(after.map(|spec| format!("+ {}", shown(path, &spec))));
                }
                (Some(spec), None) => lines.push(format!("- {}", shown(path, &spec))),
            }
        }
        Ok(lines)
    }
}

/// Says it nothing but its name, though others stand in it?
fn is_bare(path: &Path, spec: &str) -> bool {
    let bare = || json!({ "name": path.name }).to_string();
    path.kind.is_outer() && *spec == *bare()
}

fn parsed(path: &Path, spec: &str) -> Result<Json, Error> {
    serde_json::from_str(spec).map_err(|error| Error::Damaged(format!("{path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::store::tests::{Place, commit, path, wanted};

    #[test]
    fn what_others_say_stays_unless_it_is_taken_over() {
        let place = Place::new("others");
        let mut store = place.store();
        let [tenant, theirs, written] =
            ["tenants/blue", "tenants/blue/networks/n", "tenants/blue/networks/w"];
        let spec = |name: &str, more: &str| format!("{{{more}\"name\":\"{name}\"}}");
        let said = [
            ("site", tenant, spec("blue", "\"description\":\"x\",")),
            ("site", theirs, spec("n", "")),
            (OF_OBJECTS, written, spec("w", "")),
        ];
        for (scope, at, spec) in said {
            commit(&mut store, scope, &[Change { path: path(at), spec: Some(spec.into()) }]);
        }
        let changes = |objects: &[(&str, &str)], take_over: bool| {
            let objects = wanted(objects);
            let changes = store.changes_to(Want { scope: "shop", objects, prune: true, take_over });
            let paths = |of: Vec<Path>| of.iter().map(ToString::to_string).collect::<Vec<_>>();
            changes
                .map(|of| paths(of.into_iter().map(|of| of.path).collect()))
                .map_err(|of| paths(of.into_iter().map(|of| of.path).collect()))
        };
        let none = Ok(Vec::new());
        // A name alone only tells where something is.
        assert_eq!(changes(&[(tenant, &spec("blue", ""))], false), none);
        // What another wants as well is the other's still, but for what nobody wants any more.
        assert_eq!(changes(&[(theirs, &spec("n", ""))], false), none);
        assert_eq!(changes(&[(written, &spec("w", ""))], false), Ok(vec![written.to_owned()]));
        let otherwise = [(theirs, "{\"mtu\":1400}"), (written, "{\"mtu\":1400}")];
        let both = vec![theirs.to_owned(), written.to_owned()];
        assert_eq!(changes(&otherwise, false), Err(both.clone()));
        assert_eq!(changes(&otherwise, true), Ok(both));
    }
}
