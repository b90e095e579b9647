//! The demo: does a small site do what its file says, with real programs' traffic?
//!
//! It reads from the top: build the hosts, start `sekisho`, let everybody try to reach
//! everybody, and show what the operator can see of it.

mod matrix;
mod probe;
mod server;

use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::lab::{Host, Lab};
use crate::plug::{self, Hosts};
use crate::process::Output;
use crate::sekisho::Sekisho;

use matrix::{ROWS, Row, TARGETS};
use probe::Sender;
use server::Server;

/// The site that is shown.
const SITE: &str = include_str!("../../examples/demo.yaml");

/// What answers on TCP 80 and UDP 53 with its name: the host, the name, the address.
const SERVERS: [(&str, &str, &str); 8] = [
    ("blue-pc", "blue-pc", "10.0.0.10"),
    ("blue-db", "blue-db", "10.0.0.20"),
    ("blue-web", "blue-web", "192.0.2.2"),
    ("blue-web", "blue-web", "2001:db8:1::2"),
    ("red-pc", "red-pc", "10.0.0.10"),
    ("red-db", "red-db", "10.0.0.20"),
    ("mobile", "robot", "100.64.0.1"),
    ("internet", "outside", "198.51.100.1"),
];

/// What the host behind the mobile network needs beyond its own address: the three lines'
/// addresses, the way to us, and that lines reach each other by that way and not inside it.
const MOBILE: [&str; 12] = [
    "address add 100.64.0.1/32 dev eth0",
    "address add 100.64.0.2/32 dev eth0",
    "address add 100.64.0.3/32 dev eth0",
    "address add 2001:db8:ac::1/64 dev eth0",
    "address add 2001:db8:64:1::1/128 dev eth0",
    "address add 2001:db8:64:2::1/128 dev eth0",
    "address add 2001:db8:64:3::1/128 dev eth0",
    "route add default via 2001:db8:ac::2 dev eth0",
    "route add 100.64.0.1 via 172.16.0.2 dev eth0 table 100",
    "rule add pref 2 lookup local",
    "rule add pref 1 to 100.64.0.1 iif lo lookup 100",
    "rule delete pref 0",
];

/// It asks for neighbours from its own address, whichever line wants to send, and takes
/// packets from one line to another as they are.
const MOBILE_SETTINGS: [(&str, &str); 2] =
    [("ipv4/conf/all/arp_announce", "2"), ("ipv4/conf/all/accept_local", "1")];

/// Questions that the operator might ask afterwards.
const QUESTIONS: [&[&str]; 5] = [
    &["sessions"],
    &["counters"],
    &["drops"],
    &["trace", "--port", "blue/pc", "--to", "192.0.2.2", "--proto", "tcp", "--dport", "80"],
    &["trace", "--line", "+819012345602", "--to", "192.0.2.2", "--proto", "tcp", "--dport", "80"],
];

/// Shows it all; answers whether everything was as expected.
pub fn run() -> Result<bool> {
    let start = Instant::now();
    say("building the site of examples/demo.yaml in network namespaces of its own");
    let lab = Lab::new("demo")?;
    let hosts = plug::hosts(&lab, SITE)?;
    let mobile = host(&hosts, "mobile")?;
    for (key, value) in MOBILE_SETTINGS {
        mobile.sysctl(key, value)?;
    }
    for command in MOBILE {
        let words: Vec<_> = ["ip"].into_iter().chain(command.split(' ')).collect();
        mobile.run(&words)?.ok()?;
    }

    say("sekisho run --config examples/demo.yaml");
    let sekisho = Sekisho::start(&lab, SITE)?;
    let _servers = SERVERS
        .into_iter()
        .map(|(at, name, address)| Server::start(host(&hosts, at)?, name, address))
        .collect::<Result<Vec<_>>>()?;

    say("who answers? everybody pings (p) every address, and asks by TCP (t) and UDP (u)\n");
    let found = ask_everybody(&hosts)?;
    let wrong = matrix::show(&found);

    for question in QUESTIONS {
        say(&format!("sekisho {}", question.join(" ")));
        println!("{}", sekisho.cli(question).and_then(Output::ok)?);
    }
    say("sekisho detach");
    drop(sekisho);
    println!("\nthe demo took {:.1} s", start.elapsed().as_secs_f64());
    Ok(wrong == 0)
}

fn say(what: &str) {
    println!("\n# {what}");
}

fn host<'h>(hosts: &'h Hosts, name: &str) -> Result<&'h Host> {
    hosts.get(name).with_context(|| format!("the site names no interface {name}"))
}

/// All at once, since what is not answered takes seconds to find out.
fn ask_everybody(hosts: &Hosts) -> Result<Vec<Vec<probe::Found>>> {
    let row = |row: &Row| -> Result<Vec<probe::Found>> {
        let sender = Sender { host: host(hosts, row.host)?, v4: row.v4, v6: row.v6 };
        thread::scope(|scope| {
            let asked: Vec<_> = TARGETS
                .iter()
                .zip(&row.expected)
                .map(|(target, expected)| {
                    scope.spawn(move || probe::ask(&sender, target, expected))
                })
                .collect();
            asked.into_iter().map(join).collect()
        })
    };
    thread::scope(|scope| {
        let rows: Vec<_> = ROWS.iter().map(|of| scope.spawn(move || row(of))).collect();
        rows.into_iter().map(join).collect()
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
