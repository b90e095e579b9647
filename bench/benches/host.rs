//! How long does the pipeline take for a packet, compiled for this host?
//!
//! The shipped code on tables of `std` collections: good for comparing one version of the
//! pipeline with another, and no prediction of what the kernel takes. One packet again and again,
//! or those of many flows: of lines and of a port, to the internet and to another port, IPv4 and
//! IPv6.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use criterion::Throughput;
use dataplane_common::Work;
use dataplane_common::pipeline::{self, Next};
use dataplane_common::table::root::InForce;
use dataplane_user::frame::Payload;
use dataplane_user::tables::{HostTables, Image};
use dataplane_user::trace::{self, Described};
use sekisho_bench::ours::Way;
use sekisho_bench::report::{self, Line, is_trial};
use sekisho_bench::scene::{self, OUTSIDE, PORT, Size};
use sekisho_bench::site;
use sekisho_tests::build::{Frame, tcp};
use sekisho_tests::packet::{Hook, HostPacket};
use sekisho_tests::world::Site;

/// Packets that are made at a time, outside the time.
const BATCH: u64 = 64;
/// Of the site that many flows are of.
const SIZE: Size = Size { rules: 1000, routes: 1 };
const FLOWS: u32 = 1 << 14;

fn main() -> Result<()> {
    let mut criterion = report::criterion();
    let mut group = criterion.benchmark_group("host");
    group.throughput(Throughput::Elements(1));
    let mut lines = Vec::new();
    for row in rows()? {
        let tables = row.tables();
        for packet in &row.packets {
            let goes_on = judge(&tables, packet.clone());
            ensure!(goes_on == row.goes_on, "{}: goes on: {goes_on}", row.name);
        }
        let samples = report::samples(&mut group, row.name, |packets| {
            Ok(if row.is_first { first(&row, packets) } else { again(&tables, &row, packets) })
        });
        lines.extend(Line::of(row.name, samples));
    }
    group.finish();
    report::print("host pipeline", &lines);
    criterion.final_summary();
    Ok(())
}

struct Row {
    name: &'static str,
    /// Of the site.
    image: Image,
    packets: Vec<HostPacket>,
    goes_on: bool,
    /// Each packet opens a flow.
    is_first: bool,
}

impl Row {
    /// Tables with room for all that the packets leave behind.
    fn tables(&self) -> HostTables {
        let lines = (4 * self.packets.len()).next_power_of_two().max(4096);
        HostTables::new(self.image.clone(), lines as u32)
    }
}

fn rows() -> Result<Vec<Row>> {
    let site = Site::new();
    let mut image = site.world.image.clone();
    image.tenants.iter_mut().for_each(|tenant| tenant.flows_max = u32::MAX);
    let udp = |src, dst, port| site.routed(site.a).ip(src, dst).udp(1000, port).payload(&[0; 18]);
    let syn = |src, dst| site.routed(site.a).ip(src, dst).tcp(1000, 80, tcp::SYN, 1, 0);
    let (a, c) = ("10.1.0.10", "10.2.0.10");
    let (a_v6, c_v6) = ("2001:db8:1::10", "2001:db8:2::10");
    let arp = Frame::new(site.a.mac, [0xff; 6]).arp(1, (site.a.mac, a), ([0; 6], "10.1.0.1"));
    let solicitation =
        site.routed(site.a).ip(a_v6, "2001:db8:1::1").neighbour(135, 0, "2001:db8:1::1", None);
    let packet = |frame: &Frame| HostPacket::new(Hook::Tc, site.a.ifindex, &frame.build());
    let one = |name, frame: &Frame| Row {
        name,
        image: image.clone(),
        packets: vec![packet(frame)],
        goes_on: true,
        is_first: false,
    };
    let from = |port: u64, frame: &Frame| {
        packet(&frame.clone().patch_transport(0, &(port as u16).to_be_bytes()))
    };
    let first = |name, frame: &Frame| {
        let packets = (2000..2000 + BATCH).map(|port| from(port, frame)).collect();
        Row { packets, is_first: true, ..one(name, frame) }
    };
    let many = |name, is_first| -> Result<Row> {
        let (image, packets) = many()?;
        Ok(Row { name, image, packets, goes_on: true, is_first })
    };
    Ok(vec![
        one("known flow, routed, IPv4", &udp(a, c, 53)),
        one("known flow, routed, IPv6", &udp(a_v6, c_v6, 53)),
        first("first packet, routed, IPv4", &syn(a, c)),
        first("first packet, routed, IPv6", &syn(a_v6, c_v6)),
        Row { goes_on: false, ..one("denied flow, IPv4", &udp(a, c, 99)) },
        Row { goes_on: false, ..one("denied flow, IPv6", &udp(a_v6, c_v6, 99)) },
        one("ARP answer", &arp),
        one("neighbour answer", &solicitation),
        many("known packets of many flows", false)?,
        many("first packets of many flows", true)?,
    ])
}

