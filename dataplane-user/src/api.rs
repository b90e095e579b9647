//! What can be asked of the daemon, over its unix socket and for Prometheus?

mod log;
mod objects;
mod openapi;
mod revisions;
mod scopes;
mod serve;
mod socket;
mod table;
mod watch;

use anyhow::anyhow;
use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{Method, StatusCode, Uri},
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use dataplane_common::LAYOUT_VERSION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::json,
    daemon::{Daemon, Shared},
    metrics,
    problem::Refused,
    view::Version,
};

pub use scopes::parsed as time_to_confirm;
pub use serve::serve;
pub use socket::{Socket, for_readers, listen};

/// Everything that whoever may change something can ask.
pub fn routes(daemon: Shared) -> Router {
    let objects = get(objects::read)
        .put(objects::say)
        .patch(objects::say)
        .delete(objects::delete)
        .layer(DefaultBodyLimit::max(objects::OBJECT_BYTES_MAX));
    router(table::operations().into_iter().map(|of| (of.path, of.all)), objects).with_state(daemon)
}

/// What others can: nothing is changed, and no telephone number told.
pub fn read_routes(daemon: Shared) -> Router {
    let objects = get(objects::read_masked).put(forbidden).patch(forbidden).delete(forbidden);
    let operations = table::operations().into_iter();
    router(operations.map(|of| (of.path, of.readers)), objects).with_state(daemon)
}

fn router(
    operations: impl Iterator<Item = (&'static str, MethodRouter<Shared>)>,
    objects: MethodRouter<Shared>,
) -> Router<Shared> {
    operations
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .route("/api/v1/{*path}", objects)
        .fallback(absent)
        .method_not_allowed_fallback(unfit)
}

/// What a monitoring system may ask from afar: nothing but the metrics.
pub fn metrics_routes(daemon: Shared) -> Router {
    Router::new()
        .route("/metrics", get(prometheus))
        .fallback(absent)
        .method_not_allowed_fallback(unfit)
        .with_state(daemon)
}

/// Runs `question` on a thread where it may block.
async fn ask<T: Send + 'static>(
    daemon: Shared,
    question: impl FnOnce(&Shared) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let answer = tokio::task::spawn_blocking(move || question(&daemon)).await;
    Ok(answer??)
}

/// Whatever is not there.
async fn absent(uri: Uri) -> Refused {
    Refused::with(StatusCode::NOT_FOUND, anyhow!("there is nothing at {}", uri.path()))
}

/// What is there and is asked in another way.
async fn unfit(method: Method, uri: Uri) -> Refused {
    let said = anyhow!("{} does not take {method}", uri.path());
    Refused::with(StatusCode::METHOD_NOT_ALLOWED, said)
}

/// Is it in force what is to be, and does the daemon answer?
async fn ready(State(daemon): State<Shared>) -> Result<&'static str, Refused> {
    let answered = ask(daemon, |daemon| {
        drop(daemon.lock());
        Ok("ok\n")
    });
    answered.await
}

async fn version() -> Json<Version> {
    Json(Version {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
        layout: LAYOUT_VERSION,
    })
}

async fn view<T: Serialize + Send + 'static>(
    State(daemon): State<Shared>,
    question: fn(&Daemon) -> anyhow::Result<T>,
) -> Result<Json<T>, Refused> {
    Ok(Json(ask(daemon, move |daemon| question(&daemon.lock())).await?))
}

#[derive(Deserialize, JsonSchema)]
struct Reveal {
    /// Show numbers in full.
    #[serde(default)]
    reveal: bool,
}

async fn sessions(
    State(daemon): State<Shared>,
    query: Result<Query<Reveal>, QueryRejection>,
) -> Result<impl IntoResponse, Refused> {
    let Query(query) = query?;
    Ok(Json(ask(daemon, move |daemon| daemon.lock().sessions(query.reveal)).await?))
}

async fn masked_sessions(
    State(daemon): State<Shared>,
    query: Result<Query<Reveal>, QueryRejection>,
) -> Result<impl IntoResponse, Refused> {
    let Query(query) = query?;
    if query.reveal {
        return Err(only_read("numbers are not revealed"));
    }
    Ok(Json(ask(daemon, |daemon| daemon.lock().sessions(false)).await?))
}

async fn site(State(daemon): State<Shared>) -> Result<impl IntoResponse, Refused> {
    Ok(Json(ask(daemon, Shared::site).await?))
}

async fn masked_site(State(daemon): State<Shared>) -> Result<impl IntoResponse, Refused> {
    Ok(Json(ask(daemon, |daemon| Ok(json::masked(daemon.site()?))).await?))
}

async fn forbidden() -> Refused {
    only_read("nothing is changed")
}

/// What the group of readers is refused.
fn only_read(what: &str) -> Refused {
    let said = anyhow!("you may only read: {what} for the group of readers (`run --read-group`)");
    Refused::with(StatusCode::FORBIDDEN, said)
}

async fn trace(
    State(daemon): State<Shared>,
    packet: Result<Json<crate::trace::Question>, JsonRejection>,
) -> Result<impl IntoResponse, Refused> {
    let Json(packet) = packet?;
    Ok(Json(ask(daemon, move |daemon| daemon.lock().trace(&packet)).await?))
}

async fn prometheus(State(daemon): State<Shared>) -> Result<impl IntoResponse, Refused> {
    let text = ask(daemon, |daemon| metrics::text(&daemon.lock())).await?;
    Ok(([("content-type", metrics::CONTENT_TYPE)], text))
}
