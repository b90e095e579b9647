//! How does an amount get from a flow's counters into the sums, and is in one of them whatever
//! instant this process dies at?
//!
//! What a flow carried is in its counts; of its packets, `folded_packets` are in the totals. Both lie
//! in the kernel. To fold, the new values of all that changes (absolute ones, not differences) are
//! noted as an intent, then the intent's step is set, then they are written, then the step is
//! cleared. Whoever finds a step set writes the values again, which changes nothing if they are
//! there: so before the step is set nothing has happened, and after it everything.

use std::collections::HashMap;

use dataplane_common::{
    table::{
        flow::{FlowCold, FlowLine},
        total::{Intent, Total, kind, step},
    },
    tables::Tally,
    word::{Word32, Word64},
};

/// How words are written that have to survive us.
pub trait Pen {
    /// Writes a word.
    fn put(&self, word: &Word64, value: u64);
    /// The same of 32 bits.
    fn put32(&self, word: &Word32, value: u32);
    /// Writes a word if it is still `old`.
    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool;
    /// Adds to a word that others add to, wrapping round.
    fn add(&self, word: &Word64, value: u64);
}

/// The pen of a process that lives.
pub struct Ink;

impl Pen for Ink {
    fn put(&self, word: &Word64, value: u64) {
        word.store(value);
    }

    fn put32(&self, word: &Word32, value: u32) {
        word.store(value);
    }

    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool {
        word.swap(old, new)
    }

    fn add(&self, word: &Word64, value: u64) {
        word.add(value);
    }
}

/// Where everybody's total is.
#[derive(Default, Debug)]
pub struct Index {
    places: HashMap<u64, usize>,
    free: Vec<usize>,
}

impl Index {
    /// Of totals that are there.
    #[must_use]
    pub fn of(totals: &[Total]) -> Self {
        let mut index = Self::default();
        for (place, total) in totals.iter().enumerate().rev() {
            match total.of.load() {
                0 => index.free.push(place),
                of => drop(index.places.insert(of, place)),
            }
        }
        index
    }

    /// What this rule's flows carried. A packet counts for the sender's rule and the receiver's.
    #[must_use]
    pub fn of_rule(&self, totals: &[Total], rule: u32) -> Tally {
        self.tally(totals, kind::RULE | u64::from(rule))
    }

    /// What the flows carried that this tenant pays for.
    #[must_use]
    pub fn of_tenant(&self, totals: &[Total], tenant: u32) -> Tally {
        self.tally(totals, kind::TENANT | u64::from(tenant))
    }

    fn tally(&self, totals: &[Total], of: u64) -> Tally {
        let total = self.places.get(&of).and_then(|&place| totals.get(place));
        total.map_or_else(Tally::default, |total| Tally {
            packets: total.packets.load(),
            bytes: total.bytes.load(),
        })
    }
}

/// The totals, to be read and written.
pub struct Totals<'t, P> {
    /// The sums.
    pub totals: &'t [Total],
    /// What is under way.
    pub intent: &'t Intent,
    /// Where they are.
    pub index: &'t mut Index,
    /// What they are written with.
    pub pen: &'t P,
}

