//! Who has an address that several may have, or a link-local one that nobody had?

use dataplane_common::{Stop, Tables, limits};

use super::row::{Row, row};
use crate::{
    build::Frame,
    world::{End, Site, addr},
};

const EVERYBODY: [u8; 6] = [0xff; 6];
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const SHARED: &str = "10.1.0.88";
const SHARED_V6: &str = "2001:db8:1::88";
/// Of a prefix that the pair may send from.
const BY_PREFIX: &str = "10.77.0.9";
const BY_PREFIX_V6: &str = "2001:db8:77::9";
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

pub fn rows(s: &Site) -> Vec<Row> {
    [announced(s), probed(s), link_local(s)].concat()
}

/// The other has addresses that the pair may send from by their prefix.
fn shared_by_prefix(s: &mut Site) {
    let (pair, other) = (s.pair, s.stateless);
    s.change(|w| {
        w.permit(pair, "fe80::40");
        w.permit(pair, "2001:db8:77::/64");
        for address in [BY_PREFIX, BY_PREFIX_V6] {
            w.permit(other, address);
            w.shared(other, address);
        }
    });
}

fn says(s: &Site, from: End, operation: u8, addr: &str) -> Frame {
    s.frame(from, EVERYBODY).arp(operation, (from.mac, addr), ([0; 6], addr))
}

fn advertises(s: &Site, from: End, src: &str, target: &str) -> Frame {
    let frame = s.frame(from, ALL_NODES).ip(src, "ff02::1");
    frame.neighbour(ADVERTISEMENT, 0x20, target, Some((2, from.mac)))
}

/// The pair has the address at first.
fn announced(s: &Site) -> Vec<Row> {
    let stop = |name, from, frame, stop| row(name, from, frame).stopped(s.blue, stop);
    let but_the_pair = &[s.a, s.b, s.free, s.stateless, s.trunk, s.twin];
    let but_the_other = &[s.a, s.b, s.free, s.pair, s.trunk, s.twin];
    let (pair, other) = (s.pair, s.stateless);
    let own = other.mac;
    // With these options, of which it has one usually.
    let says_more = |name, options: &[u8]| {
        let frame = s.frame(other, ALL_NODES).ip("2001:db8:1::60", "ff02::1").ttl(255);
        let frame = frame.icmp(ADVERTISEMENT, 0, [0x20, 0, 0, 0]);
        let frame = frame.payload(&[&addr(SHARED_V6).bytes(), options].concat());
        stop(name, other, frame, Stop::NeighbourUnanswered)
    };
    vec![
        row("an announcement of whoever has it", pair, says(s, pair, REQUEST, SHARED))
            .at_tc()
            .flooded(but_the_pair),
        row("an announcement of another who may have it", other, says(s, other, REQUEST, SHARED))
            .at_tc()
            .flooded(but_the_other),
        row("its announcement as an answer", other, says(s, other, REPLY, SHARED))
            .at_tc()
            .flooded(but_the_other),
        row("its announcement by IPv6", other, advertises(s, other, "2001:db8:1::60", SHARED_V6))
            .at_tc()
            .flooded(but_the_other),
        row("an announcement at XDP, which only the daemon hears", other, {
            says(s, other, REQUEST, SHARED)
        })
        .at_xdp()
        .heard(),
        row("an announcement that nobody else hears", other, says(s, other, REQUEST, SHARED))
            .at_tc()
            .after(|s| {
                let net = s.net.zone as usize;
                s.change(|w| w.image.zones[net].flood_count = 0);
            })
            .heard(),
        stop(
            "an announcement of somebody who may not have it",
            s.a,
            says(s, s.a, REQUEST, SHARED),
            Stop::SpoofedArp,
        ),
        stop(
            "an advertisement of somebody who may not have it",
            s.a,
            advertises(s, s.a, "2001:db8:1::10", SHARED_V6),
            Stop::SpoofedNeighbour,
        ),
        stop(
            "an announcement of a port without security",
            s.free,
            says(s, s.free, REQUEST, SHARED),
            Stop::ArpUnanswered,
        ),
        stop(
            "an announcement of somebody who may only send from its prefix",
            pair,
            says(s, pair, REQUEST, BY_PREFIX),
            Stop::ArpUnanswered,
        )
        .after(shared_by_prefix),
        stop(
            "an advertisement of somebody who may only send from its prefix",
            pair,
            advertises(s, pair, "fe80::40", BY_PREFIX_V6),
            Stop::NeighbourUnanswered,
        )
        .after(shared_by_prefix),
        row("an announcement of an address of that prefix, which it has alone, too", pair, {
            says(s, pair, REQUEST, BY_PREFIX)
        })
        .at_tc()
        .after(|s| {
            shared_by_prefix(s);
            let pair = s.pair;
            s.change(|w| w.permit(pair, BY_PREFIX));
        })
        .flooded(but_the_pair),
        stop(
            "an announcement to a group",
            other,
            says(s, other, REQUEST, SHARED).eth(other.mac, [1, 0, 0x5e, 0, 0, 1]),
            Stop::ArpUnanswered,
        ),
        stop(
            "an advertisement to another group",
            other,
            advertises(s, other, "2001:db8:1::60", SHARED_V6)
                .eth(other.mac, [0x33, 0x33, 0, 0, 0, 2]),
            Stop::NeighbourUnanswered,
        ),
        says_more("an advertisement of two MACs", &[&[2, 1], &own[..], &[2, 1], &s.a.mac].concat()),
        says_more(
            "an advertisement of a MAC behind something else",
            &[&[14, 1, 0, 0, 0, 0, 0, 0, 2, 1][..], &s.a.mac].concat(),
        ),
        says_more(
            "an advertisement of a MAC that is said to be longer",
            &[&[2, 2], &own[..]].concat(),
        ),
        says_more("an advertisement of the source's MAC", &[&[1, 1], &own[..]].concat()),
        says_more("an advertisement of no MAC", &[]),
        stop(
            "an advertisement that does not override",
            other,
            s.frame(other, ALL_NODES).ip("2001:db8:1::60", "ff02::1").neighbour(
                ADVERTISEMENT,
                0,
                SHARED_V6,
                Some((2, own)),
            ),
            Stop::NeighbourUnanswered,
        ),
        row("too many announcements", other, says(s, other, REQUEST, SHARED))
            .after(|s| (0..limits::CLAIMS_BURST).for_each(|_| assert!(s.tables.may_claim(s.blue))))
            .stopped(s.blue, Stop::ClaimRate),
        row("too many of whoever has it", pair, says(s, pair, REQUEST, SHARED))
            .after(|s| (0..limits::CLAIMS_BURST).for_each(|_| assert!(s.tables.may_claim(s.blue))))
            .stopped(s.blue, Stop::ClaimRate),
        row("too many announcements that are copied", pair, says(s, pair, REQUEST, SHARED))
            .at_tc()
            .after(|s| assert!(s.tables.may_copy(s.blue, limits::COPIES_BURST)))
            .stopped(s.blue, Stop::FloodRate),
    ]
}

