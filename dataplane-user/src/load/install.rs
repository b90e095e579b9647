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
    addr::Addr,
    table::{
        AttachmentEntry, AttachmentKey, LocationEntry, LocationKey, Record, Station, StationEntry,
        heap::{LINE_BYTES, Line},
        index::{Entry, Index},
        next_hop::Output,
        policy::{MemberKey, Policy, Rule},
        root::{Extent, InForce},
        zone::Zone,
    },
    word::Word64,
};

use super::{
    Error, check, grace,
    heap::{Heap, Room},
    keyed::{Hash, Trie},
    mapping::Mapping,
    records::Plain,
};
use crate::tables::{
    Image,
    heap::{Full, records},
    layout,
};

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
    heap: Heap<Mapping<Line>>,
    secret: u64,
    members: Hash<MemberKey, u32>,
    group_prefixes: Trie<LocationKey, u32>,
    policies: Halves<Policy>,
    rules: Halves<Rule>,
    /// What is in force, if this process installed it.
    installed: Option<Image>,
    /// Are there records of versions that nobody uses any more?
    is_littered: bool,
    /// Does the version in force lack what was taken out in place?
    is_purged: bool,
}

impl VersionedTables {
    /// The tables in these maps, which `take` lends by their names. Places of keys depend on
    /// the flow table's `secret`.
    pub fn new(
        secret: u64,
        mut take: impl FnMut(&'static str) -> Result<Map, Error>,
    ) -> Result<Self, Error> {
        let root: Mapping<Word64> = Mapping::new("ROOT", data("ROOT", &take("ROOT")?)?)?;
        let lines = Mapping::new("HEAP", data("HEAP", &take("HEAP")?)?)?;
        let mut tables = Self {
            heap: Heap::new(lines, in_force(&root).root)?,
            root,
            secret,
            members: Hash::new("MEMBERS", take("MEMBERS")?)?,
            group_prefixes: Trie::new("GROUP_PREFIXES", take("GROUP_PREFIXES")?)?,
            policies: Halves::new("POLICIES", &take("POLICIES")?)?,
            rules: Halves::new("RULES", &take("RULES")?)?,
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
        in_force(&self.root).version
    }

    /// How full the heap is.
    pub fn room(&self) -> Room {
        self.heap.room()
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
        let root = match self.write(new, image) {
            Ok(root) => root,
            Err(error) => {
                self.heap.give_up();
                // What cannot be removed now is removed before the next image is written.
                self.is_littered = self.remove(new, image).is_err();
                return Err(error);
            }
        };
        if let Some(word) = self.root.shared().first() {
            word.store(InForce { version: new, root }.word());
        }
        let writing = start.elapsed();

        // From here on the image is in force, and nothing is an error of installing it.
        self.is_littered = true;
        self.is_purged = false;
        let before = self.installed.replace(image.clone());
        let is_quiet = grace::wait().is_ok();
        let waiting = start.elapsed() - writing;
        if is_quiet {
            self.heap.settle();
            let removed = match before {
                Some(image) => self.remove(old, &image),
                None => self.remove_all_but(new),
            };
            self.is_littered = removed.is_err();
        }
        let removing = start.elapsed() - writing - waiting;
        Ok(Installed { version: new, written: keyed(image), writing, waiting, removing })
    }

    /// Is exactly this in force, record by record?
    pub fn is_in_force(&mut self, image: &Image) -> Result<bool, Error> {
        let InForce { version, root } = in_force(&self.root);
        if version == 0 || !self.is_whole() {
            return Ok(false);
        }
        let laid = self.lay(image);
        self.heap.give_up();
        let back = self.read_back()?.normal();
        let image = image.clone().normal();
        Ok(laid.is_ok_and(|laid| laid == root)
            && back.members == image.members
            && back.group_prefixes == image.group_prefixes
            && back.policies == image.policies
            && back.rules == image.rules)
    }

    /// Takes interfaces out of the version in force, in place: whoever gets the number of
    /// one that is gone has nothing of it, from now on.
    pub fn purge(&mut self, gone: &[u32]) -> Result<(), Error> {
        let InForce { version, root } = in_force(&self.root);
        if version == 0 || gone.is_empty() {
            return Ok(());
        }
        let (root, _) = self.heap.root(root).ok_or(Error::HeapDamaged)?;
        let Index { first, lines } = root.attachments;
        // A key that no packet has: the record stays where it is, and is nobody's.
        let nobodys = AttachmentKey { ifindex: 0, vlan: u32::MAX };
        self.change(Extent { first, lines }, |entry: &mut AttachmentEntry| {
            if gone.contains(&entry.key.ifindex) {
                entry.key = nobodys;
            }
        });
        let lines = root.outputs.count.div_ceil((LINE_BYTES / size_of::<Output>()) as u32);
        self.change(Extent { first: root.outputs.first, lines }, |output: &mut Output| {
            if gone.contains(&output.ifindex) {
                output.ifindex = 0;
            }
        });
        Ok(())
    }

    /// Changes records of an object in place, where packets read it meanwhile.
    fn change<T: Record + PartialEq>(&mut self, of: Extent, change: impl Fn(&mut T)) {
        for line in self.heap.object_mut(of.first, of.lines) {
            for slot in 0..(LINE_BYTES / size_of::<T>()) as u32 {
                let old: T = *line.record(slot);
                let mut new = old;
                change(&mut new);
                if new != old {
                    self.is_purged = true;
                    line.put(slot, new);
                }
            }
        }
    }

    /// Is the version in force as it was installed?
    pub const fn is_whole(&self) -> bool {
        !self.is_purged
    }

    /// Writes the image as this version; answers where it begins.
    fn write(&mut self, version: u32, image: &Image) -> Result<u32, Error> {
        for key in &image.members {
            self.members.put(version, key, &1)?;
        }
        for (key, bits) in &image.group_prefixes {
            self.group_prefixes.put(version, key, *bits, &1)?;
        }
        self.policies.write(version, &image.policies);
        self.rules.write(version, &image.rules);
        self.lay(image)
    }

    fn lay(&mut self, image: &Image) -> Result<u32, Error> {
        self.heap.begin();
        let laid = layout::lay(image, self.secret, &mut self.heap);
        let laid = laid.and_then(|(root, more)| self.heap.finish(root, more));
        laid.map_err(|Full { lines: wanted }| {
            let Room { used, lines, largest } = self.heap.room();
            Error::HeapFull { wanted, used, lines, largest }
        })
    }

    /// Removes an image's records under keys. The half of an array that is not in force
    /// is written over whole by the next image.
    fn remove(&mut self, version: u32, image: &Image) -> Result<(), Error> {
        for key in &image.members {
            self.members.remove(version, key)?;
        }
        for (key, bits) in &image.group_prefixes {
            self.group_prefixes.remove(version, key, *bits)?;
        }
        Ok(())
    }

    fn remove_all_but(&mut self, version: u32) -> Result<(), Error> {
        self.members.keep_only(version)?;
        self.group_prefixes.keep_only(version)
    }

    /// The version in force as the kernel has it, but for prefixes, of which only what they
    /// lead to can be told. They come in no order, and the vectors end with their last record
    /// that is not empty.
    pub fn read_back(&self) -> Result<Image, Error> {
        let InForce { version, root } = in_force(&self.root);
        let Some((root, more)) = self.heap.root(root).filter(|_| version != 0) else {
            return Ok(Image::default());
        };
        let at = |fixed: [u32; 2], words| LocationKey {
            addr: Addr::from_words(words),
            zone: fixed[0],
            zero: 0,
        };
        let groups = self.group_prefixes.read(version)?;
        let zones = self.heap.records::<Zone>(root.zones).into_iter();
        Ok(Image {
            attachments: self
                .entries::<AttachmentEntry>(root.attachments)
                .filter(|entry| entry.key != AttachmentKey::default())
                .map(|entry| (entry.key, entry.attachment))
                .collect(),
            stations: self
                .entries::<StationEntry>(root.stations)
                .filter(|entry| entry.station != Station::default())
                .map(|entry| (entry.key, entry.station))
                .collect(),
            locations: self
                .entries::<LocationEntry>(root.locations)
                .filter(|entry| entry.key != LocationKey::default())
                .map(|entry| (entry.key, entry.location))
                .collect(),
            members: self.members.read(version)?.into_keys().collect::<HashSet<_>>(),
            group_prefixes: groups.iter().map(|&(set, to, bits, _)| (at(set, to), bits)).collect(),
            endpoints: self.heap.records(root.endpoints),
            zones: zones.map(|zone| Zone { routes: [0; 2], sessions: [0; 2], ..zone }).collect(),
            next_hops: self.heap.records(root.next_hops),
            outputs: self.heap.records(root.outputs),
            tenants: self.heap.records(root.tenants),
            policies: self.policies.read(version),
            rules: self.rules.read(version),
            flood_ports: self.heap.records(more.flood_ports),
            ..Image::default()
        })
    }

    fn entries<E: Entry + 'static>(&self, index: Index) -> impl Iterator<Item = &E> {
        records(self.heap.object(index.first, index.lines))
    }
}

/// The word in force.
fn in_force(root: &Mapping<Word64>) -> InForce {
    InForce::from_word(root.shared().first().map_or(0, Word64::load))
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
    image.members.len() + image.group_prefixes.len()
}
