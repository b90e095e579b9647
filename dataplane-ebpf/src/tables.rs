//! Which kernel maps hold the tables?
//!
//! Records of a *version* of the site lie in maps whose keys end with the version,
//! or in one half of an array (even and odd versions). Userland writes the next
//! version beside the one in force and then stores its number in [`ROOT`]; a packet
//! reads that number once. Flows and counters are of no version.
#![expect(unsafe_code, reason = "map values are reached through the kernel's pointers")]

use core::arch::asm;

use aya_ebpf::{
    Global,
    helpers::{bpf_ktime_get_coarse_ns, bpf_loop},
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, lpm_trie::Key},
};
use dataplane_common::{
    Stop, Tables, Work,
    addr::Addr,
    limits,
    stop::STOPS_STRIDE,
    table::{
        Attachment, AttachmentKey, Location, LocationKey, PermitKey, Prefix, Prefixed, Station,
        StationKey, Tenant, Versioned,
        datagram::{Datagram, PARKED_BYTES_MAX, Parked},
        endpoint::Endpoint,
        flow::{FlowCold, FlowLine},
        next_hop::{NextHop, Output},
        policy::{self, MemberKey, Policy, Rule},
        route::Route,
        total::{Intent, TOTALS_MAX, Total},
        zone::{FloodPort, Zone},
    },
    tables::{COUNTERS, Counter, Heard, NOTES_MAX, Note, Rate, SHARES, Share, Tally},
    word::Word64,
    work::job,
};

/// BPF_F_MMAPABLE: userland reads and writes the array through a mapping.
const MAPPED: u32 = 1 << 10;
/// BPF_F_NO_PREALLOC: entries are made as they are needed.
const ON_DEMAND: u32 = 1;

/// The version in force.
#[map]
static ROOT: Array<Word64> = Array::with_max_entries(1, MAPPED);

#[map]
static ATTACHMENTS: HashMap<Versioned<AttachmentKey>, Attachment> =
    HashMap::with_max_entries(2 * limits::ATTACHMENTS_MAX, ON_DEMAND);
#[map]
static STATIONS: HashMap<Versioned<StationKey>, Station> =
    HashMap::with_max_entries(2 * limits::STATIONS_MAX, ON_DEMAND);
#[map]
static LOCATIONS: HashMap<Versioned<LocationKey>, Location> =
    HashMap::with_max_entries(2 * limits::LOCATIONS_MAX, ON_DEMAND);
#[map]
static MEMBERS: HashMap<Versioned<MemberKey>, u32> =
    HashMap::with_max_entries(2 * limits::MEMBERS_MAX, ON_DEMAND);
/// A permit's value is how long its prefix is, bits.
#[map]
static PERMITS: LpmTrie<Prefixed<PermitKey>, u32> =
    LpmTrie::with_max_entries(2 * limits::PERMITS_MAX, ON_DEMAND);
#[map]
static SESSIONS: LpmTrie<Prefixed<LocationKey>, u32> =
    LpmTrie::with_max_entries(2 * limits::SESSIONS_MAX, ON_DEMAND);
#[map]
static ROUTES: LpmTrie<Prefixed<LocationKey>, Route> =
    LpmTrie::with_max_entries(2 * limits::ROUTES_MAX, ON_DEMAND);
#[map]
static GROUP_PREFIXES: LpmTrie<Prefixed<LocationKey>, u32> =
    LpmTrie::with_max_entries(2 * limits::GROUP_PREFIXES_MAX, ON_DEMAND);

#[map]
static ENDPOINTS: Array<Endpoint> = Array::with_max_entries(2 * limits::ENDPOINTS_MAX, MAPPED);
#[map]
static ZONES: Array<Zone> = Array::with_max_entries(2 * limits::ZONES_MAX, MAPPED);
#[map]
static NEXT_HOPS: Array<NextHop> = Array::with_max_entries(2 * limits::NEXT_HOPS_MAX, MAPPED);
#[map]
static OUTPUTS: Array<Output> = Array::with_max_entries(2 * limits::ATTACHMENTS_MAX, MAPPED);
#[map]
static TENANTS: Array<Tenant> = Array::with_max_entries(2 * limits::TENANTS_MAX, MAPPED);
#[map]
static POLICIES: Array<Policy> = Array::with_max_entries(2 * limits::POLICIES_MAX, MAPPED);
#[map]
static RULES: Array<Rule> = Array::with_max_entries(2 * limits::RULES_MAX, MAPPED);

