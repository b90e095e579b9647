//! Random site files: small, valid more often than not, with as much as possible of what
//! a file can say.

mod change;
mod random;
pub mod rules;
mod text;

/// A site file before it is written.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Spec {
    pub tenants: Vec<Tenant>,
    pub uplinks: Vec<Uplink>,
    pub accesses: Vec<Access>,
    pub sessions: Vec<Session>,
}

/// A tenant.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Tenant {
    pub name: String,
    pub networks: Vec<Network>,
    pub ports: Vec<Port>,
    pub routers: Vec<Router>,
    pub groups: Vec<Group>,
    pub address_groups: Vec<(String, Vec<String>)>,
    pub lines: Vec<Line>,
    pub line_groups: Vec<(String, Vec<String>)>,
}

/// A network.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Network {
    pub name: String,
    pub mec_only: bool,
    pub subnets: Vec<String>,
}

/// A port.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Port {
    pub name: String,
    pub network: String,
    pub interface: String,
    pub vlan: u16,
    pub service_vlan: u16,
    pub mac: String,
    pub fixed_ips: Vec<String>,
    /// Address or prefix, and the MAC if it is another one.
    pub pairs: Vec<(String, Option<String>)>,
    /// `None`: port security is off.
    pub groups: Option<Vec<String>>,
    /// It serves DHCP clients.
    pub dhcp_server: bool,
    /// `egress: {…}`, `ingress: {…}`, as they are written.
    pub limits: Vec<String>,
}

/// A router.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Router {
    pub name: String,
    pub interfaces: Vec<String>,
    /// Destination, and the rest of the route as it is written.
    pub routes: Vec<(String, String)>,
    /// Its limit as it is written.
    pub limits: Option<String>,
}

/// A security group.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Group {
    pub name: String,
    pub stateful: bool,
    /// As they are written.
    pub rules: Vec<String>,
}

/// A line.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Line {
    pub name: String,
    pub number: String,
    pub access: String,
    pub suspended: bool,
    /// `router: r`, as it is written.
    pub destination: String,
    pub groups: Option<Vec<String>>,
}

/// An uplink.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Uplink {
    pub name: String,
    pub vlan: u16,
    pub service_vlan: u16,
    pub addresses: Vec<String>,
    /// Address and MAC.
    pub next_hops: Vec<(String, Option<String>)>,
    /// Prefix, and the rest of the export as it is written.
    pub exports: Vec<(String, String)>,
    pub protected: Vec<String>,
    /// What the host has there, as it is written.
    pub host: Vec<String>,
}

/// An access.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Access {
    pub name: String,
    pub addresses: Vec<String>,
    pub next_hop: (String, Option<String>),
    pub pools: Vec<String>,
    /// What the host has there, as it is written.
    pub host: Vec<String>,
}

/// A session.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Session {
    pub access: String,
    pub number: String,
    pub addresses: Vec<String>,
}
