//! What is to be in force, object by object: one URL each.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        Path as UrlPath, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{ask, watch};
use crate::{
    config::json,
    daemon::{Asker, Only, Shared, What, Write},
    desired::{Kind, Object, Path, log::By},
    model,
    problem::{Refused, Unmet},
    view::{Metadata, Resource, Resources, Written},
};

/// The largest object that is taken: one of these may have 100,000 lines.
pub const OBJECT_BYTES_MAX: usize = 16 << 20;

/// How something is written.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct How {
    /// Say what would change, and change nothing: `All`.
    dry_run: Option<String>,
    /// Delete what stands in it, too.
    #[serde(default)]
    cascade: bool,
}

/// What is shown of an object.
pub type Show = fn(&Path, &Object) -> anyhow::Result<Resource>;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// Tell what becomes of the list's objects, as long as anybody listens.
    #[serde(default)]
    watch: bool,
    #[serde(flatten)]
    from: watch::From,
}

/// An object, or all of a list.
pub async fn read(
    state: State<Shared>,
    url: UrlPath<String>,
    query: Result<Query<Ask>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    found(state, url, query, &headers, resource).await
}

/// The same for those who see no telephone number.
pub async fn read_masked(
    state: State<Shared>,
    url: UrlPath<String>,
    query: Result<Query<Ask>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    found(state, url, query, &headers, masked).await
}

async fn found(
    State(daemon): State<Shared>,
    UrlPath(url): UrlPath<String>,
    query: Result<Query<Ask>, QueryRejection>,
    headers: &HeaderMap,
    show: Show,
) -> Result<Response, Refused> {
    let Query(asked) = query?;
    if asked.watch {
        return watch::below(daemon, &url, asked.from, headers, show);
    }
    let Ok(path) = url.parse::<Path>() else {
        return Ok(Json(ask(daemon, move |daemon| list(daemon, &url, show)).await?).into_response());
    };
    let (etag, resource) = ask(daemon, move |daemon| {
        let object = daemon.wanted().object(&path);
        let absent = || Unmet::new(StatusCode::NOT_FOUND, format!("there is no {path}"));
        let object = object.ok_or_else(absent)?;
        Ok((etag(object.revision), show(&path, &object)?))
    })
    .await?;
    Ok(([(header::ETAG, etag)], Json(resource)).into_response())
}

/// What is in a list, whose path is that of its objects without their names.
fn list(daemon: &Shared, url: &str, show: Show) -> anyhow::Result<Resources> {
    // Whether anything can be called so is known by a name that everything may have.
    let place: Path = format!("{url}/a").parse().map_err(|_| {
        let said = format!(
            "there is nothing at /api/v1/{}; objects are at paths as tenants/blue/ports/web-1, and \
             lists at those without the last name",
            crate::config::tree::quote(url)
        );
        Unmet::new(StatusCode::NOT_FOUND, said)
    })?;
    if let Some(parent) = place.parent().filter(|parent| daemon.wanted().object(parent).is_none()) {
        return Err(Unmet::new(StatusCode::NOT_FOUND, format!("there is no {parent}")).into());
    }
    let is_there = |path: &Path| {
        (path.kind, &path.tenant, &path.within) == (place.kind, &place.tenant, &place.within)
    };
    let (resource_version, found) = daemon.wanted().objects(is_there);
    let items = found.iter().map(|(path, object)| show(path, object));
    Ok(Resources { resource_version, items: items.collect::<Result<_, _>>()? })
}

/// Makes an object or lets it say something else (PUT), or changes some of what it says (PATCH).
pub async fn say(
    method: Method,
    by: Extension<By>,
    state: State<Shared>,
    url: UrlPath<String>,
    query: Result<Query<How>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let spec = spec(body)?;
    let what = if method == Method::PATCH { What::Patch(spec) } else { What::Put(spec) };
    write(by, state, url, query, &headers, |_| what).await
}

/// Deletes it.
pub async fn delete(
    by: Extension<By>,
    state: State<Shared>,
    url: UrlPath<String>,
    query: Result<Query<How>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    write(by, state, url, query, &headers, |how| What::Delete { all: how.cascade }).await
}