#[map]
static FLOOD_PORTS: Array<FloodPort> = Array::with_max_entries(2 * limits::FLOOD_PORTS_MAX, MAPPED);

/// Both sized by the loader to [`FLOW_LINES`].
#[map]
static FLOWS: Array<FlowLine> = Array::with_max_entries(limits::FLOW_LINES, MAPPED);
#[map]
static FLOWS_COLD: Array<FlowCold> = Array::with_max_entries(limits::FLOW_LINES, MAPPED);
/// Half-flows that each tenant has.
#[map]
static FLOWS_OF_TENANT: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// Datagrams of which fragments are under way.
#[map]
static DATAGRAMS: Array<Datagram> = Array::with_max_entries(limits::DATAGRAMS, MAPPED);
/// What the daemon just sent in again.
#[map]
static AGAIN: Array<Word64> = Array::with_max_entries(limits::AGAIN, MAPPED);
/// What each tenant has of its [`Share`]s.
#[map]
static SHARES_OF_TENANT: Array<Word64> =
    Array::with_max_entries(limits::TENANTS_MAX * SHARES, MAPPED);
/// What flows have carried in all, and what of that is about to be written. No program asks.
#[map]
static TOTALS: Array<Total> = Array::with_max_entries(TOTALS_MAX, MAPPED);
#[map]
static INTENT: Array<Intent> = Array::with_max_entries(1, MAPPED);
/// When each tenant's next ICMP error is due (see [`Rate`]).
#[map]
static REPORTS: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// When each tenant's next copy of a frame is due.
#[map]
static COPIES: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// When each tenant's next claim to an address is due.
#[map]
static CLAIMS: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// When the next MAC from each NIC's link is due to be heard.
#[map]
static HEARD_AT: Array<Word64> = Array::with_max_entries(limits::ATTACHMENTS_MAX, MAPPED);

#[map]
static COUNTS: PerCpuArray<Tally> =
    PerCpuArray::with_max_entries(limits::ATTACHMENTS_MAX * COUNTERS as u32, 0);
#[map]
static STOPS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(limits::TENANTS_MAX * STOPS_STRIDE, 0);

/// What the daemon has not yet been told.
#[map]
static HEARD: RingBuf = RingBuf::with_byte_size(limits::HEARD_BYTES, 0);

/// Fragments that the daemon is to send in again.
#[map]
pub static PARKED: RingBuf = RingBuf::with_byte_size(limits::PARKED_BYTES, 0);

/// A fragment that is parked.
#[repr(C)]
pub struct ParkedFrame {
    pub parked: Parked,
    pub frame: [u8; PARKED_BYTES_MAX as usize],
}

/// The packet at hand; every loaded program set has its own.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);
/// What a tracing program tells; the first word counts.
#[map]
static NOTES: Array<Notes> = Array::with_max_entries(1, MAPPED);

/// Set by the loader, as read-only data: the verifier sees constants.
#[unsafe(no_mangle)]
static FLOW_LINES: Global<u32> = Global::new(limits::FLOW_LINES);
#[unsafe(no_mangle)]
static SECRET_LOW: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static SECRET_HIGH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE: Global<u8> = Global::new(0);

/// The trace of one packet.
#[repr(C)]
struct Notes {
    count: u64,
    notes: [Note; NOTES_MAX as usize],
}

/// The tables as one packet sees them.
pub struct KernelTables {
    version: u32,
}

impl KernelTables {
    /// The tables in the version that is in force now.
    #[inline(always)]
    pub fn in_force() -> Self {
        Self { version: ROOT.get(0).map_or(0, |root| root.load() as u32) }
    }

