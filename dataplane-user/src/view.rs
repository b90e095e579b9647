//! What does the daemon tell about itself, and in which shape?
//!
//! These are the bodies of the control socket's answers and of `-o json`. Field
//! names are part of the interface: they may be added to, never changed.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{desired::Kind, problem::Problem};

/// What answers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The program's version.
    pub program: String,
    /// That of the paths and bodies.
    pub api: String,
    /// That of the tables, which a program of another one does not go on with.
    pub layout: u32,
}

/// `sekisho status`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Status {
    /// The program's version.
    pub program: String,
    /// The version of the site that is in force; it grows by one with every change.
    pub site_version: u32,
    /// Where the daemon's own site file is, if it has one: what `apply` and SIGHUP read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Where it is kept what is to be in force.
    #[serde(default)]
    pub store: String,
    /// The site file that was put in force last; the store after a start.
    pub applied: String,
    /// How long the daemon has run, seconds.
    pub uptime_s: u64,
    /// How often it has looked after interfaces and refusals, which it does every second.
    pub looks: u64,
    /// Half-flows that only one side had agreed to and that went before their time, so that
    /// others could begin: a flood, most likely.
    pub flows_crowded_out: u64,
    /// Every attachment.
    pub attachments: Vec<Attachment>,
    /// Every next hop of uplinks and accesses.
    pub next_hops: Vec<NextHop>,
    /// How full the tables are.
    pub tables: Vec<Fill>,
    /// How much of its share of the flow table each tenant has.
    #[serde(default)]
    pub shares: Vec<Share>,
    /// What is taken back unless somebody confirms it.
    #[serde(default)]
    pub unconfirmed: Vec<Unconfirmed>,
}

/// A revision that is taken back unless somebody confirms it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Whose it is.
    pub scope: String,
    /// Which.
    pub revision: u64,
    /// When it is taken back, as RFC 3339 has it.
    pub until: String,
}

/// What a tenant has of the flow table.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose it is.
    pub tenant: String,
    /// Half-flows.
    pub used: u64,
    /// That it may have.
    pub max: u64,
    /// Of those, that strangers opened by an uplink, without a TCP handshake.
    pub inbound: u64,
    /// That these may be.
    pub inbound_max: u64,
}

/// A router outside.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct NextHop {
    /// Whose it is: `uplink internet`, `access mobile`.
    pub object: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `permanent`: its MAC is in the site file and it is not asked; `reachable`: it answers;
    /// `incomplete`: it has not answered yet; `failed`: it does not answer.
    pub state: String,
}

impl NextHop {
    /// What `state` can be.
    pub const STATES: [&'static str; 4] = ["permanent", "reachable", "incomplete", "failed"];
}

/// What is plugged in where.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// The VLAN, if it is tagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The service VLAN that it is one of, if it is tagged twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_vlan: Option<u16>,
    /// What it is: `network blue/web`, `uplink internet`, `access mobile`.
    pub object: String,
    /// Where the program sits: `xdp`, `tcx`, or `waiting`.
    pub hook: String,
    /// Why it is waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

/// A table's gauge.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Fill {
    /// Its name.
    pub table: String,
    /// Entries in use.
    pub used: u64,
    /// Entries that it has room for.
    pub max: u64,
    /// The longest free piece, where entries of one object have to lie in one: no object that
    /// needs more is taken, however much is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_free: Option<u64>,
}

/// `sekisho counters`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Default)]
pub struct Counters {
    /// By attachment.
    pub attachments: Vec<AttachmentCounters>,
    /// By interface, where several attachments share one.
    #[serde(default)]
    pub shared: Vec<SharedCounters>,
    /// By rule: what its flows carried, a second behind at most.
    pub rules: Vec<RuleCounters>,
}

/// Packets and bytes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Default)]
pub struct Amount {
    /// Packets; a segmented packet counts as its segments.
    pub packets: u64,
    /// Bytes from the Ethernet header on.
    pub bytes: u64,
}

