//! How do the verbs ask the daemon? HTTP over its unix socket.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::{api, problem::Problem};

/// Where the daemon listens unless the operator says otherwise.
pub const SOCKET: &str = "/run/sekisho/control.sock";

/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why the daemon did not answer as asked.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no daemon listens on {}: {source}; is `sekisho run` running?", socket.display())]
    Absent {
        /// Where.
        socket: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The socket is not for this user.
    #[error(
        "{}: user {user} may not ask the daemon: it is for its owner and the groups of \
         `run --group` and `run --read-group`",
        socket.display()
    )]
    Denied {
        /// Where.
        socket: PathBuf,
        /// Who asks.
        user: u32,
    },
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
    /// The connection broke.
    #[error("the daemon's answer was cut short: {0}; what is in force now, `sekisho status` tells")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what this version expects.
    #[error("the daemon's answer is not understood (is it of another version?): {0}")]
    Strange(#[from] serde_json::Error),
}

/// Asks for `path` and takes the answer apart.
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Error> {
    let answer = ask(socket, Method::GET, path, Vec::new()).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Sends `body` to `path` and takes the answer apart.
pub async fn post<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: Vec<u8>,
) -> Result<T, Error> {
    let answer = ask(socket, Method::POST, path, body).await?;
    Ok(serde_json::from_slice(&answer)?)
}

fn absent(socket: &Path, source: std::io::Error) -> Error {
    let socket = socket.to_owned();
    if source.kind() == std::io::ErrorKind::PermissionDenied {
        return Error::Denied { socket, user: rustix::process::geteuid().as_raw() };
    }
    Error::Absent { socket, source }
}

/// Whoever may not use the socket may be one of those who may read.
async fn connect(socket: &Path) -> Result<UnixStream, Error> {
    match UnixStream::connect(socket).await {
        Err(denied) if denied.kind() == std::io::ErrorKind::PermissionDenied => {
            let readers = UnixStream::connect(api::for_readers(socket)).await;
            readers.map_err(|_| absent(socket, denied))
        }
        connected => connected.map_err(|source| absent(socket, source)),
    }
}

async fn ask(socket: &Path, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, Error> {
    let stream = connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Error::Cut(error.into()))?;
    // Ends with the connection, which ends with the sender.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "sekisho")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Error::Cut(error.into()))?;
    let answer = sender.send_request(request).await.map_err(|error| Error::Cut(error.into()))?;
    let status = answer.status();
    let body =
        Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(Error::Cut)?;
    let body = body.to_bytes();
    if status == StatusCode::OK {
        return Ok(body);
    }
    let refusal = serde_json::from_slice(&body).map_or_else(
        |_| format!("{status}: {}", String::from_utf8_lossy(&body)),
        |Problem { detail, .. }| detail,
    );
    Err(Error::Refused(refusal))
}