    /// The packet does not leave after all, for this reason: what it was counted as is taken
    /// back, but for its flow, which counts what was let pass and may be folded already. The
    /// packet that an error is about has its reason.
    #[inline(always)]
    pub fn stays(&self, work: &Work, bytes: u32, stop: Stop) {
        if work.job != job::ERROR {
            self.count_stop(work.tenant, stop, 1);
        }
        let index = work.output * COUNTERS as u32 + Counter::of_job(work.job) as u32;
        if let Some(tally) = COUNTS.get_ptr_mut(index)
            && !self.is_tracing()
        {
            // SAFETY: this CPU's own element.
            let tally = unsafe { &mut *tally };
            tally.packets -= 1;
            tally.bytes -= u64::from(bytes);
        }
    }

    /// The tables as an earlier program of this packet saw them.
    #[inline(always)]
    pub const fn of(work: &Work) -> Self {
        Self { version: work.version }
    }

    /// The version that they are of.
    #[inline(always)]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// This version's element of an array that holds two versions of `max` each.
    #[inline(always)]
    fn element<'t, T>(&self, array: &'t Array<T>, id: u32, max: u32) -> Option<&'t T> {
        if id >= max {
            return None;
        }
        array.get(if self.version & 1 == 0 { id } else { id + max })
    }

    /// May so many more be made now? Noted, unless it is only asked, or another CPU was faster.
    #[inline(always)]
    fn may(&self, due: &Word64, rate: Rate, count: u32) -> bool {
        // SAFETY: a helper without arguments.
        let now_ns = unsafe { bpf_ktime_get_coarse_ns() };
        let old = due.load();
        match rate.next(old, now_ns, count) {
            Some(_) if self.is_tracing() => true,
            Some(new) => swap(due, old, new),
            None => false,
        }
    }

    #[inline(always)]
    fn find<'t, K, V>(&self, map: &'t HashMap<Versioned<K>, V>, key: K) -> Option<&'t V> {
        let key = Versioned::new(key, self.version);
        // SAFETY: an entry of the version in force is not changed, and not removed
        // before a grace period after the version has ended.
        unsafe { map.get(&key) }
    }

    #[inline(always)]
    fn longest<'t, V>(
        &self,
        trie: &'t LpmTrie<Prefixed<LocationKey>, V>,
        zone: u32,
        addr: &Addr,
    ) -> Option<&'t V> {
        let key = LocationKey { addr: *addr, zone, zero: 0 };
        trie.get(&Aligned::new(&key, self.version).0)
    }
}

/// A trie's key on the stack, where the verifier takes aligned accesses only
/// ("misaligned stack access"); aya's own is packed.
#[repr(C, align(8))]
struct Aligned<K: Prefix>(Key<Prefixed<K>>);

impl<K: Prefix> Aligned<K> {
    #[inline(always)]
    fn new(key: &K, version: u32) -> Self {
        Self(Key::new(Prefixed::<K>::BITS, Prefixed::new(key, version)))
    }
}

/// This CPU's work, which no other program touches while one of ours runs.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    let work = WORK.get_ptr_mut(0)?;
    // SAFETY: one per CPU; programs of one set on one CPU run one after the other,
    // each to its end, with bottom halves off.
    Some(unsafe { &mut *work })
}

/// The number of a record in `.rodata` that the loader wrote.
#[inline(always)]
fn flow_lines() -> u32 {
    FLOW_LINES.load()
}

impl Tables for KernelTables {
    #[inline(always)]
    fn is_tracing(&self) -> bool {
        TRACE.load() != 0
    }

    #[inline(always)]
    fn now_ticks(&self) -> u32 {
        // SAFETY: a helper without arguments.
        (unsafe { bpf_ktime_get_coarse_ns() } >> 20) as u32
    }

    #[inline(always)]
    fn attachment(&self, key: &AttachmentKey) -> Option<&Attachment> {
        self.find(&ATTACHMENTS, *key)
    }

    #[inline(always)]
    fn station(&self, key: &StationKey) -> Option<&Station> {
        self.find(&STATIONS, *key)
    }

    #[inline(always)]
    fn is_permitted(&self, key: &PermitKey) -> bool {
        PERMITS.get(&Aligned::new(key, self.version).0).is_some()
    }

