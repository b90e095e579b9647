//! What is known about the packet at hand?
//!
//! One per CPU, handed from stage to stage and from program to program. Every
//! field is written for each packet by the stage named beside it, before any
//! later stage reads it; [`Work::begin`] clears those that not every packet has.

use crate::addr::{Addr, Mac};
use crate::stop::Stop;
use crate::table::attachment_kind;
use crate::table::flow::FlowKey;
use crate::table::next_hop::Output;
use crate::table::root::InForce;
use crate::wire::ethernet::ETHERNET_BYTES;

/// The working state of one packet.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Work {
    /// What a program of another version may have here.
    #[cfg(feature = "control-other-work")]
    pub other: [u64; 5],
    /// The version of the site that the packet is judged by (the binding).
    pub in_force: InForce,
    /// [`flags`] (attach and parse).
    pub flags: u32,

    /// Where it came in (attach).
    pub attachment: u32,
    /// What that is: [`crate::table::attachment_kind`] (attach).
    pub attachment_kind: u32,
    /// The network's, uplink's or access's zone (attach).
    pub link: u32,
    /// The VLANs that it came with ([`crate::wire::ethernet::vlans`]); 0: none (attach).
    pub vlan: u32,
    /// Under whom its stop is counted (attach, then admit).
    pub tenant: u32,
    /// The sender's endpoint (attach, or admit on an access).
    pub sender: u32,
    /// The sender's owner number (the same).
    pub owner: u32,
    /// The destination MAC (attach).
    pub dst_mac: Mac,
    /// The source MAC (attach).
    pub src_mac: Mac,

    /// Where the network header begins: behind the tags that the frame carries itself (attach).
    pub l3: u32,
    /// Where the transport header begins (parse).
    pub l4: u32,
    /// Length of the IP packet that the header states, bytes (parse).
    pub l3_bytes: u32,
    /// Hops left (parse).
    pub ttl_hops: u32,
    /// Zone, addresses, protocol, ports as they arrive (attach and parse).
    pub key: FlowKey,
    /// ICMP type and code (parse).
    pub icmp: [u8; 2],
    /// TCP flags (parse).
    pub tcp_flags: u8,
    /// TCP window scale option + 1; 0: none (flow, on a SYN).
    pub tcp_scale: u8,
    /// TCP sequence number (parse).
    pub tcp_seq: u32,
    /// TCP acknowledgement number (parse).
    pub tcp_ack: u32,
    /// TCP window before scaling (parse).
    pub tcp_window: u32,
    /// Transport payload, bytes (parse).
    pub payload_bytes: u32,

    /// Fragments: identification, of IPv4 in the last two bytes (parse).
    pub fragment_id: [u8; 4],
    /// Fragments: where this one's part of the datagram begins, bytes (parse).
    pub fragment_at: u32,
    /// Fragments: bytes of that part, never 0 (parse).
    pub fragment_bytes: u32,

    /// The half-flow's index (flow).
    pub flow: u32,
    /// Its status as found; 0: there is none (flow).
    pub flow_status: u32,
    /// The tenant that pays for the half-flows that are made. That and the next are here for the
    /// verifier's "combined stack size of 4 calls is 528. Too large" (flow_record).
    pub payer: u32,
    /// What they are marked with in their status (flow_record).
    pub mark: u32,
    /// So many free lines of a bucket are not for them (flow_record).
    pub spare: u32,

    /// The direction that is judged: the packet's own, or its flow's original one.
    pub leg: Leg,
    /// The way of an answer, where the leg is its flow's original direction.
    pub way: Leg,

    /// The decision: next hop and [`crate::table::flow::action`] flags (flow or route).
    pub action: u32,
    /// What to make instead of forwarding: a [`job`] (the stage that finds out).
    pub job: u32,
    /// ICMP type and code of the error to make (route).
    pub error: [u8; 2],
    /// The MTU that it tells (route).
    pub error_mtu: u16,
    /// The stop that the packet is counted under when an error is made (route).
    pub error_stop: u32,

    /// Whose limits count for it (attach or admit, then rewrite).
    pub meters: Meters,
    /// The attachment that it leaves by (rewrite or answer).
    pub output: u32,
    /// How it leaves there (emit).
    pub out: Output,
    /// Zero, which the verifier does not know (see [`Work::blur`] and the options in `parse`).
    pub zero: u32,
}

/// Which of the packet's legs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// [`Work::leg`].
    Leg,
    /// [`Work::way`].
    Way,
}

/// Numbers of meters; 0: none.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Meters {
    /// Of what the port sends that it came from.
    pub sender: u32,
    /// Of the router that forwards it: the sender's, or else the receiver's.
    pub router: u32,
    /// Of what the port receives that it goes to.
    pub receiver: u32,
}

