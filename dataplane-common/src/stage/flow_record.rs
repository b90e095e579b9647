//! Where does a half-flow's record live, and may there be another?
//!
//! A key lives in one of two buckets. Programs take empty lines and mark lines dead;
//! only userland empties them ([`crate::table::flow`]).

use super::conntrack;
use crate::stop::Stop;
use crate::table::flow::{BUCKET_LINES, FlowKey, FlowLine, action, buckets, status};
use crate::tables::Tables;
use crate::wire::protocol;
use crate::work::{Work, flags};

/// Finds the line of the packet's key: its index and status go into the work.
#[inline(always)]
pub fn find<T: Tables>(t: &T, w: &mut Work) -> bool {
    let words = w.key.words();
    match find_words(t, &words, w.key.protocol) {
        Some((index, status)) => {
            w.flow = index;
            w.flow_status = status;
            true
        }
        None => {
            w.flow = 0;
            w.flow_status = 0;
            false
        }
    }
}

/// Finds a live line by its words and looks whether it has expired.
#[inline(always)]
fn find_words<T: Tables>(t: &T, words: &[u64; 5], protocol: u8) -> Option<(u32, u32)> {
    for bucket in buckets(words, t.flow_secret(), t.flow_lines()) {
        for way in 0..BUCKET_LINES {
            let index = bucket + way;
            let line = t.flow(index)?;
            let status = line.status.load();
            if status & status::LIFE == status::LIVE && line.has(words) {
                // Whoever finds an expired flow leaves it to the sweeper, or rewrites it.
                return if is_expired(t, index, line, status, protocol) {
                    None
                } else {
                    Some((index, status))
                };
            }
        }
    }
    None
}

