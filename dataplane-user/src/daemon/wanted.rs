//! What is to be in force, and would it be taken?

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::Context;
use serde_json::Value as Json;

use super::{File, refusal};
use crate::{
    check::{self, Checked},
    config::json,
    desired::{self, Change, Store, split},
    model::Site,
    plan,
};

/// The scope of what site files say.
const OF_FILES: &str = "site";

/// What is to be in force, for all who ask.
#[derive(Clone)]
pub struct Wanted(Arc<RwLock<Store>>);

/// A site that is to be put in force.
pub struct Proposal {
    pub site: Site,
    /// Where it says so.
    pub file: Arc<File>,
    /// What is not as it is to be by now.
    pub changes: Vec<Change>,
    /// The same, as lines to read.
    pub told: Vec<String>,
    /// What was probably not meant.
    pub warnings: Vec<String>,
}

impl Wanted {
    /// Opens the store, or makes it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
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

    /// Notes what is to be in force from now on.
    pub fn note(&self, changes: &[Change]) -> Result<(), desired::Error> {
        self.write().commit(OF_FILES, true, changes)
    }

    /// What a daemon puts in force that starts: what is known to be wanted or, where nothing is
    /// yet, what its site file says.
    pub fn at_start(&self, store: &Path, config: Option<&Path>) -> anyhow::Result<Proposal> {
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
        let (changes, told) = Default::default();
        Ok(Proposal { site, file: Arc::new(file), changes, told, warnings })
    }

    /// What this file says.
    pub fn by_file(&self, file: File) -> anyhow::Result<Proposal> {
        let (site, checked) = read(&file)?;
        let after = checked.json();
        let told = plan::changes(&self.site()?, &after);
        let warnings = warnings(&file, &checked).collect();
        let changes = self.changes_to(&after);
        Ok(Proposal { site, file: Arc::new(file), changes, told, warnings })
    }

    fn changes_to(&self, site: &Json) -> Vec<Change> {
        let wanted = split(site).into_iter().map(|(path, spec)| (path, spec.to_string().into()));
        self.read().changes_to(OF_FILES, wanted.collect())
    }
}

impl File {
    /// As it is now.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
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