/// What went through an attachment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct AttachmentCounters {
    /// What it is.
    pub object: String,
    /// The interface.
    pub interface: String,
    /// The VLAN, if it is tagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The service VLAN that it is one of, if it is tagged twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_vlan: Option<u16>,
    /// Came in.
    pub received: Amount,
    /// Left through it.
    pub sent: Amount,
    /// Was answered by us: ARP, neighbour discovery, echo.
    pub answered: Amount,
    /// ICMP errors that we made.
    pub reported: Amount,
    /// Told the daemon which MAC a next hop has.
    pub heard: Amount,
    /// Broadcast and multicast of which copies went to other ports.
    pub flooded: Amount,
    /// Such copies, where they left.
    pub copied: Amount,
    /// Packets among those that left that the kernel did not take (`tx_refused`).
    #[serde(default)]
    pub refused: u64,
    /// Fragments that the daemon keeps until their first one comes; sent in again, they are
    /// received again.
    pub parked: Amount,
    /// Was passed up to the host, which shares the NIC.
    #[serde(default)]
    pub passed: Amount,
    /// Frames of the daemon's own, since it runs: questions for next hops' MACs, and what it
    /// tells of ours. They are in no other counter.
    #[serde(default)]
    pub own: u64,
}

impl AttachmentCounters {
    /// Where it is: `eth0`, `eth0.101`, or `eth0.100.101` in a service VLAN.
    #[must_use]
    pub fn place(&self) -> String {
        match dotted(self.service_vlan, self.vlan) {
            Some(vlans) => format!("{}.{vlans}", self.interface),
            None => self.interface.clone(),
        }
    }
}

/// The VLANs of an attachment, the outer one first: `100.101`; `None`: it is untagged.
#[must_use]
pub fn dotted(service_vlan: Option<u16>, vlan: Option<u16>) -> Option<String> {
    match (service_vlan, vlan?) {
        (Some(service), vlan) => Some(format!("{service}.{vlan}")),
        (None, vlan) => Some(vlan.to_string()),
    }
}

/// What is counted for an interface as a whole: that it is shared by several attachments hides
/// whose it was.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct SharedCounters {
    /// The interface.
    pub interface: String,
    /// Packets that left through it and that the kernel did not take.
    pub refused: u64,
}

/// What a rule permitted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct RuleCounters {
    /// The rule: `blue/web/rules/0`.
    pub rule: String,
    /// What its flows carried, both ways.
    pub amount: Amount,
}

/// `sekisho drops`: packets that were not forwarded, and why.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Drop {
    /// Under whom it is counted; `-` is the provider.
    pub tenant: String,
    /// The reason's name.
    pub reason: String,
    /// The reason as a sentence.
    pub sentence: String,
    /// How many.
    pub packets: u64,
}

/// `sekisho flows`: a half-flow.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Flow {
    /// Who pays for it.
    pub tenant: String,
    /// In which network, router, uplink or access its packets arrive.
    pub zone: String,
    /// The sender's address.
    pub src: String,
    /// The receiver's.
    pub dst: String,
    /// The protocol's name or number.
    pub protocol: String,
    /// The sender's and the receiver's port, if the protocol has ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<[u16; 2]>,
    /// What an ICMP query and its replies are known by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// `original` or `reply`.
    pub direction: String,
    /// The connection's state.
    pub state: String,
    /// Why it is denied, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// What it carried.
    pub amount: Amount,
    /// Since the last packet, seconds.
    pub idle_s: u64,
    /// The rule of the opener that permits it, if it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_rule: Option<String>,
    /// The rule of the responder that permits it, if it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_rule: Option<String>,
}

/// What an ICMP query and its replies are known by.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
pub struct Icmp {
    /// The type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The identifier.
    pub id: u16,
}

/// `sekisho sessions`: a line that is attached.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(rename = "LiveSession")]
pub struct Session {
    /// Where it came in.
    pub access: String,
    /// Whose line it is.
    pub tenant: String,
    /// The number, its middle hidden unless it was asked for in full.
    pub number: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// `active` or `suspended`.
    pub state: String,
    /// Where the line leads.
    pub destination: String,
}

