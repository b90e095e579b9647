//! What was changed when, and what differs between then and then?

use axum::{
    Json,
    extract::{Path as UrlPath, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    ask,
    objects::{Show, masked, resource},
};
use crate::{
    daemon::Shared,
    desired::{Changed, Object},
    problem::{Refused, Unmet},
    view::{Difference, Differing, Resource, Revision},
};

#[derive(Deserialize, JsonSchema)]
pub struct Ask {
    /// Those of this scope alone.
    scope: Option<String>,
}

/// The revisions of which it is known what they changed.
pub async fn list(
    State(daemon): State<Shared>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Json<Vec<Revision>>, Refused> {
    let Query(Ask { scope }) = query?;
    let found = ask(daemon, |daemon| Ok(daemon.wanted().revisions())).await?;
    let is_asked = |of: &str| scope.as_deref().is_none_or(|scope| scope == of);
    let found = found.into_iter().filter(|(_, of)| is_asked(&of.scope));
    let shown = found.map(|(revision, of)| Revision {
        revision,
        at: of.at(),
        scope: of.scope.to_string(),
        is_set: of.is_set,
        objects: of.count,
    });
    Ok(Json(shown.collect()))
}

/// What a revision changed (`41`), or all after one up to another (`41..43`).
pub async fn difference(
    state: State<Shared>,
    range: UrlPath<String>,
) -> Result<Json<Difference>, Refused> {
    between(state, range, resource).await
}

/// The same for those who see no telephone number.
pub async fn masked_difference(
    state: State<Shared>,
    range: UrlPath<String>,
) -> Result<Json<Difference>, Refused> {
    between(state, range, masked).await
}

async fn between(
    State(daemon): State<Shared>,
    UrlPath(range): UrlPath<String>,
    show: Show,
) -> Result<Json<Difference>, Refused> {
    let (from, to) = parsed(&range).ok_or_else(|| {
        let said = format!("{range:?} is no revision, as 41, and no two of them, as 41..43");
        Unmet::new(StatusCode::BAD_REQUEST, said)
    })?;
    let difference = ask(daemon, move |daemon| {
        let last = daemon.wanted().number();
        if to > last {
            let said = format!("the last revision is {last}");
            return Err(Unmet::new(StatusCode::NOT_FOUND, said).into());
        }
        let Some(changes) = daemon.wanted().between(from, to)? else {
            let said = format!("it is not known any more what revision {} changed", from + 1);
            return Err(Unmet::new(StatusCode::GONE, said).into());
        };
        let objects = changes.iter().map(|changed| differing(changed, show));
        Ok(Difference { from, to, objects: objects.collect::<Result<_, _>>()? })
    });
    Ok(Json(difference.await?))
}

fn parsed(range: &str) -> Option<(u64, u64)> {
    let Some((from, to)) = range.split_once("..") else {
        let to = range.parse::<u64>().ok()?;
        return Some((to.checked_sub(1)?, to));
    };
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

fn differing(changed: &Changed, show: Show) -> anyhow::Result<Differing> {
    let Changed { path, before, after } = changed;
    let named = path.parse()?;
    let shown = |object: &Option<Object>| -> anyhow::Result<Option<Resource>> {
        object.as_ref().map(|object| show(&named, object)).transpose()
    };
    let (before, after) = (shown(before)?, shown(after)?);
    // As it is shown, and to some no number is.
    let path = before.iter().chain(&after).map(|of| of.metadata.path.clone()).next();
    Ok(Differing { path: path.unwrap_or_default(), before, after })
}
