//! How is a map of the kernel made, and written entry by entry?

use std::ffi::CString;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc;

/// Commands of bpf(2).
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const OBJ_GET: libc::c_int = 7;

/// The beginning of `union bpf_attr` for BPF_OBJ_GET.
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for an element of a map.
#[repr(C)]
struct Element {
    map: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The beginning of `union bpf_attr` for BPF_MAP_CREATE.
#[repr(C)]
struct Create {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
}

/// What a map is for (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapKind {
    Array = 2,
    /// Programs that others may go on with.
    Programs = 3,
    /// Interfaces of the namespace of whoever writes them, by numbers of a program's own.
    Devices = 14,
}

/// A map whose keys are numbers.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    value_bytes: usize,
}

impl Map {
    /// A new one.
    pub(crate) fn new(kind: MapKind, value_bytes: usize, entries: u32) -> Result<Self> {
        let kind = kind as u32;
        let create = Create { kind, key_bytes: 4, value_bytes: value_bytes.try_into()?, entries };
        let fd = bpf(MAP_CREATE, &create).context("making a map")?;
        #[expect(unsafe_code, reason = "the descriptor gets its owner")]
        // SAFETY: the command returns a new descriptor, which is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, value_bytes })
    }

    /// For the instructions of a program.
    pub(crate) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The map that is pinned there, whose values have so many bytes.
    pub(crate) fn open(path: &Path, value_bytes: usize) -> Result<Self> {
        let text = CString::new(path.as_os_str().as_bytes())?;
        let get = ObjGet { path: text.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
        let fd = bpf(OBJ_GET, &get).with_context(|| format!("opening {}", path.display()))?;
        #[expect(unsafe_code, reason = "the descriptor gets its owner")]
        // SAFETY: the command returns a new descriptor, which is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, value_bytes })
    }

    /// Writes one entry.
    pub(crate) fn set(&self, key: u32, value: &[u8]) -> Result<()> {
        anyhow::ensure!(value.len() == self.value_bytes, "a value of {} bytes", value.len());
        let element = self.element(&key, value.as_ptr().expose_provenance())?;
        bpf(MAP_UPDATE_ELEM, &element).context("writing an entry")?;
        Ok(())
    }

    /// Reads one entry.
    pub(crate) fn get(&self, key: u32) -> Result<Vec<u8>> {
        let mut value = vec![0; self.value_bytes];
        let element = self.element(&key, value.as_mut_ptr().expose_provenance())?;
        bpf(MAP_LOOKUP_ELEM, &element).context("reading an entry")?;
        Ok(value)
    }

    fn element(&self, key: &u32, value: usize) -> Result<Element> {
        Ok(Element {
            map: self.fd.as_raw_fd().try_into()?,
            zero: 0,
            key: std::ptr::from_ref(key).expose_provenance() as u64,
            value: value as u64,
            flags: 0,
        })
    }
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<RawFd> {
    #[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
    // SAFETY: the attributes are a prefix of bpf_attr of the length that is passed; path, key
    // and value live through the call and are as long as the map says. Only a value that is read
    // is written, and it is its owner's to change.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of_val(attributes),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(RawFd::try_from(answer)?)
}
