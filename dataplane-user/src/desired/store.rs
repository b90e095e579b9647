//! Where are the objects kept, over every restart?
//!
//! In one file (redb): each object, and what revisions changed of which. A revision is on the disk
//! before it is in force; whoever opens the file finds the last one, whole. What there was before
//! a revision is found by taking back what came since.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path as FsPath, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction, backends::FileBackend,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{objects::shown, path::Path};
use crate::plan;

/// An [`Object`], field by field.
type Kept<'k> = (u64, u64, u32, &'k str, &'k str);
/// By path.
const OBJECTS: TableDefinition<'_, &str, Kept<'_>> = TableDefinition::new("objects");
/// By revision: when and whose it was, and of how many objects.
const REVISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("revisions");
/// By revision: what it changed.
const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
/// What there is one of.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In it: the shape of all that is in the file.
const FORMAT: &str = "format";
const FORMAT_NOW: u64 = 1;
/// In it: the last revision.
const NUMBER: &str = "revision";

/// What revisions changed is kept for so long, if it is not of more objects.
const KEPT_MS: u64 = 15 * 60 * 1000;
const KEPT_CHANGES: usize = 1_000_000;
/// Of each scope so many whole sets are kept, however old.
const KEPT_SETS: usize = 50;

/// An object as it is to be.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The revision that wrote it last.
    pub revision: u64,
    /// The revision that made it, and which of that it was: lists are in this order.
    pub made: (u64, u32),
    /// Who wrote it last.
    pub scope: Arc<str>,
    /// What it says, as in the site file: JSON, of which equal objects have equal text.
    pub spec: Box<str>,
}

/// What is to become of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub path: Path,
    /// What it is to say; nothing: it goes.
    pub spec: Option<Box<str>>,
}

/// What became of an object.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Which.
    pub path: String,
    /// What it was before. What it has been since, is what it was before the next change, or is
    /// now.
    pub before: Option<Object>,
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
        let at_ms = i64::try_from(self.at_ms).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX).to_string()
    }
}

/// A revision on its way to the disk: dropped, it never was.
pub struct Pending {
    writing: WriteTransaction,
    number: u64,
    revision: Revision,
    forgotten: Vec<u64>,
    changed: Vec<(Path, Option<Object>)>,
}

/// Why the store cannot be used.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// The file cannot be opened.
    #[error("{0}")]
    File(std::io::Error),
    /// It could not be opened again after an error of the disk.
    #[error("it cannot be opened again after an error of the disk")]
    Closed,
    /// Another process has the file open.
    #[error("another sekisho is using it")]
    Taken,
    /// What is in the file.
    #[error("{0}")]
    Database(Box<redb::Error>),
    /// What is in the file, as we understand it.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Somebody else's.
    #[error(
        "it has format {0}, and this program reads {FORMAT_NOW}: it was written by another version \
         of sekisho"
    )]
    Format(u64),
}

impl<E: Into<redb::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        let error = error.into();
        if matches!(error, redb::Error::DatabaseAlreadyOpen) {
            return Self::Taken;
        }
        Self::Database(Box::new(error))
    }
}

/// The objects, in memory and on the disk.
pub struct Store {
    path: PathBuf,
    /// Nothing: the disk took something only in part, and it is to be opened anew.
    database: Option<Database>,
    number: u64,
    objects: BTreeMap<Path, Object>,
    /// Those of which it is known what they changed.
    revisions: BTreeMap<u64, Revision>,
}

impl Store {
    /// Opens the file, or makes it. Nobody but its owner reads it.
    pub fn open(path: &FsPath) -> Result<Self, Error> {
        let database = Some(open(path)?);
        let (objects, revisions) = Default::default();
        let mut store = Self { path: path.to_owned(), database, number: 0, objects, revisions };
        // Nothing is written where there is something to read: a full disk keeps nobody from it.
        if !store.read()? {
            let writing = store.database()?.begin_write()?;
            writing.open_table(META)?.insert(FORMAT, FORMAT_NOW)?;
            writing.open_table(OBJECTS)?;
            writing.open_table(REVISIONS)?;
            writing.open_table(CHANGES)?;
            writing.commit()?;
        }
        Ok(store)
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or(Error::Closed)
    }

