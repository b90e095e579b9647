//! Which flows do both CPUs begin, and what are their frames?

use sekisho_tests::{
    build::{
        Frame,
        tcp::{ACK, SYN},
    },
    world::End,
};

/// Flows that are begun and used by both CPUs at once: a quarter of each [`Kind`].
const FLOWS: u16 = 2000;
/// Their clients' ports.
const FIRST_PORT: u16 = 2000;

/// Two tenants whose ports have the same addresses.
#[derive(Clone, Copy)]
pub struct Ends {
    pub blue: [End; 2],
    pub red: [End; 2],
    /// Of each CPU the one who has [`SHARED`], and to whom it sends.
    pub sharers: [[End; 2]; 2],
}

/// The address that two ports have.
pub const SHARED: &str = "10.1.0.99";
/// Ports of clients with that address.
pub const SHARED_PORTS: std::ops::Range<u16> = 5000..7000;

/// How a flow begins on two CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The same question on both.
    Same,
    /// The question, and what could be its answer.
    Answered,
    /// Two tenants' questions, which differ in nothing else.
    Tenants,
    /// The same SYN on both.
    Connection,
}

const KINDS: [Kind; 4] = [Kind::Same, Kind::Answered, Kind::Tenants, Kind::Connection];

/// A flow that both CPUs have begun.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub kind: Kind,
    pub port: u16,
}

impl Flow {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..FLOWS)
            .map(|at| Self { kind: KINDS[usize::from(at) % KINDS.len()], port: FIRST_PORT + at })
    }

    /// The flow's ends on this CPU.
    pub const fn ends(self, ends: Ends, cpu: usize) -> [End; 2] {
        if matches!(self.kind, Kind::Tenants) && cpu == 1 { ends.red } else { ends.blue }
    }

    /// Of the client, whose part of the connection is one byte for each packet.
    pub fn question(self, ends: [End; 2]) -> Vec<u8> {
        match self.kind {
            Kind::Connection => segment(ends, self.port, true, ACK),
            Kind::Same | Kind::Answered | Kind::Tenants => datagram(ends, self.port),
        }
    }

    pub fn answer(self, ends: [End; 2]) -> Vec<u8> {
        match self.kind {
            Kind::Connection => segment(ends, self.port, false, ACK),
            Kind::Same | Kind::Answered | Kind::Tenants => reply(ends, self.port),
        }
    }
}

pub fn datagram([from, to]: [End; 2], port: u16) -> Vec<u8> {
    Frame::new(from.mac, to.mac).ip("10.1.0.10", "10.1.0.20").udp(port, 53).build()
}

pub fn shared([from, to]: [End; 2], port: u16) -> Vec<u8> {
    Frame::new(from.mac, to.mac).ip(SHARED, "10.1.0.20").udp(port, 53).build()
}

pub fn reply([from, to]: [End; 2], port: u16) -> Vec<u8> {
    Frame::new(to.mac, from.mac).ip("10.1.0.20", "10.1.0.10").udp(53, port).build()
}

/// Of a connection in which nobody says anything.
pub fn segment([from, to]: [End; 2], port: u16, is_question: bool, tcp_flags: u8) -> Vec<u8> {
    let begins = tcp_flags & SYN != 0;
    let (own, other) = if is_question { (1000, 9000) } else { (9000, 1000) };
    let seq = if begins { own } else { own + 1 };
    let ack = if tcp_flags & ACK == 0 { 0 } else { other + 1 };
    let frame = if is_question {
        Frame::new(from.mac, to.mac).ip("10.1.0.10", "10.1.0.20").tcp(port, 80, tcp_flags, seq, ack)
    } else {
        Frame::new(to.mac, from.mac).ip("10.1.0.20", "10.1.0.10").tcp(80, port, tcp_flags, seq, ack)
    };
    frame.build()
}
