//! Where does a half-flow's record live, and may there be another?
//!
//! A key lives in one of two buckets. Programs take empty lines and mark lines dead;
//! only userland empties them ([`crate::table::flow`]).

use super::conntrack;
use crate::stop::Stop;
use crate::table::flow::{
    FlowKey, FlowLine, INSIDE_LINES, Judged, KNOWN_LINES, action, bucket_of, held, homes, lines_of,
    status,
};
use crate::tables::Tables;
use crate::wire::protocol;
use crate::work::{Work, flags};

/// It is no matter how many a tenant has.
const QUOTA_NONE: u32 = u32::MAX;

/// Finds the live line of the packet's key: its index and status go into the work.
#[inline(always)]
pub fn find<T: Tables>(t: &T, w: &mut Work) -> bool {
    (w.flow, w.flow_status) = (0, 0);
    own_line(t, w, &w.key.words()).is_some()
}

/// The same for packets of which most have one.
#[inline(always)]
pub fn find_known<'t, T: Tables>(t: &'t T, w: &mut Work) -> Option<&'t FlowLine> {
    (w.flow, w.flow_status) = (0, 0);
    let words = w.key.words();
    let homes = homes(&words, t.secret(), t.flow_lines());
    for index in lines_of(homes[0]) {
        let line = t.flow(index)?;
        let status = line.status.load();
        if status & status::LIFE == status::LIVE && line.has(&words) {
            return unless_expired(t, w, (index, status), line);
        }
    }
    if t.flows_away(bucket_of(homes[0]))?.load() == 0 {
        return None;
    }
    own_line(t, w, &words)
}

#[inline(always)]
fn own_line<'t, T: Tables>(t: &'t T, w: &mut Work, words: &[u64; 5]) -> Option<&'t FlowLine> {
    let Room { index, status, .. } = Room::from_word(t.flow_room(words)).filter(|of| of.is_own)?;
    unless_expired(t, w, (index, status), t.flow(index)?)
}

/// Whoever finds an expired flow leaves it to the sweeper, or rewrites it.
#[inline(always)]
fn unless_expired<'t, T: Tables>(
    t: &'t T,
    w: &mut Work,
    (index, status): (u32, u32),
    line: &'t FlowLine,
) -> Option<&'t FlowLine> {
    if is_expired(t, index, line, status, w.key.protocol) {
        return None;
    }
    (w.flow, w.flow_status) = (index, status);
    Some(line)
}

/// Is the line still the flow's that was found for the packet, and in force?
#[inline(always)]
pub fn is_same(line: &FlowLine, w: &Work) -> bool {
    (line.status.load() ^ w.flow_status) & !status::CHANGES == 0
}

/// Until the caller stores a decision, nobody else writes one, nor what it rests on. What it was,
/// unless somebody has it already.
#[inline(always)]
pub fn hold<T: Tables>(t: &T, line: &FlowLine) -> Option<u64> {
    let before = line.judged.load();
    (before != Judged::HELD && t.swap(&line.judged, before, Judged::HELD)).then_some(before)
}

/// Has neither half seen a packet for as long as its state allows?
#[inline(always)]
fn is_expired<T: Tables>(t: &T, index: u32, line: &FlowLine, status: u32, protocol: u8) -> bool {
    let idle_max = conntrack::idle_ms_max(status & status::STATE, protocol);
    let now = t.now_ticks();
    if !is_idle(line, now, idle_max) {
        return false;
    }
    let partner = t.flow_more(index).map_or(0, |more| more.partner.load());
    match (t.flow(partner), t.flow_more(partner)) {
        // A line that was given to another flow says nothing about this one.
        (Some(other), Some(its)) if its.partner.load() == index => is_idle(other, now, idle_max),
        _ => true,
    }
}