    /// Reads all that is kept, if anything is.
    fn read(&mut self) -> Result<bool, Error> {
        let reading = self.database()?.begin_read()?;
        let meta = match reading.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(false),
            meta => meta?,
        };
        let format = meta.get(FORMAT)?.map_or(0, |format| format.value());
        if format != FORMAT_NOW {
            return Err(Error::Format(format));
        }
        self.number = meta.get(NUMBER)?.map_or(0, |number| number.value());
        for entry in reading.open_table(OBJECTS)?.iter()? {
            let (path, object) = entry?;
            let named = path.value().parse().map_err(|error| Error::Damaged(format!("{error}")));
            let (revision, made, at, scope, spec) = object.value();
            let (made, scope, spec) = ((made, at), scope.into(), spec.into());
            self.objects.insert(named?, Object { revision, made, scope, spec });
        }
        for entry in reading.open_table(REVISIONS)?.iter()? {
            let (number, revision) = entry?;
            self.revisions.insert(number.value(), read("a revision", revision.value())?);
        }
        Ok(true)
    }

    /// The last revision; 0: there was none.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// An object.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Object> {
        self.objects.get(path)
    }

    /// All of them.
    pub fn objects(&self) -> impl Iterator<Item = (&Path, &Object)> {
        self.objects.iter()
    }

    /// What has to change so that these are all objects of the scope. Those of others stay, but
    /// for what is named here, too.
    #[must_use]
    pub fn changes_to(&self, scope: &str, wanted: Vec<(Path, Box<str>)>) -> Vec<Change> {
        let mut gone: BTreeSet<_> = self
            .objects
            .iter()
            .filter(|(_, of)| &*of.scope == scope)
            .map(|(path, _)| path)
            .collect();
        let mut changes = Vec::new();
        for (path, spec) in wanted {
            gone.remove(&path);
            let is_so = |object: &Object| object.spec == spec && &*object.scope == scope;
            if !self.objects.get(&path).is_some_and(is_so) {
                changes.push(Change { path, spec: Some(spec) });
            }
        }
        // What stands in something goes before that does.
        let gone = gone.into_iter().rev();
        changes.extend(gone.map(|path| Change { path: path.clone(), spec: None }));
        changes
    }

    /// What would stand in something that goes with these changes, and whose it is.
    #[must_use]
    pub fn orphan(&self, changes: &[Change]) -> Option<(&Path, &Object)> {
        let gone: HashSet<_> =
            changes.iter().filter(|of| of.spec.is_none()).map(|of| &of.path).collect();
        let is_left = |path: &Path| {
            !gone.contains(path) && path.parent().is_some_and(|parent| gone.contains(&parent))
        };
        self.objects.iter().find(|(path, _)| is_left(path))
    }

    /// The site file that there is with these changes.
    pub fn site_with(&self, changes: &[Change]) -> Result<Json, Error> {
        let new: BTreeMap<_, _> = changes.iter().map(|of| (&of.path, of.spec.as_deref())).collect();
        let old = self.objects.iter().filter_map(|(path, object)| {
            let spec = new.get(path).copied().unwrap_or(Some(&object.spec))?;
            Some((object.made, path, spec))
        });
        let made = (0..).zip(changes).filter_map(|(at, Change { path, spec })| {
            let is_new = !self.objects.contains_key(path);
            is_new.then_some(((self.number + 1, at), path, spec.as_deref()?))
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
            of.path.kind.is_outer() && of.spec.is_some() != self.objects.contains_key(&of.path)
        };
        let moved: HashSet<_> = changes.iter().filter(is_moved).map(|of| &of.path).collect();
        let mut lines = Vec::new();
        for Change { path, spec } in changes {
            // What stands in something that comes or goes, does so with it.
            if path.parent().is_some_and(|parent| moved.contains(&parent)) {
                continue;
            }
            let says = |spec: Option<&str>| spec.map(|spec| parsed(path, spec)).transpose();
            let before = says(self.objects.get(path).map(|object| &*object.spec))?;
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

    /// Opens the file again, if an error of the disk closed it.
    pub fn be_open(&mut self) -> Result<(), Error> {
        if self.database.is_none() {
            self.database = Some(open(&self.path)?);
        }
        Ok(())
    }

    /// Writes the changes beside what is there; nobody finds them before they are committed. What
    /// is changed to what it is already, is not changed; without any change there is no revision.
    ///
    /// After an error the store has to [recover](Self::recover).
    pub fn begin(
        &self,
        scope: &str,
        is_set: bool,
        changes: Vec<Change>,
    ) -> Result<Option<Pending>, Error> {
        let number = self.number + 1;
        let scope: Arc<str> = scope.into();
        let mut changed = Vec::new();
        for (at, Change { path, spec }) in (0..).zip(changes) {
            let before = self.objects.get(&path);
            let says = |of: &Object| Some(&of.spec) == spec.as_ref() && of.scope == scope;
            if !before.map_or(spec.is_none(), says) {
                let made = before.map_or((number, at), |object| object.made);
                let object = |spec| Object { revision: number, made, scope: scope.clone(), spec };
                changed.push((path, spec.map(object)));
            }
        }
        let count = changed.len();
        if count == 0 {
            return Ok(None);
        }
        let revision = Revision { at_ms: now_ms(), scope, is_set, count };
        let forgotten = forgotten(&self.revisions, &revision);
        let writing = self.database()?.begin_write()?;
        {
            let mut objects = writing.open_table(OBJECTS)?;
            // One beside the other they are written faster.
            let mut rows: Vec<_> = changed.iter().map(|of| (of.0.to_string(), of)).collect();
            rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            let mut changes = Vec::with_capacity(count);
            for (name, (path, after)) in rows {
                if let Some(Object { revision, made, scope, spec }) = after {
                    objects.insert(&*name, (*revision, made.0, made.1, &**scope, &**spec))?;
                } else {
                    objects.remove(&*name)?;
                }
                changes.push(Changed { path: name, before: self.objects.get(path).cloned() });
            }
            let changes = written(&changes)?;
            let mut of = (writing.open_table(REVISIONS)?, writing.open_table(CHANGES)?);
            of.0.insert(number, &*written(&revision)?)?;
            of.1.insert(number, &*changes)?;
            for number in &forgotten {
                of.0.remove(number)?;
                of.1.remove(number)?;
            }
            writing.open_table(META)?.insert(NUMBER, number)?;
        }
        Ok(Some(Pending { writing, number, revision, forgotten, changed }))
    }

    /// Makes what was begun the next revision: it is on the disk then.
    pub fn commit(&mut self, pending: Pending) -> Result<(), Error> {
        let Pending { writing, number, revision, forgotten, changed } = pending;
        if let Err(error) = writing.commit() {
            self.recover();
            return if self.number == number { Ok(()) } else { Err(error.into()) };
        }
        for (path, after) in changed {
            match after {
                Some(object) => drop(self.objects.insert(path, object)),
                None => drop(self.objects.remove(&path)),
            }
        }
        self.number = number;
        self.revisions.insert(number, revision);
        self.revisions.retain(|number, _| !forgotten.contains(number));
        Ok(())
    }

    /// After an error of the disk the file takes nothing more. What is there, opened anew, tells
    /// whether all of it was taken before that.
    pub fn recover(&mut self) {
        self.database = None;
        if let Ok(anew) = Self::open(&self.path) {
            *self = anew;
        }
    }

    /// A revision, if it is known.
    #[must_use]
    pub fn revision(&self, number: u64) -> Option<&Revision> {
        self.revisions.get(&number)
    }

    /// What a revision changed, if that is known.
    pub fn changes_of(&self, number: u64) -> Result<Option<Vec<Changed>>, Error> {
        let changes = self.database()?.begin_read()?.open_table(CHANGES)?.get(number)?;
        changes.map(|changes| read("a revision", changes.value())).transpose()
    }
}

fn open(path: &FsPath) -> Result<Database, Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = FileBackend::new(file.map_err(Error::File)?)?;
    Ok(Builder::new().create_with_backend(file)?)
}

/// Revisions of which, beside this new one, it need not be known any more what they changed.
fn forgotten(revisions: &BTreeMap<u64, Revision>, new: &Revision) -> Vec<u64> {
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

fn parsed(path: &Path, spec: &str) -> Result<Json, Error> {
    serde_json::from_str(spec).map_err(|error| Error::Damaged(format!("{path}: {error}")))
}

fn written(of: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(of).map_err(|error| Error::Damaged(error.to_string()))
}

fn read<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| Error::Damaged(format!("{what}: {error}")))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    /// A file that is there for as long as a test.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("sekisho-{name}-{}.redb", process::id()));
            let _ = fs::remove_file(&path);
            Self(path)
        }

        fn store(&self) -> Store {
            Store::open(&self.0).expect("a file of our own")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn path(text: &str) -> Path {
        text.parse().expect("a path")
    }

    fn commit(store: &mut Store, scope: &str, changes: &[Change]) {
        let pending = store.begin(scope, true, changes.to_vec()).expect("room");
        pending.into_iter().for_each(|pending| store.commit(pending).expect("room"));
    }

    fn wanted(objects: &[(&str, &str)]) -> Vec<(Path, Box<str>)> {
        objects.iter().map(|(of, spec)| (path(of), (*spec).into())).collect()
    }

    const TENANT: (&str, &str) = ("tenants/blue", r#"{"name":"blue"}"#);
    const NETWORK: (&str, &str) = ("tenants/blue/networks/n", r#"{"name":"n"}"#);
    const OTHER: (&str, &str) = ("tenants/blue/networks/a", r#"{"name":"a"}"#);

    #[test]
    fn what_was_committed_is_there_again() {
        let place = Place::new("again");
        let mut store = place.store();
        let changes = store.changes_to("site", wanted(&[TENANT, NETWORK, OTHER]));
        commit(&mut store, "site", &changes);
        assert_eq!(store.number(), 1);
        // What is so already makes no revision.
        assert!(store.changes_to("site", wanted(&[OTHER, TENANT, NETWORK])).is_empty());
        commit(&mut store, "site", &changes);
        assert_eq!(store.number(), 1);
        let changed = r#"{"mtu":1400,"name":"n"}"#;
        let changes = store.changes_to("site", wanted(&[TENANT, (NETWORK.0, changed)]));
        commit(&mut store, "site", &changes);
        let before: Vec<_> = store.objects().map(|(path, of)| (path.clone(), of.clone())).collect();
        drop(store);

        let store = place.store();
        assert_eq!(store.number(), 2);
        assert_eq!(
            store.objects().map(|(path, of)| (path.clone(), of.clone())).collect::<Vec<_>>(),
            before
        );
        let network = store.get(&path(NETWORK.0)).expect("it is there");
        assert_eq!((network.revision, network.made, &*network.spec), (2, (1, 1), changed));
        assert!(store.get(&path(OTHER.0)).is_none());
        let changes = store.changes_of(2).expect("a whole file").expect("it is young");
        let told = changes.iter().map(|of| (of.path.as_str(), of.before.is_some()));
        assert_eq!(told.collect::<Vec<_>>(), [(OTHER.0, true), (NETWORK.0, true)]);
        assert_eq!(store.changes_of(3).expect("a whole file"), None);
        let mode = fs::metadata(&place.0).expect("it is there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }

    #[test]
    fn a_scope_is_about_its_own_objects() {
        let place = Place::new("scopes");
        let mut store = place.store();
        for (scope, objects) in [("one", [TENANT, NETWORK].as_slice()), ("two", &[OTHER])] {
            let changes = store.changes_to(scope, wanted(objects));
            commit(&mut store, scope, &changes);
        }
        let changes = store.changes_to("two", Vec::new());
        assert_eq!(changes, [Change { path: path(OTHER.0), spec: None }]);
        let site = store.site_with(&changes).expect("whole");
        assert_eq!(site["tenants"][0]["networks"], serde_json::json!([{"name": "n"}]));
        // Lists are in the order in which they were made.
        let site = store.site_with(&[]).expect("whole");
        assert_eq!(
            site["tenants"][0]["networks"],
            serde_json::json!([{"name": "n"}, {"name": "a"}])
        );
    }

    #[test]
    fn changes_are_told_object_by_object() {
        let place = Place::new("told");
        let mut store = place.store();
        let port = ("tenants/blue/ports/p", r#"{"name":"p","mac":"a"}"#);
        let told = |store: &Store, objects: &[(&str, &str)]| {
            store.told(&store.changes_to("site", wanted(objects))).expect("whole")
        };
        // What stands in something that comes does so with it.
        assert_eq!(told(&store, &[TENANT, NETWORK, port]), ["+ tenants/blue"]);
        let changes = store.changes_to("site", wanted(&[TENANT, NETWORK, port]));
        commit(&mut store, "site", &changes);
        let rule = ("tenants/blue/security_groups/g/rules/x", r#"{"direction":"egress"}"#);
        let other = (port.0, r#"{"name":"p","mac":"b"}"#);
        assert_eq!(
            told(&store, &[TENANT, OTHER, other, rule]),
            [
                format!("+ {}", OTHER.0),
                format!("~ {}/mac: \"a\" → \"b\"", port.0),
                // It has no name but for what it says.
                format!("+ {} {}", rule.0, rule.1),
                format!("- {}", NETWORK.0),
            ]
        );
        assert_eq!(told(&store, &[]), ["- tenants/blue"]);
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

    #[test]
    fn another_format_is_refused() {
        let place = Place::new("format");
        let store = place.store();
        let writing = store.database().expect("open").begin_write().expect("it is ours");
        writing.open_table(META).expect("made").insert(FORMAT, FORMAT_NOW + 1).expect("room");
        writing.commit().expect("room");
        drop(store);
        let refused = Store::open(&place.0).err().expect("it is another's").to_string();
        assert!(refused.contains("another version of sekisho"), "{refused}");
    }
}
