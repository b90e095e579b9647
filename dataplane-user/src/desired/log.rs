//! Who changed what, and who was refused what?
//!
//! A chain: each record has the digest of the one before it, so that none can be altered, left out
//! or put in between unseen. That the last ones are there, is known by a head that was told
//! elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::history::rfc3339;

/// So many records are kept; those before are gone, and the chain begins later.
pub const RECORDS_KEPT: u64 = 50_000;
/// Lines of a change that a record has.
const LINES_MAX: usize = 20;
/// Bytes of a line or of a reason.
const LINE_BYTES_MAX: usize = 500;

/// Who did something.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Default, PartialEq, Eq, Debug)]
pub struct By {
    /// Who: a user's name, or `sekisho` itself.
    pub who: String,
    /// How that is known, or why it was done.
    pub how: String,
    /// From where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
}

impl By {
    /// The daemon, for this reason.
    #[must_use]
    pub fn itself(why: &str) -> Self {
        Self { who: "sekisho".to_owned(), how: why.to_owned(), from: String::new() }
    }
}

/// What is done, or would have been.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Default, PartialEq, Eq, Debug)]
pub struct Operation {
    /// By whom.
    pub by: By,
    /// What: `apply`, `put`, `patch`, `delete`, `rollback`, `confirm`.
    pub verb: String,
    /// To what: an object's path, or a scope.
    pub what: String,
    /// What changes, as lines to read; the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// How many lines there are in all.
    #[serde(default)]
    pub changes_count: usize,
}

impl Operation {
    /// By somebody, to something.
    #[must_use]
    pub fn new(by: By, verb: &str, what: impl ToString) -> Self {
        Self { by, verb: verb.to_owned(), what: what.to_string(), ..Self::default() }
    }

    /// With what it changes.
    #[must_use]
    pub fn changing(mut self, lines: &[String]) -> Self {
        self.changes_count = lines.len();
        self.changes = lines.iter().take(LINES_MAX).map(|line| cut(line)).collect();
        self
    }
}

/// What became of it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// It is done.
    Done {
        /// As this revision, the last one.
        revision: u64,
        /// In force as this version; none where nothing had to be put in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        site_version: Option<u32>,
    },
    /// It is not done.
    Refused {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// It is not done, for this reason.
    #[must_use]
    pub fn refused(why: &str) -> Self {
        Self::Refused { why: cut(why) }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(LINE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// One entry of the log.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which it is, from 1.
    pub number: u64,
    /// When it was, as RFC 3339 has it.
    pub at: String,
    /// What was to be done.
    #[serde(flatten)]
    pub operation: Operation,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The digest of the record before it.
    pub before: String,
    /// Its own: of all the rest, as JSON with an empty digest.
    pub digest: String,
}

impl Record {
    /// The next one.
    #[must_use]
    pub fn after(head: &Head, at_ms: u64, operation: Operation, outcome: Outcome) -> Self {
        let mut record = Self {
            number: head.number + 1,
            at: rfc3339(at_ms),
            operation,
            outcome,
            before: head.digest.clone(),
            digest: String::new(),
        };
        record.digest = record.computed();
        record
    }

    fn computed(&self) -> String {
        let text = serde_json::to_vec(&Self { digest: String::new(), ..self.clone() });
        blake3::hash(&text.unwrap_or_default()).to_hex().to_string()
    }

    /// As the log's head.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { number: self.number, digest: self.digest.clone() }
    }
}

/// The last record of a log.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Default, PartialEq, Eq, Debug)]
pub struct Head {
    /// Which it is; 0: there is none.
    pub number: u64,
    /// Its digest.
    pub digest: String,
}

/// The first of these records that is not as it was written, or does not follow the one before it.
#[must_use]
pub fn broken(records: &[Record]) -> Option<u64> {
    let mut before: Option<&Record> = None;
    for record in records {
        let follows =
            |before: &Record| record.number == before.number + 1 && record.before == before.digest;
        if record.digest != record.computed() || !before.is_none_or(follows) {
            return Some(record.number);
        }
        before = Some(record);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<Record> {
        let mut records = Vec::<Record>::new();
        for (at, verb) in ["put", "delete", "apply"].into_iter().enumerate() {
            let head = records.last().map(Record::head).unwrap_or_default();
            let operation = Operation::new(By::itself("a test"), verb, "tenants/blue");
            let outcome = if at == 1 {
                Outcome::refused("it is needed")
            } else {
                Outcome::Done { revision: 7, site_version: Some(3) }
            };
            records.push(Record::after(&head, 1000 * at as u64, operation, outcome));
        }
        records
    }

    #[test]
    fn whoever_alters_a_record_is_found_out() {
        let records = chain();
        assert_eq!(broken(&records), None);
        let text = serde_json::to_string(&records).expect("it is JSON");
        assert_eq!(serde_json::from_str::<Vec<Record>>(&text).expect("it is one"), records);
        // What was before what is kept is not known.
        assert_eq!(broken(&records[1..]), None);
        let mut left_out = records.clone();
        left_out.remove(1);
        assert_eq!(broken(&left_out), Some(3));
        let mut altered = records.clone();
        altered[1].operation.by.who = "somebody else".to_owned();
        assert_eq!(broken(&altered), Some(2));
        // Also by one who reckons its digest anew.
        altered[1].digest = altered[1].computed();
        assert_eq!(broken(&altered), Some(3));
    }

    #[test]
    fn a_record_has_no_more_than_a_person_reads() {
        let lines: Vec<_> = (0..1000).map(|_| "ü".repeat(1000)).collect();
        let operation = Operation::new(By::default(), "apply", "site").changing(&lines);
        assert_eq!((operation.changes.len(), operation.changes_count), (LINES_MAX, 1000));
        assert!(operation.changes.iter().all(|line| line.len() <= LINE_BYTES_MAX));
    }
}
