//! Two tenants with the same addresses, two uplinks, an access.
//!
//! ```text
//! blue router ─ net 1: a b free pair stateless trunk(VLAN 7)    10.1.0.0/24 2001:db8:1::/64
//!             ├ net 2: c                       (MTU 1400)       10.2.0.0/24 2001:db8:2::/64
//!             ├ net 9: mec                     (MEC only)       10.9.0.0/24
//!             ├ lines: line_a line_b suspended bound(to net 1)  100.64.0.0/24
//!             └ default: uplink; 203.0.113.0/24: far (unresolved); 198.18.0.0/15: black hole;
//!               11.0.0.0/8: uplink by two next hops
//! red router  ─ net 1: red_a red_b   the same addresses as blue's net 1, exported nowhere
//!             └ net 6: red_c         10.66.0.0/24, exported to the uplink
//! lonely                             10.8.0.0/24, no router
//! behind two tags, where another has the inner one alone: twin of blue's net 1 and red_twin of
//!               red's net 6 beside trunk, the uplink metro (12.0.0.0/8) beside the uplink
//! uplink line: line_up, attached to the uplink itself           100.65.0.0/24
//! the host's own: .5 on the links of uplink and access
//! ```

use std::cell::RefCell;

use dataplane_common::{
    Stop,
    table::{
        endpoint::{Endpoint, flags},
        flow::held,
        next_hop::state,
        policy::{self, MemberKey, Rule, family, remote, rule_flags},
        route::kind,
    },
};
use dataplane_user::tables::{HostTables, Image};

use super::{
    End, MTU_BYTES, Network, World, any, everything, key, mac, only, prefix, to, via, within,
};
use crate::{
    build::Frame,
    drive::{self, Outcome},
    packet::{Hook, HostPacket},
};

/// The site that the packet tests share.
#[expect(missing_docs, reason = "the picture above names them")]
pub struct Site {
    pub world: World,
    pub blue: u32,
    pub red: u32,
    pub router: u32,
    pub red_router: u32,
    pub net: Network,
    pub net_c: Network,
    pub a: End,
    pub b: End,
    pub free: End,
    pub pair: End,
    pub stateless: End,
    pub trunk: End,
    pub c: End,
    pub mec: End,
    pub lonely: End,
    pub red_a: End,
    pub red_b: End,
    pub red_c: End,
    pub uplink: End,
    pub far: End,
    pub access: End,
    pub line_a: End,
    pub line_b: End,
    pub suspended: End,
    pub bound: End,
    pub line_up: End,
    pub twin: End,
    pub red_twin: End,
    pub metro: End,
    /// Egress everything, ingress nothing: a's.
    pub client: u32,
    /// Ingress TCP 80, UDP 53, echo: b's and c's.
    pub server: u32,
    /// The same of tenant red.
    pub red_server: u32,
    /// The group that may reach a's UDP 5000; b is in it.
    pub group: u32,
    /// Tables with this world.
    pub tables: HostTables,
    /// What happened so far, for whoever wants to do the same elsewhere.
    pub past: RefCell<Vec<Event>>,
}

/// What a test did to the site.
#[derive(Clone, Debug)]
pub enum Event {
    /// It put another world into force.
    Changed(Box<Image>),
    /// It sent a packet.
    Sent(Sent),
}

/// A packet on its way in.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it is seen.
    pub hook: Hook,
    /// Where it comes in.
    pub ifindex: u32,
    /// Its bytes on the wire.
    pub frame: Vec<u8>,
    /// The payload of each segment that it stands for; 0: it is one.
    pub segment_bytes: u32,
}

