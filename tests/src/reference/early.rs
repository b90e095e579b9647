//! May a piece wait that comes before the first one of its datagram? README, "Fragments".

use std::collections::BTreeSet;

use dataplane_common::Stop;

use super::{Party, Question, Reference, routes::Known};

/// What becomes of such a piece: it reaches nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Early {
    /// The daemon keeps it.
    pub may_wait: bool,
    /// Or it stops, for one of these reasons.
    pub stops: BTreeSet<Stop>,
}

impl Reference<'_> {
    /// Of a later piece of this packet.
    #[must_use]
    pub fn early(&self, question: &Question) -> Early {
        let mut stops = self.source(question);
        let may_wait = match question.from {
            Party::Port(_) | Party::Line(_) => stops.is_empty(),
            Party::Uplink(uplink) if matches!(self.known(uplink, question.dst), Known::Hosts) => {
                // The host has no later pieces.
                stops.insert(Stop::FragmentEarly);
                false
            }
            Party::Uplink(_) => {
                // What the whole packet would not be routed for, nobody waits for, either.
                let (routed, is_open) = self.routed(question);
                let is_clean = stops.is_empty();
                stops.extend(routed);
                is_clean && is_open
            }
        };
        Early { may_wait, stops }
    }
}
