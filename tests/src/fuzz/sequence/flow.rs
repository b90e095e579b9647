//! What may become of a packet of a flow that was opened before?

use dataplane_common::Stop;
use dataplane_user::model::Mac;

use super::{Course, left};
use crate::{
    answers,
    chance::Chance,
    reference::{Asked, Branch, Kept, Party, Question},
    trial::Trial,
    world::Sent,
};

/// A flow as it was opened.
#[derive(Clone)]
pub struct Flow {
    pub question: Question,
    to: Party,
    mac: Option<Mac>,
    pub sent: Sent,
    pub answer: Sent,
    /// Is there a record of it? An answer without one would open a flow of its own.
    is_kept: bool,
    /// Was its question let through in this version of the site?
    is_current: bool,
    /// Time has gone by since.
    pub may_be_expired: bool,
    /// Something came of which the reference knows nothing, or the flow's answer opened one.
    pub is_disturbed: bool,
}

impl Flow {
    /// Of the question that took this branch, if somebody got it.
    pub fn opened(trial: &Trial, question: Question, branch: &Branch, sent: Sent) -> Option<Self> {
        let (to, mac) = branch.receiver.filter(|_| branch.stops.is_empty())?;
        let mac = mac.filter(|_| matches!(to, Party::Port(_)));
        let answer = trial.sent(&question.answer(to, mac));
        let is_kept = trial.reference().kept(question.from, to) != Kept::Not;
        Some(Self {
            question,
            to,
            mac,
            sent,
            answer,
            is_kept,
            is_current: true,
            may_be_expired: false,
            is_disturbed: false,
        })
    }

    /// The flow in the terms of the next version, if its ends are still where they were.
    pub fn renewed(&self, before: &Trial, now: &Trial) -> Option<Self> {
        let question = now.again(&self.question, before)?;
        let to = now.same(self.to, before)?;
        if !now.is_promised(&question) {
            return None;
        }
        let (sent, answer) = (now.sent(&question), now.sent(&question.answer(to, self.mac)));
        let is_same = same(&sent, &self.sent) && same(&answer, &self.answer);
        is_same.then(|| Self { question, to, is_current: false, ..self.clone() })
    }

    /// An ICMP error about its question.
    pub fn error(&self, trial: &Trial) -> Sent {
        trial.error_about(&self.question, self.to, self.mac)
    }

    fn reply(&self) -> Question {
        self.question.answer(self.to, self.mac)
    }
}

fn same(one: &Sent, other: &Sent) -> bool {
    (one.ifindex, &one.frame) == (other.ifindex, &other.frame)
}

/// Anything may stop it.
pub fn anything() -> Branch {
    let stops = Stop::ALL.iter().copied().collect();
    Branch { receiver: None, stops, is_ours: false, is_hosts: false }
}

impl Course {
    /// Its question once more.
    pub fn go_on(&mut self, flow: &mut Flow) -> Result<(), String> {
        let became = self.send(&flow.sent)?;
        let mut branches = self.first(&flow.question);
        if flow.is_disturbed {
            // It may be the answer to a flow that its answer opened.
            let reply = self.open(self.first(&flow.reply()));
            if reply.iter().any(|branch| to(branch) == Some(flow.question.from)) {
                let to_asked = branches.iter_mut().filter(|branch| to(branch) == Some(flow.to));
                to_asked.for_each(|branch| branch.stops.clear());
            }
            branches.push(anything());
        } else {
            self.without_past(&flow.sent, &flow.answer, &became)?;
        }
        let branch = self.expect(&branches, &flow.question, &became)?;
        let is_through = branch.is_some_and(|branch| branch.stops.is_empty());
        flow.is_current = is_through;
        flow.may_be_expired &= !is_through;
        Ok(())
    }

    /// Its answer.
    pub fn answer(&mut self, flow: &mut Flow) -> Result<(), String> {
        let became = self.send(&flow.answer)?;
        let reply = flow.reply();
        let alone = self.open(self.first(&reply));
        let is_known = flow.is_kept && !flow.may_be_expired && !flow.is_disturbed;
        if !flow.is_disturbed {
            self.without_past(&flow.answer, &flow.sent, &became)?;
        }
        let questions = self.first(&flow.question);
        let is_open = self.open(questions.clone()).iter().any(|of| to(of) == Some(flow.to));
        let kept = self.trial.reference().kept(flow.question.from, flow.to);
        let mut expected = Vec::new();
        if is_open {
            expected = answers::expected(&self.trial, &flow.question, &reply, kept);
        }
        if is_known && is_open {
            if kept == Kept::Not {
                // There is a record of it, which a stranger's answer does not fit.
                for branch in expected.iter_mut().filter(|branch| !branch.stops.is_empty()) {
                    branch.stops.insert(Stop::FlowOwner);
                }
            }
            if questions.len() > 1 {
                // Spread over several: this flow may go to another one now.
                expected.push(anything());
            }
        } else {
            expected.extend(alone);
            expected.push(anything());
            // It may have opened a flow of its own.
            flow.is_disturbed |= left(&became).is_ok();
        }
        self.expect(&expected, &reply, &became)
            .map_err(|why| format!("answer: {why}, kept {kept:?}"))?;
        Ok(())
    }

    /// An error about its question.
    pub fn complain(&mut self, flow: &mut Flow) -> Result<(), String> {
        let became = self.send(&flow.error(&self.trial))?;
        let reply = flow.reply();
        let kept = self.trial.reference().kept(flow.question.from, flow.to);
        let mut expected = answers::expected_error(&self.trial, &flow.question, &reply, kept);
        if kept == Kept::Not {
            let by_itself = answers::expected(&self.trial, &flow.question, &reply, kept);
            if by_itself.iter().any(|of| answers::opens(&self.trial, flow.to, of)) {
                // With somebody else who has the asker's address.
                return Ok(());
            }
        }
        if !(flow.is_current && flow.is_kept) || flow.may_be_expired || flow.is_disturbed {
            // Its answer may have opened a flow, perhaps to somebody else with the address,
            // whose answer the question would be.
            expected.extend(self.open(self.first(&reply)));
            expected.push(anything());
        }
        self.expect(&expected, &reply, &became)
            .map_err(|why| format!("error: {why}, kept {kept:?}"))?;
        Ok(())
    }

    /// Its question or its answer, sent by another port with a MAC of its own.
    pub fn pretend(&mut self, flow: &mut Flow, chance: &mut Chance) -> Result<(), String> {
        let ports: Vec<_> = self.trial.site.ports.iter().map(|(ix, _)| ix).collect();
        if ports.is_empty() {
            return Ok(());
        }
        let other = *chance.of(&ports);
        let question = if chance.once_in(2) { flow.question } else { flow.reply() };
        let (from, mac) = (Party::Port(other), Some(self.trial.site.ports[other].mac));
        if from == question.from {
            return Ok(());
        }
        let question = Question { from, mac, ..question };
        let became = self.send(&self.trial.sent(&question))?;
        // It may have the address as well, but it has no part in the flow.
        let mut branches = self.open(self.first(&question));
        branches.push(anything());
        flow.is_disturbed = true;
        self.expect(&branches, &question, &became).map(drop)
    }

    pub fn first(&self, question: &Question) -> Vec<Branch> {
        self.trial.reference().judge(question, Asked::Both)
    }

    /// Those by which somebody gets it.
    fn open(&self, mut branches: Vec<Branch>) -> Vec<Branch> {
        branches.retain(|branch| branch.stops.is_empty() && branch.receiver.is_some());
        branches
    }
}

fn to(branch: &Branch) -> Option<Party> {
    branch.receiver.map(|(party, _)| party)
}
