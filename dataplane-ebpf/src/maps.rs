//! Where do the tables lie?
//!
//! A *version* of the site lies in the heap, in objects that nobody changes. Userland writes
//! the next version beside the one in force and then stores its number, and where it begins,
//! in [`ROOT`]; a packet reads that word once. Flows and counters are of no version.
#![expect(unsafe_code, reason = "what the loader writes is found by its name")]

use aya_ebpf::{
    Global,
    btf_maps::{self, ArrayOfMaps},
    macros::{btf_map, map},
    maps::{Array, PerCpuArray, RingBuf},
};
use dataplane_common::{
    Work, limits,
    stop::STOPS_STRIDE,
    table::{
        datagram::{Datagram, PARKED_BYTES_MAX, Parked},
        flow::{BUCKET_LINES, FlowCold, FlowLine, FlowMore},
        heap::Line,
        meter::Meter,
        secret::Secret,
        total::{Intent, TOTALS_MAX, Total},
    },
    tables::{COUNTERS, NOTES_MAX, Note, SHARES, Tally},
    word::Word64,
};

/// BPF_F_MMAPABLE: userland reads and writes the array through a mapping.
const MAPPED: u32 = 1 << 10;

/// The version in force ([`dataplane_common::table::root::InForce`]).
#[map]
pub static ROOT: Array<Word64> = Array::with_max_entries(1, MAPPED);

/// What compiled tables lie in: one value of [`HEAP_LINES`], which the loader makes.
#[map]
pub static HEAP: Array<Line> = Array::with_max_entries(1, MAPPED);

/// All sized by the loader for [`FLOW_LINES`].
#[map]
pub static FLOWS: Array<FlowLine> = Array::with_max_entries(limits::FLOW_LINES, MAPPED);
#[map]
pub static FLOWS_COLD: Array<FlowCold> = Array::with_max_entries(limits::FLOW_LINES, MAPPED);
#[map]
pub static FLOWS_MORE: Array<FlowMore> = Array::with_max_entries(limits::FLOW_LINES, MAPPED);
/// How many half-flows of each bucket are in their second one.
#[map]
pub static FLOWS_AWAY: Array<Word64> =
    Array::with_max_entries(limits::FLOW_LINES / BUCKET_LINES, MAPPED);
/// Half-flows that each tenant has.
#[map]
pub static FLOWS_OF_TENANT: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// Datagrams of which fragments are under way.
#[map]
pub static DATAGRAMS: Array<Datagram> = Array::with_max_entries(limits::DATAGRAMS, MAPPED);
/// What the daemon just sent in again.
#[map]
pub static AGAIN: Array<Word64> = Array::with_max_entries(limits::AGAIN, MAPPED);
/// What each tenant has of its [`Share`]s.
#[map]
pub static SHARES_OF_TENANT: Array<Word64> =
    Array::with_max_entries(limits::TENANTS_MAX * SHARES, MAPPED);
/// What flows have carried in all, and what of that is about to be written. No program asks.
#[map]
pub static TOTALS: Array<Total> = Array::with_max_entries(TOTALS_MAX, MAPPED);
#[map]
pub static INTENT: Array<Intent> = Array::with_max_entries(1, MAPPED);
/// When each tenant's next ICMP error is due (see [`Rate`]).
#[map]
pub static REPORTS: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// When each tenant's next copy of a frame is due.
#[map]
pub static COPIES: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// When each tenant's next claim to an address is due.
#[map]
pub static CLAIMS: Array<Word64> = Array::with_max_entries(limits::TENANTS_MAX, MAPPED);
/// Limits of ports and routers, and when their next packet is due.
#[map]
pub static METERS: Array<Meter> = Array::with_max_entries(limits::METERS_MAX, MAPPED);
/// When the next MAC from each NIC's link is due to be heard.
#[map]
pub static HEARD_AT: Array<Word64> = Array::with_max_entries(limits::ATTACHMENTS_MAX, MAPPED);

/// No program asks: whoever writes it has waited until every packet has left that was under way.
#[btf_map]
pub static GRACE: ArrayOfMaps<btf_maps::Array<u32, 1>, 1> = ArrayOfMaps::new();

#[map]
pub static COUNTS: PerCpuArray<Tally> =
    PerCpuArray::with_max_entries(limits::ATTACHMENTS_MAX * COUNTERS as u32, 0);
#[map]
pub static STOPS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(limits::TENANTS_MAX * STOPS_STRIDE, 0);

/// What the daemon has not yet been told.
#[map]
pub static HEARD: RingBuf = RingBuf::with_byte_size(limits::HEARD_BYTES, 0);

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
pub static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);
/// What a tracing program tells; the first word counts.
#[map]
pub static NOTES: Array<Notes> = Array::with_max_entries(1, MAPPED);

/// Set by the loader, as read-only data: the verifier sees constants.
#[unsafe(no_mangle)]
pub static FLOW_LINES: Global<u32> = Global::new(limits::FLOW_LINES);
#[unsafe(no_mangle)]
pub static HEAP_LINES: Global<u32> = Global::new(limits::HEAP_LINES);
#[unsafe(no_mangle)]
pub static SECRET: Global<Secret> = Global::new(Secret::of([0; 2]));
/// Nanoseconds between two of the kernel's ticks.
#[unsafe(no_mangle)]
pub static TICK_NS: Global<u64> = Global::new(4_000_000);
#[unsafe(no_mangle)]
pub static TRACE: Global<u8> = Global::new(0);

/// The trace of one packet.
#[repr(C)]
pub struct Notes {
    pub count: u64,
    pub notes: [Note; NOTES_MAX as usize],
}
/// This CPU's work, which no other program touches while one of ours runs.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    let work = WORK.get_ptr_mut(0)?;
    // SAFETY: one per CPU; programs of one set on one CPU run one after the other,
    // each to its end, with bottom halves off.
    Some(unsafe { &mut *work })
}
