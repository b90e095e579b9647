//! What did the kernel not take that we had sent?
//!
//! The programs at tracepoints count what is refused at once (`dataplane-ebpf/src/refused.rs`);
//! what a device drops from its queue is in the device's own counter (`tx_dropped`). Both only
//! grow. How far they were taken over stands in the state file beside the sums, so one write of
//! that file moves an amount from there to here: whenever the process dies, it is in one of them.

use std::collections::HashMap;

use aya::{
    Ebpf,
    maps::{HashMap as HashTable, Map, MapData},
    programs::{Program, ProgramError, links::FdLink},
};
use serde::{Deserialize, Serialize};

use super::{
    Error, interface, mapping::Mapping, maps, place::Place, programs, records::Record, state::State,
};
use dataplane_common::word::Word64;

/// What one interface did not take.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Its number then; another one means that it is another interface.
    ifindex: u32,
    /// What its counters said when they were last taken over.
    seen: u64,
    /// Packets, up to then.
    packets: u64,
}

/// The number of no interface.
const NONE: u32 = 0;

/// Packets that an interface did not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedAt {
    /// Its name.
    pub interface: String,
    /// All of them.
    pub packets: u64,
    /// Those among them that no tenant's sum has yet.
    pub fresh: u64,
}

/// The programs at tracepoints, and where they are attached.
const WATCHERS: [(&str, &str); 3] = [
    (programs::KFREE_SKB, "kfree_skb"),
    (programs::REDIRECT_ERR, "xdp_redirect_err"),
    (programs::DEVMAP_XMIT, "xdp_devmap_xmit"),
];

/// Attaches them, each held by a link that is pinned with its generation: it goes when the
/// generation is forgotten. What cannot be watched is answered.
pub(super) fn watch(place: &Place, ebpf: &mut Ebpf, generation: u32) -> Vec<String> {
    let mut unseen = Vec::new();
    for (name, tracepoint) in WATCHERS {
        let attached = match ebpf.program_mut(name) {
            Some(Program::RawTracePoint(program)) => program
                .attach(tracepoint)
                .and_then(|id| program.take_link(id))
                .map(FdLink::from)
                .map_err(|error| error.to_string()),
            _ => Err(ProgramError::UnexpectedProgramType.to_string()),
        };
        let path = place.programs(generation).join(format!("at_{tracepoint}"));
        let pinned = attached.and_then(|link| link.pin(path).map_err(|error| error.to_string()));
        if let Err(error) = pinned {
            unseen.push(format!("tracepoint {tracepoint}: {error}"));
        }
    }
    unseen
}

/// One of the packets that the interface's counters have, or will have, is not to be counted.
pub(super) fn forgive(interface: &str, state: &mut State) {
    if let Some(at) = state.refused.get_mut(interface) {
        at.seen += 1;
    }
}

/// The counters of refusals.
pub struct Refusals {
    at_nics: HashTable<MapData, u32, Record<[u64; 2]>>,
    in_charge: Mapping<Word64>,
}

impl Refusals {
    /// In these maps.
    pub fn new(at_nics: Map, in_charge: &Map) -> Result<Self, Error> {
        let at_nics =
            at_nics.try_into().map_err(|source| Error::Map { name: maps::REFUSED, source })?;
        let name = maps::IN_CHARGE;
        let array = programs::array(in_charge).ok_or(Error::MapMissing { name })?;
        Ok(Self { at_nics, in_charge: Mapping::new(name, array)? })
    }

    /// From now on this generation's programs count, and no other's.
    pub fn give_charge(&self, generation: u32) {
        if let Some(own) = self.in_charge.shared().first() {
            own.store(u64::from(programs::charge(generation)));
        }
    }

    /// Counts at an interface from now on.
    pub fn begin(&mut self, name: &str, state: &mut State) -> Result<(), Error> {
        let Some(found) = interface::tx_dropped()?.get(name).copied() else { return Ok(()) };
        let known = state.refused.get(name).is_some_and(|at| at.ifindex == found.ifindex);
        if known {
            return Ok(());
        }
        if self.at_nics.get(&found.ifindex, 0).is_err() {
            self.at_nics
                .insert(found.ifindex, Record([0; 2]), 0)
                .map_err(|source| Error::Map { name: maps::REFUSED, source })?;
        }
        let seen = self.reading(found);
        let packets = state.refused.get(name).map_or(0, |at| at.packets);
        state.refused.insert(name.to_owned(), Refused { ifindex: found.ifindex, seen, packets });
        Ok(())
    }

    /// Looks at an interface no more. Its sum stays: it may come again.
    pub fn end(&mut self, name: &str, state: &mut State) {
        if let Some(at) = state.refused.get_mut(name) {
            let _ = self.at_nics.remove(&at.ifindex);
            at.ifindex = NONE;
        }
    }

    /// From now on these have nothing refused.
    pub fn forget(
        &self,
        tenants: &[u32],
        interfaces: &[String],
        state: &mut State,
    ) -> Result<(), Error> {
        for tenant in tenants {
            state.refused_of_tenants.remove(tenant);
        }
        let now = interface::tx_dropped()?;
        for name in interfaces {
            if let Some(at) = state.refused.get_mut(name) {
                let seen = now.get(name).map_or(at.seen, |found| self.reading(*found));
                *at = Refused { seen, packets: 0, ..*at };
            }
        }
        Ok(())
    }

    /// What was refused up to now.
    pub fn look(&self, state: &State) -> Result<Vec<RefusedAt>, Error> {
        let now = if state.refused.is_empty() { HashMap::new() } else { interface::tx_dropped()? };
        let look = |(name, at): (&String, &Refused)| {
            let same = now.get(name).filter(|found| found.ifindex == at.ifindex);
            let fresh = same.map_or(0, |found| self.reading(*found).saturating_sub(at.seen));
            RefusedAt { interface: name.clone(), packets: at.packets + fresh, fresh }
        };
        Ok(state.refused.iter().map(look).collect())
    }

    /// Takes over what is new; is there anything? Each interface's goes to a tenant's sum.
    pub fn fold(&self, state: &mut State, tenant: impl Fn(u32) -> u32) -> Result<bool, Error> {
        let mut is_changed = false;
        for RefusedAt { interface, fresh, .. } in self.look(state)? {
            let Some(at) = state.refused.get_mut(&interface).filter(|_| fresh > 0) else {
                continue;
            };
            at.seen += fresh;
            at.packets += fresh;
            *state.refused_of_tenants.entry(tenant(at.ifindex)).or_default() += fresh;
            is_changed = true;
        }
        Ok(is_changed)
    }

    /// What the counters of an interface say. A veth has in its own what its driver did not take
    /// from XDP.
    fn reading(&self, found: interface::TxDropped) -> u64 {
        let at_nic = self.at_nics.get(&found.ifindex, 0);
        let Record([packets, by_driver]) = at_nic.unwrap_or(Record([0; 2]));
        let twice = if found.is_veth { by_driver } else { 0 };
        (found.packets + packets).saturating_sub(twice)
    }
}
