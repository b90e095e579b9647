//! How do the numbers of objects go on over a restart of the daemon?
//!
//! Flows in the kernel rest on numbers and generations. They are written beside the
//! pins before the version that they are of is put in force, in one of two files in
//! turn, so that at any moment the file of the version in force is whole.

use std::{fs, io, net::IpAddr};

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

/// The version in force, as far as it is known: its image, and its numbers. Without
/// them, generations begin above all that are in force, so that every flow is judged
/// again.
pub fn read(place: &Place, dataplane: &Dataplane) -> anyhow::Result<(Compiled, Neighbours, Held)> {
    let version = dataplane.version();
    if version == 0 {
        return Ok((Compiled::default(), Neighbours::new(), Held::new()));
    }
    let image = dataplane.read_back()?;
    let path = place.numbers_file(version);
    let file = match fs::read(&path) {
        Ok(text) => serde_json::from_slice::<File>(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let Some(file) = file.filter(|file| file.version == version) else {
        let ids = Ids::beyond(newest(&image));
        return Ok((Compiled { version, image, ids }, Neighbours::new(), Held::new()));
    };
    let neighbours = file.neighbours.into_iter().map(|(link, mac)| (link, Mac(mac))).collect();
    let ids = Ids::kept(file.objects, file.newest);
    Ok((Compiled { version, image, ids }, neighbours, file.claims.into_iter().collect()))
}

/// The highest generation and rule number in force.
fn newest(image: &Image) -> Newest {
    let endpoints = image.endpoints.iter().map(|endpoint| endpoint.generation);
    let zones = image.zones.iter().map(|zone| zone.generation);
    let policies = image.policies.iter().map(|policy| policy.generation);
    Newest {
        generation: endpoints.chain(zones).chain(policies).max().unwrap_or(0),
        rule: image.rules.iter().map(|rule| rule.id).max().unwrap_or(0),
    }
}
