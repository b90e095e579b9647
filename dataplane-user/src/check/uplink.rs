//! What is outside, and who is shown to it?

use std::collections::{HashMap, HashSet};

use ipnetwork::IpNetwork;

use super::attachment::{Attachments, Tags};
use super::mobile::Gate;
use super::network::Segment;
use super::router::Legs;
use super::{Context, Names, host, limit, link, prefix, router};
use crate::config::file::{self, File};
use crate::config::tree::NodeId;
use crate::config::{At, Prefix};
use crate::model::{AccessIx, Export, Exporter, Ix, Owner, Router, RouterIx, Uplink, UplinkIx};

/// An uplink, as far as it could be made out.
pub(super) struct Outside {
    /// The accesses whose pools it exports.
    accesses: HashSet<AccessIx>,
    /// False: an export is wrong, so it may be one of an access.
    whole: bool,
    pub uplink: Option<Uplink>,
}

/// What an export may be inside of.
pub(super) struct Inside<'a> {
    pub names: &'a Names,
    pub legs: &'a Legs,
    pub routers: &'a [Option<Router>],
    pub segments: &'a [Segment],
    pub gates: &'a [Gate],
}

pub(super) fn uplinks(
    cx: &mut Context<'_>,
    file: &File,
    inside: &Inside<'_>,
    attachments: &mut Attachments,
) -> Vec<Outside> {
    let mut uplinks = Vec::new();
    for (position, uplink) in file.uplinks.items().iter().enumerate() {
        let owner = Some(Owner::Uplink(UplinkIx::new(position)));
        let tags = Tags { vlan: &uplink.vlan, service_vlan: &uplink.service_vlan };
        let attachment = attachments.claim(cx, &uplink.interface, tags, &uplink.hook, owner);
        let addresses = link::addresses(cx, uplink.node, &uplink.addresses);
        let own = addresses.clone().unwrap_or_default();
        let next_hops = next_hops(cx, uplink, &own);

        cx.limit(uplink.exports.items(), limit::EXPORTS_PER_UPLINK);
        let exports: Vec<_> =
            uplink.exports.items().iter().map(|item| export(cx, inside, item)).collect();
        let prefixes: Vec<_> = uplink
            .exports
            .items()
            .iter()
            .filter_map(|item| item.prefix.given().map(|at| (at.value.0, at.node)))
            .collect();
        for (later, first) in prefix::overlaps(&prefixes) {
            let help = format!("it overlaps {}", cx.see(first));
            cx.error(later, "the exports of an uplink must not overlap", &help);
        }
        let hops: Vec<_> = uplink.next_hops.items().iter().collect();
        link::clear_of_link(cx, &prefixes, &own, &hops);
        protected_apart(cx, uplink, &prefixes);
        let hop_at = |hop: &file::Neighbour| {
            hop.address.given().map(|at| (IpNetwork::from(at.value.0), at.node))
        };
        let taken: Vec<_> =
            prefixes.iter().copied().chain(hops.iter().filter_map(|hop| hop_at(hop))).collect();
        let share = host::share(cx, &uplink.host, &uplink.mac, &taken);

        let accesses: HashSet<_> = exports
            .iter()
            .flatten()
            .filter_map(|export| match export.exporter {
                Exporter::Access(access) => Some(access),
                Exporter::Router(_) => None,
            })
            .collect();
        pools_apart(cx, inside.gates, &accesses, uplink, &exports);
        let made = || {
            Some(Uplink {
                name: uplink.name.value()?,
                attachment: attachment?,
                mac: uplink.mac.optional()?,
                addresses: addresses?,
                next_hops: next_hops?,
                exports: super::all(exports.iter().copied())?,
                host: share?,
                protected: uplink.protected.items().iter().map(|at| at.value.0).collect(),
            })
        };
        let whole = uplink.exports.whole() && exports.iter().all(Option::is_some);
        uplinks.push(Outside { accesses, whole, uplink: made() });
    }
    uplinks
}

fn next_hops(
    cx: &mut Context<'_>,
    uplink: &file::Uplink,
    own: &[IpNetwork],
) -> Option<Vec<crate::model::Neighbour>> {
    let items = uplink.next_hops.items();
    cx.limit(items, limit::NEXT_HOPS);
    if uplink.next_hops.is_empty() {
        cx.error(uplink.node, "next_hops is empty", "at least one is needed");
    }
    let mut seen = HashMap::new();
    let mut hops = Vec::new();
    for item in items {
        let hop = link::neighbour(cx, own, &uplink.mac, item);
        if let Some(hop) = hop
            && let Some(first) = seen.insert(hop.address, item.node)
        {
            let help = format!("see {}", cx.see(first));
            cx.error(item.node, format!("the next hop {} is given twice", hop.address), &help);
        }
        hops.push(hop);
    }
    super::all(hops).filter(|_| uplink.next_hops.whole())
}

