//! What is the site? Typed, complete, and consistent: a [`Site`] exists only
//! if `check` found no error, so whoever reads one looks nothing up in vain.
//!
//! References are indexes into the site's own tables. An index is only good
//! for the site it came from.

mod filter;
mod flood;
mod host;
mod limit;
mod mac;
mod mobile;
mod name;
mod network;
mod number;
mod router;
mod table;
mod uplink;

pub use filter::{AddressGroup, Direction, Ethertype, Group, Match, Remote, Rule};
pub use host::{HostEntry, HostMatch, HostShare};
pub use limit::{Limit, Limits, Rate};
pub use mac::{Mac, MacError};
pub use mobile::{
    Access, Destination, Entitlement, Imsi, Line, LineGroup, LineState, NumberRange, Session,
};
pub use name::{Interface, Name};
pub use network::{AddressPair, Attachment, Hook, Network, Owner, Port, Security, Subnet, Tenant};
pub use number::{Number, NumberError, masked};
pub use router::{NextHop, Route, Router, Target};
pub use table::{
    AccessIx, AddressGroupIx, AttachmentIx, GroupIx, Ix, LineGroupIx, LineIx, NetworkIx, PortIx,
    RouterIx, Table, TenantIx, UplinkIx,
};
pub use uplink::{Export, Exporter, Neighbour, Uplink};

/// A whole site. Objects of all tenants share a table; each names its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The country in which national telephone numbers are read.
    pub country_code: Option<u16>,
    /// The owners.
    pub tenants: Table<TenantIx, Tenant>,
    /// Every (interface, VLAN) that is used, once.
    pub attachments: Table<AttachmentIx, Attachment>,
    /// Layer-2 segments.
    pub networks: Table<NetworkIx, Network>,
    /// Tenants' ports.
    pub ports: Table<PortIx, Port>,
    /// Tenants' routers.
    pub routers: Table<RouterIx, Router>,
    /// Security groups, each tenant's `default` among them.
    pub groups: Table<GroupIx, Group>,
    /// Named sets of prefixes.
    pub address_groups: Table<AddressGroupIx, AddressGroup>,
    /// Registered mobile lines.
    pub lines: Table<LineIx, Line>,
    /// Named sets of lines.
    pub line_groups: Table<LineGroupIx, LineGroup>,
    /// External networks.
    pub uplinks: Table<UplinkIx, Uplink>,
    /// Attachments of the mobile network.
    pub accesses: Table<AccessIx, Access>,
    /// Which tenant may register which numbers.
    pub entitlements: Vec<Entitlement>,
    /// Static sessions.
    pub sessions: Vec<Session>,
}

impl Site {
    /// What is the host's at an attachment; none on tenants' ports.
    #[must_use]
    pub fn host_at(&self, ix: AttachmentIx) -> Option<&HostShare> {
        match self.attachments[ix].owner {
            Owner::Uplink(uplink) => Some(&self.uplinks[uplink].host),
            Owner::Access(access) => Some(&self.accesses[access].host),
            Owner::Network(_) => None,
        }
    }
}
