//! How much fits in at once, does all of it work then, and what does it take?
//!
//! A million lines, each with a session, come from the text of a site file. Packets of theirs
//! open flows, which the internet answers, until most of what is new finds no room. Then known
//! flows have to go on, what found no room to be counted so, and who is not registered to be
//! stopped; sampled lines have flows from before, which go on as well.

use std::time::Instant;

use anyhow::{Context, Error, Result, ensure};
use dataplane_common::{
    Stop,
    table::flow::{FlowCold, FlowLine, FlowMore},
};
use dataplane_user::{
    frame::Payload,
    load::{Place, Sizes},
    trace::Sender,
};
use sekisho_bench::{
    course::{padded, sink},
    large, ours,
    report::is_trial,
    results::{Results, Row},
    site::{self, Loaded, Question, goes_on},
};
use sekisho_tests::{
    Host,
    build::Frame,
    chance::Chance,
    plug::Hosts,
    program::{Attached, Field, Flows, Side},
};

/// Who is on the internet.
const OUTSIDE: &str = "198.51.100.9";
/// What lines ask there.
const SERVICE: u16 = 53;
/// From which port on, and from which port sampled lines do.
const PORT: u16 = 1024;
const PORT_OF_SAMPLE: u16 = 1023;
/// How often a step is made with the same lines.
const STEPS: u32 = 1 << 6;
/// How far apart lines are at which generators begin, and those of one generator.
const APART: [u32; 2] = [1 << 16, 1 << 6];

/// How much there shall be.
struct Scale {
    tenants: u32,
    /// Of each tenant.
    lines: u32,
    sizes: Sizes,
    /// Lines that are asked one by one.
    sampled: u32,
    /// Flows that are opened and answered at a time.
    step: u32,
}

const WHOLE: Scale = Scale {
    tenants: 16,
    lines: 1 << 16,
    sizes: Sizes { flow_lines: 1 << 24, heap_lines: 1 << 23 },
    sampled: 1000,
    step: 1 << 14,
};
const TRIAL: Scale = Scale {
    tenants: 2,
    lines: 1 << 7,
    sizes: Sizes { flow_lines: 1 << 12, heap_lines: 1 << 14 },
    sampled: 20,
    step: 1 << 6,
};

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    let scale = if is_trial() { TRIAL } else { WHOLE };
    let mut results = Results::of("capacity");
    let done = site::in_lab("capacity", &large::lines(0, 0), &[], |place, hosts| {
        fill(&scale, place, hosts, &mut results)
    });
    results.end(done)
}

fn fill(scale: &Scale, place: Place, hosts: &Hosts, results: &mut Results) -> Result<()> {
    let mut loaded = Loaded::sized(&large::lines(0, 0), place, hosts, scale.sizes)?;
    let lines = scale.tenants * scale.lines;
    let text = large::lines(scale.tenants, scale.lines);
    let (empty, start) = (loaded.dataplane.room().used, Instant::now());
    loaded.put(&text, hosts)?;
    let (used, took) = (loaded.dataplane.room().used - empty, start.elapsed());
    let mut add = |case: &str, unit: &str, figure: f64| {
        results.add(Row::ns(ours::NAME, case).unit(unit).samples(vec![figure]));
    };
    add("site file", "MB", text.len() as f64 / 1e6);
    add("site file until it is in force", "s", took.as_secs_f64());
    add("bytes of a line", "bytes", f64::from(used) * 64.0 / f64::from(lines));
    let halves = |bytes: usize| 2.0 * bytes as f64;
    add("bytes of a flow", "bytes", halves(size_of::<FlowLine>() + size_of::<FlowCold>()));
    add("bytes of a flow, windows and partners", "bytes", halves(size_of::<FlowMore>()));

    let table = Table::new(&loaded, hosts, scale)?;
    let mut chance = Chance::new(12);
    let sampled: Vec<_> = (0..scale.sampled).map(|_| chance.below(lines as usize) as u32).collect();
    table.asked_one_by_one(&sampled, lines)?;
    let filled = table.fill(lines)?;
    table.asked_one_by_one(&sampled, lines)?;

    add("lines", "lines", lines.into());
    add("sessions", "sessions", lines.into());
    add("flows", "flows", filled.flows.into());
    let full = |flows: u32| 200.0 * f64::from(flows) / f64::from(scale.sizes.flow_lines);
    add("flow table where the first flow finds no room", "%", full(filled.first_refused));
    add("flow table where most new flows find no room", "%", full(filled.flows));
    add("flows without room until it is half full", "flows", filled.refused.into());
    Ok(())
}

/// What became of the flow table.
#[derive(Clone, Copy, Default)]
struct Filled {
    /// Flows that there are in the end.
    flows: u32,
    /// There were when one found no room for the first time, but for a step.
    first_refused: u32,
    /// That found no room before it was half full.
    refused: u32,
}

/// The site with its lines in force, and who is at the ends of its NICs.
struct Table<'t> {
    loaded: &'t Loaded,
    /// What the first line asks, and the answer: others' differ in an address.
    questions: [Question; 2],
    ends: [&'t Host; 2],
    _sinks: [Attached; 2],
    scale: &'t Scale,
}

