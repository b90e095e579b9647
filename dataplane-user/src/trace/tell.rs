//! What did the program decide? Its notes become sentences.

use dataplane_common::{
    Stop,
    stage::conntrack::state,
    table::flow::{action, status},
    tables::{Note, note},
    work::job,
};

use crate::{
    compile::{Compiled, ids::Kind},
    view::{Step, Trace},
};

/// The program's notes as sentences. Of a half-flow it is asked which rules it rests on: egress,
/// ingress.
pub fn tell(
    site: &Compiled,
    packet: String,
    notes: &[Note],
    rules_of: impl Fn(u32) -> Option<[u32; 2]>,
) -> Trace {
    let is_judged = notes.iter().any(|note| note.what == note::EGRESS);
    let is_denied = |note: &Note| note::has_flag(note.detail, action::DENIED);
    let steps = notes.iter().flat_map(|note| {
        // Nobody asks the rules again for it.
        let is_known = note.what == note::FLOW && !is_judged && !is_denied(note);
        let rules = rules_of(note.id).filter(|_| is_known);
        step(site, note).into_iter().chain(rules.map(|rules| rests_on(site, rules)))
    });
    let steps = steps.collect();
    let is_end = |note: &&Note| {
        matches!(
            note.what,
            note::EMIT | note::STOP | note::HEARD | note::FLOODED | note::EARLY | note::PASSED
        )
    };
    let last = notes.iter().rev().find(is_end);
    let stop = notes
        .iter()
        .find(|note| note.what == note::STOP)
        .map(|note| Stop::from_number(note.id).name().to_owned());
    let is_answered = notes.iter().any(|note| note.what == note::ANSWER);
    let verdict = match last.map(|note| note.what) {
        Some(note::EMIT) if stop.is_some() => "stopped, and the sender is told",
        Some(note::EMIT) if is_answered => "answered",
        Some(note::HEARD) => "heard by the daemon",
        Some(note::FLOODED) => "flooded",
        Some(note::EARLY) => "waits for its first fragment",
        Some(note::PASSED) => "passed up to the host",
        Some(note::EMIT) => "forwarded",
        Some(_) => "stopped",
        None => "unknown",
    };
    Trace { frame: None, packet, steps, verdict: verdict.to_owned(), stop, error: None }
}

fn step(site: &Compiled, note: &Note) -> Option<Step> {
    let name = |kind| site.ids.name(kind, note.id).to_owned();
    let rule = |kind: &str| {
        if note.id == 0 {
            format!("not filtered: no {kind} rules apply")
        } else {
            let policy = site.ids.name(Kind::Policy, note.detail);
            format!("permitted by rule {} ({policy})", name(Kind::Rule))
        }
    };
    let (stage, decision) = match note.what {
        note::ATTACHED => ("attach", format!("came in at {}", name(Kind::Attachment))),
        note::SENDER => {
            let zone = site.ids.name(Kind::Zone, note.detail);
            ("admit", format!("sent by {}, into {zone}", name(Kind::Endpoint)))
        }
        note::FLOW => ("flow", format!("part of a known flow (half {})", flow_state(note))),
        note::NO_FLOW => ("flow", "no known flow".to_owned()),
        note::READMIT => ("flow", "judged anew in the direction that opened it".to_owned()),
        note::ROUTE => ("route", name(Kind::Route)),
        note::RECEIVER => ("route", format!("leads to {}", name(Kind::Endpoint))),
        note::EGRESS => ("filter", format!("egress: {}", rule("egress"))),
        note::INGRESS => ("filter", format!("ingress: {}", rule("ingress"))),
        note::RELATED => ("flow", "an ICMP error about a known flow".to_owned()),
        note::ANSWER => ("answer", answered(note.id).to_owned()),
        note::EMIT => ("emit", format!("leaves by {}", name(Kind::Attachment))),
        note::COPIED => {
            let port = site.ids.name(Kind::Endpoint, note.detail);
            ("flood", format!("a copy leaves by {}, for {port}", name(Kind::Attachment)))
        }
        note::FLOODED => ("flood", format!("copies: {}", note.id)),
        note::HEARD => ("answer", "tells the daemon of a MAC".to_owned()),
        note::PIECE => {
            let at = note.detail;
            ("fragment", format!("byte {at} and after of a datagram whose first fragment has come"))
        }
        note::EARLY => {
            let at = note.detail;
            let decision = format!(
                "byte {at} and after of a datagram whose first fragment, with its ports, has not \
                 come: it waits for it, a second at most"
            );
            ("fragment", decision)
        }
        note::LIMIT => {
            let outcome = if note.detail == 0 { "has no room for it now" } else { "lets it pass" };
            ("limit", format!("{}: {outcome}", name(Kind::Meter)))
        }
        note::PASSED => ("host", "is the host's, which shares the NIC".to_owned()),
        note::STOP => {
            let stop = Stop::from_number(note.id);
            ("stop", format!("{}: {}", stop.name(), stop.sentence().trim()))
        }
        note::STATE if note.id == note.detail => return None,
        note::STATE => {
            let (before, after) = (state::name(note.id), state::name(note.detail));
            ("flow", format!("connection: {before} → {after}"))
        }
        _ => return None,
    };
    Some(Step { stage: stage.to_owned(), decision })
}

/// A known flow's rules.
fn rests_on(site: &Compiled, rules: [u32; 2]) -> Step {
    let [egress, ingress] = rules.map(|rule| match rule {
        0 => "not filtered",
        rule => site.ids.name(Kind::Rule, rule),
    });
    let decision = format!("it was permitted by its rules: egress {egress}; ingress {ingress}");
    Step { stage: "filter".to_owned(), decision }
}

fn flow_state(note: &Note) -> String {
    let direction = if note.detail & status::REPLY == 0 { "original" } else { "reply" };
    let denied = if note::has_flag(note.detail, action::DENIED) { ", denied" } else { "" };
    format!("{}: {direction}, {}{denied}", note.id, state::name(note.detail & status::STATE))
}

fn answered(what: u32) -> &'static str {
    match what {
        job::ARP => "asked by ARP",
        job::NEIGHBOUR => "asked by neighbour discovery",
        job::ECHO => "an echo request to the router",
        job::ERROR => "the sender is told by an ICMP error",
        _ => "nothing",
    }
}
