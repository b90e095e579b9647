//! What is to be in force, and would it be taken?

mod object;
mod rollback;
mod scope;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path as FsPath,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value as Json;
use tokio::sync::watch;

use super::{File, refusal};
use crate::{
    check::{self, Checked},
    config::{Diagnostic, Severity, json},
    desired::{
        self, Change, Changed, Draft, Kind, Object, Path, Pending, Revision, Store, Unconfirmed,
        Want,
        log::{Head, Operation, Record},
        split,
    },
    model::Site,
    problem::{Fault, Faulty},
};

pub use object::{Only, What, Write};
pub use rollback::{Take, What as HowMuch};
pub use scope::Terms;

/// The scope of what site files say, unless they are another's.
pub const OF_FILES: &str = "site";

/// What is to be in force, for all who ask.
#[derive(Clone)]
pub struct Wanted {
    store: Arc<RwLock<Store>>,
    /// Tells the last revision to all who wait for one.
    news: watch::Sender<u64>,
    /// What revisions changed, as long as somebody is being told: all are told from one copy.
    told: Arc<Mutex<HashMap<u64, Weak<[Changed]>>>>,
}

/// A site that is to be put in force.
pub struct Proposal {
    pub site: Site,
    /// Where it says so.
    pub file: Arc<File>,
    /// What is wanted with it.
    pub asked: Asked,
    /// What was probably not meant.
    pub warnings: Vec<String>,
}

/// What is wanted.
pub enum Asked {
    /// What is wanted already.
    Nothing,
    /// All of this file, which is all that there is, too.
    File { checked: Box<Checked>, confirm_within: Option<Duration> },
    /// These changes.
    Draft(Draft),
}

impl Wanted {
    /// Opens the store, or makes it.
    pub fn open(path: &FsPath) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let store = Store::open(path).with_context(|| format!("cannot use {}", path.display()))?;
        let news = watch::Sender::new(store.number());
        Ok(Self { store: Arc::new(RwLock::new(store)), news, told: Arc::default() })
    }

    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as a site file.
    pub fn site(&self) -> Result<Json, desired::Error> {
        self.read().site_with(&[])
    }

    /// Writes down what is to be in force from now on; it is not yet.
    pub fn begin(&self, draft: Draft) -> Result<Option<Pending>, desired::Error> {
        self.write().be_open()?;
        let begun = self.read().begin(draft);
        begun.inspect_err(|_| self.write().recover())
    }

    /// From now on it is, whatever becomes of this process.
    pub fn note(&self, pending: Option<Pending>, version: u32) -> Result<(), desired::Error> {
        let Some(pending) = pending else { return Ok(()) };
        let mut store = self.write();
        store.commit(pending, version)?;
        self.news.send_replace(store.number());
        Ok(())
    }

    /// The last revision.
    pub fn number(&self) -> u64 {
        self.read().number()
    }

    /// What is told of the last revision, as soon as there is one.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The revisions of which it is known what they changed.
    pub fn revisions(&self) -> BTreeMap<u64, Revision> {
        self.read().revisions().clone()
    }

    /// The scope's unconfirmed revision stays; answers which it was.
    pub fn confirm(
        &self,
        scope: &str,
        operation: Operation,
    ) -> Result<Option<u64>, desired::Error> {
        let mut store = self.write();
        let Some(of) = store.unconfirmed().get(scope).copied() else { return Ok(None) };
        store.confirm(scope, operation)?;
        Ok(Some(of.revision))
    }

    /// Notes that something was not done.
    pub fn refuse(&self, operation: Operation, why: &str) -> Result<(), desired::Error> {
        self.write().refuse(operation, why)
    }

    /// The last record of the log of operations.
    pub fn log(&self) -> Head {
        self.read().log().clone()
    }

    /// So many records of the log of operations, after this one.
    pub fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, desired::Error> {
        self.read().records(after, most)
    }

    /// What is to be taken back, since nobody has confirmed it in time.
    pub fn overdue(&self) -> Vec<(String, u64)> {
        let (store, now) = (self.read(), Instant::now());
        let due = store.unconfirmed().iter().filter(|(_, of)| of.due <= now);
        due.map(|(scope, of)| (scope.to_string(), of.revision)).collect()
    }

    /// It could not be taken back: it is tried again later.
    pub fn put_off(&self, scope: &str, wait: Duration) {
        self.write().put_off(scope, wait);
    }

    /// What a revision changed, if that is known.
    pub fn changes_of(&self, number: u64) -> Result<Option<Arc<[Changed]>>, desired::Error> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changes) = told.get(&number).and_then(Weak::upgrade) {
            return Ok(Some(changes));
        }
        let Some(changes) = self.read().changes_of(number)? else { return Ok(None) };
        let changes = Arc::<[Changed]>::from(changes);
        told.retain(|_, changes| changes.strong_count() > 0);
        told.insert(number, Arc::downgrade(&changes));
        Ok(Some(changes))
    }

    /// Is it known of all revisions after this one what they changed?
    pub fn knows_all_after(&self, number: u64) -> bool {
        self.read().knows_all(number, self.number())
    }

    /// What the revisions after `from` changed, up to `to`, if that is known.
    pub fn between(&self, from: u64, to: u64) -> Result<Option<Vec<Changed>>, desired::Error> {
        self.read().between(from, to)
    }

    /// By scope, the revision that is taken back unless somebody confirms it.
    pub fn unconfirmed(&self) -> BTreeMap<Arc<str>, Unconfirmed> {
        self.read().unconfirmed().clone()
    }

    /// An object.
    pub fn object(&self, path: &Path) -> Option<Object> {
        self.read().get(path).cloned()
    }

    /// All objects of which this says so, and the last revision.
    pub fn objects(&self, which: impl Fn(&Path) -> bool) -> (u64, Vec<(Path, Object)>) {
        let store = self.read();
        let found = store.objects().filter(|(path, _)| which(path));
        (store.number(), found.map(|(path, object)| (path.clone(), object.clone())).collect())
    }

    /// What a daemon puts in force that starts: what is known to be wanted or, where nothing is
    /// yet, what its site file says.
    pub fn at_start(&self, store: &FsPath, config: Option<&FsPath>) -> anyhow::Result<Proposal> {
        if self.read().number() == 0 {
            let config = config.with_context(|| {
                let store = store.display();
                format!("{store} does not say what is to be in force: name a site file (--config)")
            })?;
            return self.by_scope(File::read(config)?, &Terms::default());
        }
        let file = File { name: store.display().to_string(), text: format!("{:#}", self.site()?) };
        let (site, checked) = read(&file)?;
        let mut warnings: Vec<_> = warnings(&file, &checked).collect();
        // It does not have to be there any more.
        if let Some(config) = config
            && let Ok(File { name, text }) = File::read(config)
            && let count @ 1.. = self.changes_to_file(&json::of_text(&text)).len()
        {
            warnings.push(format!(
                "{name} is not what was put in force last, which is in force again (objects that \
                 differ: {count}); `sekisho apply` puts the file in force"
            ));
        }
        Ok(Proposal { site, file: Arc::new(file), asked: Asked::Nothing, warnings })
    }

    /// What is noted with what is asked, and what that changes, as lines to read.
    pub fn noted(
        &self,
        asked: Asked,
        operation: Operation,
    ) -> Result<(Draft, Vec<String>), desired::Error> {
        let mut draft = match asked {
            Asked::Nothing => return Ok(Default::default()),
            Asked::Draft(draft) => draft,
            Asked::File { checked, confirm_within } => {
                let changes = self.changes_to_file(&checked.json());
                let scope = OF_FILES.into();
                Draft { scope, is_set: true, confirm_within, changes, ..Draft::default() }
            }
        };
        let told = self.read().told(&draft.changes)?;
        draft.operation = operation.changing(&told);
        Ok((draft, told))
    }

    /// What has to change so that all is as a file says it.
    fn changes_to_file(&self, site: &Json) -> Vec<Change> {
        let want = Want { scope: OF_FILES, objects: objects(site), prune: true, take_over: true };
        self.read().changes_to(want).unwrap_or_default()
    }
}

