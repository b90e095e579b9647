//! How do flows end on time, whatever else the daemon does?
//!
//! A site is laid out and put in force with the daemon locked, which takes a second where it is
//! large. Flows are looked after beside that: all that has to be known of the site is who is a
//! tenant.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use dataplane_common::{limits, table::Tenant};

use crate::load::Sweeper;

/// Who sweeps.
pub struct Sweeping {
    sweeper: Arc<Sweeper>,
    /// Half-flows that a tenant may have.
    flows_per_tenant: u32,
    /// By number.
    tenants: Box<[Payer]>,
    /// Half-flows that were crowded out since the start.
    crowded_out: AtomicU64,
}

/// Who may have a number.
#[derive(Default)]
struct Payer {
    /// Is it a tenant?
    is_one: AtomicBool,
    /// Had it too many flows still after a pass? Both sides have agreed to them.
    is_stuck: AtomicBool,
}

impl Sweeping {
    /// With this sweeper.
    pub fn new(sweeper: Arc<Sweeper>, flows_per_tenant: u32) -> Self {
        let tenants = (0..limits::TENANTS_MAX).map(|_| Payer::default()).collect();
        Self { sweeper, flows_per_tenant, tenants, crowded_out: AtomicU64::new(0) }
    }

    /// Expired flows are cleared and counters folded.
    pub fn sweep(&self) -> anyhow::Result<()> {
        self.pass()?;
        self.tenants.iter().for_each(|payer| payer.is_stuck.store(false, Relaxed));
        Ok(())
    }

    /// Where flows crowd the table, those go that only one side has agreed to, so that others may
    /// begin in the meantime. Whoever has too many even then is left to the next
    /// [`sweep`](Self::sweep).
    pub fn make_room(&self) -> anyhow::Result<()> {
        let is_stuck = |payer: &Payer| payer.is_stuck.load(Relaxed);
        let unless_stuck =
            |tenant| self.payer(tenant).filter(|of| !is_stuck(of)).and(self.quota(tenant));
        if self.sweeper.crowding(unless_stuck).is_empty() {
            return Ok(());
        }
        self.pass()?;
        for tenant in self.sweeper.crowding(|tenant| self.quota(tenant)) {
            self.payer(tenant).inspect(|payer| payer.is_stuck.store(true, Relaxed));
        }
        Ok(())
    }

    /// Half-flows that were crowded out since the start.
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out.load(Relaxed)
    }

    /// A version with these tenants is about to come into force, or found in force: they may have
    /// flows, beside those who had some before.
    pub fn expect(&self, tenants: &[Tenant]) {
        for (payer, tenant) in self.tenants.iter().zip(tenants) {
            payer.is_one.fetch_or(is_one(tenant), Relaxed);
        }
    }

    /// It is in force: flows of anybody else are over.
    pub fn settle(&self, tenants: &[Tenant]) {
        for (number, payer) in self.tenants.iter().enumerate() {
            payer.is_one.store(tenants.get(number).is_some_and(is_one), Relaxed);
        }
    }

    fn pass(&self) -> anyhow::Result<()> {
        let swept = self.sweeper.sweep(|tenant| self.quota(tenant))?;
        self.crowded_out.fetch_add(swept.crowded_out as u64, Relaxed);
        Ok(())
    }

    fn payer(&self, tenant: u32) -> Option<&Payer> {
        self.tenants.get(tenant as usize)
    }

    /// How many half-flows a tenant may have; nothing: it is none. Nobody's flows are the
    /// provider's.
    fn quota(&self, tenant: u32) -> Option<u32> {
        let is_one = self.payer(tenant).is_some_and(|payer| payer.is_one.load(Relaxed));
        (tenant == 0 || is_one).then_some(self.flows_per_tenant)
    }
}

/// Is it anybody's record? No epoch is zero.
fn is_one(tenant: &Tenant) -> bool {
    tenant.epoch != 0
}
