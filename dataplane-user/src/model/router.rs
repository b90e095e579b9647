//! Where do a tenant's packets go between its networks and beyond?

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Limit, Mac, Name, NetworkIx, TenantIx, UplinkIx};

/// A tenant's router. Its connected prefixes are its networks' subnets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// The owner.
    pub tenant: TenantIx,
    /// Unique among the tenant's routers.
    pub name: Name,
    /// The same on all its networks, where no port has it.
    pub mac: Mac,
    /// No network has two routers; their subnets do not overlap.
    pub interfaces: Vec<NetworkIx>,
    /// No two have the same destination, none a connected subnet's.
    pub routes: Vec<Route>,
    /// How much it forwards, in sum.
    pub limits: Option<Limit>,
}

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Host bits are zero.
    pub destination: IpNetwork,
    /// Where to.
    pub target: Target,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One to sixteen next hops of the destination's family.
    NextHops(Vec<NextHop>),
    /// Out of the site.
    Uplink(UplinkIx),
    /// Nowhere.
    Blackhole,
}

/// A tenant's own machine that routes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// Inside a subnet of the network, and not its gateway.
    pub address: IpAddr,
    /// One of the router's interfaces.
    pub network: NetworkIx,
}
