//! Packets, changes of the site and passing time, one after the other.
//!
//! Two things are asked of each packet. What the site means: the plain [`Reference`] says
//! who may get it, or why it stops; strictly where it knows all that happened to the flow,
//! and otherwise only that nobody gets it who may not. And whether the past counts: what
//! leaves would leave as the first packet of a flow, or as the second one, on tables that
//! have never seen a packet.
//!
//! [`Reference`]: crate::reference::Reference

mod damage;
mod flow;
mod many;
mod pieces;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    time::Duration,
};

use dataplane_common::Stop;
use dataplane_user::{check::check, model::Site, tables::HostTables};

use self::{flow::Flow, pieces::Datagram};
use crate::{
    chance::Chance,
    check,
    drive::{self, Passed, forget},
    invariants,
    reference::{Asked, Branch, Question, Traffic},
    sites::Spec,
    trial::Trial,
    world::Sent,
};

/// A site in force and what happened on it.
struct Course {
    spec: Spec,
    trial: Trial,
    tables: HostTables,
    /// Without a past.
    fresh: HostTables,
    flows: Vec<Flow>,
    /// Flows whose ends are there no more, as they were: opening packet and answer.
    gone: Vec<(Sent, Sent)>,
    /// Under way in pieces.
    datagrams: Vec<Datagram>,
    asked: u16,
    announced: u32,
    /// Pieces that came too early.
    early: u32,
    /// Packets, at which time goes by.
    sent: Cell<u64>,
}

/// What became of a packet, and what its sender was told.
type Became = (Passed, Option<Stop>);

/// An input says no more than so many things.
const STEPS_MAX: usize = 150;
const FLOW_LINES: u32 = 1024;
const FRESH_LINES: u32 = 64;

/// Goes through the sequence.
pub fn sequence(input: &[u8]) -> Result<(), String> {
    let mut chance = Chance::of_input(input);
    let spec = random_spec(&mut chance);
    let Some(site) = checked(&spec) else { return Ok(()) };
    let mut course = Course::new(spec, Trial::new(site, None));
    for step in 0..STEPS_MAX {
        if chance.is_used_up() {
            break;
        }
        course
            .step(&mut chance)
            .map_err(|why| format!("{}\nstep {step}: {why}", course.spec.yaml()))?;
    }
    Ok(())
}

/// One of a few sites, or as the input says.
fn random_spec(chance: &mut Chance) -> Spec {
    match chance.below(256) {
        0 => Spec::random(chance),
        seed => Spec::random(&mut Chance::new(seed as u64)),
    }
}

thread_local! {
    /// Sites of files that were checked before: most come again, and that takes the longest.
    static CHECKED: RefCell<HashMap<String, Option<Site>>> = RefCell::default();
}

const CHECKED_MAX: usize = 2000;

fn checked(spec: &Spec) -> Option<Site> {
    CHECKED.with_borrow_mut(|checked| {
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        let site = |text: &String| check(text).site;
        checked.entry(spec.yaml()).or_insert_with_key(site).clone()
    })
}

impl Course {
    fn new(spec: Spec, trial: Trial) -> Self {
        let tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        let fresh = HostTables::new(trial.compiled.image.clone(), FRESH_LINES);
        Self {
            spec,
            trial,
            tables,
            fresh,
            flows: Vec::new(),
            gone: Vec::new(),
            datagrams: Vec::new(),
            asked: 0,
            announced: 0,
            early: 0,
            sent: Cell::new(0),
        }
    }

    fn step(&mut self, chance: &mut Chance) -> Result<(), String> {
        match chance.below(27) {
            0..4 => self.ask(chance),
            4..7 => self.with_flow(chance, |course, flow, _| course.answer(flow)),
            7 => self.with_flow(chance, |course, flow, _| course.go_on(flow)),
            8 => self.with_flow(chance, |course, flow, _| course.complain(flow)),
            9..11 => self.with_flow(chance, Self::damage),
            11 => self.haunt(chance),
            12..14 => {
                self.change(chance);
                Ok(())
            }
            14 => self.wait(chance),
            15 => self.with_flow(chance, |course, flow, _| {
                course.go_on(flow)?;
                course.answer(flow)
            }),
            16..18 => self.with_flow(chance, Self::pretend),
            18..21 => self.shout(chance),
            21..23 => self.announce(chance),
            _ => self.piece(chance),
        }
    }

    /// A packet of a new flow.
    fn ask(&mut self, chance: &mut Chance) -> Result<(), String> {
        self.asked += 1;
        let Some(question) = self.trial.question(chance, self.asked) else { return Ok(()) };
        let sent = self.trial.sent(&question);
        let became = self.send(&sent)?;
        if matches!(question.traffic, Traffic::Bare(_)) {
            // Without ports, flows of the same ends are one, so it may answer another one.
            return Ok(());
        }
        let branches = self.trial.reference().judge(&question, Asked::Both);
        let Some(branch) = self.expect(&branches, &question, &became)? else { return Ok(()) };
        if left(&became) != self.alone(&sent) {
            return Err(format!("{question:?} ends otherwise on fresh tables"));
        }
        self.flows.extend(Flow::opened(&self.trial, question, &branch, sent));
        Ok(())
    }