/// Was no packet seen for so long? Another CPU may have seen one after the clock was
/// read: then the time between is negative.
#[inline(always)]
fn is_idle(line: &FlowLine, now: u32, idle_max: u32) -> bool {
    let idle = now.wrapping_sub(line.seen_ticks.load());
    idle as i32 >= 0 && idle >= idle_max
}

/// Makes both halves of a new flow; the answering half has no owner yet and is
/// judged when its first packet comes.
pub fn open<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    let reply_zone = reply_zone(t, w)?;
    w.payer = if w.tenant != 0 {
        w.tenant
    } else {
        t.endpoint(w.leg.receiver).map_or(0, |receiver| receiver.tenant)
    };
    (w.mark, w.spare) = (0, KNOWN_LINES);
    if w.is_inbound() {
        (w.mark, w.spare) = (status::INBOUND, INSIDE_LINES + KNOWN_LINES);
    }
    let quota = t.tenant(w.payer).ok_or(Stop::TableMissing)?.flows_max;
    if !t.flow_reserve(w.payer, 2 * held::one(w.mark), quota) {
        // What is begun anew gives back what it had.
        if !is_paid(t, w) {
            return Err(Stop::FlowQuota);
        }
        t.flow_reserve(w.payer, 2 * held::one(w.mark), QUOTA_NONE);
    }
    let forward = place(t, w, &w.key, 0);
    let Some(forward) = forward else {
        t.flow_release(w.payer, 2 * held::one(w.mark));
        return Err(Stop::FlowTableFull);
    };
    let answer = inverse(&w.key, w.is(flags::V6)).in_zone(reply_zone);
    let Some(reply) = place(t, w, &answer, status::REPLY) else {
        t.flow_release(w.payer, held::one(w.mark));
        // The half that was made is worth nothing alone.
        if let Some(line) = t.flow(forward)
            && !t.is_tracing()
        {
            give_up(t, line);
        }
        return Err(Stop::FlowTableFull);
    };
    if !t.is_tracing() {
        join(t, w, forward, reply, &answer);
    }
    Ok(())
}

/// Does the tenant pay for a half-flow of this key already?
#[inline(always)]
fn is_paid<T: Tables>(t: &T, w: &Work) -> bool {
    let own = Room::from_word(t.flow_room(&w.key.words())).filter(|room| room.is_own);
    own.and_then(|room| t.flow_cold(room.index)).is_some_and(|cold| cold.tenant.load() == w.payer)
}

/// Lets two halves name each other.
///
/// Another CPU with a packet of the same flow may have given up a line that we made, in favour of
/// its own ([`sole`]). Then that is the half; and if the other CPU is where we are, it names the
/// same.
#[inline(always)]
fn join<T: Tables>(t: &T, w: &mut Work, forward: u32, reply: u32, answer: &FlowKey) {
    let (mut forward, mut reply) = (forward, reply);
    for _ in 0..2 {
        let (Some(own), Some(other)) = (t.flow_more(forward), t.flow_more(reply)) else { return };
        own.partner.store(reply);
        // A store would be seen later than what is looked at next.
        t.swap32(&other.partner, other.partner.load(), forward);
        if is_live(t, forward) && is_live(t, reply) {
            break;
        }
        forward = line_of(t, &w.key, forward);
        reply = line_of(t, answer, reply);
    }
    let (Some(line), Some(answering)) = (t.flow(forward), t.flow(reply)) else { return };
    (w.flow, w.flow_status) = (forward, line.status.load());
    // That CPU may be past the flow's state by now, and wrote that of the answering half before
    // we wrote this one.
    take_over(t, answering, w.flow_status & status::STATE);
}

#[inline(always)]
fn is_live<T: Tables>(t: &T, index: u32) -> bool {
    t.flow(index).is_some_and(|line| line.status.load() & status::LIFE == status::LIVE)
}

/// The one line of the key, or `made`, if that is given up already. Not inlined: "combined stack
/// size of 3 calls is 576. Too large".
#[inline(never)]
fn line_of<T: Tables>(t: &T, key: &FlowKey, made: u32) -> u32 {
    Room::from_word(t.flow_sole(&key.words())).map_or(made, |room| room.index)
}

