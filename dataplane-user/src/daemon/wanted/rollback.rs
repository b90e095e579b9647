//! What comes of it if a scope takes back what it did?

use axum::http::StatusCode;

use super::{Proposal, Wanted, proposal};
use crate::{
    desired::{Back, Draft, Path},
    problem::{Fault, Unmet},
};

/// What is taken back.
#[derive(Clone, Debug)]
pub struct Take {
    /// Of which scope.
    pub scope: String,
    /// All that it changed after this revision of it; nothing: its last one.
    pub to: Option<u64>,
    /// What somebody else has changed since stays as that one left it. Otherwise nothing is taken
    /// back.
    pub leave_conflicts: bool,
}

impl Wanted {
    /// What is in force when it is taken back, and what is left.
    pub fn by_rollback(&self, take: &Take) -> anyhow::Result<(Proposal, Vec<Path>)> {
        let Take { scope, to, leave_conflicts } = take;
        let store = self.read();
        let own = |of: u64| store.revision(of).is_some_and(|of| of.scope.as_ref() == scope);
        let last = store.revisions().keys().rev().find(|number| own(**number));
        let Some(&last) = last else {
            let said = format!("nothing is known of what `{scope}` changed");
            return Err(Unmet::new(StatusCode::NOT_FOUND, said).into());
        };
        if let Some(to) = to.filter(|to| !own(*to)) {
            let said = format!(
                "{to} is no revision of `{scope}`, or it is not known any more what it changed: \
                 `sekisho revisions --scope {scope}` shows those that are"
            );
            return Err(Unmet::new(StatusCode::NOT_FOUND, said).into());
        }
        let Back { changes, conflicts } = store.back(scope, to.unwrap_or(last - 1))?;
        if !conflicts.is_empty() && !leave_conflicts {
            let fault = |path: &Path| {
                let by = store.get(path).map_or_else(
                    || "was deleted".to_owned(),
                    |object| format!("was written by `{}`", object.scope),
                );
                Fault::of_object(path, format!("it {by} since"))
            };
            let faults: Vec<_> = conflicts.iter().map(fault).collect();
            let mut said: Vec<_> = faults.iter().map(Fault::in_line).collect();
            said.push("nothing is taken back".to_owned());
            let unmet = Unmet::new(StatusCode::CONFLICT, said.join("\n"));
            return Err(Unmet { faults, ..unmet }.into());
        }
        let draft =
            Draft { scope: scope.as_str().into(), is_set: true, changes, ..Draft::default() };
        Ok((proposal(&store, format!("rollback of {scope}"), draft)?, conflicts))
    }
}
