//! What of a pin folder is ours, and how does it go away?
//!
//! Only what has a name of our layout is removed, one by one: whoever names a wrong folder
//! loses nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, place::Place};

/// What there is in a pin folder.
#[derive(Default, Debug)]
pub struct Pins {
    /// Folders with tables, links, and programs.
    pub own: Vec<PathBuf>,
    /// Pin folders of other dataplanes.
    below: Vec<PathBuf>,
    /// What we put nowhere.
    strange: Vec<PathBuf>,
}

impl Pins {
    /// Looks into the folder, if it is there.
    pub fn look(place: &Place) -> Result<Self, Error> {
        let mut pins = Self::default();
        for path in entries(&place.pin)? {
            let name = name_of(&path);
            if !is_folder(&path) {
                pins.strange.push(path);
            } else if ["maps", "links"].contains(&&*name) || generation(&name).is_some() {
                let inside = entries(&path)?;
                let is_strange = |inside: &PathBuf| is_folder(inside) || !is_pin(&name, inside);
                pins.strange.extend(inside.into_iter().filter(is_strange));
                pins.own.push(path);
            } else if ["maps", "links"].iter().all(|own| is_folder(&path.join(own))) {
                pins.below.push(path);
            } else {
                pins.strange.push(path);
            }
        }
        // Tables last: without programs and links they are nobody's.
        pins.own.sort_unstable_by_key(|path| name_of(path) == "maps");
        Ok(pins)
    }

    /// Refuses a folder in which there is something of nobody's dataplane.
    pub fn check_strange(&self, place: &Place) -> Result<(), Error> {
        if self.strange.is_empty() {
            return Ok(());
        }
        Err(Error::Strange { path: place.pin.clone(), strange: self.strange.clone() })
    }

    /// Refuses a folder that is not one of a dataplane.
    pub fn check(&self, place: &Place) -> Result<(), Error> {
        self.check_strange(place)?;
        if self.own.is_empty() && !self.below.is_empty() {
            let below = self.below.clone();
            return Err(Error::Parent { path: place.pin.clone(), below });
        }
        Ok(())
    }

    /// Removes what is ours, and the folder unless others' are below; answers what stays.
    pub fn remove(&self, place: &Place) -> Vec<Error> {
        let mut failed: Vec<_> = self.own.iter().filter_map(|own| forget(own).err()).collect();
        if failed.is_empty() && self.below.is_empty() {
            failed.extend(remove_folder(&place.pin).err());
        }
        failed
    }
}

/// Removes a folder of pins; one that is not there is removed already.
pub fn forget(folder: &Path) -> Result<(), Error> {
    for path in entries(folder)? {
        fs::remove_file(&path).map_err(Error::file(&path))?;
    }
    remove_folder(folder)
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir(folder) {
        // It is where the file system is mounted.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::file(folder)),
    }
}

/// The generation of a folder of programs.
pub fn generation(name: &str) -> Option<u32> {
    name.strip_prefix("programs-")?.parse().ok()
}

/// Is it something that we pin in a folder of this name?
fn is_pin(folder: &str, path: &Path) -> bool {
    let name = name_of(path);
    let is_table =
        name.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase() || byte.is_ascii_digit());
    match folder {
        "maps" => is_table,
        "links" => {
            let hook = name.rsplit_once('-').map(|(_, hook)| hook);
            hook.is_some_and(|hook| ["xdp", "tcx", "deliver"].contains(&hook))
        }
        _ => is_table || name.starts_with("sekisho_") || name.starts_with("at_"),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A folder itself, not a link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(Error::file(folder))?,
    };
    let paths = found.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(Error::file(folder))?;
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_name_of_ours_is_ours() {
        let base = std::env::temp_dir().join(format!("sekisho-pins-{}", std::process::id()));
        let place = Place { pin: base.join("pin"), state: base.join("state") };
        let look = || {
            let pins = Pins::look(&place).expect("looked");
            pins.check(&place).map(|()| pins).map_err(|error| error.to_string())
        };
        assert!(look().expect("nothing is there").own.is_empty());
        for folder in ["maps", "links", "programs-7"] {
            fs::create_dir_all(place.pin.join(folder)).unwrap();
        }
        for file in ["maps/ROOT", "links/eth0%2e1-xdp", "programs-7/sekisho_tc"] {
            fs::write(place.pin.join(file), "").unwrap();
        }
        assert_eq!(look().expect("all of it is ours").own.last(), Some(&place.maps()));

        for strange in ["maps/ROOT.old", "links/eth0", "programs-7/x", "programs-x", "links/a/b"] {
            let path = place.pin.join(strange);
            fs::create_dir_all(&path).unwrap();
            let refusal = look().expect_err(strange);
            let folder = path.ancestors().find(|path| path.starts_with(&place.pin)).unwrap();
            assert!(refusal.contains(&folder.parent().unwrap().display().to_string()), "{refusal}");
            fs::remove_dir(&path).unwrap();
            let _ = fs::remove_dir(place.links().join("a"));
        }
        // A link leads to what is not ours.
        std::os::unix::fs::symlink("/usr", place.pin.join("programs-8")).unwrap();
        assert!(look().expect_err("a link").contains("programs-8"));
        fs::remove_file(place.pin.join("programs-8")).unwrap();

        // Those of others stay.
        for folder in ["blue/maps", "blue/links"] {
            fs::create_dir_all(place.pin.join(folder)).unwrap();
        }
        assert_eq!(look().expect("others below").remove(&place).len(), 0);
        assert!(place.pin.join("blue/maps").is_dir() && !place.maps().exists());
        let refusal = look().expect_err("nothing but others");
        assert!(refusal.contains("--pin-path") && refusal.contains("pin/blue"), "{refusal}");
        fs::remove_dir_all(&base).unwrap();
    }
}
