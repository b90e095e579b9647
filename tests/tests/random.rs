//! Whatever arrives, at either hook: nothing panics, every packet has one end and
//! one counter, what leaves is well-formed if what came was, and no tenant's packet
//! reaches another's port.

use dataplane_common::{Packet, tables::Counter};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseResult, TestRunner},
};
use sekisho_tests::{
    build::Frame,
    check,
    drive::{self, End as Ended, Outcome},
    packet::{Hook, HostPacket},
    world::{End, Site},
};

const CASES: u32 = 2000;
const LARGE_BYTES: usize = 1400;

#[test]
fn arbitrary_bytes_have_one_end() {
    let site = Site::new();
    let ends = ends(&site);
    let strategy = (any::<Index>(), vec(any::<u8>(), 0..200), lie());
    run(&strategy, |(from, bytes, lie)| judge(&site, *from.get(&ends), &bytes, &lie));
}

/// Bytes behind a plausible beginning: the stages get further into them.
#[test]
fn arbitrary_bytes_behind_good_addresses_have_one_end() {
    let site = Site::new();
    let ends = ends(&site);
    let ethertypes = select(vec![[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0]]);
    let strategy = (any::<Index>(), ethertypes, vec(any::<u8>(), 0..200), lie());
    run(&strategy, |(from, ethertype, bytes, lie)| {
        let from = *from.get(&ends);
        let frame = [&from.router[..], &from.mac, &ethertype, &bytes].concat();
        judge(&site, from, &frame, &lie)
    });
}

#[test]
fn good_packets_stay_good() {
    let site = Site::new();
    let frames = frames(&site);
    let strategy = (any::<Index>(), vec(any::<u8>(), 0..3000), 0..4_u8, any::<u8>(), lie());
    run(&strategy, |(frame, payload, ttl, tos, lie)| {
        let (from, frame) = frame.get(&frames);
        let frame = frame.clone().payload(&payload).tos(tos);
        let frame = if ttl < 3 { frame.ttl(ttl) } else { frame };
        judge(&site, *from, &frame.build(), &lie)
    });
}

#[test]
fn damaged_packets_have_one_end() {
    let site = Site::new();
    let frames = frames(&site);
    let damages = vec((any::<Index>(), any::<u8>()), 0..5);
    let strategy = (any::<Index>(), damages, any::<Index>(), any::<bool>(), lie());
    run(&strategy, |(frame, damages, cut, is_cut, lie)| {
        let (from, frame) = frame.get(&frames);
        let mut bytes = frame.build();
        for (at, byte) in damages {
            *at.get_mut(&mut bytes) = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        judge(&site, *from, &bytes, &lie)
    });
}

/// How a packet lies at its hook.
#[derive(Clone, Debug)]
struct Lie {
    hook: Hook,
    linear: usize,
    is_partial: bool,
    segments: Option<(u32, u32)>,
    refuses: bool,
}

fn lie() -> impl Strategy<Value = Lie> {
    let hook = prop_oneof![Just(Hook::Xdp), Just(Hook::Tc)];
    let segments = proptest::option::weighted(0.2, (1..=0xffff_u32, 0..=0xffff_u32));
    (hook, 0..200_usize, any::<bool>(), segments, proptest::bool::weighted(0.02)).prop_map(
        |(hook, linear, is_partial, segments, refuses)| Lie {
            hook,
            linear,
            is_partial,
            segments,
            refuses,
        },
    )
}

fn run<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(strategy, test) {
        panic!("{error}");
    }
}

fn judge(site: &Site, from: End, frame: &[u8], lie: &Lie) -> TestCaseResult {
    let mut packet = HostPacket::new(lie.hook, from.ifindex, frame).linear(lie.linear);
    if lie.is_partial {
        packet = packet.partial();
    }
    // Only TCP and UDP are segmented, and only what is larger than a link takes.
    let is_large = frame.len() > LARGE_BYTES && check::transport_checksum(frame).is_some();
    if let Some((bytes, count)) = lie.segments.filter(|_| is_large) {
        packet = packet.segments_of(bytes, count);
    }
    if lie.refuses {
        packet = packet.refusing();
    }
    let segments = packet.segments();
    // Time goes by, so that errors are not silenced by their rate.
    site.tables.pass(std::time::Duration::from_millis(20));
    let outcome = drive::run(&site.tables, packet);
    one_end(&outcome, segments)?;
    if let Ended::Left { output, frame: left, .. } = &outcome.end {
        if check::well_formed(frame).is_ok() {
            prop_assert_eq!(check::well_formed(left), Ok(()));
        }
        borders(site, from, *output)?;
    }
    Ok(())
}

