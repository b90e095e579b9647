//! How is a program of a few instructions attached to an interface?
//!
//! The loader under test is not used here: the lab must not depend on what it judges.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::libc;
use nix::net::if_::if_nametoindex;

/// One instruction, as <linux/bpf.h> lays it out.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u8,
    /// The destination in the low four bits, the source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

pub(crate) const R0: u8 = 0;
pub(crate) const R1: u8 = 1;
pub(crate) const R2: u8 = 2;
pub(crate) const R3: u8 = 3;
pub(crate) const R4: u8 = 4;
pub(crate) const R5: u8 = 5;
pub(crate) const R6: u8 = 6;
pub(crate) const R7: u8 = 7;
pub(crate) const R8: u8 = 8;
pub(crate) const R9: u8 = 9;
/// Where the stack ends.
pub(crate) const R10: u8 = 10;

/// Offsets in `struct __sk_buff`.
pub(crate) const SKB_VLAN_PRESENT: i16 = 20;
pub(crate) const SKB_VLAN_TCI: i16 = 24;
pub(crate) const SKB_VLAN_PROTO: i16 = 28;

pub(crate) const SKB_DATA: i16 = 76;
pub(crate) const SKB_DATA_END: i16 = 80;

/// Offsets in `struct xdp_md`.
pub(crate) const XDP_DATA: i16 = 0;
pub(crate) const XDP_DATA_END: i16 = 4;
pub(crate) const XDP_INGRESS: i16 = 12;

/// Numbers of helpers.
pub(crate) const TAIL_CALL: i32 = 12;
pub(crate) const SKB_VLAN_PUSH: i32 = 18;
pub(crate) const SKB_VLAN_POP: i32 = 19;

const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}

pub(crate) const fn mov(to: u8, value: i32) -> Instruction {
    instruction(0xb7, to, 0, value)
}

pub(crate) const fn and(to: u8, value: i32) -> Instruction {
    instruction(0x57, to, 0, value)
}

pub(crate) const fn multiply(register: u8, by: i32) -> Instruction {
    instruction(0x27, register, 0, by)
}

pub(crate) const fn shift_left(register: u8, bits: i32) -> Instruction {
    instruction(0x67, register, 0, bits)
}

pub(crate) const fn shift_right(register: u8, bits: i32) -> Instruction {
    instruction(0x77, register, 0, bits)
}

pub(crate) const fn xor(register: u8, value: i32) -> Instruction {
    instruction(0xa7, register, 0, value)
}

/// The low 16 bits in network order, and no others.
pub(crate) const fn to_network(register: u8) -> Instruction {
    instruction(0xdc, register, 0, 16)
}

/// A map, as helpers take it.
pub(crate) fn map(to: u8, map: &OwnedFd) -> [Instruction; 2] {
    wide(to | 1 << 4, map)
}

/// The address of an array's first value.
pub(crate) fn map_value(to: u8, map: &OwnedFd) -> [Instruction; 2] {
    wide(to | 2 << 4, map)
}

fn wide(registers: u8, map: &OwnedFd) -> [Instruction; 2] {
    [instruction(0x18, registers, 0, map.as_raw_fd()), instruction(0, 0, 0, 0)]
}

pub(crate) const fn load_byte(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x71, to | from << 4, offset, 0)
}

pub(crate) const fn load_half(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x69, to | from << 4, offset, 0)
}

pub(crate) const fn load_double(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x79, to | from << 4, offset, 0)
}

pub(crate) const fn load_word(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61, to | from << 4, offset, 0)
}

pub(crate) const fn jump_if_equal(register: u8, value: i32, over: i16) -> Instruction {
    instruction(0x15, register, over, value)
}

pub(crate) const fn jump_if_not_equal(register: u8, value: i32, over: i16) -> Instruction {
    instruction(0x55, register, over, value)
}

pub(crate) const fn mov_register(to: u8, from: u8) -> Instruction {
    instruction(0xbf, to | from << 4, 0, 0)
}