/// A site for the pipeline, and a packet of each of its flows.
fn many() -> Result<(Image, Vec<HostPacket>)> {
    let (model, compiled) = site::on_host(&scene::site(SIZE))?;
    let ways = [Way::AccessToUplink, Way::AccessToPort, Way::PortToPort];
    let flow = |number: u32| -> Result<HostPacket> {
        let (way, of_way) = (ways[number as usize % ways.len()], number / ways.len() as u32);
        let is_v6 = of_way % 2 == 1;
        let [source, to] = way.addresses(is_v6);
        let to = if way == Way::AccessToUplink && !is_v6 {
            // Each of those that a rule of its own permits.
            let prefix = (of_way / 2) % SIZE.asked();
            Ipv4Addr::from(u32::from(OUTSIDE) + (prefix << 6)).into()
        } else {
            to.parse()?
        };
        let [from, _] = way.senders();
        let payload = Payload::Udp { src: 1024 + number as u16, dst: PORT };
        let described = Described { from, source: Some(source.parse()?), to, payload, ttl: 255 };
        let frame = trace::frame(&model, &compiled, &described)?;
        let hook = if way == Way::PortToPort { Hook::Tc } else { Hook::Xdp };
        Ok(HostPacket::new(hook, frame.at.ifindex, &frame.bytes))
    };
    let flows = if is_trial() { BATCH as u32 } else { FLOWS };
    let packets = (0..flows).map(flow).collect::<Result<_>>()?;
    Ok((compiled.image, packets))
}

/// Of flows that are known.
fn again(tables: &HostTables, row: &Row, packets: u64) -> Duration {
    timed(tables, &mut row.packets.iter().cycle(), packets)
}

/// Of flows that are not: with new tables before one would be.
fn first(row: &Row, packets: u64) -> Duration {
    let all = row.packets.len() as u64;
    let some = |done| timed(&row.tables(), &mut row.packets.iter(), all.min(packets - done));
    (0..packets).step_by(row.packets.len()).map(some).sum()
}

/// Bytes are copied anew for each packet, outside the time.
fn timed<'p>(
    tables: &HostTables,
    next: &mut impl Iterator<Item = &'p HostPacket>,
    packets: u64,
) -> Duration {
    let batch = |done| -> Duration {
        let some = BATCH.min(packets - done) as usize;
        let copies: Vec<_> = next.by_ref().take(some).cloned().collect();
        let start = Instant::now();
        for packet in copies {
            black_box(judge(tables, packet));
        }
        start.elapsed()
    };
    (0..packets).step_by(BATCH as usize).map(batch).sum()
}

/// As the bindings run it.
fn judge(tables: &HostTables, mut packet: HostPacket) -> bool {
    let mut work = Work::default();
    work.begin(InForce::default());
    let mut next = pipeline::enter(&mut packet, tables, &mut work);
    loop {
        next = match next {
            Next::Emit | Next::Heard | Next::Flooded | Next::Parked | Next::Passed => return true,
            Next::Stopped(_) => return false,
            Next::First => pipeline::first(&mut packet, tables, &mut work),
            Next::Answer => pipeline::answer(&mut packet, tables, &mut work),
            Next::Flood => pipeline::flood(&mut packet, tables, &mut work),
            Next::Fragment => pipeline::fragment(&mut packet, tables, &mut work),
            Next::Host => pipeline::host(&mut packet, tables, &mut work),
        };
    }
}
