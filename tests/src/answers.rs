//! What follows the first packet: the answer, and an error about it.

use std::collections::BTreeMap;

use dataplane_common::Stop;
use dataplane_user::{model::Mac, tables::HostTables};

use crate::{
    build::ip,
    drive::send,
    reference::{Asked, Branch, Kept, Party, Question, Traffic},
    trial::Trial,
};

/// Lets the receiver answer, and complain.
pub fn follow(
    trial: &Trial,
    tables: &HostTables,
    question: &Question,
    (to, mac): (Party, Option<Mac>),
    histogram: &mut BTreeMap<String, u32>,
) -> Result<(), String> {
    let mac = if matches!(to, Party::Port(_)) { mac } else { None };
    let answer = question.answer(to, mac);
    let kept = trial.reference().kept(question.from, to);
    let branches = expected(trial, question, &answer, kept);
    let (passed, told) = send(tables, &trial.sent(&answer));
    let branch = trial
        .judge(&branches, &answer, &passed, told)
        .map_err(|why| format!("{why}, not {branches:?}, kept {kept:?}"))?;
    let opens_another = kept == Kept::Not && opens(trial, to, branch);
    let outcome = if told.or(passed.stop).is_some() { "stopped" } else { "delivered" };
    *histogram.entry(format!("answer {outcome}, {kept:?}")).or_default() += 1;

    if opens_another {
        // With somebody else who has the asker's address; an error would belong to that flow.
        return Ok(());
    }
    let branches = expected_error(trial, question, &answer, kept);
    let sent = trial.error_about(question, to, mac);
    let (passed, told) = send(tables, &sent);
    trial
        .judge(&branches, &answer, &passed, told)
        .map_err(|why| format!("error {why}, not {branches:?}, kept {kept:?}"))?;
    let outcome = if told.or(passed.stop).is_some() { "stopped" } else { "delivered" };
    *histogram.entry(format!("error {outcome}, {kept:?}")).or_default() += 1;
    let Party::Line(line) = to else { return Ok(()) };
    let site = trial.reference().site();
    if site.accesses[site.lines[line].access].host.addresses().contains(&question.src) {
        // The host's own address on the access: what comes to it there is the host's.
        return Ok(());
    }
    let router = ip(if question.src.is_ipv4() { ROUTERS[0] } else { ROUTERS[1] });
    let branches = expected_by_router(branches, kept);
    let (passed, told) = send(tables, &trial.error_by(router, question, to, mac));
    trial
        .judge(&branches, &answer, &passed, told)
        .map_err(|why| format!("router's error {why}, not {branches:?}, kept {kept:?}"))?;
    let outcome = if told.or(passed.stop).is_some() { "stopped" } else { "delivered" };
    *histogram.entry(format!("router's error {outcome}, {kept:?}")).or_default() += 1;
    Ok(())
}

/// Routers of the mobile network, inside of nothing.
const ROUTERS: [&str; 2] = ["172.31.255.9", "2001:db8:ffff::9"];

/// What may become of the same error by a router beyond the access, which has no session: it
/// passes as the line's where there is a flow.
fn expected_by_router(mut branches: Vec<Branch>, kept: Kept) -> Vec<Branch> {
    for branch in &mut branches {
        if kept == Kept::Not || !branch.stops.is_empty() {
            branch.stops.insert(Stop::NoSession);
        }
    }
    branches
}

/// What may become of an answer: on a flow it has to lead back to who asked.
#[must_use]
pub fn expected(trial: &Trial, question: &Question, answer: &Question, kept: Kept) -> Vec<Branch> {
    let asked = match kept {
        Kept::Not => Asked::Both,
        Kept::Stateful | Kept::Half => Asked::Stateless,
    };
    let mut branches = trial.reference().judge(answer, asked);
    if kept == Kept::Not {
        // Each packet is a first packet; to somebody with whom a flow would be kept, a
        // reply begins none (C2, C3).
        for branch in &mut branches {
            let is_kept = branch
                .receiver
                .is_some_and(|(party, _)| trial.reference().kept(answer.from, party) != Kept::Not);
            if is_kept {
                branch.stops.extend(answer.begins_nothing());
            }
        }
        return branches;
    }
    for branch in &mut branches {
        let leads_back = branch.receiver.is_some_and(|(party, _)| party == question.from);
        if !leads_back {
            branch.stops.insert(Stop::FlowOwner);
            branch.is_ours = false;
        }
    }
    branches
}

/// Is a flow kept of this sender's packet that takes this branch?
#[must_use]
pub fn opens(trial: &Trial, from: Party, branch: &Branch) -> bool {
    let receiver = branch.receiver.filter(|_| branch.stops.is_empty());
    receiver.is_some_and(|(party, _)| trial.reference().kept(from, party) != Kept::Not)
}

/// What may become of an error about the question: it travels as an answer does; where no
/// flow is kept it stands for itself.
#[must_use]
pub fn expected_error(
    trial: &Trial,
    question: &Question,
    answer: &Question,
    kept: Kept,
) -> Vec<Branch> {
    let kind = if question.src.is_ipv4() { 3 } else { 1 };
    let error = Question { traffic: Traffic::Error { kind }, ..*answer };
    let mut branches =
        expected(trial, question, if kept == Kept::Not { &error } else { answer }, kept);
    // An error is no server's message.
    for branch in &mut branches {
        branch.stops.remove(&Stop::DhcpServer);
    }
    for branch in branches.iter_mut().filter(|branch| !branch.stops.is_empty()) {
        branch.stops.insert(Stop::IcmpUnrelated);
    }
    branches
}