pub(crate) const fn add(to: u8, value: i32) -> Instruction {
    instruction(0x07, to, 0, value)
}

pub(crate) const fn add_register(to: u8, from: u8) -> Instruction {
    instruction(0x0f, to | from << 4, 0, 0)
}

pub(crate) const fn store_byte_of(to: u8, offset: i16, from: u8) -> Instruction {
    instruction(0x73, to | from << 4, offset, 0)
}

pub(crate) const fn store_half_of(to: u8, offset: i16, from: u8) -> Instruction {
    instruction(0x6b, to | from << 4, offset, 0)
}

pub(crate) const fn store_word_of(to: u8, offset: i16, from: u8) -> Instruction {
    instruction(0x63, to | from << 4, offset, 0)
}

pub(crate) const fn store_double_of(to: u8, offset: i16, from: u8) -> Instruction {
    instruction(0x7b, to | from << 4, offset, 0)
}

pub(crate) const fn store_word(to: u8, offset: i16, value: i32) -> Instruction {
    instruction(0x62, to, offset, value)
}

pub(crate) const fn jump_if_not_greater(register: u8, than: u8, over: i16) -> Instruction {
    instruction(0xbd, register | than << 4, over, 0)
}

pub(crate) const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, helper)
}

pub(crate) const fn exit() -> Instruction {
    instruction(0x95, 0, 0, 0)
}

/// Where a program is attached (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attach {
    Xdp = 37,
    TcxIngress = 46,
    TcxEgress = 47,
}

/// What a program is for (`enum bpf_prog_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SchedCls = 3,
    Xdp = 6,
}

/// Commands of bpf(2).
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;

/// BPF_F_TEST_XDP_LIVE_FRAMES: what the program decides is done.
const LIVE_FRAMES: u32 = 2;
/// Frames that the kernel makes at once, its own default.
const BATCH: u32 = 64;

/// XDP_PASS, <linux/bpf.h>.
pub(crate) const XDP_PASS: i32 = 2;

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest as zero.
#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    /// Log, version of the kernel, flags, name, device.
    zero: [u32; 11],
    attach: u32,
}

/// The beginning of `union bpf_attr` for BPF_PROG_TEST_RUN.
#[derive(Default)]
#[repr(C)]
struct TestRun {
    program: u32,
    verdict: u32,
    in_bytes: u32,
    out_bytes: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    context_in_bytes: u32,
    context_out_bytes: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    zero: u32,
}

/// The beginning of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct ProgQuery {
    interface: u32,
    attach: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    zero: [u32; 7],
}

/// Loads a program. The kernel lends its GPL-only helpers, of which the route lookup is one, to
/// programs that declare this.
pub(crate) fn load(kind: Kind, program: &[Instruction]) -> Result<OwnedFd> {
    let mut load = ProgLoad {
        kind: kind as u32,
        count: program.len().try_into()?,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: c"Dual MIT/GPL".as_ptr().expose_provenance() as u64,
        zero: [0; 11],
        // As those that it may go on with were loaded (Linux 6.18 compares them).
        attach: match kind {
            Kind::Xdp => Attach::Xdp as u32,
            Kind::SchedCls => 0,
        },
    };
    owned(bpf(PROG_LOAD, &mut load).context("loading a program")?)
}

/// Attaches a program to an interface of the calling thread's namespace, for as long as the
/// returned link is kept.
pub(crate) fn link(program: &OwnedFd, interface: &str, attach: Attach) -> Result<OwnedFd> {
    let index = if_nametoindex(interface).with_context(|| format!("looking for {interface}"))?;
    let mut link = LinkCreate {
        program: program.as_raw_fd().try_into()?,
        interface: index,
        attach: attach as u32,
        flags: 0,
    };
    owned(
        bpf(LINK_CREATE, &mut link)
            .with_context(|| format!("attaching a program to {interface}"))?,
    )
}

