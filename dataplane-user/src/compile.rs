//! How does a validated site become records?
//!
//! A pure function of the site, of what is known about interfaces and neighbours,
//! and of the version before (which numbers and generations go on). It cannot fail
//! on a reference: the model resolved them. It can exceed a limit, and that is found
//! out when the image is installed, before anything is written.

mod endpoints;
pub mod ids;
mod policies;
mod zones;

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane_common::{
    addr::{Addr, Mac, V4_PREFIX_OFFSET_BITS},
    limits,
    table::{Tenant, attachment_kind, next_hop::Output},
};
use ids::{Ids, Kind, Numbering};
use ipnetwork::IpNetwork;

use crate::{
    model::{AccessIx, NetworkIx, Site, TenantIx, UplinkIx},
    tables::Image,
};

/// What the compiler is told about the machine.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// Interfaces of the site that are there.
    pub interfaces: HashMap<String, Interface>,
    /// MACs of next hops on uplinks and accesses, by interface, VLAN and address.
    pub neighbours: HashMap<(String, u16, IpAddr), Mac>,
    /// Half-flows that a tenant may have at a time.
    pub flows_per_tenant: u32,
}

/// An interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its number.
    pub ifindex: u32,
    /// Its own MAC.
    pub mac: Mac,
    /// How it is sent to: [`dataplane_common::table::next_hop::output_kind`].
    pub output_kind: u32,
}

/// One version of the site, compiled.
#[derive(Clone, Default, Debug)]
pub struct Compiled {
    /// The records.
    pub image: Image,
    /// The names and generations of what they stand for.
    pub ids: Ids,
}

/// Compiles the site as the version after `previous`.
#[must_use]
pub fn compile(site: &Site, facts: &Facts, previous: &Compiled) -> Compiled {
    let mut builder = Builder {
        site,
        facts,
        numbering: Numbering::after(&previous.ids),
        image: Image::default(),
        attachments: HashMap::new(),
        changed: HashMap::new(),
    };
    builder.image.policies.push(Default::default());
    builder.image.endpoints.push(Default::default());
    policies::compile(&mut builder);
    zones::links(&mut builder);
    endpoints::compile(&mut builder);
    policies::members(&mut builder);
    zones::compile(&mut builder);
    builder.tenants(&previous.image);
    Compiled { image: builder.image, ids: builder.numbering.finish() }
}

/// The name that an attachment has in [`Ids`].
#[must_use]
pub fn attachment_name(interface: &str, vlan: u16) -> String {
    if vlan == 0 { interface.to_owned() } else { format!("{interface}.{vlan}") }
}

/// The image in the making.
struct Builder<'s> {
    site: &'s Site,
    facts: &'s Facts,
    numbering: Numbering<'s>,
    image: Image,
    /// Attachments by interface and VLAN.
    attachments: HashMap<(&'s str, u16), u32>,
    /// Tenants (0: the provider) of which something changed.
    changed: HashMap<u32, bool>,
}

impl<'s> Builder<'s> {
    fn network_name(&self, ix: NetworkIx) -> String {
        let network = &self.site[ix];
        format!("network {}/{}", self.site[network.tenant].name, network.name)
    }

    fn zone_of_network(&mut self, ix: NetworkIx) -> u32 {
        let name = self.network_name(ix);
        self.numbering.number(Kind::Zone, &name)
    }

    /// The zone of the network's router, or 0.
    fn zone_of_router(&mut self, network: NetworkIx) -> u32 {
        let Some(router) = self.site.router_of(network) else { return 0 };
        let router = &self.site[router];
        let name = format!("router {}/{}", self.site[router.tenant].name, router.name);
        self.numbering.number(Kind::Zone, &name)
    }

    fn zone_of_uplink(&mut self, ix: UplinkIx) -> u32 {
        let name = format!("uplink {}", self.site[ix].name);
        self.numbering.number(Kind::Zone, &name)
    }

