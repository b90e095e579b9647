//! Where does a leg lead: to whom, by which next hop?
//!
//! Within a network the destination address tells its port. Through a router the
//! longest prefix does, and here the borders are guarded: what is exported to an
//! uplink, what an uplink may reach, where a line may go.

use super::admit;
use crate::addr::Addr;
use crate::stop::Stop;
use crate::table::LocationKey;
use crate::table::endpoint::{Endpoint, flags, kind};
use crate::table::flow::{FlowKey, action};
use crate::table::route::{HOPS_MAX, Route, kind as route_kind};
use crate::tables::{Note, Tables, note};
use crate::work::{Leg, Which, Work, leg as leg_flags};

/// Fills in receiver, zone and action of one of the packet's legs.
#[inline(always)]
pub fn route<T: Tables>(t: &T, w: &mut Work, which: Which) -> Result<(), Stop> {
    Stop::outcome(t.route_leg(w, which))
}

/// The same, as [`Tables::route_leg`] answers it.
pub fn leads<T: Tables>(t: &T, leg: &mut Leg) -> Result<(), Stop> {
    let sender = t.endpoint(leg.sender).ok_or(Stop::TableMissing)?;
    leg.receiver = 0;
    leg.flags = 0;
    leg.zone = leg.key.zone();
    if sender.kind == kind::PORT && leg.zone == sender.network {
        return switch(t, leg);
    }
    let (src, dst) = (leg.key.src, leg.key.dst);
    if dst.is_martian() || dst.is_link_local() || dst.is_multicast() || src.is_link_local() {
        return Err(Stop::DestinationUnroutable);
    }
    let found = match sender.kind {
        kind::UPLINK => from_uplink(t, leg)?,
        kind::LINE => {
            leg.zone = sender.destination;
            forward(t, leg)?
        }
        _ => forward(t, leg)?,
    };
    t.note(Note { what: note::ROUTE, id: found.id, detail: leg.zone, zero: 0 });
    let next_hop = match found.kind {
        route_kind::CONNECTED => locate(t, leg, found.zone)?,
        route_kind::VIA => via(t, leg, found)?,
        route_kind::POOL => line(t, leg, found.zone)?,
        route_kind::OWN => return Err(own(sender, found)),
        route_kind::BLACKHOLE => return Err(Stop::Blackhole),
        route_kind::BROADCAST => return Err(Stop::DestinationUnroutable),
        // A line that is attached to the uplink sees the uplink's own routes.
        route_kind::PROTECTED | route_kind::HOST => return Err(Stop::ProtectedDestination),
        _ => return Err(Stop::NoRoute),
    };
    leg.action = next_hop | action::ROUTED;
    let receiver = t.endpoint(leg.receiver).ok_or(Stop::TableMissing)?;
    guard(t, leg, sender, receiver)?;
    t.note(Note { what: note::RECEIVER, id: leg.receiver, detail: next_hop, zero: 0 });
    Ok(())
}

/// Within a network: the port that has the address.
#[inline(always)]
fn switch<T: Tables>(t: &T, leg: &mut Leg) -> Result<(), Stop> {
    let next_hop = locate(t, leg, leg.zone)?;
    leg.action = next_hop;
    t.note(Note { what: note::RECEIVER, id: leg.receiver, detail: next_hop, zero: 0 });
    Ok(())
}

/// The port of a network that has the destination address.
#[inline(always)]
fn locate<T: Tables>(t: &T, leg: &mut Leg, network: u32) -> Result<u32, Stop> {
    let key = LocationKey { addr: leg.key.dst, zone: network, zero: 0 };
    let location = t.location(&key).ok_or(Stop::UnknownDestination)?;
    if location.endpoint == 0 {
        return Err(Stop::ToRouter);
    }
    leg.receiver = location.endpoint;
    Ok(location.next_hop)
}

/// The route of a packet from a port or line.
#[inline(always)]
fn forward<'t, T: Tables>(t: &'t T, leg: &Leg) -> Result<&'t Route, Stop> {
    t.route(leg.zone, &leg.key.dst).ok_or(Stop::NoRoute)
}

