//! What may a site be told that is for many?

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Trial, questions::ports};
use crate::{
    build::ip,
    chance::Chance,
    reference::{Announcement, Dhcp, Party, Question, Shout, Traffic, link_local},
};

impl Trial {
    /// A frame to many; `number` is its own.
    pub fn shout(&self, chance: &mut Chance, number: u16) -> Option<Shout> {
        let parties = self.parties();
        let from = *parties.get(chance.below(parties.len().max(1)))?;
        let mut own = self.own_addresses(from);
        let mut mac = None;
        let mut groups = vec![
            ip("255.255.255.255"),
            ip("239.129.2.3"),
            ip("ff02::fb"),
            ip("ff02::2"),
            ip("ff02::16"),
        ];
        if let Party::Port(ix) = from {
            let port = &self.site.ports[ix];
            mac = Some(port.mac);
            own.push(link_local(port.mac));
            let subnets = &self.site.networks[port.network].subnets;
            groups.extend(subnets.iter().filter_map(|subnet| match subnet.prefix {
                IpNetwork::V4(prefix) => Some(IpAddr::from(prefix.broadcast())),
                IpNetwork::V6(_) => None,
            }));
        }
        if chance.once_in(12) {
            own = self.addresses();
        }
        let src = *own.get(chance.below(own.len().max(1)))?;
        groups.retain(|group| group.is_ipv4() == src.is_ipv4());
        let dst = if chance.once_in(20) { src } else { *chance.of(&groups) };
        let (is_v4, station) = (src.is_ipv4(), None);
        let mut question = Question { from, mac, station, src, dst, traffic: Traffic::Bare(47) };
        question.traffic = match chance.below(10) {
            0..3 => ports(17, number, *chance.of(&[53, 53, 5000])),
            3 => ports(6, number, 80),
            4 => Traffic::Query { kind: if is_v4 { 8 } else { 128 }, id: number },
            5 => Traffic::Bare(47),
            6 => Self::dhcp(question, true).traffic,
            7 => Self::dhcp(question, false).traffic,
            _ if is_v4 => Self::dhcp(question, false).traffic,
            _ => Traffic::Listener { kind: *chance.of(&[130, 131, 132, 143]) },
        };
        let is_first = matches!(question.traffic, Traffic::Listener { .. })
            || question.dhcp() == Some(Dhcp::Question) && is_v4;
        if is_first && chance.once_in(2) {
            // Before it has an address.
            question.src = if is_v4 { ip("0.0.0.0") } else { ip("::") };
        }
        let mut station = station_of(question.dst);
        if chance.once_in(16) {
            station = *chance.of(&[[0xff; 6], [1, 0, 0x5e, 1, 2, 3], [0x33, 0x33, 0, 0, 0, 1]]);
        }
        Some(Shout { question, station })
    }

    /// A port says that it has an address: mostly one that others may have as well.
    pub fn announces(&self, chance: &mut Chance) -> Option<Announcement> {
        let all = self.site.ports.iter().flat_map(|(port, of)| {
            of.address_pairs.iter().map(move |pair| (port, pair.mac, pair.prefix.ip()))
        });
        let mut said: Vec<_> = all.collect();
        if chance.once_in(6) {
            said.clear();
            for (port, of) in self.site.ports.iter() {
                said.extend(self.addresses().into_iter().map(|address| (port, of.mac, address)));
            }
        }
        let &(port, mac, address) = said.get(chance.below(said.len().max(1)))?;
        Some(Announcement { port, mac, address })
    }
}

/// The MAC of a group (RFC 1112 section 6.4, RFC 2464 section 7).
fn station_of(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V4(_) => [0xff; 6],
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}
