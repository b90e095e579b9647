//! What becomes of the objects, told as long as anybody listens.
//!
//! A line of JSON for each (`application/x-ndjson`) or, to whoever accepts that, an event stream.
//! After the events of a revision comes a bookmark: whoever goes on later begins there.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response, Sse, sse::Event as SseEvent},
};
use futures_util::{Stream, StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::sleep,
};

use super::{
    ask,
    objects::{Show, masked, resource},
};
use crate::{
    daemon::Shared,
    desired::{Changed, Path},
    problem::{Refused, Unmet},
    view::Event,
};

/// So many may watch at a time, and others still ask.
const WATCHERS_MAX: usize = 1000;
static WATCHERS: Semaphore = Semaphore::const_new(WATCHERS_MAX);
/// Where nothing happens, a bookmark says so.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

/// Where to begin.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct From {
    /// After this revision; nothing: with the next one.
    resource_version: Option<String>,
}

/// Of all objects.
pub async fn all(
    State(daemon): State<Shared>,
    query: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Query(from) = query?;
    below(daemon, "", from, &headers, resource)
}

/// The same for those who see no telephone number.
pub async fn all_masked(
    State(daemon): State<Shared>,
    query: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Query(from) = query?;
    below(daemon, "", from, &headers, masked)
}

/// Of the object at a path, and of all below it.
pub fn below(
    daemon: Shared,
    url: &str,
    from: From,
    headers: &HeaderMap,
    show: Show,
) -> Result<Response, Refused> {
    let number = |text: &str| {
        let said = || format!("{text:?} is no revision");
        text.parse::<u64>().map_err(|_| Unmet::new(StatusCode::BAD_REQUEST, said()))
    };
    let last_event = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let from = last_event.or(from.resource_version.as_deref()).map(number).transpose()?;
    let Ok(place) = WATCHERS.try_acquire() else {
        let said = format!("{WATCHERS_MAX} others are watching; try again later");
        return Err(Unmet::new(StatusCode::SERVICE_UNAVAILABLE, said).into());
    };
    let news = daemon.wanted().news();
    let last = daemon.wanted().number();
    let seen = from.unwrap_or(last);
    if seen > last {
        let said = format!("the last revision is {last}");
        return Err(Unmet::new(StatusCode::BAD_REQUEST, said).into());
    }
    if !daemon.wanted().knows_all_after(seen) {
        return Err(gone(seen).into());
    }
    let below = url.trim_end_matches('/').to_owned();
    // The first bookmark is that of where it begins.
    let telling = Some((Arc::from([]), 0));
    let watching =
        Watching { daemon, news, seen, below, show, telling, is_over: false, _place: place };
    let events = stream::unfold(watching, |mut watching| async {
        let event = watching.next().await?;
        Some((event, watching))
    });
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepts.is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(Sse::new(events.map(sse)).into_response());
    }
    Ok(lines(events))
}

fn gone(after: u64) -> Unmet {
    let said = format!(
        "it is not known any more what changed after revision {after}: read all anew, and watch \
         from the revision of that"
    );
    Unmet::new(StatusCode::GONE, said)
}

fn lines(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let lines = events.map(|event| {
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn sse(event: Event) -> Result<SseEvent, axum::Error> {
    let told = SseEvent::default().json_data(&event)?;
    Ok(match event {
        // Whoever comes again says the last of these.
        Event::Bookmark { resource_version } => told.id(resource_version.to_string()),
        Event::Added { .. }
        | Event::Modified { .. }
        | Event::Deleted { .. }
        | Event::Error { .. } => told,
    })
}

/// Somebody who watches.
struct Watching {
    daemon: Shared,
    news: watch::Receiver<u64>,
    /// The last revision that is told, or is being told.
    seen: u64,
    below: String,
    show: Show,
    /// What is still to be told of it: what it changed, which all who are told of it share, from
    /// where on.
    telling: Option<(Arc<[Changed]>, usize)>,
    is_over: bool,
    _place: SemaphorePermit<'static>,
}

impl Watching {
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = loop {
            if let Some((changes, at)) = &mut self.telling {
                let next = changes[*at..].iter().position(|of| is_below(&of.path, &self.below));
                let Some(next) = next else {
                    self.telling = None;
                    break Ok(Event::Bookmark { resource_version: self.seen });
                };
                *at += next + 1;
                break event(&changes[*at - 1], self.seen, self.show);
            }
            if *self.news.borrow_and_update() > self.seen {
                let number = self.seen + 1;
                let changes = ask(self.daemon.clone(), move |daemon| {
                    let changes = daemon.wanted().changes_of(number)?;
                    Ok(changes.ok_or_else(|| gone(number - 1))?)
                });
                match changes.await {
                    Ok(changes) => self.telling = Some((changes, 0)),
                    Err(refused) => break Err(refused),
                }
                self.seen = number;
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                () = sleep(BOOKMARK_EVERY) => {
                    break Ok(Event::Bookmark { resource_version: self.seen });
                }
            }
        };
        Some(event.unwrap_or_else(|refused| {
            self.is_over = true;
            Event::Error { problem: refused.problem() }
        }))
    }
}

/// Is the path this one, or that of something in it?
fn is_below(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| place.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

fn event(changed: &Changed, number: u64, show: Show) -> Result<Event, Refused> {
    let Changed { path, before, after } = changed;
    let named: Path = path.parse().map_err(anyhow::Error::from)?;
    Ok(match (before, after) {
        (None, Some(object)) => Event::Added { object: show(&named, object)? },
        (Some(_), Some(object)) => Event::Modified { object: show(&named, object)? },
        (Some(object), None) => {
            let mut object = show(&named, object)?;
            object.metadata.resource_version = number;
            Event::Deleted { object }
        }
        (None, None) => Event::Bookmark { resource_version: number - 1 },
    })
}
