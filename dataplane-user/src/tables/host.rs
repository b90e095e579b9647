//! How do the stages run without a kernel?
//!
//! [`HostTables`] answers every question of [`Tables`] from an [`Image`], in the
//! plainest way that is obviously right, and keeps flows and counters as the
//! kernel's maps do. One thread at a time.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    iter,
};

use dataplane_common::{
    Stop, Tables, Work, limits,
    stage::{flow_record, limit, route},
    table::{
        datagram::Datagram,
        flow::{BUCKET_LINES, FlowCold, FlowLine, FlowMore, held},
        heap::{Heap, Line},
        meter::{Load, Meter, STEPS_PER_NS, Terms},
        root::{More, Root},
        secret::Secret,
    },
    tables::{Counter, Heard, Note, Rate, Share, Tally},
    word::{Word32, Word64},
    work::{Meters, Which},
};

use super::{Image, heap::HostHeap, layout};

/// The tables of a host: an image, and what packets left behind.
pub struct HostTables {
    image: Image,
    heap: HostHeap,
    laid: layout::Tables,
    root: Root,
    more: More,

    lines: Vec<FlowLine>,
    cold: Vec<FlowCold>,
    more_of_flows: Vec<FlowMore>,
    away: Vec<Word64>,
    secret: Secret,
    /// Made when the first fragment comes.
    datagrams: OnceCell<Vec<Datagram>>,
    again: Vec<Word64>,
    shares: RefCell<HashMap<u32, u32>>,
    halves: RefCell<HashMap<u32, u64>>,
    reports: RefCell<HashMap<u32, u64>>,
    copies: RefCell<HashMap<u32, u64>>,
    claims: RefCell<HashMap<u32, u64>>,
    heard_at: RefCell<HashMap<u32, u64>>,
    meters: Vec<Meter>,

    clock_ns: Cell<u64>,
    is_tracing: Cell<bool>,
    notes: RefCell<Vec<Note>>,
    counters: RefCell<Counters>,
    heard: RefCell<Vec<Heard>>,
}

/// What packets were counted under.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// By attachment and [`Counter`].
    pub counts: BTreeMap<(u32, u8), Tally>,
    /// By tenant and reason.
    pub stops: BTreeMap<(u32, Stop), u64>,
}

impl HostTables {
    /// Tables for this image with a flow table of `flow_lines` lines, a power of two.
    #[must_use]
    pub fn new(image: Image, flow_lines: u32) -> Self {
        assert!(flow_lines.is_power_of_two() && flow_lines >= BUCKET_LINES, "{flow_lines}");
        let mut tables = Self {
            image: Image::default(),
            heap: HostHeap::new(),
            laid: layout::Tables::default(),
            root: Root::default(),
            more: More::default(),
            lines: (0..flow_lines).map(|_| FlowLine::default()).collect(),
            cold: (0..flow_lines).map(|_| FlowCold::default()).collect(),
            more_of_flows: (0..flow_lines).map(|_| FlowMore::default()).collect(),
            away: (0..flow_lines / BUCKET_LINES).map(|_| Word64::default()).collect(),
            datagrams: OnceCell::new(),
            again: (0..limits::AGAIN).map(|_| Word64::default()).collect(),
            shares: RefCell::default(),
            secret: Secret::of([1, 2]),
            halves: RefCell::default(),
            reports: RefCell::default(),
            copies: RefCell::default(),
            claims: RefCell::default(),
            heard_at: RefCell::default(),
            meters: Vec::new(),
            // A machine that has been up for a while: no flow is as old as the clock.
            clock_ns: Cell::new(1 << 50),
            is_tracing: Cell::new(false),
            notes: RefCell::default(),
            counters: RefCell::default(),
            heard: RefCell::default(),
        };
        tables.replace(image);
        tables
    }

    /// Hashes with the secret of this seed instead of a fixed one; no flow may be there yet.
    #[must_use]
    pub fn with_secret(mut self, seed: [u64; 2]) -> Self {
        self.secret = Secret::of(seed);
        let image = core::mem::take(&mut self.image);
        self.replace(image);
        self
    }

    /// Puts another version of the site into force; flows and counters stay.
    pub fn replace(&mut self, image: Image) {
        // Plain memory has room for whatever a test asks.
        (self.root, self.more) = layout::lay(&image, &self.secret, &mut self.laid, &mut self.heap)
            .expect("an image that can be compiled");
        let lines = self.meters.len().max(image.meters.len());
        self.meters.resize_with(lines, Meter::default);
        let terms = image.meters.iter().copied().chain(iter::repeat(Terms::default()));
        self.meters.iter().zip(terms).for_each(|(meter, terms)| meter.agree(terms));
        self.image = image;
    }

