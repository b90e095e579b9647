//! Datagrams in pieces: the first one, later ones, too early, twice, overlapping, or by
//! somebody else.

use std::{collections::BTreeSet, ops::Range};

use dataplane_common::{Stop, work::job};
use dataplane_user::model::Mac;

use super::{Became, Course, flow::anything, left};
use crate::{
    chance::Chance,
    drive::{self, Passed},
    reference::{Branch, Party, Question, Traffic},
    trial::Trial,
};

/// A datagram, and what became of it so far.
pub struct Datagram {
    question: Question,
    id: u32,
    bytes: usize,
    /// By which output its first piece left, and with which MACs; `None`: it has not.
    first: Option<(u32, Vec<u8>)>,
    /// Units of eight bytes that passed.
    units: BTreeSet<usize>,
    /// Pieces of it overlapped: no more of it passes.
    is_lost: bool,
    /// All of it has passed, when so many packets had been sent.
    whole_at: Option<u64>,
    /// Pieces that the daemon keeps.
    kept: Vec<(Range<usize>, Passed)>,
    /// The last of them was sent in again when so many packets had been sent.
    again_at: Option<u64>,
    /// Seconds since its first piece passed, and those of a change count as any.
    waited: Option<u64>,
}

/// What is known of a datagram by now?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Its first piece passed.
    Begun,
    /// Nothing: its first piece has not come, or too long ago.
    Nothing,
    /// All of it has passed a moment ago.
    Whole,
    /// One of these.
    Perhaps,
}

/// Early pieces in a course: fewer than a tenant may have with the daemon, which is not
/// judged here.
const EARLY_MAX: u32 = 100;
const DATAGRAMS_MAX: usize = 8;
/// Pieces begin and end at multiples of this, if they do not overlap.
const PIECE_BYTES: usize = 24;
/// Less than any datagram is waited for, and more than any is: 30 s and 60 s, and what
/// sending takes.
const KEPT_SECONDS: Range<u64> = 26..65;
/// The same of one that is whole, or of which pieces were sent in again: 100 ms, in packets of
/// 20 ms.
const AGAIN_PACKETS: Range<u64> = 4..7;

impl Datagram {
    fn new(trial: &Trial, question: Question, id: u32) -> Self {
        Self {
            question,
            id,
            bytes: trial.carried_bytes(&question),
            first: None,
            units: BTreeSet::new(),
            is_lost: false,
            whole_at: None,
            kept: Vec::new(),
            again_at: None,
            waited: Some(0),
        }
    }

    /// The datagram in the terms of the next version, if its sender is still there.
    pub fn renewed(mut self, before: &Trial, now: &Trial) -> Option<Self> {
        let question = now.again(&self.question, before)?;
        let piece = |trial: &Trial, of| trial.piece(of, self.id, 0..PIECE_BYTES);
        let (old, new) = (piece(before, &self.question), piece(now, &question));
        let is_same = (old.ifindex, old.frame) == (new.ifindex, new.frame);
        if !is_same || !now.is_promised(&question) {
            return None;
        }
        if self.first.is_some() {
            self.waited = None;
        }
        Some(Self { question, ..self })
    }

    /// So much time goes by.
    pub fn wait(&mut self, seconds: u64) {
        self.waited = self.waited.map(|waited| waited + seconds);
    }

    fn known(&self, now: u64) -> Known {
        let Some(waited) = self.waited else { return Known::Perhaps };
        if self.first.is_none() || waited >= KEPT_SECONDS.end {
            return Known::Nothing;
        }
        let since = self.whole_at.map(|then| now - then);
        match since {
            Some(_) if waited > 0 => Known::Nothing,
            Some(packets) if packets <= AGAIN_PACKETS.start => Known::Whole,
            Some(packets) if packets >= AGAIN_PACKETS.end => Known::Nothing,
            None if waited < KEPT_SECONDS.start => Known::Begun,
            Some(_) | None => Known::Perhaps,
        }
    }