/// Lines of the flow table.
const FLOW_LINES: u32 = 1024;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The address group that may reach b's and c's UDP 5002: the beginning of net 1.
const ADDRESSES: u32 = 3;

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// The picture above.
    #[must_use]
    pub fn new() -> Self {
        let mut w = World::new();
        let (blue, red) = (w.tenant(), w.tenant());
        let (router, red_router) = (w.router(blue), w.router(red));
        let group = 1;
        let from_group =
            |family| Rule { remote: remote::MEMBERS, set: group, ..only(family, UDP, 5000, 5000) };
        let client = w.policy(0, &everything(), &[from_group(family::V4), from_group(family::V6)]);
        let services: Vec<_> = [family::V4, family::V6]
            .into_iter()
            .flat_map(|family| [only(family, TCP, 80, 80), only(family, UDP, 53, 53)])
            .chain([only(family::V4, 1, 0x0800, 0x08ff), only(family::V6, 58, 0x8000, 0x80ff)])
            .chain([within(only(family::V4, UDP, 5001, 5001), "10.1.0.0/24")])
            .chain([within(only(family::V6, UDP, 5001, 5001), "2001:db8:1::/64")])
            .chain([family::V4, family::V6].map(|family| Rule {
                remote: remote::ADDRESSES,
                set: ADDRESSES,
                ..only(family, UDP, 5002, 5002)
            }))
            .collect();
        for addrs in ["10.1.0.0/26", "2001:db8:1::/120"] {
            let (addr, bits) = prefix(addrs);
            w.image.group_prefixes.push((key(ADDRESSES, addr), bits));
        }
        let server = w.policy(0, &everything(), &services);
        let stateless_policy = w.policy(policy::flags::STATELESS, &everything(), &services);

        let net = w.network(blue, router, MTU_BYTES, &["10.1.0.1/24", "2001:db8:1::1/64"]);
        let a = w.port(net, &["10.1.0.10", "2001:db8:1::10", "fe80::10"], client);
        let b = w.port(net, &["10.1.0.20", "2001:db8:1::20"], server);
        let free = w.port(net, &["10.1.0.30", "2001:db8:1::30"], 0);
        w.image.endpoints[free.id as usize].flags |= flags::INSECURE;
        w.station(free, [0; 6]);
        let pair = w.port(net, &["10.1.0.40"], client);
        w.permit(pair, "10.1.0.99/32");
        w.permit(pair, "10.77.0.0/24");
        let stateless = w.port(net, &["10.1.0.60", "2001:db8:1::60"], stateless_policy);
        // A pair of two ports, which the first has now.
        for (addr, bits) in [("10.1.0.88", 32), ("2001:db8:1::88", 128)] {
            for port in [pair, stateless] {
                w.permit(port, &format!("{addr}/{bits}"));
            }
            w.shared(pair, addr);
        }
        let trunk = w.port_at(net, &["10.1.0.50"], server, 50, 7);
        let net_c = w.network(blue, router, 1400, &["10.2.0.1/24", "2001:db8:2::1/64"]);
        let c = w.port(net_c, &["10.2.0.10", "2001:db8:2::10"], server);
        let net_m = w.network(blue, router, MTU_BYTES, &["10.9.0.1/24"]);
        let mec = w.port(net_m, &["10.9.0.10"], server);
        w.image.endpoints[mec.id as usize].flags |= flags::MEC_ONLY;
        let net_l = w.network(blue, 0, MTU_BYTES, &[]);
        let lonely = w.port(net_l, &["10.8.0.10"], client);
        w.image.members.insert(MemberKey { set: group, endpoint: b.id });

        let red_net = w.network(red, red_router, MTU_BYTES, &["10.1.0.1/24", "2001:db8:1::1/64"]);
        // A policy is of one tenant's groups.
        let red_client = w.policy(0, &everything(), &[]);
        let red_server = w.policy(0, &everything(), &services);
        let red_a = w.port(red_net, &["10.1.0.10", "2001:db8:1::10"], red_client);
        let red_b = w.port(red_net, &["10.1.0.20", "2001:db8:1::20"], red_server);
        let red_net_c = w.network(red, red_router, MTU_BYTES, &["10.66.0.1/24"]);
        let red_c = w.port(red_net_c, &["10.66.0.10"], red_server);

        let uplink = w.uplink(100, 30, &["198.51.100.2/24", "2001:db8:ff::2/64"]);
        let far = w.uplink(101, 0, &["198.51.101.2/24"]);
        w.image.next_hops[far.hop as usize].state = state::UNRESOLVED;
        w.next_hop_at(uplink, "198.51.100.1");
        w.next_hop_at(uplink, "2001:db8:ff::1");
        let access = w.access(110, 0, &["100.127.0.1/24", "2001:db8:7f::1/64"]);
        w.next_hop_at(access, "100.127.0.9");
        let line =
            |policy| Endpoint { tenant: blue, destination: router, policy, ..Endpoint::default() };
        let open = w.policy(0, &everything(), &everything());
        let lines = Rule { remote: remote::LINES, set: 2, ..any(family::V4) };
        let peers = w.policy(0, &everything(), &[any(family::V4), lines]);
        let line_a = w.line(access, &["100.64.0.10", "2001:db8:64:1::/64"], line(open));
        let line_b = w.line(access, &["100.64.0.13"], line(peers));
        w.image.members.insert(MemberKey { set: 2, endpoint: line_a.id });
        let suspended =
            w.line(access, &["100.64.0.11"], Endpoint { flags: flags::SUSPENDED, ..line(open) });
        let bound = w.line(access, &["100.64.0.12"], Endpoint { network: net.zone, ..line(open) });
        let to_uplink = Endpoint { destination: uplink.zone, ..line(open) };
        let line_up = w.line(access, &["100.65.0.10"], to_uplink);

        w.route(router, "0.0.0.0/0", via(&[uplink.hop]));
        w.route(router, "::/0", via(&[uplink.hop]));
        w.route(router, "203.0.113.0/24", via(&[far.hop]));
        let second = w.hop(uplink.attachment, uplink.id, MTU_BYTES, mac(0x0300), uplink.router, 0);
        w.route(router, "11.0.0.0/8", via(&[uplink.hop, second]));
        w.route(router, "198.18.0.0/15", to(kind::BLACKHOLE, 0));
        w.route(router, "100.64.0.0/24", to(kind::POOL, access.zone));
        w.route(router, "2001:db8:64::/48", to(kind::POOL, access.zone));
        w.route(red_router, "198.51.100.0/24", via(&[uplink.hop]));
        w.route(red_router, "9.0.0.0/8", via(&[uplink.hop]));
        w.route(far.zone, "0.0.0.0/0", via(&[far.hop]));
        w.route(far.zone, "10.1.0.0/24", to(kind::ROUTER, router));
        w.route(uplink.zone, "0.0.0.0/0", via(&[uplink.hop]));
        w.route(uplink.zone, "::/0", via(&[uplink.hop]));
        w.route(uplink.zone, "192.0.2.0/24", to(kind::PROTECTED, 0));
        let answers = Rule { flags: rule_flags::ANSWERS, ..only(family::V4, TCP, 443, 443) };
        let host = w.policy(
            0,
            &[],
            &[
                only(family::V4, TCP, 22, 22),
                only(family::V4, UDP, 53, 53),
                only(family::V4, 1, 0x0800, 0x08ff),
                within(only(family::V4, UDP, 161, 161), "198.51.100.0/24"),
                answers,
                only(family::V6, TCP, 22, 22),
                only(family::V6, UDP, 53, 53),
                only(family::V6, 58, 0x8000, 0x80ff),
            ],
        );
        w.host(uplink, &["198.51.100.5", "2001:db8:ff::5"], host);
        w.host(access, &["100.127.0.5"], host);
        for pool in ["100.64.0.0/24", "100.65.0.0/24", "2001:db8:64::/48"] {
            w.route(access.zone, pool, to(kind::INSIDE, 0));
        }
        w.route(uplink.zone, "10.66.0.0/24", to(kind::ROUTER, red_router));
        w.route(uplink.zone, "100.65.0.0/24", to(kind::POOL, access.zone));
        for exported in [
            "10.1.0.0/24",
            "10.2.0.0/24",
            "10.9.0.0/24",
            "100.64.0.0/24",
            "2001:db8:1::/64",
            "2001:db8:64::/48",
        ] {
            w.route(uplink.zone, exported, to(kind::ROUTER, router));
        }

        let twin = w.port_at(net, &["10.1.0.70", "2001:db8:1::70"], server, 50, 5 << 16 | 7);
        let red_twin = w.port_at(red_net_c, &["10.66.0.70"], red_server, 50, 6 << 16 | 7);
        let metro = w.uplink(100, 9 << 16 | 30, &["198.51.102.2/24", "2001:db8:fe::2/64"]);
        w.next_hop_at(metro, "198.51.102.1");
        w.route(metro.zone, "0.0.0.0/0", via(&[metro.hop]));
        for tenant_router in [router, red_router] {
            w.route(tenant_router, "12.0.0.0/8", via(&[metro.hop]));
        }
        for exported in ["10.1.0.0/24", "10.2.0.0/24", "100.64.0.0/24", "2001:db8:1::/64"] {
            w.route(metro.zone, exported, to(kind::ROUTER, router));
        }
        w.route(metro.zone, "10.66.0.0/24", to(kind::ROUTER, red_router));
        let tables = HostTables::new(w.image.clone(), FLOW_LINES);
        Self {
            world: w,
            blue,
            red,
            router,
            red_router,
            net,
            net_c,
            a,
            b,
            free,
            pair,
            stateless,
            trunk,
            c,
            mec,
            lonely,
            red_a,
            red_b,
            red_c,
            uplink,
            far,
            access,
            line_a,
            line_b,
            suspended,
            bound,
            line_up,
            twin,
            red_twin,
            metro,
            client,
            server,
            red_server,
            group,
            tables,
            past: RefCell::default(),
        }
    }

    /// Changes the world and puts it into force; flows stay.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut World) -> T) -> T {
        let changed = change(&mut self.world);
        self.tables.replace(self.world.image.clone());
        self.past.get_mut().push(Event::Changed(Box::new(self.world.image.clone())));
        changed
    }

    /// A frame of this end to our MAC on its link.
    #[must_use]
    pub fn routed(&self, from: End) -> Frame {
        self.frame(from, from.router)
    }

    /// A frame from one port to another of its network.
    #[must_use]
    pub fn switched(&self, from: End, to: End) -> Frame {
        self.frame(from, to.mac)
    }

    /// The same frame as a router hands it on to this end.
    #[must_use]
    pub fn forwarded(&self, frame: &Frame, ttl: u8, to: End) -> Frame {
        frame.clone().untagged().eth(to.router, to.mac).ttl(ttl).vlans(to.vlan)
    }

    /// A frame of this end to any MAC.
    #[must_use]
    pub fn frame(&self, from: End, dst: [u8; 6]) -> Frame {
        Frame::new(from.mac, dst).vlans(from.vlan)
    }

    /// Sends the frame from this end: at XDP from a NIC, at tcx from a port.
    pub fn send(&self, from: End, frame: &Frame) -> Outcome {
        let is_nic = [self.uplink, self.far, self.access, self.metro]
            .iter()
            .any(|nic| nic.attachment == from.attachment);
        let hook = if is_nic { Hook::Xdp } else { Hook::Tc };
        let frame = frame.build();
        let packet = HostPacket::new(hook, from.ifindex, &frame);
        let sent = Sent { hook, ifindex: from.ifindex, frame, segment_bytes: 0 };
        self.past.borrow_mut().push(Event::Sent(sent));
        drive::run(&self.tables, packet)
    }

    /// Sends the frame and asserts that it arrives there.
    #[track_caller]
    pub fn passes(&self, from: End, frame: &Frame, to: End) {
        let outcome = self.send(from, frame);
        assert!(
            matches!(outcome.end, drive::End::Left { output, .. } if output == to.attachment),
            "{:?}",
            outcome.end
        );
        assert!(!outcome.counters.counts.contains_key(&(to.attachment, 3)), "an error came back");
    }

    /// Sends the frame and asserts that it is stopped for this reason, told or not.
    #[track_caller]
    pub fn stops(&self, from: End, frame: &Frame, stop: Stop) {
        let outcome = self.send(from, frame);
        let stops: Vec<_> = outcome.counters.stops.keys().map(|(_, stop)| *stop).collect();
        assert_eq!(stops, [stop], "{:?}", outcome.end);
    }

    /// How many half-flows a tenant pays for.
    #[must_use]
    pub fn halves_of(&self, tenant: u32) -> i32 {
        held::all(self.tables.halves_of(tenant))
    }

    /// How many of them strangers opened, and nobody has agreed to.
    #[must_use]
    pub fn inbound_of(&self, tenant: u32) -> i32 {
        held::inbound(self.tables.halves_of(tenant))
    }

    /// A MAC that nobody has.
    #[must_use]
    pub const fn stranger() -> [u8; 6] {
        mac(0x0fff)
    }
}
