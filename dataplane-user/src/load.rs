//! The loader: programs and tables into the kernel, an image into the tables, programs
//! onto interfaces, counters back.
//!
//! [`Dataplane`] is all of it for one pin folder. What it makes outlives the process:
//! a later one finds it by its pins and goes on without losing a packet, and
//! [`detach`](detach::detach) alone removes it.

pub mod check;
pub mod counters;
pub mod datagrams;
pub mod detach;
pub mod error;
pub mod flows;
pub mod install;
pub mod interface;
pub mod place;
pub mod refused;
pub mod sweep;
pub mod sweeper;
pub mod testrun;

mod again;
mod attach;
mod attachment;
mod clock;
mod counting;
mod crowd;
mod features;
mod grace;
mod heap;
mod heard;
mod held;
mod hook;
mod kernel;
mod links;
mod log;
mod mapping;
mod maps;
mod netlink;
mod object;
mod parking;
mod pins;
mod privilege;
mod programs;
mod records;
mod settings;
mod state;
mod totals;
mod ways;

use std::sync::{Arc, Mutex};

use aya::{
    Ebpf,
    maps::{Map, MapData, xdp::DevMapHash},
};
use dataplane_common::{
    LAYOUT_VERSION, limits,
    table::{meter::Meter, secret::Secret, total::Total},
    tables::{Heard, Share},
    word::Word64,
};
use serde::{Deserialize, Serialize};

pub use self::{
    attachment::{Attach, Attached, Warning},
    clock::tick_ns,
    counters::{AttachmentCounters, StopCount},
    crowd::Kept,
    datagrams::DatagramTable,
    error::Error,
    flows::HalfFlow,
    grace::Barrier,
    heap::Room,
    hook::{Hook, Hooked, Role, Shared},
    install::Installed,
    interface::{Interface, Interfaces},
    mapping::Mapping,
    netlink::Changes,
    place::Place,
    refused::RefusedAt,
    sweep::{FlowTable, Swept},
    sweeper::Sweeper,
    testrun::{TestFrame, Trace, Verdict},
    ways::Ways,
};
use self::{
    clock::Clock, counters::Counters, grace::Grace, heard::Ear, install::VersionedTables,
    kernel::Kernel, log::ProgramLog, parking::Parking, place::Lock, programs::Purpose,
    refused::Refusals, state::State, testrun::Twin, totals::Index,
};
use crate::tables::Image;

/// How a dataplane is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where it lives.
    pub place: Place,
    /// How large the tables are. Those that are there already keep the sizes that they were
    /// made with.
    pub sizes: Sizes,
    /// What the programs tell of themselves: rare events, which are defects of ours.
    pub log: LogLevel,
    /// How it is found out that packets have left.
    pub barrier: Barrier,
}

/// How large the tables are of which the operator decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sizes {
    /// The flow table, in half-flows: a power of two.
    pub flow_lines: u32,
    /// The heap of compiled tables, in lines of 64 bytes.
    pub heap_lines: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { flow_lines: limits::FLOW_LINES, heap_lines: limits::HEAP_LINES }
    }
}

/// How much the programs log. What they do not log, the verifier deletes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum LogLevel {
    /// Nothing: it costs nothing.
    #[default]
    Off,
    /// What should never happen.
    Error,
}

impl Options {
    /// In the usual place, with the usual sizes.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            place: Place::named(name),
            sizes: Sizes::default(),
            log: LogLevel::Off,
            barrier: Barrier::Any,
        }
    }
}

/// Programs and tables in the kernel.
pub struct Dataplane {
    place: Place,
    state: State,
    ebpf: Ebpf,
    tables: VersionedTables,
    grace: Arc<Grace>,
    nics: DevMapHash<MapData>,
    sweeper: Arc<Sweeper>,
    counters: Counters,
    kernel: Kernel,
    refusals: Refusals,
    unseen: Vec<String>,
    twin: Option<Twin>,
    log: Option<ProgramLog>,
    ear: Ear,
    again: Mapping<Word64>,
    parking: Parking,
    _lock: Lock,
}

/// A program as the kernel took it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramFacts {
    /// Its name.
    pub name: &'static str,
    /// Instructions that the verifier looked at.
    pub verified: u32,
}