/// One direction to be judged: route, then rules.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Leg {
    /// Source, destination, ports, protocol and the zone it arrives in.
    pub key: FlowKey,
    /// Who sends.
    pub sender: u32,
    /// Who receives (route).
    pub receiver: u32,
    /// The router's zone, or the network's if no router is concerned (route).
    pub zone: u32,
    /// Next hop and flags (route).
    pub action: u32,
    /// The sender's rule (filter).
    pub rule_egress: u32,
    /// The receiver's rule (filter).
    pub rule_ingress: u32,
    /// The generations that the judgement rests on, mixed (flow).
    pub stamp: u64,
    /// Sum of the epochs that were read for it (flow).
    pub epoch: u32,
    /// [`leg`] flags (filter).
    pub flags: u32,
}

/// What is special about a leg.
pub mod leg {
    /// Both policies are stateless or absent: no half-flow is made.
    pub const STATELESS: u32 = 1;
    /// A next hop was found, not the destination itself: the receiver is on the way.
    pub const VIA: u32 = 4;
    /// One policy is stateless: every packet is judged.
    pub const EACH: u32 = 2;
}

/// What the first stages found out.
pub mod flags {
    /// IPv6; else IPv4.
    pub const V6: u32 = 1;
    /// The frame is addressed to our MAC: a router's, uplink's or access's.
    pub const ROUTED: u32 = 4;
    /// TCP.
    pub const TCP: u32 = 8;
    /// A query or reply of ICMP that has an identifier.
    pub const ICMP_QUERY: u32 = 16;
    /// An ICMP error.
    pub const ICMP_ERROR: u32 = 32;
    /// The first fragment of a datagram.
    pub const FRAGMENT: u32 = 64;
    /// The frame was broadcast or multicast.
    pub const GROUP_FRAME: u32 = 256;
    /// A fragment that is not the first of its datagram: it has no transport header.
    pub const LATER: u32 = 512;
    /// A fragment after which others come.
    pub const MORE: u32 = 1024;
    /// The host has addresses on the link.
    pub const HOST: u32 = 1 << 16;
    /// The host speaks LACP there.
    pub const LACP: u32 = 1 << 17;
    /// The host speaks LLDP there.
    pub const LLDP: u32 = 1 << 18;
}

/// What the `answer` program makes.
pub mod job {
    /// Nothing.
    pub const NONE: u32 = 0;
    /// An ARP reply.
    pub const ARP: u32 = 1;
    /// A neighbour advertisement.
    pub const NEIGHBOUR: u32 = 2;
    /// An echo reply.
    pub const ECHO: u32 = 3;
    /// An ICMP error.
    pub const ERROR: u32 = 4;
    /// Nothing: it tells the daemon of a MAC.
    pub const HEAR: u32 = 5;
    /// Nothing: it tells its network who has an address now.
    pub const ANNOUNCE: u32 = 6;
    /// Nothing: the daemon keeps it until the first fragment of its datagram has come.
    pub const PARK: u32 = 7;
    /// Nothing: it is the host's.
    pub const PASS: u32 = 8;
}

impl Work {
    /// Forgets the packet before.
    #[inline(always)]
    pub fn begin(&mut self, in_force: InForce) {
        self.in_force = in_force;
        self.zero = 0;
        self.flags = 0;
        self.attachment = 0;
        self.tenant = 0;
        self.sender = 0;
        self.owner = 0;
        self.key = FlowKey::default();
        self.icmp = [0; 2];
        self.tcp_scale = 0;
        self.payload_bytes = 0;
        self.flow = 0;
        self.flow_status = 0;
        self.leg.receiver = 0;
        self.action = 0;
        self.job = job::NONE;
        self.meters = Meters::default();
        self.error_mtu = 0;
    }

    /// The same outcome, as one unknown number to the verifier, which otherwise follows
    /// each of sixty constants through all that comes after it ("processed 775295
    /// insns (limit 1000000)").
    #[inline(always)]
    pub fn blur(&self, outcome: Result<(), Stop>) -> Result<(), Stop> {
        Stop::outcome(self.zero | Stop::number(outcome))
    }

    /// One of the legs.
    #[inline(always)]
    pub const fn leg(&mut self, which: Which) -> &mut Leg {
        match which {
            Which::Leg => &mut self.leg,
            Which::Way => &mut self.way,
        }
    }

    /// May it be a packet of a known flow? Frames to a group, fragments without a transport
    /// header, errors and what we answer are none.
    #[inline(always)]
    #[must_use]
    pub const fn may_be_known(&self) -> bool {
        let others = flags::GROUP_FRAME | flags::LATER | flags::ICMP_ERROR;
        self.flags & others == 0 && self.job == job::NONE
    }

    /// Bytes of the tags that the frame carries itself.
    #[inline(always)]
    #[must_use]
    pub const fn inline_bytes(&self) -> u32 {
        self.l3 - ETHERNET_BYTES
    }

    /// Is this flag set?
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Does it come from strangers, beyond an uplink?
    #[inline(always)]
    #[must_use]
    pub const fn is_inbound(&self) -> bool {
        self.attachment_kind == attachment_kind::UPLINK
    }

    /// The source address as the packet names it.
    #[inline(always)]
    #[must_use]
    pub const fn src(&self) -> Addr {
        self.key.src
    }
}
