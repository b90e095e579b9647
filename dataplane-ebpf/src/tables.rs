//! What does a packet find in the tables?
#![expect(unsafe_code, reason = "map values are reached through the kernel's pointers")]

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use dataplane_common::{
    Stop, Tables, Work,
    stage::{flow_record, limit, route},
    stop::STOPS_STRIDE,
    table::{
        classifier::Asked,
        datagram::Datagram,
        flow::{FlowCold, FlowLine, FlowMore, held},
        heap::{Heap, Line},
        meter::{Load, Meter, STEPS_PER_NS},
        root::{InForce, More, Root},
        secret::Secret,
    },
    tables::{COUNTERS, Counter, Heard, NOTES_MAX, Note, Rate, Share},
    word::{Word32, Word64},
    work::{Meters, Which, job},
};

use crate::{
    heap::{KernelHeap, first_rule, sekisho_longest},
    maps::{
        AGAIN, CLAIMS, COPIES, COUNTS, DATAGRAMS, FLOW_LINES, FLOWS, FLOWS_AWAY, FLOWS_COLD,
        FLOWS_MORE, FLOWS_OF_TENANT, HEARD, HEARD_AT, METERS, NOTES, REPORTS, ROOT, SECRET,
        SHARES_OF_TENANT, STOPS, TICK_NS, TRACE, work,
    },
    words::{add, add32, each, known, swap, swap32},
};

/// The tables as one packet sees them.
pub struct KernelTables {
    in_force: InForce,
    heap: KernelHeap,
}

impl KernelTables {
    /// The tables in the version that is in force now.
    #[inline(always)]
    pub fn in_force() -> Option<Self> {
        Self::at(InForce::from_word(ROOT.get(0)?.load()))
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
    pub fn of(work: &Work) -> Option<Self> {
        Self::at(work.in_force)
    }

    #[inline(always)]
    fn at(in_force: InForce) -> Option<Self> {
        Some(Self { in_force, heap: KernelHeap::open()? })
    }

    /// The version that they are of.
    #[inline(always)]
    pub const fn version(&self) -> InForce {
        self.in_force
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
}

/// The clock of flows: steps of 2^20 ns. What the kernel counts its ticks in is read by an
/// instruction, where its clocks are calls.
#[inline(always)]
pub fn now_ticks() -> u32 {
    // SAFETY: a helper without arguments.
    ((unsafe { bpf_jiffies64() } * TICK_NS.load()) >> 20) as u32
}

/// [`flow_record::room`], with a name and numbers alone, as [`sekisho_longest`] and for the same
/// reason.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sekisho_flow_room(a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    let (Some(work), Some(tables)) = (work(), KernelTables::in_force()) else { return 0 };
    flow_record::room(&tables, &[a, b, c, d, e], work.zero)
}

/// [`flow_record::go_away`], likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sekisho_flow_goes_away(a: u64, b: u64, c: u64, d: u64, e: u64) -> u32 {
    if let Some(tables) = KernelTables::in_force() {
        flow_record::go_away(&tables, &[a, b, c, d, e]);
    }
    0
}

/// [`flow_record::sole`], likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sekisho_flow_sole(a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    let (Some(work), Some(tables)) = (work(), KernelTables::in_force()) else { return 0 };
    flow_record::sole(&tables, &[a, b, c, d, e], work.zero)
}

/// [`route::leads`] of [`Which::Leg`] or, with 1, [`Which::Way`], likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sekisho_route(which: u32) -> u32 {
    let missing = Stop::number(Err(Stop::TableMissing));
    let Some(work) = work() else { return missing };
    let Some(tables) = KernelTables::of(work) else { return missing };
    let leg = work.leg(if which == 0 { Which::Leg } else { Which::Way });
    Stop::number(route::leads(&tables, leg))
}

/// [`limit::over`], likewise. It asks nothing of any version.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sekisho_over_limit(
    sender: u32,
    router: u32,
    receiver: u32,
    packets: u32,
    bytes: u32,
) -> u32 {
    // Without tables, some meter of these has no room.
    let Some(tables) = KernelTables::in_force() else { return sender | router | receiver };
    limit::over(&tables, Meters { sender, router, receiver }, Load { packets, bytes })
}

