//! What can be asked of the daemon, over its unix socket and for Prometheus?

mod objects;
mod serve;
mod socket;

use std::time::Duration;

use anyhow::anyhow;
use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, FromRequest, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{Method, StatusCode, Uri},
    response::IntoResponse,
    routing::{get, post},
};
use dataplane_common::LAYOUT_VERSION;
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    config::{json, tree::TEXT_BYTES_MAX},
    daemon::{Asker, Daemon, File, Shared},
    metrics,
    problem::Refused,
    view::Version,
};

pub use serve::serve;
pub use socket::{Socket, for_readers, listen};

/// Everything that whoever may change something can ask.
pub fn routes(daemon: Shared) -> Router {
    questions()
        .route("/v1/sessions", get(sessions))
        .route("/v1/site", get(site))
        .route("/v1/apply", post(apply).layer(DefaultBodyLimit::max(TEXT_BYTES_MAX + 1)))
        .route(
            "/api/v1/{*path}",
            get(objects::read)
                .put(objects::say)
                .patch(objects::say)
                .delete(objects::delete)
                .layer(DefaultBodyLimit::max(objects::OBJECT_BYTES_MAX)),
        )
        .fallback(absent)
        .method_not_allowed_fallback(unfit)
        .with_state(daemon)
}

/// What others can: nothing is changed, and no telephone number told.
pub fn read_routes(daemon: Shared) -> Router {
    questions()
        .route("/v1/sessions", get(masked_sessions))
        .route("/v1/site", get(masked_site))
        .route("/v1/apply", post(forbidden))
        .route(
            "/api/v1/{*path}",
            get(objects::read_masked).put(forbidden).patch(forbidden).delete(forbidden),
        )
        .fallback(absent)
        .method_not_allowed_fallback(unfit)
        .with_state(daemon)
}

fn questions() -> Router<Shared> {
    Router::new()
        .route("/v1/status", get(async |daemon: State<Shared>| view(daemon, Daemon::status).await))
        .route(
            "/v1/counters",
            get(async |daemon: State<Shared>| view(daemon, Daemon::counters).await),
        )
        .route("/v1/drops", get(async |daemon: State<Shared>| view(daemon, Daemon::drops).await))
        .route("/v1/flows", get(async |daemon: State<Shared>| view(daemon, Daemon::flows).await))
        .route("/v1/trace", post(trace))
        .route("/metrics", get(prometheus))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .route("/version", get(async || Json(version())))
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

fn version() -> Version {
    Version {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
        layout: LAYOUT_VERSION,
    }
}

async fn view<T: Serialize + Send + 'static>(
    State(daemon): State<Shared>,
    question: fn(&Daemon) -> anyhow::Result<T>,
) -> Result<Json<T>, Refused> {
    Ok(Json(ask(daemon, move |daemon| question(&daemon.lock())).await?))
}

#[derive(Deserialize)]
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

#[derive(Deserialize)]
struct Apply {
    /// Say what would change, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// How the site file in the body is called; without it the daemon reads its own anew.
    name: Option<String>,
    /// Take interfaces that the host needs, too.
    #[serde(default)]
    force: bool,
    /// The connection by which whoever asks is logged in.
    ssh_connection: Option<String>,
}

/// Site files that are read, compiled or wait for that; each takes memory and a thread.
const APPLIES_MAX: usize = 8;
/// For how long a site file may be on its way: meanwhile it is one of them.
const TEXT_WAIT: Duration = Duration::from_secs(60);
static APPLIES: Semaphore = Semaphore::const_new(APPLIES_MAX);

async fn apply(
    State(daemon): State<Shared>,
    query: Result<Query<Apply>, QueryRejection>,
    request: Request,
) -> Result<impl IntoResponse, Refused> {
    let Query(query) = query?;
    // It is read when it is certain that it may be.
    let Ok(permit) = APPLIES.try_acquire() else {
        // Whoever is not heard to the end does not hear why.
        let _ = timeout(TEXT_WAIT, heard_out(request)).await;
        let said = anyhow!(
            "{APPLIES_MAX} other site files are being applied; try again when they are done"
        );
        return Err(Refused::with(StatusCode::SERVICE_UNAVAILABLE, said));
    };
    let text = timeout(TEXT_WAIT, String::from_request(request, &())).await.map_err(|_| {
        let said = anyhow!("the site file did not come within {TEXT_WAIT:?}");
        Refused::with(StatusCode::REQUEST_TIMEOUT, said)
    })?;
    let text = text.map_err(|refused| {
        let (most, why) = (TEXT_BYTES_MAX >> 20, refused.body_text());
        let said = anyhow!("the site file: {why}; it has to be UTF-8, of {most} MiB at most");
        Refused::with(refused.status(), said)
    })?;
    Ok(Json(
        ask(daemon, move |daemon| {
            // Until it is done, whether anybody waits for it or not.
            let _permit = permit;
            let file = query.name.map(|name| File { name, text });
            let asker = Asker { force: query.force, ssh_connection: query.ssh_connection };
            daemon.apply(file, query.dry_run, asker)
        })
        .await?,
    ))
}

/// Takes a text and forgets it.
async fn heard_out(request: Request) {
    let mut text = Limited::new(request.into_body(), TEXT_BYTES_MAX);
    while let Some(Ok(_)) = text.frame().await {}
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
