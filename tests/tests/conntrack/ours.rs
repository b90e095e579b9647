//! What does our pipeline say of each segment of a talk?

use dataplane_common::stage::conntrack::state;
use dataplane_user::tables::{HostTables, Image};
use sekisho_tests::{
    drive,
    packet::{Hook, HostPacket},
    world::{End, MTU_BYTES, World, everything},
};

use super::segment::{Judged, Side, Talk, addrs};

/// Two ports behind a router: the opener sends everything and is sent nothing.
pub struct Ours {
    image: Image,
    opener: End,
    responder: End,
}

const FLOW_LINES: u32 = 16;
const PORT: u16 = 1000;

impl Ours {
    pub fn new() -> Self {
        let mut w = World::new();
        let tenant = w.tenant();
        let router = w.router(tenant);
        let client = w.policy(0, &everything(), &[]);
        let server = w.policy(0, &everything(), &everything());
        let here = w.network(tenant, router, MTU_BYTES, &["10.1.0.1/24", "2001:db8:1::1/64"]);
        let there = w.network(tenant, router, MTU_BYTES, &["10.2.0.1/24", "2001:db8:2::1/64"]);
        let ((a, c), (a6, c6)) = (addrs(false), addrs(true));
        let opener = w.port(here, &[a, a6], client);
        let responder = w.port(there, &[c, c6], server);
        Self { image: w.image, opener, responder }
    }

    /// Each talk is judged alone, by tables that know no other.
    pub fn judge(&self, talks: &[Talk]) -> Vec<Vec<Judged>> {
        talks.iter().map(|talk| self.judge_one(talk)).collect()
    }

    fn judge_one(&self, talk: &Talk) -> Vec<Judged> {
        let tables = HostTables::new(self.image.clone(), FLOW_LINES);
        let judge = |segment: &super::segment::Segment| {
            let (from, to) = match segment.from {
                Side::Opener => (self.opener, self.responder),
                Side::Responder => (self.responder, self.opener),
            };
            let frame = segment.frame(talk.is_v6, PORT, from.mac, from.router).build();
            let outcome = drive::run(&tables, HostPacket::new(Hook::Tc, from.ifindex, &frame));
            let has_passed = matches!(
                outcome.end,
                drive::End::Left { output, .. } if output == to.attachment
            );
            let state = drive::halves(&tables).first().map_or(0, |half| half.state);
            // Linux keeps it as long as we do (300 s, "unacknowledged"), and calls it established.
            let is_picked_up = state == state::PICKED_UP;
            let state = if is_picked_up { state::ESTABLISHED } else { state };
            Judged { has_passed, state }
        };
        talk.segments.iter().map(judge).collect()
    }
}
