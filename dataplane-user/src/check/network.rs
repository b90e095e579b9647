//! Which addresses does a segment have?

use dataplane_common::limits::{COPIES_BURST, FLOOD_PORTS_OF_NETWORK, RULES_PER_COPY};

use super::router::Legs;
use super::{Context, Lists, limit, prefix};
use crate::config::tree::NodeId;
use crate::config::{Ordinal, file};
use crate::model::{Ix, Network, NetworkIx, Site, Subnet};

/// A network, as far as it could be made out.
pub(super) struct Segment {
    pub subnets: Vec<(Subnet, NodeId)>,
    /// False: a subnet is wrong, so nobody knows which addresses are inside.
    pub whole: bool,
    pub mec_only: bool,
    pub network: Option<Network>,
}

const IPV6_MTU_MIN: u16 = 1280;

pub(super) fn segments(cx: &mut Context<'_>, lists: &Lists<'_>, legs: &Legs) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (position, (tenant, network)) in lists.networks.iter().enumerate() {
        let items = network.subnets.items();
        cx.limit(items, limit::SUBNETS_PER_NETWORK);
        let read: Vec<_> = items.iter().map(|item| Some((subnet(cx, item)?, item.node))).collect();
        let whole = network.subnets.whole() && read.iter().all(Option::is_some);
        let subnets: Vec<_> = read.into_iter().flatten().collect();
        let prefixes: Vec<_> = subnets.iter().map(|(subnet, at)| (subnet.prefix, *at)).collect();
        for (later, first) in prefix::overlaps(&prefixes) {
            let help = format!("it overlaps {}", cx.see(first));
            cx.error(later, "the subnets of a network must not overlap", &help);
        }
        let mtu = network.mtu.or(Ordinal(1500)).map(|mtu| mtu.0);
        if let (Some(at), Some(mtu)) = (network.mtu.given(), mtu)
            && mtu < IPV6_MTU_MIN
            && subnets.iter().any(|(subnet, _)| subnet.prefix.is_ipv6())
        {
            let message = format!("an MTU of {mtu} is too small for an IPv6 subnet");
            cx.error(at.node, message, &format!("at least {IPV6_MTU_MIN} (RFC 8200, section 5)"));
        }
        let mec_only = network.mec_only.or(false);
        let made = || {
            Some(Network {
                tenant: *tenant,
                name: network.name.value()?,
                mtu: mtu?,
                mec_only: mec_only?,
                subnets: subnets.iter().map(|(subnet, _)| *subnet).collect(),
                router: legs.router(NetworkIx::new(position)),
            })
        };
        let network = made().filter(|_| whole);
        segments.push(Segment { network, subnets, whole, mec_only: mec_only == Some(true) });
    }
    segments
}

/// Warns of networks whose ports' rules cost more than a frame may. With too many ports they are
/// told of where those are.
pub(super) fn floods_affordable(cx: &mut Context<'_>, lists: &Lists<'_>, site: &Site) {
    for ((_, written), (ix, _)) in lists.networks.iter().zip(site.networks.iter()) {
        let order = site.flood_order(ix);
        let (ports, rules) = (order.len() as u32, site.flood_rules(&order));
        if ports <= FLOOD_PORTS_OF_NETWORK && ports + rules > COPIES_BURST {
            let message = "broadcast and multicast that need a rule are not forwarded here";
            let help = format!(
                "a frame costs {}, at most {COPIES_BURST}: {ports} for the ports, {rules} for \
                 their ingress rules; use fewer combinations of security groups, or fewer rules \
                 with address groups, each of which costs 1, as {RULES_PER_COPY} others do",
                ports + rules
            );
            cx.out.warning(written.node, message).help(help);
        }
    }
}

fn subnet(cx: &mut Context<'_>, subnet: &file::Subnet) -> Option<Subnet> {
    let at = subnet.cidr.given()?;
    let prefix = at.value.0;
    if let Some(reserved) = prefix::reserved_in(prefix) {
        let message = format!("{prefix} cannot be a subnet: {reserved}");
        cx.error(at.node, message, "a prefix of unicast addresses, as 10.0.0.0/24");
        return None;
    }
    if prefix.prefix() == if prefix.is_ipv4() { 32 } else { 128 } {
        let message = format!("{prefix} cannot be a subnet: it is a single address");
        cx.error(at.node, message, "a subnet has room for two");
        return None;
    }
    let gateway = match subnet.gateway.optional()? {
        None => prefix::first_host(prefix),
        Some(gateway) => gateway.0,
    };
    if let Some(given) = subnet.gateway.given()
        && !prefix::for_hosts(prefix, gateway)
    {
        let message = format!("the gateway {gateway} is no machine's address in {prefix}");
        let help = format!("leave it out to get {}", prefix::first_host(prefix));
        cx.error(given.node, message, &help);
        return None;
    }
    Some(Subnet { prefix, gateway })
}

impl Segment {
    /// The subnet that an address is in.
    pub fn subnet_of(&self, address: std::net::IpAddr) -> Option<Subnet> {
        let mut subnets = self.subnets.iter().map(|(subnet, _)| *subnet);
        subnets.find(|subnet| subnet.prefix.contains(address))
    }
}
