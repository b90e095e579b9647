//! How is an array of the kernel read and written in place?
#![expect(unsafe_code, reason = "the kernel's memory is reached through a mapping")]

use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd},
};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};

use super::{
    Error,
    records::{Plain, Shared},
};

/// All of a mmapable array, as records, of which an element is one or many. There is one mapping of an array in a process
/// and one process for a pin folder (see [`super::place`]), so what programs do not
/// write changes through this value alone.
pub struct Mapping<T> {
    memory: MmapRaw,
    count: usize,
    records: PhantomData<T>,
}

impl<T> Mapping<T> {
    /// Maps the array, whose elements have to be of the record's size, or as many records.
    pub fn new(name: &'static str, map: &MapData) -> Result<Self, Error> {
        let info = map.info().map_err(|source| Error::Map { name, source })?;
        let own = size_of::<T>() as u32;
        // The kernel keeps elements on multiples of eight bytes.
        if !info.value_size().is_multiple_of(own) || !own.is_multiple_of(8) {
            return Err(Error::MapShape {
                name,
                what: "value size",
                found: info.value_size(),
                own,
            });
        }
        let count = (info.value_size() / own) as usize * info.max_entries() as usize;
        let memory = MmapOptions::new()
            .len(count * size_of::<T>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|source| Error::Mapping { name, source })?;
        Ok(Self { memory, count, records: PhantomData })
    }

    fn start(&self) -> *mut T {
        self.memory.as_mut_ptr().cast()
    }
}

impl<T: Shared> Mapping<T> {
    /// The records, which programs write too.
    pub fn shared(&self) -> &[T] {
        // SAFETY: page-aligned memory of `count` records that lives as long as `self`;
        // `Shared` records have atomics only, so others may write them meanwhile.
        unsafe { std::slice::from_raw_parts(self.start(), self.count) }
    }
}

impl<T: Plain> Mapping<T> {
    /// The records, which no program writes.
    pub fn records(&self) -> &[T] {
        // SAFETY: as above; programs only read them, and we write through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start(), self.count) }
    }

    /// The records, to be written.
    pub fn records_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.count) }
    }

    /// A copy of a record that a program has written and writes no more.
    pub fn read(&self, index: usize) -> Option<T> {
        if index >= self.count {
            return None;
        }
        // SAFETY: inside the mapping, aligned, and valid for all bits (`Plain`).
        Some(unsafe { self.start().add(index).read_volatile() })
    }

    /// Writes a record that a program will read.
    pub fn write(&mut self, index: usize, record: T) {
        if index < self.count {
            // SAFETY: inside the mapping and aligned.
            unsafe { self.start().add(index).write_volatile(record) };
        }
    }
}
