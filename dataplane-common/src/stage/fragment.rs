//! Which datagram is a fragment a piece of, and what did its first piece say?
//!
//! Only the first fragment is judged by what it says itself. When it is forwarded it leaves
//! its ports; the later ones of the same sender get them, and are judged as it was. One that
//! comes before its first is parked with the daemon, which sends it in again
//! ([`Packet::park`]).

use super::{admit, flow, host, route};
use crate::limits::{AGAIN, DATAGRAMS, PARKED_BYTES};
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::datagram::{
    BUCKET_SLOTS, Datagram, PARKED_BYTES_MAX, PLACES, Parked, Progress, UNITS_PER_WORD, slot_at,
    status,
};
use crate::table::flow::{FlowKey, homes, status as flow_status};
use crate::table::secret::Secret;
use crate::tables::{Counter, Note, Share, Tables, note};
use crate::wire::protocol;
use crate::work::{Leg, Which, Work, flags, job, leg};

/// How long the rest of an IPv4 datagram is waited for: Linux's `ipfrag_time`, ms.
const V4_MS_MAX: u32 = 30_000;
/// The same of IPv6 (RFC 8200 section 4.5).
const V6_MS_MAX: u32 = 60_000;
/// For how long a piece of a datagram that is done counts as one that came twice, and what
/// the daemon sent in is not parked again. Not longer: a fast sender uses an IPv4
/// identification again within a second (RFC 4963).
const AGAIN_MS_MAX: u32 = 100;
/// Tries to change a word that other CPUs change, too.
const TRIES: u32 = 4;

/// A slot, and its status when it was looked at.
#[derive(Clone, Copy)]
struct Found {
    index: u32,
    status: u64,
}

/// What became of the units that a piece has.
enum Taken {
    /// They are its own.
    Fresh,
    /// Others had them all.
    Again,
    /// Others had some of them, or it ends where it cannot.
    Contradicts,
}

/// Notes a first fragment that is about to leave.
///
/// Where two CPUs have one of the same datagram at the same instant, each may find none and
/// take a slot. That evades nothing: each of them is forwarded since its own ports are
/// permitted, and no later piece overwrites ports, since a first one holds the whole transport
/// header (`fragment_tiny`) and both slots have that as taken. What may pass twice is payload,
/// at which nobody here looks; and the slot that later pieces do not find costs its tenant a
/// place until its time is over.
#[inline(always)]
pub fn begin<T: Tables>(t: &T, w: &Work) -> Result<(), Stop> {
    let words = identity(w).words();
    if let Some(found) = find(t, w, &words)
        && !is_done(found.status)
    {
        return take_units(t, w, found);
    }
    match place(t, w, &words)? {
        Some(found) => take_units(t, w, found),
        None => Ok(()),
    }
}

/// No flow begins in the middle of a datagram: where a later fragment has none, it passes as
/// what keeps no state does. (Without a branch, of which the verifier would follow both ways
/// through all that comes.)
#[inline(always)]
pub fn begin_no_flow(w: &mut Work) {
    const _: () = assert!(flags::LATER == flow_status::LIVE && leg::STATELESS == 1);
    w.leg.flags |= (w.flags & !w.flow_status & flags::LATER) / flags::LATER;
}

/// Gives a later fragment what its first one said; false: that has not come.
#[inline(always)]
pub fn join<T: Tables>(t: &T, w: &mut Work) -> Result<bool, Stop> {
    let words = identity(w).words();
    let Some(found) = find(t, w, &words) else { return Ok(false) };
    let datagram = t.datagram(found.index).ok_or(Stop::TableMissing)?;
    let (ports, protocol) = (datagram.ports.load(), datagram.protocol.load());
    let tenant = datagram.tenant.load();
    if is_other(datagram.status.load(), found.status) {
        // It was just given to another datagram, and this says nothing of ours.
        return Ok(false);
    }
    let [a, b, c, d] = ports.to_ne_bytes();
    w.key.src_port = [a, b];
    w.key.dst_port = [c, d];
    w.key.protocol = protocol as u8;
    if w.tenant == 0 {
        w.tenant = tenant;
    }
    t.note(Note { what: note::PIECE, id: found.index, detail: w.fragment_at, zero: 0 });
    take_units(t, w, found)?;
    Ok(true)
}

