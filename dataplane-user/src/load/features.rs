//! Which offloads does an interface have, and how are they switched?
//!
//! By the program `ethtool`, which speaks both the ioctl of old drivers and the netlink
//! of new kernels.

use std::{
    collections::BTreeMap,
    io,
    process::{Command, Output},
};

use super::Error;

/// What XDP cannot see through: a tag that the NIC took off the frame (it would cost
/// tenants their isolation), and frames that stand for several.
pub const BLIND_XDP: [&str; 4] =
    ["rx-vlan-offload", "rx-vlan-stag-hw-parse", "large-receive-offload", "rx-gro-hw"];

/// What a veth leaves to be done by hardware that a veth is not: whoever is at its
/// other end with XDP would get checksums that nobody completes, and lose tags.
pub const LEFT_TO_HARDWARE: [&str; 7] = [
    "tx-checksum-ipv4",
    "tx-checksum-ipv6",
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-checksum-fcoe-crc",
    "tx-vlan-offload",
    "tx-vlan-stag-hw-insert",
];

/// An offload as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Feature {
    is_on: bool,
    is_fixed: bool,
}

/// Those of `names` that are on, each to be switched off. One that cannot be switched
/// off is an error.
pub fn in_the_way(interface: &str, names: &[&str]) -> Result<BTreeMap<String, bool>, Error> {
    let features = parse(&run(interface, &["-k", interface])?);
    let mut on = BTreeMap::new();
    for &name in names {
        match features.get(name) {
            Some(Feature { is_on: true, is_fixed: true }) => {
                return Err(Error::FeatureFixed {
                    interface: interface.into(),
                    feature: name.into(),
                });
            }
            Some(Feature { is_on: true, is_fixed: false }) => {
                on.insert(name.to_owned(), true);
            }
            // A driver that does not know it does not do it.
            Some(Feature { is_on: false, .. }) | None => {}
        }
    }
    Ok(on)
}

/// Switches offloads off, and looks whether they are.
pub fn switch_off(interface: &str, names: &BTreeMap<String, bool>) -> Result<(), Error> {
    let off = names.keys().map(|name| (name.clone(), false)).collect();
    set(interface, &off)?;
    let names: Vec<_> = names.keys().map(String::as_str).collect();
    match in_the_way(interface, &names)?.pop_first() {
        Some((feature, _)) => Err(Error::FeatureFixed { interface: interface.into(), feature }),
        None => Ok(()),
    }
}

/// Switches each to what is stated.
pub fn set(interface: &str, features: &BTreeMap<String, bool>) -> Result<(), Error> {
    if features.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["-K", interface];
    for (name, is_on) in features {
        arguments.extend([name.as_str(), if *is_on { "on" } else { "off" }]);
    }
    run(interface, &arguments).map(drop)
}

fn run(interface: &str, arguments: &[&str]) -> Result<String, Error> {
    let interface = interface.to_owned();
    let output = start("ethtool", arguments)
        .or_else(|_| start("/usr/sbin/ethtool", arguments)) // not in every daemon's PATH
        .map_err(|source| Error::EthtoolMissing { interface: interface.clone(), source })?;
    if !output.status.success() {
        let arguments = arguments.join(" ");
        let message = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(Error::Ethtool { interface, arguments, message });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// In the network namespace of this thread.
fn start(program: &str, arguments: &[&str]) -> io::Result<Output> {
    Command::new(program).args(arguments).env("LC_ALL", "C").output()
}

/// Lines like `tx-vlan-offload: off [fixed]`.
fn parse(text: &str) -> BTreeMap<String, Feature> {
    let features = text.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(": ")?;
        let (is_on, rest) = match value.strip_prefix("on") {
            Some(rest) => (true, rest),
            None => (false, value.strip_prefix("off")?),
        };
        Some((name.to_owned(), Feature { is_on, is_fixed: rest.contains("[fixed]") }))
    });
    features.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read() {
        let text = "Features for va:\nrx-checksumming: on\ntx-checksumming: on\n\
                    \ttx-checksum-ipv4: off [fixed]\n\ttx-checksum-ip-generic: on\n\
                    tcp-segmentation-offload: on\n\ttx-tcp-segmentation: off [requested on]\n\
                    highdma: on [fixed]\n";
        let features = parse(text);
        assert_eq!(features.len(), 7);
        assert_eq!(features["tx-checksum-ipv4"], Feature { is_on: false, is_fixed: true });
        assert_eq!(features["tx-checksum-ip-generic"], Feature { is_on: true, is_fixed: false });
        assert_eq!(features["tx-tcp-segmentation"], Feature { is_on: false, is_fixed: false });
        assert_eq!(features["highdma"], Feature { is_on: true, is_fixed: true });
    }
}
