//! How long does the loaded program take for a packet, by the kernel's own clock?
//!
//! BPF_PROG_TEST_RUN on the shipped object with the demo's tables. A program that does nothing
//! is measured beside each and subtracted. The same packet again and again is the hot-cache
//! case. The kernel does not restore a packet between repetitions, so a packet that leaves
//! changed (routed, answered) is run once a call: that includes what the call before left of
//! the caches, and is dearer for it.
//!
//! Of many flows each packet is another's: a program in front writes the frame, of which nothing
//! is left of the time before, and goes on with ours. The same with one that does nothing in
//! place of ours is subtracted.
//!
//! What a flow takes once after a change that has nothing to do with it is measured on the path,
//! beside known packets: one pass through many flows after a change, one after the same site was
//! put in force again, in turns.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use criterion::{BenchmarkGroup, SamplingMode, Throughput, measurement::WallTime};
use dataplane_common::{Stop, limits};
use dataplane_user::{
    frame::Payload,
    load::{Hooked, Interface, Place},
    trace::Sender,
};
use sekisho_bench::{
    course::{CPU, Course},
    ours::{self, Kind, Ours, Way, with_ours},
    report,
    results::{Results, Row},
    scene::Size,
    site::{self, Loaded, Question, goes_on},
};
use sekisho_tests::{
    build::Frame,
    lab::stay_on_cpu,
    packet::Hook,
    plug::Hosts,
    program::{Flows, Program},
};

/// The site whose tables are used.
const SITE: &str = include_str!("../../examples/demo.yaml");

/// Runs a call, where the packet can be used again as it left.
const REPEAT: u32 = 20_000;

/// First packets of a sample at most: they fill the flow table. Fewer would let criterion, which
/// doubles them until its warm-up is over, count beyond 64 bits.
const FIRST_MAX: u64 = 2000;

/// Flows of each family; how often they are found to hold still.
const FLOWS: u32 = 1 << 14;
const PASSES: u8 = 60;
const SIZE: Size = Size { rules: 10, routes: 1 };
/// Packets of known flows of a sample: to begin takes the kernel milliseconds.
const RUN: u32 = 1 << 18;
/// For the sweeper: four million lines, of which a quarter is taken, so that there is room for
/// each; so many ports are not enough to tell the flows apart with few rules.
const FLOWS_OF_TABLE: u32 = 1 << 19;
const LINES_OF_TABLE: u32 = 1 << 22;
const SIZE_OF_TABLE: Size = Size { rules: 100, routes: 1 };

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    // What userland does leaves the caches of whoever sends as they are.
    stay_on_cpu(CPU + 1)?;
    let mut results = Results::of("program");
    let done = all(&mut results);
    results.end(done)
}

