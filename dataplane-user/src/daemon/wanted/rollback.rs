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
    /// How much.
    pub what: What,
}

/// How much is taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The scope's last change.
    Last,
    /// All that it changed after this revision of it.
    After(u64),
    /// This revision, if nobody has confirmed it by now. What somebody else has changed since
    /// stays as that one left it; otherwise nothing would be taken back then.
    Unconfirmed(u64),
}

impl Wanted {
    /// What is in force when it is taken back, and what is left.
    pub fn by_rollback(&self, take: &Take) -> anyhow::Result<(Proposal, Vec<Path>)> {
        let Take { scope, what } = take;
        let store = self.read();
        let own = |of: u64| store.revision(of).is_some_and(|of| of.scope.as_ref() == scope);
        let mut of_scope = store.revisions().keys().rev().filter(|number| own(**number));
        let (last, earlier) = (of_scope.next(), of_scope.next());
        let Some(&last) = last else {
            let said = format!("nothing is known of what `{scope}` changed");
            return Err(Unmet::new(StatusCode::NOT_FOUND, said).into());
        };
        let waits = store.unconfirmed().get(scope.as_str()).map(|of| of.revision);
        let after = match *what {
            What::Last if earlier.is_none() => {
                let said = format!(
                    "revision {last} is the first of `{scope}`, and nothing was before it: to take \
                     away all that it wants, apply a file that says nothing (`version: 1`)"
                );
                return Err(Unmet::new(StatusCode::CONFLICT, said).into());
            }
            What::Last => last - 1,
            What::After(to) => to,
            What::Unconfirmed(revision) if waits == Some(revision) => revision - 1,
            What::Unconfirmed(revision) => {
                let said = format!("revision {revision} of `{scope}` is confirmed by now");
                return Err(Unmet::new(StatusCode::CONFLICT, said).into());
            }
        };
        if let What::After(to) = *what
            && !own(to)
        {
            let said = format!(
                "{to} is no revision of `{scope}`, or it is not known any more what it changed: \
                 `sekisho revisions --scope {scope}` shows those that are"
            );
            return Err(Unmet::new(StatusCode::NOT_FOUND, said).into());
        }
        let Back { changes, conflicts } = store.back(scope, after)?;
        if !conflicts.is_empty() && !matches!(what, What::Unconfirmed(_)) {
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
