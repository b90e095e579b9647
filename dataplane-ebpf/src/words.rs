//! How is a word changed that other CPUs change too, and what is done many times?
//!
//! BPF has instructions for the one and a helper for the other; neither has a place in
//! the language.
#![expect(unsafe_code, reason = "atomic instructions, and a function that the kernel calls")]

use core::arch::asm;

use aya_ebpf::helpers::bpf_loop;
use dataplane_common::word::{Word32, Word64};

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

/// Adds to a word of 32 bits that other CPUs add to; answers the sum.
#[inline(always)]
pub fn add32(word: &Word32, value: u32) -> u32 {
    let old: u64;
    // SAFETY: as in `add`.
    unsafe {
        asm!(
            "w2 = atomic_fetch_add((u32 *)(r1 + 0), w2)",
            in("r1") word.as_ptr(),
            inlateout("r2") u64::from(value) => old,
            options(nostack),
        );
    }
    (old as u32).wrapping_add(value)
}

/// Replaces a word if it is still `old`.
#[inline(always)]
pub fn swap(word: &Word64, old: u64, new: u64) -> bool {
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

/// The same of a word of 32 bits.
#[inline(always)]
pub fn swap32(word: &Word32, old: u32, new: u32) -> bool {
    let found: u32;
    // SAFETY: as in `swap`.
    unsafe {
        asm!(
            "w0 = w2",
            "w0 = cmpxchg32_32(r1 + 0, w0, w3)",
            in("r1") word.as_ptr(),
            in("r2") u64::from(old),
            in("r3") u64::from(new),
            lateout("r0") found,
            options(nostack),
        );
    }
    found == old
}

/// The same, of which the compiler knows no more than that.
#[inline(always)]
pub fn known<T>(it: &T) -> &T {
    let known: *const T;
    // SAFETY: a copy of the reference. An instruction it has to be: without one the line
    // information of two places falls together ("Invalid line_info[127].insn_off").
    unsafe {
        asm!("{0} = {1}", out(reg) known, in(reg) core::ptr::from_ref(it), options(readonly, nostack));
        &*known
    }
}

/// Does the step for each number below `count`; the kernel calls it, so that the verifier
/// looks at it once and not for each.
#[inline(always)]
pub fn each<F: FnMut(u32) -> bool>(count: u32, mut step: F) {
    unsafe extern "C" fn call<F: FnMut(u32) -> bool>(index: u64, step: *mut F) -> i64 {
        // SAFETY: `each` passed its own step.
        let step = unsafe { &mut *step };
        i64::from(!step(index as u32))
    }
    let call: unsafe extern "C" fn(u64, *mut F) -> i64 = call::<F>;
    // SAFETY: the kernel calls it with this pointer, on this stack, `count` times at most.
    unsafe { bpf_loop(count, call as *mut _, core::ptr::from_mut(&mut step).cast(), 0) };
}
