//! Flows on which the site changes: they are cut exactly when the direction that opened
//! them is no longer permitted.

use std::{collections::BTreeMap, time::Instant};

use dataplane_common::Stop;
use dataplane_user::{
    check::check,
    model::{Mac, Security},
    tables::HostTables,
};
use sekisho_tests::{
    answers,
    chance::Chance,
    drive::send,
    reference::{Asked, Branch, Kept, Party, Question},
    sites::Spec,
    trial::Trial,
    world::Sent,
};

use crate::random_site;

const SITES: u32 = 400;
/// Changes of a site one after the other.
const CHANGES: u32 = 3;
const QUESTIONS: u16 = 120;
const FLOWS_MAX: usize = 25;
const FLOW_LINES: u32 = 256;

/// A flow as it was opened.
struct Flow {
    question: Question,
    to: Party,
    mac: Option<Mac>,
    sent: Sent,
    answer: Sent,
    /// Is there a record of it? An answer without one would open a flow of its own.
    is_kept: bool,
}

#[test]
fn a_change_cuts_what_it_forbids_and_nothing_else() {
    let begin = Instant::now();
    let mut chance = Chance::of_environment();
    let mut refused = 0;
    let mut histogram = BTreeMap::new();
    for number in 0..SITES {
        let (mut spec, mut trial) = random_site(&mut chance, &mut refused);
        let mut tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        let mut flows = open(&trial, &tables, &mut chance);
        for _ in 0..CHANGES {
            let Some((changed, next)) = change(&spec, &trial, &mut chance) else { break };
            tables.replace(next.compiled.image.clone());
            for flow in &flows {
                if let Err(why) = go_on(flow, &trial, &next, &tables, &mut chance, &mut histogram) {
                    println!("{}\nbecame\n{}", spec.yaml(), changed.yaml());
                    panic!("site {number}, {:?} to {:?}: {why}", flow.question, flow.to);
                }
            }
            // What was opened by somebody who is gone is nobody's.
            flows.retain_mut(|flow| renew(flow, &trial, &next).is_some());
            (spec, trial) = (changed, next);
        }
    }
    histogram.iter().for_each(|(name, count)| println!("{count:8} {name}"));
    println!("{SITES} sites, {:?}", begin.elapsed());
    let often =
        |name: &str| assert!(histogram.get(name).is_some_and(|count| *count > 50), "{name}");
    ["cut", "goes on", "answer cut", "answer goes on"].into_iter().for_each(often);
}

fn open(trial: &Trial, tables: &HostTables, chance: &mut Chance) -> Vec<Flow> {
    let mut flows = Vec::new();
    for at in 0..QUESTIONS {
        let Some(question) = trial.question(chance, at) else { continue };
        if matches!(question.traffic, sekisho_tests::reference::Traffic::Bare(_)) {
            // Without ports, flows of the same ends are one.
            continue;
        }
        let branches = trial.reference().judge(&question, Asked::Both);
        let sent = trial.sent(&question);
        let (passed, told) = send(tables, &sent);
        if passed.stop.or(told).is_some() || passed.work.job != 0 {
            continue;
        }
        let Ok(branch) = trial.judge(&branches, &question, &passed, told) else { continue };
        let Some((to, mac)) = branch.receiver else { continue };
        let mac = mac.filter(|_| matches!(to, Party::Port(_)));
        let answer = trial.sent(&question.answer(to, mac));
        let is_kept = trial.reference().kept(question.from, to) != Kept::Not;
        if is_kept && chance.once_in(2) {
            send(tables, &answer);
        }
        flows.push(Flow { question, to, mac, sent, answer, is_kept });
        if flows.len() == FLOWS_MAX {
            break;
        }
    }
    flows
}

fn change(spec: &Spec, trial: &Trial, chance: &mut Chance) -> Option<(Spec, Trial)> {
    for _ in 0..5 {
        let mut changed = spec.clone();
        changed.change(chance);
        if let Some(site) = check(&changed.yaml()).site {
            return Some((changed, Trial::new(site, Some(trial))));
        }
    }
    None
}

/// The flow in the terms of the next version.
fn renew(flow: &mut Flow, before: &Trial, now: &Trial) -> Option<()> {
    flow.question = now.again(&flow.question, before)?;
    flow.to = now.same(flow.to, before)?;
    Some(())
}

