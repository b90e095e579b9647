//! What has to be known to go on with pinned tables, and to leave interfaces as they
//! were found?

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use dataplane_common::LAYOUT_VERSION;
use serde::{Deserialize, Serialize};

use super::{
    Error, Sizes,
    hook::{Hooked, Role, Shared},
    refused::Refused,
};

/// Written before anything that it tells is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// [`LAYOUT_VERSION`] of whoever made the tables.
    pub layout: u32,
    /// Since when the machine runs: nothing of this is there any more in its next life. Empty
    /// where there is no /proc.
    #[serde(default)]
    pub boot: String,
    /// Sizes of the tables.
    pub sizes: Sizes,
    /// What its keys are hashed with.
    pub secret: [u64; 2],
    /// The network namespace that the interfaces are in, by its inode.
    pub namespace: u64,
    /// What is attached, and how it was before, by interface.
    pub interfaces: BTreeMap<String, Before>,
    /// What interfaces did not take, by interface.
    #[serde(default)]
    pub refused: BTreeMap<String, Refused>,
    /// Of that, packets by tenant's number.
    #[serde(default)]
    pub refused_of_tenants: BTreeMap<u32, u64>,
}

/// An interface as it was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Before {
    /// Its number then; another one means that it is another interface.
    pub ifindex: u32,
    /// What it is to us.
    pub role: Role,
    /// By what it is attached.
    pub hooked: Hooked,
    /// What is left to the host.
    #[serde(default)]
    pub shared: Shared,
    /// Is it at tcx since XDP was not to be had?
    #[serde(default)]
    pub fell_back: bool,
    /// Was it up?
    pub is_up: bool,
    /// Did it do without ARP?
    pub is_noarp: bool,
    /// Was IPv6 off? Absent where the kernel has no IPv6.
    pub disable_ipv6: Option<bool>,
    /// Offloads that were changed, as they were.
    pub features: BTreeMap<String, bool>,
}

/// Which life of the machine this is; empty where there is no /proc.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The calling thread's network namespace; 0 where there is no /proc.
pub fn namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |link| link.ino())
}

impl State {
    /// Of tables that are made now.
    #[must_use]
    pub fn new(sizes: Sizes, secret: [u64; 2]) -> Self {
        Self {
            layout: LAYOUT_VERSION,
            boot: boot(),
            sizes,
            secret,
            namespace: 0,
            interfaces: BTreeMap::new(),
            refused: BTreeMap::new(),
            refused_of_tenants: BTreeMap::new(),
        }
    }

    /// Notes how an interface was found, and in which namespace.
    pub fn remember(&mut self, name: &str, before: Before) {
        if self.interfaces.is_empty() {
            self.namespace = namespace();
        }
        self.interfaces.insert(name.into(), before);
    }

    /// An interface that came just now is down only since it is new: it is not to be set down
    /// for that when it is given back.
    pub fn came_up(&mut self, name: &str) {
        if let Some(before) = self.interfaces.get_mut(name) {
            before.is_up = true;
        }
    }

    /// Refuses to look for the interfaces in another namespace, where each would be
    /// taken for gone.
    pub fn check_namespace(&self) -> Result<(), Error> {
        let (found, own) = (self.namespace, namespace());
        if found == own || self.interfaces.is_empty() {
            return Ok(());
        }
        let interfaces = self.interfaces.keys().cloned().collect();
        Err(Error::OtherNamespace { found, own, interfaces })
    }

    /// What is in the file, if there is one of this life of the machine.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { path: path.into(), source }),
        };
        let found: Self = serde_json::from_slice(&text)
            .map_err(|source| Error::State { path: path.into(), source })?;
        let is_old = !found.boot.is_empty() && found.boot != boot();
        Ok((!is_old).then_some(found))
    }

    /// Replaces the file as a whole. It holds the secret, so it is its owner's alone.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::State { path: path.into(), source })?;
        let draft = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&draft)
            .map_err(Error::file(&draft))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(Error::file(&draft))?;
        fs::rename(&draft, path).map_err(Error::file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = std::env::temp_dir().join(format!("sekisho-state-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("state.json");
        assert_eq!(State::read(&path).unwrap(), None);
        let mut state = State::new(Sizes::default(), [1, 2]);
        let before = Before {
            ifindex: 7,
            role: Role::Port,
            hooked: Hooked::Tcx,
            shared: Shared::default(),
            fell_back: false,
            is_up: true,
            is_noarp: false,
            disable_ipv6: Some(false),
            features: BTreeMap::from([("rx-vlan-hw-parse".into(), true)]),
        };
        state.interfaces.insert("blue-a".into(), before);
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), Some(state.clone()));
        State { boot: "another".into(), ..state }.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), None);
        fs::write(&path, "{").unwrap();
        assert!(matches!(State::read(&path), Err(Error::State { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
