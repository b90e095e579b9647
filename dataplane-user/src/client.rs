//! How do the verbs ask the daemon? HTTP over its unix socket.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
};
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

/// Hands over each line of what `path` answers, as long as it does.
pub async fn lines(
    socket: &Path,
    path: &str,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut body = answer(socket, Method::GET, path, Vec::new()).await?;
    let mut begun = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Cut(error.into()))?;
        let Some(data) = frame.data_ref() else { continue };
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                each(&begun)?;
                begun.clear();
            }
            if begun.len() > ANSWER_BYTES_MAX {
                return Err(Error::Cut("a line of it does not end".into()).into());
            }
        }
    }
    Ok(())
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
    whole(answer(socket, method, path, body).await?).await
}

async fn whole(body: Incoming) -> Result<Bytes, Error> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Cut)?;
    Ok(body.to_bytes())
}

/// The body of what is answered, if it is not refused.
async fn answer(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Incoming, Error> {
    let stream = connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Error::Cut(error.into()))?;
    // Ends with the connection, which ends with the sender and what it answers.
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
    if status == StatusCode::OK {
        return Ok(answer.into_body());
    }
    let body = whole(answer.into_body()).await?;
    let refusal = serde_json::from_slice(&body).map_or_else(
        |_| format!("{status}: {}", String::from_utf8_lossy(&body)),
        |Problem { detail, .. }| detail,
    );
    Err(Error::Refused(refusal))
}
