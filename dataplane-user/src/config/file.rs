//! The site file, record by record, as the user writes it. The doc comments
//! are what `sekisho schema` and an editor show.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::record::{Spec, described};
use super::scalar::{
    Block, Cidr, Count, CountryCode, Host, NumberText, NumbersText, Ordinal, Prefix, Protocol, Text,
};
use super::tree::NodeId;
use super::{At, Field, List, Placed, Read, Reader};
use crate::model::{Direction, Ethertype, Hook, Imsi, Interface, LineState, Mac, Name};

/// A VLAN id.
pub type Vlan = Ordinal<1, 4094>;
/// An MTU in bytes.
pub type Mtu = Ordinal<576, 9216>;
/// A destination port, or an ICMP type or code.
pub type PortNumber = Ordinal<0, 65535>;
/// A rate in bits.
pub type BitsPerSecond = Count<1_000, 400_000_000_000>;
/// A rate in packets.
pub type PacketsPerSecond = Count<1, 1_000_000_000>;
/// Bytes or packets at once.
pub type Burst = Count<1, 1_000_000_000_000>;
/// An ICMP type or code.
pub type IcmpNumber = Ordinal<0, 255>;

record! {
    /// A site: its tenants' networks, its uplinks and its mobile accesses.
    File {
        /// The version of this format: 1.
        required version: At<Ordinal<1, 1>>,
        /// The country in which national telephone numbers (090-1234-5678) are read, as 81. Without it only international spellings (+81…) are accepted.
        optional country_code: At<CountryCode>,
        /// The owners of networks; addresses of two tenants may overlap.
        optional tenants: List<Tenant>,
        /// External networks.
        optional uplinks: List<Uplink>,
        /// Attachments of the mobile network.
        optional accesses: List<Access>,
        /// Which tenant may register which telephone numbers.
        optional entitlements: List<Entitlement>,
        /// Static sessions: which addresses a line has.
        optional sessions: List<Session>,
    }
}

record! {
    /// An owner of networks, isolated from every other.
    Tenant {
        /// Unique in the site.
        required name: At<Name>,
        /// Layer-2 segments.
        optional networks: List<Network>,
        /// What is plugged into the networks.
        optional ports: List<Port>,
        /// What connects the networks.
        optional routers: List<Router>,
        /// What ports and lines may send and receive. Every tenant has a group `default`; unless defined here it allows all egress, and ingress from its own members.
        optional security_groups: List<SecurityGroup>,
        /// Named sets of prefixes, for rules.
        optional address_groups: List<AddressGroup>,
        /// Registered mobile lines.
        optional lines: List<Line>,
        /// Named sets of lines, for rules.
        optional line_groups: List<LineGroup>,
    }
}

record! {
    /// A layer-2 segment.
    Network {
        /// Unique among the tenant's networks.
        required name: At<Name>,
        /// In bytes, 576 to 9216; 1500 by default; at least 1280 with an IPv6 subnet.
        optional mtu: At<Mtu>,
        /// Whether it is unreachable from any uplink; false by default.
        optional mec_only: At<bool>,
        /// IPv4 and IPv6 prefixes of the segment.
        optional subnets: List<Subnet>,
    }
}

record! {
    /// A prefix of a network.
    Subnet {
        /// The prefix, as 10.1.0.0/24.
        required cidr: At<Prefix>,
        /// The router's address in it; the first one that a host can have by default.
        optional gateway: At<Host>,
    }
}

record! {
    /// A MAC on an (interface, VLAN), plugged into a network.
    Port {
        /// Unique among the tenant's ports.
        required name: At<Name>,
        /// The network that it is plugged into.
        required network: At<Name>,
        /// The host's interface that its frames come from, as tap0.
        required interface: At<Interface>,
        /// The VLAN on the interface, 1 to 4094; untagged by default.
        optional vlan: At<Vlan>,
        /// The service VLAN that `vlan` is one of (QinQ, IEEE 802.1ad), 1 to 4094; none by default.
        optional service_vlan: At<Vlan>,
        /// The MAC that it sends from; unique in the network.
        required mac: At<Mac>,
        /// Its addresses, inside the network's subnets.
        optional fixed_ips: List<At<Host>>,
        /// Further sources that it may use; at most 10.
        optional allowed_address_pairs: List<AddressPair>,
        /// Its security groups. Without this field: `default`. With an empty list nothing passes but what every port needs (ARP, neighbour discovery).
        optional security_groups: List<At<Name>>,
        /// Whether sources are checked and packets filtered; true by default.
        optional port_security: At<bool>,
        /// Whether it is a DHCP server's: only such ports get what clients ask, and may answer; false by default.
        optional dhcp_server: At<bool>,
        /// Where its interface's packets are taken: auto (default), tcx or xdp.
        optional hook: At<Hook>,
        /// How much it may send and receive; without limit by default.
        optional limits: PortLimits,
    }
}

record! {
    /// How much a port may send and receive.
    PortLimits {
        /// What the port's server sends.
        optional egress: Limit,
        /// What it receives.
        optional ingress: Limit,
    }
}

