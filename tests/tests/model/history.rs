//! Does the past count? A packet that may open a flow is judged as if there had been none
//! before it, whatever was in force and whoever was there in between.

use std::collections::BTreeMap;

use dataplane_common::{Stop, Tables};
use dataplane_user::{check::check, tables::HostTables};
use sekisho_tests::{
    chance::Chance, drive::send, pair::Watched, reference::Traffic, sites::Spec, trial::Trial,
    world::Sent,
};

use crate::random_site;

const SITES: u32 = 150;
/// Versions of a site one after the other.
const VERSIONS: u32 = 12;
/// New packets that are tried in each version; those of the versions before are sent again.
const QUESTIONS: u16 = 60;
const FLOW_LINES: u32 = 4096;

#[test]
fn a_flow_of_the_past_permits_nothing() {
    let mut chance = Chance::of_environment();
    let mut refused = 0;
    let mut compared = BTreeMap::<&str, u32>::new();
    for number in 0..SITES {
        // Sites that have nothing to do with each other follow upon each other as well, and
        // come again: then numbers are taken over by other objects.
        let mut others = Vec::new();
        while others.len() < 2 {
            others.push(random_site(&mut chance, &mut refused).0);
        }
        let (mut spec, mut trial) = random_site(&mut chance, &mut refused);
        others.push(spec.clone());
        let mut tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        let mut packets = Vec::new();
        for version in 0..VERSIONS {
            if version > 0 {
                let next = another(&spec, &others, &mut chance);
                let Some(site) = check(&next.yaml()).site else { continue };
                (spec, trial) = (next, Trial::new(site, Some(&trial)));
                tables.replace(trial.compiled.image.clone());
            }
            let fresh = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
            for _ in 0..QUESTIONS {
                let Some(sent) = opening(&trial, &mut chance, packets.len() as u16) else {
                    continue;
                };
                // Most packets leave nowhere; those that do have more to tell.
                if outcome(&fresh, &sent).0.is_none() || chance.once_in(10) {
                    packets.push(sent);
                }
            }
            for sent in &packets {
                if chance.once_in(3) {
                    // What is not asked for stays as it was.
                    continue;
                }
                let (with, without) = (outcome(&tables, sent), outcome(&fresh, sent));
                if with.0 == Some(Stop::FlowQuota) {
                    // The past may use up a tenant's share.
                    continue;
                }
                assert_eq!(
                    with,
                    without,
                    "site {number}, version {version}, {sent:02x?}\n{}",
                    spec.yaml()
                );
                *compared.entry(if with.0.is_none() { "leaves" } else { "stops" }).or_default() +=
                    1;
            }
        }
    }
    println!("{SITES} sites: {compared:?}");
    assert!(["leaves", "stops"].into_iter().all(|end| compared[end] > 1000), "{compared:?}");
}

/// A change of the site, one of its tenants gone, or another site altogether.
fn another(spec: &Spec, others: &[Spec], chance: &mut Chance) -> Spec {
    let mut next = spec.clone();
    match chance.below(4) {
        0 => next = chance.of(others).clone(),
        1 if next.tenants.len() > 1 => {
            next.tenants.remove(chance.below(next.tenants.len()));
        }
        _ => next.change(chance),
    }
    next
}

/// A datagram: it may open a flow in any state.
fn opening(trial: &Trial, chance: &mut Chance, number: u16) -> Option<Sent> {
    let question = trial.question(chance, number)?;
    let is_datagram = matches!(question.traffic, Traffic::Ports { protocol: 17, .. });
    is_datagram.then(|| trial.sent(&question))
}

/// Why it stops, or by which interface it leaves.
fn outcome(tables: &HostTables, sent: &Sent) -> (Option<Stop>, u32) {
    let (passed, told) = send(tables, sent);
    let stop = passed.stop.or(told);
    let output = Watched::new(tables, None).output(passed.work.output).map_or(0, |out| out.ifindex);
    (stop, if stop.is_none() { output } else { 0 })
}
