//! Do the security groups permit it? SEMANTICS C1: a union of allow rules, default deny.

use std::net::IpAddr;

use dataplane_user::model::{
    Direction, Ethertype, GroupIx, Mac, Match, PortIx, Remote, Rule, Security,
};

use super::{Kept, Party, Question, Reference, Traffic, judge::link_local};

/// Who stands at the other end, and with which MAC.
type End = (Party, Option<Mac>);

impl Reference<'_> {
    /// The groups of an end; `None`: it is not filtered.
    fn groups(&self, party: Party) -> Option<&[GroupIx]> {
        match party {
            Party::Port(ix) => match &self.site.ports[ix].security {
                Security::Off => None,
                Security::On { groups, .. } => Some(groups),
            },
            Party::Line(ix) => self.site.lines[ix].groups.as_deref(),
            Party::Uplink(_) => None,
        }
    }

    pub(super) fn is_stateless(&self, party: Party) -> bool {
        let groups = self.groups(party).unwrap_or_default();
        groups.iter().any(|&ix| !self.site.groups[ix].stateful)
    }

    /// How a flow between the two is kept.
    #[must_use]
    pub fn kept(&self, one: Party, other: Party) -> Kept {
        let is_stateful = |party| self.groups(party).is_some() && !self.is_stateless(party);
        match (self.is_stateless(one), self.is_stateless(other)) {
            (false, false) => Kept::Stateful,
            _ if is_stateful(one) || is_stateful(other) => Kept::Half,
            _ => Kept::Not,
        }
    }

    /// Do the sender's rules let it out?
    pub(super) fn may_leave(&self, question: &Question, to: Option<End>) -> bool {
        let Some(groups) = self.groups(question.from) else { return true };
        self.any_rule(groups, Direction::Egress, question, question.dst, to, |_| true)
    }

    /// Do the receiver's rules let it in? From line to line only rules that name lines do.
    pub(super) fn may_enter(&self, question: &Question, to: Party) -> bool {
        let is_line = |party| matches!(party, Party::Line(_));
        let lines_only = is_line(question.from) && is_line(to);
        let Some(groups) = self.groups(to) else { return !lines_only };
        let names_lines = |rule: &Rule| {
            !lines_only || matches!(rule.remote, Remote::Line(_) | Remote::LineGroup(_))
        };
        let from = Some((question.from, question.mac));
        self.any_rule(groups, Direction::Ingress, question, question.src, from, names_lines)
    }

    fn any_rule(
        &self,
        groups: &[GroupIx],
        direction: Direction,
        question: &Question,
        remote: IpAddr,
        end: Option<End>,
        is_good: impl Fn(&Rule) -> bool,
    ) -> bool {
        let rules = groups.iter().flat_map(|&ix| &self.site.groups[ix].rules);
        rules.filter(|rule| rule.direction == direction && is_good(rule)).any(|rule| {
            let is_v4 = rule.ethertype == Ethertype::Ipv4;
            is_v4 == remote.is_ipv4()
                && carries(rule.matches, question.traffic, is_v4)
                && self.is_remote(rule.remote, remote, end)
        })
    }

    fn is_remote(&self, rule: Remote, remote: IpAddr, end: Option<End>) -> bool {
        let party = end.map(|(party, _)| party);
        match rule {
            Remote::Any => true,
            Remote::Prefix(prefix) => prefix.contains(remote),
            Remote::AddressGroup(ix) => {
                self.site.address_groups[ix].prefixes.iter().any(|prefix| prefix.contains(remote))
            }
            // The members' fixed addresses and address pairs.
            Remote::Group(ix) => match end {
                Some((Party::Port(port), mac)) => {
                    self.site.groups[ix].ports.contains(&port) && self.has(port, mac, remote)
                }
                _ => false,
            },
            Remote::Line(ix) => party == Some(Party::Line(ix)),
            Remote::LineGroup(ix) => match party {
                Some(Party::Line(line)) => self.site.line_groups[ix].lines.contains(&line),
                _ => false,
            },
        }
    }

    /// Is it one of the port's fixed addresses, its link-local one or, with the MAC that it sends from or is
    /// reached by, one of its address pairs? A pair is an address and a MAC (C5).
    fn has(&self, ix: PortIx, mac: Option<Mac>, addr: IpAddr) -> bool {
        let port = &self.site.ports[ix];
        let mut pairs = port.address_pairs.iter();
        port.fixed_ips.contains(&addr)
            || addr == link_local(port.mac)
            || pairs.any(|pair| mac == Some(pair.mac) && pair.prefix.contains(addr))
    }
}

/// Does the rule match what the packet carries?
fn carries(rule: Match, traffic: Traffic, is_v4: bool) -> bool {
    let icmp = if is_v4 { 1 } else { 58 };
    let number = match traffic {
        Traffic::Ports { protocol, .. } | Traffic::Bare(protocol) => protocol,
        Traffic::Query { .. } | Traffic::Error { .. } | Traffic::Listener { .. } => icmp,
    };
    match (rule, traffic) {
        (Match::Any, _) => true,
        (Match::Protocol(protocol), _) => protocol == number,
        (Match::Ports { protocol, min, max }, Traffic::Ports { dst, .. }) => {
            protocol == number && (min..=max).contains(&dst)
        }
        (Match::Icmp { kind, code }, Traffic::Query { kind: found, .. }) => {
            kind == found && code.is_none_or(|code| code == 0)
        }
        (Match::Icmp { kind, code }, Traffic::Error { kind: found }) => {
            kind == found && code.is_none_or(|code| code == 1)
        }
        (Match::Icmp { kind, code }, Traffic::Listener { kind: found }) => {
            kind == found && code.is_none_or(|code| code == 0)
        }
        (Match::Ports { .. } | Match::Icmp { .. }, _) => false,
    }
}
