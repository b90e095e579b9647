//! May the sender use this source address?

use crate::addr::{Addr, Mac};
use crate::stop::Stop;
use crate::table::endpoint::{Endpoint, flags, kind};
use crate::table::{PermitKey, attachment_kind};
use crate::tables::{Note, Tables, note};
use crate::work::Work;

/// On an access: whose line is it? Its number was authenticated when its session
/// was made; here the source address has to be that session's.
#[inline(always)]
pub fn line<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    let id = t.session(w.link, &w.src()).ok_or(Stop::NoSession)?;
    let line = t.endpoint(id).ok_or(Stop::TableMissing)?;
    w.tenant = line.tenant;
    w.sender = id;
    w.owner = line.owner;
    w.meters.router = line.router_meter;
    alive(line)
}

/// A suspended line neither sends nor receives.
#[inline(always)]
pub fn alive(endpoint: &Endpoint) -> Result<(), Stop> {
    let is_alive = endpoint.flags & flags::SUSPENDED == 0;
    let is_alive = is_alive || cfg!(feature = "control-session-unchecked");
    if is_alive { Ok(()) } else { Err(Stop::LineSuspended) }
}

/// Is the source address the sender's? On an uplink the route back decides, once
/// the router is known (`route`).
#[inline(always)]
pub fn admit<T: Tables>(t: &T, w: &Work) -> Result<(), Stop> {
    t.note(Note { what: note::SENDER, id: w.sender, detail: w.key.zone(), zero: 0 });
    // What comes from its own destination never came from there.
    if w.src().is_martian() || w.src().is_multicast() || w.src() == w.key.dst {
        return Err(Stop::MartianSource);
    }
    if w.attachment_kind == attachment_kind::PORTS && !sender_has(t, w, &w.src())? {
        return Err(Stop::SpoofedAddress);
    }
    Ok(())
}

/// May the port that sent the frame use this address with this MAC?
#[inline(always)]
pub fn sender_has<T: Tables>(t: &T, w: &Work, addr: &Addr) -> Result<bool, Stop> {
    let port = t.endpoint(w.sender).ok_or(Stop::TableMissing)?;
    Ok(may_use(t, w.sender, port, w.src_mac, addr))
}

#[inline(always)]
fn may_use<T: Tables>(t: &T, endpoint: u32, port: &Endpoint, mac: Mac, addr: &Addr) -> bool {
    if port.kind == kind::PORT && port.flags & flags::INSECURE != 0 {
        return true;
    }
    t.is_permitted(&PermitKey { endpoint, mac, zero: [0; 6], addr: *addr })
}

/// Does the opener of the flow that the packet answers still have the address that it
/// asked from? A line's session and an uplink's way back are found with the route.
#[inline(always)]
pub fn opener<T: Tables>(t: &T, w: &Work) -> Result<(), Stop> {
    let port = t.endpoint(w.leg.sender).ok_or(Stop::TableMissing)?;
    let more = t.flow_more(w.flow).ok_or(Stop::TableMissing)?;
    let mac = Mac::from_word(more.opener_mac.load());
    if port.kind == kind::PORT && !may_use(t, w.leg.sender, port, mac, &w.leg.key.src) {
        return Err(Stop::UnknownDestination);
    }
    Ok(())
}
