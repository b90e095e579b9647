//! Random packets, on which host and kernel agree in everything.

use std::time::Instant;

use anyhow::{Context, Result};
use dataplane_common::Stop;
use sekisho_tests::{
    chance::Chance,
    pair::{self, Pair},
    throng::Throng,
    world::Site,
};

use crate::{branches::Histogram, changes::Changing};

/// So many packets unless `SEKISHO_PACKETS` says otherwise.
const PACKETS: u64 = 600_000;
/// All tables are compared after so many packets.
const COMPARED_EVERY: u64 = 250;
/// And another version of the site is put into force, as often as not.
const CHANGED_EVERY: u64 = 1500;
/// Sometimes the twin is asked before.
const TRACED_ONE_IN: usize = 100;
const FLOW_LINES: u32 = 1024;
/// How often everything that can happen happens.
const OFTEN: u64 = 100;

/// Stops that BPF_PROG_TEST_RUN of the entry programs cannot reach, and why.
const OUT_OF_REACH: &[(Stop, &str)] = &[
    (Stop::FragmentQuota, "so many datagrams are not under way at once (a row makes them)"),
    (Stop::FragmentTableFull, "the shares of a few tenants do not fill the table"),
    (Stop::ResizeRefused, "no helper refuses: there is always room"),
    (Stop::DeliveryMissing, "of the delivering program, which only a NIC's tcx enters"),
    (Stop::TxRefused, "of the kernel, after the program has decided"),
    (Stop::StageMissing, "the loader fills the program arrays before anything runs"),
];

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn host_and_kernel_agree_on_random_packets() -> Result<()> {
    let packets = std::env::var("SEKISHO_PACKETS").ok().and_then(|count| count.parse().ok());
    let packets = packets.unwrap_or(PACKETS);
    let begin = Instant::now();
    let histogram = run(packets, None)?;
    histogram.print();
    println!("{:?}", begin.elapsed());
    if packets < PACKETS {
        return Ok(());
    }
    assert!(histogram.left * 10 >= histogram.packets * 3, "too few packets leave");
    let is_reached = |stop: &&Stop| !OUT_OF_REACH.iter().any(|(other, _)| *stop == other);
    let rare: Vec<_> = Stop::ALL
        .iter()
        .filter(is_reached)
        .filter(|stop| histogram.stops(stop.name()) < OFTEN)
        .collect();
    assert!(rare.is_empty(), "rare stops: {rare:?}");
    let rare = histogram.rare(BRANCHES.lines(), OFTEN);
    assert!(rare.is_empty(), "rare branches: {rare:#?}");
    Ok(())
}

/// A control: where the host does not know one rule, the comparison says so.
#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_difference_is_found() -> Result<()> {
    // The first rule of the first policy: a may send IPv4.
    let error = match run(20_000, Some(1)) {
        Ok(_) => panic!("a rule that one side does not know makes no difference"),
        Err(error) => format!("{error:?}"),
    };
    let is_found = ["the host stops it", "counted differently"].iter().any(|of| error.contains(of));
    assert!(is_found, "{error}");
    Ok(())
}

fn run(packets: u64, forgotten_rule: Option<u32>) -> Result<Histogram> {
    let mut histogram = Histogram::default();
    let counted = &mut histogram;
    // Labs of one process have different names.
    let name = if forgotten_rule.is_some() { "agree-control" } else { "agree" };
    pair::with(name, FLOW_LINES, move |site, pair| {
        if let Some(rule) = forgotten_rule {
            pair.forget_rule(rule);
        }
        go_on(site, pair, packets, counted)
    })?;
    Ok(histogram)
}

fn go_on(site: &Site, pair: &mut Pair, packets: u64, histogram: &mut Histogram) -> Result<()> {
    let mut chance = Chance::of_environment();
    let mut throng = Throng::new(site, Chance::new(chance.any()));
    let mut changing = Changing::new(site);
    let mut image = changing.image();
    pair.install(&image)?;
    let mut most_flows = 0;
    for number in 0..packets {
        if number % CHANGED_EVERY == 0 && number > 0 {
            image = changing.next_image(&mut chance);
            pair.install(&image).context("installing")?;
            pair.read_parked()?;
            match chance.below(6) {
                0 => pair.empty_flows()?,
                1 => pair.silence()?,
                _ => pair.refill()?,
            }
            // Many short conversations fill the table.
            throng.ports = if chance.once_in(4) { 5000 } else { 40 };
        }
        let sent = throng.next_packet();
        let is_traced = chance.once_in(TRACED_ONE_IN);
        let agreed = if is_traced { pair.trace_then_send(&sent) } else { pair.send(&sent) };
        let agreed = agreed.with_context(|| format!("packet {number}"))?;
        histogram.count(sent.hook, &image, &agreed);
        if number % COMPARED_EVERY == 0 {
            let flows = pair.compare_tables().with_context(|| format!("after packet {number}"))?;
            most_flows = most_flows.max(flows);
        }
    }
    pair.compare_tables().context("at the end")?;
    println!("at most {most_flows} half-flows in force");
    Ok(())
}

/// What happens often, beside the stops: a line each, as [`Histogram`] names it.
const BRANCHES: &str = include_str!("branches.txt");