/// Gives a half that was just made the state of its flow, unless it has one.
#[inline(always)]
fn take_over<T: Tables>(t: &T, line: &FlowLine, state: u32) {
    let made = line.status.load();
    if made & status::STATE == conntrack::state::NONE {
        t.swap32(&line.status, made, made | state);
    }
}

/// The answers of a flow that leads elsewhere now may arrive in another zone: then the
/// answering half is made anew there. It is part of a flow that there is: no share keeps it from
/// that, and where the table has no room, the flow goes on, and asks again.
pub fn follow<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    if w.flow_status & status::REPLY != 0 {
        return Ok(());
    }
    let zone = reply_zone(t, w)?;
    let own = t.flow_more(w.flow).ok_or(Stop::TableMissing)?;
    let partner = own.partner.load();
    let old = t.flow(partner).ok_or(Stop::TableMissing)?;
    let is_partner = t.flow_more(partner).is_some_and(|its| its.partner.load() == w.flow);
    if t.is_tracing() || is_partner && old.key().zone() == zone {
        return Ok(());
    }
    w.payer = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?.tenant.load();
    (w.mark, w.spare) = (w.flow_status & status::INBOUND, 0);
    t.flow_reserve(w.payer, held::one(w.mark), QUOTA_NONE);
    let answer = inverse(&w.key, w.is(flags::V6)).in_zone(zone);
    let Some(reply) = place(t, w, &answer, status::REPLY) else {
        t.flow_release(w.payer, held::one(w.mark));
        w.leg.epoch = 0;
        return Ok(());
    };
    if let (Some(other), Some(its)) = (t.flow(reply), t.flow_more(reply)) {
        its.partner.store(w.flow);
        own.partner.store(reply);
        take_over(t, other, w.flow_status & status::STATE);
    }
    if is_partner {
        give_up(t, old);
    }
    Ok(())
}

/// Marks a line that is in force dead: userland empties it. Was it still as it was looked at?
#[inline(always)]
fn give_up<T: Tables>(t: &T, line: &FlowLine) -> bool {
    let old = line.status.load();
    old & status::LIFE != status::LIVE
        || t.swap32(&line.status, old, (old & !status::LIFE) | status::DEAD)
}

/// Where the answer to the packet at hand arrives.
#[inline(always)]
fn reply_zone<T: Tables>(t: &T, w: &Work) -> Result<u32, Stop> {
    if w.action & action::ROUTED == 0 {
        return Ok(w.link);
    }
    Ok(t.endpoint(w.leg.receiver).ok_or(Stop::TableMissing)?.arrival)
}

/// The key of the answer, but for its zone.
#[inline(always)]
pub(crate) fn inverse(key: &FlowKey, is_v6: bool) -> FlowKey {
    let is_icmp = key.protocol == if is_v6 { protocol::ICMPV6 } else { protocol::ICMP };
    let (src_port, dst_port) = if is_icmp {
        // The identifier stays; a query's type becomes its reply's.
        (key.src_port, [super::parse::reply_type(key.dst_port[0], is_v6), key.dst_port[1]])
    } else {
        (key.dst_port, key.src_port)
    };
    FlowKey { src: key.dst, dst: key.src, src_port, dst_port, ..*key }
}

