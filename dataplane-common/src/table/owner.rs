//! Owners of flows: who may send this packet, found by the flow and not by the packet?
//!
//! A flow is owned by whoever was admitted to send it. Where the flow is known and its judgement
//! holds, its owner need not be looked for: it is only compared with what the frame shows.

use super::record;
use crate::addr::Mac;

/// A station, a line or an uplink as a sender.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Where it sends: a station's attachment, a line's access, an uplink's zone; 0: nobody.
    pub at: u32,
    /// The port's, line's or uplink's endpoint.
    pub endpoint: u32,
    /// Whose it is; 0 for uplinks.
    pub tenant: u32,
    /// The [meter](super::meter::Meter) of what the port sends; 0: none.
    pub meter: u32,
    /// The meter of its router; 0: none.
    pub router_meter: u32,
    /// A station's MAC; the empty one: any that no other station there has.
    pub mac: Mac,
    /// Zero.
    pub zero: [u8; 6],
}
record!(Owner, 32);
