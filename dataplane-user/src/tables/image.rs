//! Which records make one version of the site?
//!
//! An image is what the compiler makes and what is written to the kernel's maps (or
//! handed to the host's tables in a test): complete, consistent, and of no version
//! yet. Vectors are indexed by id; element 0 is nobody and stays empty.

use std::collections::{HashMap, HashSet};

use dataplane_common::table::{
    Attachment, AttachmentKey, Location, LocationKey, PermitKey, Station, StationKey, Tenant,
    endpoint::Endpoint,
    meter::Terms,
    next_hop::{NextHop, Output},
    policy::{MemberKey, Rule},
    route::Route,
    zone::{FloodPort, Zone},
};

/// One version of the site as records.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Image {
    /// What is plugged in at (interface, VLAN).
    pub attachments: HashMap<AttachmentKey, Attachment>,
    /// MACs of ports on attachments; the empty MAC stands for any, where port security is off.
    pub stations: HashMap<StationKey, Station>,
    /// Addresses in networks: ports' and gateways'.
    pub locations: HashMap<LocationKey, Location>,
    /// Endpoints in groups, lines and line groups.
    pub members: HashSet<MemberKey>,
    /// Source prefixes that ports may use, with their lengths counted in 128 bits.
    pub permits: Vec<(PermitKey, u8)>,
    /// Addresses and prefixes of sessions on accesses, their lengths, and their lines' endpoints.
    pub sessions: Vec<(LocationKey, u8, u32)>,
    /// Routes of zones.
    pub routes: Vec<(LocationKey, u8, Route)>,
    /// Prefixes of address groups; the key's zone is the set.
    pub group_prefixes: Vec<(LocationKey, u8)>,
    /// Ports, lines with sessions, uplinks.
    pub endpoints: Vec<Endpoint>,
    /// Networks, routers, uplinks, accesses.
    pub zones: Vec<Zone>,
    /// Next hops.
    pub next_hops: Vec<NextHop>,
    /// Ways out, by attachment.
    pub outputs: Vec<Output>,
    /// Tenants; 0 is the provider.
    pub tenants: Vec<Tenant>,
    /// Rules of endpoints; 0 is "not filtered".
    pub policies: Vec<Policy>,
    /// Rules, each policy's direction in one run.
    pub rules: Vec<Rule>,
    /// What is agreed of meters.
    pub meters: Vec<Terms>,
    /// Ports as floods look for them, each network's in one run.
    pub flood_ports: Vec<FloodPort>,
}

/// The rules of an endpoint, both directions, before they are compiled.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Raised whenever a rule of it changes.
    pub generation: u32,
    /// [`dataplane_common::table::policy::flags`].
    pub flags: u32,
    /// Where its egress rules begin.
    pub egress_first: u32,
    /// How many they are.
    pub egress_count: u32,
    /// Where its ingress rules begin.
    pub ingress_first: u32,
    /// How many they are.
    pub ingress_count: u32,
    /// It says what may come to an address of the host's, by its ingress rules.
    pub is_host: bool,
}

impl Policy {
    /// Its egress rules, of all.
    #[must_use]
    pub fn egress<'r>(&self, rules: &'r [Rule]) -> &'r [Rule] {
        run(rules, self.egress_first, self.egress_count)
    }

    /// Its ingress rules, of all.
    #[must_use]
    pub fn ingress<'r>(&self, rules: &'r [Rule]) -> &'r [Rule] {
        run(rules, self.ingress_first, self.ingress_count)
    }
}

fn run(rules: &[Rule], first: u32, count: u32) -> &[Rule] {
    let first = first as usize;
    rules.get(first..first.saturating_add(count as usize)).unwrap_or_default()
}

impl Image {
    /// In one order, and without what is empty at the end of a vector: two images of the same
    /// records are equal then, wherever they come from.
    #[must_use]
    pub fn normal(mut self) -> Self {
        self.permits.sort_unstable_by_key(|(key, bits)| (key.endpoint, key.mac.0, key.addr, *bits));
        self.sessions.sort_unstable_by_key(|(key, bits, _)| (key.zone, key.addr, *bits));
        self.routes.sort_unstable_by_key(|(key, bits, _)| (key.zone, key.addr, *bits));
        self.group_prefixes.sort_unstable_by_key(|(key, bits)| (key.zone, key.addr, *bits));
        trim(&mut self.endpoints);
        trim(&mut self.zones);
        trim(&mut self.next_hops);
        trim(&mut self.outputs);
        trim(&mut self.tenants);
        trim(&mut self.policies);
        trim(&mut self.rules);
        trim(&mut self.meters);
        trim(&mut self.flood_ports);
        self
    }
}

fn trim<T: Default + PartialEq>(records: &mut Vec<T>) {
    let used = records.iter().rposition(|record| *record != T::default());
    records.truncate(used.map_or(0, |last| last + 1));
}

/// Writes the element `id` of a vector that is indexed by ids.
pub(crate) fn put<T: Default + Clone>(vector: &mut Vec<T>, id: u32, value: T) {
    let index = id as usize;
    if vector.len() <= index {
        vector.resize(index + 1, T::default());
    }
    vector[index] = value;
}
