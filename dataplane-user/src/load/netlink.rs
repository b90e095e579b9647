//! How is the kernel asked about interfaces, and told to change them?
//!
//! By a route socket of our own, in the network namespace of the calling thread, as
//! the attaching itself. It is asked and answers; nothing is awaited, so no runtime is
//! needed.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than was asked")]

use std::{io, net::IpAddr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkFlags, LinkMessage},
    route::{RouteAttribute, RouteMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A route socket.
pub struct Route {
    socket: Socket,
}

/// Datagrams of one answer at most: 16 kB each, and more than any table needs.
const DATAGRAMS_MAX: usize = 1 << 16;

impl Route {
    /// In the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Every interface.
    pub fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Ok(links(self.ask(all, NLM_F_DUMP)?).collect())
    }

    /// Every address of every interface.
    pub fn addresses(&self) -> io::Result<Vec<AddressMessage>> {
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.ask(all, NLM_F_DUMP)?.into_iter();
        Ok(answers
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(address) => Some(address),
                _ => None,
            })
            .collect())
    }

    /// Every route, but for those that the kernel has only learned for a while.
    pub fn routes(&self) -> io::Result<Vec<RouteMessage>> {
        let all = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        Ok(routes(self.ask(all, NLM_F_DUMP)?))
    }

    /// The route that is taken to an address.
    pub fn route_to(&self, address: IpAddr) -> io::Result<Vec<RouteMessage>> {
        let mut route = RouteMessage::default();
        let is_v4 = address.is_ipv4();
        route.header.address_family =
            if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        route.header.destination_prefix_length = if is_v4 { 32 } else { 128 };
        route.attributes.push(RouteAttribute::Destination(address.into()));
        Ok(routes(self.ask(RouteNetlinkMessage::GetRoute(route), 0)?))
    }

    /// Sets or clears a flag of an interface.
    pub fn set_flag(&self, index: u32, flag: LinkFlags, is_set: bool) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.change_mask = flag;
        link.header.flags = if is_set { flag } else { LinkFlags::empty() };
        self.ask(RouteNetlinkMessage::SetLink(link), NLM_F_ACK).map(drop)
    }

    fn ask(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                // Messages begin on multiples of four bytes (netlink(7)).
                let bytes = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(bytes.max(4)..).unwrap_or_default();
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => {
                        return if error.code.is_some() { Err(error.to_io()) } else { Ok(answers) };
                    }
                    _ => {}
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Tells that something about some interface has changed, and not what: whoever hears it
/// looks at all of them, so that a lost message costs nothing.
pub struct Changes {
    socket: Socket,
}

/// Multicast groups (linux/rtnetlink.h): links, and addresses of both families.
const GROUPS: [u32; 3] = [1, 5, 9];

impl Changes {
    /// From now on, in the calling thread's network namespace.
    pub fn listen() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self { socket })
    }

    /// Waits for a change, and takes all that there were since the last call.
    pub fn wait(&self) -> io::Result<()> {
        let mut datagram = Vec::with_capacity(DATAGRAM_BYTES);
        for number in 0..DATAGRAMS_MAX {
            datagram.clear();
            let flags = if number == 0 { 0 } else { MSG_DONTWAIT };
            match self.socket.recv(&mut datagram, flags) {
                Ok(_) => {}
                // There were more than the socket had room for.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What does not fit is cut off, and nobody reads it.
const DATAGRAM_BYTES: usize = 1 << 12;
const ENOBUFS: i32 = 105;
const MSG_DONTWAIT: i32 = 0x40;

fn routes(answers: Vec<RouteNetlinkMessage>) -> Vec<RouteMessage> {
    let routes = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    });
    routes.collect()
}

fn links(answers: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = LinkMessage> {
    answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    })
}
