//! Who looks after the flow table, whatever the loader is busy with?
//!
//! A large site takes seconds to be laid out. Flows expire and crowd each other meanwhile, so
//! what that needs is shared: the memory, which everybody changes by atomics, and where the
//! totals are, which one at a time may write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataplane_common::{
    table::{
        datagram::Datagram,
        flow::{FlowCold, FlowLine, FlowMore},
        secret::Secret,
        total::{Intent, Total},
    },
    tables::Tally,
    word::Word64,
};

use super::{
    DatagramTable, Error, FlowTable, Mapping, Swept,
    clock::Clock,
    crowd::{self, Kept},
    grace::Grace,
    sweep,
    totals::{Index, Ink, Totals},
};

/// The tables of flows and of datagrams, and what flows have carried.
pub struct Sweeper {
    pub(super) lines: Mapping<FlowLine>,
    pub(super) cold: Mapping<FlowCold>,
    pub(super) more: Mapping<FlowMore>,
    pub(super) away: Mapping<Word64>,
    pub(super) of_tenant: Mapping<Word64>,
    pub(super) secret: Secret,
    pub(super) datagrams: Mapping<Datagram>,
    pub(super) shares: Mapping<Word64>,
    pub(super) totals: Mapping<Total>,
    pub(super) intent: Mapping<Intent>,
    /// Whoever has it may write totals.
    pub(super) index: Mutex<Index>,
    pub(super) clock: Clock,
    pub(super) grace: Arc<Grace>,
}

impl Sweeper {
    /// The flow table as programs and userland share it.
    #[must_use]
    pub fn flow_table(&self) -> FlowTable<'_> {
        FlowTable {
            lines: self.lines.shared(),
            cold: self.cold.shared(),
            more: self.more.shared(),
            away: self.away.shared(),
            of_tenant: self.of_tenant.shared(),
            secret: &self.secret,
        }
    }

    /// The datagrams under way, likewise.
    #[must_use]
    pub fn datagram_table(&self) -> DatagramTable<'_> {
        DatagramTable { slots: self.datagrams.shared(), shares: self.shares.shared() }
    }

    /// The clock of flows: steps of 2^20 ns.
    #[must_use]
    pub fn now_ticks(&self) -> u32 {
        self.clock.now_ticks()
    }

    /// Are there so many flows that those go which only one side has agreed to? Half-flows that a
    /// tenant may have are its `quota`; `kept` are those that the last pass found not to go.
    pub fn is_crowded(
        &self,
        quota: impl Fn(u32) -> Option<u32>,
        kept: impl Fn(u32) -> Kept,
    ) -> bool {
        crowd::is_crowded(self.of_tenant.shared(), self.lines.shared().len(), quota, kept)
    }

    /// One pass. Half-flows that a tenant may have are its `quota`; those of a tenant that is no
    /// more are over.
    pub fn sweep(&self, quota: impl Fn(u32) -> Option<u32>) -> Result<Swept, Error> {
        let now_ticks = self.now_ticks();
        self.datagram_table().sweep(|tenant| quota(tenant).is_some(), now_ticks);
        let swept = self.write_totals(|totals| {
            sweep::sweep(self.flow_table(), totals, quota, now_ticks, || self.grace.wait())
        });
        swept.unwrap_or_else(|| Ok(Swept::default()))
    }

    /// Does what a process before us was about to do.
    pub(super) fn recover(&self) {
        self.write_totals(|totals| totals.recover(self.lines.shared(), self.cold.shared()));
    }

    pub(super) fn forget_rules(&self, is_gone: impl Fn(u32) -> bool) {
        self.write_totals(|totals| totals.forget_rules(is_gone));
    }

    pub(super) fn forget_tenant(&self, tenant: u32) {
        self.write_totals(|totals| totals.forget_tenant(tenant));
    }

    pub(super) fn total_of_rule(&self, rule: u32) -> Tally {
        self.index().of_rule(self.totals.shared(), rule)
    }

    pub(super) fn total_of_tenant(&self, tenant: u32) -> Tally {
        self.index().of_tenant(self.totals.shared(), tenant)
    }

    fn write_totals<T>(&self, change: impl FnOnce(&mut Totals<'_, Ink>) -> T) -> Option<T> {
        let (intent, totals) = (self.intent.shared().first()?, self.totals.shared());
        Some(change(&mut Totals { totals, intent, index: &mut self.index(), pen: &Ink }))
    }

    /// Whoever panicked with it left the totals whole: what is under way is noted beside them.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
