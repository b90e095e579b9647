//! How long does the pipeline take for a packet, compiled for this host?
//!
//! The shipped code on tables of `std` collections: good for comparing one version of the
//! pipeline with another, and no prediction of what the kernel takes.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use dataplane_common::Work;
use dataplane_common::pipeline::{self, Next};
use dataplane_common::table::root::InForce;
use dataplane_user::tables::HostTables;
use sekisho_bench::report::{self, Line};
use sekisho_tests::build::{Frame, tcp};
use sekisho_tests::packet::{Hook, HostPacket};
use sekisho_tests::world::Site;

fn main() {
    let mut criterion = report::criterion();
    let site = Site::new();
    let mut lines = Vec::new();
    for (name, frame, kind) in rows(&site) {
        let samples = RefCell::new(Vec::new());
        let packet = |frame: &Frame| HostPacket::new(Hook::Tc, site.a.ifindex, &frame.build());
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|packets| {
                let took = match kind {
                    Kind::First => first(&site, packets, &frame, packet),
                    Kind::Again => again(&site, packets, &packet(&frame)),
                };
                samples.borrow_mut().push(took.as_nanos() as f64 / packets as f64);
                took
            });
        });
        lines.extend(Line::of(name, samples.into_inner()));
    }
    report::print("host pipeline", &lines);
    criterion.final_summary();
}

#[derive(Clone, Copy)]
enum Kind {
    /// The same packet again and again.
    Again,
    /// Each packet opens a flow.
    First,
}

fn rows(site: &Site) -> Vec<(&'static str, Frame, Kind)> {
    let udp = |src, dst, port| site.routed(site.a).ip(src, dst).udp(1000, port).payload(&[0; 18]);
    let syn = |src, dst| site.routed(site.a).ip(src, dst).tcp(1000, 80, tcp::SYN, 1, 0);
    let (a, c) = ("10.1.0.10", "10.2.0.10");
    let (a_v6, c_v6) = ("2001:db8:1::10", "2001:db8:2::10");
    let arp = Frame::new(site.a.mac, [0xff; 6]).arp(1, (site.a.mac, a), ([0; 6], "10.1.0.1"));
    let solicitation =
        site.routed(site.a).ip(a_v6, "2001:db8:1::1").neighbour(135, 0, "2001:db8:1::1", None);
    vec![
        ("known flow, routed, IPv4", udp(a, c, 53), Kind::Again),
        ("known flow, routed, IPv6", udp(a_v6, c_v6, 53), Kind::Again),
        ("first packet, routed, IPv4", syn(a, c), Kind::First),
        ("first packet, routed, IPv6", syn(a_v6, c_v6), Kind::First),
        ("denied flow, IPv4", udp(a, c, 99), Kind::Again),
        ("denied flow, IPv6", udp(a_v6, c_v6, 99), Kind::Again),
        ("ARP answer", arp, Kind::Again),
        ("neighbour answer", solicitation, Kind::Again),
    ]
}

/// Bytes are copied anew for each packet, outside the time.
fn again(site: &Site, packets: u64, packet: &HostPacket) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = packets;
    while left > 0 {
        let batch = left.min(64);
        let copies: Vec<_> = (0..batch).map(|_| packet.clone()).collect();
        let start = Instant::now();
        for packet in copies {
            black_box(judge(&site.tables, packet));
        }
        took += start.elapsed();
        left -= batch;
    }
    took
}

/// New tables before the flow table fills.
fn first(
    site: &Site,
    packets: u64,
    frame: &Frame,
    packet: impl Fn(&Frame) -> HostPacket,
) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = packets;
    while left > 0 {
        let batch = left.min(64);
        let tables = HostTables::new(site.world.image.clone(), 4096);
        let new =
            |port: u64| packet(&frame.clone().patch_transport(0, &(port as u16).to_be_bytes()));
        let copies: Vec<_> = (2000..2000 + batch).map(new).collect();
        let start = Instant::now();
        for packet in copies {
            black_box(judge(&tables, packet));
        }
        took += start.elapsed();
        left -= batch;
    }
    took
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
