//! What can be asked of the daemon, over its unix socket and for Prometheus?

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::anyhow;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequest, Query, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    config::tree::TEXT_BYTES_MAX,
    daemon::{Asker, Daemon, File, Shared},
    message, metrics,
    view::Refusal,
};

/// Everything that the socket answers.
pub fn routes(daemon: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(async |daemon: State<Shared>| view(daemon, Daemon::status).await))
        .route(
            "/v1/counters",
            get(async |daemon: State<Shared>| view(daemon, Daemon::counters).await),
        )
        .route("/v1/drops", get(async |daemon: State<Shared>| view(daemon, Daemon::drops).await))
        .route("/v1/flows", get(async |daemon: State<Shared>| view(daemon, Daemon::flows).await))
        .route("/v1/sessions", get(sessions))
        .route("/v1/site", get(async |daemon: State<Shared>| view(daemon, Daemon::site).await))
        .route("/v1/apply", post(apply).layer(DefaultBodyLimit::max(TEXT_BYTES_MAX + 1)))
        .route("/v1/trace", post(trace))
        .route("/metrics", get(prometheus))
        .with_state(daemon)
}

/// What a monitoring system may ask from afar: nothing but the metrics.
pub fn metrics_routes(daemon: Shared) -> Router {
    Router::new().route("/metrics", get(prometheus)).with_state(daemon)
}

/// Looks, a fiftieth of a second apart, at whether somebody answers on the socket still.
const DYING_LOOKS: u32 = 50;

/// Listens on the unix socket, for its owner and group.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    // A socket that nobody answers is left over from a daemon that was killed; one that is
    // being killed answers for a moment. Whatever else lies there is not ours to remove.
    let is_socket =
        || fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    let is_answered = || std::os::unix::net::UnixStream::connect(socket).is_ok();
    for _ in 0..DYING_LOOKS {
        if !is_socket() {
            break;
        }
        if !is_answered() {
            fs::remove_file(socket)?;
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let listener = UnixListener::bind(socket).map_err(|error| {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        let what = if is_socket() { "another daemon answers there" } else { "it is no socket" };
        io::Error::new(error.kind(), what)
    })?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves the metrics over TCP as well.
pub async fn serve_metrics(listener: TcpListener, daemon: Shared) -> io::Result<()> {
    axum::serve(listener, metrics_routes(daemon)).await
}

/// A refusal as an answer.
pub struct Refused(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let refusal = Refusal { error: message::of(&self.0) };
        (StatusCode::UNPROCESSABLE_ENTITY, Json(refusal)).into_response()
    }
}

/// Runs `question` on a thread where it may block.
async fn ask<T: Send + 'static>(
    daemon: Shared,
    question: impl FnOnce(&Shared) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let answer = tokio::task::spawn_blocking(move || question(&daemon)).await;
    Ok(answer??)
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
    Query(query): Query<Reveal>,
) -> Result<impl IntoResponse, Refused> {
    Ok(Json(ask(daemon, move |daemon| daemon.lock().sessions(query.reveal)).await?))
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
    Query(query): Query<Apply>,
    request: Request,
) -> Result<impl IntoResponse, Refused> {
    // It is read when it is certain that it may be.
    let permit = APPLIES.try_acquire().map_err(|_| {
        anyhow!("{APPLIES_MAX} other site files are being applied; try again when they are done")
    })?;
    let text = timeout(TEXT_WAIT, String::from_request(request, &())).await;
    let text = text.map_err(|_| anyhow!("the site file did not come within {TEXT_WAIT:?}"))?;
    let text = text.map_err(|refused| {
        let most = TEXT_BYTES_MAX >> 20;
        anyhow!("the site file: {}; it has to be UTF-8, of {most} MiB at most", refused.body_text())
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

async fn trace(
    State(daemon): State<Shared>,
    Json(packet): Json<crate::trace::Question>,
) -> Result<impl IntoResponse, Refused> {
    Ok(Json(ask(daemon, move |daemon| daemon.lock().trace(&packet)).await?))
}

async fn prometheus(State(daemon): State<Shared>) -> Result<impl IntoResponse, Refused> {
    let text = ask(daemon, |daemon| metrics::text(&daemon.lock())).await?;
    Ok(([("content-type", metrics::CONTENT_TYPE)], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("sekisho-listen-{}", std::process::id()));
        let socket = folder.join("control.sock");
        let living = listen(&socket).expect("the folder is made");
        let why = |error: io::Error| error.to_string();
        assert_eq!(
            listen(&socket).map_err(why).err().as_deref(),
            Some("another daemon answers there")
        );
        drop(living);
        drop(listen(&socket).expect("nobody answers any more"));
        let file = folder.join("precious");
        fs::write(&file, "text").expect("a file of our own");
        assert_eq!(listen(&file).map_err(why).err().as_deref(), Some("it is no socket"));
        assert_eq!(fs::read_to_string(&file).expect("it is still there"), "text");
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }
}