/// What a site file says, object by object.
fn objects(site: &Json) -> Vec<(Path, Box<str>)> {
    split(site).into_iter().map(|(path, spec)| (path, spec.to_string().into())).collect()
}

/// What comes of these changes, if it is a site.
fn proposal(store: &Store, name: String, draft: Draft) -> anyhow::Result<Proposal> {
    let all = store.site_with(&draft.changes)?;
    let file = File { name, text: format!("{all:#}") };
    let mut checked = check::check(&file.text);
    let site = checked.site.take().ok_or_else(|| misfit(&all, &checked))?;
    let found = checked.diagnostics.iter().map(|found| fault(&all, found).in_line());
    let (warnings, file) = (found.collect(), Arc::new(file));
    Ok(Proposal { site, file, asked: Asked::Draft(draft), warnings })
}

/// Why a site would not be one, object by object.
fn misfit(site: &Json, checked: &Checked) -> anyhow::Error {
    let errors = checked.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let faults: Vec<_> = errors.map(|found| fault(site, found)).collect();
    let said: Vec<_> = faults.iter().map(Fault::in_line).collect();
    Faulty { said: said.join("\n"), faults }.into()
}

fn fault(site: &Json, found: &Diagnostic) -> Fault {
    let (path, pointer) = match desired::locate(site, &found.pointer) {
        Some((path, pointer)) => (path.to_string(), pointer),
        None => (Kind::Settings.word().to_owned(), &*found.pointer),
    };
    Fault {
        object: Some(path),
        pointer: pointer.to_owned(),
        line: None,
        column: None,
        detail: found.message.clone(),
        help: found.help.clone(),
    }
}

impl File {
    /// As it is now.
    pub fn read(path: &FsPath) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        Ok(Self { name, text })
    }
}

/// Checks a site file; answers what it means, and what else there is to say about it.
fn read(file: &File) -> anyhow::Result<(Site, Checked)> {
    let mut checked = check::check(&file.text);
    match checked.site.take() {
        Some(site) => Ok((site, checked)),
        None => Err(refusal(file, &checked)),
    }
}

/// What was probably not meant.
fn warnings(file: &File, checked: &Checked) -> impl Iterator<Item = String> {
    checked.diagnostics.iter().map(|one| one.in_line(&file.name))
}