impl Dataplane {
    /// Loads the programs on top of new tables, or of those in the place, whose
    /// interfaces then get the new programs at once.
    pub fn load(options: &Options) -> Result<Self, Error> {
        privilege::require()?;
        object::embedded()?;
        programs::check_sizes(options.sizes)?;
        let place = &options.place;
        place.prepare()?;
        let lock = place.lock()?;
        // Whatever can be gone on with is. Where only the programs' pins are lost, links hold
        // them still, until they get the new ones.
        let (state, is_new) = match Self::go_on(place) {
            Ok(state) => (state, false),
            Err(error) if Self::is_in_use(place)? => return Err(error),
            Err(_) => (Self::begin(options)?, true),
        };
        let loaded = Self::load_on(options, state, lock);
        if loaded.is_err() && is_new {
            // Tables without programs are nobody's.
            let _ = detach::detach(place, false);
        }
        loaded
    }

    /// Is anything of the place on an interface, or was it when it was written down? If not,
    /// what there is is of a loading that did not come to its end: programs are pinned once
    /// the tables are complete, and attached only then.
    fn is_in_use(place: &Place) -> Result<bool, Error> {
        let noted = State::read(&place.state_file()).ok().flatten();
        let is_noted = noted.is_some_and(|state| !state.interfaces.is_empty());
        Ok(is_noted || !place.linked().is_empty() || !place.generations()?.is_empty())
    }

