//! Does a change hold for connections that are established: is what is revoked cut, is what is
//! granted again revived, and is nothing else touched?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use sekisho_tests::build::ip;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpConn, TcpEchoServer, tcp_exchange};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::town::{B_ADDRESSES, Site, Town, judged};

/// One connection in each family.
pub struct Connections(pub Vec<TcpConn>);

impl Connections {
    pub fn open(town: &Town) -> Result<Self> {
        Self::open_at(town, 7000)
    }

    pub fn open_at(town: &Town, port: u16) -> Result<Self> {
        let open = |to| TcpConn::open(&town.blue_a, &town.blue_b, (ip(to), port).into());
        let mut both = Self(B_ADDRESSES.into_iter().map(open).collect::<Result<_>>()?);
        both.alive()?;
        Ok(both)
    }

    pub fn alive(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(TcpConn::expect_alive)
    }

    /// The client speaks, and is not heard.
    pub fn cut_to_server(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(TcpConn::send_to_server)?;
        self.0.iter().try_for_each(TcpConn::expect_cut_to_server)
    }

    /// The server speaks, and is not heard.
    pub fn cut_to_client(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(TcpConn::send_to_client)?;
        self.0.iter().try_for_each(TcpConn::expect_cut_to_client)
    }

    /// What was said meanwhile is heard, and the same connections go on.
    pub fn revived(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(TcpConn::expect_delivered)?;
        self.alive()
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_removed_rule_cuts_connections_and_the_rule_back_revives_them() -> Result<()> {
    let lab = Lab::new("cut")?;
    let town = Town::build(&lab)?;
    let all = Site::town();
    let sekisho = Sekisho::start(&lab, &all.0)?;
    let captures = [Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?];
    let mut connections = Connections::open(&town)?;

    // Of the receiver's rules, and of the sender's: the reason tells which.
    let receivers = all.without(&["blue-tcp-v4", "blue-tcp-v6"]);
    let senders = all.with("security_groups: [client]", "security_groups: []");
    for (less, reason) in [(&receivers, "ingress_denied"), (&senders, "egress_denied")] {
        let before = sekisho.tally()?;
        sekisho.change(&less.0)?;
        connections.cut_to_server().context(reason)?;
        assert!(sekisho.tally()?.since(&before)?.stopped("blue", reason) >= 2, "{reason}");
        sekisho.change(&all.0)?;
        // The rule back is another one: what the first permitted names none until it is judged.
        for flow in sekisho.flows()? {
            let rules = [&flow.egress_rule, &flow.ingress_rule].into_iter().flatten();
            assert!(rules.into_iter().all(|rule| rule != "?"), "{flow:?}");
        }
        connections.revived().context(reason)?;

        // The next packet is the reply of a connection that may no longer be.
        let before = sekisho.tally()?;
        sekisho.change(&less.0)?;
        connections.cut_to_client().context(reason)?;
        let tally = sekisho.tally()?.since(&before)?;
        assert!(tally.stopped("blue", reason) >= 2, "{reason}: {tally:?}");
        sekisho.change(&all.0)?;
        connections.revived().context(reason)?;
    }
    captures.into_iter().try_for_each(judged)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_unrelated_change_cuts_nothing() -> Result<()> {
    let lab = Lab::new("unrelated")?;
    let town = Town::build(&lab)?;
    let all = Site::town();
    let others = [
        // The other tenant's rules and ports.
        all.without(&["red-tcp-v4", "red-tcp-v6"]),
        all.without(&["interface: red-b"]),
        // A group of the same tenant that this connection has nothing to do with, and one of
        // its own, in a rule that it does not rest on.
        all.with("interface: blue-c, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.30, \"fd00::30\"], security_groups: [client]", "interface: blue-c, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.30, \"fd00::30\"], security_groups: [server]"),
        all.without(&["blue-echo-v4"]),
    ];
    let sekisho = Sekisho::start(&lab, &all.0)?;
    let _server = TcpEchoServer::start(&town.blue_b, 7000)?;
    let mut connections = Connections::open_at(&town, 7001)?;

    let changes = others.len() * 2;
    let before = sekisho.tally()?;
    let done = AtomicBool::new(false);
    let transfers = thread::scope(|scope| -> Result<u32> {
        let transfers = scope.spawn(|| -> Result<u32> {
            let mut count = 0;
            // As many as the changes take, and at least one of each family after the last.
            loop {
                let last = done.load(Ordering::Acquire) || count > 1000;
                for to in B_ADDRESSES.map(ip) {
                    tcp_exchange(&town.blue_a, (to, 7000).into(), 3_000_000, PATIENCE)?;
                    count += 1;
                }
                if last {
                    return Ok(count);
                }
            }
        });
        let mut changed = Ok(());
        for other in &others {
            changed = changed.and_then(|()| sekisho.change(&other.0));
            changed = changed.and_then(|()| sekisho.change(&all.0));
        }
        done.store(true, Ordering::Release);
        let transfers = transfers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        changed.and(transfers)
    })?;
    println!("{transfers} transfers of 3 MB through {changes} changes");

    connections.alive()?;
    let tally = sekisho.tally()?.since(&before)?;
    // Not one packet was stopped: a retransmission would have hidden it from the transfer.
    for reason in ["ingress_denied", "egress_denied", "connection_state", "spoofed_address"] {
        assert_eq!(tally.stopped("blue", reason), 0, "{tally:?}");
    }
    assert!(tally.at("blue-b")?.sent.bytes > u64::from(transfers) * 3_000_000, "{tally:?}");

    let captures = [Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?];
    connections.alive()?;
    captures.into_iter().try_for_each(judged)
}