/// Has neither half seen a packet for as long as its state allows?
#[inline(always)]
fn is_expired<T: Tables>(t: &T, index: u32, line: &FlowLine, status: u32, protocol: u8) -> bool {
    let idle_max = conntrack::idle_ms_max(status & status::STATE, protocol);
    let now = t.now_ticks();
    if !is_idle(line, now, idle_max) {
        return false;
    }
    let partner = t.flow_cold(index).map_or(0, |cold| cold.partner.load());
    match (t.flow(partner), t.flow_cold(partner)) {
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
    let payer = if w.tenant != 0 {
        w.tenant
    } else {
        t.endpoint(w.leg.receiver).map_or(0, |receiver| receiver.tenant)
    };
    let quota = t.tenant(payer).ok_or(Stop::TableMissing)?.flows_max;
    if !t.flow_reserve(payer, 2, quota) {
        return Err(Stop::FlowQuota);
    }
    let forward = place(t, w, &w.key, payer, 0);
    let Some(forward) = forward else {
        t.flow_release(payer, 2);
        return Err(Stop::FlowTableFull);
    };
    let answer = inverse(&w.key, w.is(flags::V6)).in_zone(reply_zone);
    let Some(reply) = place(t, w, &answer, payer, status::REPLY) else {
        t.flow_release(payer, 1);
        // The half that was made is worth nothing alone.
        if let Some(line) = t.flow(forward)
            && !t.is_tracing()
        {
            give_up(t, line);
        }
        return Err(Stop::FlowTableFull);
    };
    if let (Some(own), Some(other)) = (t.flow_cold(forward), t.flow_cold(reply))
        && !t.is_tracing()
    {
        own.partner.store(reply);
        other.partner.store(forward);
        w.flow = forward;
        w.flow_status = t.flow(forward).map_or(0, |line| line.status.load());
    }
    Ok(())
}

/// The answers of a flow that leads elsewhere now may arrive in another zone: then the
/// answering half is made anew there.
pub fn follow<T: Tables>(t: &T, w: &Work) -> Result<(), Stop> {
    if w.flow_status & status::REPLY != 0 {
        return Ok(());
    }
    let zone = reply_zone(t, w)?;
    let own = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?;
    let partner = own.partner.load();
    let old = t.flow(partner).ok_or(Stop::TableMissing)?;
    let is_partner = t.flow_cold(partner).is_some_and(|its| its.partner.load() == w.flow);
    if t.is_tracing() || is_partner && old.key().zone() == zone {
        return Ok(());
    }
    let payer = own.tenant.load();
    // Whoever is no more has no quota.
    let quota = t.tenant(payer).map_or(0, |tenant| tenant.flows_max);
    if !t.flow_reserve(payer, 1, quota) {
        return Err(Stop::FlowQuota);
    }
    let answer = inverse(&w.key, w.is(flags::V6)).in_zone(zone);
    let Some(reply) = place(t, w, &answer, payer, status::REPLY) else {
        t.flow_release(payer, 1);
        return Err(Stop::FlowTableFull);
    };
    if let (Some(other), Some(its)) = (t.flow(reply), t.flow_cold(reply)) {
        its.partner.store(w.flow);
        own.partner.store(reply);
        let made = other.status.load();
        t.swap32(&other.status, made, made | w.flow_status & status::STATE);
    }
    if is_partner {
        give_up(t, old);
    }
    Ok(())
}

/// Marks a line dead: userland empties it.
#[inline(always)]
fn give_up<T: Tables>(t: &T, line: &FlowLine) {
    let old = line.status.load();
    t.swap32(&line.status, old, (old & !status::LIFE) | status::DEAD);
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

/// The line that the key may have: its own, if it has one, else a free one of the
/// emptier bucket.
#[inline(always)]
fn line_for<T: Tables>(t: &T, words: &[u64; 5]) -> Option<Room> {
    let homes = buckets(words, t.flow_secret(), t.flow_lines());
    let (mut own, mut free) = (None, [None; 2]);
    let mut room = [0_u32; 2];
    for home in 0..2 {
        for way in 0..BUCKET_LINES {
            let index = homes[home] + way;
            let line = t.flow(index)?;
            let status = line.status.load();
            match status & status::LIFE {
                status::EMPTY => {
                    room[home] += 1;
                    free[home] = Some((index, status));
                }
                status::LIVE if line.has(words) => own = Some((index, status)),
                _ => {}
            }
        }
    }
    let fresh = if room[1] > room[0] { free[1] } else { free[0].or(free[1]) };
    let (index, status) = own.or(fresh)?;
    Some(Room { homes, index, status, is_own: own.is_some() })
}

/// Where a key may live.
struct Room {
    homes: [u32; 2],
    index: u32,
    status: u32,
    is_own: bool,
}

/// Takes the line for whoever calls, if nobody else did since it was looked at.
#[inline(always)]
fn take<T: Tables>(t: &T, room: &Room) -> bool {
    let busy = sequence_after(room.status) | status::BUSY;
    t.flow(room.index).is_some_and(|line| t.swap32(&line.status, room.status, busy))
}

/// The next sequence, alone.
#[inline(always)]
const fn sequence_after(old: u32) -> u32 {
    old.wrapping_add(status::SEQUENCE) & !0xffff
}

/// Takes a line for the key and makes it live; a tracer only tells whether there is one.
fn place<T: Tables>(t: &T, w: &Work, key: &FlowKey, payer: u32, half: u32) -> Option<u32> {
    let words = key.words();
    let mut room = line_for(t, &words)?;
    if t.is_tracing() {
        return Some(room.index);
    }
    if !take(t, &room) {
        // Another CPU was faster: there may be room beside what it took.
        room = line_for(t, &words)?;
        if !take(t, &room) {
            return None;
        }
    }
    let Room { homes, index, status: old, is_own } = room;
    let line = t.flow(index)?;
    let (cold, more) = (t.flow_cold(index)?, t.flow_more(index)?);
    if is_own {
        // The old record's payer is freed of it.
        t.flow_release(cold.tenant.load(), 1);
    }
    let now = t.now_ticks();
    line.set_key(&words);
    line.seen_ticks.store(now);
    line.judged.store(0);
    line.owner.store(0);
    // What it has counted goes on: only userland, which folds it, may set it back.
    cold.partner.store(0);
    cold.stamp.store(0);
    cold.opener.store(w.leg.sender);
    cold.responder.store(w.leg.receiver);
    cold.rule_egress.store(w.leg.rule_egress);
    cold.rule_ingress.store(w.leg.rule_ingress);
    cold.tenant.store(payer);
    cold.made_ticks.store(now);
    more.opener_mac.store(w.src_mac.word());
    more.end.store(0);
    more.permits.store(0);
    more.scale.store(0);
    line.status.store(sequence_after(old) | status::LIVE | half);
    Some(settle_duplicate(t, &words, homes, index).unwrap_or(index))
}

/// Two CPUs may have placed the same key at once: the line with the lowest index
/// stays, the others are given up.
#[inline(always)]
fn settle_duplicate<T: Tables>(t: &T, words: &[u64; 5], homes: [u32; 2], own: u32) -> Option<u32> {
    for home in homes {
        for way in 0..BUCKET_LINES {
            let index = home + way;
            let line = t.flow(index)?;
            let is_live = line.status.load() & status::LIFE == status::LIVE;
            if index < own && is_live && line.has(words) {
                give_up(t, t.flow(own)?);
                return Some(index);
            }
        }
    }
    None
}
