//! Compiled tables, as programs read them.
#![expect(unsafe_code, reason = "the kernel finds a function that it verifies once by its name")]

use dataplane_common::table::{
    heap::{Heap, Line},
    lpm,
};

use crate::{maps::HEAP, words::known};

/// The heap.
pub struct KernelHeap;

impl Heap for KernelHeap {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        let line = HEAP.get(index)?;
        // What is reckoned from it stays behind the look whether it is there ("R1 pointer
        // arithmetic on map_value_or_null prohibited, null-check it first").
        Some(known(line))
    }
}

/// The value of the longest prefix. With a name that others may use, and numbers alone in and
/// out, it is verified by itself and once, not with all that a caller knows, for each of its
/// calls ("BPF program is too large. Processed 1000001 insn").
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sekisho_longest(table: u32, high: u64, low: u64) -> u32 {
    lpm::longest(&KernelHeap, table, [high, low])
}
