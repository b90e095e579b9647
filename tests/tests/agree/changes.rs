//! Other versions of the site, between packets: each change can be made and taken back,
//! and dates what the compiler would date.

use dataplane_common::table::{
    AttachmentKey,
    endpoint::flags,
    meter::{Pace, Terms},
    policy::{self, MemberKey},
};
use dataplane_user::tables::Image;
use sekisho_tests::{
    chance::Chance,
    world::{Site, World},
};

/// What changes, and what gets another generation or epoch by it.
struct Change {
    apply: fn(&Site, &mut Image),
    date: fn(&Site, &mut World),
}

/// The site as it changes.
pub struct Changing<'s> {
    site: &'s Site,
    active: Vec<bool>,
    /// Only its generations and epochs count.
    dates: World,
}

/// Half-flows that a tenant may have: enough, and soon used up.
const FLOWS_MAX: u32 = 6000;
const FLOWS_MAX_TIGHT: u32 = 200;

const CHANGES: &[Change] = &[
    // A server serves DNS no more.
    Change {
        apply: |s, image| {
            let server = image.policies[s.server as usize];
            let first = server.ingress_first as usize;
            for rule in &mut image.rules[first..first + server.ingress_count as usize] {
                if rule.protocol == 17 {
                    rule.high = 52;
                }
            }
        },
        date: |s, world| {
            world.touch_policy(s.server, s.blue);
            world.touch(s.red);
        },
    },
    // b leaves the group.
    Change {
        apply: |s, image| {
            image.members.remove(&MemberKey { set: s.group, endpoint: s.b.id });
        },
        date: |s, world| {
            world.touch_endpoint(s.b.id);
        },
    },
    // A client may send nothing.
    Change {
        apply: |s, image| image.policies[s.client as usize].egress_count = 0,
        date: |s, world| {
            world.touch_policy(s.client, s.blue);
            world.touch(s.red);
        },
    },
    // An address is a port's no more.
    Change {
        apply: |s, image| image.permits.retain(|(key, _)| key.endpoint != s.c.id),
        date: |s, world| {
            world.touch_endpoint(s.c.id);
        },
    },
    // The way out is lost.
    Change {
        apply: |s, image| image.routes.retain(|(key, bits, _)| key.zone != s.router || *bits != 96),
        date: |s, world| {
            world.touch_zone(s.router);
        },
    },
    // A line is suspended.
    Change {
        apply: |s, image| image.endpoints[s.line_a.id as usize].flags |= flags::SUSPENDED,
        date: |s, world| {
            world.touch_endpoint(s.line_a.id);
        },
    },
    // An interface goes away.
    Change {
        apply: |s, image| image.outputs[s.b.attachment as usize].ifindex = 0,
        date: |s, world| {
            world.touch(s.blue);
        },
    },
    // A record points nowhere: a defect of ours.
    Change {
        apply: |s, image| {
            let key = AttachmentKey { ifindex: s.lonely.ifindex, vlan: 0 };
            if let Some(attachment) = image.attachments.get_mut(&key) {
                attachment.zone = 1 << 23;
            }
        },
        date: |s, world| {
            world.touch(s.blue);
        },
    },
    // A tenant has few flows.
    Change {
        apply: |s, image| image.tenants[s.blue as usize].flows_max = FLOWS_MAX_TIGHT,
        date: |s, world| {
            world.touch(s.blue);
        },
    },
    // Something of another tenant's.
    Change {
        apply: |_, _| {},
        date: |s, world| {
            world.touch_endpoint(s.red_b.id);
        },
    },
    // Something that concerns no flow.
    Change {
        apply: |_, _| {},
        date: |s, world| {
            world.touch(s.blue);
        },
    },
    // A next hop has another MAC.
    Change {
        apply: |s, image| image.next_hops[s.uplink.hop as usize].dst.0[5] ^= 0x80,
        date: |_, _| {},
    },
    // Servers become stateless.
    Change {
        apply: |s, image| {
            image.policies[s.server as usize].flags |= policy::flags::STATELESS;
        },
        date: |s, world| {
            world.touch_policy(s.server, s.blue);
            world.touch(s.red);
        },
    },
    // A port is no more.
    Change {
        apply: |s, image| {
            image.endpoints[s.trunk.id as usize] = Default::default();
            image.stations.retain(|_, station| station.endpoint != s.trunk.id);
            image.locations.retain(|_, location| location.endpoint != s.trunk.id);
        },
        date: |s, world| {
            world.touch_endpoint(s.trunk.id);
            world.touch(s.red);
        },
    },
    // A port may send no more.
    Change {
        apply: |s, image| {
            let stations = image.stations.values_mut();
            stations.filter(|of| of.endpoint == s.b.id).for_each(|of| of.meter = CLOSED);
        },
        date: |_, _| {},
    },
    // A port may receive no more.
    Change {
        apply: |s, image| image.next_hops[s.free.hop as usize].meter = CLOSED,
        date: |_, _| {},
    },
    // A router forwards no more.
    Change {
        apply: |s, image| {
            image.next_hops[s.c.hop as usize].router_meter = CLOSED;
            for station in image.stations.values_mut().filter(|of| of.endpoint == s.c.id) {
                station.router_meter = CLOSED;
            }
            image.endpoints[s.line_b.id as usize].router_meter = CLOSED;
        },
        date: |_, _| {},
    },
    // What was exported is not.
    Change {
        apply: |s, image| {
            image.routes.retain(|(key, bits, route)| {
                key.zone != s.uplink.zone || *bits != 120 || route.zone != s.router
            });
        },
        date: |s, world| {
            world.touch_zone(s.uplink.zone);
            world.touch(s.blue);
        },
    },
];

