//! By which interfaces does the host itself send?
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel tells more than was asked")]

use std::{collections::HashSet, net::IpAddr};

use netlink_packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteMessage},
};

use super::{Error, netlink::Route};

/// The interfaces of the host's default routes, in any of its tables.
#[derive(Debug)]
pub struct Ways {
    /// The interface's number; is it of IPv4?
    defaults: HashSet<(u32, bool)>,
}

impl Ways {
    /// In the calling thread's network namespace.
    pub fn look() -> Result<Self, Error> {
        let netlink = |source| Error::Netlink { source };
        let routes = Route::open().and_then(|route| route.routes()).map_err(netlink)?;
        let defaults = routes.iter().filter(|route| route.header.destination_prefix_length == 0);
        let defaults = defaults.flat_map(|route| {
            let is_v4 = route.header.address_family == AddressFamily::Inet;
            outputs(route).into_iter().map(move |index| (index, is_v4))
        });
        Ok(Self { defaults: defaults.collect() })
    }

    /// Does a default route of the family lead over the interface?
    #[must_use]
    pub fn is_default(&self, index: u32, is_v4: bool) -> bool {
        self.defaults.contains(&(index, is_v4))
    }

    /// The interface by which the host sends to an address; none if it does not know.
    pub fn to(address: IpAddr) -> Result<Option<u32>, Error> {
        let route = Route::open().map_err(|source| Error::Netlink { source })?;
        // Without a route there the kernel answers with an error.
        let found = route.route_to(address).unwrap_or_default();
        Ok(found.iter().flat_map(outputs).next())
    }
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
