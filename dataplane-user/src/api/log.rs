//! Who changed what, and who was refused what?

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ask, only_read};
use crate::{daemon::Shared, desired::log::Record, problem::Refused};

/// Records of one answer.
pub const RECORDS_MAX: usize = 1000;

#[derive(Deserialize, JsonSchema)]
pub struct Ask {
    /// Those after this one.
    after: Option<u64>,
    /// Without it: the last ones, so many.
    last: Option<u64>,
}

/// Records of the log, in their order, a thousand at most.
pub async fn records(
    State(daemon): State<Shared>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Json<Vec<Record>>, Refused> {
    let Query(Ask { after, last }) = query?;
    let records = ask(daemon, move |daemon| {
        let last = last.unwrap_or(RECORDS_MAX as u64).min(RECORDS_MAX as u64);
        let after = after.unwrap_or_else(|| daemon.wanted().log().number.saturating_sub(last));
        Ok(daemon.wanted().records(after, RECORDS_MAX)?)
    });
    Ok(Json(records.await?))
}

/// Numbers of lines are in it.
pub async fn secret() -> Refused {
    only_read("the log, which has telephone numbers, is not shown")
}
