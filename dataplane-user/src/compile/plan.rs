//! What would change? The difference between two versions, as lines to read.

use super::ids::{Ids, Kind};

/// A line for each object that comes (`+`), goes (`-`) or changes (`~`).
#[must_use]
pub fn changes(before: &Ids, after: &Ids) -> Vec<String> {
    // Attachments, next hops, owners and sets follow from the objects that have them.
    let kinds = [Kind::Tenant, Kind::Zone, Kind::Route, Kind::Policy, Kind::Rule, Kind::Endpoint];
    let mut lines = Vec::new();
    for kind in kinds {
        let word = word(kind);
        for (name, _) in before.all(kind) {
            if after.number(kind, name).is_none() {
                lines.push(format!("- {word}{name}"));
            }
        }
        for (name, number) in after.all(kind) {
            if before.number(kind, name).is_none() {
                lines.push(format!("+ {word}{name}"));
            } else if before.generation(kind, number) != after.generation(kind, number) {
                lines.push(format!("~ {word}{name}"));
            }
        }
    }
    lines
}

/// The word before the names of a kind that do not begin with one.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Tenant => "tenant ",
        Kind::Route => "route ",
        Kind::Rule => "rule ",
        Kind::Attachment
        | Kind::Endpoint
        | Kind::Zone
        | Kind::NextHop
        | Kind::Policy
        | Kind::Set
        | Kind::Owner => "",
    }
}
