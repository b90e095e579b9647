//! Does an image fit into the tables?
//!
//! The compiler makes consistent images; what is asked here is what the programs would
//! answer with silence: a record that has no place, or rules that nobody looks at.

use std::collections::HashSet;

use dataplane_common::{
    limits,
    table::{policy, route::HOPS_MAX},
};

use super::Error;
use crate::tables::Image;

/// Refuses an image that does not fit.
pub fn check(image: &Image) -> Result<(), Error> {
    // Tables by number, where 0 is nobody: one fewer than there are places.
    let numbered = [
        ("attachments", image.outputs.len(), limits::ATTACHMENTS_MAX),
        ("endpoints", image.endpoints.len(), limits::ENDPOINTS_MAX),
        ("zones", image.zones.len(), limits::ZONES_MAX),
        ("next hops", image.next_hops.len(), limits::NEXT_HOPS_MAX),
        ("tenants", image.tenants.len(), limits::TENANTS_MAX),
        ("policies", image.policies.len(), limits::POLICIES_MAX),
        ("meters", image.meters.len(), limits::METERS_MAX),
    ];
    let numbered = numbered.map(|(table, count, max)| (table, count.saturating_sub(1), max - 1));
    let counts = [
        ("attachments", image.attachments.len(), limits::ATTACHMENTS_MAX),
        ("rules", image.rules.len(), limits::RULES_MAX),
    ];
    for (table, count, max) in numbered.into_iter().chain(counts) {
        if count > max as usize {
            return Err(Error::Limit { table, count, max });
        }
    }
    ids(image)?;
    policies(image)?;
    prefixes(image)
}

/// The ids by which the programs reach for records without being able to say that
/// there is none.
fn ids(image: &Image) -> Result<(), Error> {
    let tenants = image.tenants.len() as u32;
    let outputs = image.outputs.len() as u32;
    for attachment in image.attachments.values() {
        let index = attachment.id;
        below("attachments", index, "output", attachment.id, outputs)?;
        below("attachments", index, "tenant", attachment.tenant, tenants)?;
    }
    let meters = image.meters.len().max(1) as u32;
    for (index, station) in (0..).zip(image.stations.values()) {
        below("stations", index, "meter", station.meter.max(station.router_meter), meters)?;
    }
    for (index, hop) in (0..).zip(&image.next_hops) {
        below("next hops", index, "meter", hop.meter.max(hop.router_meter), meters)?;
    }
    for (index, endpoint) in (0..).zip(&image.endpoints) {
        below("endpoints", index, "meter", endpoint.router_meter, meters)?;
        below("endpoints", index, "tenant", endpoint.tenant, tenants)?;
        below("endpoints", index, "policy", endpoint.policy, image.policies.len().max(1) as u32)?;
    }
    routes(image)?;
    let flood_ports = image.flood_ports.len() as u32;
    for (index, zone) in (0..).zip(&image.zones) {
        let (first, count) = (zone.flood_first, zone.flood_count);
        below("zones", index, "flood_count", count, limits::FLOOD_PORTS_OF_NETWORK + 1)?;
        below("zones", index, "last port", first.saturating_add(count), flood_ports + 1)?;
    }
    for (index, port) in (0..).zip(&image.flood_ports) {
        below("flood ports", index, "output", port.attachment, outputs)?;
    }
    Ok(())
}

/// Where a route stands is its id: of two with one id, one would lead where the other does.
fn routes(image: &Image) -> Result<(), Error> {
    let mut ids = HashSet::from([0]);
    for (index, (_, _, route)) in (0..).zip(&image.routes) {
        below("routes", index, "hops_count", route.hops_count, HOPS_MAX as u32 + 1)?;
        below("routes", index, "id", route.id, limits::ROUTES_MAX)?;
        if !ids.insert(route.id) {
            return Err(Error::RouteTwice { id: route.id });
        }
    }
    Ok(())
}

fn below(
    table: &'static str,
    index: u32,
    field: &'static str,
    value: u32,
    end: u32,
) -> Result<(), Error> {
    if value < end { Ok(()) } else { Err(Error::Range { table, index, field, value, end }) }
}