/// From an uplink only what a router or an access exports to it can be reached,
/// and only from sources that lead back there (strict reverse path, RFC 3704).
#[inline(always)]
fn from_uplink<'t, T: Tables>(t: &'t T, leg: &mut Leg) -> Result<&'t Route, Stop> {
    let uplink = leg.zone;
    let exported = t.route(uplink, &leg.key.dst).ok_or(Stop::NotExported)?;
    let found = match exported.kind {
        route_kind::POOL | route_kind::OWN => exported,
        route_kind::ROUTER => {
            leg.zone = exported.zone;
            let inside = t.route(leg.zone, &leg.key.dst).ok_or(Stop::NoRoute)?;
            if inside.kind == route_kind::OWN
                || inside.kind == route_kind::VIA && leads_to(t, inside, leg.sender)
            {
                return Err(Stop::NotExported);
            }
            inside
        }
        _ => return Err(Stop::NotExported),
    };
    if is_inside(t, uplink, &leg.key.src) {
        return Err(Stop::ReversePath);
    }
    if exported.kind != route_kind::OWN {
        // What nobody inside can reach reaches nobody inside, either.
        if is_protected(t, uplink, &leg.key.src) {
            return Err(Stop::ReversePath);
        }
        let back = t.route(leg.zone, &leg.key.src).ok_or(Stop::ReversePath)?;
        if back.kind != route_kind::VIA || !leads_to(t, back, leg.sender) {
            return Err(Stop::ReversePath);
        }
    }
    Ok(found)
}

/// Is it an address of ours or of a line, or one that we export to this uplink? Nothing that
/// comes from outside has it as its source.
// Linux 6.1 took no call more ("combined stack size of 4 calls is 544. Too large").
#[inline(always)]
pub(crate) fn is_inside<T: Tables>(t: &T, uplink: u32, src: &Addr) -> bool {
    const ELSEWHERE: [u32; 3] = [route_kind::VIA, route_kind::PROTECTED, route_kind::BLACKHOLE];
    t.route(uplink, src).is_some_and(|route| !ELSEWHERE.contains(&route.kind))
}

/// May a router beyond `link` that speaks to this endpoint have the address? Ours and those of
/// hosts inside it has not. More is not asked: it need not lie where the endpoint's packets go,
/// and what the provider keeps out of reach are often its routers, which tell a path's MTU.
pub(crate) fn from_beyond<T: Tables>(
    t: &T,
    link: u32,
    endpoint: u32,
    src: &Addr,
) -> Result<(), Stop> {
    if src.is_link_local() {
        return Err(Stop::DestinationUnroutable);
    }
    let to = t.endpoint(endpoint).ok_or(Stop::TableMissing)?;
    let inside = if to.kind == kind::LINE { to.destination } else { to.arrival };
    if is_inside(t, link, src) || is_inside(t, inside, src) {
        return Err(Stop::ReversePath);
    }
    Ok(())
}

/// Does the provider keep the address out of tenants' reach? Our own on the link is, too,
/// and the host's.
#[inline(always)]
fn is_protected<T: Tables>(t: &T, uplink: u32, addr: &Addr) -> bool {
    t.route(uplink, addr).is_some_and(|route| {
        matches!(route.kind, route_kind::PROTECTED | route_kind::OWN | route_kind::HOST)
    })
}

/// Does one of the route's next hops lead to this endpoint? Beyond the count they are 0, which
/// is nobody's. All are looked at, and compared without a branch: the verifier follows one path.
fn leads_to<T: Tables>(t: &T, route: &Route, endpoint: u32) -> bool {
    // One less is negative if they are the same.
    let same = |other: u32| u64::from(other ^ endpoint).wrapping_sub(1);
    let mut found = same(0);
    for hop in &route.hops {
        found |= t.next_hop(hop.id()).map_or(0, |hop| same(hop.endpoint));
    }
    found >> 63 != 0
}

