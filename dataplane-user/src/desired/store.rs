//! Where are the objects kept, over every restart?
//!
//! In one file (redb): each object, and what revisions changed of which. A revision is on the disk
//! before it is in force; whoever opens the file finds the last one, whole.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path as FsPath, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction, backends::FileBackend,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    changes::Change,
    history::{Changed, Revision, forgotten},
    log::{Head, Operation, Outcome, RECORDS_KEPT, Record},
    path::Path,
};

/// An [`Object`], field by field.
type Kept<'k> = (u64, u64, u32, &'k str, &'k str);
/// By path.
const OBJECTS: TableDefinition<'_, &str, Kept<'_>> = TableDefinition::new("objects");
/// By revision: when and whose it was, and of how many objects.
const REVISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("revisions");
/// By revision: what it changed.
const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
/// By scope: a revision of it that is taken back unless somebody confirms it, and when (in
/// milliseconds since 1970).
const UNCONFIRMED: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("unconfirmed");
/// By number: who did what.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// What there is one of.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In it: the shape of all that is in the file.
const FORMAT: &str = "format";
const FORMAT_NOW: u64 = 1;
/// In it: the last revision.
const NUMBER: &str = "revision";

/// For so long at most a revision waits for somebody to confirm it.
pub const CONFIRM_WITHIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

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

/// What is to be the next revision.
#[derive(Default)]
pub struct Draft {
    /// Who wants it.
    pub scope: Arc<str>,
    /// Is it all that he wants, and not an object of it?
    pub is_set: bool,
    /// Unless somebody confirms it for so long, it is taken back.
    pub confirm_within: Option<Duration>,
    /// What changes.
    pub changes: Vec<Change>,
    /// What is done with it, for the log.
    pub operation: Operation,
}

/// A revision that is taken back unless somebody confirms it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unconfirmed {
    /// Which.
    pub revision: u64,
    /// When, in milliseconds since 1970.
    pub until_ms: u64,
    /// When, as long as this process lives: whoever sets its clock changes nothing.
    pub due: Instant,
}

/// A revision on its way to the disk: dropped, it never was.
pub struct Pending {
    writing: WriteTransaction,
    number: u64,
    revision: Revision,
    unconfirmed: Option<Unconfirmed>,
    forgotten: Vec<u64>,
    changed: Vec<(Path, Option<Object>)>,
    operation: Operation,
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
    unconfirmed: BTreeMap<Arc<str>, Unconfirmed>,
    log: Head,
}

