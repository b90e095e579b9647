//! What is one TCP segment, and how does it look on the wire?

use std::fmt;

use sekisho_tests::build::{
    Frame,
    tcp::{ACK, FIN, RST, SYN},
};

/// Who sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Who may open a connection.
    Opener,
    /// Who only answers.
    Responder,
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::Opener => Self::Responder,
            Self::Responder => Self::Opener,
        }
    }
}

pub const PUSH: u8 = 8;
pub const URGENT: u8 = 32;
const SERVER_PORT: u16 = 80;

/// One segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    pub from: Side,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    /// The window scale option.
    pub scale: Option<u8>,
    pub bytes: u16,
}

impl Segment {
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The sequence number after it.
    pub fn end(&self) -> u32 {
        let phantom = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq.wrapping_add(self.bytes.into()).wrapping_add(phantom)
    }

    /// The frame, from and to these MACs; `port` is the opener's.
    pub fn frame(&self, is_v6: bool, port: u16, src: [u8; 6], dst: [u8; 6]) -> Frame {
        let (opener, responder) = addrs(is_v6);
        let frame = Frame::new(src, dst);
        let frame = match self.from {
            Side::Opener => {
                frame.ip(opener, responder).tcp(port, SERVER_PORT, self.flags, self.seq, self.ack)
            }
            Side::Responder => {
                frame.ip(responder, opener).tcp(SERVER_PORT, port, self.flags, self.seq, self.ack)
            }
        };
        let frame = frame.window(self.window).payload(&vec![0; self.bytes.into()]);
        match self.scale {
            Some(shift) => frame.tcp_options(&[1, 3, 3, shift]),
            None => frame,
        }
    }
}

/// The opener's and the responder's address.
pub const fn addrs(is_v6: bool) -> (&'static str, &'static str) {
    if is_v6 { ("2001:db8:1::10", "2001:db8:2::10") } else { ("10.1.0.10", "10.2.0.10") }
}

impl fmt::Display for Segment {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.from == Side::Opener { "->" } else { "<-" };
        let names = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (ACK, '.'), (PUSH, 'P'), (URGENT, 'U')];
        let flags: String =
            names.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| name).collect();
        write!(
            to,
            "{arrow} [{flags:3}] seq {} +{} ack {} win {}",
            self.seq, self.bytes, self.ack, self.window
        )?;
        self.scale.map_or(Ok(()), |shift| write!(to, " scale {shift}"))
    }
}

/// A sequence of segments of one connection.
#[derive(Clone, Debug)]
pub struct Talk {
    pub is_v6: bool,
    pub segments: Vec<Segment>,
}

/// What became of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Did it arrive at the other side?
    pub has_passed: bool,
    /// The connection's state after it, in our numbers.
    pub state: u32,
}
