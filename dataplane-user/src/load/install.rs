//! How does an image become the version in force?
//!
//! It is written beside what is in force, under the next version; one 64-bit store of
//! that version puts it in force, for every packet that begins afterwards; after a
//! grace period what was in force before is removed. An error before the store leaves
//! what runs as it was and removes what was written.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData};
use dataplane_common::{
    addr::{Addr, Mac},
    table::{
        Attachment, AttachmentKey, Location, LocationKey, PermitKey, Station, StationKey, Tenant,
        endpoint::Endpoint,
        next_hop::{NextHop, Output},
        policy::{MemberKey, Policy, Rule},
        route::Route,
        zone::{FloodPort, Zone},
    },
    word::Word64,
};

use super::{
    Error, check, grace,
    keyed::{Hash, Trie},
    mapping::Mapping,
    records::Plain,
};
use crate::tables::Image;

/// What installing an image took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Installed {
    /// The version that is in force now.
    pub version: u32,
    /// Records under keys that were written.
    pub written: usize,
    /// Until the version was in force.
    pub writing: Duration,
    /// Until no packet used the version before.
    pub waiting: Duration,
    /// Until the version before was removed.
    pub removing: Duration,
}

/// The tables that hold versions of the site.
pub struct VersionedTables {
    root: Mapping<Word64>,
    attachments: Hash<AttachmentKey, Attachment>,
    stations: Hash<StationKey, Station>,
    locations: Hash<LocationKey, Location>,
    members: Hash<MemberKey, u32>,
    permits: Trie<PermitKey, u32>,
    sessions: Trie<LocationKey, u32>,
    routes: Trie<LocationKey, Route>,
    group_prefixes: Trie<LocationKey, u32>,
    endpoints: Halves<Endpoint>,
    zones: Halves<Zone>,
    next_hops: Halves<NextHop>,
    outputs: Halves<Output>,
    tenants: Halves<Tenant>,
    policies: Halves<Policy>,
    rules: Halves<Rule>,
    flood_ports: Halves<FloodPort>,
    /// What is in force, if this process installed it.
    installed: Option<Image>,
    /// Are there records of versions that nobody uses any more?
    is_littered: bool,
    /// Does the version in force lack what was taken out in place?
    is_purged: bool,
}

impl VersionedTables {
    /// The tables in these maps, which `take` lends by their names.
    pub fn new(mut take: impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        let mut tables = Self {
            root: Mapping::new("ROOT", data("ROOT", &take("ROOT")?)?)?,
            attachments: Hash::new("ATTACHMENTS", take("ATTACHMENTS")?)?,
            stations: Hash::new("STATIONS", take("STATIONS")?)?,
            locations: Hash::new("LOCATIONS", take("LOCATIONS")?)?,
            members: Hash::new("MEMBERS", take("MEMBERS")?)?,
            permits: Trie::new("PERMITS", take("PERMITS")?)?,
            sessions: Trie::new("SESSIONS", take("SESSIONS")?)?,
            routes: Trie::new("ROUTES", take("ROUTES")?)?,
            group_prefixes: Trie::new("GROUP_PREFIXES", take("GROUP_PREFIXES")?)?,
            endpoints: Halves::new("ENDPOINTS", &take("ENDPOINTS")?)?,
            zones: Halves::new("ZONES", &take("ZONES")?)?,
            next_hops: Halves::new("NEXT_HOPS", &take("NEXT_HOPS")?)?,
            outputs: Halves::new("OUTPUTS", &take("OUTPUTS")?)?,
            tenants: Halves::new("TENANTS", &take("TENANTS")?)?,
            policies: Halves::new("POLICIES", &take("POLICIES")?)?,
            rules: Halves::new("RULES", &take("RULES")?)?,
            flood_ports: Halves::new("FLOOD_PORTS", &take("FLOOD_PORTS")?)?,
            installed: None,
            is_littered: false,
            is_purged: false,
        };
        // Another process may have ended between its store and its removal.
        tables.is_littered = tables.version() != 0;
        Ok(tables)
    }

    /// The version in force; 0: none yet.
    pub fn version(&self) -> u32 {
        self.root.shared().first().map_or(0, |root| root.load() as u32)
    }

