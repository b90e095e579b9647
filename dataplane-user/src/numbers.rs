//! How do the numbers of objects go on over a restart of the daemon?
//!
//! Flows in the kernel rest on numbers and generations. They are written beside the
//! pins before the version that they are of is put in force, in one of two files in
//! turn, so that at any moment the file of the version in force is whole.

use std::{fs, io};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    compile::{
        Compiled,
        ids::{Ids, Kept},
    },
    load::{Dataplane, Place},
    tables::Image,
};

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    objects: Vec<Kept>,
}

/// Writes the numbers of the version that comes next.
pub fn write(place: &Place, version: u32, ids: &Ids) -> anyhow::Result<()> {
    let path = place.numbers_file(version);
    let text = serde_json::to_vec(&File { version, objects: ids.keep() })?;
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The version in force, as far as it is known: its image, and its numbers. Without
/// them, generations begin above all that are in force, so that every flow is judged
/// again.
pub fn read(place: &Place, dataplane: &Dataplane) -> anyhow::Result<Compiled> {
    let version = dataplane.version();
    if version == 0 {
        return Ok(Compiled::default());
    }
    let image = dataplane.read_back()?;
    let path = place.numbers_file(version);
    let ids = match fs::read(&path) {
        Ok(text) => serde_json::from_slice::<File>(&text)
            .ok()
            .filter(|file| file.version == version)
            .map(|file| Ids::kept(file.objects)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let ids = ids.unwrap_or_else(|| Ids::beyond(newest(&image)));
    Ok(Compiled { image, ids })
}

/// The highest generation in force.
fn newest(image: &Image) -> u32 {
    let endpoints = image.endpoints.iter().map(|endpoint| endpoint.generation);
    let zones = image.zones.iter().map(|zone| zone.generation);
    let policies = image.policies.iter().map(|policy| policy.generation);
    endpoints.chain(zones).chain(policies).max().unwrap_or(0)
}
