//! How long does a packet take from NIC to NIC, the kernel's own part included?
//!
//! One CPU, closed loop: live frames → veth → the device under test → veth → XDP_DROP. Sekisho
//! and its peers take turns in one run; a bare drop and a bare redirect in the device's place are
//! the floor and the ceiling. Everything that Sekisho has on the path is on: who sends is looked
//! at, groups are stateful, both ends of a flow are routed, packets are counted.
//!
//! A *known* packet is of a flow that both ends have sent packets of; of *new* packets each is
//! the first of its flow. What a peer or the loader does not take is a row that says so.

use std::cell::RefCell;

use anyhow::Result;
use dataplane_common::limits;
use sekisho_bench::{
    course::Course,
    ours::{self, Kind, Ours, Way, with_ours},
    peers::{self, Ends, Filter, Peer, made},
    report,
    results::{Results, Row},
    scene::Size,
    site,
    turns::{FRAMES, Turn, compare, known_beside},
};
use sekisho_tests::program::Field;

/// What most rows are measured with.
const SIZE: Size = Size { rules: 10, routes: 1 };
const SOME: u32 = 1 << 14;
const MILLION: u32 = 1 << 20;
/// With a million flows, which ports alone do not tell apart.
const SIZE_OF_MILLION: Size = Size { rules: 100, routes: 1 };
/// Half-flows for a million flows, four times as many as there are: of twice as many, two dozen
/// flows found both their buckets full.
const LINES_OF_MILLION: u32 = 1 << 23;
/// Packets of known flows in a row that a peer needs a millisecond each for.
const FRAMES_MIN: u32 = 1000;

fn main() -> Result<()> {
    if !report::is_asked_for("path") || !site::may_load() {
        return Ok(());
    }
    let mut results = Results::of("path");
    let done = all(&mut results);
    results.end(done)
}

fn all(results: &mut Results) -> Result<()> {
    // As many as an operator has who says nothing of it.
    with_ours("path", SIZE, limits::FLOW_LINES, |ours| {
        known(ours, results)?;
        by_rules(ours, results)?;
        by_routes(ours, results)?;
        if report::is_trial() { million(ours, results) } else { Ok(()) }
    })?;
    if report::is_trial() {
        return Ok(());
    }
    with_ours("path-million", SIZE_OF_MILLION, LINES_OF_MILLION, |ours| million(ours, results))
}

/// These, or in a trial the first.
fn sizes(all: &[u32]) -> &[u32] {
    if report::is_trial() { &all[..1] } else { all }
}

/// Packets of known flows, beside every peer.
fn known(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let kinds = [
        peers::Kind::Drop,
        peers::Kind::Redirect,
        peers::Kind::Remember,
        peers::Kind::Fib,
        peers::Kind::Linux,
        peers::Kind::Nftables(Filter::Intervals(SIZE.rules)),
    ];
    let peers = made(&kinds, Ends::Nics, SIZE.routes, |kind, why| {
        let row = Row::ns(kind.name(), "known, access to uplink, IPv4");
        results.add(row.of(SOME, SIZE.rules, SIZE.routes).missing(format!("{why:#}")));
    });
    for &flows in sizes(&[SOME, 1]) {
        for kind in [Kind::Udp, Kind::UdpV6, Kind::UdpBoth, Kind::TcpBoth] {
            access_to_uplink(ours, kind, flows, &peers, results)?;
        }
    }
    Ok(())
}

/// From a line to its uplink. Peers' packets are of one kind, so that all are there once, and the
/// ceiling always.
fn access_to_uplink(
    ours: &mut Ours<'_>,
    kind: Kind,
    flows: u32,
    peers: &[Peer],
    results: &mut Results,
) -> Result<()> {
    let way = Way::AccessToUplink;
    let case = format!("known, {}, {}", way.name(), kind.name());
    let is_beside = |peer: &&Peer| kind == Kind::Udp || peer.kind == peers::Kind::Redirect;
    let beside: Vec<_> = peers.iter().filter(is_beside).collect();
    known_beside(ours, (way, kind), (&case, flows), &beside, results)
}

/// Packets of known flows and of new ones, with more and more rules in one policy.
fn by_rules(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let all = sizes(&[10, 1000, 10_000, 100_000]);
    let size = |rules| Size { rules, ..SIZE };
    for &rules in all {
        new_at(ours, size(rules), results)?;
    }
    // In turn, too, although each sample has a site of its own.
    let way = Way::AccessToUplink;
    let case = format!("known, {}, IPv4, by rules", way.name());
    let row = |rules| Row::ns(ours::NAME, &case).of(SOME, rules, SIZE.routes);
    let mut courses = Vec::new();
    for &rules in all {
        match ours.resize(size(rules)) {
            Ok(()) => courses.push((size(rules), ours.course(way, Kind::Udp)?)),
            Err(error) => results.add(row(rules).missing(format!("{error:#}"))),
        }
    }
    {
        let ours = RefCell::new(&mut *ours);
        let mut turns = Vec::new();
        for (size, course) in courses {
            let opener = course.clone();
            let turn = Turn::known(row(size.rules), course, FRAMES)?;
            let ours = &ours;
            turns.push(turn.after(move || {
                let ours = &mut *ours.borrow_mut();
                ours.resize(size)?;
                ours.loaded.forget_flows()?;
                opener.open(SOME)
            }));
        }
        compare(turns, results)?;
    }
    ours.resize(SIZE)
}