/// One end, and the one counter that goes with it.
fn one_end(outcome: &Outcome, segments: u32) -> TestCaseResult {
    let of = |counter: Counter| {
        let counts = outcome.counters.counts.iter();
        let counts = counts.filter(|((_, of), _)| *of == counter as u8);
        counts.map(|(_, tally)| tally.packets).sum::<u64>()
    };
    let stops: u64 = outcome.counters.stops.values().sum();
    let ends = [Counter::Sent, Counter::Answered, Counter::Reported, Counter::Heard].map(of);
    let counted = (ends, stops);
    let segments = u64::from(segments);
    match outcome.end {
        Ended::Left { .. } => {
            let expected = [([segments, 0, 0, 0], 0), ([0, 1, 0, 0], 0), ([0, 0, 1, 0], segments)];
            prop_assert!(expected.contains(&counted), "{:?}", counted);
        }
        Ended::Heard => prop_assert_eq!(counted, ([0, 0, 0, 1], 0)),
        Ended::Stopped(stop) => {
            prop_assert_eq!(counted, ([0; 4], segments));
            prop_assert!(outcome.counters.stops.keys().all(|(_, counted)| *counted == stop));
        }
    }
    Ok(())
}

/// Nothing goes from tenant to tenant, nor from a closed network to an uplink.
fn borders(site: &Site, from: End, output: u32) -> TestCaseResult {
    let tenant = |id| {
        let attachments = &site.world.image.attachments;
        attachments.values().find(|attachment| attachment.id == id).map_or(0, |found| found.tenant)
    };
    let (from_tenant, to_tenant) = (tenant(from.attachment), tenant(output));
    prop_assert!(from_tenant == 0 || to_tenant == 0 || from_tenant == to_tenant);
    let is_closed = from.attachment == site.mec.attachment;
    prop_assert!(!is_closed || output != site.uplink.attachment);
    Ok(())
}

fn ends(s: &Site) -> Vec<End> {
    vec![s.a, s.b, s.c, s.free, s.pair, s.trunk, s.stateless, s.mec, s.red_a, s.red_c, s.lonely]
        .into_iter()
        .chain([s.uplink, s.far, s.access])
        .collect()
}

/// A packet of every kind that passes, is answered, or is told about.
fn frames(s: &Site) -> Vec<(End, Frame)> {
    let id = [0, 1, 0, 1];
    let quoted = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).packet();
    let v4 = |from: End, src, dst| s.routed(from).ip(src, dst);
    let pad = [0, 1, 4, 0, 0, 0, 0];
    vec![
        (s.a, s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(1, 2)),
        (s.a, s.switched(s.a, s.trunk).ip("10.1.0.10", "10.1.0.50").udp(1, 53)),
        (s.trunk, s.switched(s.trunk, s.b).ip("10.1.0.50", "10.1.0.20").udp(1, 53)),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.10").udp(1, 53)),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.10").whole().tcp(1, 80, 2, 0, 0).tcp_options(&[1; 12])),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.10").options(&[148, 4, 0, 0]).icmp(8, 0, id)),
        (s.a, v4(s.a, "10.1.0.10", "10.1.0.1").icmp(8, 0, id)),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.77").udp(1, 53)),
        (s.a, v4(s.a, "10.1.0.10", "8.8.8.8").udp(1, 53)),
        (s.mec, v4(s.mec, "10.9.0.10", "8.8.8.8").udp(1, 53)),
        (s.uplink, v4(s.uplink, "8.8.8.8", "10.1.0.10").udp(53, 1)),
        (s.uplink, v4(s.uplink, "7.7.7.7", "10.1.0.10").icmp(11, 0, [0; 4]).payload(&quoted)),
        (s.uplink, v4(s.uplink, "8.8.8.8", "10.2.0.77").tcp(1, 80, 2, 0, 0)),
        (s.access, v4(s.access, "100.64.0.10", "10.1.0.20").udp(1, 53)),
        (s.access, v4(s.access, "100.64.0.10", "100.64.0.13").udp(1, 53)),
        (s.red_a, v4(s.red_a, "10.1.0.10", "8.8.8.8").udp(1, 53)),
        (s.red_a, s.switched(s.red_a, s.red_b).ip("10.1.0.10", "10.1.0.20").tcp(1, 80, 2, 0, 0)),
        (s.stateless, v4(s.stateless, "10.1.0.60", "8.8.8.8").udp(1, 53)),
        (s.a, v4(s.a, "2001:db8:1::10", "2001:db8:2::10").udp(1, 53)),
        (
            s.a,
            v4(s.a, "2001:db8:1::10", "2001:db8:2::10")
                .extension(0, &pad)
                .extension(60, &pad)
                .udp(1, 53),
        ),
        (
            s.a,
            v4(s.a, "2001:db8:1::10", "2001:db8:2::77").fragment_v6(0, false).tcp(1, 80, 2, 0, 0),
        ),
        (s.a, v4(s.a, "2001:db8:1::10", "2001:db8:1::1").icmp(128, 0, id)),
        (s.a, s.frame(s.a, [0xff; 6]).arp(1, (s.a.mac, "10.1.0.10"), ([0; 6], "10.1.0.1"))),
        (
            s.a,
            s.frame(s.a, [0x33, 0x33, 0xff, 0, 0, 1])
                .ip("2001:db8:1::10", "ff02::1:ff00:1")
                .neighbour(135, 0, "2001:db8:1::1", Some((1, s.a.mac))),
        ),
    ]
}
