//! How is a frame read and changed at the two hooks?
//!
//! Both hooks give a pointer and an end. Headers are lent as typed references at
//! an offset, after one comparison that the verifier understands; slices it does
//! not. Whatever moves the frame (pull, adjust, push) voids all references, which
//! `&mut self` enforces.
#![expect(unsafe_code, reason = "packet memory is reached through the kernel's pointers")]

use core::{arch::asm, ffi::c_void, mem::offset_of};

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, BPF_RB_AVAIL_DATA, xdp_md},
    helpers::{
        bpf_clone_redirect, bpf_loop, bpf_skb_change_head, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_pull_data, bpf_skb_vlan_pop, bpf_skb_vlan_push, bpf_xdp_adjust_head,
        bpf_xdp_adjust_tail, bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};
use dataplane_common::{
    Packet, Stop,
    checksum::Sum,
    packet::{OuterTag, SUM_BYTES_MAX},
    table::datagram::{PARKED_BYTES_MAX, Parked},
    wire::{
        Wire,
        ethernet::{
            CUSTOMER_TAG, ETHERNET_BYTES, Ethernet, SERVICE_TAG, TAG_BYTES, Tag, VLAN_MASK,
            customer_vlan, service_vlan, vlans,
        },
    },
};

use crate::maps::{PARKED, ParkedFrame};

/// No header that we look at begins further in. The verifier has to see a bound on
/// a variable offset before it lets it be added to a packet pointer ("math between
/// pkt pointer and register with unbounded min value is not allowed").
const OFFSET_MAX: u32 = 0x0fff;

/// The header of type `T` at `offset`, if it lies between `data` and `end`.
#[inline(always)]
fn header<T: Wire>(data: usize, end: usize, offset: u32) -> Option<*mut T> {
    if offset > OFFSET_MAX {
        return None;
    }
    let start = data + offset as usize;
    if start + size_of::<T>() > end { None } else { Some(start as *mut T) }
}

/// The same offset, as Linux 6.1 sees that it is bounded: in `sekisho_tc_answer` and
/// `sekisho_xdp_first` the compiler compares one copy and adds another ("R8 offset is
/// outside of the packet").
#[inline(always)]
fn bounded(offset: u32) -> Option<u32> {
    if offset > OFFSET_MAX {
        return None;
    }
    let mut offset = offset as usize;
    // SAFETY: arithmetic in a register of its own, which changes nothing.
    unsafe {
        asm!(
            "{offset} &= {max}",
            offset = inout(reg) offset,
            max = const OFFSET_MAX,
            options(pure, nomem, nostack),
        );
    }
    Some(offset as u32)
}

/// The address in a pointer field of a context. The compiler sees a 32-bit load, the
/// verifier 64-bit pointers: kept in half a register they are refused ("invalid size
/// of register spill", "32-bit pointer arithmetic prohibited"), so the load is ours.
/// It is made anew after whatever may write memory, since helpers move the frame.
#[inline(always)]
pub fn pointer<const OFFSET: usize>(context: *mut c_void) -> usize {
    let address: usize;
    // SAFETY: reads a field of the kernel's own context.
    unsafe {
        asm!(
            "{address} = *(u32 *)({context} + {offset})",
            address = lateout(reg) address,
            context = in(reg) context,
            offset = const OFFSET,
            options(pure, readonly, nostack),
        );
    }
    address
}

/// Puts a frame of so many bytes into the ring for the daemon, unless that is too full.
#[inline(always)]
fn park(
    parked: &Parked,
    unread_bytes_max: u32,
    (bytes, tag): (u32, u32),
    copy: impl FnOnce(*mut c_void, u32) -> i64,
) -> bool {
    if PARKED.query(u64::from(BPF_RB_AVAIL_DATA)) > u64::from(unread_bytes_max) {
        return false;
    }
    // The bounds as the verifier sees them: of a comparison Linux 6.1 forgets what it says of
    // a copy ("R3 min value is outside of the allowed memory range").
    let mut copied = bytes as usize;
    // SAFETY: arithmetic in a register of its own, which changes nothing.
    unsafe {
        asm!(
            "{copied} += -1",
            "{copied} &= {mask}",
            "{copied} += 1",
            copied = inout(reg) copied,
            mask = const PARKED_BYTES_MAX - 1,
            options(pure, nomem, nostack),
        );
    }
    let Some(mut entry) = PARKED.reserve::<ParkedFrame>(0) else { return false };
    let to: *mut ParkedFrame = entry.as_mut_ptr();
    // SAFETY: the kernel's own memory, of this size, until it is submitted.
    let refused = unsafe {
        (*to).parked = Parked { bytes, tag, ..*parked };
        copy((&raw mut (*to).frame).cast(), copied as u32)
    };
    if refused != 0 {
        entry.discard(0);
        return false;
    }
    // The daemon is woken.
    entry.submit(0);
    true
}

