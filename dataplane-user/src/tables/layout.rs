//! How does an image lie in the heap?
//!
//! Every table of the image becomes an object, and the two lines of the root name them.
//! What is equal to what lies there already stays where it is (see [`Space`]).

use std::collections::BTreeMap;

use dataplane_common::{
    addr::{Addr, Mac},
    table::{
        AttachmentEntry, AttachmentKey, LocationEntry, LocationKey, PermitKey, PermitsEntry,
        Record, Station, StationEntry, StationKey,
        endpoint::{Endpoint, kind},
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

/// Places the image but for the list of its extents; `secret` is that of the flow table. What
/// is placed depends on nothing else: the same image ends at the same root.
pub fn lay(image: &Image, secret: &Secret, space: &mut impl Space) -> Result<(Root, More), Error> {
    let memberships = Memberships::of(image, &Memberships::default());
    let mut endpoints = image.endpoints.clone();
    for (id, endpoint) in (0..).zip(&mut endpoints) {
        endpoint.class = memberships.class(id);
    }
    let mut zones = image.zones.clone();
    routes(image, &mut zones, space)?;
    sessions(image, &mut zones, space)?;
    let records: Vec<_> = image.routes.iter().map(|(_, _, route)| *route).collect();
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
        permits: index::place(&permits(image, space)?, secret, space)?,
        routes: space.list(&records)?,
        flood_ports: space.list(&image.flood_ports)?,
        policies: numbered(&policies(image, &memberships, space)?, space)?,
        locations: index::place(&locations(image), secret, space)?,
        rule_max: image.rules.iter().map(|rule| rule.id).max().unwrap_or(0),
        ..More::default()
    };
    Ok((root, more))
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
    let mut put = |number: u32, owner| {
        let number = number as usize;
        owners.resize(owners.len().max(number + 1), Owner::default());
        owners[number] = owner;
    };
    for (key, station) in &image.stations {
        let Station { endpoint, owner, meter, router_meter } = *station;
        let tenant = image.endpoints.get(endpoint as usize).map_or(0, |of| of.tenant);
        let (at, mac) = (key.attachment, key.mac);
        put(owner, Owner { at, endpoint, tenant, meter, router_meter, mac, zero: [0; 6] });
    }
    for (id, end) in (0..).zip(&image.endpoints) {
        if matches!(end.kind, kind::LINE | kind::UPLINK) {
            let Endpoint { arrival: at, tenant, router_meter, .. } = *end;
            put(end.owner, Owner { at, endpoint: id, tenant, router_meter, ..Owner::default() });
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
struct Prefixes<K>(BTreeMap<K, [Lpm; 2]>);

impl<K: Ord> Prefixes<K> {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, of: K, addr: Addr, bits: u8, value: u32) {
        let tables = self.0.entry(of).or_default();
        tables[addr.family() as usize].insert(addr, bits, value);
    }

    fn place(self, space: &mut impl Space) -> Result<Vec<(K, [u32; 2])>, Full> {
        let placed = self
            .0
            .into_iter()
            .map(|(of, [mut v4, mut v6])| Ok((of, [v4.store(space)?, v6.store(space)?])));
        placed.collect()
    }
}

fn permits(image: &Image, space: &mut impl Space) -> Result<Vec<(PermitKey, PermitsEntry)>, Full> {
    let mut prefixes = Prefixes::new();
    for (key, bits) in &image.permits {
        prefixes.add((key.endpoint, key.mac), key.addr, *bits, u32::from(*bits) + 1);
    }
    let entry = |((endpoint, mac), tables): ((u32, Mac), [u32; 2])| {
        let key = PermitKey { endpoint, mac, ..PermitKey::default() };
        (key, PermitsEntry { key, tables, zero: [0; 6] })
    };
    Ok(prefixes.place(space)?.into_iter().map(entry).collect())
}

fn routes(image: &Image, zones: &mut [Zone], space: &mut impl Space) -> Result<(), Full> {
    let mut prefixes = Prefixes::new();
    for (number, (key, bits, _)) in (1..).zip(&image.routes) {
        prefixes.add(key.zone, key.addr, *bits, number);
    }
    for (zone, tables) in prefixes.place(space)? {
        if let Some(zone) = zones.get_mut(zone as usize) {
            zone.routes = tables;
        }
    }
    Ok(())
}

fn sessions(image: &Image, zones: &mut [Zone], space: &mut impl Space) -> Result<(), Full> {
    let mut prefixes = Prefixes::new();
    for (key, bits, endpoint) in &image.sessions {
        prefixes.add(key.zone, key.addr, *bits, *endpoint);
    }
    for (access, tables) in prefixes.place(space)? {
        if let Some(zone) = zones.get_mut(access as usize) {
            zone.sessions = tables;
        }
    }
    Ok(())
}
