//! Does every frame come in where its tags say, and no other, whatever tags it has?

use dataplane_common::Stop;
use dataplane_user::{
    compile::{attachment_name, ids::Kind},
    model::Attachment,
    tables::HostTables,
};
use sekisho_tests::{
    build::Frame,
    chance::Chance,
    drive,
    packet::{Hook, HostPacket},
    reference::{CUSTOMER, SERVICE},
};

use crate::{FLOW_LINES, random_site};

const SITES: u64 = 60;
const FRAMES: u32 = 400;
/// How often each outcome has to be seen: at one tag, at two, nobody's, and not supported.
const LEAST: [u32; 4] = [500; 4];

#[test]
fn frames_come_in_where_their_tags_say() {
    let mut seen = [0; 4];
    for seed in 0..SITES {
        let mut chance = Chance::new(9000 + seed);
        let (_, trial) = random_site(&mut chance, &mut 0);
        let tables = HostTables::new(trial.compiled.image.clone(), FLOW_LINES);
        for _ in 0..FRAMES {
            let all: Vec<_> = trial.site.attachments.values().collect();
            let at = *chance.of(&all);
            let tags = some_tags(at, &mut chance);
            let at = if chance.once_in(4) { *chance.of(&all) } else { at };
            let interface = at.interface.as_str();
            let expected = trial.reference().came_in(interface, &tags);
            let frame = tags.iter().fold(
                Frame::new([2, 0, 0, 0, 0, 0x77], [2, 0, 0, 0, 0, 0x78]),
                |frame, &(protocol, tci)| frame.tag(protocol, tci),
            );
            let frame = frame.ip("10.0.0.1", "10.0.0.2").udp(1, 2).build();
            for hook in [Hook::Xdp, Hook::Tc] {
                let ifindex = trial.ifindex(interface);
                let passed = drive::pass(&tables, HostPacket::new(hook, ifindex, &frame));
                let found = match passed.stop {
                    Some(stop @ (Stop::NoAttachment | Stop::TagUnsupported)) => Err(stop),
                    _ => Ok(passed.work.attachment),
                };
                let wanted = expected.map(|ix| {
                    let at = &trial.site.attachments[ix];
                    let name = attachment_name(at.interface.as_str(), at.vlans());
                    trial.compiled.ids.number(Kind::Attachment, &name).unwrap_or(0)
                });
                assert_eq!(found, wanted, "seed {seed}, {hook:?}, {interface} {tags:04x?}");
            }
            match expected.map(|_| tags.len()) {
                Ok(0 | 1) => seen[0] += 1,
                Ok(_) => seen[1] += 1,
                Err(Stop::NoAttachment) => seen[2] += 1,
                Err(_) => seen[3] += 1,
            }
        }
    }
    println!("one tag or none, two, nobody's, not supported: {seen:?}");
    assert!(seen.iter().zip(LEAST).all(|(seen, least)| *seen >= least), "{seen:?}");
}

/// Those of the attachment, or nearly, or any.
fn some_tags(at: &Attachment, chance: &mut Chance) -> Vec<(u16, u16)> {
    let service = at.service_vlan.map(|id| (SERVICE, id));
    let mut tags: Vec<_> = service.into_iter().chain(at.vlan.map(|id| (CUSTOMER, id))).collect();
    match chance.below(8) {
        0 => tags.insert(0, any(chance)),
        1 => tags.push(any(chance)),
        2 => drop(tags.pop()),
        3 if !tags.is_empty() => drop(tags.remove(0)),
        4 => tags = (0..chance.below(4)).map(|_| any(chance)).collect(),
        5 => tags.iter_mut().for_each(|tag| tag.1 ^= 1 << chance.below(12)),
        _ => {}
    }
    // Priority and drop eligibility say nothing of whose it is.
    tags.iter_mut().for_each(|tag| tag.1 ^= (chance.below(16) as u16) << 12);
    tags
}

fn any(chance: &mut Chance) -> (u16, u16) {
    let id = *chance.of(&[0, 1, 30, 40, 50, 100, 101, 4095]);
    (*chance.of(&[CUSTOMER, SERVICE]), id)
}
