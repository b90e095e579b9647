//! What is for many: broadcast and multicast, and announcements of what several may have.

use std::{collections::BTreeMap, time::Duration};

use dataplane_user::tables::HostTables;
use sekisho_tests::{
    chance::Chance,
    drive::{forget, send},
    reference::Asked,
    trial::Trial,
};

use crate::{FLOW_LINES, random_site};

const SITES: u32 = 100;
const SHOUTS: u16 = 60;
const ANNOUNCEMENTS: u32 = 20;
const QUESTIONS: u16 = 12;

#[test]
fn those_get_it_who_may() {
    let mut chance = Chance::of_environment();
    let mut refused = 0;
    let mut histogram: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..SITES {
        let (spec, trial) = random_site(&mut chance, &mut refused);
        let tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        for at in 0..SHOUTS {
            let Some(shout) = trial.shout(&mut chance, at) else { continue };
            let (flood, sent) = (trial.reference().flood(&shout), trial.shouted(&shout));
            let (passed, told) = send(&tables, &sent);
            if let Err(why) = trial.judge_flood(&flood, &sent, &passed, told) {
                println!("{}", spec.yaml());
                panic!("site {number}, {shout:?}: {why}, not {flood:?}");
            }
            let name = passed.stop.or(told).map_or_else(
                || format!("{} copies", passed.packet.copies().len()),
                |stop| format!("stop {}", stop.name()),
            );
            *histogram.entry(name).or_default() += 1;
        }
    }
    histogram.iter().for_each(|(name, count)| println!("{count:8} {name}"));
    let often = |name: &str| {
        assert!(histogram.get(name).is_some_and(|count| *count > 50), "{name} is rare");
    };
    ["1 copies", "2 copies", "stop egress_denied", "stop dhcp_server", "stop spoofed_address"]
        .into_iter()
        .for_each(often);
}

#[test]
fn an_address_of_several_is_the_last_announcers() {
    let mut chance = Chance::of_environment();
    let (mut refused, mut news, mut reached) = (0, 0, 0);
    for number in 0..SITES {
        let (spec, mut trial) = random_site(&mut chance, &mut refused);
        let mut tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        for _ in 0..ANNOUNCEMENTS {
            let Some(said) = trial.announces(&mut chance) else { break };
            let wrong = |what: &str| -> ! {
                println!("{}", spec.yaml());
                panic!("site {number}, {said:?}: {what}");
            };
            // Its rate is not judged here.
            tables.pass(Duration::from_secs(1));
            let (flood, sent) = (trial.reference().announce(&said), trial.announcement(&said));
            let is_told = flood.stops.is_empty();
            let is_news = is_told && trial.reference().is_news(&said);
            let (passed, told) = send(&tables, &sent);
            if let Err(why) = trial.judge_flood(&flood, &sent, &passed, told) {
                wrong(&format!("{why}, not {flood:?}"));
            }
            let heard = tables.take_heard();
            if heard.len() != usize::from(is_told) {
                wrong(&format!("the daemon heard {heard:?}"));
            }
            if !is_news {
                continue;
            }
            news += 1;
            trial = trial.announced(&said);
            tables.replace(trial.compiled.image.clone());
            reached += to_the_address(&trial, &tables, said.address, &mut chance)
                .unwrap_or_else(|why| wrong(&why));
        }
    }
    println!("{news} announcements were news, {reached} packets reached who made them");
    assert!(news > 30 && reached > 10, "too few");
}

/// Packets to the address; answers how many arrived.
fn to_the_address(
    trial: &Trial,
    tables: &HostTables,
    address: std::net::IpAddr,
    chance: &mut Chance,
) -> Result<u32, String> {
    let mut reached = 0;
    for at in 0..QUESTIONS {
        let Some(mut question) = trial.question(chance, at) else { continue };
        if question.src.is_ipv4() != address.is_ipv4() {
            continue;
        }
        question.dst = address;
        forget(tables);
        let branches = trial.reference().judge(&question, Asked::Both);
        let (passed, told) = send(tables, &trial.sent(&question));
        let verdict = trial.judge(&branches, &question, &passed, told);
        let branch = verdict.map_err(|why| format!("{question:?}: {why}, not {branches:?}"))?;
        reached += u32::from(branch.stops.is_empty() && branch.receiver.is_some());
    }
    Ok(reached)
}
