//! First packets of flows.

use std::{collections::BTreeMap, time::Instant};

use dataplane_common::work::job;
use dataplane_user::tables::HostTables;
use sekisho_tests::{
    answers,
    chance::Chance,
    drive::{forget, send},
    reference::{Asked, Traffic},
    trial::Trial,
};

use crate::{FLOW_LINES, random_site};

const SITES: u32 = 400;
const QUESTIONS: u16 = 120;

#[test]
fn what_a_site_means_is_what_happens() {
    let begin = Instant::now();
    let mut chance = Chance::of_environment();
    let mut refused = 0;
    let mut histogram: BTreeMap<String, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for number in 0..SITES {
        let (spec, trial) = random_site(&mut chance, &mut refused);
        let tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        for at in 0..QUESTIONS {
            let Some(mut question) = trial.question(&mut chance, at) else { continue };
            if chance.once_in(8) {
                question = Trial::dhcp(question, chance.once_in(2));
            }
            forget(&tables);
            let branches = trial.reference().judge(&question, Asked::Both);
            let (passed, told) = send(&tables, &trial.sent(&question));
            let verdict = trial.judge(&branches, &question, &passed, told);
            let name = match (told.or(passed.stop), passed.work.job) {
                (Some(stop), _) => format!("stop {}", stop.name()),
                (None, 0) => "delivered".to_owned(),
                (None, job::PASS) => "passed up".to_owned(),
                (None, _) => "answered".to_owned(),
            };
            *histogram.entry(name).or_default() += 1;
            match verdict {
                Ok(branch) => {
                    if let Some(receiver) = branch.receiver.filter(|_| branch.stops.is_empty()) {
                        let answers =
                            answers::follow(&trial, &tables, &question, receiver, &mut histogram);
                        wrong.extend(answers.err().map(|why| {
                            format!("site {number}, answer to {question:?} by {receiver:?}: {why}")
                        }));
                    }
                }
                Err(why) => {
                    wrong.push(format!("site {number}, {question:?}: {why}, not {branches:?}"));
                }
            }
            if wrong.len() >= 5 {
                println!("{}", spec.yaml());
                panic!("{}", wrong.join("\n"));
            }
        }
        if !wrong.is_empty() {
            println!("{}", spec.yaml());
            panic!("{}", wrong.join("\n"));
        }
    }
    histogram.iter().for_each(|(name, count)| println!("{count:8} {name}"));
    println!("{SITES} sites, {refused} refused, {:?}", begin.elapsed());
    assert!(histogram["stop dhcp_server"] > SITES, "too little DHCP");
    let to_host = histogram["passed up"].min(histogram["stop host_denied"]);
    assert!(to_host > SITES, "too little for the host");
    let by_routers = histogram["router's error delivered, Stateful"];
    assert!(by_routers > SITES / 20, "too little by routers of the mobile network");
    assert!(refused < SITES, "the generator makes too many wrong files");
    assert!(histogram["delivered"] > SITES * u32::from(QUESTIONS) / 20, "too little is delivered");
}

/// What the site means for a packet it means for each piece of it, and a piece whose first
/// does not pass goes nowhere.
#[test]
fn the_pieces_of_a_packet_share_its_lot() {
    let mut chance = Chance::of_environment();
    let (mut refused, mut delivered) = (0, 0);
    for number in 0..SITES / 4 {
        let (spec, trial) = random_site(&mut chance, &mut refused);
        let tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        for at in 0..QUESTIONS {
            let Some(question) = trial.question(&mut chance, at) else { continue };
            if matches!(question.traffic, Traffic::Error { .. }) {
                continue;
            }
            forget(&tables);
            let [first, second] = trial.pieces(&question);
            let wrong = |what: &str| -> ! {
                println!("{}", spec.yaml());
                panic!("site {number}, {question:?}: {what}");
            };
            let leaves = |sent| {
                let (passed, told) = send(&tables, sent);
                let is_kept = passed.work.job == job::PARK;
                let output = (passed.stop.or(told).is_none() && !is_kept)
                    .then_some((passed.work.output, passed.packet.laid_out()[..12].to_vec()));
                (passed, told, output)
            };
            if leaves(&second).2.is_some() {
                wrong("a piece passes before its first");
            }
            let branches = trial.reference().judge(&question, Asked::Both);
            let (passed, told, output) = leaves(&first);
            if let Err(why) = trial.judge(&branches, &question, &passed, told) {
                wrong(&format!("its first piece: {why}, not {branches:?}"));
            }
            // Of what goes up to the host only the first piece does.
            let is_hosts = passed.work.job == job::PASS;
            let output = output.filter(|_| !is_hosts);
            if leaves(&second).2 != output {
                wrong("its pieces part");
            }
            delivered += u32::from(output.is_some());
        }
    }
    println!("{delivered} delivered in pieces");
    assert!(delivered > SITES / 4 * u32::from(QUESTIONS) / 20, "too little is delivered");
}
