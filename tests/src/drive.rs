//! What becomes of a packet on the host? The three programs are run as the bindings
//! run them.

use std::time::Duration;

use dataplane_common::{
    Packet, Stop, Tables, Work,
    addr::{Addr, Mac},
    pipeline::{self, Next},
    stage::fragment::Again,
    table::{
        datagram,
        flow::{FlowKey, Judged, action, bucket_of, status},
        next_hop::Output,
        root::InForce,
    },
    tables::{Share, note},
    work::{Leg, Meters, job},
};
use dataplane_user::tables::{HostTables, host::Counters};

use crate::{packet::HostPacket, pair::Watched, world::Sent};

/// How a packet ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it left.
    pub end: End,
    /// What was counted.
    pub counters: Counters,
    /// Programs that ran.
    pub programs: u32,
}

/// The one end of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// This frame left by this output.
    Left {
        /// The output's id, which is its attachment's.
        output: u32,
        /// As the receiver sees it.
        frame: Vec<u8>,
        /// As the program counted it.
        bytes: u32,
    },
    /// Copies left, by these interfaces.
    Flooded(Vec<(u32, Vec<u8>)>),
    /// The daemon hears it, and nobody else.
    Heard,
    /// The daemon keeps it, and sends it in again.
    Parked,
    /// It goes up to the host.
    Passed,
    /// It was not forwarded.
    Stopped(Stop),
}

/// More tenants than any site here has.
const TENANTS: u32 = 8;
/// Tail calls of a packet at most, and the program that it enters.
const PROGRAMS_MAX: u32 = 5;

/// Runs the packet through the pipeline.
pub fn run(tables: &HostTables, packet: HostPacket) -> Outcome {
    tables.take_counters();
    let passed = pass(tables, packet);
    passed.outcome(tables.take_counters())
}

/// A packet at the end of its journey.
pub struct Passed {
    /// Why it was not forwarded; `None`: it leaves.
    pub stop: Option<Stop>,
    /// As the programs left it.
    pub packet: HostPacket,
    /// Copies of it left, and it did not.
    pub is_flooded: bool,
    /// What was known about it.
    pub work: Work,
    /// Programs that ran.
    pub programs: u32,
}

impl Passed {
    /// How it ended, and what was counted of it.
    #[must_use]
    pub fn outcome(&self, counters: Counters) -> Outcome {
        let end = match self.stop {
            None if self.is_flooded => End::Flooded(self.packet.copies().to_vec()),
            None if self.work.job == job::HEAR => End::Heard,
            None if self.work.job == job::PARK => End::Parked,
            None if self.work.job == job::PASS => End::Passed,
            None => {
                let (frame, bytes) = (self.packet.wire(), self.packet.bytes());
                End::Left { output: self.work.output, frame, bytes }
            }
            Some(stop) => End::Stopped(stop),
        };
        Outcome { end, counters, programs: self.programs }
    }
}

/// Runs the packet through the pipeline on any tables.
pub fn pass<T: Tables>(tables: &T, mut packet: HostPacket) -> Passed {
    let mut work = poisoned();
    work.begin(InForce::default());
    let mut next = pipeline::enter(&mut packet, tables, &mut work);
    let mut programs = 1;
    let mut is_flooded = false;
    let stop = loop {
        next = match next {
            Next::Emit | Next::Heard | Next::Parked | Next::Passed => break None,
            Next::Flooded => {
                is_flooded = true;
                break None;
            }
            Next::Stopped(stop) => break Some(stop),
            Next::First => pipeline::first(&mut packet, tables, &mut work),
            Next::Answer => pipeline::answer(&mut packet, tables, &mut work),
            Next::Flood => pipeline::flood(&mut packet, tables, &mut work),
            Next::Fragment => pipeline::fragment(&mut packet, tables, &mut work),
            Next::Host => pipeline::host(&mut packet, tables, &mut work),
        };
        programs += 1;
        assert!(programs <= PROGRAMS_MAX, "a packet goes round in circles");
    };
    Passed { stop, packet, is_flooded, work, programs }
}

/// Sends the packet; answers the reason as well if its sender was told one.
pub fn send(tables: &HostTables, sent: &Sent) -> (Passed, Option<Stop>) {
    // Errors are never silenced by their rate, and no flow expires.
    tables.pass(Duration::from_millis(20));
    let watched = Watched::new(tables, None);
    let passed = pass(&watched, HostPacket::new(sent.hook, sent.ifindex, &sent.frame));
    let notes = watched.into_notes();
    let stop = notes.iter().find(|noted| noted.what == note::STOP);
    (passed, stop.map(|noted| Stop::from_number(noted.id)))
}

