//! How is a word read and written that other CPUs, or userland's mapping, write too?
//!
//! BPF has no atomic type of 32 bits, and its compiler no ordered load. Volatile
//! accesses are neither torn, repeated nor left out there, and program order holds
//! between them on x86-64, whose stores are seen in order. On other hosts (the tests
//! and the sweeper) they are the standard library's acquire and release.
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "volatile access to a shared word"))]

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

macro_rules! word {
    ($(#[doc = $doc:literal])+ $name:ident, $number:ty, $atomic:ident) => {
        $(#[doc = $doc])+
        #[repr(transparent)]
        #[derive(Default, Debug)]
        pub struct $name(
            #[cfg(target_arch = "bpf")] core::cell::UnsafeCell<$number>,
            #[cfg(not(target_arch = "bpf"))] core::sync::atomic::$atomic,
        );

        // SAFETY: every access is volatile or a BPF atomic instruction; see the module.
        #[cfg(target_arch = "bpf")]
        unsafe impl Sync for $name {}

        impl $name {
            /// The value now; later accesses stay behind it.
            #[inline(always)]
            pub fn load(&self) -> $number {
                #[cfg(target_arch = "bpf")]
                // SAFETY: an aligned word that lives as long as `self`.
                return unsafe { self.0.get().read_volatile() };
                #[cfg(not(target_arch = "bpf"))]
                self.0.load(Acquire)
            }

            /// Writes the value; earlier accesses stay before it.
            #[inline(always)]
            pub fn store(&self, value: $number) {
                #[cfg(target_arch = "bpf")]
                // SAFETY: as in `load`.
                unsafe { self.0.get().write_volatile(value) };
                #[cfg(not(target_arch = "bpf"))]
                self.0.store(value, Release);
            }

            /// Where the word is, for BPF's atomic instructions.
            #[cfg(target_arch = "bpf")]
            #[inline(always)]
            pub const fn as_ptr(&self) -> *mut $number {
                self.0.get()
            }

            /// Replaces the value if it is still `old`.
            #[cfg(not(target_arch = "bpf"))]
            pub fn swap(&self, old: $number, new: $number) -> bool {
                self.0.compare_exchange(old, new, AcqRel, Acquire).is_ok()
            }

            /// Adds, wrapping round.
            #[cfg(not(target_arch = "bpf"))]
            pub fn add(&self, value: $number) {
                self.0.fetch_add(value, Relaxed);
            }
        }
    };
}

word! {
    /// A shared word of 32 bits.
    Word32, u32, AtomicU32
}
word! {
    /// A shared word of 64 bits.
    Word64, u64, AtomicU64
}
