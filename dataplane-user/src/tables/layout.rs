//! How does an image lie in the heap?
//!
//! Every table of the image becomes an object, and the two lines of the root name them.
//! What is equal to what lies there already stays where it is (see [`Space`]); of tables of
//! prefixes, what did not change since the version before is not even looked at ([`Tables`]).

use std::collections::BTreeMap;

use dataplane_common::{
    addr::{Addr, Mac},
    table::{
        AttachmentEntry, AttachmentKey, LocationEntry, LocationKey, PermitKey, PermitsEntry,
        Record, Station, StationEntry, StationKey,
        endpoint::{self, Endpoint, kind},
        heap::{Line, List},
        owner::Owner,
        policy::{self, family},
        root::{More, Root},
        secret::Secret,
        zone::Zone,
    },
};

use super::{
    Image,
    classes::Memberships,
    classifier,
    heap::{Full, Space},
    image::put,
    index,
    lpm::Lpm,
    policies::Policies,
};

/// Why an image cannot be laid out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The heap is full.
    #[error(transparent)]
    Full(#[from] Full),
    /// The rules of a policy take too much room.
    #[error("policy {policy}: {source}")]
    Policy {
        /// Its number.
        policy: u32,
        /// What is wrong with it.
        source: classifier::Error,
    },
}

/// The tables of prefixes of a version that is laid out, which the next one goes on with.
#[derive(Default, Debug)]
pub struct Tables {
    /// Of routes, by zone.
    routes: Prefixes<u32>,
    /// Of sessions, by access.
    sessions: Prefixes<u32>,
    /// Of permits, by endpoint and MAC.
    permits: Prefixes<(u32, Mac)>,
}

/// Places the image but for the list of its extents; `secret` is that of the flow table. What
/// is placed depends on nothing else: the same image ends at the same root, whatever `tables`
/// there were. Those are of a version whose objects are there still. After an error they are of
/// none.
pub fn lay(
    image: &Image,
    secret: &Secret,
    tables: &mut Tables,
    space: &mut impl Space,
) -> Result<(Root, More), Error> {
    let memberships = Memberships::of(image, &Memberships::default());
    let mut endpoints = image.endpoints.clone();
    for (id, endpoint) in (0..).zip(&mut endpoints) {
        endpoint.class = memberships.class(id);
        endpoint.stamp = stamp(image, endpoint);
    }
    let mut zones = image.zones.clone();
    routes(image, tables, &mut zones, space)?;
    sessions(image, tables, &mut zones, space)?;
    let mut records = Vec::new();
    for (_, _, route) in &image.routes {
        put(&mut records, route.id, *route);
    }
    let root = Root {
        attachments: index::place(&attachments(image), secret, space)?,
        stations: index::place(&stations(image), secret, space)?,
        zones: numbered(&zones, space)?,
        endpoints: numbered(&endpoints, space)?,
        tenants: numbered(&image.tenants, space)?,
        next_hops: numbered(&image.next_hops, space)?,
        outputs: numbered(&image.outputs, space)?,
        owners: numbered(&owners(image), space)?,
    };
    let more = More {
        permits: index::place(&permits(image, tables, space)?, secret, space)?,
        routes: space.pieces(&records)?,
        flood_ports: space.list(&image.flood_ports)?,
        policies: numbered(&policies(image, &memberships, space)?, space)?,
        locations: index::place(&locations(image), secret, space)?,
        rule_max: image.rules.iter().map(|rule| rule.id).max().unwrap_or(0),
        ..More::default()
    };
    Ok((root, more))
}

/// What a judgement about the endpoint rests on.
fn stamp(image: &Image, of: &Endpoint) -> u64 {
    let zone = |id: u32| image.zones.get(id as usize).map_or(0, |zone| zone.generation);
    let policy = image.policies.get(of.policy as usize).map_or(0, |policy| policy.generation);
    let zones = [of.network, of.arrival, of.destination].map(zone);
    endpoint::stamp([of.generation, policy, zones[0], zones[1], zones[2]])
}

/// The policies with their classifiers.
fn policies(
    image: &Image,
    memberships: &Memberships,
    space: &mut impl Space,
) -> Result<Vec<policy::Policy>, Error> {
    let all = Policies::of(image, memberships);
    let mut compiled = Vec::new();
    for (id, policy) in (0..).zip(&image.policies) {
        let (generation, flags) = (policy.generation, policy.flags);
        let mut record = policy::Policy { generation, flags, ..policy::Policy::default() };
        if policy.is_host {
            record.host = space.list(policy.ingress(&image.rules))?;
        }
        for run in all.runs(id) {
            let built = run.build(space).map_err(|source| Error::Policy { policy: id, source })?;
            let of = if run.is_ingress { &mut record.ingress } else { &mut record.egress };
            of[usize::from(run.family == family::V6)] = built;
        }
        compiled.push(record);
    }
    Ok(compiled)
}

/// Records by their numbers, of which 0 is nobody's and always there.
fn numbered<T: Record + Default>(records: &[T], space: &mut impl Space) -> Result<List, Full> {
    if records.is_empty() { space.list(&[T::default()]) } else { space.list(records) }
}

