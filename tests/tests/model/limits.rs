//! Does as much pass as the limits of random sites say, in a time that goes by leaps?

use std::{collections::BTreeMap, time::Duration};

use dataplane_common::{Packet, Stop};
use dataplane_user::{check::check, tables::HostTables};
use sekisho_tests::{
    chance::Chance,
    check::header_bytes,
    drive::{Passed, pass},
    packet::{Hook, HostPacket},
    reference::{Asked, Buckets, Load, Question, Room, Traffic},
    sites::Spec,
    trial::Trial,
    world::Sent,
};

use crate::random_site;

const SITES: u32 = 150;
const VERSIONS: u32 = 5;
const PACKETS: u16 = 120;
/// Packets that are thought of.
const TRIES: u16 = 100;
const FLOW_LINES: u32 = 1024;

#[test]
fn as_much_passes_as_the_limits_say() {
    let mut chance = Chance::of_environment();
    let (mut refused, mut histogram) = (0, BTreeMap::<&str, u32>::new());
    for number in 0..SITES {
        let (mut spec, _) = random_site(&mut chance, &mut refused);
        tighten(&mut spec, &mut chance, false);
        let Some(site) = check(&spec.yaml()).site else { panic!("{}", spec.yaml()) };
        let mut trial = Trial::new(site, None);
        let mut tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        let mut buckets = Buckets::default();
        for version in 0..VERSIONS {
            if version > 0 {
                let mut next = spec.clone();
                tighten(&mut next, &mut chance, true);
                next.change(&mut chance);
                let Some(site) = check(&next.yaml()).site else { continue };
                (spec, trial) = (next, Trial::new(site, Some(&trial)));
                tables.replace(trial.compiled.image.clone());
            }
            buckets.follow(&trial.site);
            // A few conversations that may take place, and one or the other that may not.
            let mut questions = Vec::new();
            for at in 0..TRIES {
                let Some(question) = trial.question(&mut chance, at) else { continue };
                let branches = trial.reference().judge(&question, Asked::Both);
                if branches.iter().any(|branch| branch.stops.is_empty()) || chance.once_in(50) {
                    questions.push(question);
                }
            }
            for _ in 0..PACKETS {
                if questions.is_empty() {
                    break;
                }
                let question = chance.of(&questions);
                let name = say(&trial, &tables, &mut buckets, question, &mut chance);
                match name {
                    Ok(name) => *histogram.entry(name).or_default() += 1,
                    Err(why) => {
                        println!("{}", spec.yaml());
                        panic!("site {number}, version {version}, {question:?}: {why}");
                    }
                }
            }
        }
    }
    println!("{histogram:?}");
    let often = ["passed, limited", "over the limit"];
    assert!(often.iter().all(|name| histogram[name] > SITES * 20), "{histogram:?}");
    let open = histogram.get("too near to tell").copied().unwrap_or(0);
    assert!(open < histogram["over the limit"] / 20, "{histogram:?}");
}

/// Sends a packet, and judges what became of it.
fn say(
    trial: &Trial,
    tables: &HostTables,
    buckets: &mut Buckets,
    question: &Question,
    chance: &mut Chance,
) -> Result<&'static str, String> {
    let leap_ns =
        *chance.of(&[0, 0, 1, 1_000_000, 30_000_000, 3_000_000_000]) * chance.below(4) as u64;
    tables.pass(Duration::from_nanos(leap_ns));
    buckets.pass(leap_ns);
    let payload = *chance.of(&[0, 10, 500, 1200]);
    let (packet, load) = packet(trial, question, payload, chance);
    let passed = pass(tables, packet);
    let branches = trial.reference().judge(question, Asked::Both);
    let open = branches.iter().filter(|branch| branch.stops.is_empty());
    if passed.stop == Some(Stop::OverLimit) {
        let rooms = open.filter_map(|branch| {
            let (to, _) = branch.receiver?;
            Some(buckets.room(&trial.site, question, to, load))
        });
        return match rooms.min() {
            None => Err("over the limit, but it may not pass at all".to_owned()),
            Some(Room::Enough) => Err(format!("over the limit, but {load:?} fits: {buckets:?}")),
            Some(Room::Open) => Ok("too near to tell"),
            Some(Room::None) => Ok("over the limit"),
        };
    }
    if !is_forwarded(&passed) {
        return Ok("neither");
    }
    // A flow that was opened may pass where its first packet may not any more.
    let branch = trial.judge(&branches, question, &passed, None)?;
    let Some((to, _)) = branch.receiver else { return Ok("neither") };
    let room = buckets.room(&trial.site, question, to, load);
    buckets.take(&trial.site, question, to, load);
    match room {
        Room::None => Err(format!("{load:?} passed, but it does not fit: {buckets:?}")),
        Room::Open => Ok("too near to tell"),
        Room::Enough if buckets.is_limited(&trial.site, question, to) => Ok("passed, limited"),
        Room::Enough => Ok("passed"),
    }
}

const fn is_forwarded(passed: &Passed) -> bool {
    passed.stop.is_none() && passed.work.job == 0 && !passed.is_flooded
}

/// The packet with a payload, sometimes in segments, and how much it is on the wire.
fn packet(
    trial: &Trial,
    question: &Question,
    payload: usize,
    chance: &mut Chance,
) -> (HostPacket, Load) {
    let Sent { hook, ifindex, frame, .. } = trial.sent_with(question, payload);
    let tags = match frame[12..14] {
        [0x81, 0x00] => 4,
        [0x88, 0xa8] => 8,
        _ => 0,
    };
    let bytes = frame.len() as u32 - tags;
    let packet = HostPacket::new(hook, ifindex, &frame);
    let is_large = matches!(question.traffic, Traffic::Ports { .. }) && payload >= 500;
    if hook == Hook::Tc && is_large && chance.once_in(3) {
        let packets = payload.div_ceil(200) as u32;
        let headers = header_bytes(&frame).unwrap_or(0);
        let load = Load { packets, bytes: bytes + (packets - 1) * headers };
        let packet = packet.segments_of(200, packets);
        assert_eq!(packet.segments(), packets);
        return (packet, load);
    }
    (packet, Load { packets: 1, bytes })
}

/// Limits that are reached soon; only here and there another one, if so.
fn tighten(spec: &mut Spec, chance: &mut Chance, is_seldom: bool) {
    for tenant in &mut spec.tenants {
        for port in &mut tenant.ports {
            if is_seldom && !chance.once_in(4) {
                continue;
            }
            port.limits.clear();
            for direction in ["egress", "ingress"] {
                if chance.once_in(2) {
                    port.limits.push(format!("{direction}: {}", tight(chance)));
                }
            }
        }
        for router in &mut tenant.routers {
            if !is_seldom || chance.once_in(4) {
                router.limits = chance.once_in(2).then(|| tight(chance));
            }
        }
    }
}

fn tight(chance: &mut Chance) -> String {
    let bits = *chance.of(&[1000, 9600, 64_000, 1_000_000]);
    let packets = *chance.of(&[1, 7, 50, 1000]);
    let bits = format!("bits_per_second: {bits}, burst_bytes: {}", 1 + chance.below(4000));
    let packets = format!("packets_per_second: {packets}, burst_packets: {}", 1 + chance.below(9));
    match chance.below(3) {
        0 => format!("{{{bits}}}"),
        1 => format!("{{{packets}}}"),
        _ => format!("{{{bits}, {packets}}}"),
    }
}