/// A sum in the making: the kernel calls [`Summing::step`] for each quad. As a loop of
/// our own it would be verified anew for every state that it is entered in.
struct Summing<const DATA: usize, const END: usize> {
    context: *mut c_void,
    offset: u64,
    sum: u64,
    is_cut: u64,
}

impl<const DATA: usize, const END: usize> Summing<DATA, END> {
    #[inline(always)]
    fn run(context: *mut c_void, offset: u32, bytes: u32) -> Result<Sum, Stop> {
        let mut summing = Self { context, offset: u64::from(offset), sum: 0, is_cut: 0 };
        let bytes = if bytes < SUM_BYTES_MAX { bytes } else { SUM_BYTES_MAX };
        let step: unsafe extern "C" fn(u64, *mut Self) -> i64 = Self::step;
        let state = core::ptr::from_mut(&mut summing).cast();
        // SAFETY: the kernel calls `step` with this pointer, on this stack.
        unsafe { bpf_loop(bytes / 4, step as *mut _, state, 0) };
        if summing.is_cut == 0 { Ok(Sum::begun(summing.sum)) } else { Err(Stop::Truncated) }
    }

    unsafe extern "C" fn step(index: u64, state: *mut Self) -> i64 {
        // SAFETY: `run` passed its own state.
        let state = unsafe { &mut *state };
        let offset = state.offset + index * 4;
        let data = pointer::<DATA>(state.context);
        let end = pointer::<END>(state.context);
        let Some(quad) = header::<[u8; 4]>(data, end, offset as u32) else {
            state.is_cut = 1;
            return 1;
        };
        // SAFETY: inside the frame.
        state.sum += u64::from(u32::from_ne_bytes(unsafe { *quad }));
        0
    }
}

type XdpSumming = Summing<{ offset_of!(xdp_md, data) }, { offset_of!(xdp_md, data_end) }>;
type TcSumming = Summing<{ offset_of!(__sk_buff, data) }, { offset_of!(__sk_buff, data_end) }>;

/// A frame at XDP: linear, its tags in place.
pub struct XdpFrame<'c> {
    context: &'c XdpContext,
}

impl<'c> XdpFrame<'c> {
    #[inline(always)]
    pub fn new(context: &'c XdpContext) -> Self {
        Self { context }
    }

    #[inline(always)]
    fn raw(&self) -> *mut xdp_md {
        self.context.as_ptr().cast()
    }

    #[inline(always)]
    fn data(&self) -> usize {
        pointer::<{ offset_of!(xdp_md, data) }>(self.context.as_ptr())
    }

    #[inline(always)]
    fn end(&self) -> usize {
        pointer::<{ offset_of!(xdp_md, data_end) }>(self.context.as_ptr())
    }

    /// Moves the beginning of the frame: negative `bytes` make room.
    #[inline(always)]
    fn move_front(&mut self, bytes: i32) -> Result<(), Stop> {
        // SAFETY: the context is the kernel's own; a refusal changes nothing.
        let refused = unsafe { bpf_xdp_adjust_head(self.raw(), bytes) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }
}

impl XdpFrame<'_> {
    /// Writes the addresses and all tags anew. A tag that was there keeps its priority.
    #[inline(always)]
    fn retag(&mut self, vlans: u32, inline_bytes: u32) -> Result<(), Stop> {
        let mut ethernet = *self.get::<Ethernet>(0).ok_or(Stop::Truncated)?;
        let (mut outer, mut inner, mut ethertype) = (0, 0, ethernet.ethertype);
        let mut at = ETHERNET_BYTES;
        if inline_bytes > TAG_BYTES {
            outer = priority(self.get::<Tag>(at).ok_or(Stop::Truncated)?);
            at += TAG_BYTES;
        }
        if inline_bytes != 0 {
            let tag = self.get::<Tag>(at).ok_or(Stop::Truncated)?;
            (inner, ethertype) = (priority(tag), tag.ethertype);
        }
        let (service, customer) = (service_vlan(vlans), customer_vlan(vlans));
        let bytes = match (service, customer) {
            (0, 0) => 0,
            (0, _) => TAG_BYTES,
            _ => 2 * TAG_BYTES,
        };
        self.move_front(inline_bytes as i32 - bytes as i32)?;
        let mut at = ETHERNET_BYTES;
        if service != 0 {
            ethernet.ethertype = SERVICE_TAG;
            let tci = (outer | service).to_be_bytes();
            self.put_tag(at, Tag { tci, ethertype: CUSTOMER_TAG })?;
            at += TAG_BYTES;
        } else if customer != 0 {
            ethernet.ethertype = CUSTOMER_TAG;
        } else {
            ethernet.ethertype = ethertype;
        }
        if customer != 0 {
            self.put_tag(at, Tag { tci: (inner | customer).to_be_bytes(), ethertype })?;
        }
        *self.get_mut::<Ethernet>(0).ok_or(Stop::Truncated)? = ethernet;
        Ok(())
    }

