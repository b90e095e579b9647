//! What a scope wants, all at once: apply it, confirm it, take it back.

use std::time::Duration;

use anyhow::anyhow;
use axum::{
    Extension, Json,
    extract::{FromRequest, Query, Request, State, rejection::QueryRejection},
    http::StatusCode,
};
use http_body_util::{BodyExt, Limited};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::{sync::Semaphore, time::timeout};

use super::{ask, objects::is_dry};
use crate::{
    config::tree::TEXT_BYTES_MAX,
    daemon::{Asker, File, HowMuch, OF_FILES, Shared, Take, Terms},
    desired::{CONFIRM_WITHIN_MAX, log::By},
    problem::{Refused, Unmet},
    view::{Applied, Confirmed},
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    /// Whose it is; that of site files, if it is not told.
    scope: Option<String>,
    /// What the scope wanted beside it goes.
    #[serde(default = "yes")]
    prune: bool,
    /// What others say otherwise is to be as it is here.
    #[serde(default)]
    take_over: bool,
    /// Unless it is confirmed within this time, it is taken back: `90s`, `2m`.
    #[serde(default, deserialize_with = "confirm_within")]
    #[schemars(with = "Option<String>")]
    confirm_timeout: Option<Duration>,
    /// Say what would change, and change nothing: `All`.
    dry_run: Option<String>,
    /// How the file in the body is called; without it the daemon reads its own anew.
    name: Option<String>,
    /// Take interfaces that the host needs, too.
    #[serde(default)]
    force: bool,
    /// The connection by which whoever asks is logged in.
    ssh_connection: Option<String>,
}

const fn yes() -> bool {
    true
}

fn confirm_within<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parsed(&text).map_err(D::Error::custom)).transpose()
}

/// A time to confirm something in, as `90s` or `2m`.
pub fn parsed(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let (least, most) = (Duration::from_secs(1), CONFIRM_WITHIN_MAX);
    time.filter(|time| (least..=most).contains(time))
        .ok_or_else(|| "it has to be a time as `90s` or `2m`, 1 s to 24 h".to_owned())
}

/// Site files that are read, compiled or wait for that; each takes memory and a thread.
const APPLIES_MAX: usize = 8;
/// For how long a site file may be on its way: meanwhile it is one of them.
const TEXT_WAIT: Duration = Duration::from_secs(60);
static APPLIES: Semaphore = Semaphore::const_new(APPLIES_MAX);

/// Makes all as a file says it; on any error nothing changes.
pub async fn apply(
    Extension(by): Extension<By>,
    State(daemon): State<Shared>,
    query: Result<Query<Apply>, QueryRejection>,
    request: Request,
) -> Result<Json<Applied>, Refused> {
    let Query(query) = query?;
    let dry_run = is_dry(query.dry_run.as_deref())?;
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
    let applied = ask(daemon, move |daemon| {
        // Until it is done, whether anybody waits for it or not.
        let _permit = permit;
        let Apply { scope, prune, take_over, confirm_timeout: confirm_within, .. } = query;
        let scope = scope.unwrap_or_else(|| OF_FILES.to_owned());
        let terms = Terms { scope, prune, take_over, confirm_within };
        let file = query.name.map(|name| File { name, text });
        let asker = Asker { force: query.force, ssh_connection: query.ssh_connection, by };
        daemon.apply(file, &terms, dry_run, asker)
    });
    Ok(Json(applied.await?))
}

/// Takes a text and forgets it.
async fn heard_out(request: Request) {
    let mut text = Limited::new(request.into_body(), TEXT_BYTES_MAX);
    while let Some(Ok(_)) = text.frame().await {}
}

#[derive(Deserialize, JsonSchema)]
pub struct Confirm {
    /// Whose it is; that of site files, if it is not told.
    scope: Option<String>,
}

/// The scope's unconfirmed revision stays.
pub async fn confirm(
    Extension(by): Extension<By>,
    State(daemon): State<Shared>,
    query: Result<Query<Confirm>, QueryRejection>,
) -> Result<Json<Confirmed>, Refused> {
    let Query(Confirm { scope }) = query?;
    let scope = scope.unwrap_or_else(|| OF_FILES.to_owned());
    let confirmed = ask(daemon, move |daemon| {
        let revision = daemon.confirm(&scope, by)?.ok_or_else(|| {
            let said = format!(
                "no revision of `{scope}` waits to be confirmed; one that did was taken back, or \
                 is confirmed already"
            );
            Unmet::new(StatusCode::CONFLICT, said)
        })?;
        Ok(Confirmed { scope, revision })
    });
    Ok(Json(confirmed.await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollBack {
    /// Whose changes; those of site files, if it is not told.
    scope: Option<String>,
    /// All that the scope changed after this revision is taken back; nothing: its last one.
    to: Option<u64>,
    /// Say what would change, and change nothing: `All`.
    dry_run: Option<String>,
}

/// Takes back what a scope changed.
pub async fn roll_back(
    Extension(by): Extension<By>,
    State(daemon): State<Shared>,
    query: Result<Query<RollBack>, QueryRejection>,
) -> Result<Json<Applied>, Refused> {
    let Query(RollBack { scope, to, dry_run }) = query?;
    let dry_run = is_dry(dry_run.as_deref())?;
    let scope = scope.unwrap_or_else(|| OF_FILES.to_owned());
    let take = Take { scope, what: to.map_or(HowMuch::Last, HowMuch::After) };
    let asker = Asker { by, ..Asker::default() };
    let taken = ask(daemon, move |daemon| daemon.roll_back(&take, dry_run, asker));
    let (applied, _) = taken.await?;
    Ok(Json(applied))
}
