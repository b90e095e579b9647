//! Does a counter count what its object did, and nothing of whoever had its number before?

use anyhow::{Result, ensure};
use sekisho_tests::build::ip;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange};
use sekisho_tests::{Lab, Sekisho, process::PATIENCE};

use crate::town::{B_ADDRESSES, Site, Town};

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn nobody_inherits_counters() -> Result<()> {
    let lab = Lab::new("counted")?;
    let town = Town::build(&lab)?;
    let all = Site::town();
    let mut sekisho = Sekisho::start(&lab, &all.0)?;
    let _server = TcpEchoServer::start(&town.blue_b, 7000)?;
    tcp_exchange(&town.blue_a, (ip(B_ADDRESSES[0]), 7000).into(), 100_000, PATIENCE)?;
    ensure!(!ping(&town.red_a, ip("10.0.0.77"), 1, &[])?.all_answered(), "nobody is there");
    ensure!(ping(&town.red_a, ip("10.0.0.1"), 1, &[])?.all_answered(), "the gateway");
    let tally = sekisho.tally()?;
    ensure!(tally.stopped("red", "arp_unanswered") > 0, "{tally:?}");
    ensure!(tally.at("red-a")?.answered.packets > 0, "{tally:?}");

    sekisho.balance()?;
    sekisho.unbalanced("a tenant goes, and its attachments with their counters");

    // A rule and a tenant go, time passes by, and others come.
    let rules = all.without(&["blue-tcp-v4", "blue-tcp-v6"]);
    let (blue, _) = rules.0.split_once("  - name: red").unwrap_or((&rules.0, ""));
    for _ in 0..3 {
        sekisho.change(blue)?;
    }
    let others = all
        .with("id: blue-tcp-v4", "id: fresh-v4")
        .with("id: blue-tcp-v6", "id: fresh-v6")
        .with("name: red", "name: zeta");
    sekisho.change(&others.0)?;
    let tally = sekisho.tally()?;
    ensure!(tally.stopped("zeta", "arp_unanswered") == 0, "zeta inherits {tally:?}");
    let at = tally.at("red-a")?;
    ensure!(at.answered.packets == 0, "red-a inherits {at:?}");
    let counters = sekisho.cli(&["counters", "-o", "json"])?.ok()?;
    let counters: serde_json::Value = serde_json::from_str(&counters)?;
    let rules = counters["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let fresh: Vec<_> = rules
        .iter()
        .filter(|rule| rule["rule"].as_str().is_some_and(|r| r.contains("fresh")))
        .collect();
    ensure!(fresh.len() == 2, "{counters}");
    ensure!(fresh.iter().all(|rule| rule["amount"]["packets"] == 0), "{fresh:?}");
    Ok(())
}
