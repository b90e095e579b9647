//! What is for the host that shares a link? README, "A NIC that the host shares".

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane_common::Stop;
use dataplane_user::model::{HostEntry, HostMatch, HostShare};

use super::{Branch, Party, Question, Reference, Traffic, judge::is_martian, routes::Known};

impl Reference<'_> {
    /// What becomes of a packet to an address that the host has on the link by which it
    /// comes in; `None`: it is no business of the host's.
    pub(super) fn hosts(&self, question: &Question) -> Option<Branch> {
        let share = self.shared_with(question)?;
        let entries = || share.entries.iter().filter(|entry| entry.address == question.dst);
        entries().next()?;
        let mut stops = BTreeSet::new();
        if is_martian(question) {
            stops.insert(Stop::MartianSource);
        }
        if !entries().any(|entry| permits(entry, question)) {
            stops.insert(Stop::HostDenied);
        }
        Some(Branch { receiver: None, stops, is_ours: false, is_hosts: true })
    }

    /// What the host has where the packet comes in: from addresses inside nothing comes to
    /// it, and a line's packets are its router's.
    fn shared_with(&self, question: &Question) -> Option<&HostShare> {
        let src = question.src;
        match question.from {
            Party::Uplink(ix) => {
                let known = self.known(ix, src);
                let is_inside =
                    matches!(known, Known::Own | Known::Hosts | Known::Exported(_) | Known::Inside);
                (!is_inside).then_some(&self.site.uplinks[ix].host)
            }
            Party::Line(ix) => {
                let access = &self.site.accesses[self.site.lines[ix].access];
                let is_inside = access.pools.iter().any(|pool| pool.contains(src))
                    || access.addresses.iter().any(|own| own.ip() == src)
                    || access.host.entries.iter().any(|entry| entry.address == src);
                (!is_inside).then_some(&access.host)
            }
            Party::Port(_) => None,
        }
    }
}

/// Is it the host's on this link?
pub(super) fn has(share: &HostShare, addr: IpAddr) -> bool {
    share.entries.iter().any(|entry| entry.address == addr)
}

fn permits(entry: &HostEntry, question: &Question) -> bool {
    let is_v4 = question.dst.is_ipv4();
    let (number, ports) = match question.traffic {
        Traffic::Ports { protocol, src, dst } => (protocol, Some((src, dst))),
        Traffic::Bare(protocol) => (protocol, None),
        Traffic::Query { .. } | Traffic::Error { .. } | Traffic::Listener { .. } => {
            (if is_v4 { 1 } else { 58 }, None)
        }
    };
    // Errors come from any router on the way.
    let is_error = matches!(question.traffic, Traffic::Error { .. });
    let is_good = match entry.matches {
        HostMatch::Any => true,
        HostMatch::Protocol(protocol) => protocol == number,
        HostMatch::To(protocol, port) => {
            protocol == number && ports.is_some_and(|(_, dst)| dst == port)
        }
        // An answer opens no connection.
        HostMatch::From(protocol, port) => {
            protocol == number
                && ports.is_some_and(|(src, _)| src == port)
                && !question.traffic.connects()
        }
    };
    let mut sources = entry.sources.iter();
    let is_source = entry.sources.is_empty() || sources.any(|source| source.contains(question.src));
    is_error || is_good && is_source
}