/// Parks a fragment whose first has not come.
#[inline(always)]
pub fn park<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    admit::admit(t, w)?;
    t.note(Note { what: note::EARLY, id: 0, detail: w.fragment_at, zero: 0 });
    if w.is_inbound() && !host::has(t, w, &w.key.dst) {
        route_inbound(t, w)?;
    }
    let share = Share::parked(w.is_inbound());
    // Nobody waits for what is for nobody's tenant, and nobody twice.
    let key = identity(w).words();
    let may_wait = w.tenant != 0 && p.bytes() <= PARKED_BYTES_MAX && !is_again(t, w, &key);
    if may_wait && t.reserve(share, w.tenant) {
        let parked = Parked {
            key,
            owner: w.owner,
            share: share.index(w.tenant),
            ifindex: p.ifindex(),
            at: w.fragment_at,
            ..Parked::default()
        };
        if t.is_tracing() || p.park(&parked, unread_bytes_max(w)) {
            t.count(w.attachment, Counter::Parked, p.segments(), p.bytes());
            w.job = job::PARK;
            return Ok(());
        }
        t.release(share, w.tenant);
    }
    Err(Stop::FragmentEarly)
}

/// Notes of datagrams of which the daemon sends fragments in again. It makes one before it
/// does; a frame that is marked itself would lose its mark where the kernel copies it, as it
/// does for a packet socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Again {
    /// Where it is noted, below [`AGAIN`].
    pub index: u32,
    name: u32,
}

impl Again {
    /// Of the sender's datagram with these words.
    #[inline(always)]
    #[must_use]
    pub fn of(words: &[u64; 5], owner: u32, secret: &Secret) -> Self {
        let hash = secret.hash(words);
        Self { index: hash as u32 % AGAIN, name: (hash >> 32) as u32 ^ owner }
    }

    /// What is noted now.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, now_ticks: u32) -> u64 {
        (self.name as u64) << 32 | now_ticks as u64
    }
}

/// Has the daemon just sent a fragment of this datagram in? Nobody waits twice.
#[inline(always)]
fn is_again<T: Tables>(t: &T, w: &Work, words: &[u64; 5]) -> bool {
    let again = Again::of(words, w.owner, t.secret());
    let Some(word) = t.again(again.index) else { return true };
    let noted = word.load();
    // The daemon's clock may be a tick ahead of ours: then the time between is negative.
    let age = t.now_ticks().wrapping_sub(noted as u32) as i32;
    noted >> 32 == again.name as u64 && age < AGAIN_MS_MAX as i32
}

/// How full the ring to the daemon may be: strangers leave half of it to those inside.
#[inline(always)]
const fn unread_bytes_max(w: &Work) -> u32 {
    if w.is_inbound() { PARKED_BYTES / 2 } else { PARKED_BYTES }
}

/// From an uplink nothing takes up a tenant's place that leads to none, or has a source that
/// cannot come from there: it stops as the whole datagram would.
#[inline(always)]
fn route_inbound<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    w.leg = Leg { key: w.key, sender: w.sender, ..Leg::default() };
    let routed = route::route(t, w, Which::Leg);
    flow::charge(t, w);
    routed
}

/// What all pieces of a datagram have in common, laid out as a flow's key: in the place of
/// the ports stands the identification. IPv6's later pieces do not tell their protocol
/// (RFC 8200 section 4.5).
#[inline(always)]
fn identity(w: &Work) -> FlowKey {
    let [a, b, c, d] = w.fragment_id;
    let protocol = if w.is(flags::V6) { protocol::FRAGMENT } else { w.key.protocol };
    FlowKey { src_port: [a, b], dst_port: [c, d], protocol, ..w.key }
}

/// The share in which a slot with this status takes up a place.
#[inline(always)]
#[must_use]
pub const fn paid(status: u64) -> Share {
    Share::datagrams(status & status::INBOUND != 0)
}

const fn is_done(status: u64) -> bool {
    status & status::LIFE == status::DONE
}

/// Is the slot another datagram's, or free, since its status was `seen`? Pieces that came
/// meanwhile change nothing about that.
#[inline(always)]
const fn is_other(now: u64, seen: u64) -> bool {
    const OWN: u64 = !(status::STAMP - 1);
    now & OWN != seen & OWN || now & status::LIFE < status::LIVE
}

