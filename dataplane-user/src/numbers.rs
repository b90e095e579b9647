//! How do the numbers of objects go on over a restart of the daemon?
//!
//! Flows in the kernel rest on numbers and generations. They are written beside the
//! pins before the version that they are of is put in force, in one of two files in
//! turn, so that at any moment the file of the version in force is whole.

use std::{fs, io, net::IpAddr, path::Path};

use anyhow::Context;
use dataplane_common::addr::Mac;
use serde::{Deserialize, Serialize};

use crate::{
    claims::{Claim, Held},
    compile::{
        Compiled, Link, Neighbours,
        ids::{Ids, Kept, Newest},
    },
    load::{Dataplane, Place},
    tables::Image,
};

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    newest: Newest,
    neighbours: Vec<(Link, [u8; 6])>,
    claims: Vec<((String, IpAddr), Claim)>,
    objects: Vec<Kept>,
}

/// Writes the numbers of the version that comes next.
pub fn write(
    place: &Place,
    version: u32,
    ids: &Ids,
    neighbours: &Neighbours,
    claims: &Held,
) -> anyhow::Result<()> {
    let path = place.numbers_file(version);
    let neighbours = neighbours.iter().map(|(link, mac)| (link.clone(), mac.0)).collect();
    let claims = claims.iter().map(|(place, claim)| (place.clone(), claim.clone())).collect();
    let file = File { version, newest: ids.newest(), neighbours, claims, objects: ids.keep() };
    let text = sealed(&serde_json::to_vec(&file)?);
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The version in force, as far as it is known.
pub struct Known {
    /// Its image, and its numbers.
    pub compiled: Compiled,
    /// MACs of next hops.
    pub neighbours: Neighbours,
    /// Who has which address.
    pub held: Held,
    /// What is not known, and why.
    pub warning: Option<String>,
}

/// What is known of the version in force. Without its numbers, generations begin above all
/// that are in force, so that every flow is judged again.
pub fn read(place: &Place, dataplane: &Dataplane) -> anyhow::Result<Known> {
    let version = dataplane.version();
    if version == 0 {
        let (compiled, neighbours, held) = Default::default();
        return Ok(Known { compiled, neighbours, held, warning: None });
    }
    let image = dataplane.read_back()?;
    let path = place.numbers_file(version);
    let (own, other) = (read_file(&path)?, read_file(&place.numbers_file(version ^ 1))?);
    let (file, why) = choose(version, own, other);
    let mut ids = Ids::beyond(newest(&image, dataplane.rule_max()));
    let (mut neighbours, mut held) = (Neighbours::new(), Held::new());
    if let Some(file) = file {
        if why.is_none() {
            ids = Ids::kept(file.objects, file.newest);
        }
        neighbours = file.neighbours.into_iter().map(|(link, mac)| (link, Mac(mac))).collect();
        held = file.claims.into_iter().collect();
    }
    let warning = why.map(|why| {
        format!(
            "{}: {why}. It told which numbers tenants, rules and attachments have: their counters \
             and drops begin at zero, and every flow is judged again",
            path.display()
        )
    });
    Ok(Known { compiled: Compiled { version, image, ids }, neighbours, held, warning })
}

/// The text behind a line with its digest: of numbers that are not those that were given away,
/// some lead packets astray.
fn sealed(text: &[u8]) -> Vec<u8> {
    let digest = blake3::hash(text).to_hex();
    [digest.as_bytes(), b"\n", text].concat()
}

/// The text, if the line before it has its digest.
fn unsealed(file: &[u8]) -> Option<&[u8]> {
    let (line, text) = file.split_at_checked(2 * blake3::OUT_LEN + 1)?;
    let digest = blake3::hash(text).to_hex();
    (line.strip_suffix(b"\n")? == digest.as_bytes()).then_some(text)
}

/// What is in a file, or why that cannot be said.
fn read_file(path: &Path) -> anyhow::Result<Result<File, String>> {
    match fs::read(path) {
        Ok(text) => {
            let Some(text) = unsealed(&text) else {
                return Ok(Err("is damaged: its first line is not the sum of the rest".to_owned()));
            };
            Ok(serde_json::from_slice(text).map_err(|error| error.to_string()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err("is missing".to_owned())),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The file of the version in force, or why it is not known: the numbers of another version may
/// have another owner by now. MACs and addresses of before are still better than none: they are
/// asked for and announced again.
fn choose(
    version: u32,
    own: Result<File, String>,
    other: Result<File, String>,
) -> (Option<File>, Option<String>) {
    match (own, other) {
        (Ok(own), _) if own.version == version => (Some(own), None),
        (Ok(own), other) => {
            let why = format!("is of version {}, in force is {version}", own.version);
            (Some(other.unwrap_or(own)), Some(why))
        }
        (Err(why), other) => (other.ok(), Some(why)),
    }
}

/// The highest generation and rule number in force.
fn newest(image: &Image, rule: u32) -> Newest {
    let endpoints = image.endpoints.iter().map(|endpoint| endpoint.generation);
    let zones = image.zones.iter().map(|zone| zone.generation);
    let policies = image.policies.iter().map(|policy| policy.generation);
    let meters = image.meters.iter().map(|terms| terms.generation);
    let all = endpoints.chain(zones).chain(policies).chain(meters);
    Newest { generation: all.max().unwrap_or(0), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_written_not_a_byte_may_be_another() {
        let text = sealed(b"{\"version\": 7}");
        assert_eq!(unsealed(&text), Some(&b"{\"version\": 7}"[..]));
        assert_eq!(unsealed(&text[..text.len() - 1]), None);
        assert_eq!(unsealed(b"{}"), None);
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert_eq!(unsealed(&other), None, "byte {at}");
        }
    }

    #[test]
    fn only_numbers_of_the_version_in_force_are_believed() {
        let file = |version| {
            let (newest, neighbours) = (Newest::default(), Vec::new());
            Ok(File { version, newest, neighbours, claims: Vec::new(), objects: Vec::new() })
        };
        let bad = || Err("is missing".to_owned());
        for (own, other, chosen, why) in [
            (file(7), file(6), Some(7), None),
            (file(7), bad(), Some(7), None),
            (bad(), file(6), Some(6), Some("is missing")),
            (bad(), bad(), None, Some("is missing")),
            (file(5), file(6), Some(6), Some("is of version 5, in force is 7")),
            (file(5), bad(), Some(5), Some("is of version 5, in force is 7")),
        ] {
            let (file, said) = choose(7, own, other);
            assert_eq!(file.map(|file| file.version), chosen);
            assert_eq!(said.as_deref(), why);
        }
    }
}
