//! Where do fragments wait that came before the first one of their datagram?
//!
//! Programs put them into a ring; here they are kept until the table of datagrams knows the
//! first one, or for a moment, and are then given back in the order of the datagram. What
//! the daemon holds when it ends is lost; what is still in the ring, the next one reads.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, RingBuf};
use dataplane_common::{
    limits::{AGAIN, PARKED_BYTES, PARKED_MAX},
    packet::OuterTag,
    table::datagram::Parked,
};

use super::{Error, maps};

/// For how long the first fragment is waited for.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Fragments that are read, and that are given back, at a time: the daemon does nothing else
/// meanwhile (30 to 100 µs for each, without optimization).
const TURN_MAX: usize = 128;
const _: () = assert!(TURN_MAX < AGAIN as usize);

/// Fragments that wait.
pub struct Parking {
    ring: RingBuf<MapData>,
    held: Held,
}

/// Those that were read, in the order in which they came.
#[derive(Default)]
struct Held(Vec<Fragment>);

/// One that waits.
#[derive(PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Its datagram.
    pub key: [u64; 5],
    /// That one's sender.
    pub owner: u32,
    /// Where it came in.
    pub ifindex: u32,
    /// Whose place it takes up, by [`dataplane_common::tables::Share::index`].
    pub share: u32,
    /// As it came over the wire.
    pub frame: Vec<u8>,
    at: u32,
    since: Instant,
}

impl Parking {
    /// Of the fragments in this map.
    pub fn new(map: Map) -> Result<Self, Error> {
        let ring = map.try_into().map_err(|source| Error::Map { name: maps::PARKED, source })?;
        Ok(Self { ring, held: Held::default() })
    }

    /// Can be read when a program has parked something.
    pub fn signal(&self) -> std::io::Result<OwnedFd> {
        self.ring.as_fd().try_clone_to_owned()
    }

    /// Does any fragment wait?
    pub fn is_waiting(&self) -> bool {
        !self.held.0.is_empty()
    }

    /// Reads what was parked; answers, in order, what waits no more: its first fragment is
    /// known, or it has waited long enough, or too many wait.
    pub fn due(&mut self, now: Instant, is_known: impl Fn(&Fragment) -> bool) -> Vec<Fragment> {
        self.read(now, TURN_MAX);
        self.held.due(now, is_known)
    }

    /// What came in at this interface up to now, which waits no more.
    pub fn forget(&mut self, now: Instant, ifindex: u32) -> Vec<Fragment> {
        // All that the ring can hold.
        self.read(now, PARKED_BYTES as usize / size_of::<Parked>());
        self.held.0.extract_if(.., |fragment| fragment.ifindex == ifindex).collect()
    }

    fn read(&mut self, now: Instant, max: usize) {
        for _ in 0..max {
            let Some(message) = self.ring.next() else { break };
            self.held.0.extend(read(&message, now));
        }
    }
}

impl Held {
    fn due(&mut self, now: Instant, is_known: impl Fn(&Fragment) -> bool) -> Vec<Fragment> {
        let mut surplus = self.surplus();
        let mut left = TURN_MAX.saturating_sub(surplus.values().sum());
        let is_due = |fragment: &mut Fragment| {
            if let Some(count @ 1..) = surplus.get_mut(&fragment.share) {
                *count -= 1;
                return true;
            }
            let is_over = now.duration_since(fragment.since) >= WAIT_MAX;
            let is_due = left > 0 && (is_over || is_known(fragment));
            left -= usize::from(is_due);
            is_due
        };
        let mut due: Vec<_> = self.0.extract_if(.., is_due).collect();
        due.sort_by_key(|fragment| fragment.at);
        due
    }

    /// How many are too many, by share: each time one of whoever has most.
    fn surplus(&self) -> BTreeMap<u32, usize> {
        let mut surplus = BTreeMap::new();
        if self.0.len() <= PARKED_MAX {
            return surplus;
        }
        let mut counts = BTreeMap::<_, usize>::new();
        for fragment in &self.0 {
            *counts.entry(fragment.share).or_default() += 1;
        }
        for _ in PARKED_MAX..self.0.len() {
            if let Some((share, count)) = counts.iter_mut().max_by_key(|(_, count)| **count) {
                *count -= 1;
                *surplus.entry(*share).or_default() += 1;
            }
        }
        surplus
    }
}

