//! The committed inputs, and those that are made anew.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use dataplane_user::config;
use serde_json::Value;

use super::packet;
use crate::{chance::Chance, rows::rows, sites::Spec};

/// What holds of an input.
pub type Target = fn(&[u8]) -> Result<(), String>;

/// Every target by its name.
pub const TARGETS: [(&str, Target); 3] =
    [("packet", packet), ("sequence", super::sequence), ("site", super::site)];

/// Where the inputs of a target are.
#[must_use]
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// The inputs of a folder by their names.
pub fn read(folder: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    files.into_iter().map(|file| fs::read(&file).map(|input| (file, input))).collect()
}

/// What the fuzzer begins with: the rows of the packet table, the examples and random site
/// files, and random sequences.
pub fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    const SITES: u64 = 12;
    const SEQUENCES: u64 = 200;
    const SEQUENCE_BYTES: usize = 400;
    match target {
        "packet" => Ok(rows().iter().filter_map(packet::seed).collect()),
        "site" => {
            let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
            let examples = read(&examples)?.into_iter().map(|(_, text)| text);
            let random = |seed| Spec::random(&mut Chance::new(seed)).yaml().into_bytes();
            Ok(examples.chain((0..SITES).map(random)).collect())
        }
        _ => Ok((0..SEQUENCES).map(|seed| Chance::new(seed).bytes(SEQUENCE_BYTES)).collect()),
    }
}

/// The words that a site file is made of: a fuzzer would not guess them.
#[must_use]
pub fn words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    collect(config::schema().as_value(), &mut words);
    words
}

/// Names of fields, and what they may say.
fn collect(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("properties", Value::Object(of)) => words.extend(of.keys().cloned()),
                    ("enum", Value::Array(of)) => {
                        words.extend(of.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    ("const", Value::String(one)) => drop(words.insert(one.clone())),
                    _ => {}
                }
                collect(value, words);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
