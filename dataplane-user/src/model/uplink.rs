//! How does the site reach the outside, and who is reached from there?

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{AccessIx, AttachmentIx, HostShare, Mac, Name, RouterIx};

/// An external network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Unique in the site.
    pub name: Name,
    /// Where its frames come in; nobody else's do.
    pub attachment: AttachmentIx,
    /// Our own MAC; `None`: the interface's.
    pub mac: Option<Mac>,
    /// Our own addresses, with the length of the link's prefix.
    pub addresses: Vec<IpNetwork>,
    /// One to sixteen routers outside, on the link's prefixes or link-local.
    pub next_hops: Vec<Neighbour>,
    /// No two overlap.
    pub exports: Vec<Export>,
    /// What no tenant or line may reach here; no export overlaps them.
    pub protected: Vec<IpNetwork>,
    /// What is the host's there.
    pub host: HostShare,
}

/// A router outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC, if it is not to be resolved.
    pub mac: Option<Mac>,
}

/// A prefix that the outside reaches here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// Host bits are zero.
    pub prefix: IpNetwork,
    /// Who has it.
    pub exporter: Exporter,
}

/// Who has an exported prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exporter {
    /// A router: inside its subnets or its routes to next hops, and outside
    /// its MEC-only networks.
    Router(RouterIx),
    /// An access: inside its pools.
    Access(AccessIx),
}
