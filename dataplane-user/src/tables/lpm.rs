//! Which prefixes lead to which values, and where do they lie for a program to find them?
//!
//! [`Lpm`] has a table's prefixes, and the places of its objects: after a change only those are
//! made anew that it touches. What they look like is told in [`dataplane_common::table::lpm`].

use dataplane_common::{addr::Addr, table::lpm::VALUE_MAX};

use super::heap::{Full, Space};

use pages::{Store, Top};
use prefixes::{Prefix, Prefixes};

mod pages;

mod object;
mod prefixes;

/// Prefixes of one family.
#[derive(Default, Debug)]
pub struct Lpm {
    prefixes: Prefixes,
    /// Of the prefix of length 0, which is in the first line alone.
    default: u32,
    placed: Option<Top>,
    /// What is no longer as it was placed.
    changes: Vec<Prefix>,
    replaced: Vec<u32>,
}

impl Lpm {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the prefix this value, which is neither 0 nor beyond [`VALUE_MAX`]; answers which it
    /// had. Its length counts in 128 bits; the address' bits beyond it do not matter.
    pub fn insert(&mut self, addr: Addr, bits: u8, value: u32) -> Option<u32> {
        debug_assert!((1..=VALUE_MAX).contains(&value), "{value} is no value");
        let prefix = Prefix::new(addr, bits);
        let old = if prefix.is_default() {
            Some(std::mem::replace(&mut self.default, value)).filter(|old| *old != 0)
        } else {
            self.prefixes.insert(prefix, value)
        };
        if old != Some(value) {
            self.change(prefix);
        }
        old
    }

    /// Takes the prefix out; answers its value.
    pub fn remove(&mut self, addr: Addr, bits: u8) -> Option<u32> {
        let prefix = Prefix::new(addr, bits);
        let old = if prefix.is_default() {
            Some(std::mem::take(&mut self.default)).filter(|old| *old != 0)
        } else {
            self.prefixes.remove(prefix)
        };
        if old.is_some() {
            self.change(prefix);
        }
        old
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len() + usize::from(self.default != 0)
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places what is not yet placed as it is now; answers the table's first line, 0 if it is
    /// empty. Without room, nothing is forgotten: the next call places all of it.
    pub fn store(&mut self, space: &mut impl Space) -> Result<u32, Full> {
        let Self { prefixes, default, placed, changes, replaced } = self;
        let mut store = Store { prefixes, default: *default, space, replaced };
        let top = match placed {
            Some(top) => {
                if !changes.is_empty() {
                    changes.sort_unstable();
                    store.again(top, changes)?;
                    changes.clear();
                }
                top
            }
            None => placed.insert(store.top()?),
        };
        Ok(top.first())
    }

    /// The objects that were replaced since this was asked last, by their first lines: each as
    /// often as it had been placed. To be asked when what [`Self::store`] answered is in force:
    /// their room can be given back once no program reads them any more.
    pub fn replaced(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.replaced)
    }

    fn change(&mut self, prefix: Prefix) {
        if self.placed.is_some() {
            self.changes.push(prefix);
        }
    }
}

#[cfg(test)]
mod tests;
