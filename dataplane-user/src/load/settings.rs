//! How is an interface made ours, and given back as it was?

use std::{collections::BTreeMap, fs, io};

use netlink_packet_route::link::LinkFlags;

use super::{
    Error,
    features::{self, BLIND_XDP, LEFT_TO_HARDWARE},
    hook::{Hooked, Role, Shared},
    interface::{Interface, Interfaces},
    netlink::Route,
    state::Before,
};

/// Looks how the interface is, and which of its offloads are in the way.
pub fn before(interface: &Interface, role: Role, hooked: Hooked) -> Result<Before, Error> {
    let mut names = Vec::new();
    if hooked == Hooked::Xdp {
        names.extend(BLIND_XDP);
    }
    if role != Role::Port && interface.kind == "veth" {
        names.extend(LEFT_TO_HARDWARE);
    }
    let features = if names.is_empty() {
        BTreeMap::new()
    } else {
        features::in_the_way(&interface.name, &names)?
    };
    Ok(Before {
        ifindex: interface.index,
        role,
        hooked,
        shared: Shared::default(),
        fell_back: false,
        is_up: interface.is_up,
        is_noarp: interface.is_noarp,
        disable_ipv6: read_disable_ipv6(&interface.name)?,
        features,
    })
}

/// Keeps the host off the interface, but for what it shares: no addresses of its own
/// making, no ARP, and no offloads that are in the way.
pub fn take(name: &str, before: &Before) -> Result<(), Error> {
    share(name, before)?;
    if !before.features.is_empty() {
        features::switch_off(name, &before.features)?;
    }
    Ok(())
}

/// Switches the host's IPv6 and ARP off, or on again as far as it shares the interface.
pub fn share(name: &str, before: &Before) -> Result<(), Error> {
    if before.disable_ipv6 == Some(false) {
        write_disable_ipv6(name, !before.shared.has_ipv6())?;
    }
    if !before.is_noarp {
        set_flag(name, before.ifindex, LinkFlags::Noarp, !before.shared.speaks_arp)?;
    }
    Ok(())
}

/// Switches on again what only XDP cannot have, where XDP is not to be had.
pub fn give_back_xdp(name: &str, before: &mut Before) -> Result<(), Error> {
    let is_xdp = |feature: &String| BLIND_XDP.contains(&feature.as_str());
    let own = before.features.iter().filter(|(feature, _)| is_xdp(feature));
    let own: BTreeMap<_, _> = own.map(|(feature, is_on)| (feature.clone(), *is_on)).collect();
    features::set(name, &own)?;
    before.features.retain(|feature, _| !is_xdp(feature));
    Ok(())
}

/// Sets everything but up and down as it was. Of an interface that has gone meanwhile there
/// is nothing to set.
pub fn give_back(name: &str, before: &Before) -> Result<(), Error> {
    let given_back = features::set(name, &before.features)
        .and_then(|()| {
            if before.is_noarp {
                return Ok(());
            }
            set_flag(name, before.ifindex, LinkFlags::Noarp, false)
        })
        .and_then(|()| {
            if before.disable_ipv6 == Some(false) {
                write_disable_ipv6(name, false)
            } else {
                Ok(())
            }
        });
    match given_back {
        Err(_) if Interfaces::look()?.get(name).is_none() => Ok(()),
        other => other,
    }
}

/// Sets the interface up or down.
pub fn set_up(name: &str, index: u32, is_up: bool) -> Result<(), Error> {
    set_flag(name, index, LinkFlags::Up, is_up)
}

fn set_flag(name: &str, index: u32, flag: LinkFlags, is_set: bool) -> Result<(), Error> {
    let setting = match (flag == LinkFlags::Up, is_set) {
        (true, true) => "setting it up",
        (true, false) => "setting it down",
        (false, true) => "switching ARP off",
        (false, false) => "switching ARP on",
    };
    Route::open()
        .and_then(|route| route.set_flag(index, flag, is_set))
        .map_err(|source| Error::Setting { interface: name.into(), setting, source })
}

/// None where the kernel has no IPv6.
fn read_disable_ipv6(name: &str) -> Result<Option<bool>, Error> {
    match fs::read_to_string(disable_ipv6(name)) {
        Ok(text) => Ok(Some(text.trim() != "0")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(Error::Setting { interface: name.into(), setting: "disable_ipv6", source })
        }
    }
}

fn write_disable_ipv6(name: &str, is_disabled: bool) -> Result<(), Error> {
    match fs::write(disable_ipv6(name), if is_disabled { "1" } else { "0" }) {
        // With an MTU below IPv6's least the interface has no IPv6 to be switched.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            Err(Error::Setting { interface: name.into(), setting: "disable_ipv6", source })
        }
        Ok(()) => Ok(()),
    }
}

/// In the network namespace of the calling thread.
fn disable_ipv6(name: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
}
