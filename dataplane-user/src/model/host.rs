//! What has the host on a NIC that it shares with us?

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// What is passed up to the host's own stack at an attachment, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostShare {
    /// Which packets to which of its addresses.
    pub entries: Vec<HostEntry>,
    /// The host speaks LACP there.
    pub lacp: bool,
    /// The host speaks LLDP there.
    pub lldp: bool,
}

/// Packets to an address of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The address.
    pub address: IpAddr,
    /// What of it.
    pub matches: HostMatch,
    /// From where, of the address's family; empty: from anywhere.
    pub sources: Vec<IpNetwork>,
}

/// Which packets to the host?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMatch {
    /// All.
    Any,
    /// All of a protocol.
    Protocol(u8),
    /// Those to a port of a protocol.
    To(u8, u16),
    /// Those from a port of a protocol: answers to what the host asked for. They open no
    /// TCP connection.
    From(u8, u16),
}

impl HostShare {
    /// The host's addresses, each once.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.entries.iter().map(|entry| entry.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Does it have a service of TCP at this address, for this client?
    #[must_use]
    pub fn has_tcp(&self, address: IpAddr, port: u16, client: IpAddr) -> bool {
        const TCP: u8 = 6;
        self.entries.iter().any(|entry| {
            let is_service = match entry.matches {
                HostMatch::Any | HostMatch::Protocol(TCP) => true,
                HostMatch::To(protocol, own) => (protocol, own) == (TCP, port),
                HostMatch::Protocol(_) | HostMatch::From(..) => false,
            };
            let mut sources = entry.sources.iter();
            let is_client =
                entry.sources.is_empty() || sources.any(|source| source.contains(client));
            entry.address == address && is_service && is_client
        })
    }
}