    #[inline(always)]
    fn is_permitted_alone(&self, key: &PermitKey) -> bool {
        let bits = PERMITS.get(&Aligned::new(key, self.version).0);
        bits.is_some_and(|bits| *bits == Addr::BITS)
    }

    #[inline(always)]
    fn location(&self, key: &LocationKey) -> Option<&Location> {
        self.find(&LOCATIONS, *key)
    }

    #[inline(always)]
    fn session(&self, access: u32, addr: &Addr) -> Option<u32> {
        self.longest(&SESSIONS, access, addr).copied()
    }

    #[inline(always)]
    fn endpoint(&self, id: u32) -> Option<&Endpoint> {
        self.element(&ENDPOINTS, id, limits::ENDPOINTS_MAX)
    }

    #[inline(always)]
    fn zone(&self, id: u32) -> Option<&Zone> {
        self.element(&ZONES, id, limits::ZONES_MAX)
    }

    #[inline(always)]
    fn route(&self, zone: u32, addr: &Addr) -> Option<&Route> {
        self.longest(&ROUTES, zone, addr)
    }

    #[inline(always)]
    fn next_hop(&self, id: u32) -> Option<&NextHop> {
        self.element(&NEXT_HOPS, id, limits::NEXT_HOPS_MAX)
    }

    #[inline(always)]
    fn output(&self, id: u32) -> Option<&Output> {
        self.element(&OUTPUTS, id, limits::ATTACHMENTS_MAX)
    }

    #[inline(always)]
    fn tenant(&self, id: u32) -> Option<&Tenant> {
        self.element(&TENANTS, id, limits::TENANTS_MAX)
    }

    #[inline(always)]
    fn policy(&self, id: u32) -> Option<&Policy> {
        self.element(&POLICIES, id, limits::POLICIES_MAX)
    }

    #[inline(always)]
    fn find_rule(
        &self,
        first: u32,
        count: u32,
        matches: impl FnMut(&Rule) -> bool,
    ) -> Option<&Rule> {
        let mut scan = Scan { tables: self, first, found: None, matches };
        let count = if count < policy::RULES_MAX { count } else { policy::RULES_MAX };
        scan.run(count);
        self.element(&RULES, scan.found?, limits::RULES_MAX)
    }

    #[inline(always)]
    fn each_flood_port(&self, first: u32, count: u32, visit: impl FnMut(&FloodPort)) {
        let max = limits::FLOOD_PORTS_OF_NETWORK;
        Visit { tables: self, first, visit }.run(if count < max { count } else { max });
    }

    #[inline(always)]
    fn is_member(&self, key: &MemberKey) -> bool {
        self.find(&MEMBERS, *key).is_some()
    }

    #[inline(always)]
    fn is_in_group(&self, set: u32, addr: &Addr) -> bool {
        self.longest(&GROUP_PREFIXES, set, addr).is_some()
    }

    #[inline(always)]
    fn flow_lines(&self) -> u32 {
        flow_lines()
    }

    #[inline(always)]
    fn flow_secret(&self) -> [u64; 2] {
        [SECRET_LOW.load(), SECRET_HIGH.load()]
    }

    #[inline(always)]
    fn flow(&self, index: u32) -> Option<&FlowLine> {
        FLOWS.get(index)
    }

    #[inline(always)]
    fn flow_cold(&self, index: u32) -> Option<&FlowCold> {
        FLOWS_COLD.get(index)
    }

    #[inline(always)]
    fn flow_swap(&self, line: &FlowLine, old: u32, new: u32) -> bool {
        let found: u32;
        // SAFETY: a compare-and-swap of an aligned word that lives as long as the map.
        unsafe {
            asm!(
                "w0 = w2",
                "w0 = cmpxchg32_32(r1 + 0, w0, w3)",
                in("r1") line.status.as_ptr(),
                in("r2") u64::from(old),
                in("r3") u64::from(new),
                lateout("r0") found,
                options(nostack),
            );
        }
        found == old
    }

    #[inline(always)]
    fn flow_count(&self, cold: &FlowCold, packets: u32, bytes: u32) {
        if self.is_tracing() {
            return;
        }
        add(&cold.packets, u64::from(packets));
        add(&cold.bytes, u64::from(bytes));
    }

