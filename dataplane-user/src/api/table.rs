//! What can be asked, beside objects? The routes are made of this table, and so is what `openapi.rs`
//! says of them.

use axum::{
    extract::{DefaultBodyLimit, State},
    routing::{MethodRouter, get, post},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    forbidden, log, masked_sessions, masked_site, openapi, prometheus, ready, revisions, scopes,
    sessions, site, trace, version, view, watch,
};
use crate::{
    config::tree::TEXT_BYTES_MAX,
    daemon::{Daemon, Shared},
    desired::log::Record,
    metrics,
    trace::Question,
    view::{
        Applied, Confirmed, Counters, Difference, Drop, Event, Flow, Revision, Session, Status,
        Trace, Version,
    },
};

/// One thing that can be asked.
pub struct Operation {
    /// Under which path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// `get` or `post`.
    pub method: &'static str,
    /// What it is.
    pub summary: &'static str,
    /// What stands behind the question mark.
    pub query: Option<Shape>,
    /// What is handed over.
    pub body: Option<Content>,
    /// What is answered.
    pub answer: Content,
    /// Who answers whoever may change something.
    pub all: MethodRouter<Shared>,
    /// Who answers whoever may only read.
    pub readers: MethodRouter<Shared>,
}

/// How something is written.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a body is.
#[derive(Clone, Copy)]
pub enum Content {
    /// JSON of this shape.
    Json(Shape),
    /// A line of JSON for each, for as long as there are some; or an event stream.
    Events(Shape),
    /// Text of this media type.
    Text(&'static str),
}

fn json<T: JsonSchema>() -> Content {
    Content::Json(SchemaGenerator::subschema_for::<T>)
}

fn of<T: JsonSchema>() -> Option<Shape> {
    Some(|generator| T::json_schema(generator))
}

fn question(
    path: &'static str,
    summary: &'static str,
    answer: Content,
    all: MethodRouter<Shared>,
    readers: MethodRouter<Shared>,
) -> Operation {
    Operation { path, method: "get", summary, query: None, body: None, answer, all, readers }
}

fn change(
    path: &'static str,
    summary: &'static str,
    query: Option<Shape>,
    answer: Content,
    all: MethodRouter<Shared>,
) -> Operation {
    let readers = post(forbidden);
    Operation { path, method: "post", summary, query, body: None, answer, all, readers }
}

/// All of them.
pub fn operations() -> Vec<Operation> {
    let text = Content::Text("text/plain");
    let status = || get(async |daemon: State<Shared>| view(daemon, Daemon::status).await);
    let counters = || get(async |daemon: State<Shared>| view(daemon, Daemon::counters).await);
    let drops = || get(async |daemon: State<Shared>| view(daemon, Daemon::drops).await);
    let flows = || get(async |daemon: State<Shared>| view(daemon, Daemon::flows).await);
    let document = || get(async || axum::Json(openapi::document()));
    let site_file = post(scopes::apply).layer(DefaultBodyLimit::max(TEXT_BYTES_MAX + 1));
    vec![
        question("/v1/status", "What is in force", json::<Status>(), status(), status()),
        question("/v1/counters", "What was counted", json::<Counters>(), counters(), counters()),
        question("/v1/drops", "What was not forwarded", json::<Vec<Drop>>(), drops(), drops()),
        question("/v1/flows", "The flows that are known", json::<Vec<Flow>>(), flows(), flows()),
        Operation {
            query: of::<super::Reveal>(),
            ..question(
                "/v1/sessions",
                "The lines that are attached",
                json::<Vec<Session>>(),
                get(sessions),
                get(masked_sessions),
            )
        },
        question(
            "/v1/site",
            "What is to be in force, as a site file",
            json::<serde_json::Value>(),
            get(site),
            get(masked_site),
        ),
        Operation {
            body: Some(json::<Question>()),
            readers: post(trace),
            ..change(
                "/v1/trace",
                "What becomes of a packet, as the loaded program judges it",
                None,
                json::<Trace>(),
                post(trace),
            )
        },
        Operation {
            body: Some(Content::Text("application/yaml")),
            ..change(
                "/api/v1/apply",
                "Make all as a site file of a scope says it",
                of::<scopes::Apply>(),
                json::<Applied>(),
                site_file,
            )
        },
        change(
            "/api/v1/confirm",
            "Let stay what was applied with a time to confirm it",
            of::<scopes::Confirm>(),
            json::<Confirmed>(),
            post(scopes::confirm),
        ),
        change(
            "/api/v1/rollback",
            "Take back what a scope changed",
            of::<scopes::RollBack>(),
            json::<Applied>(),
            post(scopes::roll_back),
        ),
        Operation {
            query: of::<revisions::Ask>(),
            ..question(
                "/api/v1/revisions",
                "What was changed when",
                json::<Vec<Revision>>(),
                get(revisions::list),
                get(revisions::list),
            )
        },
        question(
            "/api/v1/revisions/{range}",
            "What a revision changed (42), or what differs between two (40..42)",
            json::<Difference>(),
            get(revisions::difference),
            get(revisions::masked_difference),
        ),
        Operation {
            query: of::<watch::From>(),
            ..question(
                "/api/v1/watch",
                "What becomes of all objects",
                Content::Events(SchemaGenerator::subschema_for::<Event>),
                get(watch::all),
                get(watch::all_masked),
            )
        },
        Operation {
            query: of::<log::Ask>(),
            ..question(
                "/api/v1/log",
                "Who changed what, and who was refused what",
                json::<Vec<Record>>(),
                get(log::records),
                get(log::secret),
            )
        },
        question(
            "/metrics",
            "What Prometheus reads",
            Content::Text(metrics::CONTENT_TYPE),
            get(prometheus),
            get(prometheus),
        ),
        question(
            "/openapi.json",
            "This document",
            json::<serde_json::Value>(),
            document(),
            document(),
        ),
        question("/version", "What answers", json::<Version>(), get(version), get(version)),
        question("/livez", "Does it answer?", text, get(async || "ok\n"), get(async || "ok\n")),
        question("/readyz", "Is in force what is to be?", text, get(ready), get(ready)),
        question("/healthz", "The same", text, get(ready), get(ready)),
    ]
}
