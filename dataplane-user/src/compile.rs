//! How does a validated site become records?
//!
//! A pure function of the site, of what is known about interfaces and neighbours,
//! and of the version before (which numbers and generations go on). It cannot fail
//! on a reference: the model resolved them. It can exceed a limit, and that is found
//! out when the image is installed, before anything is written.

mod endpoints;
pub mod ids;
mod meters;
mod policies;
mod zones;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use dataplane_common::{
    addr::{Addr, Mac, V4_PREFIX_OFFSET_BITS},
    limits,
    table::{
        Attachment, AttachmentKey, Tenant, attachment_kind,
        next_hop::{Output, output_kind},
    },
    wire::ethernet,
    work::flags,
};
use ids::{Ids, Kind, Numbering};
use ipnetwork::IpNetwork;

pub use endpoints::link_local;
pub use policies::rule_name;

use crate::{
    claims::Held,
    model::{
        self, AccessIx, AttachmentIx, LineIx, NetworkIx, Owner, PortIx, RouterIx, Site, TenantIx,
        UplinkIx,
    },
    tables::{Image, image::put},
};

/// What the compiler is told about the machine.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Interfaces of the site that are there.
    pub interfaces: HashMap<String, Interface>,
    /// MACs that were found out of next hops on uplinks and accesses.
    pub neighbours: Neighbours,
    /// Which ports have addresses that they claimed.
    pub claims: Held,
    /// Half-flows that a tenant may have at a time.
    pub flows_per_tenant: u32,
    /// Nanoseconds between two of the kernel's ticks.
    pub tick_ns: u64,
}

/// A next hop's place: interface, VLANs (0: none), address.
pub type Link = (String, u32, IpAddr);

/// MACs of next hops that were asked for.
pub type Neighbours = HashMap<Link, Mac>;

/// An interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its number.
    pub ifindex: u32,
    /// Its own MAC.
    pub mac: Mac,
    /// How it is sent to: [`dataplane_common::table::next_hop::output_kind`].
    pub output_kind: u32,
    /// Its largest packet, bytes.
    pub mtu_bytes: u32,
}

/// One version of the site, compiled.
#[derive(Clone, Default, Debug)]
pub struct Compiled {
    /// Its number, once it is in force: one more than that of the version before.
    pub version: u32,
    /// The records.
    pub image: Image,
    /// The names and generations of what they stand for.
    pub ids: Ids,
}

impl Compiled {
    /// Attachments that `before` did not have, or that were somebody else's.
    #[must_use]
    pub fn new_attachments(&self, before: &Self) -> Vec<u32> {
        // Also of those that are waited for, of which the image has nothing.
        let owner = |of: &Self, id| of.ids.generation(Kind::Attachment, id);
        let is_new =
            |id: &u32| owner(before, *id).is_some_and(|owned| owner(self, *id) != Some(owned));
        let changed = self.ids.all(Kind::Attachment).map(|(_, id)| id).filter(is_new);
        changed.chain(self.ids.new_since(&before.ids, Kind::Attachment)).collect()
    }

    /// Interfaces all of whose attachments are among these.
    #[must_use]
    pub fn interfaces_of(&self, attachments: &[u32]) -> Vec<String> {
        if attachments.is_empty() {
            return Vec::new();
        }
        let attachments: HashSet<_> = attachments.iter().collect();
        let all = || self.ids.all(Kind::Attachment).map(|(name, id)| (interface(name), id));
        let others: HashSet<_> =
            all().filter(|(_, id)| !attachments.contains(id)).map(|(name, _)| name).collect();
        let own: HashSet<_> = all().map(|(name, _)| name).collect();
        own.difference(&others).map(|name| (*name).to_owned()).collect()
    }

    /// Under whom is counted what an interface does not take: the one tenant whose it is, or the
    /// provider.
    #[must_use]
    pub fn tenant_at(&self, ifindex: u32) -> u32 {
        let here = self.image.outputs.iter().filter(|output| output.ifindex == ifindex);
        let mut tenants = here.map(|output| output.tenant);
        let first = tenants.next().unwrap_or(0);
        if tenants.all(|tenant| tenant == first) { first } else { 0 }
    }
}

