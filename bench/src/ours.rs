//! Which ways through Sekisho are measured, and what do their packets look like?

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dataplane_user::{
    frame::Payload,
    load::{Place, Sizes},
    trace::Sender,
};
use sekisho_tests::{
    Host,
    build::tcp::{ACK, SYN},
    plug::Hosts,
    program::{Attached, Field},
};

use crate::course::{Course, padded, sink, tenant_sink};
use crate::scene::{self, BACK, BACK_V6, FRONT, MODEM, MODEM_V6, OUTSIDE, PHONE, PORT, Size};
use crate::site::{self, Loaded};

/// What rows call it.
pub const NAME: &str = "sekisho";
const OUTSIDE_V6: &str = "2001:db8:ffff::1";
const FRONT_V6: &str = "2001:db8:1::2";
/// The opener's port of flow 0.
const OWN_PORT: u16 = 1024;

/// Sekisho with the site of [`scene`] in a lab of its own.
pub fn with_ours(
    lab: &str,
    size: Size,
    flow_lines: u32,
    work: impl FnOnce(&mut Ours<'_>) -> Result<()> + Send,
) -> Result<()> {
    site::in_lab(lab, &scene::site(size), &[], |place, hosts| {
        work(&mut Ours::new(size, place, hosts, flow_lines)?)
    })
}

/// A way through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From a line to its uplink: XDP to XDP.
    AccessToUplink,
    /// From a line to a tenant's port: XDP, then tcx of the same NIC.
    AccessToPort,
    /// From a tenant's port to one of another network: tcx.
    PortToPort,
    /// From a tenant's port to the uplink, by the router's routes: tcx.
    PortToUplink,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UDP over IPv4, one way.
    Udp,
    /// UDP over IPv6, one way.
    UdpV6,
    /// TCP over IPv4, one way.
    Tcp,
    /// UDP over IPv4, both ways in turn.
    UdpBoth,
    /// TCP over IPv4, both ways in turn.
    TcpBoth,
}

/// Sekisho between its hosts, with the ends of what arrives there.
pub struct Ours<'lab> {
    /// Programs and tables.
    pub loaded: Loaded,
    /// How much there is of everything.
    pub size: Size,
    hosts: &'lab Hosts,
    sinks: Vec<Attached>,
}

impl<'lab> Ours<'lab> {
    /// Puts the site of [`scene`] in force. To be called in the lab's device under test.
    fn new(size: Size, place: Place, hosts: &'lab Hosts, flow_lines: u32) -> Result<Self> {
        // A veth takes frames that a program sends only so; servers send others.
        set_gro("on")?;
        // A million routes have room.
        let sizes = Sizes { flow_lines, heap_lines: 1 << 22 };
        let loaded = Loaded::sized(&scene::site(size), place, hosts, sizes)?;
        let sinks = ["mobile", "internet", "front", "back"].map(|name| {
            let host = hosts.get(name).with_context(|| format!("no host {name}"))?;
            if matches!(name, "front" | "back") { tenant_sink(host) } else { sink(host) }
        });
        let sinks = sinks.into_iter().collect::<Result<_>>()?;
        Ok(Self { loaded, size, hosts, sinks })
    }

    /// Another size, if the loader takes it.
    pub fn resize(&mut self, size: Size) -> Result<()> {
        self.loaded.put(&scene::site(size), self.hosts)?;
        self.size = size;
        Ok(())
    }

    /// Changes something of the tenant's that no packet here has to do with.
    pub fn change_beside(&mut self, number: u8) -> Result<()> {
        self.loaded.put(&scene::site_beside(self.size, number), self.hosts)
    }

    /// Its hosts take what they get, and all offloads are as the kernel has them by itself. To be
    /// called in the lab's device under test.
    pub fn hand_over(&mut self) -> Result<[&'lab Host; 2]> {
        self.sinks.clear();
        set_gro("off")?;
        Ok([self.host("front")?, self.host("back")?])
    }

