//! How does an image lie in the heap?
//!
//! Every table of the image becomes an object, and the two lines of the root name them.
//! What is equal to what lies there already stays where it is (see [`Space`]).

use std::collections::BTreeMap;

use dataplane_common::{
    addr::{Addr, Mac},
    table::{
        AttachmentEntry, AttachmentKey, LocationEntry, LocationKey, PermitKey, PermitsEntry,
        Record, StationEntry, StationKey,
        heap::{Line, List},
        root::{More, Root},
        zone::Zone,
    },
};

use super::{
    Image,
    heap::{Full, Space},
    index,
    lpm::Lpm,
};

/// Places the image but for the list of its extents; `secret` is that of the flow table.
pub fn lay(image: &Image, secret: u64, space: &mut impl Space) -> Result<(Root, More), Full> {
    let mut zones = image.zones.clone();
    routes(image, &mut zones, space)?;
    sessions(image, &mut zones, space)?;
    let records: Vec<_> = image.routes.iter().map(|(_, _, route)| *route).collect();
    let root = Root {
        attachments: index::place(&attachments(image), secret, space)?,
        stations: index::place(&stations(image), secret, space)?,
        zones: numbered(&zones, space)?,
        endpoints: numbered(&image.endpoints, space)?,
        tenants: numbered(&image.tenants, space)?,
        next_hops: numbered(&image.next_hops, space)?,
        outputs: numbered(&image.outputs, space)?,
        locations: index::place(&locations(image), secret, space)?,
    };
    let more = More {
        permits: index::place(&permits(image, space)?, secret, space)?,
        routes: space.list(&records)?,
        flood_ports: space.list(&image.flood_ports)?,
        ..More::default()
    };
    Ok((root, more))
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
        .map(|(&key, &station)| (key, StationEntry { key, station, zero: [0; 2] }))
        .collect();
    all.sort_unstable_by_key(|(key, _)| (key.attachment, key.mac));
    all
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
