//! Which packets did the kernel not take after the pipeline had sent them?
//!
//! A redirect is carried out when our program has returned, and may be refused then. The kernel
//! says so at three tracepoints: `kfree_skb` inside the function that carries out what tcx
//! decided, and `xdp_redirect_err` and `xdp_devmap_xmit` for what XDP sends to a NIC. What a
//! device drops later (a tap whose queue is full) is in the device's own counters, which the
//! daemon reads.
//!
//! Tracepoints are the whole machine's, and other network namespaces have the same numbers of
//! interfaces: what is ours is known by the interface and its namespace.
#![expect(unsafe_code, reason = "the kernel's own structures are read at offsets from its BTF")]

use aya_ebpf::{
    EbpfContext, Global,
    helpers::bpf_probe_read_kernel,
    macros::{map, raw_tracepoint},
    maps::{Array, HashMap, PerCpuArray},
    programs::{RawTracePointContext, TcContext},
};
use dataplane_common::{
    Packet, Stop, Tables, limits,
    tables::{Counter, Refused},
    word::Word64,
};

use crate::{frame::TcFrame, tables::KernelTables, words::add};

/// Set by the loader. The generation that these programs are of.
#[unsafe(no_mangle)]
static GENERATION: Global<u32> = Global::new(0);
/// The inode of the network namespace that our interfaces are in.
#[unsafe(no_mangle)]
static NAMESPACE: Global<u32> = Global::new(0);
/// Where the kernel's `sk_buff` has its device.
#[unsafe(no_mangle)]
static FRAME_DEVICE: Global<u32> = Global::new(0);
/// Where its `net_device` has its `ifindex` and its namespace, and that its inode.
#[unsafe(no_mangle)]
static DEVICE_IFINDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DEVICE_NAMESPACE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NAMESPACE_INODE: Global<u32> = Global::new(0);
/// Where the kernel's `skb_do_redirect` begins, and how long it is.
#[unsafe(no_mangle)]
static REDIRECT_START: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static REDIRECT_BYTES: Global<u64> = Global::new(0);

/// By ifindex: what XDP sent to a NIC of ours, and it did not take. Userland makes the entries, one
/// for every interface of ours.
#[map]
static REFUSED: HashMap<u32, Refused> = HashMap::with_max_entries(limits::ATTACHMENTS_MAX, 1);
/// The generation whose programs count: for a moment there are two.
#[map]
static IN_CHARGE: Array<Word64> = Array::with_max_entries(1, 1 << 10);
/// The frame that this CPU gave the kernel last; every loaded program set has its own.
#[map]
static GIVEN: PerCpuArray<Given> = PerCpuArray::with_max_entries(1, 0);

/// A frame that tcx gave to the kernel.
#[repr(C)]
struct Given {
    /// Its address; 0: none.
    skb: u64,
    /// The attachment that it was to leave by.
    output: u32,
    /// Segments that it stands for.
    packets: u32,
}

/// Notes whose frame the kernel is given.
#[inline(always)]
pub fn give(frame: &TcContext, output: u32) {
    let packets = TcFrame::new(frame).segments();
    if let Some(given) = GIVEN.get_ptr_mut(0) {
        // SAFETY: this CPU's own element, with bottom halves off.
        unsafe { *given = Given { skb: frame.as_ptr().addr() as u64, output, packets } };
    }
}

/// `(skb, location, reason)`: somebody lets go of a packet.
#[raw_tracepoint]
pub fn sekisho_kfree_skb(context: RawTracePointContext) -> i32 {
    let location: u64 = context.arg(1);
    if location.wrapping_sub(REDIRECT_START.load()) >= REDIRECT_BYTES.load() {
        return 0;
    }
    let skb: u64 = context.arg(0);
    let Some(given) = GIVEN.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own element; the kernel carries out a redirect where it was decided.
    let given = unsafe { &mut *given };
    if given.skb != skb || cfg!(feature = "control-refused-uncounted") {
        return 0;
    }
    // Another's frame may lie where ours lay; but where ours come in, nobody else decides.
    if read(skb, FRAME_DEVICE.load()).and_then(own).is_none() {
        return 0;
    }
    given.skb = 0;
    let Some(tables) = KernelTables::in_force() else { return 0 };
    let tenant = tables.output(given.output).map_or(0, |output| output.tenant);
    tables.count(given.output, Counter::Refused, given.packets, 0);
    tables.count_stop(tenant, Stop::TxRefused, given.packets);
    0
}

/// `(dev, program, target, error, map_type, map_id, index)`: a NIC was not taken for a target.
/// Our device map has NICs under their own number.
#[raw_tracepoint]
pub fn sekisho_xdp_redirect_err(context: RawTracePointContext) -> i32 {
    let device: u64 = context.arg(0);
    let target: u32 = context.arg(6);
    if is_in_charge() && own(device).is_some() {
        refuse(target, 1, false);
    }
    0
}

/// `(from_dev, to_dev, sent, drops, error)`: a driver was given several frames at once.
#[raw_tracepoint]
pub fn sekisho_xdp_devmap_xmit(context: RawTracePointContext) -> i32 {
    let drops: i32 = context.arg(3);
    if drops <= 0 || !is_in_charge() {
        return 0;
    }
    let from: u64 = context.arg(0);
    let to: u64 = context.arg(1);
    if own(from).is_some()
        && let Some(ifindex) = own(to)
    {
        refuse(ifindex, drops as u64, true);
    }
    0
}

#[inline(always)]
fn is_in_charge() -> bool {
    IN_CHARGE.get(0).is_some_and(|own| own.load() == u64::from(GENERATION.load()))
}

/// The number of an interface of ours.
#[inline(always)]
fn own(device: u64) -> Option<u32> {
    let ifindex: u32 = read(device, DEVICE_IFINDEX.load())?;
    let namespace: u64 = read(device, DEVICE_NAMESPACE.load())?;
    let inode: u32 = read(namespace, NAMESPACE_INODE.load())?;
    (inode == NAMESPACE.load() && REFUSED.get_ptr(ifindex).is_some()).then_some(ifindex)
}

/// A field of one of the kernel's structures.
#[inline(always)]
fn read<T>(structure: u64, offset: u32) -> Option<T> {
    let field = structure.wrapping_add(u64::from(offset));
    // SAFETY: the helper answers an error where nothing can be read.
    unsafe { bpf_probe_read_kernel(core::ptr::with_exposed_provenance::<T>(field as usize)) }.ok()
}

/// Counts frames that an interface did not take; `driver`: its driver said so, and may count them
/// itself.
#[inline(always)]
fn refuse(ifindex: u32, packets: u64, driver: bool) {
    if cfg!(feature = "control-refused-uncounted") {
        return;
    }
    if let Some(refused) = REFUSED.get_ptr(ifindex) {
        // SAFETY: an entry is removed with its interface; its words are atomics.
        let refused = unsafe { &*refused };
        add(&refused.packets, packets);
        if driver {
            add(&refused.by_driver, packets);
        }
    }
}
