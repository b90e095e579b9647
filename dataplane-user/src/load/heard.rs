//! What did the programs hear beyond the NICs: which address has which MAC?

use aya::maps::{Map, MapData, RingBuf};
use dataplane_common::{addr::Addr, tables::Heard};

use super::{Error, maps};

/// The programs' end of the ring is shared by all of their generations; who holds this
/// end reads what the one before did not.
pub struct Ear(RingBuf<MapData>);

/// Messages that are read at a time: more than all tenants may send meanwhile. A flood waits,
/// and then is lost.
const MESSAGES_MAX: usize = 4096;

impl Ear {
    /// At this map.
    pub fn new(map: Map) -> Result<Self, Error> {
        map.try_into().map(Self).map_err(|source| Error::Map { name: maps::HEARD, source })
    }

    /// What was heard since the last time.
    pub fn listen(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while heard.len() < MESSAGES_MAX
            && let Some(message) = self.0.next()
        {
            heard.extend(read(&message));
        }
        heard
    }
}

/// The message as the program wrote it: [`Heard`].
fn read(message: &[u8]) -> Option<Heard> {
    Some(Heard {
        addr: Addr::v6(message.get(..16)?.try_into().ok()?),
        mac: u64::from_ne_bytes(message.get(16..24)?.try_into().ok()?),
        attachment: u32::from_ne_bytes(message.get(24..28)?.try_into().ok()?),
        overrides: u32::from_ne_bytes(message.get(28..32)?.try_into().ok()?),
    })
}
