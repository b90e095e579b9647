//! Which ports of a network are asked whether they take a frame that is for everybody, and what
//! does asking them cost?
//!
//! Ports with the same security groups have the same rules, which are looked at once for those
//! that stand next to each other.

use std::collections::BTreeMap;

use dataplane_common::limits;

use super::{AttachmentIx, Direction, GroupIx, NetworkIx, PortIx, Remote, Security, Site};

/// The groups whose rules say what a port takes; `None`: it takes everything.
type Groups<'s> = Option<&'s [GroupIx]>;

impl Site {
    /// A network's ports in the order in which they are asked: those behind one attachment stand
    /// together, and attachments whose ports have the same groups next to each other.
    #[must_use]
    pub fn flood_order(&self, network: NetworkIx) -> Vec<PortIx> {
        let mut attachments: BTreeMap<AttachmentIx, Vec<(Groups<'_>, PortIx)>> = BTreeMap::new();
        for (ix, port) in self.ports.iter().filter(|(_, port)| port.network == network) {
            attachments.entry(port.attachment).or_default().push((self.groups_of(ix), ix));
        }
        let mut attachments: Vec<_> = attachments.into_iter().collect();
        attachments.iter_mut().for_each(|(_, ports)| ports.sort_unstable());
        attachments.sort_by_cached_key(|(ix, ports)| {
            (ports.iter().map(|(groups, _)| *groups).collect::<Vec<_>>(), *ix)
        });
        attachments.iter().flat_map(|(_, ports)| ports.iter().map(|(_, ix)| *ix)).collect()
    }

    /// What it costs at most to look at the rules of ports in this order, in copies.
    #[must_use]
    pub fn flood_rules(&self, order: &[PortIx]) -> u32 {
        let mut runs: Vec<_> = order.iter().filter_map(|&ix| self.groups_of(ix)).collect();
        runs.dedup();
        runs.into_iter().map(|groups| self.cost(groups)).sum()
    }

    fn cost(&self, groups: &[GroupIx]) -> u32 {
        let rules = groups.iter().flat_map(|&ix| &self.groups[ix].rules);
        let ingress = rules.filter(|rule| rule.direction == Direction::Ingress);
        let (asking, others): (Vec<_>, Vec<_>) =
            ingress.partition(|rule| matches!(rule.remote, Remote::AddressGroup(_)));
        asking.len() as u32 + (others.len() as u32).div_ceil(limits::RULES_PER_COPY)
    }

    fn groups_of(&self, port: PortIx) -> Groups<'_> {
        match &self.ports[port].security {
            Security::On { groups, .. } => Some(groups),
            Security::Off => None,
        }
    }
}
