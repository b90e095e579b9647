//! The entry points: what does the kernel call, and what becomes of the packet?
//!
//! The packet's journey is in `dataplane_common::pipeline`; here each hook lends it
//! the frame and the tables, and does what it says at the end.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "BPF has no stable inline assembly")]

mod frame;
mod heap;
mod maps;
mod refused;
mod tables;
mod tc;
mod words;
mod xdp;

/// Never called: the build refuses an object in which a panic is reachable.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends its GPL-only helpers to programs that declare this.
#[expect(unsafe_code, reason = "the kernel looks for this section by its name")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
