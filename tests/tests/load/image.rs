//! An image that means nothing: does it come back as it was?

use std::collections::HashSet;

use dataplane_common::{
    addr::{Addr, Mac},
    table::{
        Attachment, AttachmentKey, Location, LocationKey, PermitKey, Station, StationKey, Tenant,
        endpoint::Endpoint,
        meter::{Pace, Terms},
        next_hop::Output,
        policy::{MemberKey, Rule},
        route::{Hop, Route},
        zone::Zone,
    },
};
use dataplane_user::tables::{Image, Policy};
use sekisho_tests::chance::Chance;

use crate::site::hop;

/// Records without meaning, `size` of each kind, none of them the last of its vector
/// and empty.
pub fn any_image(seed: u32, size: u32) -> Image {
    let mut chance = Chance::new(u64::from(seed));
    let mut image =
        Image { tenants: vec![Tenant { epoch: 1, flows_max: seed }], ..Image::default() };
    let tenants = size.clamp(1, 1000);
    image.tenants.resize(tenants as usize, Tenant { epoch: seed, flows_max: 9 });
    let small = size.min(8000);
    let mut seen = HashSet::new();
    for id in 0..size {
        let zone = id / 8;
        let addr = Addr::from_words([chance.any(), chance.any()]);
        let mac = Mac([2, 0, seed as u8, (id >> 16) as u8, (id >> 8) as u8, id as u8]);
        let at = LocationKey { addr, zone, zero: 0 };
        if id < small {
            let attachment =
                Attachment { id, kind: chance.below(9) as u32, zone, ..Attachment::default() };
            image.attachments.insert(AttachmentKey { ifindex: id, vlan: seed }, attachment);
            image.outputs.push(Output {
                ifindex: id + 1,
                kind: chance.below(9) as u32,
                vlan: 3,
                tenant: 0,
            });
            image.zones.push(Zone { own_v6: addr, generation: seed, mac, ..Zone::default() });
            image
                .policies
                .push(Policy { generation: chance.below(99) as u32 + 1, ..Policy::default() });
        }
        let station = StationKey { attachment: id, mac, ..StationKey::default() };
        let owner = chance.below(99) as u32 + 1;
        let of_port = Station { endpoint: id, owner, meter: id % 3, router_meter: id.min(9) };
        image.stations.insert(station, of_port);
        let bytes = Pace::of_bits(1000 + chance.below(1000) as u64, 131_072);
        let generation = chance.below(99) as u32 + 1;
        let terms = Terms { generation, bytes, is_exact: chance.once_in(2), ..Terms::default() };
        if id < small {
            image.meters.push(if id == 0 { Terms::default() } else { terms });
        }
        let location = Location { endpoint: id, next_hop: chance.below(99) as u32, mac, flags: 0 };
        image.locations.insert(at, location);
        image.members.insert(MemberKey { set: zone, endpoint: id });
        let bits = chance.below(129) as u8;
        let masked = mask(addr, bits);
        // Two of the same prefix are one.
        if seen.insert((zone, masked, bits)) {
            let at = LocationKey { addr: masked, zone, zero: 0 };
            let permit = PermitKey { endpoint: zone, mac, zero: [0; 6], addr: masked };
            image.permits.push((permit, bits));
            image.sessions.push((at, bits, chance.below(1000) as u32 + 1));
            let via = Route { kind: 2, id: id + 1, hops_count: 16, hops: [Hop::new(id); 16], zone };
            image.routes.push((at, bits, via));
            image.group_prefixes.push((at, bits));
        }
        image.endpoints.push(Endpoint { generation: id + 1, owner: seed, ..Endpoint::default() });
        image.next_hops.push(hop(id, mac, mac, id));
        image.rules.push(Rule { id: id + 1, set: chance.below(1000) as u32, ..Rule::default() });
    }
    image
}

fn mask(addr: Addr, bits: u8) -> Addr {
    let number = u128::from_be_bytes(addr.bytes());
    let kept = if bits == 0 { 0 } else { number & (u128::MAX << (128 - bits)) };
    Addr::v6(kept.to_be_bytes())
}
