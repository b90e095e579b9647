//! Who has to be told that an address has another MAC now?
//!
//! Neighbours believe for minutes what they once heard. After a version that changes an
//! answer of ours they are told unasked: tenants, when an address of their network has moved
//! to another MAC; those beyond a NIC, when the link, our MAC, or what we answer for there is
//! new (RFC 5227 section 2.3, RFC 4861 section 7.2.6).

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::{Duration, Instant},
};

use dataplane_common::{
    addr::{Addr, Mac},
    table::{Attachment, AttachmentKey, attachment_kind, route::kind},
    wire::{arp, ethernet, icmp::v6},
};

use crate::{
    frame,
    link::Sender,
    tables::{Image, prefixes::Prefixes},
};

/// One address at one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Announcement {
    /// Where it is told: interface and VLANs (0: none).
    pub at: (u32, u32),
    /// The address.
    pub addr: Addr,
    /// The MAC that it has there now.
    pub mac: Mac,
    /// Is it a router's?
    pub is_router: bool,
}

/// What waits to be told. Each is told twice, since a link that has just come up loses the
/// first; a large site's in small portions, of which every tenant has its part.
#[derive(Default)]
pub struct Announcer {
    /// By the tenant that it is told, in the order in which it is due.
    waiting: BTreeMap<u32, Waiting>,
    /// Numbers what is due at one time.
    last: u64,
    /// Whose turn it was last.
    turn: u32,
}

/// By when it is due, and a number of its own.
type Waiting = BTreeMap<(Instant, u64), Announcement>;

/// Between the two times (RFC 5227 section 1.1, ANNOUNCE_INTERVAL).
const AGAIN: Duration = Duration::from_secs(2);
/// As many are told at a time.
const PORTION: usize = 200;

impl Announcer {
    /// After `before` came `now`: what is new is to be told, and nothing that is gone.
    pub fn follow(&mut self, before: &Image, now: &Image) {
        let due = due(before, now);
        let is_there = |at: (u32, u32)| {
            now.attachments.contains_key(&AttachmentKey { ifindex: at.0, vlan: at.1 })
        };
        let renewed: HashMap<_, _> = due.iter().map(|one| ((one.at, one.addr), one.mac)).collect();
        for waiting in self.waiting.values_mut() {
            waiting.retain(|_, one| {
                let mac = renewed.get(&(one.at, one.addr));
                is_there(one.at) && mac.is_none_or(|mac| *mac == one.mac)
            });
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        let start = Instant::now();
        for one in due {
            let waiting = self.waiting.entry(tenant(now, one.at)).or_default();
            for time in [start, start + AGAIN] {
                self.last += 1;
                waiting.insert((time, self.last), one);
            }
        }
    }

    /// Tells a portion of what is due; `name` is what the interface of a number is called.
    pub fn tell<'n>(&mut self, sender: &mut Sender, name: impl Fn(u32) -> Option<&'n str>) {
        let now = Instant::now();
        for _ in 0..PORTION {
            let Some(one) = self.next(now) else { return };
            if let Some(interface) = name(one.at.0) {
                sender.send(interface, one.at.1, &announcement(&one));
            }
        }
    }

    /// The next that is due, of whom it is the turn.
    fn next(&mut self, now: Instant) -> Option<Announcement> {
        let is_due = |(_, waiting): &(&u32, &Waiting)| {
            waiting.first_key_value().is_some_and(|(key, _)| key.0 <= now)
        };
        let (until, after) = (..=self.turn, (Bound::Excluded(self.turn), Bound::Unbounded));
        let next = self.waiting.range(after).find(is_due);
        let (&tenant, _) = next.or_else(|| self.waiting.range(until).find(is_due))?;
        self.turn = tenant;
        Some(self.waiting.get_mut(&tenant)?.pop_first()?.1)
    }
}

/// Whose network or uplink is there?
fn tenant(image: &Image, (ifindex, vlan): (u32, u32)) -> u32 {
    let at = image.attachments.get(&AttachmentKey { ifindex, vlan });
    at.and_then(|at| image.zones.get(at.zone as usize)).map_or(0, |zone| zone.tenant)
}

/// What has to be told after `before` when `now` is in force.
#[must_use]
pub fn due(before: &Image, now: &Image) -> Vec<Announcement> {
    let mut due = moved(before, now);
    let nics = now.attachments.iter().filter(|(_, at)| at.kind != attachment_kind::PORTS);
    for (key, at) in nics.filter(|(key, at)| is_new(before, now, key, at)) {
        answered(now, key, at, &mut due);
    }
    due.sort_unstable();
    due
}

/// Is the link another one than before, or is anything new about what we say there?
fn is_new(before: &Image, now: &Image, key: &AttachmentKey, at: &Attachment) -> bool {
    let zone = |image: &Image| image.zones.get(at.zone as usize).copied();
    before.attachments.get(key) != Some(at) || zone(before) != zone(now)
}

