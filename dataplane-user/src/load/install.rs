//! How does an image become the version in force?
//!
//! It is laid out beside what is in force; one 64-bit store of the next version's number, and
//! of where it begins, puts it in force, for every packet that begins afterwards; after a
//! grace period what only the version before needed is free. An error before the store leaves
//! what runs as it was and frees what was placed.

use std::time::{Duration, Instant};

use aya::maps::{Map, MapData};
use dataplane_common::{
    table::{
        AttachmentEntry, AttachmentKey, LocationEntry, LocationKey, Record, Station, StationEntry,
        endpoint::Endpoint,
        heap::{LINE_BYTES, Line},
        index::{Entry, Index},
        meter::{Meter, Terms},
        next_hop::Output,
        policy,
        root::{Extent, InForce},
        secret::Secret,
        zone::Zone,
    },
    word::Word64,
};

use super::{
    Error, check,
    grace::Grace,
    heap::{Heap, Room},
    mapping::Mapping,
};
use crate::tables::{
    Image, Policy, classifier,
    heap::{HostHeap, records},
    layout,
};

/// What installing an image took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Installed {
    /// The version that is in force now.
    pub version: u32,
    /// Until it was laid out.
    pub writing: Duration,
    /// Until no packet used the version before.
    pub waiting: Duration,
}

/// The tables that hold versions of the site.
pub struct VersionedTables {
    root: Mapping<Word64>,
    heap: Heap<Mapping<Line>>,
    meters: Mapping<Meter>,
    /// From which line on meters are nobody's.
    meters_end: usize,
    secret: Secret,
    /// Prefixes of the version in force; none if they are not known.
    tables: layout::Tables,
    /// What is laid out and not in force.
    prepared: Option<Prepared>,
    /// May there be objects of versions that packets still use?
    is_littered: bool,
    /// Does the version in force lack what was taken out in place?
    is_purged: bool,
}

/// A version that can be put in force.
struct Prepared {
    /// Where it begins.
    root: u32,
    /// Its prefixes.
    tables: layout::Tables,
    /// What is agreed of its meters.
    meters: Vec<Terms>,
    /// How long laying it out took.
    writing: Duration,
}

impl VersionedTables {
    /// The tables in these maps, which `take` lends by their names. Places of keys depend on
    /// the flow table's `secret`.
    pub fn new(
        secret: Secret,
        mut take: impl FnMut(&'static str) -> Result<Map, Error>,
    ) -> Result<Self, Error> {
        let root: Mapping<Word64> = Mapping::new("ROOT", data("ROOT", &take("ROOT")?)?)?;
        let lines = Mapping::new("HEAP", data("HEAP", &take("HEAP")?)?)?;
        let meters: Mapping<Meter> = Mapping::new("METERS", data("METERS", &take("METERS")?)?)?;
        let last = meters.shared().iter().rposition(|line| line.terms() != Terms::default());
        Ok(Self {
            meters,
            meters_end: last.map_or(0, |last| last + 1),
            heap: Heap::new(lines, in_force(&root).root)?,
            root,
            secret,
            tables: layout::Tables::default(),
            prepared: None,
            // Another process may have ended just after its store.
            is_littered: true,
            is_purged: false,
        })
    }

    /// The version in force; 0: none yet.
    pub fn version(&self) -> u32 {
        in_force(&self.root).version
    }

    /// How full the heap is.
    pub fn room(&self) -> Room {
        self.heap.room()
    }

    /// Lays the image out, to be put in force by [`commit`](Self::commit). Is it in force
    /// already, record by record?
    pub fn prepare(&mut self, image: &Image, grace: &Grace) -> Result<bool, Error> {
        let start = Instant::now();
        check::check(image)?;
        if self.is_littered {
            grace.wait()?;
            self.is_littered = false;
        }
        let (root, tables) = self.lay(image).inspect_err(|_| self.heap.give_up())?;
        let (meters, writing) = (image.meters.clone(), start.elapsed());
        let is_agreed = self.agreed(&meters).all(|(line, terms)| line.terms() == *terms);
        self.prepared = Some(Prepared { root, tables, meters, writing });
        let in_force = in_force(&self.root);
        Ok(in_force.version != 0 && self.is_whole() && in_force.root == root && is_agreed)
    }

    /// Is there a version to put in force?
    pub const fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// Frees what was prepared.
    pub fn give_up(&mut self) {
        self.prepared = None;
        self.heap.give_up();
    }

    /// Puts in force what was prepared.
    pub fn commit(&mut self, grace: &Grace) -> Result<Installed, Error> {
        let Some(prepared) = self.prepared.take() else { return Err(Error::NotPrepared) };
        let Prepared { root, tables, meters, writing } = prepared;
        let version = self.version().checked_add(1).ok_or(Error::VersionsUsedUp)?;
        // Numbers that are new have rested: no packet knows them.
        self.agreed(&meters).for_each(|(line, terms)| line.agree(*terms));
        self.meters_end = self.meters_end.max(meters.len());
        if let Some(word) = self.root.shared().first() {
            word.store(InForce { version, root }.word());
        }
        // From here on it is in force, and nothing is an error of installing it.
        self.is_purged = false;
        self.tables = tables;
        self.heap.keep();
        let start = Instant::now();
        self.is_littered = grace.wait().is_err();
        if !self.is_littered {
            self.heap.settle();
            self.forget_meters(&meters);
        }
        Ok(Installed { version, writing, waiting: start.elapsed() })
    }

    /// The meters, whoever has them.
    pub fn meters(&self) -> &[Meter] {
        self.meters.shared()
    }

    /// The lines of these meters.
    fn agreed<'m>(&'m self, meters: &'m [Terms]) -> impl Iterator<Item = (&'m Meter, &'m Terms)> {
        self.meters.shared().iter().zip(meters).skip(1)
    }

