//! tcx on a tenant port, and the delivery of what XDP decided on a NIC.
#![expect(unsafe_code, reason = "metadata, redirects and tail calls are the kernel's pointers")]

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, TC_ACT_OK, TC_ACT_SHOT},
    helpers::{bpf_redirect, bpf_redirect_peer, bpf_skb_change_type},
    macros::{classifier, map},
    maps::ProgramArray,
    programs::TcContext,
};
use aya_log_ebpf::error;
use dataplane_common::{
    Packet, Stop, Tables, Work,
    pipeline::{self, Next},
    table::next_hop::output_kind,
    tables::{Delivery, program},
    work::job,
};

use crate::{
    frame::{TcFrame, pointer},
    maps::work,
    refused,
    tables::KernelTables,
};

/// The programs of a packet's later stages.
#[map]
static TC_STAGES: ProgramArray = ProgramArray::with_max_entries(program::COUNT, 0);

#[classifier]
#[inline(always)]
pub fn sekisho_tc(frame: TcContext) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let Some(tables) = KernelTables::in_force() else { return TC_ACT_SHOT };
    work.begin(tables.version());
    let next = pipeline::enter(&mut TcFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[classifier]
#[inline(always)]
pub fn sekisho_tc_first(frame: TcContext) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let Some(tables) = KernelTables::of(work) else { return TC_ACT_SHOT };
    let next = pipeline::first(&mut TcFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[classifier]
#[inline(always)]
pub fn sekisho_tc_host(frame: TcContext) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let Some(tables) = KernelTables::of(work) else { return TC_ACT_SHOT };
    let next = pipeline::host(&mut TcFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[classifier]
#[inline(always)]
pub fn sekisho_tc_answer(frame: TcContext) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let Some(tables) = KernelTables::of(work) else { return TC_ACT_SHOT };
    let next = pipeline::answer(&mut TcFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[classifier]
#[inline(always)]
pub fn sekisho_tc_flood(frame: TcContext) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let Some(tables) = KernelTables::of(work) else { return TC_ACT_SHOT };
    let next = pipeline::flood(&mut TcFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

#[classifier]
#[inline(always)]
pub fn sekisho_tc_fragment(frame: TcContext) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let Some(tables) = KernelTables::of(work) else { return TC_ACT_SHOT };
    let next = pipeline::fragment(&mut TcFrame::new(&frame), &tables, work);
    go_on(&frame, &tables, work, next)
}

/// On a NIC with our XDP program: delivers what it decided.
#[classifier]
#[inline(always)]
pub fn sekisho_tc_deliver(frame: TcContext) -> i32 {
    let start = pointer::<{ offset_of!(__sk_buff, data_meta) }>(frame.as_ptr());
    let end = pointer::<{ offset_of!(__sk_buff, data) }>(frame.as_ptr());
    if start + size_of::<Delivery>() <= end {
        // SAFETY: the bounds are compared above; only our XDP program writes metadata here.
        let delivery = unsafe { *(start as *const Delivery) };
        if delivery.is_ours() && delivery.kind() == output_kind::HOST {
            return TC_ACT_OK;
        }
        if delivery.is_ours() {
            return send(&frame, delivery.output, delivery.ifindex, delivery.kind());
        }
    }
    if let Some(tables) = KernelTables::in_force() {
        tables.count_stop(0, Stop::DeliveryMissing, 1);
    }
    TC_ACT_SHOT
}

/// Does what the pipeline says.
#[inline(always)]
fn go_on(frame: &TcContext, tables: &KernelTables, work: &mut Work, next: Next) -> i32 {
    let stage = match next {
        Next::Emit => {
            // A frame that grew at its front has its network header where it was:
            // the kernel would take the quoted packet for the packet if it entered
            // the peer as it is. Sent by the device, it is looked at anew.
            let is_error = work.job == job::ERROR;
            let kind = if is_error { output_kind::DEVICE } else { work.out.kind };
            return send(frame, work.output, work.out.ifindex, kind);
        }
        Next::Stopped(stop) => {
            if stop == Stop::TableMissing {
                tell(frame.as_ptr().cast(), work.attachment, work.sender, work.key.zone());
            }
            return TC_ACT_SHOT;
        }
        Next::Heard | Next::Flooded | Next::Parked => return TC_ACT_SHOT,
        Next::Passed => return TC_ACT_OK,
        Next::First => program::FIRST,
        Next::Answer => program::ANSWER,
        Next::Flood => program::FLOOD,
        Next::Fragment => program::FRAGMENT,
        Next::Host => program::HOST,
    };
    // SAFETY: the array holds programs of this type only; a call that succeeds does not return.
    unsafe { TC_STAGES.tail_call(frame, stage) };
    let packets = TcFrame::new(frame).segments();
    tables.count_stop(work.tenant, Stop::StageMissing, packets);
    tell(frame.as_ptr().cast(), work.attachment, work.sender, work.key.zone());
    TC_ACT_SHOT
}

/// Sends the frame into the peer of a veth, or out of an interface.
#[inline(always)]
fn send(frame: &TcContext, output: u32, ifindex: u32, kind: u32) -> i32 {
    refused::give(frame, output);
    if kind == output_kind::PEER {
        let raw: *mut __sk_buff = frame.as_ptr().cast();
        // The packet enters the peer as it is, without a look at its MAC: the kernel
        // would take it for another host's, since it was addressed to our router.
        // SAFETY: a context field and a helper that only changes the packet's type.
        unsafe {
            if (*raw).pkt_type != PACKET_HOST {
                bpf_skb_change_type(raw, PACKET_HOST);
            }
            return bpf_redirect_peer(ifindex, 0) as i32;
        }
    }
    // SAFETY: a helper that notes where the packet goes.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

/// The packet is for this host (include/uapi/linux/if_packet.h).
const PACKET_HOST: u32 = 0;

/// Tells of a defect of ours, which the counted stop names. A function of its own,
/// with the kernel's pointer: what it needs of the stack is then not asked of every
/// packet's ("combined stack size of 3 calls is 528. Too large").
#[inline(never)]
fn tell(frame: *mut __sk_buff, attachment: u32, endpoint: u32, zone: u32) {
    let frame = TcContext::new(frame);
    error!(
        &frame,
        "stopped by a defect: attachment {}, endpoint {}, zone {}", attachment, endpoint, zone
    );
}
