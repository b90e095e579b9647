//! May a piece wait that comes before the first one of its datagram? README, "Fragments".

use std::collections::BTreeSet;

use dataplane_common::Stop;
use dataplane_user::model::Exporter;

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
    /// Of a later piece of this packet. Not judged: whether what comes from outside with an
    /// address inside is found out at once or when its datagram does not come.
    #[must_use]
    pub fn early(&self, question: &Question) -> Early {
        let mut stops = self.source(question);
        let is_awaited = match question.from {
            Party::Port(_) | Party::Line(_) => true,
            // Nobody waits for what leads to nobody.
            Party::Uplink(uplink) => {
                stops.insert(Stop::ReversePath);
                match self.known(uplink, question.dst) {
                    Known::Exported(Exporter::Router(_)) => true,
                    Known::Exported(Exporter::Access(access)) => {
                        self.session(access, question.dst).is_some()
                    }
                    Known::Own
                    | Known::Hosts
                    | Known::Protected
                    | Known::Inside
                    | Known::Outside => false,
                }
            }
        };
        let is_clean = stops.iter().all(|stop| *stop == Stop::ReversePath);
        if !is_awaited {
            stops.insert(Stop::FragmentEarly);
        }
        Early { may_wait: is_awaited && is_clean, stops }
    }
}
