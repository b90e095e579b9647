//! Which datagrams are under way, and which are over?

use dataplane_common::{
    limits::DATAGRAMS,
    stage::fragment::{is_over, paid},
    table::{
        datagram::{Datagram, PLACES, slot_at, status},
        flow::homes,
        secret::Secret,
    },
    word::Word64,
};

/// The table of datagrams, and what each tenant has of it.
#[derive(Clone, Copy)]
pub struct DatagramTable<'t> {
    /// The slots.
    pub slots: &'t [Datagram],
    /// By [`Share::index`](dataplane_common::tables::Share::index).
    pub shares: &'t [Word64],
}

impl DatagramTable<'_> {
    /// Those of which pieces are missing.
    #[must_use]
    pub fn live(self) -> usize {
        let is_live = |slot: &&Datagram| slot.status.load() & status::LIFE == status::LIVE;
        self.slots.iter().filter(is_live).count()
    }

    /// Has the first fragment of this datagram come?
    #[must_use]
    pub fn is_known(self, key: &[u64; 5], owner: u32, secret: &Secret, now_ticks: u32) -> bool {
        let homes = homes(key, secret, DATAGRAMS);
        (0..PLACES).any(|step| {
            self.slots.get(slot_at(&homes, step) as usize).is_some_and(|slot| {
                let seen = slot.status.load();
                seen & status::LIFE >= status::LIVE
                    && slot.has(key, owner)
                    && !is_over(slot, seen, now_ticks)
            })
        })
    }

    /// Frees the slots of datagrams whose time is over, and of whoever is no `is_tenant`.
    pub fn sweep(self, is_tenant: impl Fn(u32) -> bool, now_ticks: u32) {
        for slot in self.slots {
            let seen = slot.status.load();
            let tenant = slot.tenant.load();
            if seen & status::LIFE < status::LIVE
                || !is_over(slot, seen, now_ticks) && is_tenant(tenant)
            {
                continue;
            }
            let is_free = slot.status.swap(seen, seen & !(status::STAMP - 1));
            if is_free && seen & status::LIFE == status::LIVE {
                self.release(paid(seen).index(tenant));
            }
        }
    }

    /// One place less is taken up of this share.
    pub fn release(self, index: u32) {
        let Some(count) = self.shares.get(index as usize) else { return };
        let mut had = count.load();
        // A daemon that began anew may not know of all that was taken before.
        while had > 0 && !count.swap(had, had - 1) {
            had = count.load();
        }
    }
}

#[cfg(test)]
mod tests {
    use dataplane_common::tables::Share;

    use super::*;

    const KEY: [u64; 5] = [1, 2, 3, 4, 5];
    const SECRET: &Secret = &Secret::of([6, 7]);

    #[test]
    fn a_datagram_is_known_until_its_time_is_over() {
        let slots: Vec<_> = (0..DATAGRAMS).map(|_| Datagram::default()).collect();
        let shares: Vec<_> = (0..16).map(|_| Word64::default()).collect();
        let table = DatagramTable { slots: &slots, shares: &shares };
        let slot = &slots[slot_at(&homes(&KEY, SECRET, DATAGRAMS), PLACES - 1) as usize];
        slot.key.iter().zip(KEY).for_each(|(word, key)| word.store(key));
        slot.owner.store(9);
        slot.tenant.store(2);
        slot.ms_max.store(30_000);
        slot.seen_ticks.store(1000);
        slot.status.store((5 * status::STAMP) | status::LIVE);
        shares[Share::Datagrams.index(2) as usize].store(1);
        assert_eq!(table.live(), 1);
        assert!(table.is_known(&KEY, 9, SECRET, 30_999));
        assert!(!table.is_known(&KEY, 8, SECRET, 30_999), "another sender's");
        assert!(!table.is_known(&[0; 5], 9, SECRET, 30_999));
        assert!(!table.is_known(&KEY, 9, SECRET, 31_000));
        table.sweep(|_| true, 30_999);
        assert_eq!(table.live(), 1);
        table.sweep(|_| true, 31_000);
        assert_eq!((table.live(), slot.status.load()), (0, 5 * status::STAMP));
        assert_eq!(shares[Share::Datagrams.index(2) as usize].load(), 0);
        table.release(Share::Datagrams.index(2));
        assert_eq!(shares[Share::Datagrams.index(2) as usize].load(), 0);

        // What came by an uplink had a place of another share.
        let live = status::LIVE | status::INBOUND;
        slot.status.store(live);
        shares[Share::InboundDatagrams.index(2) as usize].store(1);
        shares[Share::Datagrams.index(2) as usize].store(1);
        table.sweep(|_| true, 31_000);
        assert_eq!(shares[Share::InboundDatagrams.index(2) as usize].load(), 0);
        assert_eq!(shares[Share::Datagrams.index(2) as usize].load(), 1);
    }
}