    #[inline(always)]
    fn flow_reserve(&self, tenant: u32, halves: u32, max: u32) -> bool {
        let Some(count) = FLOWS_OF_TENANT.get(tenant) else { return false };
        if count.load() + u64::from(halves) > u64::from(max) {
            return false;
        }
        if !self.is_tracing() {
            add(count, u64::from(halves));
        }
        true
    }

    #[inline(always)]
    fn flow_release(&self, tenant: u32, halves: u32) {
        if let Some(count) = FLOWS_OF_TENANT.get(tenant)
            && !self.is_tracing()
        {
            add(count, 0_u64.wrapping_sub(u64::from(halves)));
        }
    }

    #[inline(always)]
    fn datagram(&self, index: u32) -> Option<&Datagram> {
        DATAGRAMS.get(index)
    }

    #[inline(always)]
    fn again(&self, index: u32) -> Option<&Word64> {
        AGAIN.get(index)
    }

    #[inline(always)]
    fn swap(&self, word: &Word64, old: u64, new: u64) -> bool {
        swap(word, old, new)
    }

    #[inline(always)]
    fn reserve(&self, of: Share, tenant: u32) -> bool {
        let Some(count) = SHARES_OF_TENANT.get(of.index(tenant)) else { return false };
        // A daemon that begins anew sets what is parked to zero, and may then be given back
        // what was taken before: a number below zero is none.
        if count.load() as i64 >= i64::from(of.max()) {
            return false;
        }
        if !self.is_tracing() {
            add(count, 1);
        }
        true
    }

    #[inline(always)]
    fn release(&self, of: Share, tenant: u32) {
        if let Some(count) = SHARES_OF_TENANT.get(of.index(tenant))
            && !self.is_tracing()
        {
            add(count, u64::MAX); // one less
        }
    }

    #[inline(always)]
    fn each(&self, count: u32, step: impl FnMut(u32) -> bool) {
        each(count, step);
    }

    #[inline(always)]
    fn may_report(&self, tenant: u32) -> bool {
        REPORTS.get(tenant).is_some_and(|due| self.may(due, Rate::REPORTS, 1))
    }

    #[inline(always)]
    fn may_copy(&self, tenant: u32, copies: u32) -> bool {
        COPIES.get(tenant).is_some_and(|due| self.may(due, Rate::COPIES, copies))
    }

    #[inline(always)]
    fn may_claim(&self, tenant: u32) -> bool {
        CLAIMS.get(tenant).is_some_and(|due| self.may(due, Rate::CLAIMS, 1))
    }

    #[inline(always)]
    fn may_hear(&self, attachment: u32) -> bool {
        HEARD_AT.get(attachment).is_some_and(|due| self.may(due, Rate::HEARD, 1))
    }

    #[inline(always)]
    fn count(&self, attachment: u32, counter: Counter, packets: u32, bytes: u32) {
        if self.is_tracing() {
            return;
        }
        if let Some(tally) = COUNTS.get_ptr_mut(attachment * COUNTERS as u32 + counter as u32) {
            // SAFETY: this CPU's own element.
            let tally = unsafe { &mut *tally };
            tally.packets += u64::from(packets);
            tally.bytes += u64::from(bytes);
        }
    }

    #[inline(always)]
    fn hear(&self, heard: &Heard) {
        if !self.is_tracing() {
            // Where there is no room, the daemon asks again.
            let _ = HEARD.output::<Heard>(heard, 0);
        }
    }

    #[inline(always)]
    fn count_stop(&self, tenant: u32, stop: Stop, packets: u32) {
        if self.is_tracing() || cfg!(feature = "control-uncounted") {
            return;
        }
        if let Some(count) = STOPS.get_ptr_mut(tenant * STOPS_STRIDE + stop as u32) {
            // SAFETY: this CPU's own element.
            unsafe { *count += u64::from(packets) };
        }
    }

    #[inline(always)]
    fn note(&self, note: Note) {
        if !self.is_tracing() {
            return;
        }
        if let Some(notes) = NOTES.get_ptr_mut(0) {
            // SAFETY: traces are run one at a time, and only the tracing program writes.
            let notes = unsafe { &mut *notes };
            // The last one, which is the packet's end, is always told.
            let last = u64::from(NOTES_MAX - 1);
            let at = if notes.count < last { notes.count } else { last };
            if let Some(slot) = notes.notes.get_mut(at as usize) {
                *slot = note;
                notes.count = at + 1;
            }
        }
    }
}

