//! What was decided on the way? Tables that hear every note and, for a control, do not
//! know one rule.

use std::cell::RefCell;

use dataplane_common::{
    Stop, Tables, Work,
    stage::{limit, route},
    table::{
        classifier::Asked,
        datagram::Datagram,
        flow::{FlowCold, FlowLine, FlowMore},
        heap::{Heap, Line},
        meter::{Load, Meter},
        root::{More, Root},
        secret::Secret,
    },
    tables::{Counter, Heard, Note, Share},
    word::{Word32, Word64},
    work::{Meters, Which},
};
use dataplane_user::tables::HostTables;

/// The host's tables with an ear at them.
pub struct Watched<'t> {
    tables: &'t HostTables,
    forgotten_rule: Option<u32>,
    notes: RefCell<Vec<Note>>,
}

impl<'t> Watched<'t> {
    /// These tables, without the rule if one is to be forgotten.
    #[must_use]
    pub const fn new(tables: &'t HostTables, forgotten_rule: Option<u32>) -> Self {
        Self { tables, forgotten_rule, notes: RefCell::new(Vec::new()) }
    }

    /// What was told.
    #[must_use]
    pub fn into_notes(self) -> Vec<Note> {
        self.notes.into_inner()
    }
}

impl Heap for Watched<'_> {
    fn line(&self, index: u32) -> Option<&Line> {
        self.tables.line(index)
    }

    fn first_rule(&self, table: u32, asked: &Asked) -> u32 {
        let id = self.tables.first_rule(table, asked);
        if Some(id) == self.forgotten_rule { 0 } else { id }
    }
}

impl Tables for Watched<'_> {
    fn is_tracing(&self) -> bool {
        self.tables.is_tracing()
    }

    fn now_ticks(&self) -> u32 {
        self.tables.now_ticks()
    }

    fn root(&self) -> Option<&Root> {
        self.tables.root()
    }

    fn more(&self) -> Option<&More> {
        self.tables.more()
    }

    fn flow_lines(&self) -> u32 {
        self.tables.flow_lines()
    }

    fn route_leg(&self, w: &mut Work, which: Which) -> u32 {
        Stop::number(route::leads(self, w.leg(which)))
    }

    fn flow_room(&self, words: &[u64; 5]) -> u64 {
        self.tables.flow_room(words)
    }

    fn flow_goes_away(&self, words: &[u64; 5]) {
        self.tables.flow_goes_away(words);
    }

    fn flow_sole(&self, words: &[u64; 5]) -> u64 {
        self.tables.flow_sole(words)
    }

    fn secret(&self) -> &Secret {
        self.tables.secret()
    }

    fn flow(&self, index: u32) -> Option<&FlowLine> {
        self.tables.flow(index)
    }

    fn flow_cold(&self, index: u32) -> Option<&FlowCold> {
        self.tables.flow_cold(index)
    }

    fn flow_more(&self, index: u32) -> Option<&FlowMore> {
        self.tables.flow_more(index)
    }

    fn flows_away(&self, bucket: u32) -> Option<&Word64> {
        self.tables.flows_away(bucket)
    }

    fn flow_reserve(&self, tenant: u32, halves: u64, quota: u32) -> bool {
        self.tables.flow_reserve(tenant, halves, quota)
    }

    fn flow_release(&self, tenant: u32, halves: u64) {
        self.tables.flow_release(tenant, halves);
    }

    fn datagram(&self, index: u32) -> Option<&Datagram> {
        self.tables.datagram(index)
    }

    fn again(&self, index: u32) -> Option<&Word64> {
        self.tables.again(index)
    }

    fn swap(&self, word: &Word64, old: u64, new: u64) -> bool {
        self.tables.swap(word, old, new)
    }

    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool {
        self.tables.swap32(word, old, new)
    }

    fn add(&self, word: &Word64, value: u64) {
        self.tables.add(word, value);
    }

    fn add32(&self, word: &Word32, value: u32) -> u32 {
        self.tables.add32(word, value)
    }

    fn reserve(&self, of: Share, tenant: u32) -> bool {
        self.tables.reserve(of, tenant)
    }

    fn release(&self, of: Share, tenant: u32) {
        self.tables.release(of, tenant);
    }

    fn each(&self, count: u32, step: impl FnMut(u32) -> bool) {
        self.tables.each(count, step);
    }

    fn may_report(&self, tenant: u32) -> bool {
        self.tables.may_report(tenant)
    }

    fn may_copy(&self, tenant: u32, copies: u32) -> bool {
        self.tables.may_copy(tenant, copies)
    }

    fn may_claim(&self, tenant: u32) -> bool {
        self.tables.may_claim(tenant)
    }

    fn may_hear(&self, attachment: u32) -> bool {
        self.tables.may_hear(attachment)
    }

    fn meter(&self, number: u32) -> Option<&Meter> {
        self.tables.meter(number)
    }

    fn now_steps(&self, is_exact: bool) -> u64 {
        self.tables.now_steps(is_exact)
    }

    fn over_limit(&self, meters: Meters, load: Load) -> u32 {
        limit::over(self, meters, load)
    }

    fn count(&self, attachment: u32, counter: Counter, packets: u32, bytes: u32) {
        self.tables.count(attachment, counter, packets, bytes);
    }

    fn hear(&self, heard: &Heard) -> bool {
        self.tables.hear(heard)
    }

    fn count_stop(&self, tenant: u32, stop: Stop, packets: u32) {
        self.tables.count_stop(tenant, stop, packets);
    }

    fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }
}