impl Heap for KernelTables {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        self.heap.line(index)
    }

    #[inline(always)]
    fn longest(&self, table: u32, high: u64, low: u64) -> u32 {
        sekisho_longest(table, high, low)
    }

    #[inline(always)]
    fn first_rule(&self, table: u32, asked: &Asked) -> u32 {
        first_rule(table, asked)
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn is_tracing(&self) -> bool {
        TRACE.load() != 0
    }

    #[inline(always)]
    fn now_ticks(&self) -> u32 {
        now_ticks()
    }

    #[inline(always)]
    fn root(&self) -> Option<&Root> {
        Some(self.heap.line(self.in_force.root)?.record(0))
    }

    #[inline(always)]
    fn more(&self) -> Option<&More> {
        Some(self.heap.line(self.in_force.root + 1)?.record(0))
    }

    #[inline(always)]
    fn flow_lines(&self) -> u32 {
        FLOW_LINES.load()
    }

    #[inline(always)]
    fn secret(&self) -> &Secret {
        let secret: *const Secret = (&raw const SECRET).cast();
        // SAFETY: a `Global` is what it holds, and the loader has written it.
        known(unsafe { &*secret })
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
    fn flow_more(&self, index: u32) -> Option<&FlowMore> {
        FLOWS_MORE.get(index)
    }

    #[inline(always)]
    fn flows_away(&self, bucket: u32) -> Option<&Word64> {
        FLOWS_AWAY.get(bucket)
    }

    #[inline(always)]
    fn flow_room(&self, &[a, b, c, d, e]: &[u64; 5]) -> u64 {
        sekisho_flow_room(a, b, c, d, e)
    }

    #[inline(always)]
    fn flow_goes_away(&self, &[a, b, c, d, e]: &[u64; 5]) {
        sekisho_flow_goes_away(a, b, c, d, e);
    }

    #[inline(always)]
    fn flow_sole(&self, &[a, b, c, d, e]: &[u64; 5]) -> u64 {
        sekisho_flow_sole(a, b, c, d, e)
    }

    #[inline(always)]
    fn route_leg(&self, _: &mut Work, which: Which) -> u32 {
        sekisho_route(which as u32)
    }

    #[inline(always)]
    fn flow_reserve(&self, tenant: u32, halves: u64, quota: u32) -> bool {
        let Some(held) = FLOWS_OF_TENANT.get(tenant) else { return false };
        let is_permitted = held::permits(quota, held.load(), halves);
        if is_permitted && !self.is_tracing() {
            add(held, halves);
        }
        is_permitted
    }

    #[inline(always)]
    fn flow_release(&self, tenant: u32, halves: u64) {
        if let Some(held) = FLOWS_OF_TENANT.get(tenant)
            && !self.is_tracing()
        {
            add(held, 0_u64.wrapping_sub(halves));
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
    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool {
        swap32(word, old, new)
    }

    #[inline(always)]
    fn add(&self, word: &Word64, value: u64) {
        add(word, value);
    }

    #[inline(always)]
    fn add32(&self, word: &Word32, value: u32) -> u32 {
        add32(word, value)
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
    fn meter(&self, number: u32) -> Option<&Meter> {
        METERS.get(number)
    }

    #[inline(always)]
    fn now_steps(&self, is_exact: bool) -> u64 {
        // SAFETY: helpers without arguments.
        let now_ns =
            unsafe { if is_exact { bpf_ktime_get_ns() } else { bpf_jiffies64() * TICK_NS.load() } };
        now_ns * STEPS_PER_NS
    }

    #[inline(always)]
    fn over_limit(&self, meters: Meters, load: Load) -> u32 {
        let Meters { sender, router, receiver } = meters;
        sekisho_over_limit(sender, router, receiver, load.packets, load.bytes)
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
    fn hear(&self, heard: &Heard) -> bool {
        self.is_tracing() || HEARD.output::<Heard>(heard, 0).is_ok()
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
