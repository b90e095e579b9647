//! Which connections does Linux hold, and in which state?

use std::{collections::HashMap, fs};

use anyhow::{Context, Result};
use dataplane_common::stage::conntrack::state;
use sekisho_tests::lab::Namespace;

/// Whether it is IPv6, and the opener's port.
pub type Key = (bool, u16);

/// The state of every TCP connection of the namespace, in our numbers.
pub fn read(of: &Namespace) -> Result<HashMap<Key, u32>> {
    // `/proc/net` is that of the process's first thread.
    let path = "/proc/thread-self/net/nf_conntrack";
    let text = of.in_ns(|| fs::read_to_string(path))?.with_context(|| format!("reading {path}"))?;
    let tcp = text.lines().filter(|line| line.split_whitespace().nth(2) == Some("tcp"));
    tcp.map(|line| entry(line).with_context(|| format!("not understood: {line}"))).collect()
}

fn entry(line: &str) -> Option<(Key, u32)> {
    let mut words = line.split_whitespace();
    let is_v6 = words.next()? == "ipv6";
    let state = number(words.nth(4)?)?;
    let port = words.find_map(|word| word.strip_prefix("sport="))?;
    Some(((is_v6, port.parse().ok()?), state))
}

fn number(name: &str) -> Option<u32> {
    let names = [
        ("SYN_SENT", state::SYN_SENT),
        ("SYN_RECV", state::SYN_RECEIVED),
        ("ESTABLISHED", state::ESTABLISHED),
        ("FIN_WAIT", state::FIN_WAIT),
        ("CLOSE_WAIT", state::CLOSE_WAIT),
        ("LAST_ACK", state::LAST_ACK),
        ("TIME_WAIT", state::TIME_WAIT),
        ("CLOSE", state::CLOSED),
        ("SYN_SENT2", state::SYN_SENT_BOTH),
    ];
    names.iter().find(|(own, _)| *own == name).map(|(_, number)| *number)
}

#[test]
fn a_line_is_understood() {
    let line = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.1.0.10 dst=10.2.0.10 sport=7 dport=80 \
                src=10.2.0.10 dst=10.1.0.10 sport=80 dport=7 [ASSURED] mark=0 zone=0 use=2";
    assert_eq!(entry(line), Some(((false, 7), state::ESTABLISHED)));
    assert_eq!(entry("ipv6 10 tcp 6 9 OTHER sport=7"), None);
}
