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
    let text = serde_json::to_vec(&file)?;
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

/// What is in a file, or why that cannot be said.
fn read_file(path: &Path) -> anyhow::Result<Result<File, String>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)
            .map_err(|error| error.to_string())
            .and_then(|file: File| Kept::are_distinct(&file.objects).map(|()| file))),
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
    fn a_number_that_nobody_or_two_can_have_is_of_a_damaged_file() {
        let objects = |of: &str| {
            let text = format!("[{{\"kind\":\"Zone\",\"name\":\"a\",\"number\":1}},{of}]");
            serde_json::from_str::<Vec<Kept>>(&text).expect("they are objects")
        };
        let said = |of| Kept::are_distinct(&objects(of)).err();
        let own = "{\"kind\":\"Zone\",\"name\":\"b\",\"number\":2}";
        let number = "{\"kind\":\"Zone\",\"name\":\"b\",\"number\":1}";
        let name = "{\"kind\":\"Zone\",\"name\":\"a\",\"number\":2}";
        assert_eq!(said(own), None);
        assert_eq!(said(number).as_deref(), Some("two of kind Zone have the number 1"));
        assert_eq!(said(name).as_deref(), Some("two of kind Zone have the name a"));
        let far = own.replace("2}", "4000000000}");
        assert_eq!(said(&far).as_deref(), Some("b of kind Zone has the number 4000000000"));
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
