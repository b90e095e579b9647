//! How is a program of a few instructions attached to an interface?
//!
//! The loader under test is not used here: the lab must not depend on what it judges.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

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

/// Offsets in `struct __sk_buff`.
pub(crate) const SKB_VLAN_PRESENT: i16 = 20;
pub(crate) const SKB_VLAN_TCI: i16 = 24;

/// Numbers of helpers.
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

pub(crate) const fn load_word(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61, to | from << 4, offset, 0)
}

pub(crate) const fn jump_if_equal(register: u8, value: i32, over: i16) -> Instruction {
    instruction(0x15, register, over, value)
}

pub(crate) const fn jump_if_not_equal(register: u8, value: i32, over: i16) -> Instruction {
    instruction(0x55, register, over, value)
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
    TcxIngress = 46,
    TcxEgress = 47,
    Xdp = 37,
}

/// XDP_PASS, <linux/bpf.h>.
pub(crate) const XDP_PASS: i32 = 2;

/// Commands of bpf(2) and the program types that are used.
const PROG_LOAD: libc::c_int = 5;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;
const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest as zero.
#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
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

/// Attaches a program to an interface of the calling thread's namespace, for as long as the
/// returned link is kept.
pub(crate) fn attach(program: &[Instruction], interface: &str, attach: Attach) -> Result<OwnedFd> {
    let index = if_nametoindex(interface).with_context(|| format!("looking for {interface}"))?;
    let load = ProgLoad {
        kind: if matches!(attach, Attach::Xdp) { XDP } else { SCHED_CLS },
        count: program.len().try_into()?,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
    };
    let program = bpf(PROG_LOAD, &load).context("loading a program")?;
    let link = LinkCreate {
        program: program.as_raw_fd().try_into()?,
        interface: index,
        attach: attach as u32,
        flags: 0,
    };
    bpf(LINK_CREATE, &link).with_context(|| format!("attaching a program to {interface}"))
}

/// How many programs are at an attachment point of an interface of the calling thread's namespace.
pub(crate) fn attached(interface: &str, attach: Attach) -> Result<u32> {
    let index = if_nametoindex(interface).with_context(|| format!("looking for {interface}"))?;
    let mut query = ProgQuery { interface: index, attach: attach as u32, ..ProgQuery::default() };
    #[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
    // SAFETY: the attributes are a prefix of bpf_attr of the length that is passed; the kernel
    // writes the count into them, and no ids, since it is given no room for any.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_QUERY,
            std::ptr::from_mut(&mut query),
            size_of_val(&query),
        )
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        return Err(error).with_context(|| format!("asking for programs on {interface}"));
    }
    Ok(query.count)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<OwnedFd> {
    #[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
    // SAFETY: the attributes are a prefix of bpf_attr of the length that is passed, and what
    // they point to (instructions, licence) lives through the call and is only read.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of_val(attributes),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error().into());
    }
    #[expect(unsafe_code, reason = "the descriptor gets its owner")]
    // SAFETY: both commands return a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd)?) })
}
