//! Compiled tables, as programs read them.
#![expect(unsafe_code, reason = "lines of one value, and functions found by their names")]

use dataplane_common::{
    addr::Addr,
    table::{
        classifier::{self, Asked},
        heap::{Heap, Line},
        lpm,
    },
};

use crate::{
    maps::{HEAP, HEAP_LINES},
    words::known,
};

/// The heap: one value, looked up once a packet. From there on a line is an addition.
pub struct KernelHeap {
    first: &'static Line,
}

impl KernelHeap {
    /// It is there whenever a program runs; the verifier does not know that.
    #[inline(always)]
    pub fn open() -> Option<Self> {
        // What is reckoned from it stays behind the look whether it is there ("R1 pointer
        // arithmetic on map_value_or_null prohibited, null-check it first").
        Some(Self { first: known(HEAP.get(0)?) })
    }
}

impl Heap for KernelHeap {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        let at = index & (HEAP_LINES.load() - 1);
        // SAFETY: the loader made the value of so many lines, a power of two.
        Some(unsafe { &*core::ptr::from_ref(self.first).add(at as usize) })
    }
}

/// Asks [`sekisho_first_rule`].
#[inline(always)]
pub fn first_rule(table: u32, asked: &Asked) -> u32 {
    let [high, low] = asked.addr.words();
    let service = u32::from(asked.protocol) << 16 | u32::from(asked.port);
    let whose = asked.class << 1 | u32::from(asked.lines_only);
    sekisho_first_rule(table, high, low, service, whose)
}

/// The value of the longest prefix. With a name that others may use, and numbers alone in and
/// out, it is verified by itself and once, not with all that a caller knows, for each of its
/// calls ("BPF program is too large. Processed 1000001 insn").
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sekisho_longest(table: u32, high: u64, low: u64) -> u32 {
    KernelHeap::open().map_or(0, |heap| lpm::longest(&heap, table, [high, low]))
}

/// The first rule of a policy, likewise. A function takes five numbers at most: `service` is
/// the protocol and the port, `whose` the class and, lowest, whether lines count alone. It has
/// the longest prefix in itself: as one call more, it would take too much of the flood's stack on
/// Linux 6.1, which rounds each function's up to 32 bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sekisho_first_rule(
    table: u32,
    high: u64,
    low: u64,
    service: u32,
    whose: u32,
) -> u32 {
    let asked = Asked {
        protocol: (service >> 16) as u8,
        port: service as u16,
        addr: Addr::from_words([high, low]),
        class: whose >> 1,
        lines_only: whose & 1 != 0,
    };
    KernelHeap::open().and_then(|heap| classifier::find(&heap, table, &asked)).unwrap_or(0)
}