/// Compiles the site as the version after `previous`.
#[must_use]
pub fn compile(site: &Site, facts: &Facts, previous: &Compiled) -> Compiled {
    let mut builder = Builder {
        site,
        facts,
        version: previous.version.wrapping_add(1),
        numbering: Numbering::after(&previous.ids),
        image: Image::default(),
        changed: HashSet::new(),
        link_protocols: link_protocols(site),
    };
    // Number 0 is nobody, in every table.
    builder.image.policies.push(Default::default());
    builder.image.endpoints.push(Default::default());
    for (ix, _) in site.attachments.iter() {
        builder.attachment(ix);
    }
    for (ix, _) in site.attachments.iter() {
        builder.link_only(ix);
    }
    policies::address_groups(&mut builder);
    endpoints::compile(&mut builder);
    policies::members(&mut builder);
    zones::compile(&mut builder);
    builder.tenants(previous);
    let Builder { version, image, numbering, .. } = builder;
    Compiled { version, image, ids: numbering.finish() }
}

/// The name that an attachment has in [`Ids`].
#[must_use]
pub fn attachment_name(interface: &str, vlans: u32) -> String {
    // No interface has a space in its name, but many have a dot.
    match (ethernet::service_vlan(vlans), ethernet::customer_vlan(vlans)) {
        (0, 0) => interface.to_owned(),
        (0, vlan) => format!("{interface} vlan {vlan}"),
        (service, vlan) => format!("{interface} service vlan {service} vlan {vlan}"),
    }
}

/// How an attachment's interface is sent to. With a second tag it is sent by the device, where
/// the kernel looks at it anew: on Linux 6.1 putting the first one into the frame lengthens what
/// counts as its MAC header (`mac_len`), and the peer would look for the inner tag behind it.
const fn kind_with(kind: u32, vlans: u32) -> u32 {
    let is_twice = ethernet::service_vlan(vlans) != 0;
    if is_twice && kind == output_kind::PEER { output_kind::DEVICE } else { kind }
}

/// The interface of an attachment of this name.
fn interface(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

/// The name that a line has in [`Ids`], among endpoints while it has a session.
#[must_use]
pub fn line_name(site: &Site, ix: LineIx) -> String {
    let line = &site.lines[ix];
    let access = &site.accesses[line.access].name;
    format!("line {}/{access}/{}", site.tenants[line.tenant].name, line.number)
}

/// The name that a network has in [`Ids`], among zones.
#[must_use]
pub fn network_name(site: &Site, ix: NetworkIx) -> String {
    let network = &site.networks[ix];
    format!("network {}/{}", site.tenants[network.tenant].name, network.name)
}

/// The name that a port has in [`Ids`], among endpoints.
#[must_use]
pub fn port_name(site: &Site, ix: PortIx) -> String {
    let port = &site.ports[ix];
    format!("port {}/{}", site.tenants[port.tenant].name, port.name)
}

/// The image in the making.
struct Builder<'s> {
    site: &'s Site,
    facts: &'s Facts,
    version: u32,
    numbering: Numbering<'s>,
    image: Image,
    /// Tenants (0: the provider) of which something changed.
    changed: HashSet<u32>,
    /// What the host speaks on the link itself, by interface.
    link_protocols: HashMap<&'s str, u32>,
}

/// Names of objects, which are what they are known by in [`Ids`] and shown as.
impl Builder<'_> {
    fn network_name(&self, ix: NetworkIx) -> String {
        network_name(self.site, ix)
    }

    fn router_name(&self, ix: RouterIx) -> String {
        let router = &self.site.routers[ix];
        format!("router {}/{}", self.site.tenants[router.tenant].name, router.name)
    }

    fn port_name(&self, ix: PortIx) -> String {
        port_name(self.site, ix)
    }

    fn line_name(&self, ix: LineIx) -> String {
        line_name(self.site, ix)
    }

    fn uplink_name(&self, ix: UplinkIx) -> String {
        format!("uplink {}", self.site.uplinks[ix].name)
    }

    fn access_name(&self, ix: AccessIx) -> String {
        format!("access {}", self.site.accesses[ix].name)
    }
}

