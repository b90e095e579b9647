//! XDP on a NIC: the frame as the driver has it.
#![expect(unsafe_code, reason = "metadata and tail calls are the kernel's pointers")]

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
        xdp_md,
    },
    helpers::bpf_xdp_adjust_meta,
    macros::{map, xdp},
    maps::{ProgramArray, xdp::DevMapHash},
    programs::XdpContext,
};
use aya_log_ebpf::error;
use dataplane_common::{
    Packet, Stop, Tables, Work, limits,
    pipeline::{self, Next},
    table::next_hop::output_kind,
    tables::{Delivery, program},
};

use crate::{
    frame::{XdpFrame, pointer},
    maps::work,
    tables::{KernelTables, now_ticks},
};

/// The programs of a packet's later stages.
#[map]
static XDP_STAGES: ProgramArray = ProgramArray::with_max_entries(program::COUNT, 0);
/// NICs that frames may be sent to, by their ifindex.
#[map]
static NICS: DevMapHash = DevMapHash::with_max_entries(limits::ATTACHMENTS_MAX, 0);

#[xdp]
#[inline(always)]
pub fn sekisho_xdp(frame: XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_DROP };
    let Some(tables) = KernelTables::in_force() else { return XDP_DROP };
    work.begin(tables.version());
    let next = pipeline::enter(&mut XdpFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[xdp]
#[inline(always)]
pub fn sekisho_xdp_first(frame: XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_DROP };
    let Some(tables) = KernelTables::of(work) else { return XDP_DROP };
    let next = pipeline::first(&mut XdpFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[xdp]
#[inline(always)]
pub fn sekisho_xdp_host(frame: XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_DROP };
    let Some(tables) = KernelTables::of(work) else { return XDP_DROP };
    let next = pipeline::host(&mut XdpFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[xdp]
#[inline(always)]
pub fn sekisho_xdp_answer(frame: XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_DROP };
    let Some(tables) = KernelTables::of(work) else { return XDP_DROP };
    let next = pipeline::answer(&mut XdpFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[xdp]
#[inline(always)]
pub fn sekisho_xdp_fragment(frame: XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_DROP };
    let Some(tables) = KernelTables::of(work) else { return XDP_DROP };
    let next = pipeline::fragment(&mut XdpFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

/// What time is it in flows? The daemon runs it to ask.
#[xdp]
pub fn sekisho_clock(_: XdpContext) -> u32 {
    now_ticks()
}

/// The daemon sends a frame in again where tcx sees it next.
#[xdp]
pub fn sekisho_xdp_again(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Does what the pipeline says.
#[inline(always)]
fn go_on(frame: &XdpContext, tables: &KernelTables, work: &mut Work, next: Next) -> u32 {
    let stage = match next {
        Next::Emit => return emit(frame, tables, work),
        Next::Stopped(stop) => {
            if stop == Stop::TableMissing {
                tell(frame.as_ptr().cast(), work.attachment, work.sender, work.key.zone());
            }
            return XDP_DROP;
        }
        Next::Heard | Next::Flooded | Next::Parked => return XDP_DROP,
        Next::Passed => return deliver(frame, tables, work, Delivery::to_host()),
        Next::First => program::FIRST,
        Next::Answer => program::ANSWER,
        Next::Flood => program::FLOOD,
        Next::Fragment => program::FRAGMENT,
        Next::Host => program::HOST,
    };
    // SAFETY: the array holds programs of this type only; a call that succeeds does not return.
    unsafe { XDP_STAGES.tail_call(frame, stage) };
    tables.count_stop(work.tenant, Stop::StageMissing, 1);
    tell(frame.as_ptr().cast(), work.attachment, work.sender, work.key.zone());
    XDP_DROP
}

/// NIC to NIC by the device map; to a tenant port through the program at tcx of
/// this NIC, which finds the decision in the frame's metadata.
#[inline(always)]
fn emit(frame: &XdpContext, tables: &KernelTables, work: &Work) -> u32 {
    let output = &work.out;
    let bytes = XdpFrame::new(frame).bytes();
    if output.kind == output_kind::NIC {
        return match NICS.redirect(output.ifindex, u64::from(XDP_DROP)) {
            Ok(_) => XDP_REDIRECT,
            Err(_) => {
                tables.stays(work, bytes, Stop::OutputAbsent);
                XDP_DROP
            }
        };
    }
    deliver(frame, tables, work, Delivery::new(work.output, output))
}

/// Tells the program at tcx of this NIC what was decided.
#[inline(always)]
fn deliver(frame: &XdpContext, tables: &KernelTables, work: &Work, delivery: Delivery) -> u32 {
    let bytes = XdpFrame::new(frame).bytes();
    // SAFETY: the context is the kernel's own; a refusal changes nothing.
    let refused =
        unsafe { bpf_xdp_adjust_meta(frame.as_ptr().cast(), -(size_of::<Delivery>() as i32)) };
    let start = pointer::<{ offset_of!(xdp_md, data_meta) }>(frame.as_ptr());
    let end = pointer::<{ offset_of!(xdp_md, data) }>(frame.as_ptr());
    if refused != 0 || start + size_of::<Delivery>() > end {
        tables.stays(work, bytes, Stop::ResizeRefused);
        return XDP_DROP;
    }
    // SAFETY: the bounds are compared above, and the area is four-byte aligned.
    unsafe { *(start as *mut Delivery) = delivery };
    XDP_PASS
}

/// Tells of a defect of ours, which the counted stop names. A function of its own,
/// with the kernel's pointer: what it needs of the stack is then not asked of every
/// packet's ("combined stack size of 3 calls is 528. Too large").
#[inline(never)]
fn tell(frame: *mut xdp_md, attachment: u32, endpoint: u32, zone: u32) {
    let frame = XdpContext::new(frame);
    error!(
        &frame,
        "stopped by a defect: attachment {}, endpoint {}, zone {}", attachment, endpoint, zone
    );
}
