//! What do two ends of a connection know, and how do they send a segment?

use sekisho_tests::{
    build::tcp::{ACK, SYN},
    chance::Chance,
};

use super::segment::{Segment, Side};

/// One end as it sees itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// The next number that it sends.
    pub next: u32,
    /// The next number that it expects.
    pub heard: u32,
    pub window: u16,
    pub scale: Option<u8>,
    pub has_closed: bool,
    /// The other takes what is below this number.
    permitted: u32,
}

/// How far the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Begin,
    SynSent,
    SynReceived,
    Open,
    Ended,
}

/// A talk in the making.
pub struct Maker<'c> {
    pub chance: &'c mut Chance,
    pub ends: [End; 2],
    pub phase: Phase,
    /// Every segment that was sent, lost ones too.
    pub past: Vec<Segment>,
    /// Those that the judges see.
    pub shown: Vec<Segment>,
    /// Nobody sends what it should not, and nothing overtakes.
    pub is_sound: bool,
}

impl Maker<'_> {
    /// New first numbers, windows and options for both.
    pub fn renew(&mut self) {
        let numbers: [u32; 2] = [(); 2].map(|()| match self.chance.below(4) {
            // The numbers go round their end soon.
            0 => u32::MAX - self.chance.below(3000) as u32,
            _ => self.chance.any() as u32,
        });
        for (own, other) in [(0, 1), (1, 0)] {
            self.ends[own] = End {
                next: numbers[own],
                heard: numbers[other],
                window: *self.chance.of(&[65535, 65535, 29200, 29200, 512, 1, 0]),
                scale: *self.chance.of(&[None, None, Some(0), Some(7), Some(14), Some(15)]),
                has_closed: false,
                permitted: 0,
            };
        }
        for side in [Side::Opener, Side::Responder] {
            let room = self.room(side.other());
            let end = self.end(side);
            end.permitted = end.next.wrapping_add(room);
        }
    }

    /// The window that this side has open, scaled if both offered that.
    fn room(&self, side: Side) -> u32 {
        let (own, other) = (self.ends[side as usize], self.ends[side.other() as usize]);
        let shift = own.scale.filter(|_| other.scale.is_some()).unwrap_or(0);
        u32::from(own.window) << shift.min(14)
    }

    pub fn any_side(&mut self) -> Side {
        if self.chance.once_in(2) { Side::Opener } else { Side::Responder }
    }

    pub const fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// What this side would send with these flags now.
    pub fn segment(&mut self, from: Side, flags: u8, bytes: u16) -> Segment {
        let end = *self.end(from);
        let ack = if flags & ACK == 0 { 0 } else { end.heard };
        let scale = end.scale.filter(|_| flags & SYN != 0);
        Segment { from, flags, seq: end.next, ack, window: end.window, scale, bytes }
    }

    /// It is sent, and seen by the judges.
    pub fn show(&mut self, segment: Segment) {
        self.past.push(segment);
        self.shown.push(segment);
        let count = self.shown.len();
        if count > 1 && !self.is_sound && self.chance.once_in(20) {
            self.shown.swap(count - 1, count - 2);
        }
    }

    /// It is sent as it should be, and heard.
    pub fn say(&mut self, from: Side, flags: u8, bytes: u16) {
        let segment = self.segment(from, flags, bytes);
        self.hear(&segment);
        self.show(segment);
    }

    /// It arrives at the other end.
    pub fn hear(&mut self, segment: &Segment) {
        let from = segment.from;
        let room = if segment.has(SYN) { segment.window.into() } else { self.room(from) };
        self.end(from).next = segment.end();
        let other = self.end(from.other());
        other.heard = segment.end();
        if segment.has(ACK) {
            other.permitted = segment.ack.wrapping_add(room);
        }
    }

    /// As [`Self::say`], but now and then it is lost before the judges; was it heard?
    pub fn try_to_say(&mut self, from: Side, flags: u8, bytes: u16) -> bool {
        if !self.chance.once_in(15) {
            self.say(from, flags, bytes);
            return true;
        }
        let segment = self.segment(from, flags, bytes);
        self.past.push(segment);
        if !segment.has(SYN) {
            self.end(from).next = segment.end();
        }
        false
    }

    /// No more than the other takes.
    pub fn fitting(&self, side: Side, bytes: u16) -> u16 {
        let End { next, permitted, .. } = self.ends[side as usize];
        let room = permitted.wrapping_sub(next);
        if room > 1 << 30 { 0 } else { bytes.min(u16::try_from(room).unwrap_or(u16::MAX)) }
    }
}
