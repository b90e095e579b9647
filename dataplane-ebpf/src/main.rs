//! The entry points: what does the kernel call, and with which packet?
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "aya's entry macros generate functions without comments")]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action::XDP_DROP},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// A frame arriving on a NIC.
#[xdp]
pub fn sekisho_xdp(_frame: XdpContext) -> u32 {
    XDP_DROP
}

/// A frame arriving on a tenant port.
#[classifier]
pub fn sekisho_tc(_frame: TcContext) -> i32 {
    TC_ACT_SHOT
}

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
