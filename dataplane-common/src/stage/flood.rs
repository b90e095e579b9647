//! Which other ports of its network get a broadcast or multicast frame?
//!
//! Those whose ingress rules permit it, if the sender's egress rules do; of what needs no
//! rule ([`exempt`]), whoever it is for. A port that
//! shares its attachment with others gets what any of them takes, in one copy; whoever
//! shares the sender's has the frame already.

use super::{admit, emit, exempt, filter, limit};
use crate::addr::{Addr, Mac};
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::attachment_kind;
use crate::table::endpoint::flags as port_flags;
use crate::table::route::kind as route_kind;
use crate::tables::{Counter, Note, Tables, note};
use crate::wire::ethernet::ETHERNET_BYTES;
use crate::work::{Leg, Work, flags, job};

/// Only ports send to everybody, and only tcx can make copies. Of a fragment that is not the
/// first the ports are not known.
#[inline(always)]
pub fn may_flood<P: Packet>(p: &P, w: &Work) -> Result<(), Stop> {
    let is_port = w.attachment_kind == attachment_kind::PORTS;
    let is_whole = !w.is(flags::FRAGMENT | flags::LATER);
    if is_port && is_whole && p.can_copy() { Ok(()) } else { Err(Stop::Multicast) }
}

/// Sends the copies; answers how many. None is no answer, but for an announcement, which
/// the daemon hears.
#[inline(always)]
pub fn flood<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<u32, Stop> {
    w.leg = Leg { key: w.key, sender: w.sender, ..Leg::default() };
    let who = if w.job == job::ANNOUNCE { ALL } else { judge(t, w)? };
    let network = *t.zone(w.link).ok_or(Stop::TableMissing)?;
    let rules = if who == RULED { u32::from(network.flood_rules) } else { 0 };
    let cost = network.flood_count.saturating_mul(p.segments()).saturating_add(rules);
    if !t.may_copy(w.tenant, cost) {
        return Err(Stop::FloodRate);
    }
    limit::limit_sender(p, t, w)?;
    let copies = copies(p, t, w, who, (network.flood_first, network.flood_count));
    if copies > 0 || w.job == job::ANNOUNCE { Ok(copies) } else { Err(Stop::Multicast) }
}

/// May the sender send it, and who gets it?
#[inline(always)]
fn judge<T: Tables>(t: &T, w: &mut Work) -> Result<u32, Stop> {
    if !is_for_group(t, w) {
        return Err(Stop::WrongStation);
    }
    if w.is(flags::ICMP_ERROR) {
        // No error is for many (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
        return Err(Stop::IcmpUnrelated);
    }
    let who = who(w);
    if !has_no_address_yet(w, who) {
        admit::admit(t, w)?;
    }
    if who == RULED {
        filter::egress(t, &mut w.leg)?;
    }
    Ok(who)
}

/// Is the destination an address of many, and the frame addressed as that demands?
/// (RFC 1112 section 6.4, RFC 2464 section 7)
#[inline(always)]
fn is_for_group<T: Tables>(t: &T, w: &Work) -> bool {
    let dst = w.key.dst;
    let [.., a, b, c, d] = dst.bytes();
    let mac = if !dst.is_v4() {
        Mac([0x33, 0x33, a, b, c, d])
    } else if dst.is_multicast() && dst != Addr::BROADCAST {
        Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    } else {
        Mac::BROADCAST
    };
    let is_group = dst.is_multicast()
        || t.route(w.link, &dst).is_some_and(|route| route.kind == route_kind::BROADCAST);
    is_group && mac == w.dst_mac
}

/// Those whose rules permit it get it, if the sender's do.
const RULED: u32 = 0;
/// Everybody gets it, whatever the rules.
const ALL: u32 = 1;
/// Those that are marked as DHCP servers get it, whatever the rules.
const SERVERS: u32 = 2;

/// Who gets it?
#[inline(always)]
fn who(w: &Work) -> u32 {
    if exempt::is_dhcp_question(&w.key) {
        SERVERS
    } else if exempt::is_dhcp_answer(&w.key) || exempt::is_listener_message(w) {
        ALL
    } else {
        RULED
    }
}

/// A DHCP client asks for its first address, and a listener may speak before it has one (RFC
/// 3590 section 4).
#[inline(always)]
fn has_no_address_yet(w: &Work, who: u32) -> bool {
    let may_have_none = who == ALL || who == SERVERS && !w.is(flags::V6);
    may_have_none && w.src().is_unspecified()
}

/// A copy for each other attachment of which a port takes it.
#[inline(always)]
fn copies<P: Packet, T: Tables>(
    p: &mut P,
    t: &T,
    w: &mut Work,
    who: u32,
    (first, count): (u32, u32),
) -> u32 {
    let (mut copies, mut served, mut judged) = (0, w.attachment, UNFILTERED);
    t.each_flood_port(first, count, |port| {
        let is_served = port.attachment == w.attachment || port.attachment == served;
        if !is_served
            && takes(t, w, who, port.endpoint, &mut judged)
            && copy(p, t, w, port.attachment).is_ok()
        {
            let (id, detail) = (port.attachment, port.endpoint);
            t.note(Note { what: note::COPIED, id, detail, zero: 0 });
            served = port.attachment;
            copies += 1;
        }
    });
    copies
}

/// A policy, and whether it permits the frame.
type Judged = (u32, bool);
/// Whoever has no policy takes everything.
const UNFILTERED: Judged = (0, true);

/// Does the port get it? Of what a rule sees of the receiver there is nothing but its policy, so
/// each policy is asked once for the ports next to each other that have it.
#[inline(always)]
fn takes<T: Tables>(t: &T, w: &mut Work, who: u32, endpoint: u32, judged: &mut Judged) -> bool {
    let Some(port) = t.endpoint(endpoint) else { return false };
    match who {
        ALL => true,
        SERVERS => port.flags & port_flags::DHCP_SERVER != 0,
        _ if cfg!(feature = "control-flood-ingress") => true,
        _ => {
            if judged.0 != port.policy {
                w.leg.receiver = endpoint;
                *judged = (port.policy, filter::ingress(t, &mut w.leg).is_ok());
            }
            judged.1
        }
    }
}

/// Tags the frame for the attachment and sends a copy there.
#[inline(always)]
fn copy<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work, to: u32) -> Result<(), Stop> {
    let output = *t.output(to).ok_or(Stop::TableMissing)?;
    if output.ifindex == 0 {
        return Err(Stop::OutputAbsent);
    }
    p.set_vlans(output.vlan, w.inline_bytes())?;
    w.l3 = ETHERNET_BYTES + emit::inline_bytes(output.vlan);
    if !t.is_tracing() && !p.copy_to(output.ifindex) {
        return Err(Stop::OutputAbsent);
    }
    t.count(to, Counter::Copied, p.segments(), emit::frame_bytes(p, w));
    Ok(())
}
