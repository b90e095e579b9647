//! The site, validated and typed.

use std::net::IpAddr;

use dataplane_common::addr::Mac;
use ipnetwork::IpNetwork;

macro_rules! indexed {
    ($($ix:ident $all:ident $ixs:ident $of:ty),+ $(,)?) => {$(
        /// An index.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $ix(pub usize);
        impl std::ops::Index<$ix> for Site {
            type Output = $of;
            fn index(&self, ix: $ix) -> &$of { &self.$all[ix.0] }
        }
        impl Site {
            /// All of them.
            pub fn $ixs(&self) -> impl Iterator<Item = $ix> + use<> { (0..self.$all.len()).map($ix) }
        }
    )+};
}
indexed! {
    TenantIx tenants tenant_ixs Tenant, NetworkIx networks network_ixs Network,
    PortIx ports port_ixs Port, RouterIx routers router_ixs Router,
    GroupIx groups group_ixs Group, AddressGroupIx address_groups address_group_ixs AddressGroup,
    LineIx lines line_ixs Line, LineGroupIx line_groups line_group_ixs LineGroup,
    UplinkIx uplinks uplink_ixs Uplink, AccessIx accesses access_ixs Access,
}
#[derive(Clone, Default, Debug)]
pub struct Site { pub tenants: Vec<Tenant>, pub networks: Vec<Network>, pub ports: Vec<Port>, pub routers: Vec<Router>, pub groups: Vec<Group>, pub address_groups: Vec<AddressGroup>, pub lines: Vec<Line>, pub line_groups: Vec<LineGroup>, pub uplinks: Vec<Uplink>, pub accesses: Vec<Access>, pub sessions: Vec<Session> }
impl Site {
    pub fn router_of(&self, network: NetworkIx) -> Option<RouterIx> { self.router_ixs().find(|&ix| self[ix].networks.contains(&network)) }
    pub fn session_of(&self, line: LineIx) -> Option<&Session> { self.sessions.iter().find(|s| s.line == line) }
}
#[derive(Clone, Debug)] pub struct Tenant { pub name: String }
#[derive(Clone, Debug)] pub struct Subnet { pub cidr: IpNetwork, pub gateway: IpAddr }
#[derive(Clone, Debug)] pub struct Network { pub tenant: TenantIx, pub name: String, pub mtu: u16, pub mec_only: bool, pub subnets: Vec<Subnet> }
#[derive(Clone, Debug)] pub struct AddressPair { pub prefix: IpNetwork, pub mac: Mac }
#[derive(Clone, Debug)] pub struct Port { pub tenant: TenantIx, pub name: String, pub network: NetworkIx, pub interface: String, pub vlan: Option<u16>, pub mac: Mac, pub fixed_ips: Vec<IpAddr>, pub allowed_address_pairs: Vec<AddressPair>, pub security_groups: Vec<GroupIx>, pub port_security: bool }
#[derive(Clone, Debug)] pub enum Target { NextHops(Vec<IpAddr>), Uplink(UplinkIx), Blackhole }
#[derive(Clone, Debug)] pub struct StaticRoute { pub destination: IpNetwork, pub target: Target }
#[derive(Clone, Debug)] pub struct Router { pub tenant: TenantIx, pub name: String, pub mac: Mac, pub networks: Vec<NetworkIx>, pub routes: Vec<StaticRoute> }
#[derive(Clone, Debug)] pub struct Group { pub tenant: TenantIx, pub name: String, pub stateful: bool, pub rules: Vec<Rule> }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum Direction { Ingress, Egress }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum Family { V4, V6 }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum Remote { Any, Prefix(IpNetwork), Group(GroupIx), AddressGroup(AddressGroupIx), Line(LineIx), LineGroup(LineGroupIx) }
#[derive(Clone, Debug)] pub struct Rule { pub name: String, pub direction: Direction, pub family: Family, pub protocol: Option<u8>, pub ports: Option<(u16, u16)>, pub remote: Remote }
#[derive(Clone, Debug)] pub struct AddressGroup { pub tenant: TenantIx, pub name: String, pub addresses: Vec<IpNetwork> }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum LineState { Active, Suspended }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum Destination { Router(RouterIx), Network(NetworkIx), Uplink(UplinkIx) }
#[derive(Clone, Debug)] pub struct Line { pub tenant: TenantIx, pub access: AccessIx, pub number: String, pub state: LineState, pub destination: Destination, pub security_groups: Option<Vec<GroupIx>> }
#[derive(Clone, Debug)] pub struct LineGroup { pub tenant: TenantIx, pub name: String, pub lines: Vec<LineIx> }
#[derive(Clone, Debug)] pub struct NextHop { pub address: IpAddr, pub mac: Option<Mac> }
#[derive(Clone, Copy, PartialEq, Eq, Debug)] pub enum Exporter { Router(RouterIx), Access(AccessIx) }
#[derive(Clone, Debug)] pub struct Export { pub prefix: IpNetwork, pub exporter: Exporter }
#[derive(Clone, Debug)] pub struct Uplink { pub name: String, pub interface: String, pub vlan: Option<u16>, pub mac: Option<Mac>, pub addresses: Vec<IpNetwork>, pub next_hops: Vec<NextHop>, pub exports: Vec<Export>, pub protected: Vec<IpNetwork> }
#[derive(Clone, Debug)] pub struct Access { pub name: String, pub interface: String, pub vlan: Option<u16>, pub mac: Option<Mac>, pub addresses: Vec<IpNetwork>, pub next_hop: NextHop, pub pools: Vec<IpNetwork> }
#[derive(Clone, Debug)] pub struct Session { pub line: LineIx, pub addresses: Vec<IpNetwork> }
