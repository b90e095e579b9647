//! Does it matter at once who is a member?

use anyhow::{Context, Result};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::cut::Connections;
use crate::town::{Site, Town, judged};

/// The server is open to members of `friends` alone, of which the client is one.
fn members() -> Site {
    let rule = |id, more| {
        format!(
            "          - {{id: {id}, direction: ingress, protocol: tcp, port_range_min: 7000, port_range_max: 7009, {more}}}"
        )
    };
    let rules = [
        rule("friends-v4", "remote_group: friends"),
        rule("friends-v6", "ethertype: IPv6, remote_group: friends"),
    ];
    Site::town()
        .without(&["blue-tcp-v4", "blue-tcp-v6"])
        .after("id: blue-udp-v6", &rules.join("\n"))
        .with(GROUPS, &format!("{GROUPS}\n      - name: friends"))
}

/// Where the groups of both tenants begin.
const GROUPS: &str = "    security_groups:";

const A_PORT: &str = "interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, \"fd00::10\"], security_groups: [client";

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_member_that_leaves_is_cut_and_one_that_joins_is_let_in() -> Result<()> {
    let lab = Lab::new("members")?;
    let town = Town::build(&lab)?;
    let left = members();
    let joined = left.with(A_PORT, &format!("{A_PORT}, friends"));
    let sekisho = Sekisho::start(&lab, &joined.0)?;
    let captures = [Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?];
    let mut connections = Connections::open(&town)?;

    sekisho.change(&left.0)?;
    let before = sekisho.tally()?;
    connections.cut_to_server()?;
    assert!(sekisho.tally()?.since(&before)?.stopped("blue", "ingress_denied") >= 2);
    sekisho.change(&joined.0)?;
    connections.revived().context("joined again")?;

    // The server's answers stop as well.
    sekisho.change(&left.0)?;
    connections.cut_to_client()?;
    sekisho.change(&joined.0)?;
    connections.revived().context("joined again")?;

    // Another member that comes and goes is nobody's business but its own.
    let c = "interface: blue-c, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.30, \"fd00::30\"], security_groups: [client";
    let before = sekisho.tally()?;
    sekisho.change(&joined.with(c, &format!("{c}, friends")).0)?;
    connections.alive()?;
    sekisho.change(&joined.0)?;
    connections.alive()?;
    assert_eq!(sekisho.tally()?.since(&before)?.stopped("blue", "ingress_denied"), 0);
    captures.into_iter().try_for_each(judged)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_address_group_counts_as_it_is_now() -> Result<()> {
    let lab = Lab::new("addresses")?;
    let town = Town::build(&lab)?;
    let group = |addresses: &str| {
        let group =
            format!("    address_groups:\n      - {{name: friends, addresses: [{addresses}]}}");
        members()
            .with("remote_group: friends", "remote_address_group: friends")
            .with(GROUPS, &format!("{group}\n{GROUPS}"))
    };
    let inside = group("10.0.0.0/28, \"fd00::10\", 192.0.2.0/24");
    let outside = group("10.0.0.11, 10.0.0.8/31, \"fd00::11\", 192.0.2.0/24");
    let sekisho = Sekisho::start(&lab, &inside.0)?;
    let captures = [Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?];
    let mut connections = Connections::open(&town)?;

    sekisho.change(&outside.0)?;
    connections.cut_to_server()?;
    sekisho.change(&inside.0)?;
    connections.revived()?;
    sekisho.change(&outside.0)?;
    connections.cut_to_client()?;
    sekisho.change(&inside.0)?;
    connections.revived()?;
    captures.into_iter().try_for_each(judged)
}
