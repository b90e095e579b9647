//! Does it add up? Every packet that a host sends is forwarded, answered, or stopped for exactly
//! one reason; what is said to have left did arrive, or was refused by the kernel.
//!
//! A [`Sekisho`] opens a ledger when it first runs and closes it when it is dropped, so every
//! story ends with the balance and none can forget it. Where a story takes counters away (an
//! attachment goes, the daemon is not to be asked any more), it says so
//! ([`Sekisho::unbalanced`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use dataplane_user::view::AttachmentCounters;

use crate::lab::{Lab, enter};
use crate::process::PATIENCE;
use crate::sekisho::{Sekisho, Tally};

/// What becomes of a packet that came in, if it is not stopped.
const FATES: [fn(&AttachmentCounters) -> u64; 6] = [
    |at| at.sent.packets,
    |at| at.passed.packets,
    |at| at.parked.packets,
    |at| at.answered.packets,
    |at| at.heard.packets,
    |at| at.flooded.packets,
];
/// What is sent to whoever is behind an attachment: packets and bytes.
const GIVEN: [fn(&AttachmentCounters) -> [u64; 2]; 4] = [
    |at| [at.sent.packets, at.sent.bytes],
    |at| [at.copied.packets, at.copied.bytes],
    |at| [at.answered.packets, at.answered.bytes],
    |at| [at.reported.packets, at.reported.bytes],
];
/// Stops of packets that belong to no attachment.
const UNATTACHED: [&str; 2] = ["no_attachment", "tag_unsupported"];
/// Not one of a packet that came in, but of one that had left.
const LEFT: &str = "tx_refused";
/// Headers that a segment has of its own, bytes: UDP in IPv4 at least, TCP with options and tag in
/// IPv6 at most.
const HEADERS: [u64; 2] = [14 + 20 + 8, 18 + 40 + 60];

const ETHERNET_BYTES: u64 = 14;
const TAG_BYTES: u64 = 4;

/// Counters of both sides at a moment in which nothing was under way.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Ours.
    pub tally: Tally,
    /// By the interface at the device: what the host behind it sent and received.
    pub hosts: BTreeMap<String, Traffic>,
}

/// Packets and bytes that a host's end of a cable counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// It sent.
    pub sent: [u64; 2],
    /// It received.
    pub received: [u64; 2],
}

