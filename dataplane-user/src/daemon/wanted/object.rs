//! What becomes of one object?

use axum::http::StatusCode;
use serde_json::Value as Json;

use super::{Proposal, Wanted, proposal};
use crate::{
    desired::{self, Change, Draft, OF_OBJECTS, Path, Store},
    problem::{Fault, Faulty, Unmet},
};

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

impl What {
    /// As the log calls it.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Patch(_) => "patch",
            Self::Delete { .. } => "delete",
        }
    }
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

impl Wanted {
    /// What is in force with this.
    pub fn by_object(&self, write: &Write) -> anyhow::Result<Proposal> {
        let store = self.read();
        let changes = asked(&store, write)?;
        let scope = OF_OBJECTS.into();
        let draft = Draft { scope, changes, ..Draft::default() };
        proposal(&store, write.path.to_string(), draft)
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
        let fault = Fault::of_object(path, said);
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
