//! What do two CPUs do at once, and is each packet treated as is right?

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use sekisho_tests::{
    build::{
        Frame,
        tcp::{ACK, SYN},
    },
    chance::Chance,
    lab::stay_on_cpu,
    world::End,
};

use crate::flow::{Ends, Flow, Kind, SHARED_PORTS, datagram, reply, segment, shared};

/// Ports of clients of which nobody knows before.
pub const FLOOD_PORTS: std::ops::Range<u16> = 20_000..52_000;
/// Ports of clients that never ask.
const STRANGE_PORT: u16 = 60_000;
/// Packets of each CPU in the flood.
const STORM: u32 = 30_000;
/// A worker that has waited so long for the other one does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a packet is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Passes,
    Stops,
    /// Either is right.
    Open,
}

/// A worker on its CPU.
pub struct Cpu {
    number: usize,
    program: SchedClassifier,
    ends: Ends,
    meeting: Arc<Meeting>,
    met: u32,
    /// By output: packets that left.
    sent: BTreeMap<u32, u64>,
    outcomes: BTreeMap<&'static str, u64>,
}

impl Cpu {
    /// Sends a frame, and looks whether it was right. Did it leave?
    fn send(&mut self, [from, to]: [End; 2], frame: &[u8], due: Due) -> Result<bool> {
        /// TC_ACT_SHOT and TC_ACT_REDIRECT, <linux/pkt_cls.h>.
        const SHOT: u32 = 2;
        const REDIRECT: u32 = 7;
        // `struct __sk_buff`, of which the kernel takes where the frame comes in.
        let mut context = vec![0_u8; 192];
        context[36..40].copy_from_slice(&from.ifindex.to_ne_bytes());
        context[40..44].copy_from_slice(&from.ifindex.to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let has_left = match self.program.test_run(options)?.return_value {
            SHOT => false,
            REDIRECT => true,
            other => bail!("verdict {other}"),
        };
        *self.sent.entry(to.attachment).or_default() += u64::from(has_left);
        let is_right = match due {
            Due::Passes => has_left,
            Due::Stops => !has_left,
            Due::Open => true,
        };
        let number = self.number;
        ensure!(
            is_right,
            "CPU {number}: it is due {due:?}, and has left: {has_left}; {frame:02x?}"
        );
        Ok(has_left)
    }

    /// Goes on when the other one is here, too.
    fn meet(&mut self) -> Result<()> {
        self.met += 2;
        self.meeting.wait(self.met)
    }

    /// Begins each flow together with the other CPU, and uses it.
    pub fn begin(&mut self) -> Result<()> {
        for flow in Flow::all() {
            self.begin_one(flow).with_context(|| format!("{flow:?}"))?;
        }
        Ok(())
    }

    fn begin_one(&mut self, flow: Flow) -> Result<()> {
        let number = self.number;
        let ends = flow.ends(self.ends, number);
        let [from, to] = ends;
        let answer = flow.answer(ends);
        if flow.kind == Kind::Connection {
            let opens = segment(ends, flow.port, true, SYN);
            let agrees = segment(ends, flow.port, false, SYN | ACK);
            self.meet()?;
            self.send([from, to], &opens, Due::Passes)?;
            self.meet()?;
            if number == 1 {
                self.send([to, from], &agrees, Due::Passes)?;
            }
        } else {
            let question = flow.question(ends);
            self.meet()?;
            if flow.kind == Kind::Answered && number == 1 {
                // It may be there first.
                self.send([to, from], &answer, Due::Open)?;
            } else {
                self.send([from, to], &question, Due::Passes)?;
            }
        }
        self.meet()?;
        if flow.kind == Kind::Connection {
            let question = flow.question(ends);
            self.send([from, to], &question, Due::Passes)?;
            self.meet()?;
        }
        self.send([to, from], &answer, Due::Passes)?;
        self.meet()?;
        self.use_one(flow)
    }

    /// Both directions of an established flow.
    fn use_one(&mut self, flow: Flow) -> Result<()> {
        let [from, to] = flow.ends(self.ends, self.number);
        self.send([from, to], &flow.question([from, to]), Due::Passes)?;
        self.send([to, from], &flow.answer([from, to]), Due::Passes)?;
        Ok(())
    }

    /// Uses each flow.
    pub fn go_on(&mut self) -> Result<()> {
        Flow::all().try_for_each(|flow| self.use_one(flow))
    }

    /// Blue opens whatever it can, and red a little.
    pub fn storm(&mut self) -> Result<()> {
        let flows: Vec<_> = Flow::all().collect();
        // Both CPUs flood with the same, one a little before the other.
        let mut flood = Chance::new(7);
        let mut chance = Chance::new(self.number as u64);
        let Ends { blue, red, .. } = self.ends;
        let [a, b] = blue;
        for _ in 0..STORM {
            let name = match chance.below(16) {
                0..4 => {
                    let flow = *chance.of(&flows);
                    self.use_one(flow).with_context(|| format!("in the flood, {flow:?}"))?;
                    "established"
                }
                4 => {
                    let frame = Frame::new(a.mac, b.mac).ip("10.1.0.10", "10.1.0.20");
                    let frame = frame.udp(STRANGE_PORT, 54).build();
                    self.send(blue, &frame, Due::Stops)?;
                    "denied"
                }
                5 => {
                    let port = STRANGE_PORT + chance.below(1000) as u16;
                    self.send([b, a], &reply(blue, port), Due::Stops)?;
                    "answers to nothing"
                }
                6 => {
                    let port = FLOOD_PORTS.start + chance.below(2000) as u16;
                    self.send(red, &datagram(red, port), Due::Passes)?;
                    "another tenant's"
                }
                _ => {
                    let port = FLOOD_PORTS.start + flood.below(FLOOD_PORTS.len()) as u16;
                    let has_left = self.send(blue, &datagram(blue, port), Due::Open)?;
                    if has_left && chance.once_in(8) {
                        self.send([b, a], &reply(blue, port), Due::Open)?;
                    }
                    if has_left { "flood, opened" } else { "flood, refused" }
                }
            };
            *self.outcomes.entry(name).or_default() += 1;
        }
        Ok(())
    }

    /// An address that two ports have changes hands at each flow, and both use it.
    pub fn change_hands(&mut self) -> Result<()> {
        let [from, to] = self.ends.sharers[self.number];
        for port in SHARED_PORTS {
            self.meet()?;
            self.send([from, to], &shared([from, to], port), Due::Passes)?;
        }
        Ok(())
    }

    /// Each flow but TCP's was idle for too long: it begins anew, together with its answer.
    pub fn begin_again(&mut self) -> Result<()> {
        for flow in Flow::all().filter(|flow| flow.kind != Kind::Connection) {
            let ends = flow.ends(self.ends, self.number);
            let [from, to] = ends;
            let (question, answer) = (flow.question(ends), flow.answer(ends));
            self.meet()?;
            if flow.kind == Kind::Answered && self.number == 1 {
                self.send([to, from], &answer, Due::Open)?;
            } else {
                self.send([from, to], &question, Due::Passes)?;
            }
            self.meet()?;
            self.send([to, from], &answer, Due::Passes)?;
            self.use_one(flow).with_context(|| format!("again, {flow:?}"))?;
        }
        Ok(())
    }
}

/// Where two workers wait for each other.
#[derive(Default)]
struct Meeting {
    here: AtomicU32,
    is_over: AtomicBool,
}

impl Meeting {
    /// Whoever comes makes it one more; goes on with so many. A sleep would take longer than what
    /// is to be done at once.
    fn wait(&self, wanted: u32) -> Result<()> {
        self.here.fetch_add(1, Ordering::AcqRel);
        let begin = Instant::now();
        while self.here.load(Ordering::Acquire) < wanted {
            ensure!(!self.is_over.load(Ordering::Relaxed), "the other CPU has given up");
            ensure!(begin.elapsed() < PATIENCE, "the other CPU does not come");
            thread::yield_now();
        }
        Ok(())
    }
}

/// What both CPUs have seen.
#[derive(Default, Debug)]
pub struct Seen {
    pub sent: BTreeMap<u32, u64>,
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// Does something on both CPUs, and something else meanwhile.
pub fn on_both(
    ends: Ends,
    program: &Path,
    work: fn(&mut Cpu) -> Result<()>,
    mut meanwhile: impl FnMut() -> Result<()>,
) -> Result<Seen> {
    let meeting = Arc::new(Meeting::default());
    let worker = &|number: usize| -> Result<Seen> {
        stay_on_cpu(number).context("this test is about two CPUs")?;
        let program = SchedClassifier::from_pin(program)?;
        let (sent, outcomes) = Default::default();
        let meeting = Arc::clone(&meeting);
        let mut cpu = Cpu { number, program, ends, meeting, met: 0, sent, outcomes };
        let done = work(&mut cpu);
        if done.is_err() {
            cpu.meeting.is_over.store(true, Ordering::Relaxed);
        }
        done.map(|()| Seen { sent: cpu.sent, outcomes: cpu.outcomes })
    };
    thread::scope(|scope| {
        let workers = [0, 1].map(|number| scope.spawn(move || worker(number)));
        let mut looked = Ok(());
        while workers.iter().any(|worker| !worker.is_finished()) {
            looked = looked.and_then(|()| meanwhile());
            // It has none of the two CPUs for itself.
            thread::sleep(Duration::from_millis(5));
        }
        let (mut all, mut wrong) = (Seen::default(), Vec::new());
        for worker in workers {
            match worker.join().map_err(|_| anyhow!("it panicked"))? {
                Ok(Seen { sent, outcomes }) => {
                    for (to, count) in sent {
                        *all.sent.entry(to).or_default() += count;
                    }
                    for (name, count) in outcomes {
                        *all.outcomes.entry(name).or_default() += count;
                    }
                }
                Err(error) => wrong.push(format!("{error:?}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        looked.map(|()| all)
    })
}