impl<P: Pen> Totals<'_, P> {
    /// Does what a process before us was about to do.
    pub fn recover(&self, lines: &[FlowLine], cold: &[FlowCold]) {
        self.carry_out(lines, cold);
    }

    /// Adds to the totals what the half-flow has forwarded since it was last folded; where there
    /// is no room for a total, another time.
    pub fn fold(&mut self, lines: &[FlowLine], flows: &[FlowCold], line: usize) {
        let (Some(hot), Some(cold)) = (lines.get(line), flows.get(line)) else { return };
        let (packets, bytes) = cold.forwarded(hot);
        // The low words differ by less than 2^31 packets a pass.
        let more_packets = (packets as u32).wrapping_sub(cold.folded_packets.load());
        let more_bytes = bytes.wrapping_sub(cold.folded_bytes.load());
        let more = Tally { packets: more_packets.into(), bytes: more_bytes };
        // What is being carried over just now is missing: it is there the next time.
        let is_less = (more_packets as i32) < 0 || (more_bytes as i64) < 0;
        if is_less || more == Tally::default() {
            return;
        }
        let rule = |number: u32| (number != 0).then_some(kind::RULE | u64::from(number));
        let (sender, receiver) = (cold.rule_egress.load(), cold.rule_ingress.load());
        // A rule that is both ends' counts twice.
        let twice = if sender == receiver { 2 } else { 1 };
        let to = [
            (rule(sender), twice),
            (rule(receiver).filter(|_| twice == 1), 1),
            (Some(kind::TENANT | u64::from(cold.tenant.load())), 1),
        ];
        for ((to, times), posting) in to.into_iter().zip(&self.intent.totals) {
            let Some(to) = to else {
                self.pen.put(&posting.place, 0);
                continue;
            };
            let Some(place) = self.place(to) else { return };
            let Some(total) = self.totals.get(place) else { return };
            self.pen.put(&posting.place, place as u64 + 1);
            self.pen.put(&posting.packets, total.packets.load() + times * more.packets);
            self.pen.put(&posting.bytes, total.bytes.load() + times * more.bytes);
        }
        self.pen.put(&self.intent.line, line as u64);
        self.pen.put(&self.intent.folded_packets, u64::from(packets as u32));
        self.pen.put(&self.intent.folded_bytes, bytes);
        self.pen.put(&self.intent.step, step::FOLD);
        self.carry_out(lines, flows);
    }

    /// A half-flow whose counters were folded, and that nobody adds to, begins from zero.
    pub fn clear(&self, lines: &[FlowLine], flows: &[FlowCold], line: usize) {
        self.pen.put(&self.intent.line, line as u64);
        self.pen.put(&self.intent.step, step::CLEAR);
        self.carry_out(lines, flows);
    }

    fn carry_out(&self, lines: &[FlowLine], flows: &[FlowCold]) {
        let intent = self.intent;
        let line = intent.line.load() as usize;
        match (intent.step.load(), lines.get(line).zip(flows.get(line))) {
            (step::FOLD, Some((_, cold))) => {
                for posting in &intent.totals {
                    let place = (posting.place.load() as usize).checked_sub(1);
                    if let Some(total) = place.and_then(|place| self.totals.get(place)) {
                        self.pen.put(&total.packets, posting.packets.load());
                        self.pen.put(&total.bytes, posting.bytes.load());
                    }
                }
                self.pen.put32(&cold.folded_packets, intent.folded_packets.load() as u32);
                self.pen.put(&cold.folded_bytes, intent.folded_bytes.load());
            }
            (step::CLEAR, Some((hot, cold))) => {
                self.pen.put32(&hot.counts, 0);
                self.pen.put(&cold.packets, 0);
                self.pen.put(&cold.bytes, 0);
                self.pen.put32(&cold.folded_packets, 0);
                self.pen.put(&cold.folded_bytes, 0);
            }
            _ => {}
        }
        self.pen.put(&intent.step, step::NONE);
    }

    /// Where the total is, from now on if it was nowhere.
    fn place(&mut self, of: u64) -> Option<usize> {
        if let Some(&place) = self.index.places.get(&of) {
            return Some(place);
        }
        let place = self.index.free.pop()?;
        let total = self.totals.get(place)?;
        // It is nobody's until its last word is written.
        self.pen.put(&total.packets, 0);
        self.pen.put(&total.bytes, 0);
        self.pen.put(&total.of, of);
        self.index.places.insert(of, place);
        Some(place)
    }

    /// Forgets rules.
    pub fn forget_rules(&mut self, is_gone: impl Fn(u32) -> bool) {
        let is_gone = |of: &u64| of & !0xffff_ffff == kind::RULE && is_gone(*of as u32);
        let gone: Vec<_> = self.index.places.keys().copied().filter(is_gone).collect();
        gone.into_iter().for_each(|of| self.forget(of));
    }

    /// Forgets a tenant.
    pub fn forget_tenant(&mut self, tenant: u32) {
        self.forget(kind::TENANT | u64::from(tenant));
    }

    fn forget(&mut self, of: u64) {
        let Some(place) = self.index.places.remove(&of) else { return };
        if let Some(total) = self.totals.get(place) {
            self.pen.put(&total.of, 0);
        }
        self.index.free.push(place);
    }
}
