//! How do flows end on time, whatever else the daemon does?
//!
//! Sites are checked, compiled and laid out with the daemon locked, which takes seconds where
//! they are large. Flows are looked after beside that: all that has to be known of the site is
//! who is a tenant.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use dataplane_common::limits;

use crate::{
    compile::ids::{Ids, Kind},
    load::Sweeper,
};

/// Who sweeps.
pub struct Sweeping {
    sweeper: Arc<Sweeper>,
    /// Half-flows that a tenant may have.
    flows_per_tenant: u32,
    /// By number: is it one?
    tenants: Box<[AtomicBool]>,
    /// Half-flows that were crowded out since the start.
    crowded_out: AtomicU64,
    /// Did the last pass find none that could go?
    is_stuck: AtomicBool,
}

impl Sweeping {
    /// With this sweeper.
    pub fn new(sweeper: Arc<Sweeper>, flows_per_tenant: u32) -> Self {
        let tenants = (0..limits::TENANTS_MAX).map(|_| AtomicBool::new(false)).collect();
        Self {
            sweeper,
            flows_per_tenant,
            tenants,
            crowded_out: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Expired flows are cleared and counters folded.
    pub fn sweep(&self) -> anyhow::Result<()> {
        self.pass()?;
        self.is_stuck.store(false, Relaxed);
        Ok(())
    }

    /// Where flows crowd the table, those go that only one side has agreed to, so that others may
    /// begin in the meantime. If none could go, that is left to the next [`sweep`](Self::sweep).
    pub fn make_room(&self) -> anyhow::Result<()> {
        if !self.is_stuck.load(Relaxed) && self.sweeper.is_crowded(|tenant| self.quota(tenant)) {
            self.is_stuck.store(self.pass()? == 0, Relaxed);
        }
        Ok(())
    }

    /// Half-flows that were crowded out since the start.
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out.load(Relaxed)
    }

    /// A version with these tenants is about to come into force: they may have flows, beside
    /// those who had some before.
    pub fn expect(&self, ids: &Ids) {
        for (_, tenant) in ids.all(Kind::Tenant) {
            if let Some(is_one) = self.tenants.get(tenant as usize) {
                is_one.store(true, Relaxed);
            }
        }
    }

    /// It is in force: flows of anybody else are over.
    pub fn settle(&self, ids: &Ids) {
        for (tenant, is_one) in (0..).zip(&self.tenants) {
            is_one.store(ids.has(Kind::Tenant, tenant), Relaxed);
        }
    }

    /// Answers how many half-flows were crowded out.
    fn pass(&self) -> anyhow::Result<u64> {
        let swept = self.sweeper.sweep(|tenant| self.quota(tenant))?;
        let crowded_out = swept.crowded_out as u64;
        self.crowded_out.fetch_add(crowded_out, Relaxed);
        Ok(crowded_out)
    }

    /// How many half-flows a tenant may have; nothing: it is none. Nobody's flows are the
    /// provider's.
    fn quota(&self, tenant: u32) -> Option<u32> {
        let is_one = self.tenants.get(tenant as usize).is_some_and(|is_one| is_one.load(Relaxed));
        (tenant == 0 || is_one).then_some(self.flows_per_tenant)
    }
}
