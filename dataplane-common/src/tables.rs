//! What may a stage ask of the tables?

use crate::addr::Addr;
use crate::limits::{self, DATAGRAMS_PER_TENANT, PARKED_PER_TENANT};
use crate::stop::Stop;
use crate::table::{
    Attachment, AttachmentEntry, AttachmentKey, Location, LocationEntry, LocationKey, PermitKey,
    PermitsEntry, Station, StationEntry, StationKey, Tenant,
    classifier::Asked,
    datagram::Datagram,
    endpoint::Endpoint,
    flow::{FlowCold, FlowLine, FlowMore},
    heap::{Heap, List},
    lpm,
    next_hop::{NextHop, Output, output_kind},
    policy::{self, Policy, Rule},
    root::{More, Root},
    route::Route,
    zone::{FloodPort, Zone},
};
use crate::word::{Word32, Word64};
use crate::work::job;

/// Every question that a stage may ask of anything but the packet, time included.
///
/// The records of one *version* of the site are one consistent set: an
/// implementation fixes the version when a packet begins and answers every
/// question from it. Flows are of no version; they carry epochs and stamps.
///
/// A record that an id of another record promises and that is missing is a
/// defect of ours: the stage stops with [`Stop::TableMissing`].
pub trait Tables: Heap {
    /// Does this instance only tell, and change nothing? Fixed before the first
    /// packet, so that the verifier deletes what is not asked for.
    fn is_tracing(&self) -> bool;

    /// Milliseconds, nearly: steps of 2^20 ns of a clock that only goes forward.
    fn now_ticks(&self) -> u32;

    /// Where the version begins: what most packets ask for.
    fn root(&self) -> Option<&Root>;
    /// Where it begins: the rest.
    fn more(&self) -> Option<&More>;

    /// What is plugged in here?
    #[inline(always)]
    fn attachment(&self, key: &AttachmentKey) -> Option<&Attachment> {
        let secret = self.flow_secret()[0];
        let found = self.root()?.attachments.find::<AttachmentEntry, _>(self, key, secret)?;
        Some(&found.attachment)
    }
    /// Whose MAC is it?
    #[inline(always)]
    fn station(&self, key: &StationKey) -> Option<&Station> {
        let secret = self.flow_secret()[0];
        let found = self.root()?.stations.find::<StationEntry, _>(self, key, secret)?;
        Some(&found.station)
    }
    /// May this endpoint use this MAC with this source?
    #[inline(always)]
    fn is_permitted(&self, key: &PermitKey) -> bool {
        permitted_bits(self, key) != 0
    }
    /// May it by a permit for this one address, not only by a prefix that holds it?
    #[inline(always)]
    fn is_permitted_alone(&self, key: &PermitKey) -> bool {
        permitted_bits(self, key) == Addr::BITS + 1
    }
    /// Who has the address in the network?
    #[inline(always)]
    fn location(&self, key: &LocationKey) -> Option<&Location> {
        let secret = self.flow_secret()[0];
        let found = self.root()?.locations.find::<LocationEntry, _>(self, key, secret)?;
        Some(&found.location)
    }
    /// Which endpoint has a live session with this address on the access?
    #[inline(always)]
    fn session(&self, access: u32, addr: &Addr) -> Option<u32> {
        let tables = self.zone(access)?.sessions;
        match lpm::find(self, of_family(tables, addr), addr) {
            0 => None,
            endpoint => Some(endpoint),
        }
    }
    /// The record of an endpoint.
    #[inline(always)]
    fn endpoint(&self, id: u32) -> Option<&Endpoint> {
        self.root()?.endpoints.get(self, id)
    }
    /// The record of a zone.
    #[inline(always)]
    fn zone(&self, id: u32) -> Option<&Zone> {
        self.root()?.zones.get(self, id)
    }
    /// The longest prefix of the zone that holds the address.
    #[inline(always)]
    fn route(&self, zone: u32, addr: &Addr) -> Option<&Route> {
        let tables = self.zone(zone)?.routes;
        match lpm::find(self, of_family(tables, addr), addr) {
            0 => None,
            found => self.more()?.routes.get(self, found - 1),
        }
    }
    /// The record of a next hop.
    #[inline(always)]
    fn next_hop(&self, id: u32) -> Option<&NextHop> {
        self.root()?.next_hops.get(self, id)
    }
    /// The record of an output.
    #[inline(always)]
    fn output(&self, id: u32) -> Option<&Output> {
        self.root()?.outputs.get(self, id)
    }
    /// The record of a tenant.
    #[inline(always)]
    fn tenant(&self, id: u32) -> Option<&Tenant> {
        self.root()?.tenants.get(self, id)
    }
    /// The record of a policy.
    #[inline(always)]
    fn policy(&self, id: u32) -> Option<&Policy> {
        self.more()?.policies.get(self, id)
    }
    /// The id of the first rule that permits what is asked, of the policy's for one direction.
    #[inline(always)]
    fn permits(&self, rules: [u32; 2], asked: &Asked) -> Option<u32> {
        match self.first_rule(of_family(rules, &asked.addr), asked) {
            0 => None,
            id => Some(id),
        }
    }
    /// Does `matches` hold for one of the host's rules?
    #[inline(always)]
    fn has_rule(&self, rules: List, mut matches: impl FnMut(&Rule) -> bool) -> bool {
        let mut is_found = false;
        let found = &mut is_found;
        let max = policy::HOST_RULES_MAX;
        self.each(if rules.count < max { rules.count } else { max }, move |index| {
            let Some(rule) = rules.get(self, index) else { return false };
            *found = matches(rule);
            !*found
        });
        is_found
    }
    /// Shows `visit` each of `count` ports from `first` on.
    #[inline(always)]
    fn each_flood_port(&self, first: u32, count: u32, mut visit: impl FnMut(&FloodPort)) {
        let max = limits::FLOOD_PORTS_OF_NETWORK;
        let ports = self.more().map_or(List::default(), |more| more.flood_ports);
        self.each(if count < max { count } else { max }, move |index| {
            let port = ports.get(self, first + index);
            port.is_some_and(|port| {
                visit(port);
                true
            })
        });
    }

