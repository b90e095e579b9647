//! How are devices compared? They take turns, sample by sample, so that what else the machine
//! does at the time is in the figures of all.

use anyhow::{Result, ensure};
use sekisho_tests::program::Flows;

use crate::course::Course;
use crate::ours::{self, Kind as Packets, Ours, Way};
use crate::peers::{Kind, Peer};
use crate::report;
use crate::results::{Results, Row};
use crate::scene::Size;

/// Packets of known flows in a sample, at least.
pub const FRAMES: u32 = 200_000;
/// Samples of each row.
const SAMPLES: usize = 7;

/// What is done before a sample.
type Before<'run> = dyn FnMut() -> Result<()> + 'run;

/// Where packets have their end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the other host.
    There,
    /// At the device.
    Here,
}

/// A device in a comparison.
pub struct Turn<'run> {
    row: Row,
    course: Course<'run>,
    flows: Flows,
    frames: u32,
    end: End,
    before: Option<Box<Before<'run>>>,
    samples: Vec<f64>,
}

impl<'run> Turn<'run> {
    /// Packets of known flows, so many a sample.
    pub fn known(row: Row, course: Course<'run>, frames: u32) -> Result<Self> {
        let flows = course.known(row.flows.max(1))?;
        Ok(Self { row, course, flows, frames, end: End::There, before: None, samples: Vec::new() })
    }

    /// The same where something has to be done before each sample.
    #[must_use]
    pub fn after(self, before: impl FnMut() -> Result<()> + 'run) -> Self {
        Self { before: Some(Box::new(before)), ..self }
    }

    /// Packets each of which is the first of its flow, so many a sample; before each sample the
    /// device forgets its flows.
    pub fn new(
        row: Row,
        course: Course<'run>,
        frames: u32,
        forget: impl FnMut() -> Result<()> + 'run,
    ) -> Result<Self> {
        let flows = course.all_new()?;
        let turn =
            Self { row, course, flows, frames, end: End::There, before: None, samples: Vec::new() };
        Ok(turn.after(forget))
    }

    /// The device is the packets' end.
    #[must_use]
    pub fn ends_here(self) -> Self {
        Self { end: End::Here, ..self }
    }

    fn sample(&mut self) -> Result<()> {
        if let Some(before) = &mut self.before {
            before()?;
        }
        let frames = frames(self.frames);
        let ns = match self.end {
            End::There => self.course.ns(&self.flows, frames)?,
            End::Here => self.course.ns_to_end(&self.flows, frames)?,
        };
        self.samples.push(ns);
        Ok(())
    }
}

/// Lets them take turns.
pub fn compare(mut turns: Vec<Turn<'_>>, results: &mut Results) -> Result<()> {
    let samples = if report::is_trial() { 1 } else { SAMPLES };
    for _ in 0..samples {
        turns.iter_mut().try_for_each(Turn::sample)?;
    }
    for turn in turns {
        results.add(turn.row.samples(turn.samples));
    }
    Ok(())
}

/// Packets of known flows by a way through Sekisho, beside peers that forward others like them.
pub fn known_beside(
    ours: &mut Ours<'_>,
    (way, kind): (Way, Packets),
    (case, flows): (&str, u32),
    peers: &[&Peer],
    results: &mut Results,
) -> Result<()> {
    let row = |device: &str, size: Size| Row::ns(device, case).of(flows, size.rules, size.routes);
    let frames = FRAMES.max(flows);
    let mut turns = Vec::new();
    for peer in peers {
        let (row, course) = (row(peer.kind.name(), peer.size), peer.course()?);
        if peer.kind == Kind::Drop {
            turns.push(Turn::known(row, course, frames)?.ends_here());
            continue;
        }
        course.open(flows)?;
        if let (Kind::Nftables(_), known) = (peer.kind, peer.connections()?) {
            ensure!(known >= flows, "nftables knows {known} of {flows} flows");
        }
        turns.push(Turn::known(row, course, frames)?);
    }
    ours.loaded.forget_flows()?;
    let course = ours.course(way, kind)?;
    course.open(flows)?;
    turns.push(Turn::known(row(ours::NAME, ours.size), course, frames)?);
    compare(turns, results)?;
    let halves = ours.loaded.forget_flows()?;
    ensure!(halves >= 2 * flows as usize, "{halves} halves of {flows} flows");
    Ok(())
}

/// So many, or as few as show in a trial that all of it runs.
#[must_use]
pub fn frames(frames: u32) -> u32 {
    if report::is_trial() { frames.min(1 << 10) } else { frames }
}