impl Store {
    /// Opens the file, or makes it. Nobody but its owner reads it.
    pub fn open(path: &FsPath) -> Result<Self, Error> {
        let database = Some(open(path)?);
        let (objects, revisions, unconfirmed, log) = Default::default();
        let path = path.to_owned();
        let mut store = Self { path, database, number: 0, objects, revisions, unconfirmed, log };
        // Nothing is written where there is something to read: a full disk keeps nobody from it.
        if !store.read()? {
            let writing = store.database()?.begin_write()?;
            writing.open_table(META)?.insert(FORMAT, FORMAT_NOW)?;
            writing.open_table(OBJECTS)?;
            writing.open_table(REVISIONS)?;
            writing.open_table(CHANGES)?;
            writing.open_table(UNCONFIRMED)?;
            writing.open_table(LOG)?;
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
        for entry in reading.open_table(UNCONFIRMED)?.iter()? {
            let (scope, of) = entry?;
            let (revision, until_ms) = of.value();
            let left = Duration::from_millis(until_ms.saturating_sub(now_ms()));
            // A clock that was set back makes nobody wait longer than anybody can have asked for.
            let due = Instant::now() + left.min(CONFIRM_WITHIN_MAX);
            self.unconfirmed.insert(scope.value().into(), Unconfirmed { revision, until_ms, due });
        }
        if let Some((_, last)) = reading.open_table(LOG)?.last()? {
            self.log = read::<Record>("a record of the log", last.value())?.head();
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
    pub fn begin(&self, draft: Draft) -> Result<Option<Pending>, Error> {
        let Draft { scope, is_set, confirm_within, changes, operation } = draft;
        let number = self.number + 1;
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
        let at_ms = now_ms();
        let unconfirmed = confirm_within.map(|within| {
            let until_ms = at_ms.saturating_add(within.as_millis() as u64);
            Unconfirmed { revision: number, until_ms, due: Instant::now() + within }
        });
        let revision = Revision { at_ms, scope, is_set, count };
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
                let before = self.objects.get(path).cloned();
                changes.push(Changed { path: name, before, after: after.clone() });
            }
            let changes = written(&changes)?;
            let mut of = (writing.open_table(REVISIONS)?, writing.open_table(CHANGES)?);
            of.0.insert(number, &*written(&revision)?)?;
            of.1.insert(number, &*changes)?;
            for number in &forgotten {
                of.0.remove(number)?;
                of.1.remove(number)?;
            }
            if revision.is_set {
                let mut of = writing.open_table(UNCONFIRMED)?;
                match unconfirmed {
                    Some(Unconfirmed { revision: number, until_ms, .. }) => {
                        of.insert(&*revision.scope, (number, until_ms))?;
                    }
                    None => drop(of.remove(&*revision.scope)?),
                }
            }
            writing.open_table(META)?.insert(NUMBER, number)?;
        }
        Ok(Some(Pending { writing, number, revision, unconfirmed, forgotten, changed, operation }))
    }

    /// Makes what was begun the next revision, in force as this version: it is on the disk then,
    /// and in the log.
    pub fn commit(&mut self, pending: Pending, site_version: u32) -> Result<(), Error> {
        let Pending { writing, number, revision, unconfirmed, forgotten, changed, operation } =
            pending;
        let outcome = Outcome::Done { revision: number, site_version: Some(site_version) };
        let committed = self.logged(&writing, operation, outcome).and_then(|head| {
            writing.commit()?;
            Ok(head)
        });
        match committed {
            Ok(head) => self.log = head,
            Err(error) => {
                self.recover();
                return if self.number == number { Ok(()) } else { Err(error) };
            }
        }
        for (path, after) in changed {
            match after {
                Some(object) => drop(self.objects.insert(path, object)),
                None => drop(self.objects.remove(&path)),
            }
        }
        if revision.is_set {
            self.unconfirmed.remove(&revision.scope);
        }
        self.unconfirmed.extend(unconfirmed.map(|of| (revision.scope.clone(), of)));
        self.number = number;
        self.revisions.insert(number, revision);
        self.revisions.retain(|number, _| !forgotten.contains(number));
        Ok(())
    }

    /// The revisions of which it is known what they changed.
    pub const fn revisions(&self) -> &BTreeMap<u64, Revision> {
        &self.revisions
    }

    /// What a revision changed, if that is known.
    pub fn changes_of(&self, number: u64) -> Result<Option<Vec<Changed>>, Error> {
        let changes = self.database()?.begin_read()?.open_table(CHANGES)?.get(number)?;
        changes.map(|changes| read("a revision", changes.value())).transpose()
    }

    /// By scope, the revision that is taken back unless somebody confirms it.
    pub const fn unconfirmed(&self) -> &BTreeMap<Arc<str>, Unconfirmed> {
        &self.unconfirmed
    }

    /// The scope's unconfirmed revision stays, or is not there to be taken back any more.
    pub fn confirm(&mut self, scope: &str, operation: Operation) -> Result<(), Error> {
        let outcome = Outcome::Done { revision: self.number, site_version: None };
        self.write(operation, outcome, |writing| {
            writing.open_table(UNCONFIRMED)?.remove(scope)?;
            Ok(())
        })?;
        self.unconfirmed.remove(scope);
        Ok(())
    }

    /// Notes that something was not done.
    pub fn refuse(&mut self, operation: Operation, why: &str) -> Result<(), Error> {
        self.write(operation, Outcome::refused(why), |_| Ok(()))
    }

    /// Writes something that is no revision, and that it was done.
    fn write(
        &mut self,
        operation: Operation,
        outcome: Outcome,
        what: impl FnOnce(&WriteTransaction) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.be_open()?;
        let write = || {
            let writing = self.database()?.begin_write()?;
            what(&writing)?;
            let head = self.logged(&writing, operation, outcome)?;
            writing.commit()?;
            Ok(head)
        };
        match write() {
            Ok(head) => {
                self.log = head;
                Ok(())
            }
            Err(error) => {
                self.recover();
                Err(error)
            }
        }
    }

    /// Writes the next record of the log; answers the head that it is then.
    fn logged(
        &self,
        writing: &WriteTransaction,
        operation: Operation,
        outcome: Outcome,
    ) -> Result<Head, Error> {
        let record = Record::after(&self.log, now_ms(), operation, outcome);
        let mut log = writing.open_table(LOG)?;
        log.insert(record.number, &*written(&record)?)?;
        if let Some(old) = record.number.checked_sub(RECORDS_KEPT) {
            log.remove(old)?;
        }
        Ok(record.head())
    }

    /// The last record of the log.
    pub const fn log(&self) -> &Head {
        &self.log
    }

    /// So many records of the log, after this one.
    pub fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, Error> {
        let log = self.database()?.begin_read()?.open_table(LOG)?;
        let records = log.range(after + 1..)?.take(most).map(|entry| {
            let (_, record) = entry?;
            read("a record of the log", record.value())
        });
        records.collect()
    }

    /// It could not be taken back: it is tried again later.
    pub fn put_off(&mut self, scope: &str, wait: Duration) {
        if let Some(of) = self.unconfirmed.get_mut(scope) {
            of.due = Instant::now() + wait;
        }
    }

    /// After an error of the disk the file takes nothing more. What is there, opened anew, tells
    /// whether all of it was taken before that.
    pub fn recover(&mut self) {
        self.database = None;
        if let Ok(anew) = Self::open(&self.path) {
            *self = anew;
        }
    }
}

fn open(path: &FsPath) -> Result<Database, Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = FileBackend::new(file.map_err(Error::File)?)?;
    Ok(Builder::new().create_with_backend(file)?)
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
pub mod tests {
    use std::{env, fs, process};