/// The line that a key with these words may have: its own, if it has one, else a free one of the
/// first bucket, or of the emptier one where that is nearly full. As [`Room::from_word`] reads
/// it; `zero` is what the verifier does not know to be that.
#[inline(always)]
pub fn room<T: Tables>(t: &T, words: &[u64; 5], zero: u32) -> u64 {
    /// So many free lines are plenty. With fewer the second bucket would be used too late: of
    /// 2^21 lines, the first key that finds both full comes when 50 of 100 are taken, with this
    /// when 64 are (and with five 67). With more, half the keys would soon lie where they are
    /// looked for last, and hardly a bucket had none of its keys away.
    const PLENTY: u64 = 4;
    let homes = homes(words, t.secret(), t.flow_lines());
    let first = look(t, words, homes[0], zero);
    let Some(away) = t.flows_away(bucket_of(homes[0])) else { return 0 };
    if first.own != 0 {
        return first.own;
    }
    if first.room() >= PLENTY && away.load() == 0 {
        return first.free;
    }
    let second = look(t, words, homes[1], zero);
    let is_second = first.room() < PLENTY && second.room() > first.room();
    let free = if is_second { second.free | Room::AWAY } else { first.free };
    if second.own == 0 { free } else { second.own }
}

/// What there is of a bucket: words of a [`Room`].
struct Bucket {
    /// The key's own line.
    own: u64,
    /// Another one of its own.
    other: u64,
    /// The first free line, and how many there are.
    free: u64,
}

impl Bucket {
    /// Free lines.
    #[inline(always)]
    const fn room(&self) -> u64 {
        (self.free & Room::COUNT) / Room::ONE
    }
}

#[inline(always)]
fn look<T: Tables>(t: &T, words: &[u64; 5], home: u32, zero: u32) -> Bucket {
    // Zeroes, of which the verifier does not know that they are: else it would follow each line
    // once for all that those before it may have been.
    let none = u64::from(zero) << 32 | u64::from(zero);
    let mut bucket = Bucket { own: none, other: none, free: none };
    for index in lines_of(home).rev() {
        let Some(line) = t.flow(index) else { break };
        let status = line.status.load();
        let found = Room::FOUND | u64::from(index) << 32 | u64::from(status);
        if status & status::LIFE == status::EMPTY {
            bucket.free = found | ((bucket.free & Room::COUNT) + Room::ONE);
        } else if status & status::LIFE == status::LIVE && line.has(words) {
            bucket.other = bucket.own;
            bucket.own = found | Room::OWN;
        }
    }
    bucket
}

/// The line in which the key is found, as [`room`] tells it. Where two CPUs have placed the key at
/// once, whoever looks last sees both lines: the one that is found later is given up. Of three,
/// each that looks gives up one.
#[inline(always)]
pub fn sole<T: Tables>(t: &T, words: &[u64; 5], zero: u32) -> u64 {
    let homes = homes(words, t.secret(), t.flow_lines());
    let Some(away) = t.flows_away(bucket_of(homes[0])) else { return 0 };
    let Bucket { mut own, mut other, .. } = look(t, words, homes[0], zero);
    if away.load() != 0 && bucket_of(homes[0]) != bucket_of(homes[1]) {
        let second = look(t, words, homes[1], zero);
        if own == 0 {
            (own, other) = (second.own, second.other);
        } else if second.own != 0 {
            other = second.own;
        }
    }
    if let Some(line) = Room::from_word(other).and_then(|room| t.flow(room.index))
        && !t.is_tracing()
    {
        // The other CPU writes the flow's state into it at most twice, while it makes it.
        let _ = give_up(t, line) || give_up(t, line) || give_up(t, line);
    }
    own
}

/// A line that a key may have, and its status when it was looked at.
struct Room {
    index: u32,
    status: u32,
    is_own: bool,
    is_away: bool,
}

impl Room {
    /// There is one.
    const FOUND: u64 = 1 << 63;
    /// It is the key's already.
    const OWN: u64 = 1 << 62;
    /// It is free, and in the second bucket.
    const AWAY: u64 = 1 << 61;
    /// It is one of so many free ones, four bits.
    const COUNT: u64 = 15 * Self::ONE;
    const ONE: u64 = 1 << 57;

    #[inline(always)]
    fn from_word(word: u64) -> Option<Self> {
        let index = (word & (Self::ONE - 1)) >> 32;
        (word & Self::FOUND != 0).then_some(Self {
            index: index as u32,
            status: word as u32,
            is_own: word & Self::OWN != 0,
            is_away: word & Self::AWAY != 0,
        })
    }

