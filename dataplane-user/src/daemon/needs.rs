//! What does a site ask of the machine? Its interfaces, and whom to ask for MACs there.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use dataplane_common::addr::Mac;

use super::Options;
use crate::{
    compile::Link,
    load::{Attach, Attached, Hook, Interfaces, Role, Shared},
    model::{self, AttachmentIx, Owner, Site},
    neighbour::Question,
};

/// What a site attaches now: all of its interfaces that are there, but for those that
/// were refused when they came, and all of them if they are required.
pub fn now(
    options: &Options,
    site: &Site,
    now: &Interfaces,
    refused: &BTreeMap<String, String>,
) -> Vec<Attach> {
    let is_there = |name: &str| options.require_interfaces || now.get(name).is_some();
    wanted(site, |name| is_there(name) && !refused.contains_key(name))
}

/// Every interface that is asked for, once: attachments differ by VLAN as well.
pub fn wanted(site: &Site, is_asked: impl Fn(&str) -> bool) -> Vec<Attach> {
    let mut seen = HashSet::new();
    let mut shares = shares(site);
    let mut wanted: Vec<Attach> = Vec::new();
    for (ix, at) in site.attachments.iter() {
        let name = at.interface.as_str();
        if !is_asked(name) || !seen.insert(name) {
            continue;
        }
        wanted.push(Attach {
            interface: at.interface.to_string(),
            wanted_by: owner(site, ix),
            role: match at.owner {
                Owner::Network(_) => Role::Port,
                Owner::Uplink(_) => Role::Uplink,
                Owner::Access(_) => Role::Access,
            },
            hook: match at.hook {
                model::Hook::Auto => Hook::Auto,
                model::Hook::Tcx => Hook::Tcx,
                model::Hook::Xdp => Hook::Xdp,
            },
            shared: shares.remove(name).unwrap_or_default(),
        });
    }
    wanted
}

/// What the host has on interfaces. Its addresses on a VLAN are those of a device of its own
/// there.
fn shares(site: &Site) -> HashMap<&str, Shared> {
    let mut shares: HashMap<&str, Shared> = HashMap::new();
    for (ix, at) in site.attachments.iter() {
        let Some(host) = site.host_at(ix) else { continue };
        let shared = shares.entry(at.interface.as_str()).or_default();
        let addresses = host.addresses();
        shared.speaks_arp |= addresses.iter().any(IpAddr::is_ipv4);
        if at.vlan.is_none() {
            shared.addresses.extend(addresses);
        }
    }
    shares
}

/// Whose attachment it is, as messages say it.
pub fn owner(site: &Site, ix: AttachmentIx) -> String {
    match site.attachments[ix].owner {
        Owner::Network(network) => {
            let network = &site.networks[network];
            format!("network {}/{}", site.tenants[network.tenant].name, network.name)
        }
        Owner::Uplink(uplink) => format!("uplink {}", site.uplinks[uplink].name),
        Owner::Access(access) => format!("access {}", site.accesses[access].name),
    }
}

/// What there is to be said of interfaces of the site that are not there and were not waited
/// for before: what may have been meant.
pub fn absent(site: &Site, now: &Interfaces, waited: &[String]) -> Vec<String> {
    const TOLD: usize = 10;
    let known: HashSet<_> = waited.iter().collect();
    let is_new = |name: &str| !known.contains(&name.to_owned()) && now.get(name).is_none();
    let absent = wanted(site, is_new);
    let mut told: Vec<_> = absent
        .iter()
        .take(TOLD)
        .filter_map(|attach| now.find(&attach.interface, &attach.wanted_by).err())
        .map(|missing| format!("{missing}; it is attached when it comes"))
        .collect();
    if absent.len() > TOLD {
        told.push(format!("{} more interfaces are waited for", absent.len() - TOLD));
    }
    told
}

/// Whom to ask for the MACs that the file does not state, and from where. Of an interface
/// that is not there the MAC is not known, and nobody is asked.
pub fn questions(site: &Site, attached: &[Attached]) -> Vec<(Link, Question)> {
    let uplinks = site.uplinks.values().flat_map(|uplink| {
        let hops = uplink.next_hops.iter();
        hops.map(move |hop| (uplink.attachment, uplink.mac, uplink.addresses.as_slice(), hop))
    });
    let accesses = site.accesses.values().map(|access| {
        (access.attachment, access.mac, access.addresses.as_slice(), &access.next_hop)
    });
    let questions = uplinks.chain(accesses).filter(|(.., hop)| hop.mac.is_none()).filter_map(
        |(ix, mac, addresses, hop)| {
            let at = &site.attachments[ix];
            let (interface, vlans) = (at.interface.to_string(), at.vlans());
            // From the address beside it, or from any of its family.
            let near = addresses.iter().find(|own| own.contains(hop.address));
            let of_family = || addresses.iter().find(|own| own.is_ipv4() == hop.address.is_ipv4());
            let own = near.or_else(of_family)?.ip();
            let found = attached.iter().find(|at| at.interface.name == interface);
            let mac = mac.map(|mac| Mac(mac.octets())).or_else(|| Some(found?.mac()));
            let mac = mac.unwrap_or_default();
            let question =
                Question { interface: interface.clone(), vlans, mac, own, target: hop.address };
            Some(((interface, vlans, hop.address), question))
        },
    );
    questions.collect()
}
