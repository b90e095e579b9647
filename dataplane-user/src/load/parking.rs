//! Where do fragments wait that came before the first one of their datagram?
//!
//! Programs put them into a ring; here they are kept until the table of datagrams knows the
//! first one, or for a moment, and are then given back in the order of the datagram. What
//! the daemon holds when it ends is lost; what is still in the ring, the next one reads.

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, RingBuf};
use dataplane_common::{limits::PARKED_MAX, table::datagram::Parked, wire::ethernet::CUSTOMER_TAG};

use super::{Error, maps};

/// For how long the first fragment is waited for.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Fragments that are read at a time.
const READS_MAX: usize = 512;

/// Fragments that wait.
pub struct Parking {
    ring: RingBuf<MapData>,
    held: HashMap<Of, Vec<Fragment>>,
    count: usize,
}

/// Whose pieces wait together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Of {
    /// The datagram.
    pub key: [u64; 5],
    /// Its sender.
    pub owner: u32,
    /// Where they came in.
    pub ifindex: u32,
}

/// One that waits.
#[derive(PartialEq, Eq, Debug)]
pub struct Fragment {
    at: u32,
    since: Instant,
    /// Whose place it takes up, by [`dataplane_common::tables::Share::index`].
    pub share: u32,
    /// As it came over the wire.
    pub frame: Vec<u8>,
}

impl Parking {
    /// Of the fragments in this map.
    pub fn new(map: Map) -> Result<Self, Error> {
        let ring = map.try_into().map_err(|source| Error::Map { name: maps::PARKED, source })?;
        Ok(Self { ring, held: HashMap::new(), count: 0 })
    }

    /// Can be read when a program has parked something.
    pub fn signal(&self) -> std::io::Result<OwnedFd> {
        self.ring.as_fd().try_clone_to_owned()
    }

    /// Does any fragment wait?
    pub fn is_waiting(&self) -> bool {
        self.count > 0
    }

    /// Reads what was parked; answers, in order, what waits no more: its first fragment is
    /// known, or it has waited long enough, or too many wait.
    pub fn due(&mut self, now: Instant, is_known: impl Fn(&Of) -> bool) -> Vec<(Of, Fragment)> {
        for _ in 0..READS_MAX {
            let Some(message) = self.ring.next() else { break };
            if let Some((of, fragment)) = read(&message, now) {
                self.held.entry(of).or_default().push(fragment);
                self.count += 1;
            }
        }
        let is_full = self.count > PARKED_MAX;
        let is_over = |all: &[Fragment]| {
            all.iter().any(|fragment| now.duration_since(fragment.since) >= WAIT_MAX)
        };
        let due: Vec<_> = self
            .held
            .extract_if(|of, all| is_full || is_over(all) || is_known(of))
            .flat_map(|(of, mut all)| {
                all.sort_by_key(|fragment| fragment.at);
                all.into_iter().map(move |fragment| (of, fragment))
            })
            .collect();
        self.count -= due.len();
        due
    }
}

/// What the program wrote: [`Parked`], then the frame.
fn read(message: &[u8], since: Instant) -> Option<(Of, Fragment)> {
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
    if tag != 0 {
        // Behind the two MACs, as it came over the wire.
        let [a, b] = CUSTOMER_TAG;
        let [c, d] = ((tag - 1) as u16).to_be_bytes();
        frame.get(..12)?;
        frame.splice(12..12, [a, b, c, d]);
    }
    Some((Of { key: words, owner, ifindex }, Fragment { at, since, share, frame }))
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
        [7, 8, 9, 1480, 20, 101_u32].iter().for_each(|n| message.extend(n.to_ne_bytes()));
        message.extend([0xaa; 12]);
        message.extend([0x08, 0x00, 1, 2, 3, 4, 5, 6]);
        message.extend([0xff; 100]);
        let (of, fragment) = read(&message, now).expect("it is whole");
        assert_eq!((of.key, of.owner, of.ifindex), ([1, 2, 3, 4, 5], 7, 9));
        assert_eq!((fragment.share, fragment.at), (8, 1480));
        let mut frame = vec![0xaa; 12];
        frame.extend([0x81, 0x00, 0, 100, 0x08, 0x00, 1, 2, 3, 4, 5, 6]);
        assert_eq!(fragment.frame, frame);
        assert!(read(&message[..70], now).is_none(), "cut short");
    }
}