    /// The version in force.
    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// What was heard since the last call.
    pub fn take_heard(&self) -> Vec<Heard> {
        self.heard.take()
    }

    /// Lets time go by.
    pub fn pass(&self, time: std::time::Duration) {
        self.clock_ns.set(self.clock_ns.get() + time.as_nanos() as u64);
    }

    /// From now on packets only tell, or leave their marks again.
    pub fn trace(&self, is_tracing: bool) {
        self.is_tracing.set(is_tracing);
    }

    /// What was told since the last call.
    pub fn take_notes(&self) -> Vec<Note> {
        self.notes.take()
    }

    /// What was counted since the last call.
    pub fn take_counters(&self) -> Counters {
        self.counters.take()
    }

    /// The datagrams under way; none, if no fragment ever came.
    #[must_use]
    pub fn datagrams(&self) -> &[Datagram] {
        self.datagrams.get().map_or(&[], Vec::as_slice)
    }

    /// How much the tenant has of its share.
    #[must_use]
    pub fn share_of(&self, tenant: u32, of: Share) -> u32 {
        self.shares.borrow().get(&of.index(tenant)).copied().unwrap_or(0)
    }

    /// May a tenant have so many more at this rate?
    fn may(&self, due: &RefCell<HashMap<u32, u64>>, whose: u32, rate: Rate, count: u32) -> bool {
        let mut due = due.borrow_mut();
        let due = due.entry(whose).or_default();
        let next = rate.next(*due, self.clock_ns.get(), count);
        if let Some(next) = next
            && !self.is_tracing()
        {
            *due = next;
        }
        next.is_some()
    }

    /// How many half-flows the tenant has ([`held`]).
    #[must_use]
    pub fn halves_of(&self, tenant: u32) -> u64 {
        self.halves.borrow().get(&tenant).copied().unwrap_or(0)
    }
}

impl Heap for HostTables {
    fn line(&self, index: u32) -> Option<&Line> {
        self.heap.line(index)
    }
}

impl Tables for HostTables {
    fn is_tracing(&self) -> bool {
        self.is_tracing.get()
    }

    fn now_ticks(&self) -> u32 {
        (self.clock_ns.get() >> 20) as u32
    }

    fn root(&self) -> Option<&Root> {
        Some(&self.root)
    }

    fn more(&self) -> Option<&More> {
        Some(&self.more)
    }

    fn flow_lines(&self) -> u32 {
        self.lines.len() as u32
    }

    fn route_leg(&self, w: &mut Work, which: Which) -> u32 {
        Stop::number(route::leads(self, w.leg(which)))
    }

    fn flow_room(&self, words: &[u64; 5]) -> u64 {
        flow_record::room(self, words, 0)
    }

    fn flow_goes_away(&self, words: &[u64; 5]) {
        flow_record::go_away(self, words);
    }

    fn flow_sole(&self, words: &[u64; 5]) -> u64 {
        flow_record::sole(self, words, 0)
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }

    fn flow(&self, index: u32) -> Option<&FlowLine> {
        self.lines.get(index as usize)
    }

    fn flow_cold(&self, index: u32) -> Option<&FlowCold> {
        self.cold.get(index as usize)
    }

    fn flow_more(&self, index: u32) -> Option<&FlowMore> {
        self.more_of_flows.get(index as usize)
    }

    fn flows_away(&self, bucket: u32) -> Option<&Word64> {
        self.away.get(bucket as usize)
    }

    fn flow_reserve(&self, tenant: u32, halves: u64, quota: u32) -> bool {
        let mut all = self.halves.borrow_mut();
        let held = all.entry(tenant).or_default();
        let is_permitted = held::permits(quota, *held, halves);
        if is_permitted && !self.is_tracing() {
            *held += halves;
        }
        is_permitted
    }

    fn flow_release(&self, tenant: u32, halves: u64) {
        if !self.is_tracing() {
            *self.halves.borrow_mut().entry(tenant).or_default() -= halves;
        }
    }

    fn datagram(&self, index: u32) -> Option<&Datagram> {
        let made = || (0..limits::DATAGRAMS).map(|_| Datagram::default()).collect();
        self.datagrams.get_or_init(made).get(index as usize)
    }

    fn again(&self, index: u32) -> Option<&Word64> {
        self.again.get(index as usize)
    }