record! {
    /// How much may pass. At least one of the two rates; a packet has to fit both.
    Limit {
        /// Bits on the wire a second, 1000 to 400000000000.
        optional bits_per_second: At<BitsPerSecond>,
        /// Packets a second, 1 to 1000000000.
        optional packets_per_second: At<PacketsPerSecond>,
        /// Bytes at once; by default what bits_per_second carries in 50 ms, at least 131072.
        optional burst_bytes: At<Burst>,
        /// Packets at once; by default what packets_per_second carries in 50 ms, at least 64.
        optional burst_packets: At<Burst>,
    }
}

record! {
    /// A further source that a port may use.
    AddressPair {
        /// An address or prefix.
        required ip_address: At<Block>,
        /// The MAC that goes with it; the port's own by default.
        optional mac_address: At<Mac>,
    }
}

record! {
    /// What connects a tenant's networks with each other and the outside.
    Router {
        /// Unique among the tenant's routers.
        required name: At<Name>,
        /// Its MAC on all its networks; by default a locally administered one that never changes.
        optional mac: At<Mac>,
        /// The networks that it connects; it has their gateway addresses.
        optional interfaces: List<RouterInterface>,
        /// Static routes beyond the connected subnets.
        optional routes: List<Route>,
        /// How much it forwards, whatever the direction, in sum; without limit by default.
        optional limits: Limit,
    }
}

record! {
    /// A router's leg in a network.
    RouterInterface {
        /// The network.
        required network: At<Name>,
    }
}

record! {
    /// A static route. Exactly one of next_hops, uplink and blackhole tells where it leads.
    Route {
        /// The prefix, as 0.0.0.0/0.
        required destination: At<Prefix>,
        /// Up to 16 addresses on connected subnets; flows are spread over them.
        optional next_hops: List<At<Host>>,
        /// The uplink that it leads to.
        optional uplink: At<Name>,
        /// If true, packets are dropped.
        optional blackhole: At<bool>,
    }
}

record! {
    /// What is allowed. A group has the rules that stand here and no others.
    SecurityGroup {
        /// Unique among the tenant's security groups.
        required name: At<Name>,
        /// What it is for.
        optional description: At<Text>,
        /// Whether replies pass without a rule; true by default. The groups of a port are all stateful, or none is.
        optional stateful: At<bool>,
        /// What is allowed.
        optional rules: List<Rule>,
    }
}

record! {
    /// An allow rule, as in Neutron. At most one remote tells the other side; without one it is anybody.
    Rule {
        /// Unique in the group; its counters go by it.
        optional id: At<Name>,
        /// What it is for.
        optional description: At<Text>,
        /// ingress (to the port) or egress (from it).
        required direction: At<Direction>,
        /// IPv4 (default) or IPv6.
        optional ethertype: At<Ethertype>,
        /// any (default), a name as tcp, or 0 to 255.
        optional protocol: At<Protocol>,
        /// The lowest destination port; for ICMP the type.
        optional port_range_min: At<PortNumber>,
        /// The highest destination port; for ICMP the code.
        optional port_range_max: At<PortNumber>,
        /// The ICMP type.
        optional icmp_type: At<IcmpNumber>,
        /// The ICMP code; needs a type.
        optional icmp_code: At<IcmpNumber>,
        /// The other side: an address or prefix.
        optional remote_ip_prefix: At<Block>,
        /// The other side: the ports of a security group.
        optional remote_group: At<Name>,
        /// The other side: an address group.
        optional remote_address_group: At<Name>,
        /// The other side: a line of the tenant, by number or name.
        optional remote_line: At<NumberText>,
        /// The other side: a line group.
        optional remote_line_group: At<Name>,
    }
}

record! {
    /// A named set of prefixes.
    AddressGroup {
        /// Unique among the tenant's address groups.
        required name: At<Name>,
        /// Addresses and prefixes.
        optional addresses: List<At<Block>>,
    }
}

record! {
    /// A registered mobile line. Exactly one of router, network and uplink is its destination.
    Line {
        /// The telephone number, as +81-90-1234-5678.
        required number: At<NumberText>,
        /// Unique among the tenant's lines.
        optional name: At<Name>,
        /// The access that it comes in on.
        required access: At<Name>,
        /// The SIM's identity, 14 or 15 digits.
        optional imsi: At<Imsi>,
        /// active (default) or suspended.
        optional state: At<LineState>,
        /// Its destination: every network of a router.
        optional router: At<Name>,
        /// Its destination: one network, through its router.
        optional network: At<Name>,
        /// Its destination: the closed network or site behind an uplink.
        optional uplink: At<Name>,
        /// The addresses that its sessions have, inside the access's pools; for IPv6 also a prefix.
        optional fixed_ips: List<At<Prefix>>,
        /// Its security groups. Without this field: anything from its destination's networks, never from another line.
        optional security_groups: List<At<Name>>,
    }
}

record! {
    /// A named set of lines.
    LineGroup {
        /// Unique among the tenant's line groups.
        required name: At<Name>,
        /// Lines of the tenant, by number or name.
        optional lines: List<At<NumberText>>,
    }
}

