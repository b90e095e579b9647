//! What is an interface to us, and where do programs sit on it?

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What is at the other end of an interface?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Tenants' servers.
    Port,
    /// An external network.
    Uplink,
    /// The mobile network.
    Access,
}

impl Role {
    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Uplink => "uplink",
            Self::Access => "access",
        }
    }
}

/// What the host has on an interface that it shares.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shared {
    /// Its addresses on the interface itself; it has no other there.
    pub addresses: Vec<IpAddr>,
    /// It asks and answers by ARP, there or on a VLAN.
    pub speaks_arp: bool,
}

impl Shared {
    /// Does it need IPv6 on the interface itself?
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// Where is the program asked to sit?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP on uplinks and accesses that have it, else tcx.
    Auto,
    /// XDP in the driver, or not at all.
    Xdp,
    /// tcx.
    Tcx,
}

/// Where does it sit?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hooked {
    /// XDP in the driver.
    Xdp,
    /// tcx.
    Tcx,
}

impl Hooked {
    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tcx => "tcx",
        }
    }
}