    /// What is sent by this way.
    pub fn course(&self, way: Way, kind: Kind) -> Result<Course<'lab>> {
        let ends = way.ends().map(|name| self.host(name));
        let [own, other] = ends;
        let is_tcp = matches!(kind, Kind::Tcp | Kind::TcpBoth);
        let payload = |src, dst, flags| {
            if is_tcp { Payload::Tcp { src, dst, flags } } else { Payload::Udp { src, dst } }
        };
        let [from, to] = way.addresses(kind == Kind::UdpV6);
        let [asks, answers] = way.senders();
        let there = |flags| self.frame(asks.clone(), from, to, payload(OWN_PORT, PORT, flags));
        let back = |flags| self.frame(answers.clone(), to, from, payload(PORT, OWN_PORT, flags));
        let opening = if is_tcp {
            vec![(0, there(SYN)?), (1, back(SYN | ACK)?), (0, there(ACK)?)]
        } else {
            vec![(0, there(0)?), (1, back(0)?)]
        };
        let known = match kind {
            Kind::Udp | Kind::UdpV6 | Kind::Tcp => vec![(0, there(ACK)?)],
            Kind::UdpBoth | Kind::TcpBoth => vec![(0, there(ACK)?), (1, back(ACK)?)],
        };
        let to_outside = matches!(way, Way::AccessToUplink | Way::PortToUplink);
        let there_to = if to_outside { Field::DstLow } else { Field::DstPort };
        Ok(Course {
            name: format!("{}, {}", way.name(), kind.name()),
            ends: [own?, other?],
            opening,
            known,
            vary: [there_to, Field::SrcPort],
            asked: self.size.asked(),
        })
    }

    fn frame(&self, sender: Sender, from: &str, to: &str, payload: Payload) -> Result<Vec<u8>> {
        // A port and a line have their own addresses; of an uplink it must be said.
        Ok(padded(self.loaded.frame(sender, Some(from), to, payload)?.bytes))
    }

    fn host(&self, name: &str) -> Result<&'lab Host> {
        self.hosts.get(name).with_context(|| format!("no host {name}"))
    }
}

/// At both ports, in the calling thread's namespace.
fn set_gro(to: &str) -> Result<()> {
    ["front", "back"].into_iter().try_for_each(|port| {
        let done = Command::new("ethtool").args(["-K", port, "gro", to]).status()?;
        ensure!(done.success(), "ethtool: {done}");
        Ok(())
    })
}

impl Way {
    /// Who sends and who answers, by the interface.
    const fn ends(self) -> [&'static str; 2] {
        match self {
            Self::AccessToUplink => ["mobile", "internet"],
            Self::AccessToPort => ["mobile", "back"],
            Self::PortToPort => ["front", "back"],
            Self::PortToUplink => ["front", "internet"],
        }
    }

    /// The same as the site has them.
    #[must_use]
    pub fn senders(self) -> [Sender; 2] {
        let port = |name: &str| Sender::Port(format!("blue/{name}"));
        let line = |name: &str| Sender::Line(format!("blue/{name}"));
        let uplink = || Sender::Uplink("internet".to_owned());
        match self {
            Self::AccessToUplink => [line("modem"), uplink()],
            Self::AccessToPort => [line("phone"), port("back")],
            Self::PortToPort => [port("front"), port("back")],
            Self::PortToUplink => [port("front"), uplink()],
        }
    }

    /// Their addresses; what is outside has many more.
    #[must_use]
    pub fn addresses(self, is_v6: bool) -> [&'static str; 2] {
        debug_assert_eq!(OUTSIDE, IpAddr::from([16, 0, 0, 0]));
        match (self, is_v6) {
            (Self::AccessToUplink, false) => [MODEM, "16.0.0.0"],
            (Self::AccessToUplink, true) => [MODEM_V6, OUTSIDE_V6],
            (Self::AccessToPort, false) => [PHONE, BACK],
            (Self::AccessToPort, true) => ["2001:db8:64:1::1", BACK_V6],
            (Self::PortToPort, false) => [FRONT, BACK],
            (Self::PortToPort, true) => [FRONT_V6, BACK_V6],
            (Self::PortToUplink, false) => [FRONT, "16.0.0.0"],
            (Self::PortToUplink, true) => [FRONT_V6, OUTSIDE_V6],
        }
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToUplink => "access to uplink",
            Self::AccessToPort => "access to port",
            Self::PortToPort => "port to port",
            Self::PortToUplink => "port to uplink",
        }
    }
}

impl Kind {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "IPv4",
            Self::UdpV6 => "IPv6",
            Self::Tcp => "TCP",
            Self::UdpBoth => "IPv4 both ways",
            Self::TcpBoth => "TCP both ways",
        }
    }
}
