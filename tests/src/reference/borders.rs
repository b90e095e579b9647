//! Which borders may nobody cross? DESIGN sections 2, 4 and 7.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane_common::Stop;
use dataplane_user::model::{Destination, Exporter, NetworkIx, RouterIx, UplinkIx};

use super::{
    Party, Question, Reference,
    routes::{Known, Way},
};

impl Reference<'_> {
    /// What is wrong with a packet between these two that a router (`None`: an uplink
    /// that the line is attached to) forwards.
    pub(super) fn borders(
        &self,
        question: &Question,
        router: Option<RouterIx>,
        to: Party,
    ) -> BTreeSet<Stop> {
        let mut stops = BTreeSet::new();
        let from = question.from;
        let is_uplink = |party| matches!(party, Party::Uplink(_));
        if is_uplink(from) && is_uplink(to) {
            stops.insert(Stop::NotExported);
        }
        if (is_uplink(from) && self.is_closed(to)) || (is_uplink(to) && self.is_closed(from)) {
            stops.insert(Stop::MecOnly);
        }
        if !self.may_reach(from, to) || !self.may_reach(to, from) {
            stops.insert(Stop::LineDestination);
        }
        if let Party::Uplink(uplink) = to {
            let is_exported = match self.known(uplink, question.src) {
                Known::Exported(Exporter::Router(ix)) => Some(ix) == router,
                Known::Exported(Exporter::Access(_)) => router.is_none(),
                Known::Own | Known::Hosts | Known::Protected | Known::Inside | Known::Outside => {
                    false
                }
            };
            if !is_exported {
                stops.insert(Stop::NotExported);
            }
            let to = self.known(uplink, question.dst);
            if matches!(to, Known::Protected | Known::Own | Known::Hosts) {
                stops.insert(Stop::ProtectedDestination);
            }
        }
        stops
    }

    /// Is its network closed to uplinks?
    fn is_closed(&self, party: Party) -> bool {
        match party {
            Party::Port(ix) => self.site.networks[self.site.ports[ix].network].mec_only,
            Party::Line(_) | Party::Uplink(_) => false,
        }
    }

    /// The only network that a line is attached to, if it is to one.
    pub(super) fn bound_to(&self, party: Party) -> Option<NetworkIx> {
        match party {
            Party::Line(ix) => match self.site.lines[ix].destination {
                Destination::Network { network, .. } => Some(network),
                Destination::Router(_) | Destination::Uplink(_) => None,
            },
            Party::Port(_) | Party::Uplink(_) => None,
        }
    }

    /// A line that is attached to one network reaches its ports and lines alone.
    fn may_reach(&self, party: Party, other: Party) -> bool {
        let Some(network) = self.bound_to(party) else { return true };
        match other {
            Party::Port(ix) => self.site.ports[ix].network == network,
            Party::Line(_) => self.bound_to(other) == Some(network),
            Party::Uplink(_) => false,
        }
    }

    /// Strict reverse path: a source that is ours, or that does not lead back there.
    pub(super) fn is_source_wrong(
        &self,
        uplink: UplinkIx,
        exporter: Option<Exporter>,
        src: IpAddr,
    ) -> bool {
        let known = self.known(uplink, src);
        if matches!(known, Known::Own | Known::Hosts | Known::Exported(_) | Known::Inside) {
            return true;
        }
        if exporter.is_some() && matches!(known, Known::Protected) {
            return true;
        }
        match exporter {
            Some(Exporter::Router(router)) => {
                let leads_back =
                    matches!(self.way(router, src), Way::Uplink(back) if back == uplink);
                let has_hop = self.site.uplinks[uplink]
                    .next_hops
                    .iter()
                    .any(|hop| hop.address.is_ipv4() == src.is_ipv4());
                !leads_back || !has_hop
            }
            Some(Exporter::Access(_)) | None => false,
        }
    }
}