    use super::*;
    use crate::desired::{Want, log};

    /// A file that is there for as long as a test.
    pub struct Place(PathBuf);

    impl Place {
        pub fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("sekisho-{name}-{}.redb", process::id()));
            let _ = fs::remove_file(&path);
            Self(path)
        }

        pub fn store(&self) -> Store {
            Store::open(&self.0).expect("a file of our own")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    pub fn path(text: &str) -> Path {
        text.parse().expect("a path")
    }

    pub fn commit(store: &mut Store, scope: &str, changes: &[Change]) {
        let (scope, changes) = (scope.into(), changes.to_vec());
        let draft = Draft { scope, is_set: true, changes, ..Draft::default() };
        let pending = store.begin(draft).expect("room");
        pending.into_iter().for_each(|pending| store.commit(pending, 7).expect("room"));
    }

    fn changes_to(store: &Store, scope: &str, objects: Vec<(Path, Box<str>)>) -> Vec<Change> {
        let want = Want { scope, objects, prune: true, take_over: false };
        store.changes_to(want).ok().expect("no conflict")
    }

    pub fn wanted(objects: &[(&str, &str)]) -> Vec<(Path, Box<str>)> {
        objects.iter().map(|(of, spec)| (path(of), (*spec).into())).collect()
    }

    const TENANT: (&str, &str) = ("tenants/blue", r#"{"name":"blue"}"#);
    const NETWORK: (&str, &str) = ("tenants/blue/networks/n", r#"{"name":"n"}"#);
    const OTHER: (&str, &str) = ("tenants/blue/networks/a", r#"{"name":"a"}"#);

    #[test]
    fn what_was_committed_is_there_again() {
        let place = Place::new("again");
        let mut store = place.store();
        let changes = changes_to(&store, "site", wanted(&[TENANT, NETWORK, OTHER]));
        commit(&mut store, "site", &changes);
        assert_eq!(store.number(), 1);
        // What is so already makes no revision.
        assert!(changes_to(&store, "site", wanted(&[OTHER, TENANT, NETWORK])).is_empty());
        commit(&mut store, "site", &changes);
        assert_eq!(store.number(), 1);
        let changed = r#"{"mtu":1400,"name":"n"}"#;
        let changes = changes_to(&store, "site", wanted(&[TENANT, (NETWORK.0, changed)]));
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
        let log = store.records(0, 10).expect("a whole file");
        assert_eq!((log.len(), log::broken(&log), store.log()), (2, None, &log[1].head()));
        let mode = fs::metadata(&place.0).expect("it is there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }

    #[test]
    fn a_scope_is_about_its_own_objects() {
        let place = Place::new("scopes");
        let mut store = place.store();
        for (scope, objects) in [("one", [TENANT, NETWORK].as_slice()), ("two", &[OTHER])] {
            let changes = changes_to(&store, scope, wanted(objects));
            commit(&mut store, scope, &changes);
        }
        let changes = changes_to(&store, "two", Vec::new());
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
            store.told(&changes_to(store, "site", wanted(objects))).expect("whole")
        };
        // What stands in something that comes does so with it.
        assert_eq!(told(&store, &[TENANT, NETWORK, port]), ["+ tenants/blue"]);
        let changes = changes_to(&store, "site", wanted(&[TENANT, NETWORK, port]));
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