fn policies(image: &Image) -> Result<(), Error> {
    // The classes of groups that a policy's rules name are one tenant's.
    let mut tenants = vec![None; image.policies.len()];
    for (index, endpoint) in (0..).zip(&image.endpoints) {
        let tenant = tenants.get_mut(endpoint.policy as usize).filter(|_| endpoint.policy != 0);
        if let Some(tenant) = tenant
            && *tenant.get_or_insert(endpoint.tenant) != endpoint.tenant
        {
            let policy = endpoint.policy;
            return Err(Error::PolicyTenants { policy, endpoint: index });
        }
    }
    let rules = image.rules.len() as u32;
    for (index, policy) in (0..).zip(&image.policies) {
        let runs = [
            (policy.egress_first, policy.egress_count),
            (policy.ingress_first, policy.ingress_count),
        ];
        let (count, max) = (policy.ingress_count, policy::HOST_RULES_MAX);
        if policy.is_host && count > max {
            return Err(Error::PolicyRules { policy: index, count, max });
        }
        for (first, count) in runs {
            if count > 0 {
                let last = first.saturating_add(count - 1);
                below("policies", index, "last rule", last, rules)?;
            }
        }
    }
    Ok(())
}

fn prefixes(image: &Image) -> Result<(), Error> {
    let permits = image.permits.iter().map(|&(_, bits)| ("permits", bits));
    let sessions = image.sessions.iter().map(|&(_, bits, _)| ("sessions", bits));
    let routes = image.routes.iter().map(|&(_, bits, _)| ("routes", bits));
    let groups = image.group_prefixes.iter().map(|&(_, bits)| ("group prefixes", bits));
    for (table, bits) in permits.chain(sessions).chain(routes).chain(groups) {
        if bits > 128 {
            return Err(Error::PrefixBits { table, bits });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dataplane_common::table::{
        Attachment, AttachmentKey, LocationKey, Tenant, endpoint::Endpoint, next_hop::Output,
        policy::Rule, route::Route,
    };

    use super::*;
    use crate::tables::Policy;

    #[test]
    fn a_limit_is_named_with_its_count() {
        let image = Image { tenants: vec![Tenant::default(); 1025], ..Image::default() };
        let refusal = check(&image).expect_err("one too many").to_string();
        assert!(refusal.contains("tenants: 1024 records, 1023 fit"), "{refusal}");
        check(&Image { tenants: vec![Tenant::default(); 1024], ..Image::default() }).expect("fits");
    }

    #[test]
    fn a_route_that_stands_where_another_does_is_refused() {
        let route = |id| {
            let route = Route { id, ..Route::default() };
            (LocationKey::default(), 128, route)
        };
        let with = |ids: [u32; 2]| Image { routes: ids.map(route).to_vec(), ..Image::default() };
        check(&with([1, 2])).expect("they differ");
        for (ids, id) in [([7, 7], 7), ([0, 1], 0)] {
            let refusal = check(&with(ids)).expect_err("nobody's or another's").to_string();
            assert_eq!(refusal, format!("routes: there are two with the id {id}"));
        }
    }

    #[test]
    fn rules_that_nobody_would_look_at_are_refused() {
        let mut image = Image {
            policies: vec![Policy { ingress_count: 1025, is_host: true, ..Policy::default() }],
            rules: vec![Rule::default(); 2000],
            ..Image::default()
        };
        let refusal = check(&image).expect_err("too long").to_string();
        assert!(refusal.contains("policy 0: 1025 rules, 1024 are looked at"), "{refusal}");
        image.policies[0] = Policy { ingress_first: 1999, ingress_count: 2, ..Policy::default() };
        assert!(matches!(check(&image), Err(Error::Range { value: 2000, end: 2000, .. })));
    }

    #[test]
    fn a_policy_is_of_one_tenant() {
        let end = |tenant, policy| Endpoint { tenant, policy, ..Endpoint::default() };
        let mut image = Image {
            tenants: vec![Tenant::default(); 3],
            policies: vec![Policy::default(); 2],
            endpoints: vec![end(0, 0), end(1, 1), end(2, 0), end(1, 1)],
            ..Image::default()
        };
        check(&image).expect("one tenant's");
        image.endpoints[3].tenant = 2;
        let refused = check(&image);
        assert!(matches!(refused, Err(Error::PolicyTenants { policy: 1, endpoint: 3 })));
    }

    #[test]
    fn an_attachment_has_an_output() {
        let mut image = Image { tenants: vec![Tenant::default()], ..Image::default() };
        let attachment = Attachment { id: 1, ..Attachment::default() };
        image.attachments.insert(AttachmentKey::default(), attachment);
        image.outputs = vec![Output::default()];
        assert!(matches!(check(&image), Err(Error::Range { field: "output", .. })));
        image.outputs.push(Output::default());
        check(&image).expect("fits");
    }

    #[test]
    fn a_prefix_has_128_bits() {
        let group_prefixes = vec![(LocationKey::default(), 129)];
        let image = Image { group_prefixes, ..Image::default() };
        assert!(matches!(check(&image), Err(Error::PrefixBits { bits: 129, .. })));
    }
}
