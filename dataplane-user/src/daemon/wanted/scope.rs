//! What comes of all that a scope wants?

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::http::StatusCode;

use super::{Asked, File, OF_FILES, Proposal, Wanted, objects, proposal, read, refusal, warnings};
use crate::{
    check,
    config::Severity,
    desired::{Conflict, Draft, OF_OBJECTS, Store, Want},
    model::Name,
    problem::{Fault, Unmet},
};

/// How a file is put in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Whose it is. That of site files, unless told otherwise.
    pub scope: String,
    /// Is it all that the scope wants? Then what it wanted beside it goes.
    pub prune: bool,
    /// What others say otherwise is to be as the file says.
    pub take_over: bool,
    /// Unless somebody confirms it for so long, it is taken back.
    pub confirm_within: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        let scope = OF_FILES.to_owned();
        Self { scope, prune: true, take_over: false, confirm_within: None }
    }
}

impl Wanted {
    /// What this file says, beside what others want.
    ///
    /// A site file has to be a site by itself: of one that is not, nobody knows what is missing.
    /// That of another scope may name what is others'.
    pub fn by_scope(&self, file: File, terms: &Terms) -> anyhow::Result<Proposal> {
        let Terms { scope, prune, take_over, confirm_within } = terms;
        let (prune, take_over, confirm_within) = (*prune, *take_over, *confirm_within);
        may_be_asked(&self.read(), scope)?;
        let json = if scope == OF_FILES {
            let (site, checked) = read(&file)?;
            if prune && self.is_of_files() {
                let warnings = warnings(&file, &checked).collect();
                let asked = Asked::File { checked: Box::new(checked), confirm_within };
                return Ok(Proposal { site, file: Arc::new(file), asked, warnings });
            }
            checked.json()
        } else {
            let checked = check::shape(&file.text);
            if checked.diagnostics.iter().any(|found| found.severity == Severity::Error) {
                return Err(refusal(&file, &checked));
            }
            checked.json()
        };
        let objects = objects(&json);
        let mut known = HashSet::new();
        if let Some((path, _)) = objects.iter().find(|(path, _)| !known.insert(path)) {
            let said = format!("{}: {path} is there twice", file.name);
            return Err(Unmet::new(StatusCode::UNPROCESSABLE_ENTITY, said).into());
        }
        let store = self.read();
        let changes = store.changes_to(Want { scope, objects, prune, take_over });
        let changes = changes.map_err(|found| conflict(&store, &found))?;
        if let Some((path, object)) = store.orphan(&changes) {
            let (name, scope) = (&file.name, &object.scope);
            let said = format!(
                "{path} was written by `{scope}`, and {name} has no more what it stands in: delete \
                 it first"
            );
            return Err(Unmet::new(StatusCode::CONFLICT, said).into());
        }
        let scope = scope.as_str().into();
        let draft = Draft { scope, is_set: true, confirm_within, changes, ..Draft::default() };
        proposal(&store, file.name, draft)
    }

    /// Is all that is wanted by site files?
    fn is_of_files(&self) -> bool {
        self.read().objects().all(|(_, object)| &*object.scope == OF_FILES)
    }
}

/// May anything be asked for this scope now?
fn may_be_asked(store: &Store, scope: &str) -> anyhow::Result<()> {
    if scope == OF_OBJECTS || Name::new(scope).is_none() {
        let said = format!(
            "{scope:?} is no scope of a file: a scope has a name as a tenant has, and `{OF_OBJECTS}` \
             is that of what is written object by object"
        );
        return Err(Unmet::new(StatusCode::BAD_REQUEST, said).into());
    }
    if let Some(unconfirmed) = store.unconfirmed().get(scope) {
        let said = format!(
            "revision {} of `{scope}` is not confirmed yet: confirm it (`sekisho confirm`) or take \
             it back (`sekisho rollback`) before there is another",
            unconfirmed.revision
        );
        return Err(Unmet::new(StatusCode::CONFLICT, said).into());
    }
    Ok(())
}

/// What others say otherwise, each with who wrote it and when.
fn conflict(store: &Store, found: &[Conflict]) -> Unmet {
    let fault = |Conflict { path, object }: &Conflict| {
        let (number, scope) = (object.revision, &object.scope);
        let at = store.revision(number).map_or_else(String::new, |of| format!(", {}", of.at()));
        Fault::of_object(path, format!("`{scope}` wrote it otherwise (revision {number}{at})"))
    };
    let faults: Vec<_> = found.iter().map(fault).collect();
    let mut said: Vec<_> = faults.iter().take(CONFLICTS_SAID).map(Fault::in_line).collect();
    if let Some(more @ 1..) = faults.len().checked_sub(CONFLICTS_SAID) {
        said.push(format!("and {more} more"));
    }
    said.push(
        "nothing was changed; --take-over (takeOver=true) makes them as they are here".into(),
    );
    Unmet { faults, ..Unmet::new(StatusCode::CONFLICT, said.join("\n")) }
}

/// Of so many conflicts each is told to people; to programs all are.
const CONFLICTS_SAID: usize = 20;