/// What the program wrote: [`Parked`], then the frame.
fn read(message: &[u8], since: Instant) -> Option<Fragment> {
    let (parked, frame) = message.split_at_checked(size_of::<Parked>())?;
    let (key, rest) = parked.split_at_checked(40)?;
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(key.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    let number = |index: usize| {
        Some(u32::from_ne_bytes(rest.get(4 * index..4 * index + 4)?.try_into().ok()?))
    };
    let (owner, share, ifindex, at) = (number(0)?, number(1)?, number(2)?, number(3)?);
    let (bytes, tag) = (number(4)?, number(5)?);
    let mut frame = frame.get(..bytes as usize)?.to_vec();
    if let Some(OuterTag { protocol: [a, b], tci }) = OuterTag::from_word(tag) {
        // Behind the two MACs, as it came over the wire.
        let [c, d] = tci.to_be_bytes();
        frame.get(..12)?;
        frame.splice(12..12, [a, b, c, d]);
    }
    Some(Fragment { key: words, owner, ifindex, share, frame, at, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_beside_the_frame_goes_into_it() {
        let now = Instant::now();
        let mut message = Vec::new();
        (1..=5_u64).for_each(|word| message.extend(word.to_ne_bytes()));
        // Owner, share, interface, place, bytes, tag.
        [7, 8, 9, 1480, 20, 0x88a8_0064_u32].iter().for_each(|n| message.extend(n.to_ne_bytes()));
        message.extend([0xaa; 12]);
        message.extend([0x08, 0x00, 1, 2, 3, 4, 5, 6]);
        message.extend([0xff; 100]);
        let fragment = read(&message, now).expect("it is whole");
        let Fragment { key, owner, ifindex, .. } = fragment;
        assert_eq!((key, owner, ifindex), ([1, 2, 3, 4, 5], 7, 9));
        assert_eq!((fragment.share, fragment.at), (8, 1480));
        let mut frame = vec![0xaa; 12];
        frame.extend([0x88, 0xa8, 0, 100, 0x08, 0x00, 1, 2, 3, 4, 5, 6]);
        assert_eq!(fragment.frame, frame);
        assert!(read(&message[..70], now).is_none(), "cut short");
    }

    fn fragment(share: u32, at: u32, since: Instant) -> Fragment {
        Fragment { key: [0; 5], owner: 1, ifindex: 2, share, frame: Vec::new(), at, since }
    }

    #[test]
    fn they_wait_for_their_first_or_for_a_second() {
        let start = Instant::now();
        let mut held = Held(vec![fragment(1, 2960, start), fragment(1, 1480, start)]);
        held.0.push(fragment(2, 8, start + WAIT_MAX / 2));
        assert_eq!(held.due(start + WAIT_MAX / 2, |_| false), []);
        let given = held.due(start + WAIT_MAX / 2, |fragment| fragment.share == 1);
        assert_eq!(given.iter().map(|fragment| fragment.at).collect::<Vec<_>>(), [1480, 2960]);
        assert_eq!(held.due(start + WAIT_MAX, |_| false), []);
        assert_eq!(held.due(start + 2 * WAIT_MAX, |_| false).len(), 1);
        assert_eq!(held.0, []);
    }

    #[test]
    fn no_more_than_a_turn_is_given_back_at_once() {
        let start = Instant::now();
        let mut held = Held((0..1000).map(|at| fragment(1, at, start)).collect());
        for turn in 1..=3 {
            assert_eq!(held.due(start, |_| true).len(), TURN_MAX);
            assert_eq!(held.0.len(), 1000 - turn * TURN_MAX);
            assert_eq!(held.0[0].at as usize, turn * TURN_MAX, "the oldest go first");
        }
    }

    #[test]
    fn of_too_many_the_oldest_go_of_whoever_has_most() {
        let start = Instant::now();
        let mut held = Held((0..10).map(|at| fragment(1, at, start)).collect());
        let most = PARKED_MAX as u32 - 110;
        held.0.extend((0..most).map(|at| fragment(2, at, start)));
        held.0.extend((0..150).map(|at| fragment(3, at, start)));
        let given = held.due(start, |_| false);
        assert_eq!(given.len(), 50);
        assert!((0..).zip(&given).all(|(at, given)| (given.share, given.at) == (2, at)));
        assert_eq!(held.0.len(), PARKED_MAX);
        // Whatever else is due shares the turn with them.
        held.0.extend((0..100).map(|at| fragment(3, at, start)));
        assert_eq!(held.due(start, |_| true).len(), TURN_MAX);
    }
}