/// The two lines that a version begins with.
#[must_use]
pub fn root_lines(root: Root, more: More) -> Vec<Line> {
    let mut lines = vec![Line::default(); 2];
    lines[0].put(0, root);
    lines[1].put(0, more);
    lines
}

fn attachments(image: &Image) -> Vec<(AttachmentKey, AttachmentEntry)> {
    let mut all: Vec<_> = image
        .attachments
        .iter()
        .map(|(&key, &attachment)| (key, AttachmentEntry { key, attachment }))
        .collect();
    all.sort_unstable_by_key(|(key, _)| (key.ifindex, key.vlan));
    all
}

fn stations(image: &Image) -> Vec<(StationKey, StationEntry)> {
    let mut all: Vec<_> = image
        .stations
        .iter()
        .map(|(&key, &station)| (key, StationEntry { key, station }))
        .collect();
    all.sort_unstable_by_key(|(key, _)| (key.attachment, key.mac));
    all
}

/// Stations, lines and uplinks by their owner numbers.
fn owners(image: &Image) -> Vec<Owner> {
    let mut owners = Vec::new();
    for (key, station) in &image.stations {
        let Station { endpoint, owner, meter, router_meter } = *station;
        let tenant = image.endpoints.get(endpoint as usize).map_or(0, |of| of.tenant);
        let (at, mac) = (key.attachment, key.mac);
        put(
            &mut owners,
            owner,
            Owner { at, endpoint, tenant, meter, router_meter, mac, zero: [0; 6] },
        );
    }
    for (id, end) in (0..).zip(&image.endpoints) {
        if matches!(end.kind, kind::LINE | kind::UPLINK) {
            let Endpoint { arrival: at, tenant, router_meter, .. } = *end;
            let owner = Owner { at, endpoint: id, tenant, router_meter, ..Owner::default() };
            put(&mut owners, end.owner, owner);
        }
    }
    owners
}

fn locations(image: &Image) -> Vec<(LocationKey, LocationEntry)> {
    let mut all: Vec<_> = image
        .locations
        .iter()
        .map(|(&key, &location)| (key, LocationEntry { key, location, zero: [0; 6] }))
        .collect();
    all.sort_unstable_by_key(|(key, _)| (key.zone, key.addr));
    all
}

/// Longest-prefix tables by something and family.
#[derive(Debug)]
struct Prefixes<K>(BTreeMap<K, [Lpm; 2]>);

impl<K> Default for Prefixes<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Prefixes<K> {
    /// Places the tables of all these prefixes.
    fn place(
        &mut self,
        all: impl Iterator<Item = (K, Addr, u8, u32)>,
        space: &mut impl Space,
    ) -> Result<Vec<(K, [u32; 2])>, Full> {
        let mut now: BTreeMap<K, [Vec<_>; 2]> = BTreeMap::new();
        for (of, addr, bits, value) in all {
            let prefixes = now.entry(of).or_default();
            prefixes[addr.family() as usize].push((addr, bits, value));
        }
        self.0.retain(|of, _| now.contains_key(of));
        let mut place = |(of, prefixes): (K, [Vec<_>; 2])| {
            let tables = self.0.entry(of).or_default();
            let mut placed = [0; 2];
            for ((table, prefixes), first) in tables.iter_mut().zip(prefixes).zip(&mut placed) {
                table.follow(prefixes);
                *first = table.store(space)?;
            }
            Ok((of, placed))
        };
        now.into_iter().map(&mut place).collect()
    }
}

fn permits(
    image: &Image,
    tables: &mut Tables,
    space: &mut impl Space,
) -> Result<Vec<(PermitKey, PermitsEntry)>, Full> {
    let permits = image.permits.iter();
    let all =
        permits.map(|(key, bits)| ((key.endpoint, key.mac), key.addr, *bits, u32::from(*bits) + 1));
    let entry = |((endpoint, mac), tables): ((u32, Mac), [u32; 2])| {
        let key = PermitKey { endpoint, mac, ..PermitKey::default() };
        (key, PermitsEntry { key, tables, zero: [0; 6] })
    };
    Ok(tables.permits.place(all, space)?.into_iter().map(entry).collect())
}

fn routes(
    image: &Image,
    tables: &mut Tables,
    zones: &mut [Zone],
    space: &mut impl Space,
) -> Result<(), Full> {
    let routes = image.routes.iter();
    let all = routes.map(|(key, bits, route)| (key.zone, key.addr, *bits, route.id));
    for (zone, tables) in tables.routes.place(all, space)? {
        if let Some(zone) = zones.get_mut(zone as usize) {
            zone.routes = tables;
        }
    }
    Ok(())
}

fn sessions(
    image: &Image,
    tables: &mut Tables,
    zones: &mut [Zone],
    space: &mut impl Space,
) -> Result<(), Full> {
    let sessions = image.sessions.iter();
    let all = sessions.map(|(key, bits, endpoint)| (key.zone, key.addr, *bits, *endpoint));
    for (access, tables) in tables.sessions.place(all, space)? {
        if let Some(zone) = zones.get_mut(access as usize) {
            zone.sessions = tables;
        }
    }
    Ok(())
}
