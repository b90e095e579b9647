//! Next hops and outputs: how does a packet leave?

use super::record;
use crate::addr::Mac;
use crate::limits;

/// How a receiver is reached. A flow's action is an index of this table, so a
/// changed MAC is one record.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The attachment that it leaves by.
    pub attachment: u16,
    /// The largest IP packet, bytes.
    pub mtu_bytes: u16,
    /// Who receives: the port's, line's or uplink's endpoint.
    pub endpoint: u32,
    /// Whose epoch a flow to it depends on.
    pub tenant: u16,
    /// [`state`].
    pub state: u16,
    /// The receiver's MAC.
    pub dst: Mac,
    /// Ours on that link.
    pub src: Mac,
    /// The [meter](super::meter::Meter) of what the port receives; 0: none.
    pub meter: u32,
    /// The meter of the port's or line's router; 0: none.
    pub router_meter: u32,
}
record!(NextHop, 32);
const _: () = assert!(limits::ATTACHMENTS_MAX <= 1 << 16 && limits::TENANTS_MAX <= 1 << 16);

/// Is the next hop usable?
pub mod state {
    /// Its MAC is not known.
    pub const UNRESOLVED: u16 = 0;
    /// It may be sent to.
    pub const READY: u16 = 1;
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