    /// The size of the flow table in lines: a power of two.
    fn flow_lines(&self) -> u32;
    /// The secret that flow keys are hashed with.
    fn flow_secret(&self) -> [u64; 2];
    /// A line of the flow table.
    fn flow(&self, index: u32) -> Option<&FlowLine>;
    /// Its cold part.
    fn flow_cold(&self, index: u32) -> Option<&FlowCold>;
    /// The rest of it.
    fn flow_more(&self, index: u32) -> Option<&FlowMore>;
    /// Takes `halves` from the tenant's quota of half-flows, or answers false; a tracer
    /// only answers.
    fn flow_reserve(&self, tenant: u32, halves: u32, max: u32) -> bool;
    /// Gives back what [`flow_reserve`](Self::flow_reserve) took.
    fn flow_release(&self, tenant: u32, halves: u32);

    /// A slot of the table of datagrams.
    fn datagram(&self, index: u32) -> Option<&Datagram>;
    /// A note of what was just sent in again ([`crate::stage::fragment::Again`]).
    fn again(&self, index: u32) -> Option<&Word64>;
    /// Replaces a word if it is still `old`.
    fn swap(&self, word: &Word64, old: u64, new: u64) -> bool;
    /// The same of a word of 32 bits.
    fn swap32(&self, word: &Word32, old: u32, new: u32) -> bool;
    /// Adds to a word that others add to.
    fn add(&self, word: &Word64, value: u64);
    /// The same of a word of 32 bits; answers the sum.
    fn add32(&self, word: &Word32, value: u32) -> u32;
    /// Takes one of what the tenant may have, or answers false; a tracer only answers.
    fn reserve(&self, of: Share, tenant: u32) -> bool;
    /// Gives back what [`reserve`](Self::reserve) took.
    fn release(&self, of: Share, tenant: u32);
    /// Does `step` for 0, 1, … below `count`, until it answers false.
    fn each(&self, count: u32, step: impl FnMut(u32) -> bool);

    /// May another ICMP error be made for this tenant now?
    fn may_report(&self, tenant: u32) -> bool;
    /// May so many more copies be made of this tenant's frames now?
    fn may_copy(&self, tenant: u32, copies: u32) -> bool;
    /// May a port of this tenant tell the daemon of one more address now?
    fn may_claim(&self, tenant: u32) -> bool;
    /// May whoever is on this NIC's link tell the daemon of one more MAC now?
    fn may_hear(&self, attachment: u32) -> bool;

