//! What is to be in force, and would it be taken?

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path as FsPath,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::Context;
use axum::http::StatusCode;
use serde_json::Value as Json;

use super::{File, refusal};
use crate::{
    check::{self, Checked},
    config::{Diagnostic, Severity, json},
    desired::{self, Change, Kind, Object, Path, Pending, Store, split},
    model::Site,
    problem::{Fault, Faulty, Unmet},
};

/// The scope of what site files say.
const OF_FILES: &str = "site";

/// The scope of what is written object by object.
const OF_OBJECTS: &str = "api";

/// What is to be in force, for all who ask.
#[derive(Clone)]
pub struct Wanted(Arc<RwLock<Store>>);

/// What is asked of an object.
pub struct Write {
    /// Of which.
    pub path: Path,
    /// What.
    pub what: What,
    /// When at all.
    pub only: Only,
}

/// What is to become of an object.
pub enum What {
    /// It says this.
    Put(Json),
    /// It says this besides; what is `null` it does not say any more (RFC 7396).
    Patch(Json),
    /// It goes, and with `all` what stands in it.
    Delete {
        /// Whatever stands in it.
        all: bool,
    },
}

/// Under which condition (RFC 9110, `If-Match`, `If-None-Match`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Under none.
    Always,
    /// If it is there.
    IfThere,
    /// If it is not.
    IfAbsent,
    /// If this revision wrote it last.
    IfRevision(u64),
}

/// What is wanted from now on, as the store has it.
#[derive(Default)]
pub struct Noted {
    /// Who wants it.
    scope: &'static str,
    /// Is it all that he wants?
    is_set: bool,
    /// What is not so by now.
    changes: Vec<Change>,
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
    /// All of this file.
    File(Box<Checked>),
    /// These changes: by a file, or of an object.
    Changes {
        /// By a file?
        is_set: bool,
        /// What changes.
        changes: Vec<Change>,
    },
}

impl Wanted {
    /// Opens the store, or makes it.
    pub fn open(path: &FsPath) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let store = Store::open(path).with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Self(Arc::new(RwLock::new(store))))
    }

    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as a site file.
    pub fn site(&self) -> Result<Json, desired::Error> {
        self.read().site_with(&[])
    }

    /// Writes down what is to be in force from now on; it is not yet.
    pub fn begin(&self, noted: Noted) -> Result<Option<Pending>, desired::Error> {
        self.write().be_open()?;
        let begun = self.read().begin(noted.scope, noted.is_set, noted.changes);
        begun.inspect_err(|_| self.write().recover())
    }

    /// From now on it is, whatever becomes of this process.
    pub fn note(&self, pending: Option<Pending>) -> Result<(), desired::Error> {
        pending.map_or(Ok(()), |pending| self.write().commit(pending))
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
            return self.by_file(File::read(config)?);
        }
        let file = File { name: store.display().to_string(), text: format!("{:#}", self.site()?) };
        let (site, checked) = read(&file)?;
        let mut warnings: Vec<_> = warnings(&file, &checked).collect();
        // It does not have to be there any more.
        if let Some(config) = config
            && let Ok(File { name, text }) = File::read(config)
            && let count @ 1.. = self.changes_to(&json::of_text(&text)).len()
        {
            warnings.push(format!(
                "{name} is not what was put in force last, which is in force again (objects that \
                 differ: {count}); `sekisho apply` puts the file in force"
            ));
        }
        Ok(Proposal { site, file: Arc::new(file), asked: Asked::Nothing, warnings })
    }

    /// What this file says, beside what is wanted object by object. It has to be a site by itself:
    /// of one that is not, nobody knows what is missing.
    pub fn by_file(&self, file: File) -> anyhow::Result<Proposal> {
        let (site, checked) = read(&file)?;
        if self.is_of_files() {
            let warnings = warnings(&file, &checked).collect();
            let asked = Asked::File(Box::new(checked));
            return Ok(Proposal { site, file: Arc::new(file), asked, warnings });
        }
        let changes = self.changes_to(&checked.json());
        let store = self.read();
        if let Some((path, object)) = store.orphan(&changes) {
            let (name, scope) = (&file.name, &object.scope);
            let said = format!(
                "{path} was written by `{scope}`, and {name} has no more what it stands in: delete \
                 it first"
            );
            return Err(Unmet::new(StatusCode::CONFLICT, said).into());
        }
        let all = store.site_with(&changes)?;
        drop(store);
        let mut with_others = check::check(&format!("{all:#}"));
        let site = with_others.site.take().ok_or_else(|| misfit(&all, &with_others))?;
        let found = with_others.diagnostics.iter().map(|found| fault(&all, found).in_line());
        let (warnings, file) = (found.collect(), Arc::new(file));
        Ok(Proposal { site, file, asked: Asked::Changes { is_set: true, changes }, warnings })
    }

    /// Is all that is wanted by site files?
    fn is_of_files(&self) -> bool {
        self.read().objects().all(|(_, object)| &*object.scope == OF_FILES)
    }

    /// What is in force with this.
    pub fn by_object(&self, write: &Write) -> anyhow::Result<Proposal> {
        let store = self.read();
        let changes = asked(&store, write)?;
        let after = store.site_with(&changes)?;
        drop(store);
        let file = File { name: write.path.to_string(), text: format!("{after:#}") };
        let mut checked = check::check(&file.text);
        let site = checked.site.take().ok_or_else(|| misfit(&after, &checked))?;
        let found = checked.diagnostics.iter().map(|found| fault(&after, found).in_line());
        let warnings = found.collect();
        let asked = Asked::Changes { is_set: false, changes };
        Ok(Proposal { site, file: Arc::new(file), asked, warnings })
    }

    /// What is noted with what is asked, and what that changes, as lines to read.
    pub fn noted(&self, asked: Asked) -> Result<(Noted, Vec<String>), desired::Error> {
        let (scope, is_set, changes) = match asked {
            Asked::Nothing => return Ok(Default::default()),
            Asked::File(checked) => (OF_FILES, true, self.changes_to(&checked.json())),
            Asked::Changes { is_set: true, changes } => (OF_FILES, true, changes),
            Asked::Changes { is_set: false, changes } => (OF_OBJECTS, false, changes),
        };
        let told = self.read().told(&changes)?;
        Ok((Noted { scope, is_set, changes }, told))
    }

    fn changes_to(&self, site: &Json) -> Vec<Change> {
        let wanted = split(site).into_iter().map(|(path, spec)| (path, spec.to_string().into()));
        self.read().changes_to(OF_FILES, wanted.collect())
    }
}

