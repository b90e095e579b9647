//! How do addresses pass between the tables and everybody else?

use std::net::IpAddr;

use dataplane_common::addr::{Addr, Mac};

/// The address in the tables' form.
#[must_use]
pub fn addr(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(ip) => Addr::v4(ip.octets()),
        IpAddr::V6(ip) => Addr::v6(ip.octets()),
    }
}

/// The address in the standard library's form.
#[must_use]
pub fn ip(addr: Addr) -> IpAddr {
    if addr.is_v4() { addr.v4_bytes().into() } else { addr.bytes().into() }
}

/// The MAC in writing.
#[must_use]
pub fn mac(mac: Mac) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(":")
}