    fn begin(options: &Options) -> Result<State, Error> {
        let mut secret = [0_u8; 16];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Error::Random { source: error.into() })?;
        let secret = u128::from_ne_bytes(secret);
        let state = State::new(options.sizes, [secret as u64, (secret >> 64) as u64]);
        // Of a loading that did not come to its end.
        pins::forget(&options.place.maps())?;
        place::own_folder(&options.place.maps())?;
        state.write(&options.place.state_file())?;
        Ok(state)
    }

    fn go_on(place: &Place) -> Result<State, Error> {
        let path = place.state_file();
        let Some(state) = State::read(&path)? else {
            return Err(Error::StateMissing { pin: place.pin.clone(), state: path });
        };
        if state.layout != LAYOUT_VERSION {
            let (found, own) = (state.layout, LAYOUT_VERSION);
            return Err(Error::Layout { path: place.pin.clone(), found, own });
        }
        maps::compare(place, state.sizes)?;
        Ok(state)
    }

    fn load_on(options: &Options, state: State, lock: Lock) -> Result<Self, Error> {
        let Options { place, log, barrier, .. } = options.clone();
        // A process may have ended between any two steps of this, so a number is taken
        // that no attached program has.
        let before = place.generations()?;
        let own = before.iter().max().map_or(0, |last| last.wrapping_add(1));
        let kernel = Kernel::running();
        let mut ebpf = programs::load(&place, &state, Purpose::Packets(own), log, kernel)?;
        let log = (log != LogLevel::Off).then(|| ProgramLog::of(&mut ebpf)).flatten();
        programs::pin(&mut ebpf, &place.programs(own))?;
        let mut unseen = refused::watch(&place, &mut ebpf, own);
        if kernel.fields.is_none() {
            unseen.push("no /sys/kernel/btf/vmlinux, or another kernel's".to_owned());
        }
        if kernel.redirect.is_none() {
            unseen.push("no skb_do_redirect in /proc/kallsyms".to_owned());
        }
        let mut take = |name| ebpf.take_map(name).ok_or(Error::MapMissing { name });
        let refusals = Refusals::new(take(maps::REFUSED)?, &take(maps::IN_CHARGE)?)?;
        links::renew(&place, &mut ebpf)?;
        refusals.give_charge(own);
        for generation in before {
            pins::forget(&place.programs(generation))?;
        }

        let clock = Clock::of(&ebpf)?;
        let mut take = |name| ebpf.take_map(name).ok_or(Error::MapMissing { name });
        let grace = Arc::new(Grace::of(barrier, take(grace::SLOT)?)?);
        let secret = Secret::of(state.secret);
        let tables = VersionedTables::new(secret, &mut take)?;
        let totals: Mapping<Total> = mapped("TOTALS", &take("TOTALS")?)?;
        let sweeper = Sweeper {
            lines: mapped("FLOWS", &take("FLOWS")?)?,
            cold: mapped("FLOWS_COLD", &take("FLOWS_COLD")?)?,
            more: mapped("FLOWS_MORE", &take("FLOWS_MORE")?)?,
            away: mapped("FLOWS_AWAY", &take("FLOWS_AWAY")?)?,
            of_tenant: mapped("FLOWS_OF_TENANT", &take("FLOWS_OF_TENANT")?)?,
            secret,
            datagrams: mapped("DATAGRAMS", &take("DATAGRAMS")?)?,
            shares: mapped("SHARES_OF_TENANT", &take("SHARES_OF_TENANT")?)?,
            index: Mutex::new(Index::of(totals.shared())),
            totals,
            intent: mapped("INTENT", &take("INTENT")?)?,
            clock,
            grace: grace.clone(),
        };
        sweeper.recover();
        let counters = Counters::new(take("COUNTS")?, take("STOPS")?, tables.version() == 0)?;
        let ear = Ear::new(take(maps::HEARD)?)?;
        let again = mapped("AGAIN", &take("AGAIN")?)?;
        // What the daemon before held is lost.
        for tenant in 0..limits::TENANTS_MAX {
            for of in [Share::Parked, Share::InboundParked] {
                if let Some(count) = sweeper.shares.shared().get(of.index(tenant) as usize) {
                    count.store(0);
                }
            }
        }
        let parking = Parking::new(take(maps::PARKED)?)?;
        let nics = take(maps::NICS)?
            .try_into()
            .map_err(|source| Error::Map { name: maps::NICS, source })?;
        Ok(Self {
            place,
            state,
            ebpf,
            tables,
            grace,
            nics,
            sweeper: Arc::new(sweeper),
            counters,
            kernel,
            refusals,
            unseen,
            twin: None,
            log,
            ear,
            again,
            parking,
            _lock: lock,
        })
    }

    /// Puts an image in force, for every packet that begins after the call.
    pub fn install(&mut self, image: &Image) -> Result<Installed, Error> {
        self.prepare(image)?;
        self.commit()
    }

    /// Lays an image out beside what is in force, or refuses it; [`commit`](Self::commit) puts
    /// it in force. Is exactly this in force already?
    pub fn prepare(&mut self, image: &Image) -> Result<bool, Error> {
        self.tables.prepare(image, &self.grace)
    }

    /// Is there what [`commit`](Self::commit) would put in force? Interfaces that go take it away.
    #[must_use]
    pub const fn is_prepared(&self) -> bool {
        self.tables.is_prepared()
    }

    /// Frees what was prepared: it was only to be seen whether it fits.
    pub fn give_up(&mut self) {
        self.tables.give_up();
    }

    /// Puts in force what was prepared last.
    pub fn commit(&mut self) -> Result<Installed, Error> {
        self.tables.commit(&self.grace)
    }

    /// Waits until no packet is under way that was under way at the call.
    pub fn wait_for_packets(&self) -> Result<(), Error> {
        self.grace.wait()
    }

    /// How large the tables were made.
    #[must_use]
    pub const fn sizes(&self) -> Sizes {
        self.state.sizes
    }

    /// The version in force; 0: nothing is installed.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.tables.version()
    }

    /// Is the version in force as it was installed, or did interfaces go since?
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.tables.is_whole()
    }

    /// How full the heap is that compiled tables lie in.
    #[must_use]
    pub fn room(&self) -> Room {
        self.tables.room()
    }

    /// The highest number that a rule in force has.
    #[must_use]
    pub fn rule_max(&self) -> u32 {
        self.tables.rule_max()
    }

    /// The image in force, as the kernel has it, but for prefixes and rules.
    pub fn read_back(&self) -> Result<Image, Error> {
        self.tables.read_back()
    }

    /// The meters, by their numbers.
    #[must_use]
    pub fn meters(&self) -> &[Meter] {
        self.tables.meters()
    }

    /// Which MACs were heard of beyond the NICs since the last call.
    pub fn heard(&mut self) -> Vec<Heard> {
        self.ear.listen()
    }

    /// Runs the programs that packets meet on a frame; tables change as by a packet.
    pub fn test_run(&self, frame: TestFrame<'_>) -> Result<Verdict, Error> {
        testrun::run(&self.ebpf, frame)
    }

    /// Runs the tracing twin on a frame; no table changes.
    pub fn trace_run(&mut self, frame: TestFrame<'_>) -> Result<Trace, Error> {
        if self.twin.is_none() {
            let ebpf = programs::load(
                &self.place,
                &self.state,
                Purpose::Trace,
                LogLevel::Off,
                self.kernel,
            )?;
            self.twin = Some(Twin::new(ebpf)?);
        }
        match &mut self.twin {
            Some(twin) => twin.trace(frame),
            None => Err(Error::ProgramMissing { name: programs::XDP }),
        }
    }

    /// The programs as the kernel took them.
    pub fn programs(&self) -> Result<Vec<ProgramFacts>, Error> {
        programs::ALL.into_iter().map(|name| programs::facts(&self.ebpf, name)).collect()
    }
}

fn mapped<T>(name: &'static str, map: &Map) -> Result<Mapping<T>, Error> {
    Mapping::new(name, programs::array(map).ok_or(Error::MapMissing { name })?)
}
