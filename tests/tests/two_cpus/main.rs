//! Does each packet get what it is due where two CPUs look for flows, make them and judge them at
//! once, while the sweeper takes others away?
//!
//! Both CPUs run the loaded program on frames of ours, so that each verdict is known, and what it
//! had to be. At the end the flow table is looked through: nothing of it may be lost, twice or
//! paid by nobody.

mod cpu;
mod flow;
mod table;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use dataplane_common::{table::flow::FlowKey, wire::protocol::TCP, word::Word64};
use dataplane_user::{
    load::{Barrier, Dataplane, LogLevel, Options, Place, Sizes},
    tables::Image,
};
use sekisho_tests::{Lab, chance::Chance, pair, world::Site};

use cpu::{Cpu, FLOOD_PORTS, Seen, on_both};
use flow::{Ends, SHARED};
use table::{age, are_of_one, grow_old, look_through, sweep};

const FLOW_LINES: u32 = 1 << 15;
/// What a tenant may have, but for a flood: then it has what it has, and so many more.
const QUOTA: u32 = 1 << 16;
const QUOTA_LEFT: u32 = 3000;
/// Longer than two questions are asked at a time.
const LATER_TICKS: u32 = 3000;
/// How often each shared flow changes hands on both CPUs at once.
const TURNS: u32 = 20;
/// Longer than any flow but an established one of TCP lasts.
const LONG_TICKS: u32 = 700_000;
/// Longer than any flow lasts.
const EVER_TICKS: u32 = 500_000_000;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn flows_are_begun_used_and_swept_by_two_cpus_at_once() -> Result<()> {
    let lab = Lab::new("two-cpus")?;
    pair::interfaces(&lab, &pair::ifindexes(&Site::new().world.image))?;
    let place = pair::place(&lab)?;
    lab.dut().in_ns(|| run(place))?
}

fn run(place: Place) -> Result<()> {
    let site = Site::new();
    let sharers = [[site.a, site.b], [site.pair, site.b]];
    let ends = Ends { blue: [site.a, site.b], red: [site.red_a, site.red_b], sharers };
    let mut world = site.world.clone();
    world.permit(site.a, &format!("{SHARED}/32"));
    // So that their flows rest on other rules.
    world.image.endpoints[site.pair.id as usize].policy = site.server;
    let mut image = world.image;
    image.tenants.iter_mut().for_each(|tenant| tenant.flows_max = QUOTA);
    let sizes = Sizes { flow_lines: FLOW_LINES, ..Sizes::default() };
    let (log, barrier) = (LogLevel::Off, Barrier::Any);
    let mut dataplane = Dataplane::load(&Options { place: place.clone(), sizes, log, barrier })?;
    dataplane.install(&image)?;
    let generation = place.generations()?.into_iter().max().context("no programs")?;
    let program = place.programs(generation).join("sekisho_tc");
    let mut sent = BTreeMap::<u32, u64>::new();
    let mut done = |seen: Seen, dataplane: &mut Dataplane, image: &Image| -> Result<()> {
        println!("{:?}", seen.outcomes);
        seen.sent.into_iter().for_each(|(to, count)| *sent.entry(to).or_default() += count);
        let counters = dataplane.counters(image.outputs.len() as u32)?;
        for (&to, count) in &sent {
            let counted = counters[to as usize].sent.packets;
            ensure!(counted == *count, "{count} packets left by {to}, {counted} are counted");
        }
        look_through(dataplane, image, ends)
    };

    // On a busy machine it takes longer than a flow lasts: what is there was used just now.
    let seen = on_both(ends, &program, Cpu::begin, || {
        age(&dataplane, 0, |_| true);
        sweep(&mut dataplane, &image).map(drop)
    })?;
    done(seen, &mut dataplane, &image).context("after the beginning")?;
    // Who goes on after an answer, later, has a conversation: no flood takes that away.
    grow_old(&dataplane, LATER_TICKS);
    let seen = on_both(ends, &program, Cpu::go_on, || Ok(()))?;
    done(seen, &mut dataplane, &image).context("after they went on")?;

    let has = dataplane.flow_table().of_tenant[site.blue as usize].load() as u32;
    image.tenants[site.blue as usize].flows_max = has + QUOTA_LEFT;
    dataplane.install(&image)?;
    let (mut expired, mut crowded_out, mut chance) = (0, 0, Chance::new(3));
    let seen = on_both(ends, &program, Cpu::storm, || {
        let is_flood = |key: &FlowKey| {
            let ports = [key.src_port, key.dst_port].map(u16::from_be_bytes);
            ports.iter().any(|port| FLOOD_PORTS.contains(port))
        };
        age(&dataplane, 0, |key| !is_flood(key));
        age(&dataplane, LONG_TICKS, |key| is_flood(key) && chance.once_in(4));
        let swept = sweep(&mut dataplane, &image)?;
        (expired, crowded_out) = (expired + swept.expired, crowded_out + swept.crowded_out);
        Ok(())
    })?;
    println!("{expired} half-flows expired, {crowded_out} were crowded out");
    ensure!(expired > 1000 && crowded_out > 1000, "the sweeper had little to do");
    ensure!(seen.outcomes.len() == 6 && seen.outcomes.values().all(|count| *count > 100));
    done(seen, &mut dataplane, &image).context("after the flood")?;

    // A tenant that has more than three quarters of its quota gives up what has no answer yet.
    image.tenants[site.blue as usize].flows_max = QUOTA;
    dataplane.install(&image)?;
    age(&dataplane, LONG_TICKS, |key| key.protocol != TCP);
    let seen =
        on_both(ends, &program, Cpu::begin_again, || sweep(&mut dataplane, &image).map(drop))?;
    done(seen, &mut dataplane, &image).context("after the second beginning")?;

    for turn in 0..TURNS {
        let seen = on_both(ends, &program, Cpu::change_hands, || Ok(()))?;
        let looked = done(seen, &mut dataplane, &image);
        looked
            .and_then(|()| are_of_one(&dataplane, &image, ends))
            .with_context(|| format!("turn {turn}"))?;
    }

    age(&dataplane, EVER_TICKS, |_| true);
    let swept = sweep(&mut dataplane, &image)?;
    let left: u64 = dataplane.flow_table().of_tenant.iter().map(Word64::load).sum();
    ensure!((swept.live, left) == (0, 0), "{swept:?}, {left} half-flows are paid for");
    Ok(())
}