    /// What [`room`] finds for a half-flow that is made.
    #[inline(always)]
    fn find<T: Tables>(t: &T, w: &Work, words: &[u64; 5]) -> Option<Self> {
        let word = t.flow_room(words);
        if word & Self::OWN == 0 && word & Self::COUNT <= u64::from(w.spare) * Self::ONE {
            return None;
        }
        Self::from_word(word)
    }
}

/// Takes the line for whoever calls, if nobody else did since it was looked at, or writes into it.
#[inline(always)]
fn take<T: Tables>(t: &T, room: &Room) -> bool {
    let busy = sequence_after(room.status) | status::BUSY;
    let Some(line) = t.flow(room.index) else { return false };
    // Nobody writes into a free one.
    let before = if room.is_own { hold(t, line) } else { Some(0) };
    let is_taken = before.is_some() && t.swap32(&line.status, room.status, busy);
    if room.is_own
        && !is_taken
        && let Some(before) = before
    {
        line.judged.store(before);
    }
    is_taken
}

/// The first bucket of a key with these words has one more that is away. The sweeper takes it
/// back with the line.
#[inline(always)]
pub fn go_away<T: Tables>(t: &T, words: &[u64; 5]) {
    if let Some(away) = t.flows_away(bucket_of(homes(words, t.secret(), t.flow_lines())[0])) {
        t.add(away, 1);
    }
}

/// The next sequence, alone.
#[inline(always)]
const fn sequence_after(old: u32) -> u32 {
    old.wrapping_add(status::SEQUENCE) & !0xffff
}

/// Takes a line for the key and makes it live; a tracer only tells whether there is one.
fn place<T: Tables>(t: &T, w: &Work, key: &FlowKey, half: u32) -> Option<u32> {
    let words = key.words();
    let mut room = Room::find(t, w, &words)?;
    if t.is_tracing() {
        return Some(room.index);
    }
    let mut is_taken = take(t, &room);
    if !is_taken {
        // Another CPU was faster: there may be room beside what it took.
        room = Room::find(t, w, &words)?;
        is_taken = take(t, &room);
    }
    let Room { index, status: old, is_own, is_away } = room;
    if is_away && is_taken {
        // Before anybody looks for it.
        t.flow_goes_away(&words);
    }
    let line = t.flow(index)?;
    let (cold, more) = (t.flow_cold(index)?, t.flow_more(index)?);
    if is_own {
        // The old record's payer is freed of it; or it stays, since another CPU is using it.
        let (whose, what) = if is_taken { (cold.tenant.load(), old) } else { (w.payer, w.mark) };
        t.flow_release(whose, held::one(what));
    }
    if !is_taken {
        return is_own.then_some(index);
    }
    let now = t.now_ticks();
    line.set_key(&words);
    line.seen_ticks.store(now);
    line.owner.store(0);
    // What it has counted goes on: only userland, which folds it, may set it back.
    cold.stamp.store(0);
    cold.opener.store(w.leg.sender);
    cold.responder.store(w.leg.receiver);
    cold.rule_egress.store(w.leg.rule_egress);
    cold.rule_ingress.store(w.leg.rule_ingress);
    cold.tenant.store(w.payer);
    cold.made_ticks.store(now);
    more.opener_mac.store(w.src_mac.word());
    more.end.store(0);
    more.permits.store(0);
    more.scale.store(0);
    more.partner.store(0);
    line.judged.store(0);
    // A store would be seen later than what is looked at next: of two CPUs that place a key at
    // once, none would see the other's line.
    let live = sequence_after(old) | status::LIVE | half | w.mark;
    t.swap32(&line.status, sequence_after(old) | status::BUSY, live);
    Some(Room::from_word(t.flow_sole(&words)).map_or(index, |room| room.index))
}
