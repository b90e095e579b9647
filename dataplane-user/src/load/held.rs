//! On which device does a pinned link hold its program?
//!
//! A name and a number may be another interface's by now; the link is of one device and
//! tells when that is gone. aya does not ask for it.
#![expect(unsafe_code, reason = "aya tells neither a link's device nor its descriptor")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    libc,
    net::if_::{if_indextoname, if_nametoindex},
};

use super::{
    Error,
    interface::{Interface, Interfaces},
    links,
    place::Place,
    state::{Before, State},
};

/// Commands of bpf(2) (linux/bpf.h).
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The part of `union bpf_attr` for a pinned object.
#[repr(C)]
#[derive(Default)]
struct Pinned {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part for facts about an object.
#[repr(C)]
#[derive(Default)]
struct Asked {
    fd: u32,
    bytes: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`; XDP and tcx both have the device first.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    zero: u32,
    ifindex: u32,
    rest: u32,
}

/// What the pinned link tells of itself, none if there is no such pin.
fn look(pin: &Path) -> io::Result<Option<Info>> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let pinned = Pinned { path: path.as_ptr() as u64, ..Pinned::default() };
    // SAFETY: the path outlives the call.
    let link = match unsafe { bpf(BPF_OBJ_GET, &pinned) } {
        // SAFETY: a new descriptor, which nobody else has.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd as i32) },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut info = Info::default();
    let asked = Asked {
        fd: link.as_raw_fd() as u32,
        bytes: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes `bytes` bytes of plain numbers to `info`, which lives on.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &asked)? };
    Ok(Some(info))
}

/// The number of the device that the pinned link is on; 0 if that device is gone, none
/// if there is no such pin.
fn device(pin: &Path) -> io::Result<Option<u32>> {
    Ok(look(pin)?.map(|info| info.ifindex))
}

/// # Safety
///
/// What the attribute points to is as the command needs it.
unsafe fn bpf<T>(command: libc::c_long, attribute: &T) -> io::Result<libc::c_long> {
    // SAFETY: the attribute is as long as is said; the rest is the caller's.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, core::ptr::from_ref(attribute), size_of::<T>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// What became of an interface that was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Our program is on it.
    Yes,
    /// It is gone, whoever has its name or number now.
    Gone,
    /// Nothing of ours is on it: a process ended while it attached it.
    Nothing,
}

/// Is the interface of this name, as it was attached, still there and ours?
pub fn held(place: &Place, name: &str, before: &Before) -> Result<Held, Error> {
    let path = place.link(name, before.hooked.name());
    let found = device(&path).map_err(|source| Error::File { path, source })?;
    Ok(match found {
        Some(ifindex) if ifindex == before.ifindex => Held::Yes,
        Some(_) => Held::Gone,
        None => Held::Nothing,
    })
}

/// The name that an attached interface has now; none if it is gone, whoever has its name
/// or number by now.
pub fn name_now(place: &Place, name: &str, before: &Before) -> Result<Option<String>, Error> {
    if held(place, name, before)? == Held::Gone {
        return Ok(None);
    }
    // Absent, or without a name: it is gone, on its way, or in another namespace.
    let now = if_indextoname(before.ifindex).ok();
    let now = now.map(|name| name.to_string_lossy().into_owned());
    Ok(now.filter(|name| !name.is_empty()))
}

/// The interface that a pinned link is on, of which nothing else is known; none if it is
/// gone. It has the link's program, so that it is none of the same number in another
/// namespace.
pub fn found(place: &Place, name: &str, hook: &str) -> Result<Option<Interface>, Error> {
    let path = place.link(name, hook);
    let link = look(&path).map_err(|source| Error::File { path, source })?;
    let Some(link) = link.filter(|link| link.ifindex != 0) else { return Ok(None) };
    let interfaces = Interfaces::look()?;
    let there = interfaces.of_index(link.ifindex);
    match there.filter(|there| links::has_program(there, hook, link.program)) {
        Some(there) => Ok(Some(there.clone())),
        None => Err(Error::LinkElsewhere { interface: name.into(), hook: hook.into() }),
    }
}

/// Is an attached interface there under its name?
pub fn is_there(place: &Place, name: &str, before: &Before) -> Result<bool, Error> {
    let is_held = held(place, name, before)? == Held::Yes;
    Ok(is_held && if_nametoindex(name) == Ok(before.ifindex))
}

/// Refuses to look for interfaces in another namespace, where each would be taken for gone,
/// while any of them is still there.
pub fn check_namespace(place: &Place, state: &State) -> Result<(), Error> {
    let Err(refusal) = state.check_namespace() else { return Ok(()) };
    for (name, before) in &state.interfaces {
        if held(place, name, before)? != Held::Gone {
            return Err(refusal);
        }
    }
    Ok(())
}
