//! How does a fragment that waited come in again?
//!
//! At the interface where it came in at first, by a test run of our programs there with a live
//! frame: it is judged as if it came just now, when the first of its datagram is known.

use std::{collections::HashMap, io, os::fd::OwnedFd, time::Instant};

use dataplane_common::{stage::fragment::Again, table::secret::Secret};

use super::{
    DatagramTable, Dataplane, Error, Hooked,
    held::{self, Held},
    parking::Fragment,
    state::Before,
    testrun,
};

impl Dataplane {
    /// The datagrams under way, as programs and userland share them.
    #[must_use]
    pub fn datagram_table(&self) -> DatagramTable<'_> {
        self.sweeper.datagram_table()
    }

    /// Can be read when a fragment was parked.
    pub fn parked_signal(&self) -> io::Result<OwnedFd> {
        self.parking.signal()
    }

    /// Sends in again the fragments that need wait no longer, at interfaces that are ours
    /// still: what comes in elsewhere, nobody would judge. Answers whether others wait.
    pub fn send_parked(&mut self) -> Result<bool, Error> {
        let table = self.sweeper.datagram_table();
        let (secret, ticks) = (Secret::of(self.state.secret), self.now_ticks());
        let is_known = |of: &Fragment| table.is_known(&of.key, of.owner, &secret, ticks);
        let due = self.parking.due(Instant::now(), is_known);
        let (mut sent, mut hooks) = (Ok(()), HashMap::new());
        for fragment in due {
            table.release(fragment.share);
            let Fragment { key, owner, ifindex, frame, .. } = &fragment;
            let hooked = *hooks.entry(*ifindex).or_insert_with(|| self.held_at(*ifindex));
            let Some(hooked) = hooked else { continue };
            let again = Again::of(key, *owner, &secret);
            if let Some(note) = self.again.shared().get(again.index as usize) {
                note.store(again.word(self.now_ticks()));
            }
            let done = testrun::send_in(&self.ebpf, hooked, *ifindex, frame);
            sent = sent.and(done);
        }
        sent.map(|()| self.parking.is_waiting())
    }

    /// Where our program sits on the interface of this number, if that is one of ours still:
    /// the number may be another's by now.
    fn held_at(&self, ifindex: u32) -> Option<Hooked> {
        let mut known = self.state.interfaces.iter();
        let is_held = |(name, before): &(&String, &Before)| {
            before.ifindex == ifindex
                && matches!(held::held(&self.place, name, before), Ok(Held::Yes))
        };
        known.find(is_held).map(|(_, before)| before.hooked)
    }

    /// What waits at an interface that is let go waits no more: another may get its number.
    pub(super) fn forget_parked(&mut self, ifindex: u32) {
        let forgotten = self.parking.forget(Instant::now(), ifindex);
        let table = self.datagram_table();
        forgotten.iter().for_each(|fragment| table.release(fragment.share));
    }
}