    /// Which of its bytes come next? Mostly what has not come, often in order.
    fn choose(&self, chance: &mut Chance) -> Range<usize> {
        let pieces = self.bytes.div_ceil(PIECE_BYTES);
        let is_fresh = |at: &usize| !self.units.contains(&(at * PIECE_BYTES / 8));
        let fresh: Vec<_> = (0..pieces).filter(is_fresh).collect();
        let at = match chance.below(8) {
            0..4 => fresh.first().copied(),
            4 | 5 if !fresh.is_empty() => Some(*chance.of(&fresh)),
            _ => None,
        };
        let from = PIECE_BYTES * at.unwrap_or_else(|| chance.below(pieces));
        let to = self.bytes.min(from + PIECE_BYTES);
        // It may reach into its neighbour.
        if from > 0 && chance.once_in(8) { from - 8..to } else { from..to }
    }
}

impl Course {
    /// A piece of some datagram.
    pub fn piece(&mut self, chance: &mut Chance) -> Result<(), String> {
        let is_full = self.datagrams.len() >= DATAGRAMS_MAX;
        if self.datagrams.is_empty() || chance.once_in(4) && !is_full {
            let Some(question) = self.in_pieces(chance) else { return Ok(()) };
            self.datagrams.push(Datagram::new(&self.trial, question, self.asked.into()));
        }
        let at = self.datagrams.len() - 1 - chance.below(self.datagrams.len());
        let mut datagram = self.datagrams.remove(at);
        let range = datagram.choose(chance);
        let wrong = |of: &Datagram, why| format!("{range:?} of {:?}: {why}", of.question);
        if chance.once_in(10) {
            let sent = self.by_another(&datagram, range.clone(), chance);
            sent.map_err(|why| wrong(&datagram, why))?;
            self.datagrams.insert(at, datagram);
            return Ok(());
        }
        let is_certain = self.send_piece(&mut datagram, range.clone(), None);
        if is_certain.map_err(|why| wrong(&datagram, why))? {
            self.datagrams.insert(at, datagram);
        }
        Ok(())
    }

    /// A packet that comes in pieces: mostly one that somebody gets, or there is little to
    /// see.
    fn in_pieces(&mut self, chance: &mut Chance) -> Option<Question> {
        for _ in 0..6 {
            self.asked += 1;
            let Some(question) = self.trial.question(chance, self.asked) else { continue };
            // Without ports, flows of the same ends are one.
            let is_apart = !matches!(question.traffic, Traffic::Bare(_));
            let is_open = |of: &Branch| of.stops.is_empty() && of.receiver.is_some();
            if is_apart && (self.first(&question).iter().any(is_open) || chance.once_in(8)) {
                return Some(question);
            }
        }
        None
    }

    /// The daemon gives up what it keeps: its first piece does not come.
    pub fn give_up(&mut self) -> Result<(), String> {
        for at in 0..self.datagrams.len() {
            let mut datagram = self.datagrams.remove(at);
            let kept = std::mem::take(&mut datagram.kept);
            for (range, parked) in kept {
                if datagram.known(self.sent.get()) == Known::Nothing {
                    self.send_piece(&mut datagram, range, Some(&parked))?;
                }
            }
            self.datagrams.insert(at, datagram);
        }
        Ok(())
    }