/// Notes as the daemon does that it sends in again what was parked.
pub fn note_again(tables: &HostTables, passed: &Passed) {
    let parked = passed.packet.parked().expect("it was parked");
    let again = Again::of(&parked.key, parked.owner, tables.secret());
    let note = tables.again(again.index).expect("it is one of the table");
    // As of a daemon whose clock is a tick ahead.
    note.store(again.word(tables.now_ticks().wrapping_add(1)));
}

/// Forgets every flow and every datagram.
pub fn forget(tables: &HostTables) {
    for datagram in tables.datagrams() {
        // The stamp stays, and goes on.
        datagram.status.store(datagram.status.load() & !(datagram::status::STAMP - 1));
    }
    for index in 0..tables.flow_lines() {
        if let Some(line) = tables.flow(index) {
            line.status.store(status::EMPTY);
        }
        if let Some(away) = tables.flows_away(bucket_of(index)) {
            away.store(0);
        }
    }
    for tenant in 0..TENANTS {
        tables.flow_release(tenant, tables.halves_of(tenant));
        for of in Share::ALL {
            (0..tables.share_of(tenant, of)).for_each(|_| tables.release(of, tenant));
        }
    }
}

/// A live half-flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Half {
    /// Its key.
    pub key: FlowKey,
    /// The connection's state.
    pub state: u32,
    /// Is it the answering half?
    pub is_reply: bool,
    /// The stop that denies it.
    pub denied: Option<Stop>,
    /// The epoch that it was last found to hold in.
    pub epoch: u32,
    /// Who may send it; 0: nobody yet.
    pub owner: u32,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
}

/// The live half-flows, opening halves first.
#[must_use]
pub fn halves(tables: &HostTables) -> Vec<Half> {
    let live = (0..tables.flow_lines()).filter_map(|index| {
        let (line, cold) = (tables.flow(index)?, tables.flow_cold(index)?);
        let now = line.status.load();
        let judged = Judged::from_word(line.judged.load());
        let is_denied = judged.action & action::DENIED != 0;
        (now & status::LIFE == status::LIVE).then(|| Half {
            key: line.key(),
            state: now & status::STATE,
            is_reply: now & status::REPLY != 0,
            denied: is_denied.then(|| Stop::from_number(judged.action)),
            epoch: judged.epoch,
            owner: line.owner.load(),
            packets: cold.forwarded(line).0,
            bytes: cold.forwarded(line).1,
        })
    });
    let mut halves: Vec<_> = live.collect();
    halves.sort_by_key(|half| half.is_reply);
    halves
}

/// What a packet before may have left: whatever is read before it is written shows.
fn poisoned() -> Work {
    const WORD: u32 = 0xdead_beef;
    let key = FlowKey {
        src: Addr::v6([0xde; 16]),
        dst: Addr::v6([0xad; 16]),
        src_port: [0xde; 2],
        dst_port: [0xad; 2],
        zone: [0xbe; 3],
        protocol: 6,
    };
    let leg = Leg {
        key,
        sender: WORD,
        receiver: WORD,
        zone: WORD,
        action: WORD,
        rule_egress: WORD,
        rule_ingress: WORD,
        stamp: u64::from(WORD),
        epoch: WORD,
        flags: WORD,
    };
    Work {
        in_force: InForce { version: WORD, root: WORD },
        flags: WORD,
        attachment: WORD,
        attachment_kind: WORD,
        link: WORD,
        vlan: WORD,
        tenant: WORD,
        sender: WORD,
        owner: WORD,
        dst_mac: Mac([0xde; 6]),
        src_mac: Mac([0xad; 6]),
        l3: WORD,
        l4: WORD,
        l3_bytes: WORD,
        ttl_hops: WORD,
        key,
        icmp: [0xde; 2],
        tcp_flags: 0xff,
        tcp_scale: 0xff,
        tcp_seq: WORD,
        tcp_ack: WORD,
        tcp_window: WORD,
        payload_bytes: WORD,
        fragment_id: [0xde; 4],
        fragment_at: WORD,
        fragment_bytes: WORD,
        flow: WORD,
        flow_status: WORD,
        payer: WORD,
        mark: WORD,
        spare: WORD,
        leg,
        way: leg,
        action: WORD,
        job: WORD,
        error: [0xde; 2],
        error_mtu: 0xdead,
        error_stop: WORD,
        meters: Meters { sender: WORD, router: WORD, receiver: WORD },
        output: WORD,
        out: Output { ifindex: WORD, kind: WORD, vlan: WORD, tenant: WORD },
        zero: WORD,
    }
}
