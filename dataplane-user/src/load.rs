//! The loader: programs and tables into the kernel, an image into the tables, programs
//! onto interfaces, counters back.
//!
//! [`Dataplane`] is all of it for one pin folder. What it makes outlives the process:
//! a later one finds it by its pins and goes on without losing a packet, and
//! [`detach`](detach::detach) alone removes it.

pub mod attach;
pub mod check;
pub mod counters;
pub mod datagrams;
pub mod detach;
pub mod error;
pub mod flows;
pub mod install;
pub mod interface;
pub mod place;
pub mod sweep;
pub mod testrun;

mod features;
mod grace;
mod heard;
mod held;
mod hook;
mod kernel;
mod keyed;
mod log;
mod mapping;
mod maps;
mod netlink;
mod object;
mod parking;
mod privilege;
mod programs;
mod records;
pub mod refused;
mod settings;
mod state;
mod totals;
mod ways;

use std::{collections::HashMap, os::fd::OwnedFd, time::Instant};

use aya::{
    Ebpf,
    maps::{Map, MapData, xdp::DevMapHash},
};
use dataplane_common::{
    LAYOUT_VERSION, limits,
    stage::fragment::Again,
    table::{
        datagram::Datagram,
        flow::{FlowCold, FlowLine},
        total::{Intent, Total},
    },
    tables::{Heard, Share, Tally},
    word::Word64,
};

use self::{
    attach::Attaching,
    counters::Counters,
    heard::Ear,
    install::VersionedTables,
    kernel::Kernel,
    log::ProgramLog,
    mapping::Mapping,
    parking::{Fragment, Parking},
    place::Lock,
    programs::Purpose,
    refused::Refusals,
    state::State,
    testrun::Twin,
    totals::{Index, Ink, Totals},
};
pub use self::{
    attach::{Attach, Attached, Warning},
    counters::{AttachmentCounters, StopCount},
    datagrams::DatagramTable,
    error::Error,
    flows::HalfFlow,
    hook::{Hook, Hooked, Role, Shared},
    install::Installed,
    interface::{Interface, Interfaces},
    netlink::Changes,
    place::Place,
    refused::RefusedAt,
    sweep::{FlowTable, Swept},
    testrun::{TestFrame, Trace, Verdict},
    ways::Ways,
};
use crate::tables::Image;

/// How a dataplane is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where it lives.
    pub place: Place,
    /// Size of the flow table in half-flows, a power of two. Tables that are there
    /// already keep the size that they were made with.
    pub flow_lines: u32,
    /// What the programs tell of themselves: rare events, which are defects of ours.
    pub log: LogLevel,
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
    /// In the usual place, with the usual flow table.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { place: Place::named(name), flow_lines: limits::FLOW_LINES, log: LogLevel::Off }
    }
}