/// Is the time of a slot with this status over?
#[inline(always)]
#[must_use]
pub fn is_over(datagram: &Datagram, status: u64, now_ticks: u32) -> bool {
    let age = now_ticks.wrapping_sub(datagram.seen_ticks.load());
    let ms_max = if is_done(status) { AGAIN_MS_MAX } else { datagram.ms_max.load() };
    // Another CPU may have written it after the clock was read. Ticks nearly are milliseconds.
    age as i32 >= 0 && age >= ms_max
}

/// The slot of this datagram.
#[inline(always)]
fn find<T: Tables>(t: &T, w: &Work, words: &[u64; 5]) -> Option<Found> {
    let homes = homes(words, t.secret(), DATAGRAMS);
    let mut found = Found { index: DATAGRAMS, status: 0 };
    t.each(PLACES, |step| {
        let index = slot_at(&homes, step);
        let Some(datagram) = t.datagram(index) else { return false };
        let status = datagram.status.load();
        if status & status::LIFE < status::LIVE || !datagram.has(words, w.owner) {
            return true;
        }
        if !is_over(datagram, status, t.now_ticks()) {
            found = Found { index, status };
        }
        false
    });
    if found.index < DATAGRAMS { Some(found) } else { None }
}

/// Takes a slot for the datagram of the first fragment at hand, if its tenant may have
/// another; a tracer only tells, and takes none.
#[inline(always)]
fn place<T: Tables>(t: &T, w: &Work, words: &[u64; 5]) -> Result<Option<Found>, Stop> {
    let share = Share::datagrams(w.is_inbound());
    if !t.reserve(share, w.tenant) {
        return Err(Stop::FragmentQuota);
    }
    let inbound = if w.is_inbound() { status::INBOUND } else { 0 };
    let mut taken = None;
    // Another CPU may be faster: there may be room beside what it took.
    for _ in 0..2 {
        let room = room(t, w, words);
        let Some(datagram) = t.datagram(room.index) else { break };
        if t.is_tracing() {
            return Ok(None);
        }
        let stamp = room.status.wrapping_add(status::STAMP) & !(status::STAMP - 1);
        let tenant = datagram.tenant.load();
        if !t.swap(&datagram.status, room.status, stamp | status::BUSY) {
            continue;
        }
        if room.status & status::LIFE == status::LIVE {
            t.release(paid(room.status), tenant);
        }
        datagram.key[0].store(words[0]);
        datagram.key[1].store(words[1]);
        datagram.key[2].store(words[2]);
        datagram.key[3].store(words[3]);
        datagram.key[4].store(words[4]);
        let [a, b] = w.key.src_port;
        let [c, d] = w.key.dst_port;
        datagram.ports.store(u32::from_ne_bytes([a, b, c, d]));
        datagram.protocol.store(u32::from(w.key.protocol));
        datagram.owner.store(w.owner);
        datagram.tenant.store(w.tenant);
        datagram.progress.store(0);
        datagram.ms_max.store(if w.is(flags::V6) { V6_MS_MAX } else { V4_MS_MAX });
        datagram.seen_ticks.store(t.now_ticks());
        let live = stamp | inbound | status::LIVE;
        datagram.status.store(live);
        taken = Some(Found { index: room.index, status: live });
        break;
    }
    if taken.is_none() {
        t.release(share, w.tenant);
        return Err(Stop::FragmentTableFull);
    }
    Ok(taken)
}

/// The best slot that the datagram may have: its own from before, else a free one, else one
/// that is done, else one whose time is over. None has the index [`DATAGRAMS`]. The first line
/// of a bucket is not for what comes in by uplinks: strangers leave a quarter of the table to
/// those inside, however many tenants they send to.
#[inline(always)]
fn room<T: Tables>(t: &T, w: &Work, words: &[u64; 5]) -> Found {
    let homes = homes(words, t.secret(), DATAGRAMS);
    let mut best = Found { index: DATAGRAMS, status: 0 };
    let mut rank = u32::MAX;
    t.each(PLACES, |step| {
        let index = slot_at(&homes, step);
        if w.is_inbound() && index.is_multiple_of(BUCKET_SLOTS) {
            return true;
        }
        let Some(datagram) = t.datagram(index) else { return false };
        let status = datagram.status.load();
        let worth = match status & status::LIFE {
            status::BUSY => return true,
            status::EMPTY => 1,
            _ if datagram.has(words, w.owner) => 0,
            status::DONE => 2,
            _ if is_over(datagram, status, t.now_ticks()) => 3,
            _ => return true,
        };
        if worth < rank {
            rank = worth;
            best = Found { index, status };
        }
        rank != 0
    });
    best
}

