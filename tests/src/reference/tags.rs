//! At which attachment does a frame with these tags come in? IEEE 802.1Q, 802.1ad, and the
//! README's "Hooks".

use dataplane_common::Stop;
use dataplane_user::model::AttachmentIx;

use super::Reference;

/// EtherTypes of tags.
pub const CUSTOMER: u16 = 0x8100;
/// The same of a service tag.
pub const SERVICE: u16 = 0x88a8;

impl Reference<'_> {
    /// The tags are protocol and information of each, the outermost first.
    pub fn came_in(&self, interface: &str, tags: &[(u16, u16)]) -> Result<AttachmentIx, Stop> {
        let id = |tci: u16| tci & 0x0fff;
        let (service, customer) = match tags {
            [] => (None, None),
            // A priority tag says nothing of a VLAN.
            [(CUSTOMER, tci)] => (None, Some(id(*tci)).filter(|id| *id != 0)),
            [(SERVICE, outer), (CUSTOMER, inner)] if id(*outer) != 0 && id(*inner) != 0 => {
                (Some(id(*outer)), Some(id(*inner)))
            }
            _ => return Err(Stop::TagUnsupported),
        };
        let mut all = self.site.attachments.iter();
        let found = all.find(|(_, at)| {
            at.interface.as_str() == interface && at.vlan == customer && at.service_vlan == service
        });
        found.map(|(ix, _)| ix).ok_or(Stop::NoAttachment)
    }
}
