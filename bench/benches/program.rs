//! How long does the loaded program take for a packet, by the kernel's own clock?
//!
//! BPF_PROG_TEST_RUN on the shipped object with the demo's tables. A program that does nothing
//! is measured beside each and subtracted. The same packet again and again is the hot-cache
//! case. The kernel does not restore a packet between repetitions, so a packet that leaves
//! changed (routed, answered) is run once a call: that includes what the call before left of
//! the caches, and is dearer for it.
//!
//! What a flow takes once after a change that has nothing to do with it is measured on the path,
//! beside known packets: one pass through many flows after a change, one after the same site was
//! put in force again, in turns.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use criterion::Criterion;
use dataplane_common::{Stop, limits};
use dataplane_user::{
    frame::Payload,
    load::{Hooked, Place},
    trace::Sender,
};
use sekisho_bench::{
    ours::{self, Kind, Ours, Way, with_ours},
    report,
    results::{Results, Row},
    scene::Size,
    site::{self, Loaded, Question, goes_on},
};
use sekisho_tests::{build::Frame, plug::Hosts, program::Program};

/// The site whose tables are used.
const SITE: &str = include_str!("../../examples/demo.yaml");

/// Runs a call, where the packet can be used again as it left.
const REPEAT: u32 = 20_000;

/// First packets of a sample at most: they fill the flow table. Fewer would let criterion, which
/// doubles them until its warm-up is over, count beyond 64 bits.
const FIRST_MAX: u64 = 2000;

/// Flows that are found to hold still, and how often.
const FLOWS: u32 = 1 << 14;
const PASSES: u8 = 15;
const SIZE: Size = Size { rules: 10, routes: 1 };

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    let mut results = Results::of("program");
    let done = site::in_lab("bench", SITE, &[], |place, hosts| measure(place, hosts, &mut results))
        .and_then(|()| {
            with_ours("readmission", SIZE, limits::FLOW_LINES, |ours| readmit(ours, &mut results))
        });
    results.end(done)
}

struct Packets {
    name: &'static str,
    question: Question,
    repeat: u32,
    /// Takes other ports for each packet.
    is_first: bool,
}

fn measure(place: Place, hosts: &Hosts, results: &mut Results) -> Result<()> {
    let loaded = Loaded::new(SITE, place, hosts)?;
    let mut criterion = report::criterion();
    let rows = rows(&loaded)?;
    let empty = [Program::empty_xdp()?, Program::empty_tc()?];
    for packets in rows {
        let samples = RefCell::new(Vec::new());
        bench(&mut criterion, &loaded, &empty, &packets, &samples);
        let samples = samples.into_inner();
        // There are none of what was not asked for.
        if !samples.is_empty() {
            results.add(Row::ns(ours::NAME, packets.name).samples(samples));
        }
    }
    criterion.final_summary();
    Ok(())
}

/// Passes through known flows, each of them the first after a change or not.
fn readmit(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let course = ours.course(Way::AccessToUplink, Kind::Udp)?;
    course.open(FLOWS)?;
    let flows = course.known(FLOWS)?;
    let mut pass = |number| -> Result<f64> {
        ours.change_beside(number)?;
        course.ns(&flows, FLOWS)
    };
    let mut ns = [const { Vec::new() }; 2];
    for number in 1..=if report::is_trial() { 1 } else { PASSES } {
        // What putting it in force does to caches is the same for both.
        ns[0].push(pass(number)?);
        ns[1].push(pass(number)?);
    }
    for (number, expected) in [(0, FLOWS as usize), (0, 0)] {
        let before = epochs(ours);
        ours.change_beside(number)?;
        course.ns(&flows, FLOWS)?;
        let renewed = epochs(ours).iter().filter(|(at, now)| before[at] != **now).count();
        ensure!(renewed == expected, "{renewed} flows were looked at again, not {expected}");
    }
    let net = ns[0].iter().zip(&ns[1]).map(|(renewed, known)| renewed - known).collect();
    let row = |case| Row::ns(ours::NAME, case).of(FLOWS, SIZE.rules, SIZE.routes);
    results.add(row("re-admission, net of a known packet").samples(net));
    let [renewed, known] = ns;
    results.add(row("re-admission, path").samples(renewed));
    results.add(row("known packet after the same site, path").samples(known));
    Ok(())
}

/// The epochs in which flows were last found to hold, of those halves that open them.
fn epochs(ours: &Ours<'_>) -> HashMap<u32, u32> {
    let halves = ours.loaded.dataplane.flows().filter(|half| !half.is_reply);
    halves.map(|half| (half.index, half.epoch)).collect()
}

