//! By which interfaces does the host itself send?
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than was asked")]

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::{Error, netlink::Route};

/// The interfaces of the host's default routes, in any of its tables.
#[derive(Debug)]
pub struct Ways {
    /// By the interface's number, and whether it is of IPv4.
    defaults: HashMap<(u32, bool), String>,
}

/// A shorter prefix covers so much that it stands for a default route, as halves of it do
/// (0.0.0.0/1 and 128.0.0.0/1). Not so 10.0.0.0/8 and fc00::/7, which are private.
const PREFIX_BITS_MIN_V4: u8 = 8;
/// See [`PREFIX_BITS_MIN_V4`].
const PREFIX_BITS_MIN_V6: u8 = 7;

impl Ways {
    /// In the calling thread's network namespace.
    pub fn look() -> Result<Self, Error> {
        let netlink = |source| Error::Netlink { source };
        let routes = Route::open().and_then(|route| route.routes()).map_err(netlink)?;
        let defaults = routes.iter().filter_map(|route| Some((route, default(route)?)));
        let defaults = defaults.flat_map(|(route, (prefix, bits))| {
            let named = move |index| ((index, prefix.is_ipv4()), format!("{prefix}/{bits}"));
            outputs(route).into_iter().map(named)
        });
        Ok(Self { defaults: defaults.collect() })
    }

    /// The default route of the family that leads over the interface, if one does.
    #[must_use]
    pub fn default(&self, index: u32, is_v4: bool) -> Option<&str> {
        self.defaults.get(&(index, is_v4)).map(String::as_str)
    }

    /// The interface by which the host sends to an address; none if it does not know.
    pub fn to(address: IpAddr) -> Result<Option<u32>, Error> {
        let route = Route::open().map_err(|source| Error::Netlink { source })?;
        // Without a route there the kernel answers with an error.
        let found = route.route_to(address).unwrap_or_default();
        Ok(found.iter().flat_map(outputs).next())
    }
}

/// The prefix of a route that is a default route, or stands for one.
fn default(route: &RouteMessage) -> Option<(IpAddr, u8)> {
    let bits = route.header.destination_prefix_length;
    let is_v4 = route.header.address_family == AddressFamily::Inet;
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let (none, min) = if is_v4 {
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), PREFIX_BITS_MIN_V4)
    } else {
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), PREFIX_BITS_MIN_V6)
    };
    let prefix = given.unwrap_or(none);
    (bits < min && !prefix.is_multicast()).then_some((prefix, bits))
}

/// The interfaces of a route.
fn outputs(route: &RouteMessage) -> Vec<u32> {
    let mut outputs = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => outputs.push(*index),
            RouteAttribute::MultiPath(hops) => {
                outputs.extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_the_world_are_default_routes() {
        let route = |prefix: &str, bits| {
            let address: IpAddr = prefix.parse().unwrap();
            let mut route = RouteMessage::default();
            route.header.destination_prefix_length = bits;
            let v6 = AddressFamily::Inet6;
            route.header.address_family = if address.is_ipv4() { AddressFamily::Inet } else { v6 };
            if bits != 0 {
                route.attributes.push(RouteAttribute::Destination(address.into()));
            }
            default(&route) == Some((address, bits))
        };
        for (prefix, bits, is_default) in [
            ("0.0.0.0", 0, true),
            ("0.0.0.0", 1, true),
            ("128.0.0.0", 1, true),
            ("64.0.0.0", 2, true),
            ("10.0.0.0", 8, false),
            ("224.0.0.0", 4, false),
            ("::", 0, true),
            ("8000::", 1, true),
            ("2000::", 3, true),
            ("fc00::", 7, false),
            ("fe80::", 10, false),
            ("ff00::", 8, false),
        ] {
            assert_eq!(route(prefix, bits), is_default, "{prefix}/{bits}");
        }
    }
}