    /// Counts a packet that came in or went out at an attachment.
    fn count(&self, attachment: u32, counter: Counter, packets: u32, bytes: u32);
    /// Tells the daemon what was heard; false: it does not keep up.
    fn hear(&self, heard: &Heard) -> bool;
    /// Counts packets that were not forwarded.
    fn count_stop(&self, tenant: u32, stop: Stop, packets: u32);

    /// Tells a tracer what was decided; nothing unless [`is_tracing`](Self::is_tracing).
    fn note(&self, note: Note);
}

/// That of IPv4 or that of IPv6, as the address asks: without a branch, and without a place
/// on the stack ("R1 bitwise operator |= on pointer prohibited").
#[inline(always)]
const fn of_family([v4, v6]: [u32; 2], addr: &Addr) -> u32 {
    v4 ^ ((v4 ^ v6) & addr.family().wrapping_neg())
}

/// How long the prefix is, bits, by which the permit is given, and one more; 0: there is none.
#[inline(always)]
fn permitted_bits<T: Tables + ?Sized>(t: &T, key: &PermitKey) -> u32 {
    let secret = t.flow_secret()[0];
    let Some(more) = t.more() else { return 0 };
    let Some(found) = more.permits.find::<PermitsEntry, _>(t, key, secret) else { return 0 };
    lpm::find(t, of_family(found.tables, &key.addr), &key.addr)
}

/// What is counted at an attachment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Counter {
    /// Came in.
    Received = 0,
    /// Left through it, forwarded for somebody.
    Sent = 1,
    /// Was answered by us: ARP, neighbour discovery, echo.
    Answered = 2,
    /// An ICMP error that we made.
    Reported = 3,
    /// Told the daemon which MAC an address has, and went no further.
    Heard = 4,
    /// Was broadcast or multicast of which copies left.
    Flooded = 5,
    /// A copy of such a frame, where it left.
    Copied = 6,
    /// Of those that left: the kernel refused them afterwards.
    Refused = 7,
    /// A fragment that came before its first: the daemon keeps it, and sends it in again, when
    /// it is received once more.
    Parked = 8,
    /// Was passed up to the host, which shares the NIC.
    Passed = 9,
}

impl Counter {
    /// What a packet with this [job](crate::work::job) is counted as when it leaves.
    #[inline(always)]
    #[must_use]
    pub const fn of_job(job: u32) -> Self {
        match job {
            job::NONE => Self::Sent,
            job::ERROR => Self::Reported,
            job::PASS => Self::Passed,
            _ => Self::Answered,
        }
    }
}

/// What somebody says: this address has this MAC. Beyond a NIC the daemon asks next hops,
/// and believes whom it asked; a port says so of an address that it may have.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The address.
    pub addr: Addr,
    /// The MAC ([`crate::addr::Mac::word`]: whole words lie well on a program's stack).
    pub mac: u64,
    /// The attachment that it was heard at.
    pub attachment: u32,
    /// 1: it replaces what was known (RFC 4861 section 4.4, Override); 0: it does not.
    pub overrides: u32,
}
const _: () = assert!(size_of::<Heard>() == 32);

/// Frames that XDP sent to a NIC and that the NIC did not take.
#[repr(C)]
#[derive(Default, Debug)]
pub struct Refused {
    /// All of them.
    pub packets: Word64,
    /// Those of which the driver said so: it may have them in its own counters, too.
    pub by_driver: Word64,
}
const _: () = assert!(size_of::<Refused>() == 16);

/// How many [`Counter`]s there are.
pub const COUNTERS: usize = 10;

/// Of what has each tenant a share?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Share {
    /// Datagrams of which fragments are missing.
    Datagrams = 0,
    /// Fragments that wait for their first one.
    Parked = 1,
    /// Such datagrams that come in by uplinks.
    InboundDatagrams = 2,
    /// Such fragments that came in by uplinks.
    InboundParked = 3,
}

/// How many [`Share`]s there are.
pub const SHARES: u32 = Share::ALL.len() as u32;

