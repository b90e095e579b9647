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

use crate::load::{Kept, Sweeper};

/// Who sweeps.
pub struct Sweeping {
    sweeper: Arc<Sweeper>,
    /// Half-flows that a tenant may have.
    flows_per_tenant: u32,
    /// By number.
    tenants: Box<[Payer]>,
    /// Half-flows that were crowded out since the start.
    crowded_out: AtomicU64,
    /// Did a version come into force since the last pass?
    is_due: AtomicBool,
}

/// Who may have a number.
#[derive(Default)]
struct Payer {
    /// Is it a tenant?
    is_one: AtomicBool,
    /// What it had after the last pass that does not go ([`Kept`]).
    kept: AtomicU64,
}

impl Sweeping {
    /// With this sweeper.
    pub fn new(sweeper: Arc<Sweeper>, flows_per_tenant: u32) -> Self {
        let tenants = (0..limits::TENANTS_MAX).map(|_| Payer::default()).collect();
        Self {
            sweeper,
            flows_per_tenant,
            tenants,
            crowded_out: AtomicU64::new(0),
            is_due: AtomicBool::new(false),
        }
    }

    /// Half-flows that a tenant may have.
    pub const fn flows_per_tenant(&self) -> u32 {
        self.flows_per_tenant
    }

    /// Expired flows are cleared and counters folded.
    pub fn sweep(&self) -> anyhow::Result<()> {
        self.is_due.store(false, Relaxed);
        let swept = self.sweeper.sweep(|tenant| self.quota(tenant))?;
        self.crowded_out.fetch_add(swept.crowded_out as u64, Relaxed);
        self.tenants.iter().for_each(|payer| payer.kept.store(0, Relaxed));
        for (tenant, kept) in swept.kept {
            self.payer(tenant).inspect(|payer| payer.kept.store(kept.word(), Relaxed));
        }
        Ok(())
    }

    /// Where flows crowd the table, those go that only one side has agreed to, so that others may
    /// begin in the meantime. After a change many may have been made anew: what they were is in
    /// the way of the next change.
    pub fn make_room(&self) -> anyhow::Result<()> {
        let kept = |tenant| {
            let word = self.payer(tenant).map_or(0, |payer| payer.kept.load(Relaxed));
            Kept::from_word(word)
        };
        let is_crowded = self.sweeper.is_crowded(|tenant| self.quota(tenant), kept);
        if is_crowded || self.is_due.load(Relaxed) { self.sweep() } else { Ok(()) }
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
        self.is_due.store(true, Relaxed);
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
