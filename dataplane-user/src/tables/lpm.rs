//! Which prefixes lead to which values, and where do they lie for a program to find them?
//!
//! [`Lpm`] has a table's prefixes, and the places of its objects: after a change only those are
//! made anew that it touches. What they look like is told in [`dataplane_common::table::lpm`].

use std::collections::BTreeMap;

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

    /// From now on these are all prefixes with their values, the last of equal ones counts.
    pub fn follow(&mut self, all: impl IntoIterator<Item = (Addr, u8, u32)>) {
        let mut now = BTreeMap::new();
        let mut default = 0;
        for (addr, bits, value) in all {
            match Prefix::new(addr, bits) {
                prefix if prefix.is_default() => default = value,
                prefix => drop(now.insert(prefix, value)),
            }
        }
        let changes = self.prefixes.follow(now);
        if self.placed.is_some() {
            self.changes.extend(changes);
            if default != self.default {
                self.changes.push(Prefix::default());
            }
        }
        self.default = default;
    }

    /// Places what is not yet placed as it is now, and keeps the rest; answers the table's first
    /// line, 0 if it is empty. Without room, the next call places all of it.
    pub fn store(&mut self, space: &mut impl Space) -> Result<u32, Full> {
        let Self { prefixes, default, placed, changes } = self;
        let mut store = Store { prefixes, default: *default, space };
        let top = match placed.take() {
            Some(mut top) => {
                changes.sort_unstable();
                store.again(&mut top, changes)?;
                top
            }
            None => store.top()?,
        };
        changes.clear();
        Ok(placed.insert(top).first())
    }

    fn change(&mut self, prefix: Prefix) {
        if self.placed.is_some() {
            self.changes.push(prefix);
        }
    }
}

#[cfg(test)]
mod tests;