    fn swap(&self, word: &Word64, old: u64, new: u64) -> bool {
        word.swap(old, new)
    }

    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool {
        word.swap(old, new)
    }

    fn add(&self, word: &Word64, value: u64) {
        word.add(value);
    }

    fn add32(&self, word: &Word32, value: u32) -> u32 {
        word.add(value);
        word.load()
    }

    fn reserve(&self, of: Share, tenant: u32) -> bool {
        let mut shares = self.shares.borrow_mut();
        let count = shares.entry(of.index(tenant)).or_default();
        if *count >= of.max() {
            return false;
        }
        if !self.is_tracing() {
            *count += 1;
        }
        true
    }

    fn release(&self, of: Share, tenant: u32) {
        if !self.is_tracing() {
            *self.shares.borrow_mut().entry(of.index(tenant)).or_default() -= 1;
        }
    }

    fn each(&self, count: u32, mut step: impl FnMut(u32) -> bool) {
        let _ = (0..count).find(|number| !step(*number));
    }

    fn may_report(&self, tenant: u32) -> bool {
        self.may(&self.reports, tenant, Rate::REPORTS, 1)
    }

    fn may_copy(&self, tenant: u32, copies: u32) -> bool {
        self.may(&self.copies, tenant, Rate::COPIES, copies)
    }

    fn may_claim(&self, tenant: u32) -> bool {
        self.may(&self.claims, tenant, Rate::CLAIMS, 1)
    }

    fn may_hear(&self, attachment: u32) -> bool {
        self.may(&self.heard_at, attachment, Rate::HEARD, 1)
    }

    fn meter(&self, number: u32) -> Option<&Meter> {
        self.meters.get(number as usize)
    }

    fn now_steps(&self, _: bool) -> u64 {
        self.clock_ns.get().wrapping_mul(STEPS_PER_NS)
    }

    fn over_limit(&self, meters: Meters, load: Load) -> u32 {
        limit::over(self, meters, load)
    }

    fn count(&self, attachment: u32, counter: Counter, packets: u32, bytes: u32) {
        if !self.is_tracing() {
            let mut counters = self.counters.borrow_mut();
            let tally = counters.counts.entry((attachment, counter as u8)).or_default();
            tally.packets += u64::from(packets);
            tally.bytes += u64::from(bytes);
        }
    }

    fn hear(&self, heard: &Heard) -> bool {
        if !self.is_tracing() {
            self.heard.borrow_mut().push(*heard);
        }
        true
    }

    fn count_stop(&self, tenant: u32, stop: Stop, packets: u32) {
        if !self.is_tracing() {
            let mut counters = self.counters.borrow_mut();
            *counters.stops.entry((tenant, stop)).or_default() += u64::from(packets);
        }
    }

    fn note(&self, note: Note) {
        if self.is_tracing() {
            self.notes.borrow_mut().push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_common::{
        addr::{Addr, V4_PREFIX_OFFSET_BITS},
        table::{LocationKey, route::Route, zone::Zone},
    };

    #[test]
    fn the_longest_prefix_of_the_zone_answers() {
        let route = |id| Route { id, ..Route::default() };
        let entry = |zone, addr, bits: u8, id| {
            let key = LocationKey { addr: Addr::v4(addr), zone, zero: 0 };
            (key, V4_PREFIX_OFFSET_BITS + bits, route(id))
        };
        let image = Image {
            zones: vec![Zone::default(); 3],
            routes: vec![
                entry(1, [0; 4], 0, 1),
                entry(1, [10, 1, 2, 0], 24, 2),
                entry(1, [10, 1, 0, 0], 16, 3),
                entry(2, [10, 1, 2, 3], 32, 4),
                (LocationKey { addr: Addr::UNSPECIFIED, zone: 2, zero: 0 }, 0, route(5)),
            ],
            ..Image::default()
        };
        let tables = HostTables::new(image, 8);
        let id = |zone, addr| tables.route(zone, &Addr::v4(addr)).map(|route| route.id);
        assert_eq!(id(1, [10, 1, 2, 3]), Some(2));
        assert_eq!(id(1, [10, 1, 3, 3]), Some(3));
        assert_eq!(id(1, [10, 2, 3, 3]), Some(1));
        assert_eq!(id(2, [10, 1, 2, 3]), Some(4));
        assert_eq!(id(2, [10, 1, 2, 4]), None);
        // A default route of one family is none of the other.
        assert!(tables.route(1, &Addr::v6([0x20; 16])).is_none());
        assert_eq!(tables.route(2, &Addr::v6([0x20; 16])).map(|route| route.id), Some(5));
    }
}