/// Loads and attaches.
pub(crate) fn attach(program: &[Instruction], interface: &str, attach: Attach) -> Result<OwnedFd> {
    let kind = match attach {
        Attach::Xdp => Kind::Xdp,
        Attach::TcxIngress | Attach::TcxEgress => Kind::SchedCls,
    };
    link(&load(kind, program)?, interface, attach)
}

/// Runs a program on a frame, again and again, and returns how long one run took.
pub(crate) fn test_run(
    program: &OwnedFd,
    frame: &[u8],
    repeat: u32,
    flags: u32,
    batch: u32,
) -> Result<Duration> {
    let mut run = TestRun {
        program: program.as_raw_fd().try_into()?,
        in_bytes: frame.len().try_into()?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        repeat,
        flags,
        batch,
        ..TestRun::default()
    };
    bpf(PROG_TEST_RUN, &mut run).context("running a program")?;
    Ok(Duration::from_nanos(run.duration_ns.into()))
}

/// The same at an interface of the calling thread's namespace.
pub(crate) fn test_run_at(
    (program, kind): (&OwnedFd, Kind),
    ifindex: u32,
    frame: &[u8],
    repeat: u32,
) -> Result<Duration> {
    // Where `struct xdp_md` has the frame's end and the interface, `struct __sk_buff` the latter:
    // both end behind their last field that is set here.
    let mut context = [0_u32; 11];
    let words = match kind {
        Kind::Xdp => {
            context[1] = frame.len().try_into()?;
            context[3] = ifindex;
            6
        }
        Kind::SchedCls => {
            (context[9], context[10]) = (ifindex, ifindex);
            context.len()
        }
    };
    let mut run = TestRun {
        program: program.as_raw_fd().try_into()?,
        in_bytes: frame.len().try_into()?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        context_in_bytes: (4 * words).try_into()?,
        context_in: context.as_ptr().expose_provenance() as u64,
        repeat,
        ..TestRun::default()
    };
    bpf(PROG_TEST_RUN, &mut run).context("running a program")?;
    Ok(Duration::from_nanos(run.duration_ns.into()))
}

/// Runs a program once on a frame, and returns what became of that.
pub(crate) fn changed(program: &OwnedFd, frame: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![0; frame.len()];
    let mut run = TestRun {
        program: program.as_raw_fd().try_into()?,
        in_bytes: frame.len().try_into()?,
        out_bytes: out.len().try_into()?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        data_out: out.as_mut_ptr().expose_provenance() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    bpf(PROG_TEST_RUN, &mut run).context("running a program")?;
    Ok(out)
}

/// Makes so many frames and does with each what the program says; all have gone where they go
/// when it returns.
pub(crate) fn live_run(program: &OwnedFd, frame: &[u8], frames: u32) -> Result<()> {
    test_run(program, frame, frames, LIVE_FRAMES, BATCH).map(drop)
}

/// How many programs are at an attachment point of an interface of the calling thread's namespace.
pub(crate) fn attached(interface: &str, attach: Attach) -> Result<u32> {
    let index = if_nametoindex(interface).with_context(|| format!("looking for {interface}"))?;
    let mut query = ProgQuery { interface: index, attach: attach as u32, ..ProgQuery::default() };
    bpf(PROG_QUERY, &mut query).with_context(|| format!("asking for programs on {interface}"))?;
    Ok(query.count)
}

/// Both commands that return a descriptor return a new one.
fn owned(fd: libc::c_long) -> Result<OwnedFd> {
    let fd = RawFd::try_from(fd)?;
    #[expect(unsafe_code, reason = "the descriptor gets its owner")]
    // SAFETY: the kernel has just made it, and it is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long> {
    #[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
    // SAFETY: the attributes are a prefix of bpf_attr of the length that is passed, and what
    // they point to (instructions, licence, frame) lives through the call and is only read;
    // the kernel writes into the attributes themselves, which are borrowed mutably, and into
    // `data_out`, which is as long as `out_bytes` says or absent.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if done < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(done)
}
