//! Where do programs, tables and links live on while no process holds them?
//!
//! ```text
//! <pin>/maps/ROOT ...                     every table but a packet's own work
//! <pin>/programs-<generation>/sekisho_xdp ...  and the program arrays of that generation
//! <pin>/links/<interface>-xdp|tcx|deliver
//! <state>/state.json                      how they were made, and what to restore
//! <state>/lock                            held by the process that changes them
//! ```
//!
//! Both folders belong to whoever runs this and are nobody else's to enter. The pin folder
//! itself is held, too, so that no two state folders go with one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    Error,
    pins::{self, Pins},
};

/// The folders of one dataplane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// On a BPF file system.
    pub pin: PathBuf,
    /// On any other.
    pub state: PathBuf,
}

/// The right to change what is in a place, until it is dropped or the process ends.
pub struct Lock {
    _files: Vec<File>,
}

impl Place {
    /// The usual place of a dataplane of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            pin: Path::new("/sys/fs/bpf/sekisho").join(name),
            state: Path::new("/run/sekisho").join(name),
        }
    }

    /// Makes the folders, or looks whether they are ours alone.
    pub fn prepare(&self) -> Result<(), Error> {
        on_bpffs(&self.pin)?;
        own_folder(&self.state)?;
        own_folder(&self.pin)?;
        let found = Pins::look(self)?;
        if found.own.is_empty() {
            // Nobody begins where `detach` would be refused.
            found.check_strange(self)?;
        }
        own_folder(&self.maps())?;
        own_folder(&self.links())
    }

    /// Refuses folders that are there and not ours alone.
    pub fn check(&self) -> Result<(), Error> {
        check_folder(&self.pin)?;
        check_folder(&self.state)?;
        // Where it is hidden, nothing of what is pinned would be found.
        on_bpffs(&self.pin)
    }

    /// Keeps other processes from changing what is there of the place, also those that name
    /// only one of its folders.
    pub fn lock(&self) -> Result<Lock, Error> {
        let mut files = Vec::new();
        if self.state.exists() {
            let path = self.state.join("lock");
            // On a disk that takes nothing any more it can still be held.
            let file = File::open(&path)
                .or_else(|_| OpenOptions::new().create(true).append(true).mode(0o600).open(&path));
            files.push(locked(&path, file, &self.state)?);
        }
        if self.pin.exists() {
            // A BPF file system has no files that could be held, but folders can be.
            files.push(locked(&self.pin, File::open(&self.pin), &self.pin)?);
        }
        Ok(Lock { _files: files })
    }

    /// The tables.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.pin.join("maps")
    }

    /// One table.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// The programs of a generation, and what only they use.
    #[must_use]
    pub fn programs(&self, generation: u32) -> PathBuf {
        self.pin.join(format!("programs-{generation}"))
    }

    /// The generations that are there, complete or not.
    pub fn generations(&self) -> Result<Vec<u32>, Error> {
        let names = fs::read_dir(&self.pin).map_err(Error::file(&self.pin))?.flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| pins::generation(&name)).collect())
    }

    /// What holds programs on interfaces.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.pin.join("links")
    }

    /// What holds a program on an interface. A BPF file system has no dots in names.
    #[must_use]
    pub fn link(&self, interface: &str, hook: &str) -> PathBuf {
        let interface = interface.replace('%', "%25").replace('.', "%2e");
        self.links().join(format!("{interface}-{hook}"))
    }

    /// What is held on interfaces: interface and hook, the delivering program last.
    #[must_use]
    pub fn linked(&self) -> Vec<(String, &'static str)> {
        let names = fs::read_dir(self.links()).into_iter().flatten().flatten();
        let names: Vec<_> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let of = |hook: &'static str| {
            let links = names.iter().filter_map(move |name| {
                let (interface, own) = name.rsplit_once('-')?;
                let interface = interface.replace("%2e", ".").replace("%25", "%");
                (own == hook).then_some((interface, hook))
            });
            links.collect::<Vec<_>>()
        };
        ["xdp", "tcx", "deliver"].into_iter().flat_map(of).collect()
    }

    /// The numbers of the objects of a version, in one of two files in turn.
    #[must_use]
    pub fn numbers_file(&self, version: u32) -> PathBuf {
        self.state.join(format!("numbers-{}.json", version % 2))
    }

    /// What else has to be known.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.state.join("state.json")
    }
}

/// Makes a folder with its parents, of mode 0700, or looks whether it is that.
pub(super) fn own_folder(path: &Path) -> Result<(), Error> {
    if fs::symlink_metadata(path).is_err() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(Error::file(path))?;
    }
    check_folder(path)
}

/// Refuses a folder that is not ours alone, if it is there.
fn check_folder(path: &Path) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(Error::file(path))?,
    };
    let own = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(Error::File { path: path.into(), source });
    }
    if found.uid() != own {
        return Err(Error::Owner { path: path.into(), owner: found.uid(), own });
    }
    if found.mode() & 0o077 != 0 {
        return Err(Error::Mode { path: path.into(), mode: found.mode() & 0o777 });
    }
    Ok(())
}

/// Refuses a path that is not on a BPF file system, or would not be.
fn on_bpffs(path: &Path) -> Result<(), Error> {
    // linux/magic.h
    const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
    let above = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let kind = rustix::fs::statfs(above)
        .map_err(|error| Error::File { path: above.into(), source: error.into() })?;
    if kind.f_type as u64 & 0xffff_ffff != BPF_FS_MAGIC {
        return Err(Error::NotBpffs { path: path.into() });
    }
    Ok(())
}

/// Holds what was opened, unless somebody does, or has just removed it.
fn locked(path: &Path, file: io::Result<File>, folder: &Path) -> Result<File, Error> {
    let file = file.map_err(Error::file(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse { path: folder.into() }),
        Err(fs::TryLockError::Error(source)) => {
            return Err(Error::File { path: path.into(), source });
        }
    }
    let inode = |of: fs::Metadata| (of.dev(), of.ino());
    let held = file.metadata().map(inode).map_err(Error::file(path))?;
    match fs::symlink_metadata(path).map(inode) {
        Ok(now) if now == held => Ok(file),
        _ => Err(Error::InUse { path: folder.into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_ours_alone() {
        let path = std::env::temp_dir().join(format!("sekisho-place-{}", std::process::id()));
        own_folder(&path).expect("made");
        own_folder(&path).expect("found");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let refusal = own_folder(&path).expect_err("others may enter").to_string();
        assert!(refusal.contains("mode 750"), "{refusal}");
        fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_place_is_locked_once() {
        let base = std::env::temp_dir().join(format!("sekisho-lock-{}", std::process::id()));
        let place = Place { pin: base.join("pin"), state: base.clone() };
        own_folder(&place.state).unwrap();
        let lock = place.lock().expect("free");
        assert!(matches!(place.lock(), Err(Error::InUse { .. })));
        drop(lock);
        place.lock().expect("free again");
        let refusal = place.prepare().expect_err("no BPF file system").to_string();
        assert!(refusal.contains("mount -t bpf"), "{refusal}");
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn names_of_links_have_no_dots() {
        let place = Place::named("x");
        assert_eq!(place.link("eth0.100", "xdp"), place.links().join("eth0%2e100-xdp"));
        assert_eq!(place.link("a%2eb", "tcx"), place.links().join("a%252eb-tcx"));
    }
}