/// Numbers of objects.
impl Builder<'_> {
    fn network(&mut self, ix: NetworkIx) -> u32 {
        let name = self.network_name(ix);
        self.numbering.number(Kind::Zone, &name)
    }

    fn router(&mut self, ix: RouterIx) -> u32 {
        let name = self.router_name(ix);
        self.numbering.number(Kind::Zone, &name)
    }

    /// The zone of the network's router, or 0.
    fn router_of(&mut self, network: NetworkIx) -> u32 {
        self.site.networks[network].router.map_or(0, |ix| self.router(ix))
    }

    fn uplink(&mut self, ix: UplinkIx) -> u32 {
        let name = self.uplink_name(ix);
        self.numbering.number(Kind::Zone, &name)
    }

    fn access(&mut self, ix: AccessIx) -> u32 {
        let name = self.access_name(ix);
        self.numbering.number(Kind::Zone, &name)
    }

    fn tenant(&mut self, ix: TenantIx) -> u32 {
        self.numbering.number(Kind::Tenant, self.site.tenants[ix].name.as_str())
    }

    fn attachment_number(&mut self, ix: AttachmentIx) -> u32 {
        let at = &self.site.attachments[ix];
        let name = attachment_name(at.interface.as_str(), at.vlans());
        self.numbering.number(Kind::Attachment, &name)
    }
}

impl Builder<'_> {
    /// What is plugged in at (interface, VLANs), and the way out there. An interface
    /// that is absent has no key and no way out.
    fn attachment(&mut self, ix: AttachmentIx) {
        let at = &self.site.attachments[ix];
        let id = self.attachment_number(ix);
        let vlan = at.vlans();
        let mut attachment = Attachment { id, ..Attachment::default() };
        match at.owner {
            Owner::Network(network) => {
                attachment.kind = attachment_kind::PORTS;
                attachment.zone = self.network(network);
                attachment.tenant = self.tenant(self.site.networks[network].tenant);
            }
            Owner::Uplink(uplink) => {
                let name = self.uplink_name(uplink);
                attachment.kind = attachment_kind::UPLINK;
                attachment.zone = self.uplink(uplink);
                attachment.endpoint = self.numbering.number(Kind::Endpoint, &name);
            }
            Owner::Access(access) => {
                attachment.kind = attachment_kind::ACCESS;
                attachment.zone = self.access(access);
            }
        }
        let owner = format!("{:?}", (attachment.zone, attachment.tenant));
        self.numbering.generation(Kind::Attachment, id, &owner);
        attachment.host = self.host_flags(ix);
        let facts = self.facts.interfaces.get(at.interface.as_str());
        let mut output = Output { vlan, tenant: attachment.tenant, ..Output::default() };
        if let Some(facts) = facts {
            let key = AttachmentKey { ifindex: facts.ifindex, vlan };
            self.image.attachments.insert(key, attachment);
            output.ifindex = facts.ifindex;
            output.kind = kind_with(facts.output_kind, vlan);
        }
        put(&mut self.image.outputs, id, output);
    }

    /// What the host has at an attachment: its addresses there; frames of the link itself
    /// have no tag, whoever of the interface's attachments names them.
    fn host_flags(&self, ix: AttachmentIx) -> u32 {
        let at = &self.site.attachments[ix];
        let has_addresses = self.site.host_at(ix).is_some_and(|own| !own.entries.is_empty());
        let mut host = if has_addresses { flags::HOST } else { 0 };
        if at.vlan.is_none() {
            host |= self.link_protocols.get(at.interface.as_str()).copied().unwrap_or(0);
        }
        host
    }

    /// An interface that is attached by its VLANs alone has a place for frames of the link
    /// itself, which are counted where they are named.
    fn link_only(&mut self, ix: AttachmentIx) {
        let at = &self.site.attachments[ix];
        let named = self.site.host_at(ix).is_some_and(|host| host.lacp || host.lldp);
        let facts = self.facts.interfaces.get(at.interface.as_str());
        let Some(facts) = facts.filter(|_| named) else { return };
        let key = AttachmentKey { ifindex: facts.ifindex, vlan: 0 };
        let (kind, zone) = (attachment_kind::LINK, self.link_zone(ix));
        let id = self.attachment_number(ix);
        let host = self.link_protocols.get(at.interface.as_str()).copied().unwrap_or(0);
        let attachment = Attachment { id, kind, zone, host, ..Attachment::default() };
        self.image.attachments.entry(key).or_insert(attachment);
    }

    /// The generation of an object of `tenant`, whose epoch grows with it.
    fn generation(&mut self, kind: Kind, id: u32, tenant: u32, content: &str) -> u32 {
        let generation = self.numbering.generation(kind, id, content);
        if self.numbering.is_changed(kind, id) {
            self.changed.insert(tenant);
        }
        generation
    }

    /// A tenant's epoch is the version in which anything of its own changed last, or in
    /// which anything at all ceased to be: so nobody ever has an epoch again that a tenant
    /// of the same number had before.
    fn tenants(&mut self, previous: &Compiled) {
        let flows_max = self.facts.flows_per_tenant;
        let mut ids = vec![(0, true)];
        for (ix, tenant) in self.site.tenants.iter() {
            let id = self.tenant(ix);
            let before = previous.ids.number(Kind::Tenant, tenant.name.as_str());
            ids.push((id, before == Some(id)));
        }
        // On limits no flow rests. Whoever has nothing was not numbered until now.
        let is_smaller = self.numbering.removed().iter().any(|(kind, _)| *kind != Kind::Meter);
        for (id, is_known) in ids {
            let before = previous.image.tenants.get(id as usize).filter(|_| is_known);
            let before = before.map_or(0, |tenant| tenant.epoch);
            let is_changed = is_smaller || before == 0 || self.changed.contains(&id);
            let epoch = if is_changed { self.version } else { before };
            put(&mut self.image.tenants, id, Tenant { epoch, flows_max });
        }
    }

    /// The zone of the uplink or access at an attachment.
    fn link_zone(&mut self, at: AttachmentIx) -> u32 {
        match self.site.attachments[at].owner {
            Owner::Network(ix) => self.network(ix),
            Owner::Uplink(ix) => self.uplink(ix),
            Owner::Access(ix) => self.access(ix),
        }
    }

    /// Our MAC at an attachment: the one of the file, or the interface's.
    fn own_mac(&self, stated: Option<model::Mac>, at: AttachmentIx) -> Mac {
        let interface = self.site.attachments[at].interface.as_str();
        let facts = self.facts.interfaces.get(interface);
        stated.map_or_else(|| facts.map(|facts| facts.mac).unwrap_or_default(), mac)
    }
}

