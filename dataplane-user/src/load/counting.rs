//! What was counted, and what is forgotten?
//!
//! Programs count at attachments, by reason and in flows; here the sums are asked for, kept
//! over restarts, and begun anew for whoever gets a number that another had.

use std::sync::Arc;

use dataplane_common::tables::Tally;

use super::{
    AttachmentCounters, Dataplane, Error, FlowTable, HalfFlow, RefusedAt, StopCount, Sweeper,
    flows, refused,
};

impl Dataplane {
    /// Packets and bytes of the first `attachments` attachments.
    pub fn counters(&self, attachments: u32) -> Result<Vec<AttachmentCounters>, Error> {
        self.counters.attachments(attachments)
    }

    /// Why packets of the first `tenants` tenants were stopped.
    pub fn stops(&self, tenants: u32) -> Result<Vec<StopCount>, Error> {
        self.counters.stops(tenants)
    }

    /// What interfaces did not take of what was sent to them, beyond what is counted at
    /// attachments.
    pub fn refused(&self) -> Result<Vec<RefusedAt>, Error> {
        self.refusals.look(&self.state)
    }

    /// The same of this tenant, up to the last [`fold_refused`](Self::fold_refused).
    #[must_use]
    pub fn refused_of(&self, tenant: u32) -> u64 {
        self.state.refused_of_tenants.get(&tenant).copied().unwrap_or(0)
    }

    /// Adds what was refused since the last call to the sum of whom `tenant` names by the
    /// interface's number.
    pub fn fold_refused(&mut self, tenant: impl Fn(u32) -> u32) -> Result<(), Error> {
        // Written before anybody is told: a sum never goes back.
        let mut state = self.state.clone();
        if self.refusals.fold(&mut state, tenant)? {
            state.write(&self.place.state_file())?;
            self.state = state;
        }
        Ok(())
    }

    /// One that an interface refused was no packet of a tenant's.
    pub fn not_refused(&mut self, interface: &str) {
        refused::forgive(interface, &mut self.state);
    }

    /// What of refused packets this kernel does not tell.
    #[must_use]
    pub fn unseen(&self) -> &[String] {
        &self.unseen
    }

    /// From now on these tenants, attachments and interfaces have counted nothing; to be called
    /// before the first version that knows them under these numbers.
    pub fn begin_counting(
        &mut self,
        tenants: &[u32],
        attachments: &[u32],
        interfaces: &[String],
    ) -> Result<(), Error> {
        if !tenants.is_empty() || !interfaces.is_empty() {
            self.refusals.forget(tenants, interfaces, &mut self.state)?;
            self.state.write(&self.place.state_file())?;
        }
        for tenant in tenants {
            self.sweeper.forget_tenant(*tenant);
        }
        self.counters.begin(tenants, attachments)
    }

    /// Forgets what the flows of these rules have carried.
    pub fn forget_rules(&mut self, is_gone: impl Fn(u32) -> bool) {
        self.sweeper.forget_rules(is_gone);
    }

    /// The clock of flows: steps of 2^20 ns.
    #[must_use]
    pub fn now_ticks(&self) -> u32 {
        self.sweeper.now_ticks()
    }

    /// Every half-flow in force.
    pub fn flows(&self) -> impl Iterator<Item = HalfFlow> {
        let FlowTable { lines, cold, more, .. } = self.flow_table();
        flows::in_force(lines, cold, more, self.now_ticks())
    }

    /// The flow table as programs and userland share it.
    #[must_use]
    pub fn flow_table(&self) -> FlowTable<'_> {
        self.sweeper.flow_table()
    }

    /// What flow keys are hashed with.
    #[must_use]
    pub const fn flow_secret(&self) -> [u64; 2] {
        self.state.secret
    }

    /// Who looks after the flow table, at any time.
    #[must_use]
    pub fn sweeper(&self) -> Arc<Sweeper> {
        self.sweeper.clone()
    }

    /// Sets the clock of flows right, and tells what the programs logged since the last call.
    pub fn look_after(&mut self) -> Result<(), Error> {
        if let Some(log) = &mut self.log {
            log.tell();
        }
        self.sweeper.clock.set(&self.ebpf)
    }

    /// What flows of this rule have carried, as far as it was folded.
    #[must_use]
    pub fn total_of_rule(&self, rule: u32) -> Tally {
        self.sweeper.total_of_rule(rule)
    }

    /// What flows have carried that this tenant pays for, as far as it was folded.
    #[must_use]
    pub fn total_of_tenant(&self, tenant: u32) -> Tally {
        self.sweeper.total_of_tenant(tenant)
    }
}
