//! How is a request refused? As RFC 9457 has it: `application/problem+json`.

use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Diagnostic, Severity},
    desired::Path,
    message,
};

/// Media type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A refusal.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What the status is called.
    pub title: String,
    /// The status of the answer (RFC 9110).
    pub status: u16,
    /// What is wrong, where, and what would be right, to be read by people.
    pub detail: String,
    /// Of a file that was handed over, each error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// An error in a file, or of an object.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The object, by its path, where it is no file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The value in it, as a JSON pointer (RFC 6901); empty for the file or the object itself.
    pub pointer: String,
    /// In a file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong with it.
    pub detail: String,
    /// What is allowed, or what was probably meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Why a site file is refused: what it says, and each error.
#[derive(thiserror::Error, Debug)]
#[error("{said}")]
pub struct Faulty {
    /// All of it, as a compiler would show it.
    pub said: String,
    /// One by one.
    pub faults: Vec<Fault>,
}

/// Why something is not done that is understood: not for what would come of it, but for how it is
/// asked, or how things are.
#[derive(thiserror::Error, Debug)]
#[error("{said}")]
pub struct Unmet {
    /// The status of the answer.
    pub status: StatusCode,
    /// Why.
    pub said: String,
    /// One by one, where it is about objects.
    pub faults: Vec<Fault>,
}

impl Unmet {
    /// With this status.
    pub fn new(status: StatusCode, said: impl Into<String>) -> Self {
        Self { status, said: said.into(), faults: Vec::new() }
    }
}

/// A refusal on its way to whoever asked.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    error: anyhow::Error,
}

impl Refused {
    /// With this status.
    pub fn with(status: StatusCode, error: impl Into<anyhow::Error>) -> Self {
        Self { status, error: error.into() }
    }

    /// As it is told.
    pub fn problem(&self) -> Problem {
        let faults = match (self.error.downcast_ref(), self.error.downcast_ref()) {
            (Some(Faulty { faults, .. }), _) | (None, Some(Unmet { faults, .. })) => faults.clone(),
            (None, None) => Vec::new(),
        };
        Problem {
            title: self.status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: self.status.as_u16(),
            detail: message::of(&self.error),
            errors: faults,
        }
    }
}

impl Fault {
    /// The errors of a file.
    pub fn of_file(found: &[Diagnostic]) -> Vec<Self> {
        let found = found.iter().filter(|found| found.severity == Severity::Error);
        let fault = |found: &Diagnostic| Self {
            object: None,
            pointer: found.pointer.clone(),
            line: Some(found.line),
            column: Some(found.column),
            detail: found.message.clone(),
            help: found.help.clone(),
        };
        found.map(fault).collect()
    }

    /// Of all of an object.
    pub fn of_object(path: &Path, detail: String) -> Self {
        let (object, pointer) = (Some(path.to_string()), String::new());
        Self { object, pointer, line: None, column: None, detail, help: None }
    }

    /// The fault in one line.
    pub fn in_line(&self) -> String {
        let Self { object, pointer, detail, help, .. } = self;
        let object = object.as_deref().unwrap_or_default();
        let at = if pointer.is_empty() { String::new() } else { format!(" {pointer}") };
        let help = help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        format!("{object}{at}: {detail}{help}")
    }
}

/// Whatever the daemon refuses is understood: only what stands against it is the matter.
impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        let unmet = error.downcast_ref::<Unmet>().map(|unmet| unmet.status);
        Self { status: unmet.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY), error }
    }
}

impl From<Unmet> for Refused {
    fn from(unmet: Unmet) -> Self {
        Self { status: unmet.status, error: unmet.into() }
    }
}

/// Whoever answered panicked.
impl From<tokio::task::JoinError> for Refused {
    fn from(_: tokio::task::JoinError) -> Self {
        let error = anyhow::anyhow!("a defect of ours: the daemon's log has more");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error }
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejected: QueryRejection) -> Self {
        Self { status: rejected.status(), error: anyhow::anyhow!("{}", rejected.body_text()) }
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejected: JsonRejection) -> Self {
        Self { status: rejected.status(), error: anyhow::anyhow!("{}", rejected.body_text()) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.problem())).into_response();
        let kind = header::HeaderValue::from_static(CONTENT_TYPE);
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        answer
    }
}