    /// Takes the flow out, so that both can be changed.
    fn with_flow(
        &mut self,
        chance: &mut Chance,
        act: impl FnOnce(&mut Self, &mut Flow, &mut Chance) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.flows.is_empty() {
            return Ok(());
        }
        // Counted from the newest one, so that an input means the same after other steps.
        let at = self.flows.len() - 1 - chance.below(self.flows.len());
        let mut flow = self.flows.remove(at);
        let acted = act(self, &mut flow, chance);
        let acted = acted.map_err(|why| format!("{:?}: {why}", flow.question));
        self.flows.insert(at, flow);
        acted
    }

    /// A packet that is nearly one of the flow.
    fn damage(&mut self, flow: &mut Flow, chance: &mut Chance) -> Result<(), String> {
        flow.is_disturbed = true;
        self.send(&damage::damaged(&self.trial, flow, chance)).map(drop)
    }

    /// A packet of a flow whose ends are gone.
    fn haunt(&mut self, chance: &mut Chance) -> Result<(), String> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let (sent, answer) = &self.gone[chance.below(self.gone.len())];
        let (one, other) = if chance.once_in(2) { (sent, answer) } else { (answer, sent) };
        let became = self.send(one)?;
        self.without_past(one, other, &became)
    }

    /// Another version of the site: changed, without one of its tenants, or one that has
    /// nothing to do with it, so that numbers are taken over by other objects.
    fn change(&mut self, chance: &mut Chance) {
        let mut spec = self.spec.clone();
        match chance.below(4) {
            0 => spec = random_spec(chance),
            1 if spec.tenants.len() > 1 => {
                spec.tenants.remove(chance.below(spec.tenants.len()));
            }
            _ => spec.change(chance),
        }
        let Some(site) = checked(&spec) else { return };
        let next = Trial::new(site, Some(&self.trial));
        self.install(spec, next);
    }

    /// Puts the version in force.
    fn install(&mut self, spec: Spec, next: Trial) {
        self.tables.replace(next.compiled.image.clone());
        self.fresh = HostTables::new(next.compiled.image.clone(), FRESH_LINES);
        for flow in std::mem::take(&mut self.flows) {
            match flow.renewed(&self.trial, &next) {
                Some(flow) => self.flows.push(flow),
                // What was damaged may have opened anything.
                None if flow.is_disturbed => {}
                None => self.gone.push((flow.sent, flow.answer)),
            }
        }
        let datagrams = std::mem::take(&mut self.datagrams).into_iter();
        self.datagrams = datagrams.filter_map(|of| of.renewed(&self.trial, &next)).collect();
        (self.spec, self.trial) = (spec, next);
    }

    /// Flows may expire, and datagrams.
    fn wait(&mut self, chance: &mut Chance) -> Result<(), String> {
        const SECONDS: [u64; 5] = [1, 25, 70, 400, 500_000];
        self.pass(Duration::from_secs(*chance.of(&SECONDS)))
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.tables.pass(time);
        self.flows.iter_mut().for_each(|flow| flow.may_be_expired = true);
        self.datagrams.iter_mut().for_each(|datagram| datagram.wait(time.as_secs()));
        self.give_up()
    }

    /// Sends the packet; whatever it is, it has one end, and stays with its tenant.
    fn send(&self, sent: &Sent) -> Result<Became, String> {
        self.sent.set(self.sent.get() + 1);
        self.tables.take_counters();
        let (passed, told) = drive::send(&self.tables, sent);
        let outcome = passed.outcome(self.tables.take_counters());
        invariants::one_end(&outcome, 1)?;
        invariants::stays_well_formed(&sent.frame, &outcome)?;
        if passed.stop.is_none() {
            invariants::borders(
                self.tables.image(),
                (sent.ifindex, check::vlans(&sent.frame)),
                passed.work.output,
            )?;
        }
        Ok((passed, told))
    }

    /// The branch that the packet took; `None`: a table is full.
    fn expect(
        &self,
        branches: &[Branch],
        question: &Question,
        (passed, told): &Became,
    ) -> Result<Option<Branch>, String> {
        if matches!(passed.stop.or(*told), Some(Stop::FlowQuota | Stop::FlowTableFull)) {
            return Ok(None);
        }
        let verdict = self.trial.judge(branches, question, passed, *told);
        let branch = verdict.map_err(|why| format!("{question:?}: {why}, not {branches:?}"))?;
        Ok(Some(branch.clone()))
    }

    /// What becomes of a packet before which there was none.
    fn alone(&self, sent: &Sent) -> Result<u32, Stop> {
        forget(&self.fresh);
        left(&drive::send(&self.fresh, sent))
    }

    /// What leaves would leave as well if there had been nothing, or only the other packet.
    fn without_past(&self, sent: &Sent, other: &Sent, became: &Became) -> Result<(), String> {
        let with = left(became);
        if with.is_err() || self.alone(sent) == with {
            return Ok(());
        }
        let _ = self.alone(other);
        let second = left(&drive::send(&self.fresh, sent));
        if second == with {
            return Ok(());
        }
        Err(format!("leaves by {with:?}, but for the past {second:?}: {:02x?}", sent.frame))
    }
}

/// The output by which a packet left, or why it did not.
fn left((passed, told): &Became) -> Result<u32, Stop> {
    passed.stop.or(*told).map_or(Ok(passed.work.output), Err)
}