record! {
    /// An external network.
    Uplink {
        /// Unique among the uplinks.
        required name: At<Name>,
        /// The NIC.
        required interface: At<Interface>,
        /// The VLAN on it, 1 to 4094; untagged by default.
        optional vlan: At<Vlan>,
        /// The service VLAN that `vlan` is one of (QinQ, IEEE 802.1ad), 1 to 4094; none by default.
        optional service_vlan: At<Vlan>,
        /// Where its packets are taken: auto (default), tcx or xdp.
        optional hook: At<Hook>,
        /// Our own MAC; the interface's by default.
        optional mac: At<Mac>,
        /// Our own addresses on the link, as 192.0.2.2/24.
        required addresses: List<At<Cidr>>,
        /// The routers outside; flows are spread over them.
        required next_hops: List<Neighbour>,
        /// The prefixes that the outside reaches here.
        optional exports: List<Export>,
        /// Prefixes that no tenant or line may reach here: hosts, NASes, tunnel ends.
        optional protected: List<At<Prefix>>,
        /// What the host itself has on the NIC; it is passed up to it.
        optional host: HostShare,
    }
}

record! {
    /// What is the host's own on a NIC that it shares; nothing else is passed up to it.
    HostShare {
        /// Its addresses, and what may come to them.
        optional addresses: List<HostEntry>,
        /// It speaks LACP there, as the member of a bond; false by default.
        optional lacp: At<bool>,
        /// It speaks LLDP there; false by default.
        optional lldp: At<bool>,
    }
}

record! {
    /// What may come to an address of the host's.
    HostEntry {
        /// The address.
        required address: At<Host>,
        /// Only this protocol; all by default.
        optional protocol: At<Protocol>,
        /// Only to this port.
        optional port: At<PortNumber>,
        /// Only from this port, for answers to what the host asks for: they open no TCP connection.
        optional source_port: At<PortNumber>,
        /// Only from these prefixes; from anywhere by default.
        optional sources: List<At<Block>>,
    }
}

record! {
    /// A router on the other end of a link.
    Neighbour {
        /// Its address.
        required address: At<Host>,
        /// Its MAC; resolved by default.
        optional mac: At<Mac>,
    }
}

record! {
    /// An exported prefix: either tenant and router, or access, tell whose it is.
    Export {
        /// The prefix.
        required prefix: At<Prefix>,
        /// The tenant that has it.
        optional tenant: At<Name>,
        /// The tenant's router that has it.
        optional router: At<Name>,
        /// The access that has it in a pool.
        optional access: At<Name>,
    }
}

record! {
    /// An attachment of the mobile network.
    Access {
        /// Unique among the accesses.
        required name: At<Name>,
        /// The NIC.
        required interface: At<Interface>,
        /// The VLAN on it, 1 to 4094; untagged by default.
        optional vlan: At<Vlan>,
        /// The service VLAN that `vlan` is one of (QinQ, IEEE 802.1ad), 1 to 4094; none by default.
        optional service_vlan: At<Vlan>,
        /// Where its packets are taken: auto (default), tcx or xdp.
        optional hook: At<Hook>,
        /// Our own MAC; the interface's by default.
        optional mac: At<Mac>,
        /// Our own addresses on the link, as 192.0.2.2/24.
        required addresses: List<At<Cidr>>,
        /// The user plane function that packets to lines go to.
        required next_hop: Neighbour,
        /// The lines' addresses.
        required pools: List<At<Prefix>>,
        /// What the host itself has on the NIC; it is passed up to it.
        optional host: HostShare,
    }
}

record! {
    /// Telephone numbers that a tenant may register on an access.
    Entitlement {
        /// The tenant.
        required tenant: At<Name>,
        /// The access.
        required access: At<Name>,
        /// Numbers and ranges of numbers.
        required numbers: List<Numbers>,
    }
}

record! {
    /// A range of telephone numbers, both ends included.
    NumberRange {
        /// The first.
        required from: At<NumberText>,
        /// The last, with as many digits.
        required to: At<NumberText>,
    }
}

record! {
    /// A static session: the addresses of a line.
    Session {
        /// The access.
        required access: At<Name>,
        /// The line's telephone number.
        required number: At<NumberText>,
        /// Its addresses, inside the access's pools; for IPv6 also a prefix.
        required addresses: List<At<Prefix>>,
    }
}

/// A telephone number, or a range of them.
#[derive(Debug)]
pub enum Numbers {
    /// `+819012345678` or `+819012340000..+819012349999`.
    Word(At<NumbersText>),
    /// `{from: …, to: …}`.
    Range(NumberRange),
}

impl Read for Numbers {
    fn read(reader: &mut Reader<'_>, node: NodeId) -> Option<Self> {
        if reader.is_map(node) {
            NumberRange::read(reader, node).map(Numbers::Range)
        } else {
            At::read(reader, node).map(Numbers::Word)
        }
    }
}

impl JsonSchema for Numbers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Numbers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let word = generator.subschema_for::<At<NumbersText>>();
        let range = generator.subschema_for::<NumberRange>();
        json_schema!({
            "description": "A telephone number, a range A..B of them, or a map of from, to.",
            "anyOf": [word, range],
        })
    }
}