impl<'t> Table<'t> {
    fn new(loaded: &'t Loaded, hosts: &'t Hosts, scale: &'t Scale) -> Result<Self> {
        let [own, other] = [large::ACCESS, "internet"].map(|name| hosts.get(name));
        let ends = [own.context("no access")?, other.context("no uplink")?];
        let line = Sender::Line(large::number(0));
        let uplink = Sender::Uplink("internet".to_owned());
        let (own, payload) = (large::address(0).to_string(), Payload::Udp { src: 1, dst: 1 });
        let questions = [
            loaded.frame(line, None, OUTSIDE, payload)?,
            loaded.frame(uplink, Some(OUTSIDE), &own, payload)?,
        ];
        Ok(Self { loaded, questions, ends, _sinks: [sink(ends[0])?, sink(ends[1])?], scale })
    }

    /// What a line asks from this port, and the answer.
    fn frames(&self, line: u32, port: u16) -> Result<[Vec<u8>; 2]> {
        let own = large::address(line).to_string();
        let from_to = [[&own, OUTSIDE], [OUTSIDE, &own]];
        let ports = [[port, SERVICE], [SERVICE, port]];
        let mut frames = [const { Vec::new() }; 2];
        for (at, frame) in frames.iter_mut().enumerate() {
            let (macs, _) = self.questions[at].bytes.as_chunks::<6>();
            let [src, dst] = ports[at];
            let made = Frame::new(macs[1], macs[0]).ip(from_to[at][0], from_to[at][1]);
            *frame = padded(made.udp(src, dst).build());
        }
        Ok(frames)
    }

    /// Sampled lines' questions and the answers go on; those of a line that nobody has registered
    /// are stopped.
    fn asked_one_by_one(&self, sampled: &[u32], unknown: u32) -> Result<()> {
        let ask = |line, side: usize| -> Result<bool> {
            let bytes = self.frames(line, PORT_OF_SAMPLE)?[side].clone();
            let question = Question { bytes, ..self.questions[side].clone() };
            Ok(goes_on(&question, &self.loaded.run(&question, 1)?))
        };
        for &line in sampled {
            ensure!(ask(line, 0)? && ask(line, 1)?, "line {line} does not get through");
        }
        let before = self.stopped(Stop::NoSession)?;
        ensure!(!ask(unknown, 0)?, "a line that is not registered gets through");
        ensure!(self.stopped(Stop::NoSession)? == before + 1, "it is not counted as such");
        Ok(())
    }

    /// Opens flows until most of what is new finds no room.
    fn fill(&self, lines: u32) -> Result<Filled> {
        let Scale { step, sizes, .. } = self.scale;
        let mut filled = Filled { flows: self.live()?, ..Filled::default() };
        let bases: Vec<_> = (0..lines).step_by(APART[0] as usize).collect();
        'full: for &base in &bases {
            let flows = self.flows(base, lines)?;
            for _ in 0..STEPS {
                let new = self.open(&flows)?;
                filled.flows += new;
                if new == *step && filled.refused == 0 {
                    filled.first_refused = filled.flows;
                }
                if filled.flows <= sizes.flow_lines / 4 {
                    filled.refused += step - new;
                }
                if 2 * new < *step {
                    break 'full;
                }
            }
        }
        // What was opened first goes on, all of it, and nothing is opened by that.
        let known = self.open(&self.flows(bases[0], lines)?)?;
        ensure!(known == *step, "{known} of {step} known flows go on");
        let live = self.live()?;
        ensure!(live == filled.flows, "there are {live} flows, {} were opened", filled.flows);
        Ok(filled)
    }

    /// Questions and answers of lines from this one on.
    fn flows(&self, line: u32, lines: u32) -> Result<[Flows; 2]> {
        let [there, back] = self.frames(line, PORT)?;
        let low = lines.min(APART[0]) / APART[1];
        let flows = |at, frame, vary| {
            let side = Side { from: self.ends[at], frame, vary };
            Flows::new(&[side], [low, STEPS * self.scale.step / low])
        };
        let vary = [Field::SrcLow, Field::SrcPort];
        Ok([flows(0, there, vary)?, flows(1, back, vary.map(Field::answer))?])
    }

    /// As many questions as a step has, and the answers; tells how many got through. Each of the
    /// others found no room.
    fn open(&self, [there, back]: &[Flows; 2]) -> Result<u32> {
        // It is not the time that counts: the last CPU is not the one that others measure on.
        let cpu = std::thread::available_parallelism()?.get() - 1;
        let arrived = || Ok::<_, Error>([self.ends[1].received()?, self.ends[0].received()?]);
        let (before, stops) = (arrived()?, self.stopped(Stop::FlowTableFull)?);
        there.send(self.scale.step, cpu)?;
        let stops = self.stopped(Stop::FlowTableFull)? - stops;
        back.send(self.scale.step, cpu)?;
        let after = arrived()?;
        let [questions, answers] = [after[0] - before[0], after[1] - before[1]];
        ensure!(questions == answers, "{questions} questions got through, {answers} answers");
        ensure!(questions + stops == u64::from(self.scale.step), "{questions} and {stops} stops");
        Ok(u32::try_from(questions)?)
    }

    /// Flows that there are, each of two halves.
    fn live(&self) -> Result<u32> {
        let halves = self.loaded.dataplane.flows().count();
        ensure!(halves.is_multiple_of(2), "{halves} halves");
        Ok(u32::try_from(halves / 2)?)
    }

    fn stopped(&self, stop: Stop) -> Result<u64> {
        let stops = self.loaded.dataplane.stops(1 + self.scale.tenants)?;
        Ok(stops.iter().filter(|of| of.stop == stop).map(|of| of.packets).sum())
    }
}