/// The protocols of the link that the host speaks, whichever attachment names them.
fn link_protocols(site: &Site) -> HashMap<&str, u32> {
    let mut spoken: HashMap<&str, u32> = HashMap::new();
    for (ix, at) in site.attachments.iter() {
        let Some(host) = site.host_at(ix) else { continue };
        let lacp = if host.lacp { flags::LACP } else { 0 };
        let lldp = if host.lldp { flags::LLDP } else { 0 };
        *spoken.entry(at.interface.as_str()).or_default() |= lacp | lldp;
    }
    spoken
}

/// The MAC in the tables' form.
#[must_use]
pub fn mac(mac: model::Mac) -> Mac {
    Mac(mac.octets())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    #[test]
    fn a_tenant_that_has_nothing_is_not_taken_for_one_that_is_gone() {
        let site = check("version: 1\ntenants: [{name: blue}]").site.expect("without an error");
        let first = compile(&site, &Facts::default(), &Compiled::default());
        let second = compile(&site, &Facts::default(), &first);
        assert_eq!(second.image.tenants, first.image.tenants);
    }

    #[test]
    fn two_tags_do_not_go_into_a_peer_as_they_are() {
        let kinds = |kind| [0, 7, ethernet::vlans(5, 7)].map(|vlans| kind_with(kind, vlans));
        let [peer, device] = [output_kind::PEER, output_kind::DEVICE];
        assert_eq!(kinds(peer), [peer, peer, device]);
        assert_eq!(kinds(output_kind::NIC), [output_kind::NIC; 3]);
    }

    #[test]
    fn a_vlan_of_an_interface_is_no_interface_with_a_dot() {
        assert_ne!(attachment_name("eth0", 101), attachment_name("eth0.101", 0));
        assert_ne!(attachment_name("eth0", 101), attachment_name("eth0", ethernet::vlans(5, 101)));
    }
}
