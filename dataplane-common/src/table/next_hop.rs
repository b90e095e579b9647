//! Next hops and outputs: how does a packet leave?

use super::record;
use crate::addr::Mac;

/// How a receiver is reached. A flow's action is an index of this table, so a
/// changed MAC is one record.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The attachment that it leaves by.
    pub attachment: u32,
    /// Who receives: the port's, line's or uplink's endpoint.
    pub endpoint: u32,
    /// The largest IP packet, bytes.
    pub mtu_bytes: u32,
    /// [`state`].
    pub state: u32,
    /// The receiver's MAC.
    pub dst: Mac,
    /// Ours on that link.
    pub src: Mac,
    /// Whose epoch a flow to it depends on.
    pub tenant: u32,
}
record!(NextHop, 32);

/// Is the next hop usable?
pub mod state {
    /// Its MAC is not known.
    pub const UNRESOLVED: u32 = 0;
    /// It may be sent to.
    pub const READY: u32 = 1;
}

/// The way out at an attachment, with the attachment's id.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Output {
    /// The interface; 0: it is absent.
    pub ifindex: u32,
    /// [`output_kind`].
    pub kind: u32,
    /// The tags to leave with ([`vlans`](crate::wire::ethernet::vlans)); 0: none.
    pub vlan: u32,
    /// Under whom is counted what the kernel refuses there; 0: the provider.
    pub tenant: u32,
}
record!(Output, 16);

/// How an interface is sent to.
pub mod output_kind {
    /// A veth or netkit whose peer is the tenant's: straight into the peer.
    pub const PEER: u32 = 1;
    /// A tap, or anything that must see the frame itself.
    pub const DEVICE: u32 = 2;
    /// A NIC that has our XDP program.
    pub const NIC: u32 = 3;
    /// No interface's: up to the host's stack.
    pub const HOST: u32 = 4;
}