    fn zone_of_access(&mut self, ix: AccessIx) -> u32 {
        let name = format!("access {}", self.site[ix].name);
        self.numbering.number(Kind::Zone, &name)
    }

    fn tenant(&mut self, ix: TenantIx) -> u32 {
        self.numbering.number(Kind::Tenant, &self.site[ix].name)
    }

    /// The attachment at (interface, VLAN), made if it is the first time.
    fn attachment(&mut self, interface: &'s str, vlan: u16) -> u32 {
        if let Some(&id) = self.attachments.get(&(interface, vlan)) {
            return id;
        }
        let id = self.numbering.number(Kind::Attachment, &attachment_name(interface, vlan));
        let (ifindex, kind) = self
            .facts
            .interfaces
            .get(interface)
            .map_or((0, 0), |facts| (facts.ifindex, facts.output_kind));
        let output = Output { ifindex, kind, vlan: u32::from(vlan), zero: 0 };
        put(&mut self.image.outputs, id, output);
        self.attachments.insert((interface, vlan), id);
        id
    }

    /// The generation of an object of `tenant`, whose epoch grows with it.
    fn generation(&mut self, kind: Kind, id: u32, tenant: u32, content: String) -> u32 {
        let generation = self.numbering.generation(kind, id, content);
        if self.numbering.is_changed(kind, id) {
            self.changed.insert(tenant, true);
        }
        generation
    }

    /// Tenants' epochs grow if anything of theirs changed, or is no more.
    fn tenants(&mut self, previous: &Image) {
        let quota = self.facts.flows_per_tenant;
        let everybody = !self.numbering.removed().is_empty();
        let mut ids = vec![0];
        for ix in self.site.tenant_ixs() {
            ids.push(self.tenant(ix));
        }
        for id in ids {
            let before = previous.tenants.get(id as usize).map_or(0, |tenant| tenant.epoch);
            let is_changed = everybody || before == 0 || self.changed.contains_key(&id);
            let epoch = if is_changed { before.wrapping_add(1).max(1) } else { before };
            put(&mut self.image.tenants, id, Tenant { epoch, flows_max: quota });
        }
    }

    /// The MAC of an interface that is there, or none.
    fn mac_of(&self, interface: &str) -> Mac {
        self.facts.interfaces.get(interface).map(|facts| facts.mac).unwrap_or_default()
    }
}

/// Writes the element `id` of a vector that is indexed by ids.
fn put<T: Default + Clone>(vector: &mut Vec<T>, id: u32, value: T) {
    let index = id as usize;
    if vector.len() <= index {
        vector.resize(index + 1, T::default());
    }
    vector[index] = value;
}

/// The address in the tables' form.
fn addr(ip: IpAddr) -> Addr {
    crate::trace::addr(ip)
}

/// The network address and the prefix length counted in 128 bits.
fn prefix(network: IpNetwork) -> (Addr, u8) {
    match network {
        IpNetwork::V4(v4) => (Addr::v4(v4.network().octets()), v4.prefix() + V4_PREFIX_OFFSET_BITS),
        IpNetwork::V6(v6) => (Addr::v6(v6.network().octets()), v6.prefix()),
    }
}

/// Half-flows of a tenant if the operator does not say.
pub const FLOWS_PER_TENANT: u32 = limits::FLOWS_PER_TENANT;

const _: () = assert!(attachment_kind::PORTS != attachment_kind::UPLINK);

/// The name that a port's endpoint has in [`Ids`].
fn endpoint_name(site: &Site, ix: crate::model::PortIx) -> String {
    format!("port {}/{}", site[site[ix].tenant].name, site[ix].name)
}

/// The name that a line has in [`Ids`], as endpoint, set and owner.
fn line_name(site: &Site, ix: crate::model::LineIx) -> String {
    let line = &site[ix];
    format!("line {}/{}/{}", site[line.tenant].name, site[line.access].name, line.number)
}