/// Addresses of networks that have another MAC than before, for everybody in the network
/// but for whoever has it.
fn moved(before: &Image, now: &Image) -> Vec<Announcement> {
    let mut moved: HashMap<u32, Vec<_>> = HashMap::new();
    for (key, location) in &now.locations {
        if before.locations.get(key).is_some_and(|old| old.mac != location.mac) {
            moved.entry(key.zone).or_default().push((key.addr, *location));
        }
    }
    let mut due = Vec::new();
    let ports = now.attachments.iter().filter(|(_, at)| at.kind == attachment_kind::PORTS);
    for (key, at) in ports {
        for (addr, location) in moved.get(&at.zone).into_iter().flatten() {
            let is_router = location.endpoint == 0;
            let hop = now.next_hops.get(location.next_hop as usize);
            if is_router || hop.is_none_or(|hop| u32::from(hop.attachment) != at.id) {
                let at = (key.ifindex, key.vlan);
                due.push(Announcement { at, addr: *addr, mac: location.mac, is_router });
            }
        }
    }
    due
}

/// Everything that we answer for at a NIC: our own addresses, and those in exports that
/// somebody has.
fn answered(now: &Image, key: &AttachmentKey, at: &Attachment, due: &mut Vec<Announcement>) {
    let Some(zone) = now.zones.get(at.zone as usize) else { return };
    if zone.mac == Mac::default() {
        return;
    }
    let mut tell = |addr| {
        let at = (key.ifindex, key.vlan);
        due.push(Announcement { at, addr, mac: zone.mac, is_router: true });
    };
    let own = [Addr::v4(zone.own_v4), zone.own_v6];
    own.into_iter().filter(|own| !own.is_unspecified()).for_each(&mut tell);
    let router_of = |network: u32| now.zones.get(network as usize).map_or(0, |zone| zone.router);
    let routes = now.routes.iter().filter(|(key, ..)| key.zone == at.zone);
    let exports: Prefixes<(), _> =
        routes.map(|(key, bits, route)| ((), key.addr, *bits, (route.kind, route.zone))).collect();
    for (key, location) in &now.locations {
        let by_router = Some((kind::ROUTER, router_of(key.zone)));
        if location.endpoint != 0 && exports.longest(&(), &key.addr).copied() == by_router {
            tell(key.addr);
        }
    }
    for (key, bits, _) in &now.sessions {
        if u32::from(*bits) == Addr::BITS
            && exports.longest(&(), &key.addr) == Some(&(kind::POOL, key.zone))
        {
            tell(key.addr);
        }
    }
}