/// What changes if this is done.
fn asked(store: &Store, Write { path, what, only }: &Write) -> anyhow::Result<Vec<Change>> {
    let there = store.get(path);
    let absent = || Unmet::new(StatusCode::NOT_FOUND, format!("there is no {path}"));
    match (only, there) {
        (Only::IfAbsent, Some(object)) => {
            let revision = object.revision;
            let said = format!("{path} is there already, as of revision {revision}");
            return Err(Unmet::new(StatusCode::PRECONDITION_FAILED, said).into());
        }
        (Only::IfRevision(wanted), Some(object)) if object.revision != *wanted => {
            let (now, scope) = (object.revision, &object.scope);
            let at = store.revision(now).map_or_else(String::new, |of| format!(" at {}", of.at()));
            let said = format!(
                "{path} is of revision {now}, by `{scope}`{at}, and not of {wanted} any more: \
                 read it again"
            );
            return Err(Unmet::new(StatusCode::PRECONDITION_FAILED, said).into());
        }
        (Only::IfThere | Only::IfRevision(_), None) => {
            let said = format!("there is no {path} any more");
            return Err(Unmet::new(StatusCode::PRECONDITION_FAILED, said).into());
        }
        (Only::Always, _)
        | (Only::IfAbsent, None)
        | (Only::IfThere | Only::IfRevision(_), Some(_)) => {}
    }
    if let Some(parent) = path.parent().filter(|parent| store.get(parent).is_none()) {
        let said = format!("there is no {parent} that it could stand in");
        return Err(Unmet::new(StatusCode::NOT_FOUND, said).into());
    }
    let spec = match what {
        What::Put(spec) => spec.clone(),
        What::Patch(patch) => {
            let mut spec = serde_json::from_str(&there.ok_or_else(absent)?.spec)?;
            merge(&mut spec, patch);
            spec
        }
        What::Delete { all } => {
            there.ok_or_else(absent)?;
            let inside = store.objects().map(|(other, _)| other).filter(|other| {
                let parent = other.parent();
                let outer = parent.as_ref().and_then(Path::parent);
                parent.as_ref() == Some(path) || outer.as_ref() == Some(path)
            });
            let mut gone: Vec<_> = inside.cloned().collect();
            if let (false, Some(first)) = (all, gone.first()) {
                let said = format!(
                    "{} objects stand in {path}, as {first}: delete them first, or with \
                     `?cascade=true` all at once",
                    gone.len()
                );
                return Err(Unmet::new(StatusCode::CONFLICT, said).into());
            }
            gone.push(path.clone());
            return Ok(gone.into_iter().map(|path| Change { path, spec: None }).collect());
        }
    };
    let spec = desired::named(path, &spec).map_err(|said| {
        let fault = Fault {
            object: Some(path.to_string()),
            pointer: String::new(),
            line: None,
            column: None,
            detail: said,
            help: None,
        };
        Faulty { said: fault.in_line(), faults: vec![fault] }
    })?;
    Ok(vec![Change { path: path.clone(), spec: Some(spec.to_string().into()) }])
}

/// A merge patch (RFC 7396).
fn merge(into: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = Json::Object(serde_json::Map::new());
    }
    let Json::Object(fields) = into else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Json::Null), value);
        }
    }
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
