//! What do an uplink and an access have in common? Our end of a link, and the
//! routers at the other.

use ipnetwork::IpNetwork;

use super::{Context, limit, prefix};
use crate::config::tree::NodeId;
use crate::config::{At, Cidr, Field, List, file};
use crate::model::{Mac, Neighbour};

/// Our own addresses.
pub(super) fn addresses(
    cx: &mut Context<'_>,
    owner: NodeId,
    written: &Field<List<At<Cidr>>>,
) -> Option<Vec<IpNetwork>> {
    let items = written.items();
    cx.limit(items, limit::ADDRESSES_PER_LINK);
    if written.is_empty() {
        cx.error(owner, "addresses is empty", "at least one is needed, as 192.0.2.2/24");
    }
    for (position, at) in items.iter().enumerate() {
        let own = at.value.0;
        let whole = own.prefix() == if own.is_ipv4() { 32 } else { 128 };
        if whole || !prefix::for_hosts(own, own.ip()) {
            let message = format!("{own} is no machine's address on a link");
            cx.error(at.node, message, "as 192.0.2.2/24");
        }
        if items[..position].iter().any(|other| other.value.0.ip() == own.ip()) {
            cx.error(at.node, format!("{} is given twice", own.ip()), "leave one out");
        }
    }
    written.whole().then(|| items.iter().map(|at| at.value.0).collect())
}

/// A router at the other end: on one of our prefixes, or link-local.
pub(super) fn neighbour(
    cx: &mut Context<'_>,
    own: &[IpNetwork],
    own_mac: &Field<At<Mac>>,
    written: &file::Neighbour,
) -> Option<Neighbour> {
    if let (Some(own), Some(at)) = (own_mac.given(), written.mac.given())
        && own.value == at.value
    {
        let message = format!("{} is our own MAC", at.value);
        cx.error(at.node, message, "a next hop has another; leave it out to have it asked for");
    }
    let at = written.address.given()?;
    let address = at.value.0;
    let link_local = match address {
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
        std::net::IpAddr::V4(_) => false,
    };
    let on_link = own.iter().any(|prefix| prefix::for_hosts(*prefix, address));
    if !own.is_empty() && !link_local && !on_link {
        let message = format!("the next hop {address} is on none of the link's prefixes");
        cx.error(at.node, message, &prefix::listed("our own addresses", own.iter().copied()));
        return None;
    }
    if own.iter().any(|prefix| prefix.ip() == address) {
        cx.error(
            at.node,
            format!("the next hop {address} is our own address"),
            "write the one of the router at the other end",
        );
        return None;
    }
    Some(Neighbour { address, mac: written.mac.optional()? })
}

/// Refuses prefixes of ours that hold an address of the link: a packet from
/// there would be taken for a spoofed one.
pub(super) fn clear_of_link(
    cx: &mut Context<'_>,
    prefixes: &[(IpNetwork, NodeId)],
    own: &[IpNetwork],
    hops: &[&file::Neighbour],
) {
    let hops = hops.iter().filter_map(|hop| hop.address.value().map(|host| host.0));
    let link: Vec<_> = own.iter().map(IpNetwork::ip).chain(hops).collect();
    for (prefix, node) in prefixes {
        if let Some(inside) = link.iter().find(|address| prefix.contains(**address)) {
            let message = format!("{prefix} holds {inside}, an address of the link itself");
            cx.error(*node, message, "write prefixes beside it");
        }
    }
}