/// One more packet of each direction, in any order.
fn go_on(
    flow: &Flow,
    before: &Trial,
    now: &Trial,
    tables: &HostTables,
    chance: &mut Chance,
    histogram: &mut BTreeMap<&'static str, u32>,
) -> Result<(), String> {
    let Some(question) = now.again(&flow.question, before) else {
        return gone(flow, before, now, tables, histogram);
    };
    let branches = now.reference().judge(&question, Asked::Both);
    let is_answer_first = chance.once_in(2);
    if flow.is_kept && is_answer_first {
        answer(flow, &question, &branches, before, now, tables, histogram)?;
    }
    let (passed, told) = send(tables, &flow.sent);
    let verdict = now.judge(&branches, &question, &passed, told);
    verdict.map_err(|why| format!("{why}, not {branches:?}"))?;
    let is_cut = passed.stop.or(told).is_some();
    *histogram.entry(if is_cut { "cut" } else { "goes on" }).or_default() += 1;
    if flow.is_kept && !is_answer_first {
        answer(flow, &question, &branches, before, now, tables, histogram)?;
    }
    Ok(())
}

/// Whoever opened it is gone: nothing passes, unless a port without port security stands
/// where it stood, which has every MAC, or what was the answer may pass by itself.
fn gone(
    flow: &Flow,
    before: &Trial,
    now: &Trial,
    tables: &HostTables,
    histogram: &mut BTreeMap<&'static str, u32>,
) -> Result<(), String> {
    let mut ports = now.site.ports.values();
    let is_anybody = ports.any(|port| port.security == Security::Off);
    let to = now.same(flow.to, before);
    if flow.is_kept && !is_anybody && !to.is_some_and(|to| stands_alone(flow, now, to)) {
        let (passed, told) = send(tables, &flow.answer);
        if passed.stop.or(told).is_none() && !is_anybody {
            return Err("an answer passes, and who asked is gone".to_owned());
        }
    }
    let (passed, told) = send(tables, &flow.sent);
    if passed.stop.or(told).is_none() && !is_anybody {
        return Err("passes, and its opener is gone".to_owned());
    }
    *histogram.entry("opener gone").or_default() += 1;
    Ok(())
}

/// Would the answer pass as a first packet?
fn stands_alone(flow: &Flow, now: &Trial, to: Party) -> bool {
    let reply = flow.question.answer(to, flow.mac);
    let alone = now.reference().judge(&reply, Asked::Both);
    alone.iter().any(|branch| branch.stops.is_empty())
}

fn answer(
    flow: &Flow,
    question: &Question,
    branches: &[Branch],
    before: &Trial,
    now: &Trial,
    tables: &HostTables,
    histogram: &mut BTreeMap<&'static str, u32>,
) -> Result<(), String> {
    let to = now.same(flow.to, before);
    let is_open = |branch: &Branch| {
        branch.stops.is_empty() && branch.receiver.is_some_and(|(party, _)| Some(party) == to)
    };
    let (passed, told) = send(tables, &flow.answer);
    let is_stopped = passed.stop.or(told).is_some();
    let Some(to) = to.filter(|_| branches.iter().any(is_open)) else {
        if is_stopped || to.is_some_and(|to| stands_alone(flow, now, to)) {
            *histogram.entry("answer cut").or_default() += 1;
            return Ok(());
        }
        return Err("an answer passes to what may not be asked".to_owned());
    };
    let reply = question.answer(to, flow.mac);
    let kept = now.reference().kept(question.from, to);
    let mut expected = answers::expected(now, question, &reply, kept);
    if kept == Kept::Not {
        // There is a record of it, which a stranger's answer does not fit.
        for branch in expected.iter_mut().filter(|branch| !branch.stops.is_empty()) {
            branch.stops.insert(Stop::FlowOwner);
        }
    }
    if branches.len() > 1 {
        // Spread over several: this flow may go to another one now.
        let stops = Stop::ALL.iter().copied().collect();
        expected.push(Branch { receiver: None, stops, is_ours: false, is_hosts: false });
    }
    let verdict = now.judge(&expected, &reply, &passed, told);
    verdict.map_err(|why| format!("answer {why}, not {expected:?}, kept {kept:?}"))?;
    let name = if is_stopped { "answer cut" } else { "answer goes on" };
    *histogram.entry(name).or_default() += 1;
    Ok(())
}