/// Does a port find out whether it may have the address?
fn probed(s: &Site) -> Vec<Row> {
    let other = s.stateless;
    let asks =
        |from: End, own| s.frame(from, EVERYBODY).arp(REQUEST, (from.mac, own), ([0; 6], SHARED));
    let tells = |to: End, own| {
        s.frame(to, to.mac).eth(s.pair.mac, to.mac).arp(REPLY, (s.pair.mac, SHARED), (to.mac, own))
    };
    vec![
        row("a probe for an address that it may have", other, asks(other, "0.0.0.0"))
            .stopped(s.blue, Stop::ArpUnanswered),
        row("a question for it", other, asks(other, "10.1.0.60"))
            .answered(tells(other, "10.1.0.60")),
        row("a probe for an address that others share", s.a, asks(s.a, "0.0.0.0"))
            .answered(tells(s.a, "0.0.0.0")),
        row(
            "a probe for it by IPv6",
            other,
            s.frame(other, [0x33, 0x33, 0xff, 0, 0, 0x88]).ip("::", "ff02::1:ff00:88").neighbour(
                SOLICITATION,
                0,
                SHARED_V6,
                None,
            ),
        )
        .stopped(s.blue, Stop::NeighbourUnanswered),
    ]
}

fn link_local(s: &Site) -> Vec<Row> {
    let probes = |from: End, target| {
        s.frame(from, [0x33, 0x33, 0xff, 0, 0, 7]).ip("::", "ff02::1:ff00:7").neighbour(
            SOLICITATION,
            0,
            target,
            None,
        )
    };
    vec![
        row("a probe for a link-local address that nobody has", s.b, probes(s.b, "fe80::7"))
            .heard(),
        row(
            "an advertisement of a link-local address that nobody has",
            s.b,
            advertises(s, s.b, "fe80::7", "fe80::7"),
        )
        .heard(),
        row(
            "an advertisement of another's link-local address",
            s.b,
            advertises(s, s.b, "fe80::10", "fe80::10"),
        )
        .stopped(s.blue, Stop::SpoofedNeighbour),
        row(
            "an advertisement of a link-local address from another one",
            s.b,
            advertises(s, s.b, "fe80::8", "fe80::7"),
        )
        .stopped(s.blue, Stop::SpoofedNeighbour),
        row("a probe for its own link-local address", s.a, probes(s.a, "fe80::10"))
            .stopped(s.blue, Stop::NeighbourUnanswered),
        row("too many probes for link-local addresses", s.b, probes(s.b, "fe80::7"))
            .after(|s| (0..limits::CLAIMS_BURST).for_each(|_| assert!(s.tables.may_claim(s.blue))))
            .stopped(s.blue, Stop::ClaimRate),
    ]
}