    /// Sends it, perhaps again what was parked; false: from now on nothing is certain of the
    /// datagram.
    fn send_piece(
        &mut self,
        of: &mut Datagram,
        range: Range<usize>,
        again: Option<&Passed>,
    ) -> Result<bool, String> {
        let known = of.known(self.sent.get());
        let is_first = range.start == 0;
        if known == Known::Nothing && !is_first && again.is_none() {
            self.early += 1;
            if self.early > EARLY_MAX {
                return Ok(true);
            }
        }
        let sent = self.trial.piece(&of.question, of.id, range.clone());
        if let Some(parked) = again {
            drive::note_again(&self.tables, parked);
            of.again_at = Some(self.sent.get());
        }
        let became = self.send(&sent)?;
        match known {
            Known::Perhaps => {
                // Only that nobody gets it who may not.
                if became.0.work.job != job::PARK {
                    let mut branches = self.first(&of.question);
                    branches.push(anything());
                    self.expect(&branches, &of.question, &became)?;
                }
                Ok(false)
            }
            Known::Nothing | Known::Whole if is_first => {
                let branches = self.first(&of.question);
                let branch = self.expect(&branches, &of.question, &became)?;
                let is_through = branch.is_some_and(|branch| branch.receiver.is_some());
                if !is_through || left(&became).is_err() {
                    return Ok(known == Known::Nothing);
                }
                of.first = Some(way(&became));
                (of.units, of.is_lost, of.whole_at) = (BTreeSet::new(), false, None);
                of.waited = Some(0);
                self.passed(of, &range);
                for (range, parked) in std::mem::take(&mut of.kept) {
                    self.send_piece(of, range, Some(&parked))?;
                }
                Ok(true)
            }
            Known::Nothing => {
                let since = of.again_at.map(|then| self.sent.get() - then);
                let is_again = since.is_some_and(|since| since < AGAIN_PACKETS.end);
                self.too_early(&of.question, &became, (again.is_some(), is_again))?;
                if became.0.work.job == job::PARK {
                    of.kept.push((range, became.0));
                }
                Ok(true)
            }
            Known::Whole => {
                stopped(&became, Stop::FragmentDuplicate)?;
                Ok(true)
            }
            Known::Begun => {
                let units: Vec<_> = units(&range).collect();
                let had = units.iter().filter(|unit| of.units.contains(unit)).count();
                if of.is_lost {
                    stopped(&became, Stop::FragmentOverlap)?;
                } else if had == units.len() {
                    stopped(&became, Stop::FragmentDuplicate)?;
                } else if had > 0 {
                    of.is_lost = true;
                    stopped(&became, Stop::FragmentOverlap)?;
                } else if left(&became).is_err() || of.first.as_ref() != Some(&way(&became)) {
                    let (went, ended) = (&of.first, left(&became));
                    return Err(format!("parts from its first piece: {ended:?}, not {went:?}"));
                } else {
                    self.passed(of, &range);
                }
                Ok(true)
            }
        }
    }

    fn passed(&self, of: &mut Datagram, range: &Range<usize>) {
        of.units.extend(units(range));
        if of.units.len() == of.bytes.div_ceil(8) {
            of.whole_at = Some(self.sent.get());
        }
    }

    /// A piece before its first one reaches nobody. What was just sent in again does not wait,
    /// nor perhaps another piece of that datagram.
    fn too_early(
        &self,
        question: &Question,
        became: &Became,
        (is_again, is_perhaps_again): (bool, bool),
    ) -> Result<(), String> {
        let (passed, told) = became;
        let mut early = self.trial.reference().early(question);
        early.may_wait &= !is_again;
        if is_again || is_perhaps_again {
            early.stops.insert(Stop::FragmentEarly);
        }
        let stop = passed.stop.or(*told);
        let fits = match stop {
            Some(stop) => early.stops.contains(&stop),
            None => early.may_wait && passed.work.job == job::PARK,
        };
        if fits { Ok(()) } else { Err(format!("too early, {stop:?}, not {early:?}")) }
    }

    /// The piece by another port of the network, with its own MAC: it is none of the
    /// datagram's, whatever addresses that has.
    fn by_another(
        &mut self,
        of: &Datagram,
        range: Range<usize>,
        chance: &mut Chance,
    ) -> Result<(), String> {
        let Party::Port(own) = of.question.from else { return Ok(()) };
        let ports = self.trial.site.ports.iter();
        let network = self.trial.site.ports[own].network;
        let others: Vec<(Party, Mac)> = ports
            .filter(|(ix, port)| *ix != own && port.network == network)
            .map(|(ix, port)| (Party::Port(ix), port.mac))
            .collect();
        if others.is_empty() || range.start == 0 || self.early >= EARLY_MAX {
            return Ok(());
        }
        self.early += 1;
        let (from, mac) = *chance.of(&others);
        let question = Question { from, mac: Some(mac), ..of.question };
        let became = self.send(&self.trial.piece(&question, of.id, range))?;
        self.too_early(&question, &became, (false, false))
    }
}

/// By which output a piece left, and with which MACs.
fn way((passed, _): &Became) -> (u32, Vec<u8>) {
    (passed.work.output, passed.packet.laid_out()[..12].to_vec())
}

fn units(range: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    range.start / 8..range.end.div_ceil(8)
}

fn stopped(became: &Became, stop: Stop) -> Result<(), String> {
    match left(became) {
        Err(why) if why == stop => Ok(()),
        other => Err(format!("ends with {other:?}, not {stop:?}")),
    }
}
