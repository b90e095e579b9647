//! How often did which branch of a stage happen?

use std::collections::{BTreeMap, BTreeSet};

use dataplane_common::{
    Packet, Stop,
    stage::conntrack::state,
    table::{
        endpoint::kind as endpoint,
        flow::{action, status},
        next_hop::NextHop,
        policy::remote,
        route::kind,
    },
    tables::note,
    wire::protocol,
    work::{Work, flags, job},
};
use dataplane_user::tables::Image;
use sekisho_tests::{packet::Hook, pair::Agreed};

/// How often each branch was met.
#[derive(Default)]
pub struct Histogram {
    counts: BTreeMap<String, u64>,
    /// Packets.
    pub packets: u64,
    /// Of them, those that left.
    pub left: u64,
}

impl Histogram {
    /// Counts a packet.
    pub fn count(&mut self, hook: Hook, image: &Image, agreed: &Agreed) {
        let (passed, work) = (&agreed.passed, &agreed.passed.work);
        self.packets += 1;
        let hook = if hook == Hook::Xdp { "xdp" } else { "tc" };
        let family = if work.is(flags::V6) { "IPv6" } else { "IPv4" };
        let is_parsed = work.l3_bytes != 0xdead_beef;
        self.add(format!("programs {}: {hook}", passed.programs));
        if passed.is_flooded {
            self.left += 1;
            let family = if is_parsed { family } else { "no IP" };
            self.add(format!("flooded: {family}"));
            self.add(format!(
                "copies: {}",
                if passed.packet.copies().len() > 1 { "several" } else { "one" }
            ));
        } else if let Some(stop) = passed.stop {
            self.add(format!("stop {}", stop.name()));
            self.add(format!("stopped at {hook}"));
        } else {
            self.left += 1;
            let what = match work.job {
                job::NONE => "forwarded",
                job::ARP => "answered ARP",
                job::NEIGHBOUR => "answered neighbour",
                job::ECHO => "answered echo",
                job::HEAR => "heard",
                job::PARK => "parked",
                job::PASS => "passed up",
                _ => "told",
            };
            let family = if is_parsed { family } else { "no IP" };
            self.add(format!("{what}: {hook} {family}"));
            let output = image.outputs.get(work.output as usize).copied().unwrap_or_default();
            let tag_in = ["untagged", "tagged", "tagged twice"][work.inline_bytes() as usize / 4];
            let tag_out = match output.vlan {
                0 => "untagged",
                0x1_0000.. => "tagged twice",
                _ => "tagged",
            };
            self.add(format!("emit {hook}: {tag_in} to {tag_out}, kind {}", output.kind));
        }
        if is_parsed {
            self.parsed(work, family);
        }
        if passed.packet.segments() > 1 {
            self.add("several segments".to_owned());
        }
        for note in &agreed.notes {
            let name = match note.what {
                note::FLOW => format!("flow found: {}", found(note.detail)),
                note::NO_FLOW => "flow not found".to_owned(),
                note::READMIT => format!("judged again: {}", found(note.detail)),
                note::ROUTE => {
                    let route = image.routes.iter().find(|(_, _, route)| route.id == note.id);
                    if route.is_some_and(|(_, _, route)| route.hops_count > 1) {
                        self.add("route by several next hops".to_owned());
                    }
                    format!("route {}", route.map_or("?", |(_, _, route)| route_name(route.kind)))
                }
                note::RECEIVER => format!("next hop: {}", hop(image, note.detail)),
                note::EGRESS => format!("egress {}", rule(image, note.id)),
                note::INGRESS => format!("ingress {}", rule(image, note.id)),
                note::LIMIT if note.detail == 0 => "limit: no room".to_owned(),
                note::LIMIT => "limit: room".to_owned(),
                note::PIECE => format!("a piece of a known datagram: {family} {hook}"),
                note::EARLY => format!("a piece before its first: {family} {hook}"),
                note::RELATED => format!("related: {family} {hook}"),
                note::STATE => {
                    let half =
                        if work.flow_status & status::REPLY == 0 { "opener" } else { "responder" };
                    let (before, after) = (state::name(note.id), state::name(note.detail));
                    format!("state by {half}: {before} to {after}")
                }
                note::STOP if work.job == job::ERROR => {
                    let [kind, code] = work.error;
                    let told = if passed.stop.is_none() { "told" } else { "silent" };
                    format!(
                        "{told} {family}: {} ({kind}/{code})",
                        Stop::from_number(note.id).name()
                    )
                }
                _ => continue,
            };
            self.add(name);
        }
    }