impl Share {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::Datagrams, Self::Parked, Self::InboundDatagrams, Self::InboundParked];

    /// That of datagrams. What comes in by uplinks pays from one of its own: strangers use up
    /// nothing that a tenant's own hosts need.
    #[inline(always)]
    #[must_use]
    pub const fn datagrams(is_inbound: bool) -> Self {
        if is_inbound { Self::InboundDatagrams } else { Self::Datagrams }
    }

    /// That of fragments that wait, likewise.
    #[inline(always)]
    #[must_use]
    pub const fn parked(is_inbound: bool) -> Self {
        if is_inbound { Self::InboundParked } else { Self::Parked }
    }

    /// How much a tenant may have.
    #[inline(always)]
    #[must_use]
    pub const fn max(self) -> u32 {
        match self {
            Self::Datagrams | Self::InboundDatagrams => DATAGRAMS_PER_TENANT,
            Self::Parked | Self::InboundParked => PARKED_PER_TENANT,
        }
    }

    /// Where it is counted.
    #[inline(always)]
    #[must_use]
    pub const fn index(self, tenant: u32) -> u32 {
        tenant * SHARES + self as u32
    }
}

/// What a stage decided, for `sekisho trace`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Note {
    /// A [`note`] code.
    pub what: u32,
    /// The object: an id of the kind that the code names.
    pub id: u32,
    /// A second number that the code names.
    pub detail: u32,
    /// Zero.
    pub zero: u32,
}

/// Notes of a traced packet at most.
pub const NOTES_MAX: u32 = 32;

/// What a [`Note`] tells. The codes are the words that `sekisho trace` prints.
pub mod note {
    use crate::table::flow::action;

    /// Came in at attachment `id`, VLAN `detail`.
    pub const ATTACHED: u32 = 1;
    /// Was sent by endpoint `id`, zone `detail`.
    pub const SENDER: u32 = 2;
    /// Half-flow `id` was found; `detail`: its status and [action flags](flow_detail).
    pub const FLOW: u32 = 3;
    /// No half-flow; `id`: 0.
    pub const NO_FLOW: u32 = 4;
    /// The half-flow is out of date and is judged again; `id`: its index, `detail` as for
    /// [`FLOW`].
    pub const READMIT: u32 = 5;
    /// Route `id` of zone `detail` was taken.
    pub const ROUTE: u32 = 6;
    /// Endpoint `id` receives it by next hop `detail`.
    pub const RECEIVER: u32 = 7;
    /// Rule `id` of the sender permits it (0: it is not filtered); `detail`: the policy.
    pub const EGRESS: u32 = 8;
    /// Rule `id` of the receiver permits it (0: it is not filtered); `detail`: the policy.
    pub const INGRESS: u32 = 9;
    /// It becomes part of an existing flow as an ICMP error; `id`: the half-flow.
    pub const RELATED: u32 = 10;
    /// It is answered by us; `id`: what with ([`crate::work::job`]).
    pub const ANSWER: u32 = 11;
    /// It leaves by output `id` with VLAN `detail`.
    pub const EMIT: u32 = 12;
    /// It stops; `id`: the reason.
    pub const STOP: u32 = 13;
    /// Connection state before (`id`) and after (`detail`).
    pub const STATE: u32 = 14;
    /// The daemon is told which MAC its sender says that it has.
    pub const HEARD: u32 = 15;
    /// A copy leaves by output `id`, which endpoint `detail` takes.
    pub const COPIED: u32 = 16;
    /// That were all copies: `id`.
    pub const FLOODED: u32 = 17;
    /// It is a later fragment of datagram `id`, whose first one has come; `detail`: where in
    /// the datagram it begins.
    pub const PIECE: u32 = 18;
    /// It is a later fragment, and the first one has not come; `detail` as for [`PIECE`].
    pub const EARLY: u32 = 19;
    /// It is passed up to the host.
    pub const PASSED: u32 = 20;

    /// The `detail` of [`FLOW`]: the low half of a status, the flags of an action above it.
    #[inline(always)]
    #[must_use]
    pub const fn flow_detail(status: u32, flow_action: u32) -> u32 {
        (status & 0xffff) | (flow_action & action::FLAGS) >> 8
    }

    /// Is this [action flag](action) in the `detail` of a [`FLOW`]?
    #[must_use]
    pub const fn has_flag(detail: u32, flag: u32) -> bool {
        detail & (flag >> 8) != 0
    }
}