    #[inline(always)]
    fn put_tag(&mut self, at: u32, tag: Tag) -> Result<(), Stop> {
        *self.get_mut::<Tag>(at).ok_or(Stop::Truncated)? = tag;
        Ok(())
    }
}

/// All of a tag's information but its VLAN.
#[inline(always)]
fn priority(tag: &Tag) -> u16 {
    u16::from_be_bytes(tag.tci) & !VLAN_MASK
}

impl Packet for XdpFrame<'_> {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        (self.end() - self.data()) as u32
    }

    #[inline(always)]
    fn need(&mut self, _: u32) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn get<T: Wire>(&self, offset: u32) -> Option<&T> {
        let header = header::<T>(self.data(), self.end(), bounded(offset)?)?;
        // SAFETY: inside the frame, of alignment 1, valid for all bits (`Wire`); changes need `&mut self`.
        Some(unsafe { &*header })
    }

    #[inline(always)]
    fn get_mut<T: Wire>(&mut self, offset: u32) -> Option<&mut T> {
        let header = header::<T>(self.data(), self.end(), bounded(offset)?)?;
        // SAFETY: as in `get`, and `&mut self` keeps it the only reference.
        Some(unsafe { &mut *header })
    }

    #[inline(always)]
    fn sum(&self, offset: u32, bytes: u32) -> Result<Sum, Stop> {
        XdpSumming::run(self.context.as_ptr(), offset, bytes)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: a context field, which the verifier turns into a load.
        unsafe { (*self.raw()).ingress_ifindex }
    }

    #[inline(always)]
    fn outer_tag(&self) -> Option<OuterTag> {
        None
    }

    #[inline(always)]
    fn set_vlans(&mut self, vlans: u32, inline_bytes: u32) -> Result<(), Stop> {
        if vlans == 0 && inline_bytes == 0 {
            return Ok(());
        }
        if service_vlan(vlans) != 0 || inline_bytes > TAG_BYTES {
            return stopped(retag_xdp(self.raw(), vlans, inline_bytes));
        }
        let vlan = customer_vlan(vlans);
        if inline_bytes != 0 && vlan != 0 {
            let tag = self.get_mut::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)?;
            let priority = u16::from_be_bytes(tag.tci) & !VLAN_MASK;
            tag.tci = (priority | vlan).to_be_bytes();
        } else if inline_bytes != 0 {
            let mut ethernet = *self.get::<Ethernet>(0).ok_or(Stop::Truncated)?;
            ethernet.ethertype = self.get::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)?.ethertype;
            *self.get_mut::<Ethernet>(TAG_BYTES).ok_or(Stop::Truncated)? = ethernet;
            self.move_front(TAG_BYTES as i32)?;
        } else {
            self.move_front(-(TAG_BYTES as i32))?;
            let mut ethernet = *self.get::<Ethernet>(TAG_BYTES).ok_or(Stop::Truncated)?;
            let tag = Tag { tci: vlan.to_be_bytes(), ethertype: ethernet.ethertype };
            ethernet.ethertype = CUSTOMER_TAG;
            *self.get_mut::<Ethernet>(0).ok_or(Stop::Truncated)? = ethernet;
            *self.get_mut::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)? = tag;
        }
        Ok(())
    }

    #[inline(always)]
    fn can_copy(&self) -> bool {
        false
    }

    #[inline(always)]
    fn copy_to(&mut self, _: u32) -> bool {
        false
    }

    #[inline(always)]
    fn set_bytes(&mut self, bytes: u32) -> Result<(), Stop> {
        let change = bytes as i32 - self.bytes() as i32;
        // SAFETY: as in `move_front`.
        let refused = unsafe { bpf_xdp_adjust_tail(self.raw(), change) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: u32) -> Result<(), Stop> {
        self.move_front(-(bytes as i32))
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        1
    }

    #[inline(always)]
    fn park(&mut self, parked: &Parked, unread_bytes_max: u32) -> bool {
        let bytes = self.bytes();
        let raw = self.raw();
        // SAFETY: a helper that copies `bytes` bytes of the frame to where there is room.
        park(parked, unread_bytes_max, (bytes, 0), |to, bytes| unsafe {
            bpf_xdp_load_bytes(raw, 0, to, bytes)
        })
    }

    #[inline(always)]
    fn may_be_partial(&self) -> bool {
        false
    }
}