    /// What the packet says it is, as far as it was believed.
    fn parsed(&mut self, work: &Work, family: &str) {
        let is_icmp = matches!(work.key.protocol, protocol::ICMP | protocol::ICMPV6);
        let what = match work.key.protocol {
            _ if work.is(flags::ICMP_ERROR) => "ICMP error",
            _ if work.is(flags::ICMP_QUERY) => "ICMP query",
            _ if is_icmp => "other ICMP",
            protocol::TCP => "TCP",
            protocol::UDP => "UDP",
            protocol::UDPLITE => "UDP-Lite",
            protocol::SCTP => "SCTP",
            protocol::DCCP => "DCCP",
            _ => "without ports",
        };
        self.add(format!("parsed {family}: {what}"));
        let shortest = if work.is(flags::V6) { 40 } else { 20 };
        if work.l4.wrapping_sub(work.l3) > shortest {
            self.add(format!("parsed {family}: with options"));
        }
        for (flag, name) in [(flags::FRAGMENT, "first fragment"), (flags::LATER, "later fragment")]
        {
            if work.is(flag) {
                self.add(format!("parsed {family}: {name}"));
            }
        }
    }

    fn add(&mut self, name: String) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Every branch with its count.
    pub fn print(&self) {
        for (name, count) in &self.counts {
            println!("{count:8} {name}");
        }
        println!("{:8} packets, {} left", self.packets, self.left);
    }

    /// How often stops happened, told or not.
    pub fn stops(&self, name: &str) -> u64 {
        let told = format!(": {name} (");
        let silent = self.counts.get(&format!("stop {name}")).copied().unwrap_or(0);
        let told =
            self.counts.iter().filter(|(key, _)| key.starts_with("told ") && key.contains(&told));
        silent + told.map(|(_, count)| count).sum::<u64>()
    }

    /// Those of the branches that happened less often than that.
    pub fn rare<'b>(
        &self,
        branches: impl IntoIterator<Item = &'b str>,
        min: u64,
    ) -> BTreeSet<String> {
        let of = |name: &str| self.counts.get(name).copied().unwrap_or(0);
        branches.into_iter().filter(|name| of(name) < min).map(str::to_owned).collect()
    }
}

fn found(detail: u32) -> String {
    let half = if detail & status::REPLY == 0 { "opener" } else { "responder" };
    let denied = if note::has_flag(detail, action::DENIED) { ", denied" } else { "" };
    let each = if note::has_flag(detail, action::EACH) { ", each packet judged" } else { "" };
    format!("{half}{denied}{each}")
}

fn rule(image: &Image, id: u32) -> &'static str {
    let Some(rule) = image.rules.iter().find(|rule| rule.id == id) else { return "unfiltered" };
    match rule.remote {
        remote::ANY => "by a rule for anyone",
        remote::PREFIX => "by a rule for a prefix",
        remote::MEMBERS => "by a rule for members",
        remote::ADDRESSES => "by a rule for an address group",
        remote::LINES => "by a rule for lines",
        _ => "?",
    }
}

/// Whose next hop is it? Of an uplink the second is told from the first.
fn hop(image: &Image, id: u32) -> &'static str {
    let hops = &image.next_hops;
    let Some(hop) = hops.get(id as usize) else { return "?" };
    let is_first = |first: &NextHop| first.endpoint == hop.endpoint;
    let is_second = hops.iter().position(is_first) != Some(id as usize);
    match image.endpoints.get(hop.endpoint as usize).map(|end| end.kind) {
        Some(endpoint::PORT) => "a port's",
        Some(endpoint::LINE) => "a line's",
        Some(endpoint::UPLINK) if is_second => "an uplink's second",
        Some(endpoint::UPLINK) => "an uplink's",
        _ => "?",
    }
}

fn route_name(of: u32) -> &'static str {
    match of {
        kind::CONNECTED => "connected",
        kind::VIA => "via",
        kind::BLACKHOLE => "blackhole",
        kind::POOL => "pool",
        kind::OWN => "own",
        kind::ROUTER => "router",
        kind::PROTECTED => "protected",
        kind::HOST => "host",
        _ => "none",
    }
}
