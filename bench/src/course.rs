//! How do packets of many flows get through a device, and how long does each take?
//!
//! All of it is done by one CPU, one frame after the other, so that nothing may get lost and
//! what the CPU was busy is what the frames took. The generator's share is in every figure.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use sekisho_tests::{
    Host,
    packet::Hook,
    program::{Attached, Field, Flows, Program, Side, sink_tcx},
};

/// The CPU that does it.
pub const CPU: usize = 0;
/// First packets for each value of the first field, before one is as another was: more than are
/// measured.
const NEW: u32 = 1 << 15;
/// Frames of nobody's that may arrive as well: hosts speak when their links come up.
const STRAY_MAX: u64 = 100;

/// Packets between two hosts.
#[derive(Clone)]
pub struct Course<'host> {
    /// What row it is of.
    pub name: String,
    /// The hosts: whose flows they are, and who answers.
    pub ends: [&'host Host; 2],
    /// What opens each flow, in order: by which of the ends, and the frame of flow 0.
    pub opening: Vec<(usize, Vec<u8>)>,
    /// What is measured: one direction, or both in turn.
    pub known: Vec<(usize, Vec<u8>)>,
    /// Where flows differ, as the first end sends them.
    pub vary: [Field; 2],
    /// How many values the first of these fields has at most: a power of two.
    pub asked: u32,
}

impl<'host> Course<'host> {
    /// The first packets of every flow, and the answers.
    pub fn open(&self, flows: u32) -> Result<()> {
        for (end, frame) in &self.opening {
            let opening = self.flows(&[(*end, frame.clone())], flows)?;
            self.through(&opening, flows)
                .with_context(|| format!("{}: opening {flows} flows", self.name))?;
        }
        Ok(())
    }

    /// What is measured of flows that are known.
    pub fn known(&self, flows: u32) -> Result<Flows> {
        self.flows(&self.known, flows)
    }

    /// What is measured where each packet is the first of a flow.
    pub fn all_new(&self) -> Result<Flows> {
        let first = self.opening.first().context("nothing opens a flow")?;
        self.flows(std::slice::from_ref(first), self.asked * NEW)
    }

    /// What opens flows of all these courses in turn, for the program that it comes to first: of so
    /// many flows each, or of one after the other.
    pub fn before(
        courses: &[Self],
        program: BorrowedFd<'_>,
        hook: Hook,
        flows: Option<u32>,
    ) -> Result<Flows> {
        let first = courses.first().context("no course")?;
        let opening = courses.iter().filter_map(|course| Some((course, course.opening.first()?)));
        let bytes = opening.clone().map(|(_, (_, frame))| frame.len()).max().unwrap_or(0);
        let side = |(course, (end, frame)): (&Self, &(usize, Vec<u8>))| {
            let mut side = course.side(*end, frame);
            // Behind the packet a frame may have anything.
            side.frame.resize(bytes, 0);
            side
        };
        let sides: Vec<_> = opening.map(side).collect();
        Flows::before(program, hook, &sides, first.values(flows.unwrap_or(first.asked * NEW)))
    }

    /// Sends so many, sees that every one arrived, and returns nanoseconds a packet.
    pub fn ns(&self, flows: &Flows, frames: u32) -> Result<f64> {
        let took = self.through(flows, frames).with_context(|| self.name.clone())?;
        Ok(per_packet(took, frames))
    }

    /// What each of two CPUs sends of flows that are known: one of the two directions.
    pub fn apart(&self, flows: u32) -> Result<[Flows; 2]> {
        let [there, back] = self.known.as_slice() else { bail!("{}: not both ways", self.name) };
        let one = |side: &(usize, Vec<u8>)| self.flows(std::slice::from_ref(side), flows);
        Ok([one(there)?, one(back)?])
    }

    /// Sends so many in each direction at the same time, and returns nanoseconds a packet of
    /// all: what each CPU was busy, so that it does not count when it was somebody else's.
    pub fn ns_on_two_cpus(&self, [there, back]: &[Flows; 2], frames: u32) -> Result<f64> {
        let before = self.arrived()?;
        let took = thread::scope(|scope| {
            let back = scope.spawn(|| back.send(frames, CPU + 1));
            let there = there.send(frames, CPU)?;
            let back = back.join().map_err(|_| anyhow!("a sender panicked"))??;
            Ok::<_, Error>([there, back])
        })?;
        self.check(self.arrived()? - before, 2 * u64::from(frames))?;
        let rate: f64 = took.iter().map(|took| 1.0 / per_packet(*took, frames)).sum();
        Ok(1.0 / rate)
    }

    /// The same without a look at who receives them: the device is their end.
    pub fn ns_to_end(&self, flows: &Flows, frames: u32) -> Result<f64> {
        Ok(per_packet(flows.send(frames, CPU)?, frames))
    }

    fn through(&self, flows: &Flows, frames: u32) -> Result<Duration> {
        let before = self.arrived()?;
        let took = flows.send(frames, CPU)?;
        self.check(self.arrived()? - before, frames.into())?;
        Ok(took)
    }

    fn arrived(&self) -> Result<u64> {
        Ok(self.ends[0].received()? + self.ends[1].received()?)
    }

    fn check(&self, arrived: u64, sent: u64) -> Result<()> {
        let is_right = (sent..=sent + STRAY_MAX).contains(&arrived);
        ensure!(is_right, "{arrived} of {sent} frames arrived");
        Ok(())
    }

    fn flows(&self, sides: &[(usize, Vec<u8>)], flows: u32) -> Result<Flows> {
        let sides: Vec<_> = sides.iter().map(|(end, frame)| self.side(*end, frame)).collect();
        Flows::new(&sides, self.values(flows))
    }

    fn side(&self, end: usize, frame: &[u8]) -> Side<'host> {
        let vary = if end == 0 { self.vary } else { self.vary.map(Field::answer) };
        Side { from: self.ends[end], frame: frame.to_vec(), vary }
    }

    /// How many values each of the fields has of so many flows.
    fn values(&self, flows: u32) -> [u32; 2] {
        let low = flows.min(self.asked);
        [low, flows / low]
    }
}

/// The end of everything that arrives at a NIC's cable.
pub fn sink(host: &Host) -> Result<Attached> {
    host.in_ns(|| Program::dropping()?.attach(host.link()))?
}

/// The same at a tenant's host, which has no XDP.
pub fn tenant_sink(host: &Host) -> Result<Attached> {
    host.in_ns(|| sink_tcx(host.link()))?
}

/// A frame of a size that the generator takes: a minimal one if it is shorter.
#[must_use]
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    let bytes = frame.len().max(64).next_multiple_of(4);
    frame.resize(bytes, 0);
    frame
}

fn per_packet(took: Duration, frames: u32) -> f64 {
    took.as_nanos() as f64 / f64::from(frames)
}
