//! Programs of the benchmarks: how long does the kernel take for one lookup?
//!
//! Not in the object that is shipped. Each program does the same to many prepared inputs, one
//! after the other: the next one is not known before the last result is. `bench_none` does
//! nothing to them, to be subtracted.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the maps are found by name, and lend their memory")]

use core::ffi::c_void;

use aya_ebpf::{
    bindings::xdp_action,
    helpers::bpf_loop,
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};
use dataplane_common::table::heap::{Heap, Line};

mod classify;
mod route;

/// BPF_F_MMAPABLE, as the tables' are.
const MAPPED: u32 = 1 << 10;

/// Where compiled objects lie, in one value as in the programs that are shipped.
#[map]
static HEAP: Array<[Line; HEAP_LINES]> = Array::with_max_entries(1, MAPPED);
/// 256 MiB.
const HEAP_LINES: usize = 1 << 22;
/// Two words each: addresses, or whatever a program looks up; sized by the loader.
#[map]
static INPUTS: Array<[u64; 2]> = Array::with_max_entries(1, MAPPED);
/// What is asked of a run.
#[map]
static ASK: Array<Ask> = Array::with_max_entries(1, MAPPED);

/// What is asked of a run; userland writes it as four words.
#[repr(C)]
struct Ask {
    /// An object of the heap.
    object: u32,
    /// The first input, and how many.
    start: u32,
    count: u32,
    /// Inputs are counted round, a power of two of them.
    mask: u32,
}

/// A run under way.
struct Run {
    object: u32,
    at: u32,
    mask: u32,
    sum: u32,
}

impl Run {
    /// The next input.
    #[inline(always)]
    fn input(&self) -> Option<&'static [u64; 2]> {
        INPUTS.get(self.at & self.mask)
    }

    /// Counts a result, which is smaller than 2^31, and goes on.
    #[inline(always)]
    fn result(&mut self, value: u32) {
        self.sum = self.sum.wrapping_mul(31).wrapping_add(value);
        self.at = self.at.wrapping_add(1).wrapping_add(value >> 31);
    }
}

/// Does `step` to as many inputs as is asked; the packet's fate is a sum of the results.
#[inline(always)]
fn run(step: unsafe extern "C" fn(u32, &mut Run) -> i64) -> u32 {
    let Some(&Ask { object, start, count, mask }) = ASK.get(0) else {
        return xdp_action::XDP_ABORTED;
    };
    let mut run = Run { object, at: start, mask, sum: start };
    let state: *mut c_void = core::ptr::from_mut(&mut run).cast();
    // SAFETY: the kernel calls the step with this state only, and is done when it returns.
    unsafe { bpf_loop(count, step as *mut c_void, state, 0) };
    run.sum
}

/// The heap of compiled objects.
struct Objects;

impl Heap for Objects {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        HEAP.get(0)?.get(index as usize & (HEAP_LINES - 1))
    }
}

#[xdp]
fn bench_none(_: XdpContext) -> u32 {
    run(none)
}

unsafe extern "C" fn none(_: u32, run: &mut Run) -> i64 {
    let Some(&[high, low]) = run.input() else { return 1 };
    run.result(((high ^ low) >> 33) as u32);
    0
}

/// Never called: the build refuses an object in which a panic is reachable.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As of the programs that are shipped.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