    /// Puts the image in force.
    pub fn install(&mut self, image: &Image) -> Result<Installed, Error> {
        let start = Instant::now();
        check::check(image)?;
        let old = self.version();
        let new = old.checked_add(1).ok_or(Error::VersionsUsedUp)?;
        if self.is_littered {
            grace::wait()?;
            self.remove_all_but(old)?;
        }
        if let Err(error) = self.write(new, image) {
            // What cannot be removed now is removed before the next image is written.
            self.is_littered = self.remove(new, image).is_err();
            return Err(error);
        }
        if let Some(root) = self.root.shared().first() {
            root.store(u64::from(new));
        }
        let writing = start.elapsed();

        // From here on the image is in force, and nothing is an error of installing it.
        self.is_littered = true;
        self.is_purged = false;
        let before = self.installed.replace(image.clone());
        let is_quiet = grace::wait().is_ok();
        let waiting = start.elapsed() - writing;
        if is_quiet {
            let removed = match before {
                Some(image) => self.remove(old, &image),
                None => self.remove_all_but(new),
            };
            self.is_littered = removed.is_err();
        }
        let removing = start.elapsed() - writing - waiting;
        Ok(Installed { version: new, written: keyed(image), writing, waiting, removing })
    }

    /// Takes interfaces out of the version in force, in place: whoever gets the number of
    /// one that is gone has nothing of it, from now on.
    pub fn purge(&mut self, gone: &[u32]) -> Result<(), Error> {
        let version = self.version();
        if version == 0 || gone.is_empty() {
            return Ok(());
        }
        let keys: Vec<AttachmentKey> = match &self.installed {
            Some(image) => image.attachments.keys().copied().collect(),
            None => self.attachments.read(version)?.into_keys().collect(),
        };
        for key in keys.iter().filter(|key| gone.contains(&key.ifindex)) {
            self.is_purged = true;
            self.attachments.remove(version, key)?;
        }
        for output in self.outputs.half_mut(version) {
            if gone.contains(&output.ifindex) {
                output.ifindex = 0;
            }
        }
        Ok(())
    }

    /// Is the version in force as it was installed?
    pub const fn is_whole(&self) -> bool {
        !self.is_purged
    }

    fn write(&mut self, version: u32, image: &Image) -> Result<(), Error> {
        for (key, value) in &image.attachments {
            self.attachments.put(version, key, value)?;
        }
        for (key, value) in &image.stations {
            self.stations.put(version, key, value)?;
        }
        for (key, value) in &image.locations {
            self.locations.put(version, key, value)?;
        }
        for key in &image.members {
            self.members.put(version, key, &1)?;
        }
        for (key, bits) in &image.permits {
            self.permits.put(version, key, *bits, &u32::from(*bits))?;
        }
        for (key, bits, endpoint) in &image.sessions {
            self.sessions.put(version, key, *bits, endpoint)?;
        }
        for (key, bits, route) in &image.routes {
            self.routes.put(version, key, *bits, route)?;
        }
        for (key, bits) in &image.group_prefixes {
            self.group_prefixes.put(version, key, *bits, &1)?;
        }
        self.endpoints.write(version, &image.endpoints);
        self.zones.write(version, &image.zones);
        self.next_hops.write(version, &image.next_hops);
        self.outputs.write(version, &image.outputs);
        self.tenants.write(version, &image.tenants);
        self.policies.write(version, &image.policies);
        self.rules.write(version, &image.rules);
        self.flood_ports.write(version, &image.flood_ports);
        Ok(())
    }

    /// Removes an image's records under keys. The half of an array that is not in force
    /// is written over whole by the next image.
    fn remove(&mut self, version: u32, image: &Image) -> Result<(), Error> {
        for key in image.attachments.keys() {
            self.attachments.remove(version, key)?;
        }
        for key in image.stations.keys() {
            self.stations.remove(version, key)?;
        }
        for key in image.locations.keys() {
            self.locations.remove(version, key)?;
        }
        for key in &image.members {
            self.members.remove(version, key)?;
        }
        for (key, bits) in &image.permits {
            self.permits.remove(version, key, *bits)?;
        }
        for (key, bits, _) in &image.sessions {
            self.sessions.remove(version, key, *bits)?;
        }
        for (key, bits, _) in &image.routes {
            self.routes.remove(version, key, *bits)?;
        }
        for (key, bits) in &image.group_prefixes {
            self.group_prefixes.remove(version, key, *bits)?;
        }
        Ok(())
    }