/// Packets and bytes of a [`Counter`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Packets, segments of a GSO packet counted one by one.
    pub packets: u64,
    /// Bytes from the Ethernet header on.
    pub bytes: u64,
}

/// How often may something be done? A generic cell rate algorithm (ITU-T I.371):
/// one word holds when the next would be due at the stated rate; what comes before
/// that by more than the burst allows is refused.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    interval_ns: u64,
    burst_ns: u64,
}

impl Rate {
    /// ICMP errors.
    pub const REPORTS: Self = Self::new(limits::REPORTS_PER_SECOND, limits::REPORTS_BURST);
    /// Copies of broadcast and multicast frames.
    pub const COPIES: Self = Self::new(limits::COPIES_PER_SECOND, limits::COPIES_BURST);

    /// Addresses that ports say they have now.
    pub const CLAIMS: Self = Self::new(limits::CLAIMS_PER_SECOND, limits::CLAIMS_BURST);
    /// MACs of next hops on a link.
    pub const HEARD: Self = Self::new(limits::HEARD_PER_SECOND, limits::HEARD_BURST);

    /// So often a second, and so often at once.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let interval_ns = 1_000_000_000 / per_second as u64;
        Self { interval_ns, burst_ns: interval_ns * burst as u64 }
    }

    /// The word after `count` more, or `None` if they may not be now.
    #[inline(always)]
    #[must_use]
    pub const fn next(self, due_ns: u64, now_ns: u64, count: u32) -> Option<u64> {
        let due_ns = if due_ns > now_ns { due_ns } else { now_ns };
        let next_ns = due_ns + self.interval_ns * count as u64;
        if next_ns > now_ns + self.burst_ns { None } else { Some(next_ns) }
    }
}

/// The later programs of a packet, as indexes of the program arrays.
pub mod program {
    /// [`crate::pipeline::first`].
    pub const FIRST: u32 = 0;
    /// [`crate::pipeline::answer`].
    pub const ANSWER: u32 = 1;
    /// [`crate::pipeline::flood`], at tcx only.
    pub const FLOOD: u32 = 2;
    /// [`crate::pipeline::fragment`].
    pub const FRAGMENT: u32 = 3;
    /// [`crate::pipeline::host`].
    pub const HOST: u32 = 4;
    /// How many there are.
    pub const COUNT: u32 = 5;
}

/// What XDP on a NIC tells the program at tcx of the same NIC, in the frame's metadata.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Where to.
    pub ifindex: u32,
    mark: u32,
    /// The attachment that it leaves by.
    pub output: u32,
}

impl Delivery {
    /// Tells our metadata from another program's.
    const MARK: u32 = 0x5e_c1_50_00;

    /// To the output of this attachment.
    #[inline(always)]
    #[must_use]
    pub const fn new(id: u32, output: &Output) -> Self {
        Self { ifindex: output.ifindex, mark: Self::MARK | output.kind, output: id }
    }

    /// Up to the host.
    #[inline(always)]
    #[must_use]
    pub const fn to_host() -> Self {
        Self { ifindex: 0, mark: Self::MARK | output_kind::HOST, output: 0 }
    }

    /// Did our program write it?
    #[inline(always)]
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.mark & !0xff == Self::MARK
    }

    /// The output's kind.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> u32 {
        self.mark & 0xff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{REPORTS_BURST, REPORTS_PER_SECOND};

    #[test]
    fn a_burst_then_the_rate() {
        let (mut due, mut made) = (0, 0);
        let second = 1_000_000_000;
        let start = 5 * second;
        for step in 0..1000_u64 {
            if let Some(next) = Rate::REPORTS.next(due, start + step * second / 1000, 1) {
                due = next;
                made += 1;
            }
        }
        assert_eq!(made, REPORTS_BURST + REPORTS_PER_SECOND - 1);
    }

    #[test]
    fn many_at_once_count_as_many() {
        let start = 5_000_000_000;
        let all = Rate::COPIES.next(0, start, limits::COPIES_BURST).expect("as many as at once");
        assert_eq!(Rate::COPIES.next(all, start, 1), None);
        assert!(Rate::COPIES.next(all, start + Rate::COPIES.interval_ns, 1).is_some());
        assert_eq!(Rate::COPIES.next(0, start, limits::COPIES_BURST + 1), None);
    }
}