/// Refuses addresses of the link, and exports of routers, in the part of an access's pool
/// that is not exported: it stays inside, so nobody there could be reached.
fn pools_apart(
    cx: &mut Context<'_>,
    gates: &[Gate],
    accesses: &HashSet<AccessIx>,
    uplink: &file::Uplink,
    exports: &[Option<Export>],
) {
    let exported: Vec<_> = exports.iter().flatten().collect();
    let of_routers = uplink.exports.items().iter().zip(exports).filter_map(|(written, made)| {
        let by_router = made.filter(|made| matches!(made.exporter, Exporter::Router(_)));
        by_router.zip(written.prefix.given()).map(|(_, at)| (at.value.0, at.node))
    });
    let own = uplink.addresses.items().iter().map(|at| (at.value.0.ip().into(), at.node));
    let hops = uplink.next_hops.items().iter().filter_map(|hop| hop.address.given());
    let hops = hops.map(|at| (IpNetwork::from(at.value.0), at.node));
    let others: Vec<_> = of_routers.chain(own).chain(hops).collect();
    let mut ordered: Vec<_> = accesses.iter().copied().collect();
    ordered.sort_unstable();
    for (pool, place) in ordered.iter().flat_map(|access| &gates[access.position()].pools) {
        for (other, at) in &others {
            // What overlaps an export of the pool has been reported there.
            let reported = exported.iter().any(|export| {
                matches!(export.exporter, Exporter::Access(_))
                    && prefix::overlap(export.prefix, *other)
            });
            if prefix::overlap(*pool, *other) && !reported {
                let message = format!("{} is among the lines of {pool}", prefix::shown(*other));
                let help = format!("the uplink shows lines of that pool: {}", cx.see(*place));
                cx.error(*at, message, &help);
            }
        }
    }
}

fn protected_apart(cx: &mut Context<'_>, uplink: &file::Uplink, exports: &[(IpNetwork, NodeId)]) {
    let items = uplink.protected.items();
    cx.limit(items, limit::PROTECTED_PER_UPLINK);
    for at in items {
        let shared = exports.iter().find(|(prefix, _)| prefix::overlap(*prefix, at.value.0));
        if let Some((prefix, place)) = shared {
            let message = format!("{} is protected, and {prefix} is exported", at.value.0);
            let help = format!("they overlap; see {}", cx.see(*place));
            cx.error(at.node, message, &help);
        }
    }
}

fn export(cx: &mut Context<'_>, inside: &Inside<'_>, export: &file::Export) -> Option<Export> {
    // All are looked up, so that every unknown name is reported.
    let names = inside.names;
    let access = export.access.given().and_then(|at| names.accesses.find(cx, at));
    let tenant = export.tenant.given().and_then(|at| names.tenants.find(cx, at));
    let router = tenant.zip(export.router.given());
    let router = router.and_then(|(tenant, at)| names.of(tenant).routers.find(cx, at));
    let by_router = !export.tenant.is_absent() || !export.router.is_absent();
    if by_router != export.access.is_absent()
        || export.tenant.is_absent() != export.router.is_absent()
    {
        let message = "an export names either tenant and router, or access";
        cx.error(export.node, message, "");
        return None;
    }
    let prefix = export.prefix.given()?;
    if let Some(reserved) = prefix::reserved(prefix.value.0) {
        let message = format!("{} cannot be exported: {reserved}", prefix.value.0);
        cx.error(prefix.node, message, "no packet is forwarded there; leave it out");
        return None;
    }
    if by_router { by(cx, inside, router?, prefix) } else { out_of(cx, inside, access?, prefix) }
}

/// A prefix that a router exports.
fn by(
    cx: &mut Context<'_>,
    inside: &Inside<'_>,
    router: RouterIx,
    prefix: &At<Prefix>,
) -> Option<Export> {
    let made = inside.routers[router.position()].as_ref()?;
    let reached = router::reach(made, inside.segments);
    if inside.legs.whole(router, inside.segments)
        && !reached.iter().any(|wide| prefix::inside(prefix.value.0, *wide))
    {
        let message = format!("{} is not behind the router", prefix.value.0);
        cx.error(prefix.node, message, &prefix::listed("behind it are", reached.into_iter()));
        return None;
    }
    for network in &made.interfaces {
        let segment = &inside.segments[network.position()];
        let shown = segment
            .subnets
            .iter()
            .find(|(subnet, _)| segment.mec_only && prefix::overlap(subnet.prefix, prefix.value.0));
        if let Some((_, place)) = shown {
            let message = format!("{} belongs to a MEC-only network", prefix.value.0);
            let help = format!("no uplink reaches it; see {}", cx.see(*place));
            cx.error(prefix.node, message, &help);
        }
    }
    Some(Export { prefix: prefix.value.0, exporter: Exporter::Router(router) })
}

/// A prefix out of an access's pools.
fn out_of(
    cx: &mut Context<'_>,
    inside: &Inside<'_>,
    access: AccessIx,
    prefix: &At<Prefix>,
) -> Option<Export> {
    let gate = &inside.gates[access.position()];
    let within = gate.pools.iter().any(|(pool, _)| prefix::inside(prefix.value.0, *pool));
    if gate.whole && !within {
        let message = format!("{} is in no pool of the access", prefix.value.0);
        let pools = gate.pools.iter().map(|(pool, _)| *pool);
        cx.error(prefix.node, message, &prefix::listed("its pools", pools));
        return None;
    }
    Some(Export { prefix: prefix.value.0, exporter: Exporter::Access(access) })
}

impl Outside {
    /// Whether it surely does not show an access's lines to the outside.
    pub fn hides(&self, access: AccessIx) -> bool {
        self.whole && !self.accesses.contains(&access)
    }
}