    fn remove_all_but(&mut self, version: u32) -> Result<(), Error> {
        self.attachments.keep_only(version)?;
        self.stations.keep_only(version)?;
        self.locations.keep_only(version)?;
        self.members.keep_only(version)?;
        self.permits.keep_only(version)?;
        self.sessions.keep_only(version)?;
        self.routes.keep_only(version)?;
        self.group_prefixes.keep_only(version)
    }

    /// The version in force as the kernel has it. Prefixes come in no order, and the
    /// vectors end with their last record that is not empty.
    pub fn read_back(&self) -> Result<Image, Error> {
        let version = self.version();
        let at = |fixed: [u32; 2], words| LocationKey {
            addr: Addr::from_words(words),
            zone: fixed[0],
            zero: 0,
        };
        let permit = |fixed: [u32; 4], words| {
            let [a, b, c, d] = fixed[1].to_ne_bytes();
            let [e, f, _, _] = fixed[2].to_ne_bytes();
            PermitKey {
                endpoint: fixed[0],
                mac: Mac([a, b, c, d, e, f]),
                addr: Addr::from_words(words),
                ..PermitKey::default()
            }
        };
        let permits = self.permits.read(version)?;
        let sessions = self.sessions.read(version)?;
        let routes = self.routes.read(version)?;
        let groups = self.group_prefixes.read(version)?;
        Ok(Image {
            attachments: self.attachments.read(version)?,
            stations: self.stations.read(version)?,
            locations: self.locations.read(version)?,
            members: self.members.read(version)?.into_keys().collect::<HashSet<_>>(),
            permits: permits
                .iter()
                .map(|&(fixed, to, bits, _)| (permit(fixed, to), bits))
                .collect(),
            sessions: sessions
                .iter()
                .map(|&(zone, to, bits, id)| (at(zone, to), bits, id))
                .collect(),
            routes: routes.iter().map(|&(zone, to, bits, via)| (at(zone, to), bits, via)).collect(),
            group_prefixes: groups.iter().map(|&(set, to, bits, _)| (at(set, to), bits)).collect(),
            endpoints: self.endpoints.read(version),
            zones: self.zones.read(version),
            next_hops: self.next_hops.read(version),
            outputs: self.outputs.read(version),
            tenants: self.tenants.read(version),
            policies: self.policies.read(version),
            rules: self.rules.read(version),
            flood_ports: self.flood_ports.read(version),
        })
    }
}

/// An array that holds two versions, one in each half.
struct Halves<T> {
    records: Mapping<T>,
}

impl<T: Plain + Default + PartialEq> Halves<T> {
    fn new(name: &'static str, map: &Map) -> Result<Self, Error> {
        Ok(Self { records: Mapping::new(name, data(name, map)?)? })
    }

    /// Writes the version's half, the rest of it empty. More records than a half holds
    /// have been refused before.
    fn write(&mut self, version: u32, records: &[T]) {
        let half = self.half_mut(version);
        let count = records.len().min(half.len());
        let (used, rest) = half.split_at_mut(count);
        used.copy_from_slice(&records[..count]);
        rest.fill(T::default());
    }

    fn half_mut(&mut self, version: u32) -> &mut [T] {
        let all = self.records.records_mut();
        let (even, odd) = all.split_at_mut(all.len() / 2);
        if version & 1 == 0 { even } else { odd }
    }

    fn read(&self, version: u32) -> Vec<T> {
        let (even, odd) = self.records.records().split_at(self.records.records().len() / 2);
        let half = if version & 1 == 0 { even } else { odd };
        let count =
            half.iter().rposition(|record| *record != T::default()).map_or(0, |last| last + 1);
        half[..count].to_vec()
    }
}

/// The map's data, if it is an array.
fn data<'m>(name: &'static str, map: &'m Map) -> Result<&'m MapData, Error> {
    super::programs::array(map).ok_or(Error::MapMissing { name })
}

/// How many records of an image lie under keys.
fn keyed(image: &Image) -> usize {
    image.attachments.len()
        + image.stations.len()
        + image.locations.len()
        + image.members.len()
        + image.permits.len()
        + image.sessions.len()
        + image.routes.len()
        + image.group_prefixes.len()
}
