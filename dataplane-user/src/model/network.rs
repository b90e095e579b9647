//! Whose segment is it, and what is plugged into it?

use std::net::IpAddr;

use dataplane_common::wire::ethernet;
use ipnetwork::IpNetwork;

use super::{
    AccessIx, AttachmentIx, GroupIx, Interface, Limits, Mac, Name, NetworkIx, RouterIx, TenantIx,
    UplinkIx,
};

/// An owner of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Unique in the site.
    pub name: Name,
}

/// A layer-2 segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The owner.
    pub tenant: TenantIx,
    /// Unique among the tenant's networks.
    pub name: Name,
    /// 576 to 9216 bytes, at least 1280 with an IPv6 subnet.
    pub mtu: u16,
    /// Unreachable from any uplink.
    pub mec_only: bool,
    /// They do not overlap.
    pub subnets: Vec<Subnet>,
    /// The router that has the gateway addresses.
    pub router: Option<RouterIx>,
}

/// A prefix of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Host bits are zero.
    pub prefix: IpNetwork,
    /// Inside the prefix; the router's, if the network has one.
    pub gateway: IpAddr,
}

/// An (interface, VLAN), where the VLAN may be one of a service VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub interface: Interface,
    /// The VLAN, 1 to 4094; `None`: untagged.
    pub vlan: Option<u16>,
    /// The service VLAN that it is one of, 1 to 4094; `None`: of no other.
    pub service_vlan: Option<u16>,
    /// The same for all attachments of an interface.
    pub hook: Hook,
    /// Whose frames come in here.
    pub owner: Owner,
}

impl Attachment {
    /// Its [`vlans`](ethernet::vlans), as the programs know it.
    #[must_use]
    pub fn vlans(&self) -> u32 {
        ethernet::vlans(self.service_vlan.unwrap_or(0), self.vlan.unwrap_or(0))
    }
}

/// Where the program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// XDP on NICs, tcx on tenant ports.
    Auto,
    /// tcx ingress.
    Tcx,
    /// XDP.
    Xdp,
}

/// What an attachment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Ports of a network.
    Network(NetworkIx),
    /// An external network.
    Uplink(UplinkIx),
    /// The mobile network.
    Access(AccessIx),
}

/// A MAC on an attachment, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The owner.
    pub tenant: TenantIx,
    /// Unique among the tenant's ports.
    pub name: Name,
    /// The segment.
    pub network: NetworkIx,
    /// Where its frames come in.
    pub attachment: AttachmentIx,
    /// Unique in the network, the router's MAC included.
    pub mac: Mac,
    /// Unique in the network, inside its subnets.
    pub fixed_ips: Vec<IpAddr>,
    /// Further sources that it may use.
    pub address_pairs: Vec<AddressPair>,
    /// Anti-spoofing and security groups.
    pub security: Security,
    /// It answers DHCP clients.
    pub dhcp_server: bool,
    /// How much it may send and receive.
    pub limits: Limits,
}

/// A further source address that a port may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPair {
    /// Host bits are zero; a single address is a /32 or /128.
    pub prefix: IpNetwork,
    /// The port's own MAC, if the file gives none.
    pub mac: Mac,
}

impl AddressPair {
    /// Is it this one address, not a prefix that holds it?
    #[must_use]
    pub fn is(&self, address: IpAddr) -> bool {
        self.prefix == IpNetwork::from(address)
    }
}

/// How a port is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// `port_security: false`: neither anti-spoofing nor filtering.
    Off,
    /// All groups are stateful, or none is. No group: nothing passes but the
    /// exceptions that every port has.
    On {
        /// Sorted, without repetition.
        groups: Vec<GroupIx>,
        /// Whether replies pass without a rule.
        stateful: bool,
    },
}
