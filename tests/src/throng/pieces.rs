//! Datagrams in pieces: mostly whole and in order, sometimes not.

use super::{Peer, Throng};
use crate::build::Frame;

/// Pieces that are on their way at a time.
const PIECES: usize = 24;

impl Throng<'_> {
    /// A piece of a datagram; others of it came before, or come later, or never.
    pub(super) fn piece(&mut self) -> (Peer, Frame) {
        while self.pieces.len() < PIECES {
            self.cut();
        }
        let at = if self.chance.once_in(4) { self.chance.below(self.pieces.len()) } else { 0 };
        if self.chance.once_in(20) {
            // It will come again.
            return self.pieces[at].clone();
        }
        self.pieces.remove(at)
    }

    /// Cuts what somebody says to somebody.
    fn cut(&mut self) {
        let (peer, frame) = self.talk();
        let frame = frame.payload(&vec![7; *self.chance.of(&[48, 120, 1000, 4000])]);
        // Sometimes an identification that others have as well.
        let id = if self.chance.once_in(8) { 7 } else { self.chance.any() as u32 };
        let bytes = frame.carried_bytes();
        let size = *self.chance.of(&[24, 40, 504, 1480, 2400]);
        let mut from = 0;
        while from < bytes {
            let to = bytes.min(from + size);
            self.pieces.push((peer, frame.piece(id, from, to)));
            let overlap = if self.chance.once_in(30) && to < bytes { 8 } else { 0 };
            from = to - overlap;
            if self.chance.once_in(8) {
                return;
            }
        }
    }
}