/// An ARP announcement, or an unsolicited neighbour advertisement to all nodes.
#[must_use]
pub fn announcement(one: &Announcement) -> Vec<u8> {
    let Announcement { at, addr, mac, is_router } = one;
    let mut bytes = Vec::with_capacity(96);
    if addr.is_v4() {
        bytes.extend(Mac::BROADCAST.0);
        bytes.extend(mac.0);
        bytes.extend(ethernet::ARP);
        bytes.extend(arp::ETHERNET_IPV4);
        bytes.extend(arp::REQUEST);
        bytes.extend(mac.0);
        bytes.extend(addr.v4_bytes());
        bytes.extend([0; 6]);
        bytes.extend(addr.v4_bytes());
    } else {
        let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let flags = if *is_router { v6::FLAG_ROUTER } else { 0 } | v6::FLAG_OVERRIDE;
        let mut message = vec![v6::NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
        message.extend(addr.bytes());
        message.extend([v6::OPTION_TARGET_ADDRESS, 1]);
        message.extend(mac.0);
        bytes.extend([0x33, 0x33, 0, 0, 0, 1]);
        super::message(&mut bytes, *mac, addr.bytes(), all_nodes, message);
    }
    frame::tagged(&bytes, at.1)
}

#[cfg(test)]
mod tests {
    use dataplane_common::table::{
        Location, LocationKey, next_hop::NextHop, route::Route, zone::Zone,
    };

    use super::*;

    const OLD: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NEW: Mac = Mac([2, 0, 0, 0, 0, 2]);
    /// A network with its router, two ports at interfaces 11 and 12, and an uplink at 13.
    const NETWORK: u32 = 1;
    const ROUTER: u32 = 2;
    const UPLINK: u32 = 3;
    const GATEWAY: Addr = Addr::v4([10, 0, 0, 1]);
    const PORT: Addr = Addr::v4([10, 0, 0, 11]);

    fn image() -> Image {
        let mut image = Image::default();
        let ports = attachment_kind::PORTS;
        for (id, kind, zone) in
            [(1, ports, NETWORK), (2, ports, NETWORK), (3, attachment_kind::UPLINK, UPLINK)]
        {
            let at = Attachment { id, kind, zone, ..Attachment::default() };
            image.attachments.insert(AttachmentKey { ifindex: 10 + id, vlan: 0 }, at);
        }
        image.zones = vec![Zone::default(); 4];
        image.zones[NETWORK as usize].router = ROUTER;
        image.zones[UPLINK as usize] =
            Zone { mac: OLD, own_v4: [192, 0, 2, 1], own_v6: Addr::v6([9; 16]), ..Zone::default() };
        image.next_hops = vec![NextHop::default(), NextHop { attachment: 1, ..NextHop::default() }];
        let location = Location { mac: OLD, ..Location::default() };
        image.locations.insert(key(GATEWAY), location);
        image.locations.insert(key(PORT), Location { endpoint: 1, next_hop: 1, ..location });
        let export = Route { kind: kind::ROUTER, zone: ROUTER, ..Route::default() };
        image.routes.push((export_key([10, 0, 0, 0]), 96 + 24, export));
        image
    }

    fn key(addr: Addr) -> LocationKey {
        LocationKey { addr, zone: NETWORK, zero: 0 }
    }

    fn export_key(prefix: [u8; 4]) -> LocationKey {
        LocationKey { addr: Addr::v4(prefix), zone: UPLINK, zero: 0 }
    }

    fn told(before: &Image, now: &Image) -> Vec<(u32, Addr, Mac)> {
        due(before, now).into_iter().map(|one| (one.at.0, one.addr, one.mac)).collect()
    }

    #[test]
    fn nothing_new_is_not_told() {
        assert_eq!(told(&image(), &image()), []);
    }

    #[test]
    fn a_new_link_hears_of_what_somebody_has_in_its_exports() {
        let own = |addr| (13, addr, OLD);
        let all = [own(Addr::v4([192, 0, 2, 1])), own(Addr::v6([9; 16])), own(PORT)];
        assert_eq!(told(&Image::default(), &image()).len(), 3);
        for one in all {
            assert!(told(&Image::default(), &image()).contains(&one), "{one:?}");
        }
        // What the provider protects within an export is not answered for, so it is not told.
        let mut image = image();
        let protected = Route { kind: kind::PROTECTED, ..Route::default() };
        image.routes.push((export_key([10, 0, 0, 8]), 96 + 29, protected));
        assert_eq!(told(&Image::default(), &image).len(), 2);
    }

    #[test]
    fn a_network_hears_of_who_moved_and_nobody_of_himself() {
        let mut now = image();
        now.locations.get_mut(&key(GATEWAY)).unwrap().mac = NEW;
        assert_eq!(told(&image(), &now), [(11, GATEWAY, NEW), (12, GATEWAY, NEW)]);
        let mut now = image();
        now.locations.get_mut(&key(PORT)).unwrap().mac = NEW;
        assert_eq!(told(&image(), &now), [(12, PORT, NEW)]);
    }

    #[test]
    fn each_is_told_twice_and_what_is_gone_not_at_all() {
        let mut announcer = Announcer::default();
        announcer.follow(&Image::default(), &image());
        assert_eq!(announcer.waiting[&0].len(), 6);
        announcer.tell(&mut Sender::default(), |_| None);
        assert_eq!(announcer.waiting[&0].len(), 3);
        announcer.follow(&image(), &Image::default());
        assert!(announcer.waiting.is_empty());
    }

    #[test]
    fn nobody_waits_for_all_that_another_is_told() {
        let mut now = image();
        now.zones[NETWORK as usize].tenant = 7;
        for last in 0..=255 {
            let location = Location { mac: OLD, ..Location::default() };
            now.locations.insert(key(Addr::v4([10, 0, 1, last])), location);
        }
        let mut moved = now.clone();
        moved.locations.values_mut().for_each(|location| location.mac = NEW);
        let mut announcer = Announcer::default();
        announcer.follow(&now, &moved);
        announcer.follow(&Image::default(), &image());
        let due = Instant::now();
        let first: Vec<_> = (0..4).filter_map(|_| announcer.next(due)).collect();
        let at_uplink = first.iter().filter(|one| one.at.0 == 13).count();
        assert_eq!((first.len(), at_uplink), (4, 2), "{first:?}");
    }

    #[test]
    fn an_announcement_is_what_neighbours_expect() {
        let one = Announcement { at: (1, 5), addr: PORT, mac: NEW, is_router: false };
        let arp = announcement(&one);
        assert_eq!((arp.len(), &arp[12..16]), (46, [0x81, 0, 0, 5].as_slice()));
        assert_eq!(arp[32..36], arp[42..46], "the sender is the target");
        let addr = Addr::v6([7; 16]);
        let na = announcement(&Announcement { at: (1, 0), addr, mac: NEW, is_router: true });
        let (header, message) = na[14..].split_at(40);
        let pseudo = frame::sum(&header[8..]).word([0, 32]).word([0, 58]);
        let total = message.chunks_exact(2).fold(pseudo, |sum, pair| sum.word([pair[0], pair[1]]));
        assert_eq!((total.fold(), message[4]), ([0xff; 2], 0xa0));
    }
}
