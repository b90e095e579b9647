//! What is a host: which interface, which addresses, and what can it be asked to do?

use std::fs;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ipnetwork::IpNetwork;

use super::vlan::{self, Tags, Vlan};
use super::{End, Lab, Namespace};
use crate::sys::PacketSocket;

/// The host's own end of the cable.
const LINK: &str = "eth0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Tenant,
    Nic,
}

/// A host that is about to be built.
#[derive(Debug)]
#[must_use]
pub struct HostBuilder<'lab> {
    lab: &'lab Lab,
    name: String,
    role: Role,
    interface: String,
    mac: Option<String>,
    addresses: Vec<String>,
    gateways: Vec<IpAddr>,
    vlan: Option<u16>,
    service_vlan: Option<u16>,
    mtu: u32,
}

impl<'lab> HostBuilder<'lab> {
    pub(super) fn new(lab: &'lab Lab, name: &str, role: Role) -> Self {
        Self {
            lab,
            name: name.to_owned(),
            role,
            interface: name.to_owned(),
            mac: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            vlan: None,
            service_vlan: None,
            mtu: 1500,
        }
    }

    /// The name of the interface at the device under test; the host's name unless told.
    pub fn interface(mut self, name: &str) -> Self {
        self.interface = name.to_owned();
        self
    }

    /// The host's MAC address; otherwise the lab numbers them in order of creation.
    pub fn mac(mut self, mac: &str) -> Self {
        self.mac = Some(mac.to_owned());
        self
    }

    /// One more address, IPv4 or IPv6, with its prefix length.
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// A default gateway, one for each address family; it need not be in a prefix of the host's.
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.gateways.push(gateway.into());
        self
    }

    /// The host speaks with this 802.1Q tag, and only with it.
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// And with this 802.1ad tag before that one.
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.service_vlan = Some(id);
        self
    }

    /// The largest packet. It is the MTU of both ends, but that a second tag needs four bytes
    /// more: a device has room for one.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Builds the host, and returns once it can send.
    pub fn build(self) -> Result<Host> {
        let name = self.name.clone();
        self.build_inner().with_context(|| format!("building the host {name}"))
    }

    fn build_inner(self) -> Result<Host> {
        // IFNAMSIZ with its closing zero, <linux/if.h>.
        ensure!(self.interface.len() < 16, "{} is too long for an interface", self.interface);
        let mac = self.mac.clone().unwrap_or_else(|| self.lab.next_mac());
        let namespace = Namespace::new(&self.lab.name_of(&self.name))?;
        let dut = self.lab.dut();
        let packet_mtu = self.mtu.to_string();
        let second_tag_bytes = if self.service_vlan.is_some() { 4 } else { 0 };
        let mtu = (self.mtu + second_tag_bytes).to_string();
        let run = |command: &str| -> Result<String> {
            namespace.run(&command.split_whitespace().collect::<Vec<_>>())?.ok()
        };

        dut.run(&[
            "ip",
            "link",
            "add",
            &self.interface,
            "mtu",
            &mtu,
            "type",
            "veth", //
            "peer",
            "name",
            LINK,
            "address",
            &mac,
            "mtu",
            &mtu,
            "netns",
            namespace.name(),
        ])?
        .ok()?;
        if self.role == Role::Nic {
            run(&format!("ethtool -K {LINK} gro on tx off txvlan off tx-vlan-stag-hw-insert off"))?;
        }
        dut.run(&["ip", "link", "set", &self.interface, "up"])?.ok()?;
        run(&format!("ip link set {LINK} up"))?;
        let tags = self.vlan.map(|customer| Tags { service: self.service_vlan, customer });
        let vlan = tags.map(|tags| vlan::tag(&namespace, LINK, tags, &packet_mtu)).transpose()?;
        let interface = vlan.as_ref().map_or(LINK, Vlan::interface).to_owned();
        let is_twice = self.service_vlan.is_some();
        for address in &self.addresses {
            if !is_twice {
                run(&format!("ip address add {address} dev {interface}"))?;
                continue;
            }
            run(&format!("ip address add {address} dev {interface} noprefixroute"))?;
            // Its device may be the link itself, whose MTU is larger than a packet may be.
            let net: IpNetwork = address.parse()?;
            let net = format!("{}/{}", net.network(), net.prefix());
            run(&format!("ip route add {net} dev {interface} mtu {packet_mtu}"))?;
        }
        dut.wait_until_up(&self.interface)?;
        namespace.wait_until_up(&interface)?;
        for gateway in &self.gateways {
            let mtu = if is_twice { format!("mtu {packet_mtu}") } else { String::new() };
            run(&format!("ip route add default via {gateway} dev {interface} onlink {mtu}"))?;
        }

        self.lab.ends.borrow_mut().push(End {
            dut_interface: self.interface.clone(),
            namespace: namespace.name().to_owned(),
            link: LINK.to_owned(),
        });
        let addresses = self.addresses.iter().map(|text| bare(text)).collect::<Result<_>>()?;
        Ok(Host {
            namespace,
            folder: self.lab.folder().to_owned(),
            dut_interface: self.interface,
            interface,
            mac,
            addresses,
            _vlan: vlan,
        })
    }
}

/// A host in its own namespace, joined to the device under test by a veth.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    folder: PathBuf,
    dut_interface: String,
    interface: String,
    mac: String,
    addresses: Vec<IpAddr>,
    _vlan: Option<Vlan>,
}

impl Host {
    /// The interface at the device under test.
    pub fn dut_interface(&self) -> &str {
        &self.dut_interface
    }

    /// The interface that has the host's addresses.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface at the host's end of the cable, where tags are seen.
    pub fn link(&self) -> &str {
        LINK
    }

    /// Packets that came in at that end: proc_net_dev(5).
    pub fn received(&self) -> Result<u64> {
        let text = self.in_ns(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        let link = format!("{LINK}:");
        let line = text.lines().find(|line| line.trim_start().starts_with(&link));
        let packets = line.and_then(|line| line.split_whitespace().nth(2));
        Ok(packets.context("the link has no counters")?.parse()?)
    }

    /// Its MAC address, in the notation of `ip link`.
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// The lab's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its first IPv4 address.
    pub fn v4(&self) -> Result<IpAddr> {
        self.first(IpAddr::is_ipv4).context("the host has no IPv4 address")
    }

    /// Its first IPv6 address.
    pub fn v6(&self) -> Result<IpAddr> {
        self.first(IpAddr::is_ipv6).context("the host has no IPv6 address")
    }

    /// Sends one Ethernet frame just as it is, whatever is wrong with it.
    pub fn send_frame(&self, frame: &[u8]) -> Result<()> {
        let socket = self.in_ns(|| PacketSocket::for_sending(&self.interface))??;
        socket.send(frame).with_context(|| format!("sending a frame from {}", self.name()))
    }

    /// Sends a frame so many times, as fast as it can.
    pub fn send_frames(&self, frame: &[u8], times: u64) -> Result<()> {
        let socket = self.in_ns(|| PacketSocket::for_sending(&self.interface))??;
        let sent = (0..times).try_for_each(|_| socket.send(frame));
        sent.with_context(|| format!("sending frames from {}", self.name()))
    }

    fn first(&self, family: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(family)
    }
}

/// A host is asked to run things as a namespace is.
impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// The address without its prefix length.
fn bare(text: &str) -> Result<IpAddr> {
    let address = text.split('/').next().unwrap_or_default();
    address.parse().with_context(|| format!("{text} is no address"))
}