/// Takes the fragment's units in its datagram; each can be had once.
#[inline(always)]
fn take_units<T: Tables>(t: &T, w: &Work, found: Found) -> Result<(), Stop> {
    match taken(t, w, found)? {
        Taken::Fresh => Ok(()),
        Taken::Again => Err(Stop::FragmentDuplicate),
        Taken::Contradicts => Err(Stop::FragmentOverlap),
    }
}

#[inline(always)]
fn taken<T: Tables>(t: &T, w: &Work, found: Found) -> Result<Taken, Stop> {
    let datagram = t.datagram(found.index).ok_or(Stop::TableMissing)?;
    if is_done(found.status) {
        return Ok(Taken::Again);
    }
    if found.status & status::POISONED != 0 {
        return Ok(Taken::Contradicts);
    }
    let end = w.fragment_at + w.fragment_bytes;
    let (from, to) = (w.fragment_at / 8, end.div_ceil(8));
    let fresh = mark(t, w, datagram, found.status, from, to);
    if fresh == 0 {
        return Ok(Taken::Again);
    }
    if fresh == to - from && go_on(t, w, datagram, found.status, fresh) {
        return Ok(Taken::Fresh);
    }
    if !t.is_tracing() {
        let seen = found.status;
        t.swap(&datagram.status, seen, seen | status::POISONED);
    }
    Ok(Taken::Contradicts)
}

/// Marks the units; answers how many were free. A fragment that comes twice at the same time
/// may look like one that overlaps: then its datagram is lost, and nothing else.
#[inline(always)]
fn mark<T: Tables>(t: &T, w: &Work, datagram: &Datagram, seen: u64, from: u32, to: u32) -> u32 {
    let stamp = seen & !(status::STAMP - 1);
    let own = (seen >> 32) as u32;
    let first = from / UNITS_PER_WORD;
    let zero = w.zero;
    let mut fresh = 0;
    t.each(to.div_ceil(UNITS_PER_WORD) - first, |step| {
        let base = (first + step) * UNITS_PER_WORD;
        let low = from.saturating_sub(base);
        let high = if to - base < UNITS_PER_WORD { to - base } else { UNITS_PER_WORD };
        let mask = (1_u64 << (high & 63)) - (1_u64 << (low & 63));
        let word = datagram.marks(base);
        for _ in 0..TRIES {
            let old = word.load();
            let age = own.wrapping_sub((old >> 32) as u32) as i32;
            if age < 0 {
                // The slot is another's by now.
                break;
            }
            let before = if age == 0 { old } else { stamp };
            if t.is_tracing() || t.swap(word, old, before | mask) {
                // An unknown number to the verifier, which follows known ones through every
                // round ("The sequence of 8193 jumps is too complex").
                fresh = (fresh + (mask & !before).count_ones()) ^ zero;
                break;
            }
        }
        true
    });
    fresh
}

/// Notes how much of the datagram has come now, and whether that is all; false: it cannot be.
#[inline(always)]
fn go_on<T: Tables>(t: &T, w: &Work, datagram: &Datagram, seen: u64, units: u32) -> bool {
    let end = w.fragment_at + w.fragment_bytes;
    for _ in 0..TRIES {
        let old = datagram.progress.load();
        let Some(new) = Progress::from_word(old).with(units, end, !w.is(flags::MORE)) else {
            return false;
        };
        if t.is_tracing() {
            return true;
        }
        if t.swap(&datagram.progress, old, new.word()) {
            if new.is_whole() {
                finish(t, datagram, seen);
            }
            return true;
        }
    }
    false
}

/// Every piece has come: the tenant may have another datagram in its place.
#[inline(always)]
fn finish<T: Tables>(t: &T, datagram: &Datagram, seen: u64) {
    let tenant = datagram.tenant.load();
    datagram.seen_ticks.store(t.now_ticks());
    if t.swap(&datagram.status, seen, seen & !status::LIFE | status::DONE) {
        t.release(paid(seen), tenant);
    }
}