/// A frame at tcx: its outer tag beside it, its tail perhaps elsewhere, its checksum
/// perhaps still to be completed.
pub struct TcFrame<'c> {
    context: &'c TcContext,
}

impl<'c> TcFrame<'c> {
    #[inline(always)]
    pub fn new(context: &'c TcContext) -> Self {
        Self { context }
    }

    #[inline(always)]
    fn raw(&self) -> *mut __sk_buff {
        self.context.as_ptr().cast()
    }

    #[inline(always)]
    fn data(&self) -> usize {
        pointer::<{ offset_of!(__sk_buff, data) }>(self.context.as_ptr())
    }

    #[inline(always)]
    fn end(&self) -> usize {
        pointer::<{ offset_of!(__sk_buff, data_end) }>(self.context.as_ptr())
    }
}

impl TcFrame<'_> {
    /// Takes all tags off and puts the right ones on, unless they are right already. The kernel
    /// keeps the outermost beside the frame, whichever is pushed or popped.
    #[inline(always)]
    fn retag(&mut self, vlans: u32, inline_bytes: u32) -> Result<(), Stop> {
        let beside = self.outer_tag();
        if let Some(outer) = beside
            && self.has(outer, vlans, inline_bytes)
        {
            return Ok(());
        }
        let count = inline_bytes / TAG_BYTES + if beside.is_some() { 1 } else { 0 };
        if count > 0 {
            self.pop()?;
        }
        if count > 1 {
            self.pop()?;
        }
        let (service, customer) = (service_vlan(vlans), customer_vlan(vlans));
        if customer != 0 {
            self.push(CUSTOMER_TAG, customer)?;
        }
        if service != 0 { self.push(SERVICE_TAG, service) } else { Ok(()) }
    }

    /// Has the frame both of these tags, the outer one beside it?
    #[inline(always)]
    fn has(&self, outer: OuterTag, tags: u32, inline_bytes: u32) -> bool {
        let Some(inner) = self.get::<Tag>(ETHERNET_BYTES) else { return false };
        let customer = u16::from_be_bytes(inner.tci) & VLAN_MASK;
        inline_bytes == TAG_BYTES && vlans(outer.tci & VLAN_MASK, customer) == tags
    }

    #[inline(always)]
    fn pop(&mut self) -> Result<(), Stop> {
        // SAFETY: the context is the kernel's own; a refusal changes nothing.
        let refused = unsafe { bpf_skb_vlan_pop(self.raw()) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }

    #[inline(always)]
    fn push(&mut self, protocol: [u8; 2], vlan: u16) -> Result<(), Stop> {
        // SAFETY: as in `pop`.
        let refused = unsafe { bpf_skb_vlan_push(self.raw(), u16::from_ne_bytes(protocol), vlan) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }
}

impl Packet for TcFrame<'_> {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.context.len()
    }

    #[inline(always)]
    fn need(&mut self, n: u32) -> Result<(), Stop> {
        let length = self.bytes();
        let wanted = if n < length { n } else { length };
        if self.data() + wanted as usize <= self.end() {
            return Ok(());
        }
        // SAFETY: the context is the kernel's own; a refusal changes nothing.
        let refused = unsafe { bpf_skb_pull_data(self.raw(), wanted) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }

    #[inline(always)]
    fn get<T: Wire>(&self, offset: u32) -> Option<&T> {
        let header = header::<T>(self.data(), self.end(), bounded(offset)?)?;
        // SAFETY: inside the linear part, of alignment 1, valid for all bits (`Wire`).
        Some(unsafe { &*header })
    }

    #[inline(always)]
    fn get_mut<T: Wire>(&mut self, offset: u32) -> Option<&mut T> {
        let header = header::<T>(self.data(), self.end(), bounded(offset)?)?;
        // SAFETY: as in `get`, and `&mut self` keeps it the only reference.
        Some(unsafe { &mut *header })
    }

    #[inline(always)]
    fn sum(&self, offset: u32, bytes: u32) -> Result<Sum, Stop> {
        TcSumming::run(self.context.as_ptr(), offset, bytes)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: a context field, which the verifier turns into a load.
        unsafe { (*self.raw()).ifindex }
    }

    #[inline(always)]
    fn outer_tag(&self) -> Option<OuterTag> {
        // SAFETY: context fields, which the verifier turns into loads.
        let (present, tci, protocol) = unsafe {
            ((*self.raw()).vlan_present, (*self.raw()).vlan_tci, (*self.raw()).vlan_proto)
        };
        if present == 0 {
            return None;
        }
        // The field holds the protocol in network order.
        Some(OuterTag { protocol: (protocol as u16).to_ne_bytes(), tci: tci as u16 })
    }

    #[inline(always)]
    fn set_vlans(&mut self, vlans: u32, inline_bytes: u32) -> Result<(), Stop> {
        if service_vlan(vlans) != 0 || inline_bytes != 0 {
            return stopped(retag_tc(self.raw(), vlans, inline_bytes));
        }
        let (vlan, beside) = (customer_vlan(vlans), self.outer_tag());
        let now = beside.map_or(0, |tag| tag.tci & VLAN_MASK);
        if now == vlan && (vlan != 0 || beside.is_none()) {
            return Ok(());
        }
        if beside.is_some() {
            self.pop()?;
        }
        if vlan == 0 { Ok(()) } else { self.push(CUSTOMER_TAG, vlan) }
    }

    #[inline(always)]
    fn can_copy(&self) -> bool {
        true
    }

    #[inline(always)]
    fn copy_to(&mut self, ifindex: u32) -> bool {
        // What the device drops is positive, and in its own counters.
        // SAFETY: the context is the kernel's own; the frame is as before.
        unsafe { bpf_clone_redirect(self.raw(), ifindex, 0) >= 0 }
    }

    #[inline(always)]
    fn set_bytes(&mut self, bytes: u32) -> Result<(), Stop> {
        if bytes == self.bytes() {
            return Ok(());
        }
        // SAFETY: as in `need`.
        let refused = unsafe { bpf_skb_change_tail(self.raw(), bytes, 0) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: u32) -> Result<(), Stop> {
        // SAFETY: as in `need`.
        let refused = unsafe { bpf_skb_change_head(self.raw(), bytes, 0) };
        if refused == 0 { Ok(()) } else { Err(Stop::ResizeRefused) }
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        // SAFETY: a context field, which the verifier turns into a load.
        unsafe { (*self.raw()).gso_size }
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        // A guest's GSO packet states a size and no count (the count is made later).
        // SAFETY: context fields, which the verifier turns into loads.
        let (count, size) = unsafe { ((*self.raw()).gso_segs, (*self.raw()).gso_size) };
        match (count, size) {
            (0 | 1, 0) => 1,
            (0, size) => self.bytes().div_ceil(size),
            (count, _) => count,
        }
    }

    #[inline(always)]
    fn park(&mut self, parked: &Parked, unread_bytes_max: u32) -> bool {
        let bytes = self.bytes();
        let raw = self.raw().cast();
        let tag = self.outer_tag().map_or(0, OuterTag::word);
        // SAFETY: a helper that copies `bytes` bytes of the frame to where there is room.
        park(parked, unread_bytes_max, (bytes, tag), |to, bytes| unsafe {
            bpf_skb_load_bytes(raw, 0, to, bytes)
        })
    }

    #[inline(always)]
    fn may_be_partial(&self) -> bool {
        true
    }
}

/// Two tags come or go, out of the way of frames that have one or none: functions of their own,
/// with the kernel's pointer, so that nothing of them lies on everybody's path. They answer what
/// [`stopped`] understands.
#[inline(never)]
fn retag_xdp(context: *mut xdp_md, vlans: u32, inline_bytes: u32) -> u64 {
    let frame = XdpContext::new(context);
    answer(XdpFrame::new(&frame).retag(vlans, inline_bytes))
}

/// The same at tcx.
#[inline(never)]
fn retag_tc(context: *mut __sk_buff, vlans: u32, inline_bytes: u32) -> u64 {
    let frame = TcContext::new(context);
    answer(TcFrame::new(&frame).retag(vlans, inline_bytes))
}

const DONE: u64 = 0;
const REFUSED: u64 = 1;
const CUT: u64 = 2;

/// The outcome as a number, which every kernel takes from a function.
#[inline(always)]
fn answer(outcome: Result<(), Stop>) -> u64 {
    match outcome {
        Ok(()) => DONE,
        Err(Stop::Truncated) => CUT,
        Err(_) => REFUSED,
    }
}

#[inline(always)]
fn stopped(answer: u64) -> Result<(), Stop> {
    match answer {
        DONE => Ok(()),
        CUT => Err(Stop::Truncated),
        _ => Err(Stop::ResizeRefused),
    }
}