/// Programs and tables in the kernel.
pub struct Dataplane {
    place: Place,
    state: State,
    ebpf: Ebpf,
    tables: VersionedTables,
    nics: DevMapHash<MapData>,
    flows: Mapping<FlowLine>,
    flows_cold: Mapping<FlowCold>,
    flows_of_tenant: Mapping<Word64>,
    counters: Counters,
    totals: Mapping<Total>,
    intent: Mapping<Intent>,
    index: Index,
    kernel: Kernel,
    refusals: Refusals,
    unseen: Vec<String>,
    twin: Option<Twin>,
    log: Option<ProgramLog>,
    ear: Ear,
    datagrams: Mapping<Datagram>,
    again: Mapping<Word64>,
    shares: Mapping<Word64>,
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
        grace::require()?;
        object::embedded()?;
        programs::check_flow_lines(options.flow_lines)?;
        let place = &options.place;
        place.prepare()?;
        let lock = place.lock()?;
        // Programs are pinned once the tables are complete, and attached only then.
        let is_new = place.generations()?.is_empty();
        let state = if is_new { Self::begin(options)? } else { Self::go_on(place)? };
        let loaded = Self::load_on(place.clone(), state, lock, options.log);
        if loaded.is_err() && is_new {
            // Tables without programs are nobody's.
            let _ = detach::detach(place, true);
        }
        loaded
    }

    fn begin(options: &Options) -> Result<State, Error> {
        let mut secret = [0_u8; 16];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Error::Random { source: error.into() })?;
        let secret = u128::from_ne_bytes(secret);
        let state = State::new(options.flow_lines, [secret as u64, (secret >> 64) as u64]);
        // Of a loading that did not come to its end.
        programs::forget(&options.place.maps())?;
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
        maps::compare(place, state.flow_lines)?;
        Ok(state)
    }

    fn load_on(place: Place, state: State, lock: Lock, log: LogLevel) -> Result<Self, Error> {
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
        attach::renew(&place, &mut ebpf)?;
        refusals.give_charge(own);
        for generation in before {
            programs::forget(&place.programs(generation))?;
        }

        let mut take = |name| ebpf.take_map(name).ok_or(Error::MapMissing { name });
        let tables = VersionedTables::new(&mut take)?;
        let flows = mapped("FLOWS", &take("FLOWS")?)?;
        let flows_cold: Mapping<FlowCold> = mapped("FLOWS_COLD", &take("FLOWS_COLD")?)?;
        let flows_of_tenant = mapped("FLOWS_OF_TENANT", &take("FLOWS_OF_TENANT")?)?;
        let totals: Mapping<Total> = mapped("TOTALS", &take("TOTALS")?)?;
        let intent: Mapping<Intent> = mapped("INTENT", &take("INTENT")?)?;
        let mut index = Index::of(totals.shared());
        if let Some(intent) = intent.shared().first() {
            let index = &mut index;
            Totals { totals: totals.shared(), intent, index, pen: &Ink }
                .recover(flows_cold.shared());
        }
        let counters = Counters::new(take("COUNTS")?, take("STOPS")?)?;
        let ear = Ear::new(take(maps::HEARD)?)?;
        let datagrams = mapped("DATAGRAMS", &take("DATAGRAMS")?)?;
        let again = mapped("AGAIN", &take("AGAIN")?)?;
        let shares: Mapping<Word64> = mapped("SHARES_OF_TENANT", &take("SHARES_OF_TENANT")?)?;
        // What the daemon before held is lost.
        for tenant in 0..limits::TENANTS_MAX {
            for of in [Share::Parked, Share::InboundParked] {
                if let Some(count) = shares.shared().get(of.index(tenant) as usize) {
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
            nics,
            flows,
            flows_cold,
            flows_of_tenant,
            counters,
            totals,
            intent,
            index,
            kernel,
            refusals,
            unseen,
            twin: None,
            log,
            ear,
            datagrams,
            again,
            shares,
            parking,
            _lock: lock,
        })
    }

    /// Puts an image in force, for every packet that begins after the call.
    pub fn install(&mut self, image: &Image) -> Result<Installed, Error> {
        self.tables.install(image)
    }

    /// Refuses what [`install`](Self::install) would, and writes nothing.
    pub fn may_install(&self, image: &Image) -> Result<(), Error> {
        check::check(image)
    }

    /// Refuses what [`attach`](Self::attach) would, as far as it can be known before, and
    /// touches nothing.
    pub fn may_attach(&mut self, wanted: &[Attach]) -> Result<(), Error> {
        self.attaching().find(wanted).map(drop)
    }

    /// Half-flows that there is room for.
    #[must_use]
    pub const fn flow_lines(&self) -> u32 {
        self.state.flow_lines
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

    /// The image in force, as the kernel has it.
    pub fn read_back(&self) -> Result<Image, Error> {
        self.tables.read_back()
    }

    /// Attaches all of these interfaces, or none; those that are attached already stay.
    ///
    /// Until an image that knows an interface is installed, nothing passes there. The
    /// answer says what the compiler has to know for that image.
    pub fn attach(&mut self, wanted: &[Attach]) -> Result<Vec<Attached>, Error> {
        self.release_gone()?;
        let attached = self.attaching().all(wanted)?;
        self.begin_refusals(attached.iter())?;
        Ok(attached)
    }

    /// As [`attach`](Self::attach), each for itself.
    pub fn attach_each(
        &mut self,
        wanted: &[Attach],
    ) -> Result<Vec<Result<Attached, Error>>, Error> {
        self.release_gone()?;
        let attached = self.attaching().each(wanted)?;
        self.begin_refusals(attached.iter().flatten())?;
        Ok(attached)
    }

    fn attaching(&mut self) -> Attaching<'_> {
        let Self { place, state, ebpf, nics, .. } = self;
        Attaching { place, state, ebpf, nics }
    }

    /// What these interfaces refuse is counted from now on.
    fn begin_refusals<'a>(
        &mut self,
        attached: impl Iterator<Item = &'a Attached>,
    ) -> Result<(), Error> {
        for at in attached {
            self.refusals.begin(&at.interface.name, &mut self.state)?;
        }
        self.state.write(&self.place.state_file())
    }

    /// Takes out interfaces that are gone, or have another name: nothing of what they were
    /// is left for whoever gets their name or number.
    pub fn release_gone(&mut self) -> Result<(), Error> {
        held::check_namespace(&self.place, &self.state)?;
        let (mut gone, mut released) = (Vec::new(), Ok(()));
        for (name, before) in &self.state.interfaces {
            match held::is_there(&self.place, name, before) {
                Ok(true) => {}
                Ok(false) => gone.push((name.clone(), before.ifindex)),
                // One that cannot be asked keeps no other from being taken out.
                Err(error) => released = Err(error),
            }
        }
        if gone.is_empty() {
            return released;
        }
        let numbers: Vec<_> = gone.iter().map(|(_, index)| *index).collect();
        self.tables.purge(&numbers)?;
        for (name, index) in &gone {
            // An absent interface has left the map by itself.
            let _ = self.nics.remove(*index);
            self.refusals.end(name, &mut self.state);
            if let Err(error) = detach::release(&self.place, &mut self.state, name, false) {
                released = Err(error);
            }
            self.forget_parked(*index);
        }
        self.state.write(&self.place.state_file())?;
        released
    }

    /// The names of the interfaces that are attached.
    pub fn attached(&self) -> impl Iterator<Item = &str> {
        self.state.interfaces.keys().map(String::as_str)
    }

    /// Gives one interface back: a tenant's port down, unless it is left open.
    pub fn release(&mut self, name: &str, leave_open: bool) -> Result<Vec<detach::Done>, Error> {
        let number = self.state.interfaces.get(name).map(|before| before.ifindex);
        if let Some(number) = number {
            // An absent interface has left the map by itself.
            let _ = self.nics.remove(number);
        }
        self.refusals.end(name, &mut self.state);
        let done = detach::release(&self.place, &mut self.state, name, leave_open)?;
        if let Some(number) = number {
            self.forget_parked(number);
        }
        self.state.write(&self.place.state_file())?;
        Ok(done)
    }

    /// Packets and bytes of the first `attachments` attachments.
    pub fn counters(&self, attachments: u32) -> Result<Vec<AttachmentCounters>, Error> {
        self.counters.attachments(attachments)
    }

    /// Why packets of the first `tenants` tenants were stopped.
    pub fn stops(&self, tenants: u32) -> Result<Vec<StopCount>, Error> {
        self.counters.stops(tenants)
    }

    /// What interfaces did not take of what was sent to them, beyond what is counted at
    /// attachments.
    pub fn refused(&self) -> Result<Vec<RefusedAt>, Error> {
        self.refusals.look(&self.state)
    }

    /// The same of this tenant, up to the last [`fold_refused`](Self::fold_refused).
    #[must_use]
    pub fn refused_of(&self, tenant: u32) -> u64 {
        self.state.refused_of_tenants.get(&tenant).copied().unwrap_or(0)
    }

    /// Adds what was refused since the last call to the sum of whom `tenant` names by the
    /// interface's number.
    pub fn fold_refused(&mut self, tenant: impl Fn(u32) -> u32) -> Result<(), Error> {
        // Written before anybody is told: a sum never goes back.
        let mut state = self.state.clone();
        if self.refusals.fold(&mut state, tenant)? {
            state.write(&self.place.state_file())?;
            self.state = state;
        }
        Ok(())
    }

    /// One that an interface refused was no packet of a tenant's.
    pub fn not_refused(&mut self, interface: &str) {
        refused::forgive(interface, &mut self.state);
    }

    /// What of refused packets this kernel does not tell.
    #[must_use]
    pub fn unseen(&self) -> &[String] {
        &self.unseen
    }

    /// From now on these tenants, attachments and interfaces have counted nothing; to be called
    /// before the first version that knows them under these numbers.
    pub fn begin_counting(
        &mut self,
        tenants: &[u32],
        attachments: &[u32],
        interfaces: &[String],
    ) -> Result<(), Error> {
        if !tenants.is_empty() || !interfaces.is_empty() {
            self.refusals.forget(tenants, interfaces, &mut self.state)?;
            self.state.write(&self.place.state_file())?;
        }
        for tenant in tenants {
            self.write_totals(|totals| totals.forget_tenant(*tenant));
        }
        self.counters.begin(tenants, attachments)
    }

    /// Forgets what the flows of these rules have carried.
    pub fn forget_rules(&mut self, is_gone: impl Fn(u32) -> bool) {
        self.write_totals(|totals| totals.forget_rules(is_gone));
    }

    /// Every half-flow in force.
    pub fn flows(&self) -> impl Iterator<Item = HalfFlow> {
        flows::in_force(self.flows.shared(), self.flows_cold.shared(), flows::now_ticks())
    }

    /// The flow table as programs and userland share it.
    #[must_use]
    pub fn flow_table(&self) -> FlowTable<'_> {
        FlowTable {
            lines: self.flows.shared(),
            cold: self.flows_cold.shared(),
            of_tenant: self.flows_of_tenant.shared(),
        }
    }

    /// What flow keys are hashed with.
    #[must_use]
    pub const fn flow_secret(&self) -> [u64; 2] {
        self.state.secret
    }

    /// One pass of the sweeper; flows of a tenant that is no more are over. What the programs
    /// logged since the last pass is told.
    pub fn sweep(&mut self, is_tenant: impl Fn(u32) -> bool) -> Result<Swept, Error> {
        if let Some(log) = &mut self.log {
            log.tell();
        }
        let table = FlowTable {
            lines: self.flows.shared(),
            cold: self.flows_cold.shared(),
            of_tenant: self.flows_of_tenant.shared(),
        };
        self.datagram_table().sweep(&is_tenant, flows::now_ticks());
        let Some(intent) = self.intent.shared().first() else { return Ok(Swept::default()) };
        let totals = self.totals.shared();
        let totals = &mut Totals { totals, intent, index: &mut self.index, pen: &Ink };
        sweep::sweep(table, totals, is_tenant, flows::now_ticks(), grace::wait)
    }

    /// The datagrams under way, as programs and userland share them.
    #[must_use]
    pub fn datagram_table(&self) -> DatagramTable<'_> {
        DatagramTable { slots: self.datagrams.shared(), shares: self.shares.shared() }
    }

    /// Can be read when a fragment was parked.
    pub fn parked_signal(&self) -> std::io::Result<OwnedFd> {
        self.parking.signal()
    }

    /// Sends in again the fragments that need wait no longer, at interfaces that are ours
    /// still: what comes in elsewhere, nobody would judge. Answers whether others wait.
    pub fn send_parked(&mut self) -> Result<bool, Error> {
        let table = DatagramTable { slots: self.datagrams.shared(), shares: self.shares.shared() };
        let (secret, ticks) = (self.state.secret, flows::now_ticks());
        let is_known = |of: &Fragment| table.is_known(&of.key, of.owner, secret, ticks);
        let due = self.parking.due(Instant::now(), is_known);
        let (mut sent, mut hooks) = (Ok(()), HashMap::new());
        for fragment in due {
            table.release(fragment.share);
            let Fragment { key, owner, ifindex, frame, .. } = &fragment;
            let hooked = *hooks.entry(*ifindex).or_insert_with(|| self.held_at(*ifindex));
            let Some(hooked) = hooked else { continue };
            let again = Again::of(key, *owner, secret);
            if let Some(note) = self.again.shared().get(again.index as usize) {
                note.store(again.word(flows::now_ticks()));
            }
            let done = testrun::send_in(&self.ebpf, hooked, *ifindex, frame);
            sent = sent.and(done);
        }
        sent.map(|()| self.parking.is_waiting())
    }

    /// Where our program sits on the interface of this number, if that is one of ours still:
    /// the number may be another's by now.
    fn held_at(&self, ifindex: u32) -> Option<Hooked> {
        let mut known = self.state.interfaces.iter();
        let is_held = |(name, before): &(&String, &state::Before)| {
            before.ifindex == ifindex
                && matches!(held::held(&self.place, name, before), Ok(held::Held::Yes))
        };
        known.find(is_held).map(|(_, before)| before.hooked)
    }

    /// What waits at an interface that is let go waits no more: another may get its number.
    fn forget_parked(&mut self, ifindex: u32) {
        let forgotten = self.parking.forget(Instant::now(), ifindex);
        let table = self.datagram_table();
        forgotten.iter().for_each(|fragment| table.release(fragment.share));
    }

    /// Which MACs were heard of beyond the NICs since the last call.
    pub fn heard(&mut self) -> Vec<Heard> {
        self.ear.listen()
    }

    fn write_totals(&mut self, change: impl FnOnce(&mut Totals<'_, Ink>)) {
        if let Some(intent) = self.intent.shared().first() {
            let (totals, index) = (self.totals.shared(), &mut self.index);
            change(&mut Totals { totals, intent, index, pen: &Ink });
        }
    }

    /// What flows of this rule have carried, as far as it was folded.
    #[must_use]
    pub fn total_of_rule(&self, rule: u32) -> Tally {
        self.index.of_rule(self.totals.shared(), rule)
    }

    /// What flows have carried that this tenant pays for, as far as it was folded.
    #[must_use]
    pub fn total_of_tenant(&self, tenant: u32) -> Tally {
        self.index.of_tenant(self.totals.shared(), tenant)
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
