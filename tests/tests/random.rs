//! Whatever arrives, at either hook: nothing panics, every packet has one end and
//! one counter, what leaves is well-formed if what came was, and no tenant's packet
//! reaches another's port.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use sekisho_tests::{
    invariants::{Lie, ends, frames, judge},
    packet::Hook,
    world::Site,
};

const CASES: u32 = 2000;

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

fn run<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), String>) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let test = |value| test(value).map_err(TestCaseError::fail);
    if let Err(error) = TestRunner::new(config).run(strategy, test) {
        panic!("{error}");
    }
}