async fn write(
    Extension(by): Extension<By>,
    State(daemon): State<Shared>,
    UrlPath(url): UrlPath<String>,
    query: Result<Query<How>, QueryRejection>,
    headers: &HeaderMap,
    what: impl FnOnce(&How) -> What,
) -> Result<Response, Refused> {
    let Query(how) = query?;
    let dry_run = is_dry(how.dry_run.as_deref())?;
    let path = url.parse::<Path>();
    let path = path.map_err(|no| Unmet::new(StatusCode::NOT_FOUND, no.to_string()))?;
    let write = Write { path, what: what(&how), only: only(headers)? };
    let (is_new, written) = ask(daemon, move |daemon| {
        let is_new = daemon.wanted().object(&write.path).is_none();
        let applied = daemon.write(&write, dry_run, Asker { by, ..Asker::default() })?;
        let object = daemon.wanted().object(&write.path).filter(|_| !dry_run);
        let resource = object.map(|object| resource(&write.path, &object)).transpose()?;
        let written = Written {
            resource,
            site_version: applied.site_version,
            revision: applied.revision,
            dry_run,
            changes: applied.changes,
            warnings: applied.warnings,
        };
        Ok((is_new, written))
    })
    .await?;
    let status = if is_new && !dry_run { StatusCode::CREATED } else { StatusCode::OK };
    let etag = written.resource.as_ref().map(|of| etag(of.metadata.resource_version));
    let etag = etag.map(|etag| [(header::ETAG, etag)]);
    Ok((status, etag, Json(written)).into_response())
}

/// Is it only tried?
pub fn is_dry(dry_run: Option<&str>) -> Result<bool, Unmet> {
    match dry_run {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => {
            let said = format!("dryRun is `All` or not there, not {other:?}");
            Err(Unmet::new(StatusCode::BAD_REQUEST, said))
        }
    }
}

/// What is handed over: `{"spec": {…}}`, as it is read.
fn spec(body: Result<Bytes, BytesRejection>) -> Result<Value, Refused> {
    #[derive(Deserialize)]
    struct Body {
        spec: Value,
    }
    let body = body.map_err(|refused| {
        let most = OBJECT_BYTES_MAX >> 20;
        let said = format!("{}; an object has {most} MiB at most", refused.body_text());
        Unmet::new(refused.status(), said)
    })?;
    let read = serde_json::from_slice::<Body>(&body).map_err(|error| {
        let said = format!("the body is not {{\"spec\": …}}: {error}");
        Unmet::new(StatusCode::BAD_REQUEST, said)
    })?;
    Ok(read.spec)
}

fn only(headers: &HeaderMap) -> Result<Only, Refused> {
    let said = |name: header::HeaderName, what: &str| {
        Refused::from(Unmet::new(StatusCode::BAD_REQUEST, format!("{name} is {what}")))
    };
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().ok());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Only::Always),
        (Some(Some("*")), None) => Ok(Only::IfThere),
        (None, Some(Some("*"))) => Ok(Only::IfAbsent),
        (Some(etag), None) => {
            let etag =
                etag.and_then(|etag| etag.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
            let wrong = || said(header::IF_MATCH, "an ETag as it was read, or *");
            etag.map(Only::IfRevision).ok_or_else(wrong)
        }
        (_, Some(_)) => Err(said(header::IF_NONE_MATCH, "* or not there, and alone")),
    }
}

fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// An object, for those who see no telephone number.
pub fn masked(path: &Path, object: &Object) -> anyhow::Result<Resource> {
    let mut resource = resource(path, object)?;
    if matches!(path.kind, Kind::Line | Kind::Session)
        && let Some((number, access)) = path.name.split_once('@')
    {
        let masked = format!("{}@{access}", model::masked(number));
        resource.metadata.path = resource.metadata.path.replace(&path.name, &masked);
        resource.metadata.name = masked;
    }
    resource.spec = json::masked(resource.spec);
    Ok(resource)
}

/// An object.
pub fn resource(path: &Path, object: &Object) -> anyhow::Result<Resource> {
    Ok(Resource {
        kind: path.kind,
        metadata: Metadata {
            path: path.to_string(),
            name: path.name.clone(),
            tenant: path.owner().map(str::to_owned),
            resource_version: object.revision,
            scope: object.scope.to_string(),
        },
        spec: serde_json::from_str(&object.spec)?,
    })
}
