//! Where do the two judges differ, and is it a difference that we know?

use std::{collections::BTreeMap, fmt};

use dataplane_common::stage::conntrack::state;

use super::{
    differences::{ALL, Difference},
    seen::Seen,
    segment::{Judged, Talk},
};

/// What the comparison of one segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Same verdict, same state.
    Agreed,
    /// Same verdict, and the states differed before.
    Follows,
    /// A difference of the table, by its name.
    Known(&'static str),
    /// One that nobody has explained.
    Unexplained,
}

/// Compares what both say of each segment.
pub fn compare(talk: &Talk, ours: &[Judged], theirs: &[Judged]) -> Vec<Found> {
    let mut before = [state::NONE; 2];
    let mut found = Vec::new();
    for ((segment, ours), theirs) in talk.segments.iter().zip(ours).zip(theirs) {
        let after = [ours.state, theirs.state];
        let passed = [ours.has_passed, theirs.has_passed];
        let seen = Seen { segment, before, after, passed };
        found.push(if passed[0] != passed[1] {
            known(&seen)
        } else if after[0] == after[1] {
            Found::Agreed
        } else if before[0] != before[1] {
            Found::Follows
        } else {
            known(&seen)
        });
        before = after;
    }
    found
}

fn known(seen: &Seen<'_>) -> Found {
    let difference = ALL.iter().find(|difference| (difference.is)(seen));
    difference.map_or(Found::Unexplained, |difference| Found::Known(difference.name))
}

/// How often what was found.
#[derive(Default)]
pub struct Histogram {
    segments: usize,
    agreed: usize,
    follows: usize,
    unexplained: usize,
    known: BTreeMap<&'static str, usize>,
}

impl Histogram {
    pub fn add(&mut self, found: &[Found]) {
        for found in found {
            self.segments += 1;
            match found {
                Found::Agreed => self.agreed += 1,
                Found::Follows => self.follows += 1,
                Found::Unexplained => self.unexplained += 1,
                Found::Known(name) => *self.known.entry(name).or_default() += 1,
            }
        }
    }

    /// Differences of the table that did not occur.
    pub fn gone(&self) -> Vec<&'static str> {
        let names = ALL.iter().map(|difference| difference.name);
        names.filter(|name| !self.known.contains_key(name)).collect()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{:6} segments", self.segments)?;
        writeln!(to, "{:6} judged alike", self.agreed)?;
        writeln!(to, "{:6} judged alike, in states that differed already", self.follows)?;
        for Difference { name, why, .. } in ALL {
            writeln!(to, "{:6} {name}\n       ({why})", self.known.get(name).unwrap_or(&0))?;
        }
        writeln!(to, "{:6} unexplained", self.unexplained)
    }
}

/// The talk with what both said of it.
pub fn table(talk: &Talk, ours: &[Judged], theirs: &[Judged]) -> String {
    let said = |judged: &Judged| {
        let verdict = if judged.has_passed { "pass" } else { "stop" };
        format!("{verdict} {:13}", state::name(judged.state))
    };
    let found = compare(talk, ours, theirs);
    let rows = talk.segments.iter().zip(ours).zip(theirs).zip(found);
    let rows = rows.map(|(((segment, ours), theirs), found)| {
        format!("  ours {} linux {} {segment}   {found:?}\n", said(ours), said(theirs))
    });
    rows.collect()
}
