//! Does a daemon that is killed again and again lose anything: a packet, a flow, a counter?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::Frame;
use sekisho_tests::chance::Chance;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::cut::Connections;
use crate::town::{A, A_ADDRESSES, B_ADDRESSES, ROUTER, Site, Town, contains, judged};

const KILLS: usize = 20;
/// Longer than a start takes on a busy machine, so that some kills come after it.
const LIFE_MS_MAX: usize = 3000;
/// What permits the datagrams.
const RULE: &str = "blue/server/blue-udp-v4";
/// How often the daemon takes counters over.
const SWEEP: Duration = Duration::from_secs(1);
const DATAGRAMS_MAX: u32 = 50_000;
const MARKER: &[u8] = b"one of many ";

/// Sends numbered datagrams until told to stop; answers how many.
fn send(from: &Host, done: &AtomicBool) -> Result<u32> {
    let mut sent = 0;
    while !done.load(Ordering::Acquire) && sent < DATAGRAMS_MAX {
        let payload = [MARKER, &sent.to_be_bytes()].concat();
        let frame = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]).udp(4000, 7001);
        from.send_frame(&frame.payload(&payload).build())?;
        sent += 1;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(sent)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn twenty_kills_lose_nothing() -> Result<()> {
    let lab = Lab::new("kills")?;
    let town = Town::build(&lab)?;
    // What changes has nothing to do with the traffic, so that each start has something to do.
    let sites = [Site::town(), Site::town().without(&["red-tcp-v4", "red-echo-v6"])];
    let mut sekisho = Sekisho::start(&lab, &sites[0].0)?;
    let at_b = Capture::start(&town.blue_b)?;
    let mut connections = Connections::open(&town)?;
    let mut chance = Chance::of_environment();

    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| -> Result<u32> {
        let sender = scope.spawn(|| send(&town.blue_a, &done));
        let mut killed = sekisho.kill();
        for number in 0..KILLS {
            let life = Duration::from_millis(chance.below(LIFE_MS_MAX) as u64);
            // Every other start is by what the one before has put in force.
            let replaced = |sekisho: &Sekisho<'_>| match number % 2 {
                0 => sekisho.replace(&sites[number / 2 % 2].0),
                _ => Ok(()),
            };
            killed = killed
                .and_then(|()| replaced(&sekisho))
                .and_then(|()| sekisho.live_for(life))
                .and_then(|()| connections.alive())
                .with_context(|| format!("kill {number}, after {life:?}"));
        }
        done.store(true, Ordering::Release);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        killed.and(sent)
    })?;

    sekisho.start_again().context("after the last kill")?;
    connections.alive().context("after the last start")?;
    let last = [MARKER, &(sent - 1).to_be_bytes()].concat();
    at_b.wait_for(PATIENCE, |seen| contains(&seen.bytes, &last)).context("the last datagram")?;
    let arrived = at_b.count(|seen| contains(&seen.bytes, MARKER));
    println!("{sent} datagrams through {KILLS} kills, {arrived} arrived");
    ensure!(arrived == sent as usize, "{sent} sent, {arrived} arrived");
    let flows = sekisho.flows()?;
    let of = |flow: &&dataplane_user::view::Flow| {
        flow.tenant == "blue" && flow.ports == Some([4000, 7001])
    };
    let flow = flows.iter().find(of).context("the datagrams' flow")?;
    ensure!(flow.amount.packets == u64::from(sent), "{sent} sent, counted {flow:?}");
    // The rule's counter took them over from the flow, each once, in whichever life; and what was
    // answered to them, ICMP errors that nobody listens.
    let of_rule = flows.iter().filter(|flow| flow.ingress_rule.as_deref() == Some(RULE));
    let carried: u64 = of_rule.map(|flow| flow.amount.packets).sum();
    ensure!(carried >= u64::from(sent), "{sent} sent, {carried} carried");
    let deadline = Instant::now() + PATIENCE;
    while sekisho.rule(RULE)?.packets < carried && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    thread::sleep(2 * SWEEP);
    let counted = sekisho.rule(RULE)?.packets;
    println!("{carried} carried by the rule's flows, {counted} counted by the rule");
    ensure!(counted == carried, "{carried} carried, the rule counted {counted}");
    judged(at_b)
}