/// The limits that every port has on both sides, and every router: more than passes here.
const OPEN: u32 = 1;
/// One that lets nothing pass ([`sekisho_tests::pair::Pair::install`]).
const CLOSED: u32 = 3;

/// Their terms.
fn limit(image: &mut Image) {
    let open = |generation| Terms {
        generation,
        is_exact: generation == OPEN,
        bytes: Pace::of_bits(1_000_000_000, 10_000_000_000_000),
        packets: Pace::of_packets(1_000_000, 1_000_000_000),
    };
    let nothing = Pace { burst: 0, factor: u32::MAX, shift: 0 };
    let closed =
        Terms { generation: CLOSED, is_exact: true, bytes: nothing, packets: Pace::default() };
    image.meters = vec![Terms::default(), open(OPEN), open(OPEN + 1), closed];
    for station in image.stations.values_mut() {
        (station.meter, station.router_meter) = (OPEN, OPEN + 1);
    }
    for hop in &mut image.next_hops {
        (hop.meter, hop.router_meter) = (OPEN, OPEN + 1);
    }
}

impl<'s> Changing<'s> {
    /// Nothing has changed yet.
    pub fn new(site: &'s Site) -> Self {
        Self { site, active: vec![false; CHANGES.len()], dates: site.world.clone() }
    }

    /// One more change, or one less; seldom more than a few at a time.
    pub fn next_image(&mut self, chance: &mut Chance) -> Image {
        let active: Vec<_> = (0..CHANGES.len()).filter(|&at| self.active[at]).collect();
        let at = if active.len() > 2 { *chance.of(&active) } else { chance.below(CHANGES.len()) };
        self.active[at] = !self.active[at];
        (CHANGES[at].date)(self.site, &mut self.dates);
        self.image()
    }

    /// The version in force.
    pub fn image(&self) -> Image {
        let mut image = self.site.world.image.clone();
        let dates = &self.dates.image;
        limit(&mut image);
        for (tenant, dated) in image.tenants.iter_mut().zip(&dates.tenants) {
            (tenant.epoch, tenant.flows_max) = (dated.epoch, FLOWS_MAX);
        }
        for (endpoint, dated) in image.endpoints.iter_mut().zip(&dates.endpoints) {
            endpoint.generation = dated.generation;
        }
        for (policy, dated) in image.policies.iter_mut().zip(&dates.policies) {
            policy.generation = dated.generation;
        }
        for (zone, dated) in image.zones.iter_mut().zip(&dates.zones) {
            zone.generation = dated.generation;
        }
        for (change, _) in CHANGES.iter().zip(&self.active).filter(|(_, is_active)| **is_active) {
            (change.apply)(self.site, &mut image);
        }
        image
    }
}