impl Moment {
    /// Waits for such a moment.
    pub fn take(lab: &Lab, sekisho: &Sekisho<'_>) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = hosts(lab);
            let tally = sekisho.tally()?;
            thread::sleep(Duration::from_millis(20));
            let again = sekisho.tally()?;
            let after = hosts(lab);
            if before == after && tally == again {
                return Ok(Self { tally, hosts: after });
            }
            ensure!(Instant::now() < deadline, "the hosts are never quiet");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Between two moments everything has to add up, but that on these shared NICs the host may say
/// more; answers what was counted.
pub fn balance(before: &Moment, after: &Moment, shared: &[&str]) -> Result<Tally> {
    let tally = after.tally.since(&before.tally)?;
    let sum =
        |of: fn(&AttachmentCounters) -> u64| -> u64 { tally.attachments().iter().map(of).sum() };
    let stops = |of: &dyn Fn(&str) -> bool| -> u64 {
        tally.stops().filter(|(_, reason, _)| of(reason)).map(|(.., packets)| packets).sum()
    };
    let is_unattached = |reason: &str| UNATTACHED.contains(&reason);
    let received = sum(|at| at.received.packets);
    let gone = FATES.map(sum).iter().sum::<u64>()
        + stops(&|reason| reason != LEFT && !is_unattached(reason));
    ensure!(received == gone, "{received} received, {gone} accounted for: {tally:?}");
    let refused: u64 = tally.refused().values().sum();
    ensure!(refused == stops(&|reason| reason == LEFT), "refused, but not so stopped: {tally:?}");

    let (mut missing, unattached) = (0, stops(&is_unattached));
    for (interface, now) in &after.hosts {
        // A host that came later began with nothing.
        let then = before.hosts.get(interface).copied().unwrap_or_default();
        let counted = |of: &dyn Fn(&AttachmentCounters) -> [u64; 2]| {
            let here = tally.attachments().iter().filter(|at| at.interface == *interface);
            here.map(of).fold([0; 2], |[a, b], [c, d]| [a + c, b + d])
        };
        let here =
            |what: &str| format!("{what} {interface}: {then:?} then, {now:?} now, {tally:?}");
        // What was parked comes in again.
        let came = counted(&|at| {
            let (all, again) = (at.received, at.parked);
            [all.packets - again.packets, all.bytes - again.bytes]
        });
        let sent = less(now.sent, then.sent).with_context(|| here("a counter went back at"))?;
        if came[0] < sent[0] && unattached > 0 {
            missing += sent[0] - came[0];
        } else {
            ensure!(is_same(came, sent), "{}", here("what it sent did not come from"));
        }
        let given = GIVEN.map(|of| counted(&of)).into_iter();
        let mut given = given.fold([0; 2], |[a, b], [c, d]| [a + c, b + d]);
        let refused = tally.refused().get(interface).copied().unwrap_or(0);
        given[0] =
            given[0].checked_sub(refused).with_context(|| here("more was refused than sent to"))?;
        let arrived =
            less(now.received, then.received).with_context(|| here("a counter went back at"))?;
        // The daemon's own frames go to the host, too; those of one before it are forgotten.
        let own = counted(&|at| [at.own, 0])[0];
        let more = arrived[0].saturating_sub(given[0]);
        if shared.contains(&interface.as_str()) && more > own {
            continue;
        }
        let was_restarted = after.tally.own(interface) < before.tally.own(interface) + own;
        if more == own || was_restarted && more > own {
            continue;
        }
        given[0] += own;
        // Nobody tells how many bytes were refused.
        let is_given = given[0] == arrived[0] || refused == 0 && is_same(given, arrived);
        ensure!(is_given, "{}", here("what was sent to it did not arrive at"));
    }
    ensure!(missing <= unattached, "{missing} packets never came: {tally:?}");
    Ok(tally)
}

/// Are these the same packets, as we count them and as a host's interface does? It counts a
/// segmented packet as one: then ours are more, each by its own headers. Tags are in its bytes and
/// not in ours, and a veth whose other end has XDP has no Ethernet headers in its own.
fn is_same(ours: [u64; 2], theirs: [u64; 2]) -> bool {
    let Some(more) = ours[0].checked_sub(theirs[0]) else { return false };
    let least = (theirs[1] + HEADERS[0] * more).saturating_sub(TAG_BYTES * theirs[0]);
    let most = theirs[1] + HEADERS[1] * more + ETHERNET_BYTES * theirs[0];
    more == 0 || (least..=most).contains(&ours[1])
}

fn less([a, b]: [u64; 2], [c, d]: [u64; 2]) -> Option<[u64; 2]> {
    Some([a.checked_sub(c)?, b.checked_sub(d)?])
}

/// The same attachments, so that none took its counters away.
pub fn has_all(before: &Moment, after: &Moment) -> bool {
    let names = |of: &Moment| -> BTreeSet<_> {
        let all = of.tally.attachments().iter();
        all.map(|at| (at.place(), at.object.clone())).collect()
    };
    names(before).is_subset(&names(after))
}

/// What every host of the lab that is there has counted.
fn hosts(lab: &Lab) -> BTreeMap<String, Traffic> {
    let hosts = lab.ends().into_iter();
    hosts.filter_map(|end| Some((end.dut_interface, traffic(&end.namespace, &end.link)?))).collect()
}

/// Of `/proc/net/dev` in the namespace: bytes and packets received in columns 1 and 2, sent in
/// columns 9 and 10.
fn traffic(namespace: &str, link: &str) -> Option<Traffic> {
    let text = enter(namespace, || fs::read_to_string("/proc/thread-self/net/dev")).ok()?.ok()?;
    let counters =
        text.lines().find_map(|line| line.trim().strip_prefix(link)?.strip_prefix(':'))?;
    let counters: Vec<u64> =
        counters.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let at = |bytes: usize| Some([*counters.get(bytes + 1)?, *counters.get(bytes)?]);
    Some(Traffic { received: at(0)?, sent: at(8)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_more_packets_by_their_headers() {
        assert!(is_same([5, 500], [5, 500]));
        assert!(is_same([7, 632], [5, 500]));
        for (ours, theirs) in [([6, 500], [5, 501]), ([4, 400], [5, 500]), ([7, 3500], [5, 500])] {
            assert!(!is_same(ours, theirs), "{ours:?} {theirs:?}");
        }
    }
}