    /// Lines that no version names any more are nobody's.
    fn forget_meters(&mut self, meters: &[Terms]) {
        let lines = self.meters.shared().iter().take(self.meters_end);
        for (number, line) in lines.enumerate() {
            if meters.get(number).is_none_or(|terms| *terms == Terms::default()) {
                line.agree(Terms::default());
            }
        }
        self.meters_end = meters.len();
    }

    /// Takes interfaces out of the version in force, in place: whoever gets the number of
    /// one that is gone has nothing of it, from now on.
    pub fn purge(&mut self, gone: &[u32]) -> Result<(), Error> {
        let InForce { version, root } = in_force(&self.root);
        if version == 0 || gone.is_empty() {
            return Ok(());
        }
        let (root, _) = self.heap.root(root).ok_or(Error::HeapDamaged)?;
        // It may share what is changed here.
        self.prepared = None;
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

    /// Places the image; answers where it begins, and its prefixes.
    fn lay(&mut self, image: &Image) -> Result<(u32, layout::Tables), Error> {
        self.prepared = None;
        self.heap.begin();
        // If this version does not come into force, the next one lays all of them out: it finds
        // most where they are.
        let mut tables = std::mem::take(&mut self.tables);
        let laid = layout::lay(image, &self.secret, &mut tables, &mut self.heap);
        let laid = laid.and_then(|(root, more)| Ok(self.heap.finish(root, more)?));
        laid.map(|root| (root, tables)).map_err(|error| match error {
            layout::Error::Full(_)
            | layout::Error::Policy { source: classifier::Error::Full(_), .. } => {
                // Less what was placed of it already.
                self.heap.begin();
                let Room { used, lines, largest } = self.heap.room();
                let mut alone = HostHeap::new();
                // It grows as it is needed.
                let _ =
                    layout::lay(image, &self.secret, &mut layout::Tables::default(), &mut alone);
                Error::HeapFull { site: alone.lines(), used, lines, largest }
            }
            layout::Error::Policy { policy, source } => {
                Error::Policy { policy, source: Box::new(source) }
            }
        })
    }

    /// The highest number that a rule of the version in force has.
    pub fn rule_max(&self) -> u32 {
        self.heap.root(in_force(&self.root).root).map_or(0, |(_, more)| more.rule_max)
    }

    /// The version in force as the kernel has it, but for prefixes and rules, of which only
    /// what they lead to can be told.
    pub fn read_back(&self) -> Result<Image, Error> {
        let InForce { version, root } = in_force(&self.root);
        let Some((root, more)) = self.heap.root(root).filter(|_| version != 0) else {
            return Ok(Image::default());
        };
        let zones = self.heap.records::<Zone>(root.zones).into_iter();
        let endpoints = self.heap.records::<Endpoint>(root.endpoints).into_iter();
        let policies = self.heap.records::<policy::Policy>(more.policies).into_iter();
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
                .entries::<LocationEntry>(more.locations)
                .filter(|entry| entry.key != LocationKey::default())
                .map(|entry| (entry.key, entry.location))
                .collect(),
            endpoints: endpoints
                .map(|endpoint| Endpoint { class: 0, stamp: 0, ..endpoint })
                .collect(),
            zones: zones.map(|zone| Zone { routes: [0; 2], sessions: [0; 2], ..zone }).collect(),
            next_hops: self.heap.records(root.next_hops),
            outputs: self.heap.records(root.outputs),
            tenants: self.heap.records(root.tenants),
            policies: policies
                .map(|of| Policy {
                    generation: of.generation,
                    flags: of.flags,
                    ..Policy::default()
                })
                .collect(),
            flood_ports: self.heap.records(more.flood_ports),
            meters: self.meters.shared().iter().take(self.meters_end).map(Meter::terms).collect(),
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

/// The map's data, if it is an array.
fn data<'m>(name: &'static str, map: &'m Map) -> Result<&'m MapData, Error> {
    super::programs::array(map).ok_or(Error::MapMissing { name })
}