/// `sekisho apply`: what a change came to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Applied {
    /// The version in force now.
    pub site_version: u32,
    /// The last revision of what is to be in force, which this is if it changed anything.
    #[serde(default)]
    pub revision: u64,
    /// Was it only tried?
    pub dry_run: bool,
    /// What differs, a line each: `+ tenants/blue/ports/web-2`, `~ …`, `- …`.
    pub changes: Vec<String>,
    /// What was done to interfaces that are no longer named.
    pub released: Vec<String>,
    /// What was probably not meant, or is not yet as it was meant.
    pub warnings: Vec<String>,
}

/// An object of what is to be in force.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is.
    pub kind: Kind,
    /// How it is called, and by whom it is.
    pub metadata: Metadata,
    /// What it says, as in the site file.
    pub spec: serde_json::Value,
}

/// What is known of an object beside what it says.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its path: that of its URL, behind `/api/v1/`.
    pub path: String,
    /// Its name among those of its kind there.
    pub name: String,
    /// The tenant whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The revision that wrote it last: its ETag.
    pub resource_version: u64,
    /// Who wrote it last.
    pub scope: String,
}

/// Objects in one place.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// The last revision of all.
    pub resource_version: u64,
    /// In the order of their names.
    pub items: Vec<Resource>,
}

/// What became of an object.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// The object as it is now; none, if it is gone or was only tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The version in force, of which it is.
    pub site_version: u32,
    /// The last revision, which this is if it changed anything.
    pub revision: u64,
    /// Was it only tried?
    pub dry_run: bool,
    /// What differs, a line each.
    pub changes: Vec<String>,
    /// What was probably not meant, or is not yet as it was meant.
    pub warnings: Vec<String>,
}

/// `sekisho confirm`: what stays.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Whose it is.
    pub scope: String,
    /// Which revision.
    pub revision: u64,
}

/// `sekisho revisions`: what was changed at once.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// When it was, as RFC 3339 has it.
    pub at: String,
    /// Who wrote it.
    pub scope: String,
    /// Is it the whole set of what the scope wants, and not an object of it?
    pub is_set: bool,
    /// How many objects it changed.
    pub objects: usize,
}

/// `sekisho revisions 41..42`: what differs between two revisions.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Difference {
    /// The earlier one.
    pub from: u64,
    /// The later one.
    pub to: u64,
    /// Each object that differs.
    pub objects: Vec<Differing>,
}

/// An object that differs between two revisions.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Differing {
    /// Its path.
    pub path: String,
    /// What it was; none: it was not there.
    pub before: Option<Resource>,
    /// What it became; none: it went.
    pub after: Option<Resource>,
}

/// What became of an object, for whoever watches.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "UPPERCASE")]
pub enum Event {
    /// It came.
    Added {
        /// As it is.
        object: Resource,
    },
    /// It says something else.
    Modified {
        /// As it is.
        object: Resource,
    },
    /// It went.
    Deleted {
        /// As it was; its version is that of the revision that deleted it.
        object: Resource,
    },
    /// All up to this revision is told: whoever goes on later begins there.
    Bookmark {
        /// Which.
        #[serde(rename = "resourceVersion")]
        resource_version: u64,
    },
    /// There is nothing more.
    Error {
        /// Why.
        problem: Problem,
    },
}

/// `sekisho trace`: what the program decided about one packet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Trace {
    /// Which frame of the capture it is, from 1 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<usize>,
    /// The packet in short.
    pub packet: String,
    /// Stage by stage.
    pub steps: Vec<Step>,
    /// `forwarded`, `answered`, `flooded`, `stopped`, `stopped, and the sender is told`, `heard by the
    /// daemon`, or `untraceable`.
    pub verdict: String,
    /// Why it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Why it could not be traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Trace {
    /// Of a packet that no program could be run on.
    #[must_use]
    pub fn untraceable(packet: String, error: String) -> Self {
        let verdict = "untraceable".to_owned();
        Self { frame: None, packet, steps: Vec::new(), verdict, stop: None, error: Some(error) }
    }
}

/// What one stage decided.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Step {
    /// The stage.
    pub stage: String,
    /// The decision, with the object that it came from.
    pub decision: String,
}