fn rows(loaded: &Loaded) -> Result<Vec<Packets>> {
    let udp = |src, dst| Payload::Udp { src, dst };
    let port = |name: &str| Sender::Port(name.to_owned());
    let internet = || Sender::Uplink("internet".to_owned());
    let outside = Some("198.51.100.9");
    let inside = |payload| loaded.frame(port("red/pc"), None, "10.0.0.20", payload);
    let inside_v6 = |payload| loaded.frame(port("red/pc"), None, "fd00:0:0:1::20", payload);
    let web = |payload| loaded.frame(port("blue/pc"), None, "192.0.2.2", payload);
    let web_v6 = |payload| loaded.frame(port("blue/pc"), None, "2001:db8:1::2", payload);
    let from_nic = |payload| loaded.frame(internet(), outside, "192.0.2.2", payload);

    let known = |name, question: Question, repeat| -> Result<Packets> {
        ensure!(goes_on(&question, &loaded.run(&question, 1)?), "{name}: it does not go on");
        Ok(Packets { name, question, repeat, is_first: false })
    };
    let stopped = |name, question: Question, stop: Stop| -> Result<Packets> {
        let count = || -> Result<u64> {
            let stops = loaded.dataplane.stops(16)?;
            Ok(stops.iter().filter(|of| of.stop == stop).map(|of| of.packets).sum())
        };
        let before = count()?;
        loaded.run(&question, 2)?;
        ensure!(count()? == before + 2, "{name}: not stopped as {stop:?}");
        Ok(Packets { name, question, repeat: REPEAT, is_first: false })
    };
    let first = |name, question| Packets { name, question, repeat: 1, is_first: true };

    let arp = {
        let frame = web(udp(1, 53))?;
        let src = <[u8; 6]>::try_from(&frame.bytes[6..12])?;
        let arp = Frame::new(src, [0xff; 6]).arp(1, (src, "10.0.0.10"), ([0; 6], "10.0.0.1"));
        loaded.question(frame.ifindex, arp.build())?
    };
    Ok(vec![
        known("tcx, known flow, same segment, IPv4", inside(udp(2, 53))?, REPEAT)?,
        known("tcx, known flow, same segment, IPv6", inside_v6(udp(2, 53))?, REPEAT)?,
        stopped("tcx, denied flow, IPv4", web(udp(3, 99))?, Stop::IngressDenied)?,
        stopped("tcx, denied flow, IPv6", web_v6(udp(3, 99))?, Stop::IngressDenied)?,
        stopped(
            "xdp, unknown line",
            loaded.frame(line(), Some("100.64.0.3"), "192.0.2.2", udp(4, 53))?,
            Stop::NoSession,
        )?,
        known("tcx, known flow, routed, IPv4, one a call", web(udp(5, 53))?, 1)?,
        known("tcx, known flow, routed, IPv6, one a call", web_v6(udp(5, 53))?, 1)?,
        known("xdp, known flow, NIC to port, one a call", from_nic(udp(6, 53))?, 1)?,
        known("tcx, ARP answer, one a call", arp, 1)?,
        first("tcx, first packet, same segment, IPv4, one a call", inside(udp(7, 53))?),
        first("tcx, first packet, same segment, IPv6, one a call", inside_v6(udp(7, 53))?),
    ])
}

/// The registered line.
fn line() -> Sender {
    Sender::Line("+819012345601".to_owned())
}

fn bench(
    criterion: &mut Criterion,
    loaded: &Loaded,
    [empty_xdp, empty_tc]: &[Program; 2],
    row: &Packets,
    samples: &RefCell<Vec<f64>>,
) {
    let empty = if row.question.hooked == Hooked::Xdp { empty_xdp } else { empty_tc };
    let number = Cell::new(0_u32);
    let once = |repeat| -> Result<Duration> {
        let mut question = row.question.clone();
        if row.is_first {
            renumber(&mut question, &number);
        }
        let verdict = loaded.run(black_box(&question), repeat)?;
        ensure!(!row.is_first || goes_on(&question, &verdict), "the flow table is full");
        let nothing = empty.time(&question.bytes, repeat)?;
        Ok(verdict.duration.saturating_sub(nothing))
    };
    criterion.bench_function(row.name, |bencher| {
        bencher.iter_custom(|packets| {
            let calls = packets.div_ceil(u64::from(row.repeat));
            let calls = if row.is_first { calls.min(FIRST_MAX) } else { calls };
            let sum: Result<Duration> = (0..calls).map(|_| once(row.repeat)).sum();
            let mean = match sum {
                Ok(sum) => sum.as_nanos() as f64 / calls as f64,
                Err(error) => panic!("{}: {error:#}", row.name),
            };
            samples.borrow_mut().push(mean);
            Duration::from_nanos((mean * packets as f64) as u64)
        });
    });
}

/// Ports that no packet before had; all are permitted between these two.
fn renumber(question: &mut Question, number: &Cell<u32>) {
    let l4 = if question.bytes[12..14] == [0x86, 0xdd] { 14 + 40 } else { 14 + 20 };
    number.set(number.get() + 1);
    let [a, b, c, d] = number.get().to_be_bytes();
    question.bytes[l4..l4 + 4].copy_from_slice(&[c, d, 0x80 | a, b]);
}
