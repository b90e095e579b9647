//! The same in the kernel, for fewer sites: host, kernel and reference agree.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result, ensure};
use dataplane_common::{Stop, tables::note};
use sekisho_tests::{
    Lab, answers,
    chance::Chance,
    pair::{self, Pair},
    reference::{Asked, Party},
    trial::{IFINDEX_FIRST, INTERFACES},
    world::Sent,
};

use crate::random_site;

const SITES: u32 = 40;
const QUESTIONS: u16 = 80;
const FLOW_LINES: u32 = 1024;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn the_kernel_does_what_a_site_means() -> Result<()> {
    let lab = Lab::new("model")?;
    let ifindexes: Vec<_> = (IFINDEX_FIRST..IFINDEX_FIRST + INTERFACES).collect();
    pair::interfaces(&lab, &ifindexes)?;
    let place = pair::place(&lab)?;
    lab.dut().in_ns(|| {
        let begin = Instant::now();
        let mut chance = Chance::of_environment();
        let mut refused = 0;
        let (_, first) = random_site(&mut chance, &mut refused);
        let mut pair = Pair::new(place, &first.compiled.image, FLOW_LINES, &ifindexes)?;
        let mut histogram = BTreeMap::new();
        for number in 0..SITES {
            let (spec, trial) = random_site(&mut chance, &mut refused);
            pair.install(&trial.compiled.image)?;
            for at in 0..QUESTIONS {
                let asked = one(&trial, &mut pair, at, &mut chance, &mut histogram);
                asked.with_context(|| format!("site {number}: {}", spec.yaml()))?;
            }
            pair.compare_tables()?;
        }
        histogram.iter().for_each(|(name, count)| println!("{count:8} {name}"));
        println!("{SITES} sites, {:?}", begin.elapsed());
        ensure!(histogram["delivered"] > 100 && histogram["answer delivered"] > 50, "too few");
        Ok(())
    })?
}

fn one(
    trial: &sekisho_tests::trial::Trial,
    pair: &mut Pair,
    at: u16,
    chance: &mut Chance,
    histogram: &mut BTreeMap<&'static str, u32>,
) -> Result<()> {
    let Some(question) = trial.question(chance, at) else { return Ok(()) };
    pair.empty_flows()?;
    let mut send = |sent: Sent| -> Result<_> {
        let agreed = pair.send(&sent)?;
        let told = agreed.notes.iter().find(|noted| noted.what == note::STOP);
        let told = told.map(|noted| Stop::from_number(noted.id));
        Ok((agreed.passed, told))
    };
    let branches = trial.reference().judge(&question, Asked::Both);
    let (passed, told) = send(trial.sent(&question))?;
    let verdict = trial.judge(&branches, &question, &passed, told);
    let branch = verdict.map_err(|why| anyhow::anyhow!("{question:?}: {why}, not {branches:?}"))?;
    let Some((to, mac)) = branch.receiver.filter(|_| branch.stops.is_empty()) else {
        *histogram.entry("stopped or answered").or_default() += 1;
        return Ok(());
    };
    *histogram.entry("delivered").or_default() += 1;
    let mac = mac.filter(|_| matches!(to, Party::Port(_)));
    let reply = question.answer(to, mac);
    let kept = trial.reference().kept(question.from, to);
    let expected = answers::expected(trial, &question, &reply, kept);
    let (passed, told) = send(trial.sent(&reply))?;
    let verdict = trial.judge(&expected, &reply, &passed, told);
    verdict.map_err(|why| anyhow::anyhow!("answer to {question:?}: {why}, not {expected:?}"))?;
    let is_stopped = passed.stop.or(told).is_some();
    *histogram
        .entry(if is_stopped { "answer stopped" } else { "answer delivered" })
        .or_default() += 1;
    Ok(())
}
