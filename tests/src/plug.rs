//! Which hosts does a site file call for? One at the other end of every interface that it names.
//!
//! A port's host has the port's MAC, addresses and gateways; a NIC's host is the next hop. Of
//! several ports on one interface the first is there: enough for the site to be run.

use std::collections::{BTreeMap, btree_map::Entry};

use anyhow::{Context, Result};
use dataplane_user::check;
use dataplane_user::model::{Attachment, AttachmentIx, Neighbour, Owner, Port, Site, Subnet};
use ipnetwork::IpNetwork;

use crate::lab::{Host, HostBuilder, Lab};

/// The hosts of a site, by the interface that each is joined to.
pub type Hosts = BTreeMap<String, Host>;

/// Builds them. The site file has to be right.
pub fn hosts(lab: &Lab, site_yaml: &str) -> Result<Hosts> {
    let site = check::check(site_yaml).site.context("the site file has errors")?;
    let mut hosts = Hosts::new();
    for (ix, attachment) in site.attachments.iter() {
        let interface = attachment.interface.to_string();
        if let Entry::Vacant(place) = hosts.entry(interface) {
            place.insert(host(lab, &site, ix, attachment).build()?);
        }
    }
    Ok(hosts)
}

fn host<'lab>(
    lab: &'lab Lab,
    site: &Site,
    ix: AttachmentIx,
    attachment: &Attachment,
) -> HostBuilder<'lab> {
    let interface = attachment.interface.as_str();
    let host = match attachment.owner {
        Owner::Network(_) => lab.host(interface),
        Owner::Uplink(_) | Owner::Access(_) => lab.nic(interface),
    };
    let host = attachment.vlan.into_iter().fold(host, HostBuilder::vlan);
    let host = attachment.service_vlan.into_iter().fold(host, HostBuilder::service_vlan);
    match attachment.owner {
        Owner::Network(network) => {
            let subnets = &site.networks[network].subnets;
            let port = site.ports.values().find(|port| port.attachment == ix);
            port.into_iter().fold(host, |host, port| server(host, port, subnets))
        }
        Owner::Uplink(uplink) => {
            let uplink = &site.uplinks[uplink];
            uplink.next_hops.iter().fold(host, |host, hop| next_hop(host, hop, &uplink.addresses))
        }
        Owner::Access(access) => {
            let access = &site.accesses[access];
            next_hop(host, &access.next_hop, &access.addresses)
        }
    }
}

/// A tenant's server, as the site file describes its port.
fn server<'lab>(host: HostBuilder<'lab>, port: &Port, subnets: &[Subnet]) -> HostBuilder<'lab> {
    let mut host = host.mac(&port.mac.to_string());
    for subnet in subnets {
        let own = port.fixed_ips.iter().filter(|ip| subnet.prefix.contains(**ip));
        for ip in own.clone() {
            host = host.address(&format!("{ip}/{}", subnet.prefix.prefix()));
        }
        if own.count() > 0 {
            host = host.gateway(subnet.gateway);
        }
    }
    host
}

/// The router outside, whose way back leads through us.
fn next_hop<'lab>(
    host: HostBuilder<'lab>,
    hop: &Neighbour,
    ours: &[IpNetwork],
) -> HostBuilder<'lab> {
    let host = hop.mac.iter().fold(host, |host, mac| host.mac(&mac.to_string()));
    let Some(link) = ours.iter().find(|own| own.contains(hop.address)) else { return host };
    host.address(&format!("{}/{}", hop.address, link.prefix())).gateway(link.ip())
}
