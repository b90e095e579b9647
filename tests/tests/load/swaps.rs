//! Does every packet see one version of the site, whole, while versions are exchanged?
//!
//! Two versions route the same destinations to one server or to another, and each closes the
//! server that it does not route to. A packet that saw the routes of the one and the policies of
//! the other would be stopped; neither version stops any.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Error, Result, anyhow, ensure};
use dataplane_common::{
    Stop,
    addr::{Addr, V4_PREFIX_OFFSET_BITS as V4},
    table::{
        Attachment, AttachmentKey, Location, LocationKey, Station, StationKey, Tenant,
        attachment_kind,
        next_hop::{Output, output_kind},
        policy::{ANY_PROTOCOL, Rule, family},
        route::{self, Hop, Route},
    },
};
use dataplane_user::{
    load::{Barrier, Dataplane, Hook, Interface, Options, Sizes},
    tables::{Image, Policy},
};
use sekisho_tests::{
    Host, Lab,
    build::Frame,
    lab::stay_on_cpu,
    program::{Field, Flows, Side, Slow, sink_tcx},
};

use crate::{
    attach, options, port,
    site::{Site, hop, mac},
    uplink,
};

/// Swaps of the versions as a whole.
const SWAPS: u32 = 2000;
/// So many frames at a time; of each flow one.
const FLOWS: u32 = 1 << 15;
/// The router's zone, and that of the servers' network.
const ROUTER: u32 = 2;
const NETWORK: u32 = 1;
/// The servers: endpoints, attachments and next hops have one number.
const SERVERS: [u32; 2] = [2, 4];
const OPEN: u32 = 1;
const CLOSED: u32 = 2;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn no_packet_sees_routes_of_one_version_and_policies_of_another() -> Result<()> {
    let lab = Lab::new("swaps")?;
    let site = Site::build(&lab)?;
    let gateway = std::net::IpAddr::from([10, 0, 1, 1]);
    let second = lab.host("blue-c").address("10.0.1.13/24").gateway(gateway).build()?;
    let sizes = Sizes { flow_lines: 1 << 20, ..Sizes::default() };
    let mut dataplane = Dataplane::load(&Options { sizes, ..options(&lab)? })?;
    let mut versions = Versions::of(&lab, &site, &second)?;
    dataplane.install(versions.next(0, 0))?;
    let attached = [port("blue-a"), port("blue-b"), port("blue-c"), uplink("uplink", Hook::Auto)];
    attach(&lab, &mut dataplane, &attached)?;
    // A veth takes frames that a program sends only so.
    lab.dut().run(&["ethtool", "-K", "blue-a", "gro", "on"])?.ok()?;
    let servers = [&site.blue_b, &second];
    let sinks = servers.map(|host| host.in_ns(|| sink_tcx(host.link()))?);
    let _sinks = sinks.into_iter().collect::<Result<Vec<_>>>()?;

    // Each version by itself, in which flows begin and are judged again.
    let traffic = Traffic::of(&site)?;
    for of in 0..2 {
        dataplane.install(versions.next(of, of))?;
        let before = Moment::take(&dataplane, servers)?;
        traffic.flows.send(FLOWS, 0)?;
        let after = Moment::take(&dataplane, servers)?;
        let arrived = after.since(&before)?;
        ensure!(
            arrived[of] >= u64::from(FLOWS) && arrived[1 - of] < 100,
            "{of}: {arrived:?}, {:?}",
            dataplane.stops(2)?
        );
    }

    let before = Moment::take(&dataplane, servers)?;
    let sent = traffic.during(|| {
        (0..SWAPS).try_for_each(|swap| {
            let of = swap as usize % 2;
            dataplane.install(versions.next(of, of)).map(drop).with_context(|| swap.to_string())
        })
    })?;
    let after = Moment::take(&dataplane, servers)?;
    let arrived = after.since(&before)?;
    eprintln!("{SWAPS} swaps, {sent} packets sent, {arrived:?} arrived");
    ensure!(after.denied == before.denied, "{} packets saw a mixture", after.denied);
    // Hosts may have said something of their own.
    let all: u64 = arrived.iter().sum();
    ensure!((sent..sent + 200).contains(&all), "{all} of {sent} packets arrived");
    ensure!(arrived.iter().all(|&some| some > 0), "one version alone: {arrived:?}");

    // A mixture would have been seen: routes of the one, policies of the other.
    for of in 0..2 {
        let before = Moment::take(&dataplane, servers)?.denied;
        dataplane.install(versions.next(of, 1 - of))?;
        traffic.flows.send(FLOWS, 0)?;
        let mixed = Moment::take(&dataplane, servers)?.denied - before;
        ensure!(mixed >= u64::from(FLOWS), "of {FLOWS} packets {mixed} were stopped by a mixture");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn whoever_waits_for_packets_waits_for_one_that_takes_long() -> Result<()> {
    for (name, barrier) in [("any", Barrier::Any), ("slot", Barrier::Slot)] {
        let lab = Lab::new(&format!("grace-{name}"))?;
        let mut dataplane = Dataplane::load(&Options { barrier, ..options(&lab)? })?;
        let slow = Slow::new()?;
        // On a busy machine some end before anybody looks.
        let mut seen = 0;
        for _ in 0..100 {
            thread::scope(|scope| {
                let run = scope.spawn(|| stay_on_cpu(0).and_then(|()| slow.run()));
                stay_on_cpu(1).context("this test is about two CPUs")?;
                let mut is_seen = false;
                while !run.is_finished() && !is_seen {
                    is_seen = slow.is_running()?;
                }
                if is_seen {
                    dataplane.wait_for_packets()?;
                    ensure!(!slow.is_running()?, "{name}, after {seen}: it is under way still");
                    seen += 1;
                }
                run.join().map_err(|_| anyhow!("the runner panicked"))?
            })?;
            if seen == 10 {
                break;
            }
        }
        ensure!(seen > 0, "{name}: it was never seen while it ran");
        // It is how versions are exchanged there.
        dataplane.install(&Image { tenants: vec![Tenant::default()], ..Image::default() })?;
        dataplane.install(&Image { tenants: vec![Tenant::default(); 2], ..Image::default() })?;
    }
    Ok(())
}

/// What is installed in turn.
struct Versions {
    image: Image,
    number: u32,
}

impl Versions {
    fn of(lab: &Lab, site: &Site, second: &Host) -> Result<Self> {
        let mut image = site.image(output_kind::NIC);
        let (own, addr) = (mac(second), [10, 0, 1, 13]);
        let index = lab.dut().in_ns(|| Interface::find("blue-c", "a test"))??.index;
        let [first, id] = SERVERS;
        let attachment = Attachment {
            id,
            kind: attachment_kind::PORTS,
            zone: NETWORK,
            tenant: 1,
            ..Attachment::default()
        };
        image.attachments.insert(AttachmentKey { ifindex: index, vlan: 0 }, attachment);
        let station = StationKey { attachment: id, mac: own, ..StationKey::default() };
        image.stations.insert(station, Station { endpoint: id, owner: id, ..Station::default() });
        let key = LocationKey { addr: Addr::v4(addr), zone: NETWORK, zero: 0 };
        image.locations.insert(key, Location { endpoint: id, next_hop: id, mac: own, flags: 0 });
        image.endpoints.push(image.endpoints[first as usize]);
        image.endpoints[id as usize].next_hop = id;
        image.next_hops.push(hop(id, own, image.next_hops[first as usize].src, 1));
        let kind = output_kind::PEER;
        image.outputs.push(Output { ifindex: index, kind, ..Output::default() });
        image.tenants[1].flows_max = 1 << 20;
        // One permits all that comes, the other nothing.
        image.rules = vec![Rule {
            id: 1,
            protocol: ANY_PROTOCOL,
            family: family::V4,
            high: u16::MAX,
            ..Rule::default()
        }];
        image.policies = vec![
            Policy::default(),
            Policy { ingress_count: 1, ..Policy::default() },
            Policy::default(),
        ];
        Ok(Self { image, number: 0 })
    }

    /// The next version: routed to the one server, with the policies that open the one.
    fn next(&mut self, routed: usize, open: usize) -> &Image {
        let Self { image, number } = self;
        *number += 1;
        let mut hops = [Hop::default(); 16];
        hops[0] = Hop::new(SERVERS[routed]);
        let via = Route { kind: route::kind::VIA, id: 9, hops_count: 1, hops, zone: 0 };
        let to = LocationKey { addr: Addr::v4([198, 51, 0, 0]), zone: ROUTER, zero: 0 };
        image.routes.retain(|(_, _, route)| route.id != 9);
        image.routes.push((to, V4 + 16, via));
        image.tenants[1].epoch = *number + 1;
        image.zones[ROUTER as usize].generation = *number + 1;
        for (at, id) in SERVERS.into_iter().enumerate() {
            let server = &mut image.endpoints[id as usize];
            server.policy = if at == open { OPEN } else { CLOSED };
            server.generation = *number + 1;
        }
        image
    }
}

/// Frames of many flows, by one CPU.
struct Traffic {
    flows: Flows,
}

impl Traffic {
    fn of(site: &Site) -> Result<Self> {
        let frame = Frame::new(mac(&site.blue_a).0, [2, 0, 0, 0, 1, 1])
            .ip("10.0.1.11", "198.51.0.0")
            .udp(1024, 6000)
            .payload(&[0; 22]);
        let side = Side {
            from: &site.blue_a,
            frame: frame.build(),
            vary: [Field::DstLow, Field::SrcPort],
        };
        Ok(Self { flows: Flows::new(&[side], [1 << 10, FLOWS >> 10])? })
    }

    /// Answers how many were sent while something was done.
    fn during(&self, work: impl FnOnce() -> Result<()>) -> Result<u64> {
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0;
                while !is_done.load(Ordering::Relaxed) {
                    self.flows.send(FLOWS / 8, 0)?;
                    sent += u64::from(FLOWS / 8);
                }
                Ok::<_, Error>(sent)
            });
            let worked = work();
            is_done.store(true, Ordering::Relaxed);
            let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
            worked.and(sent)
        })
    }
}

/// What had arrived and what no rule had permitted at one time.
struct Moment {
    arrived: [u64; 2],
    denied: u64,
}

impl Moment {
    fn take(dataplane: &Dataplane, servers: [&Host; 2]) -> Result<Self> {
        let stops = dataplane.stops(2)?.into_iter();
        let denied = stops.filter(|stop| stop.stop == Stop::IngressDenied);
        Ok(Self {
            arrived: [servers[0].received()?, servers[1].received()?],
            denied: denied.map(|stop| stop.packets).sum(),
        })
    }

    fn since(&self, before: &Self) -> Result<[u64; 2]> {
        let [first, second] = [0, 1].map(|at| self.arrived[at].checked_sub(before.arrived[at]));
        Ok([first.context("a counter went back")?, second.context("a counter went back")?])
    }
}