/// Packets of new flows, beside others' and beside known ones.
fn new_at(ours: &mut Ours<'_>, size: Size, results: &mut Results) -> Result<()> {
    let rules = size.rules;
    let case = |packets: &str, way: Way| format!("{packets}, {}, IPv4, by rules", way.name());
    let row = |device: &str, case: &str| Row::ns(device, case).of(SOME, rules, size.routes);
    let new = case("new", Way::AccessToUplink);
    let filters = [Filter::Hash(rules), Filter::Intervals(rules), Filter::Linear(rules)];
    let (filters, too_slow) = filters.split_at(if rules > 10_000 { 2 } else { 3 });
    for filter in too_slow {
        let why = "a packet would take milliseconds";
        results.add(row(peers::Kind::Nftables(*filter).name(), &new).missing(why));
    }
    let kinds: Vec<_> = filters.iter().map(|filter| peers::Kind::Nftables(*filter)).collect();
    let peers = made(&kinds, Ends::Nics, size.routes, |kind, why| {
        results.add(row(kind.name(), &new).missing(format!("{why:#}")));
    });
    let ours = RefCell::new(ours);
    let mut turns = Vec::new();
    for peer in &peers {
        let is_slow = matches!(peer.kind, peers::Kind::Nftables(Filter::Linear(10_000..)));
        let frames = if is_slow { FRAMES_MIN } else { SOME };
        let row = row(peer.kind.name(), &new);
        turns.push(Turn::new(row, peer.course()?, frames, || peer.forget_flows())?);
    }

    let port = Way::PortToPort;
    let own = [("new", Way::AccessToUplink), ("new", port), ("known", port)];
    let refused = ours.borrow_mut().resize(size).err();
    if let Some(error) = refused {
        for (packets, way) in own {
            results.add(row(ours::NAME, &case(packets, way)).missing(format!("{error:#}")));
        }
        return compare(turns, results);
    }
    let forget = || ours.borrow_mut().loaded.forget_flows().map(drop);
    for (packets, way) in own {
        let course = ours.borrow().course(way, Kind::Udp)?;
        let row = row(ours::NAME, &case(packets, way));
        turns.push(if packets == "new" {
            Turn::new(row, course, SOME, forget)?
        } else {
            let opener = course.clone();
            Turn::known(row, course, FRAMES)?.after(move || {
                forget()?;
                opener.open(SOME)
            })
        });
    }
    compare(turns, results)
}

/// Packets of known flows to as many destinations, by more and more routes.
fn by_routes(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let case = "known, to many destinations, by routes";
    for &routes in sizes(&[1, 1000, 100_000, 1_000_000]) {
        let size = Size { routes, ..SIZE };
        let row = |device: &str| Row::ns(device, case).of(SOME, 0, routes);
        let kinds = [peers::Kind::Fib, peers::Kind::Linux];
        let peers = made(&kinds, Ends::Nics, routes, |kind, why| {
            results.add(row(kind.name()).missing(format!("{why:#}")));
        });
        let mut turns = Vec::new();
        for peer in &peers {
            turns.push(Turn::known(row(peer.kind.name()), far(peer.course()?), FRAMES)?);
        }
        match ours.resize(size) {
            Ok(()) => {
                ours.loaded.forget_flows()?;
                // TCP may go anywhere, from ports, too: the tenant's router has the routes.
                let way = far(ours.course(Way::PortToUplink, Kind::Tcp)?);
                way.open(SOME)?;
                turns.push(Turn::known(row(ours::NAME), way, FRAMES)?);
            }
            Err(error) => results.add(row(ours::NAME).missing(error)),
        }
        compare(turns, results)?;
    }
    ours.resize(SIZE)
}

/// The course with other destinations for each flow, rather than other ports.
fn far(course: Course<'_>) -> Course<'_> {
    Course { vary: [Field::DstLow, Field::DstHigh], asked: 1 << 10, ..course }
}

/// Packets of a million known flows.
fn million(ours: &mut Ours<'_>, results: &mut Results) -> Result<()> {
    let flows = if report::is_trial() { SOME } else { MILLION };
    let filter = peers::Kind::Nftables(Filter::Intervals(SIZE_OF_MILLION.rules));
    let kinds = [peers::Kind::Redirect, peers::Kind::Fib, peers::Kind::Linux, filter];
    let row = |kind: peers::Kind| {
        let row = Row::ns(kind.name(), "known, access to uplink, IPv4");
        row.of(flows, SIZE_OF_MILLION.rules, SIZE.routes)
    };
    let mut peers = made(&kinds, Ends::Nics, SIZE.routes, |kind, why| {
        results.add(row(kind).missing(format!("{why:#}")));
    });
    peers.retain(|peer| {
        let refused = peer.make_room(flows).err();
        if let Some(why) = &refused {
            results.add(row(peer.kind).missing(format!("{why:#}")));
        }
        refused.is_none()
    });
    for kind in [Kind::Udp, Kind::UdpV6, Kind::TcpBoth] {
        access_to_uplink(ours, kind, flows, &peers, results)?;
    }
    if let Some(peer) = peers.iter().find(|peer| peer.kind == filter) {
        let row = Row::ns(filter.name(), "buckets of connections").unit("buckets");
        let buckets = peer.buckets()?.into();
        results.add(row.of(flows, 0, 0).samples(vec![buckets]));
    }
    Ok(())
}
