//! What may a stage ask of the tables?

mod delivery;
mod notes;
mod rate;
mod share;

pub use self::{
    delivery::Delivery,
    notes::{NOTES_MAX, Note, note},
    rate::Rate,
    share::{SHARES, Share},
};

use crate::addr::Addr;
use crate::limits;
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
    meter::{Load, Meter},
    next_hop::{NextHop, Output},
    owner::Owner,
    policy::{self, Policy, Rule},
    root::{More, Root},
    route::Route,
    secret::Secret,
    zone::{FloodPort, Zone},
};
use crate::word::{Word32, Word64};
use crate::work::{Meters, Which, Work, job};

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
        let secret = self.secret();
        let found = self.root()?.attachments.find::<AttachmentEntry, _>(self, key, secret)?;
        Some(&found.attachment)
    }
    /// Whose MAC is it?
    #[inline(always)]
    fn station(&self, key: &StationKey) -> Option<&Station> {
        let secret = self.secret();
        let found = self.root()?.stations.find::<StationEntry, _>(self, key, secret)?;
        Some(&found.station)
    }
    /// The record of an owner of flows.
    #[inline(always)]
    fn owner(&self, number: u32) -> Option<&Owner> {
        self.root()?.owners.get(self, number)
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
        let secret = self.secret();
        let found = self.more()?.locations.find::<LocationEntry, _>(self, key, secret)?;
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
            id => self.more()?.routes.get(self, id),
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
    /// What keys are hashed with.
    fn secret(&self) -> &Secret;
    /// A line of the flow table.
    fn flow(&self, index: u32) -> Option<&FlowLine>;
    /// Its cold part.
    fn flow_cold(&self, index: u32) -> Option<&FlowCold>;
    /// The rest of it.
    fn flow_more(&self, index: u32) -> Option<&FlowMore>;
    /// How many half-flows are in their second [bucket](crate::table::flow::bucket_of), of those
    /// of which this one is the first.
    fn flows_away(&self, bucket: u32) -> Option<&Word64>;
    /// The line that a half-flow with this key may have: [`crate::stage::flow_record::room`]. In
    /// the kernel it is a function of its own, which is verified once.
    fn flow_room(&self, words: &[u64; 5]) -> u64;
    /// [`crate::stage::flow_record::go_away`], likewise.
    fn flow_goes_away(&self, words: &[u64; 5]);
    /// The only line of a half-flow with this key: [`crate::stage::flow_record::sole`]. In the
    /// kernel a function of its own, too.
    fn flow_sole(&self, words: &[u64; 5]) -> u64;
    /// Routes one of the packet's legs ([`route::leads`]); the outcome as a
    /// [number](Stop::number). In the kernel it is a function of its own, too.
    fn route_leg(&self, w: &mut Work, which: Which) -> u32;
    /// Takes half-flows ([`held`](crate::table::flow::held)) from the tenant's quota, or answers
    /// false; a tracer only answers.
    fn flow_reserve(&self, tenant: u32, halves: u64, quota: u32) -> bool;
    /// Gives back what [`flow_reserve`](Self::flow_reserve) took.
    fn flow_release(&self, tenant: u32, halves: u64);

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

    /// A meter; its number is never 0.
    fn meter(&self, number: u32) -> Option<&Meter>;
    /// The clock of meters ([`crate::table::meter`]): the kernel's ticks, or the exact one. It
    /// goes round.
    fn now_steps(&self, is_exact: bool) -> u64;
    /// The first of these meters that has no room for so much, which is charged to all if there
    /// is none; then 0: [`crate::stage::limit::over`]. In the kernel it is a function of its own.
    fn over_limit(&self, meters: Meters, load: Load) -> u32;

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
    let secret = t.secret();
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

/// Packets and bytes of a [`Counter`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Packets, segments of a GSO packet counted one by one.
    pub packets: u64,
    /// Bytes from the Ethernet header on.
    pub bytes: u64,
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