/// Adds to a word that other CPUs add to.
#[inline(always)]
pub fn add(word: &Word64, value: u64) {
    // SAFETY: an atomic addition to an aligned word that lives as long as the map.
    unsafe {
        asm!(
            "lock *(u64 *)(r1 + 0) += r2",
            in("r1") word.as_ptr(),
            in("r2") value,
            options(nostack),
        );
    }
}

/// Replaces a word if it is still `old`.
#[inline(always)]
fn swap(word: &Word64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: a compare-and-swap of an aligned word that lives as long as the map.
    unsafe {
        asm!(
            "r0 = r2",
            "r0 = cmpxchg_64(r1 + 0, r0, r3)",
            in("r1") word.as_ptr(),
            in("r2") old,
            in("r3") new,
            lateout("r0") found,
            options(nostack),
        );
    }
    found == old
}

/// Does the step for each number below `count`; the kernel calls it, so that the verifier
/// looks at it once and not for each.
#[inline(always)]
fn each<F: FnMut(u32) -> bool>(count: u32, mut step: F) {
    unsafe extern "C" fn call<F: FnMut(u32) -> bool>(index: u64, step: *mut F) -> i64 {
        // SAFETY: `each` passed its own step.
        let step = unsafe { &mut *step };
        i64::from(!step(index as u32))
    }
    let call: unsafe extern "C" fn(u64, *mut F) -> i64 = call::<F>;
    // SAFETY: the kernel calls it with this pointer, on this stack, `count` times at most.
    unsafe { bpf_loop(count, call as *mut _, core::ptr::from_mut(&mut step).cast(), 0) };
}

/// A search through rules, one call of [`Scan::step`] for each.
struct Scan<'t, F> {
    tables: &'t KernelTables,
    first: u32,
    found: Option<u32>,
    matches: F,
}

impl<F: FnMut(&Rule) -> bool> Scan<'_, F> {
    #[inline(always)]
    fn run(&mut self, count: u32) {
        let step: unsafe extern "C" fn(u64, *mut Self) -> i64 = Self::step;
        // SAFETY: the kernel calls `step` with this pointer, on this stack, `count` times at most.
        unsafe { bpf_loop(count, step as *mut _, core::ptr::from_mut(self).cast(), 0) };
    }

    /// Looks at one rule; 1 ends the search.
    unsafe extern "C" fn step(index: u64, scan: *mut Self) -> i64 {
        // SAFETY: `run` passed its own `self`.
        let scan = unsafe { &mut *scan };
        let index = scan.first + index as u32;
        let Some(rule) = scan.tables.element(&RULES, index, limits::RULES_MAX) else { return 1 };
        if (scan.matches)(rule) {
            scan.found = Some(index);
            return 1;
        }
        0
    }
}

/// A walk through the ports of a network, one call of [`Visit::step`] for each.
struct Visit<'t, F> {
    tables: &'t KernelTables,
    first: u32,
    visit: F,
}

impl<F: FnMut(&FloodPort)> Visit<'_, F> {
    #[inline(always)]
    fn run(&mut self, count: u32) {
        let step: unsafe extern "C" fn(u64, *mut Self) -> i64 = Self::step;
        // SAFETY: the kernel calls `step` with this pointer, on this stack, `count` times at most.
        unsafe { bpf_loop(count, step as *mut _, core::ptr::from_mut(self).cast(), 0) };
    }

    /// Shows one port; 1 ends the walk.
    unsafe extern "C" fn step(index: u64, walk: *mut Self) -> i64 {
        // SAFETY: `run` passed its own `self`.
        let walk = unsafe { &mut *walk };
        let (index, max) = (walk.first + index as u32, limits::FLOOD_PORTS_MAX);
        let Some(port) = walk.tables.element(&FLOOD_PORTS, index, max) else { return 1 };
        (walk.visit)(port);
        0
    }
}
