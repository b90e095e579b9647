//! What has been counted?

use aya::{
    Pod,
    maps::{Map, MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use dataplane_common::{
    limits,
    stop::{STOPS_STRIDE, Stop},
    tables::{COUNTERS, Tally},
};

use super::{Error, records::Record};

/// What went in and out at an attachment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AttachmentCounters {
    /// Came in.
    pub received: Tally,
    /// Left through it, forwarded for somebody.
    pub sent: Tally,
    /// Was answered by us: ARP, neighbour discovery, echo.
    pub answered: Tally,
    /// ICMP errors that we made.
    pub reported: Tally,
    /// Told the daemon of a MAC.
    pub heard: Tally,
    /// Broadcast and multicast of which copies left.
    pub flooded: Tally,
    /// Such copies, where they left.
    pub copied: Tally,
    /// Of those that left: the kernel refused them at once.
    pub refused: Tally,
    /// Fragments that the daemon keeps until their first one comes; sent in again, they are
    /// received again.
    pub parked: Tally,
    /// Was passed up to the host.
    pub passed: Tally,
}

/// How often a tenant's packets were stopped for a reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopCount {
    /// The tenant; 0: the provider, or nobody that could be known.
    pub tenant: u32,
    /// The reason.
    pub stop: Stop,
    /// How often, never 0.
    pub packets: u64,
}

/// The counters of no version, one element for each CPU.
pub struct Counters {
    counts: PerCpuArray<MapData, Record<Tally>>,
    stops: PerCpuArray<MapData, u64>,
    attachments: Unused,
    tenants: Unused,
}

/// The first of the numbers that were nobody's since the tables were made: so nothing was counted
/// under it, nor under any after it.
struct Unused(u32);

impl Unused {
    /// These numbers are somebody's from now on; answers those that may have counted something.
    fn begin<'n>(&mut self, numbers: &'n [u32]) -> impl Iterator<Item = u32> + use<'n> {
        let first = self.0;
        self.0 = numbers.iter().fold(first, |next, number| next.max(number + 1));
        numbers.iter().copied().filter(move |number| *number < first)
    }
}

impl Counters {
    /// The counters in these maps; is it known that nobody's number has been in force since they
    /// were made?
    pub fn new(counts: Map, stops: Map, are_unused: bool) -> Result<Self, Error> {
        let counts = counts.try_into().map_err(|source| Error::Map { name: "COUNTS", source })?;
        let stops = stops.try_into().map_err(|source| Error::Map { name: "STOPS", source })?;
        let unused = || Unused(if are_unused { 0 } else { u32::MAX });
        Ok(Self { counts, stops, attachments: unused(), tenants: unused() })
    }

    /// The counters of the first `attachments` attachments.
    pub fn attachments(&self, attachments: u32) -> Result<Vec<AttachmentCounters>, Error> {
        let attachments = attachments.min(limits::ATTACHMENTS_MAX);
        (0..attachments).map(|id| self.attachment(id)).collect()
    }

    fn attachment(&self, id: u32) -> Result<AttachmentCounters, Error> {
        // In the order of `dataplane_common::tables::Counter`.
        let first = id * COUNTERS as u32;
        Ok(AttachmentCounters {
            received: self.tally(first)?,
            sent: self.tally(first + 1)?,
            answered: self.tally(first + 2)?,
            reported: self.tally(first + 3)?,
            heard: self.tally(first + 4)?,
            flooded: self.tally(first + 5)?,
            copied: self.tally(first + 6)?,
            refused: self.tally(first + 7)?,
            parked: self.tally(first + 8)?,
            passed: self.tally(first + 9)?,
        })
    }

    /// From now on these tenants and attachments have counted nothing: their numbers were
    /// others' before, and nobody counts under them yet.
    pub fn begin(&mut self, tenants: &[u32], attachments: &[u32]) -> Result<(), Error> {
        for tenant in self.tenants.begin(tenants) {
            for index in tenant * STOPS_STRIDE..(tenant + 1) * STOPS_STRIDE {
                let set = self.stops.set(index, everywhere(0)?, 0);
                set.map_err(|source| Error::Map { name: "STOPS", source })?;
            }
        }
        for attachment in self.attachments.begin(attachments) {
            for index in attachment * COUNTERS as u32..(attachment + 1) * COUNTERS as u32 {
                let set = self.counts.set(index, everywhere(Record(Tally::default()))?, 0);
                set.map_err(|source| Error::Map { name: "COUNTS", source })?;
            }
        }
        Ok(())
    }

    fn tally(&self, index: u32) -> Result<Tally, Error> {
        let each =
            self.counts.get(&index, 0).map_err(|source| Error::Map { name: "COUNTS", source })?;
        Ok(each.iter().fold(Tally::default(), |sum, Record(tally)| Tally {
            packets: sum.packets + tally.packets,
            bytes: sum.bytes + tally.bytes,
        }))
    }

    /// Every reason for which packets of the first `tenants` tenants were stopped.
    pub fn stops(&self, tenants: u32) -> Result<Vec<StopCount>, Error> {
        let mut found = Vec::new();
        for tenant in 0..tenants.min(limits::TENANTS_MAX) {
            for &stop in Stop::ALL {
                let each = self
                    .stops
                    .get(&(tenant * STOPS_STRIDE + stop as u32), 0)
                    .map_err(|source| Error::Map { name: "STOPS", source })?;
                let packets = each.iter().sum();
                if packets != 0 {
                    found.push(StopCount { tenant, stop, packets });
                }
            }
        }
        Ok(found)
    }
}

/// The value on every CPU.
fn everywhere<T: Pod + Clone>(value: T) -> Result<PerCpuValues<T>, Error> {
    let cpus = nr_cpus().map_err(|(_, source)| Error::Cpus { source })?;
    PerCpuValues::try_from(vec![value; cpus]).map_err(|source| Error::Cpus { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_have_counted_something_begins_anew() {
        let mut unused = Unused(0);
        let mut begin = |numbers: &[u32]| unused.begin(numbers).collect::<Vec<_>>();
        assert_eq!(begin(&[1, 2, 4]), [0_u32; 0]);
        assert_eq!(begin(&[5, 3, 2]), [3, 2]);
        assert_eq!(begin(&[]), [0_u32; 0]);
        assert_eq!(begin(&[6, 5]), [5]);
        assert_eq!(Unused(u32::MAX).begin(&[9]).collect::<Vec<_>>(), [9]);
    }
}