/// One of several next hops, the same for every packet of a flow. Userland puts
/// another in the place of one that cannot be reached: only its flows move.
#[inline(always)]
fn via<T: Tables>(t: &T, leg: &mut Leg, route: &Route) -> Result<u32, Stop> {
    let choice = if route.hops_count > 1 { spread(&leg.key, route.hops_count) } else { 0 };
    let id = route.hops[choice as usize & (HOPS_MAX - 1)].id();
    leg.receiver = t.next_hop(id).ok_or(Stop::TableMissing)?.endpoint;
    leg.flags = leg_flags::VIA;
    // Next hop 0 is nobody's: of several, or of the only one, nobody has the address.
    if leg.receiver == 0 { Err(Stop::NextHopUnresolved) } else { Ok(id) }
}

/// A number below `count` from the flow's key.
#[inline(always)]
fn spread(key: &FlowKey, count: u32) -> u32 {
    let words = key.words();
    let mut hash = words[0]
        ^ words[1].rotate_left(17)
        ^ words[2].rotate_left(31)
        ^ words[3].rotate_left(43)
        ^ words[4];
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    // The high half of a 32 x 32 bit product spreads evenly without a division.
    (((hash & 0xffff_ffff) * u64::from(count)) >> 32) as u32
}

/// The line that has the destination address on an access. It has to be attached
/// to the router or uplink in whose world the packet is.
#[inline(always)]
fn line<T: Tables>(t: &T, leg: &mut Leg, access: u32) -> Result<u32, Stop> {
    leg.receiver = t.session(access, &leg.key.dst).ok_or(Stop::UnknownDestination)?;
    let line = t.endpoint(leg.receiver).ok_or(Stop::TableMissing)?;
    if line.destination != leg.zone {
        // Another tenant's line is not told from an address that nobody has.
        leg.receiver = 0;
        return Err(Stop::UnknownDestination);
    }
    admit::alive(line)?;
    Ok(line.next_hop)
}

/// An address of the router's own; to a line that is attached to one network, only those
/// in that network are.
#[inline(always)]
fn own(sender: &Endpoint, found: &Route) -> Stop {
    let is_bound = sender.kind == kind::LINE && sender.network != 0;
    if is_bound && sender.network != found.zone { Stop::LineDestination } else { Stop::ToRouter }
}

/// The borders between uplinks, lines and closed networks.
#[inline(always)]
fn guard<T: Tables>(t: &T, leg: &Leg, sender: &Endpoint, receiver: &Endpoint) -> Result<(), Stop> {
    let is_uplink = sender.kind == kind::UPLINK || receiver.kind == kind::UPLINK;
    if is_uplink && (sender.flags | receiver.flags) & flags::MEC_ONLY != 0 {
        return Err(Stop::MecOnly);
    }
    if !may_reach(sender, receiver) || !may_reach(receiver, sender) {
        return Err(Stop::LineDestination);
    }
    if receiver.kind == kind::UPLINK {
        if sender.kind == kind::UPLINK {
            return Err(Stop::NotExported);
        }
        exported(t, leg, receiver, &leg.key.src)?;
    }
    Ok(())
}

/// A line that is attached to one network reaches nothing else.
#[inline(always)]
fn may_reach(line: &Endpoint, other: &Endpoint) -> bool {
    line.kind != kind::LINE || line.network == 0 || line.network == other.network
}

/// Out by an uplink go only sources that it knows the way back to, and never to
/// what the provider protects.
#[inline(always)]
fn exported<T: Tables>(t: &T, leg: &Leg, uplink: &Endpoint, src: &Addr) -> Result<(), Stop> {
    if is_protected(t, uplink.arrival, &leg.key.dst) {
        return Err(Stop::ProtectedDestination);
    }
    let back = t.route(uplink.arrival, src).ok_or(Stop::NotExported)?;
    let is_ours = match back.kind {
        route_kind::ROUTER => back.zone == leg.zone,
        route_kind::POOL => leg.zone == uplink.arrival,
        _ => false,
    };
    if is_ours { Ok(()) } else { Err(Stop::NotExported) }
}
