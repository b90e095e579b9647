//! Where did the frame come in, and whose MAC sent it?

use super::host;
use crate::addr::Mac;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::{AttachmentKey, StationKey, attachment_kind, owner::Owner};
use crate::tables::{Counter, Note, Tables, note};
use crate::wire::ethernet::{self, ETHERNET_BYTES, Ethernet, TAG_BYTES, Tag, VLAN_MASK, vlans};
use crate::work::{Work, flags};

/// What is made readable before the first look: Ethernet, IPv4 and TCP without
/// options. A packet of another kind asks for more where it turns out to be one.
const FIRST_BYTES: u32 = 54;

/// Finds the attachment; answers the EtherType.
#[inline(always)]
pub fn attach<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<[u8; 2], Stop> {
    p.need(FIRST_BYTES)?;
    let ethernet = *p.get::<Ethernet>(0).ok_or(Stop::Truncated)?;
    w.dst_mac = ethernet.dst;
    w.src_mac = ethernet.src;
    let ethertype = untag(p, w, ethernet.ethertype)?;

    let key = AttachmentKey { ifindex: p.ifindex(), vlan: w.vlan };
    let attachment = t.attachment(&key).ok_or(Stop::NoAttachment)?;
    w.flags |= attachment.host;
    let is_link_only = attachment.kind == attachment_kind::LINK;
    if is_link_only && !host::is_of_the_link(p, w, ethertype) {
        return Err(Stop::NoAttachment);
    }
    w.attachment = attachment.id;
    w.attachment_kind = attachment.kind;
    w.link = attachment.zone;
    w.tenant = attachment.tenant;
    w.sender = attachment.endpoint;
    t.count(attachment.id, Counter::Received, p.segments(), p.bytes());
    t.note(Note { what: note::ATTACHED, id: attachment.id, detail: w.vlan, zero: 0 });
    Ok(ethertype)
}

/// Is it addressed to us? That tells in which zone it arrives.
#[inline(always)]
pub fn arrive<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    let link = t.zone(w.link).ok_or(Stop::TableMissing)?;
    if w.dst_mac.is_multicast() {
        w.flags |= flags::GROUP_FRAME;
    } else if w.dst_mac == link.mac {
        w.flags |= flags::ROUTED;
    }
    if w.attachment_kind == attachment_kind::PORTS {
        w.key = w.key.in_zone(if w.is(flags::ROUTED) { link.router } else { w.link });
    } else {
        // On a NIC everything is routed; a frame for another station of the link is not ours.
        if !w.is(flags::ROUTED | flags::GROUP_FRAME) {
            return Err(Stop::NotForUs);
        }
        w.key = w.key.in_zone(w.link);
    }
    Ok(())
}

/// Who sent it: a station of the port's, or the uplink. On an access the session tells
/// (`admit`).
#[inline(always)]
pub fn sender<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    if w.attachment_kind == attachment_kind::PORTS {
        return station(t, w);
    }
    if w.sender != 0 {
        w.owner = t.endpoint(w.sender).ok_or(Stop::TableMissing)?.owner;
    }
    Ok(())
}

/// The owner of a flow that the packet is of, if it is the packet's sender.
///
/// A station shows its MAC. What comes in by a NIC is a line's or an uplink's by its zone and
/// source, which are in the flow's key: the answer counts only while nothing of that changed since
/// the flow was judged (`generations`).
#[inline(always)]
pub fn as_owner<'t, T: Tables>(t: &'t T, w: &mut Work, number: u32) -> Option<&'t Owner> {
    let owner = t.owner(number)?;
    let is_ports = w.attachment_kind == attachment_kind::PORTS;
    if is_ports && owner.mac == Mac::default() {
        // Any MAC that no other station has: it is looked for.
        station(t, w).ok()?;
    }
    let is_it = if w.owner != 0 {
        w.owner == number
    } else if is_ports {
        owner.at == w.attachment && owner.mac == w.src_mac
    } else {
        owner.at == w.link
    };
    (is_it || cfg!(feature = "control-flow-owner")).then_some(owner)
}

/// It is this owner's packet.
#[inline(always)]
pub fn adopt(w: &mut Work, number: u32, owner: &Owner) {
    w.owner = number;
    w.sender = owner.endpoint;
    w.tenant = owner.tenant;
    w.meters.sender = owner.meter;
    w.meters.router = owner.router_meter;
}

/// Reads the tag, wherever the hook has it, and where the network header begins.
#[inline(always)]
fn untag<P: Packet>(p: &mut P, w: &mut Work, ethertype: [u8; 2]) -> Result<[u8; 2], Stop> {
    let (outer, tci, inner) = if let Some(tag) = p.outer_tag() {
        w.l3 = ETHERNET_BYTES;
        (tag.protocol, tag.tci, ethertype)
    } else if ethertype == ethernet::CUSTOMER_TAG {
        let tag = p.get::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)?;
        w.l3 = ETHERNET_BYTES + TAG_BYTES;
        (ethernet::CUSTOMER_TAG, u16::from_be_bytes(tag.tci), tag.ethertype)
    } else {
        w.l3 = ETHERNET_BYTES;
        (ethernet::CUSTOMER_TAG, 0, ethertype)
    };
    if outer != ethernet::CUSTOMER_TAG || ethernet::is_tag(inner) {
        return untag_both(p, w, ethertype)?.ok_or(Stop::TagUnsupported);
    }
    // VLAN 0 is a priority tag: the frame is of no VLAN (IEEE 802.1Q section 6.9).
    w.vlan = u32::from(tci & VLAN_MASK);
    Ok(inner)
}

/// Reads a service tag, which lies before us or beside the frame, and the customer tag behind
/// it. Each has a VLAN, and there are no other tags than these two, in this order
/// (IEEE 802.1ad); else the answer is `None`.
#[inline(always)]
fn untag_both<P: Packet>(
    p: &mut P,
    w: &mut Work,
    ethertype: [u8; 2],
) -> Result<Option<[u8; 2]>, Stop> {
    p.need(FIRST_BYTES + 2 * TAG_BYTES)?;
    let (outer, tci, at, inner) = if let Some(tag) = p.outer_tag() {
        (tag.protocol, tag.tci, ETHERNET_BYTES, ethertype)
    } else {
        let tag = p.get::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)?;
        (ethertype, u16::from_be_bytes(tag.tci), ETHERNET_BYTES + TAG_BYTES, tag.ethertype)
    };
    if outer != ethernet::SERVICE_TAG || inner != ethernet::CUSTOMER_TAG {
        return Ok(None);
    }
    let tag = *p.get::<Tag>(at).ok_or(Stop::Truncated)?;
    let (service, customer) = (tci & VLAN_MASK, u16::from_be_bytes(tag.tci) & VLAN_MASK);
    if service == 0 || customer == 0 || ethernet::is_tag(tag.ethertype) {
        return Ok(None);
    }
    w.l3 = at + TAG_BYTES;
    w.vlan = vlans(service, customer);
    Ok(Some(tag.ethertype))
}

/// Which port of the attachment has the source MAC? A port without port security
/// has a station for every MAC, under the empty one.
#[inline(always)]
fn station<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    let mut key = StationKey { attachment: w.attachment, mac: w.src_mac, zero: [0; 6] };
    let found = t.station(&key).or_else(|| {
        key.mac = Mac::default();
        if w.src_mac.is_multicast() { None } else { t.station(&key) }
    });
    let station = found.ok_or(Stop::UnknownStation)?;
    w.sender = station.endpoint;
    w.owner = station.owner;
    w.meters.sender = station.meter;
    w.meters.router = station.router_meter;
    Ok(())
}