fn all(results: &mut Results) -> Result<()> {
    site::in_lab("bench", SITE, &[], |place, hosts| measure(place, hosts, results))?;
    with_ours("many", SIZE, limits::FLOW_LINES, |ours| {
        many(ours, results)?;
        readmit(ours, results)?;
        if report::is_trial() { whole_table(ours, FLOWS, results) } else { Ok(()) }
    })?;
    if report::is_trial() {
        return Ok(());
    }
    with_ours("whole-table", SIZE_OF_TABLE, LINES_OF_TABLE, |ours| {
        whole_table(ours, FLOWS_OF_TABLE, results)
    })
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
    let mut group = criterion.benchmark_group("program");
    group.throughput(Throughput::Elements(1));
    let empty = [Program::empty_xdp()?, Program::empty_tc()?];
    for packets in rows(&loaded)? {
        let samples = bench(&mut group, &loaded, &empty, &packets);
        results.add_asked(Row::ns(ours::NAME, packets.name), samples);
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Packets of many flows of both families in turn, known ones and first ones.
fn many(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let mut criterion = report::criterion();
    let mut group = criterion.benchmark_group("many flows");
    group.throughput(Throughput::Elements(1)).sampling_mode(SamplingMode::Flat);
    for (way, hooked) in [(Way::AccessToUplink, Hooked::Xdp), (Way::PortToPort, Hooked::Tcx)] {
        let case = |packets: &str| format!("{packets}, {}, IPv4 and IPv6", way.name());
        let row = |case| Row::ns(ours::NAME, case).of(2 * FLOWS, SIZE.rules, SIZE.routes);
        let (hook, nothing) = match hooked {
            Hooked::Xdp => (Hook::Xdp, Program::empty_xdp()?),
            Hooked::Tcx => (Hook::Tc, Program::empty_tc()?),
        };
        let entry = ours.loaded.entry(hooked)?.fd()?;
        let both = [ours.course(way, Kind::Udp)?, ours.course(way, Kind::UdpV6)?];
        let ifindex = Interface::find(both[0].ends[0].dut_interface(), "the benchmark")?.index;
        let before = |flows| -> Result<_> {
            let of = |program| Course::before(&both, program, hook, flows);
            Ok([of(entry.as_fd())?, of(nothing.fd())?])
        };
        let net = |[own, none]: &[Flows; 2], frames: u32| -> Result<Duration> {
            let took = own.run(ifindex, frames)?;
            Ok(took.saturating_sub(none.run(ifindex, frames)?))
        };

        ours.loaded.forget_flows()?;
        both.iter().try_for_each(|course| course.open(FLOWS))?;
        let known = before(Some(FLOWS))?;
        let found = State::of(ours)?;
        net(&known, 2 * FLOWS)?;
        ensure!(State::of(ours)? == found, "{}: known packets left traces", way.name());
        let case_known = case("known");
        let samples = report::samples(&mut group, &case_known, |packets| {
            Ok(net(&known, RUN)?.mul_f64(packets as f64))
        });
        results.add_asked(row(&case_known), samples);

        let new = before(None)?;
        ours.loaded.forget_flows()?;
        net(&new, 2 * FLOWS)?;
        let opened = State { halves: 4 * FLOWS as usize, ..found };
        ensure!(State::of(ours)? == opened, "{}: not every packet opens a flow", way.name());
        let case_first = case("first");
        let samples = report::samples(&mut group, &case_first, |packets| {
            ours.loaded.forget_flows()?;
            Ok(net(&new, 2 * FLOWS)?.mul_f64(packets as f64))
        });
        results.add_asked(row(&case_first), samples);
    }
    group.finish();
    Ok(())
}

/// What packets may leave behind.
#[derive(PartialEq, Eq, Debug)]
struct State {
    halves: usize,
    stopped: u64,
}

impl State {
    fn of(ours: &Ours<'_>) -> Result<Self> {
        let dataplane = &ours.loaded.dataplane;
        let stopped = dataplane.stops(2)?.iter().map(|of| of.packets).sum();
        Ok(Self { halves: dataplane.flows().count(), stopped })
    }
}

/// What userland does with every line of the flow table, through the kernel's mapping.
fn whole_table(ours: &mut Ours<'_>, flows: u32, results: &mut Results) -> Result<()> {
    ours.loaded.forget_flows()?;
    ours.course(Way::AccessToUplink, Kind::Udp)?.open(flows)?;
    let lines = ours.loaded.dataplane.sizes().flow_lines;
    let mut criterion = report::criterion();
    let mut group = criterion.benchmark_group(format!("flow table of {lines} lines"));
    group.throughput(Throughput::Elements(lines.into())).sample_size(10);
    let row = |case: &str| Row::ns(ours::NAME, case).unit("ms").of(flows, 0, 0);
    let ms = |samples: Vec<f64>| samples.iter().map(|ns| ns / 1e6).collect();

    let export = report::samples(&mut group, "export", |times| {
        let start = Instant::now();
        for _ in 0..times {
            let halves = ours.loaded.dataplane.flows().map(black_box).count();
            ensure!(halves == 2 * flows as usize, "{halves} halves of {flows} flows");
        }
        Ok(start.elapsed())
    });
    results.add_asked(row("every line read"), ms(export));
    let sweep = report::samples(&mut group, "sweep", |times| {
        let start = Instant::now();
        for _ in 0..times {
            let swept = ours.loaded.dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
            ensure!(swept.live == 2 * flows as usize, "{swept:?} of {flows} flows");
        }
        Ok(start.elapsed())
    });
    results.add_asked(row("every line swept, none over"), ms(sweep));
    group.finish();
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

/// Nanoseconds a packet, net.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    loaded: &Loaded,
    [empty_xdp, empty_tc]: &[Program; 2],
    row: &Packets,
) -> Vec<f64> {
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
    report::samples(group, row.name, |packets| {
        let calls = packets.div_ceil(u64::from(row.repeat));
        let calls = if row.is_first { calls.min(FIRST_MAX) } else { calls };
        let sum: Duration = (0..calls).map(|_| once(row.repeat)).sum::<Result<_>>()?;
        Ok(sum.mul_f64(packets as f64 / calls as f64))
    })
}

/// Ports that no packet before had; all are permitted between these two.
fn renumber(question: &mut Question, number: &Cell<u32>) {
    let l4 = if question.bytes[12..14] == [0x86, 0xdd] { 14 + 40 } else { 14 + 20 };
    number.set(number.get() + 1);
    let [a, b, c, d] = number.get().to_be_bytes();
    question.bytes[l4..l4 + 4].copy_from_slice(&[c, d, 0x80 | a, b]);
}
