//! Is the packet part of a flow that was already judged, and does the judgement hold?

use super::conntrack;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::endpoint::Endpoint;
use crate::table::flow::{BUCKET_LINES, FlowCold, FlowKey, FlowLine, action, buckets, status};
use crate::tables::{Note, Tables, note};
use crate::wire::ethernet::ETHERNET_BYTES;
use crate::wire::protocol;
use crate::work::{Leg, Work, flags, leg};

/// What a lookup found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing that counts: the packet takes the slow path.
    Nothing,
    /// A half-flow that this sender owns and whose judgement holds.
    Current,
    /// A half-flow that has to be judged again, or belongs to somebody else.
    Doubtful,
}

/// Looks for the packet's half-flow and tells whether its action may be executed.
#[inline(always)]
pub fn look_up<T: Tables>(t: &T, w: &mut Work) -> Found {
    if !find(t, w) {
        t.note(Note { what: note::NO_FLOW, ..Note::default() });
        return Found::Nothing;
    }
    t.note(Note { what: note::FLOW, id: w.flow, detail: w.flow_status, zero: 0 });
    let (Some(line), Some(cold)) = (t.flow(w.flow), t.flow_cold(w.flow)) else {
        return Found::Nothing;
    };
    let is_own = line.owner.load() == w.owner;
    let is_each = w.flow_status & status::EACH != 0;
    let state = w.flow_status & status::STATE;
    if !is_own || is_each || conntrack::is_reopening(w, state) || !is_current(t, w, line, cold) {
        return Found::Doubtful;
    }
    w.action = line.action.load();
    // The line may have been rewritten in place between the look at its key and
    // the look at its action: then the sequence has moved on.
    if line.status.load() & !status::STATE != w.flow_status & !status::STATE {
        return Found::Doubtful;
    }
    Found::Current
}

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
    match t.flow(line.partner.load()) {
        // A line that was given to another flow says nothing about this one.
        Some(partner) if partner.partner.load() == index => is_idle(partner, now, idle_max),
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

/// Does the judgement still hold? Equal epochs say so at once; equal stamps after
/// a few loads, and then the new epoch is noted.
#[inline(always)]
fn is_current<T: Tables>(t: &T, w: &Work, line: &FlowLine, cold: &FlowCold) -> bool {
    let opener = cold.opener.load();
    let responder = cold.responder.load();
    let (Some(first), Some(second)) = (t.endpoint(opener), t.endpoint(responder)) else {
        return false;
    };
    if first.kind == 0 || second.kind == 0 {
        // One end is gone, and with it the tenant whose epoch would say so.
        return false;
    }
    let epoch = epoch(t, first, second);
    if line.epoch.load() == epoch {
        return true;
    }
    // A denial may rest on what was missing, which has no generation: it is judged again.
    if w.flow_status & status::DENIED != 0 {
        return false;
    }
    if cold.stamp.load() != stamp(t, first, second) {
        return false;
    }
    if !t.is_tracing() {
        line.epoch.store(epoch);
    }
    true
}

/// The sum of the epochs of all tenants that a flow concerns.
#[inline(always)]
fn epoch<T: Tables>(t: &T, first: &Endpoint, second: &Endpoint) -> u32 {
    let of = |id| t.tenant(id).map_or(0, |tenant| tenant.epoch);
    if first.tenant == second.tenant {
        of(first.tenant)
    } else {
        of(first.tenant).wrapping_add(of(second.tenant))
    }
}

/// The generations of two endpoints, of their policies, and of every zone in which
/// one is judged. They are mixed rather than added: where an endpoint gets another
/// policy its own generation rises, but the policy's may be lower by as much.
fn stamp<T: Tables>(t: &T, first: &Endpoint, second: &Endpoint) -> u64 {
    share(t, share(t, 0, first), second)
}

#[inline(always)]
fn share<T: Tables>(t: &T, stamp: u64, end: &Endpoint) -> u64 {
    let zone = |id| t.zone(id).map_or(0, |zone| zone.generation);
    let policy = t.policy(end.policy).map_or(0, |policy| policy.generation);
    let stamp = mix(mix(stamp, end.generation), policy);
    let stamp = mix(mix(stamp, zone(end.network)), zone(end.arrival));
    mix(stamp, zone(end.destination))
}

/// A step of a multiply-and-shift hash (the constant is 2^64 over the golden ratio).
#[inline(always)]
const fn mix(stamp: u64, generation: u32) -> u64 {
    let product = (stamp ^ generation as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// Does the half-flow that was found go on with this packet? If not, the packet
/// begins a new flow in its place: after a close, for another owner, or where the
/// two halves do not belong together.
#[inline(always)]
pub fn is_continued<T: Tables>(t: &T, w: &Work) -> bool {
    if conntrack::is_reopening(w, w.flow_status & status::STATE) {
        return false;
    }
    let Some(line) = t.flow(w.flow) else { return false };
    if w.flow_status & status::REPLY == 0 {
        return line.owner.load() == w.owner;
    }
    let Some(partner) = t.flow(line.partner.load()) else { return false };
    let opener = t.flow_cold(w.flow).and_then(|cold| t.endpoint(cold.opener.load()));
    if opener.is_none_or(|opener| opener.kind == 0) {
        return false;
    }
    let mark = partner.status.load() & (status::LIFE | status::REPLY);
    mark == status::LIVE && partner.partner.load() == w.flow
}

/// The leg in which the flow was opened.
#[inline(always)]
pub fn original<T: Tables>(t: &T, w: &Work) -> Result<Leg, Stop> {
    let line = t.flow(w.flow).ok_or(Stop::TableMissing)?;
    let cold = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?;
    let is_answer = w.flow_status & status::REPLY != 0;
    let key = if is_answer {
        t.flow(line.partner.load()).ok_or(Stop::TableMissing)?.key()
    } else {
        w.key
    };
    let sender = if is_answer { cold.opener.load() } else { w.sender };
    Ok(Leg { key, sender, ..Leg::default() })
}

/// Whose counters a stop goes to once the tenant is known: from an uplink, the receiver's,
/// or that of the router that exports the destination, if nobody has it.
#[inline(always)]
pub fn charge<T: Tables>(t: &T, w: &mut Work) {
    if w.tenant != 0 {
        return;
    }
    if w.flow_status & status::LIFE == status::LIVE {
        w.tenant = t.flow_cold(w.flow).map_or(0, |cold| cold.tenant.load());
    } else {
        let receiver = t.endpoint(w.leg.receiver).map_or(0, |receiver| receiver.tenant);
        let exporter = t.zone(w.leg.zone).map_or(0, |zone| zone.tenant);
        w.tenant = if w.leg.receiver != 0 { receiver } else { exporter };
    }
}

/// Notes that a judged packet belongs to the connection: its new state, when it was
/// seen, how much it is. The stops of a connection are raised here.
#[inline(always)]
pub fn track<T: Tables>(t: &T, w: &Work) -> Result<(), Stop> {
    if w.flow_status & status::LIFE != status::LIVE {
        // A tracer makes no flow.
        return Ok(());
    }
    let line = t.flow(w.flow).ok_or(Stop::TableMissing)?;
    let cold = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?;
    let state = w.flow_status & status::STATE;
    let next = conntrack::next(w, state, w.flow_status & status::REPLY != 0)?;
    t.note(Note { what: note::STATE, id: state, detail: next, zero: 0 });
    let partner = line.partner.load();
    if w.is(flags::TCP) {
        let other = t.flow_cold(partner).ok_or(Stop::TableMissing)?;
        if w.tcp_flags & crate::wire::transport::RST != 0 {
            conntrack::check_reset(w, cold, other)?;
        }
        if !t.is_tracing() {
            conntrack::note_window(w, cold, other);
        }
    }
    if t.is_tracing() {
        return Ok(());
    }
    if next != state {
        set_state(t, line, next);
        let other = t.flow(partner).ok_or(Stop::TableMissing)?;
        if other.partner.load() == w.flow {
            set_state(t, other, next);
        }
    }
    let now = t.now_ticks();
    if line.seen_ticks.load() != now {
        line.seen_ticks.store(now);
    }
    Ok(())
}

/// Writes the state of one half. Another CPU may change the status at the same
/// time; after two tries its packet counts as the later one.
#[inline(always)]
fn set_state<T: Tables>(t: &T, line: &FlowLine, state: u32) {
    for _ in 0..2 {
        let old = line.status.load();
        let is_live = old & status::LIFE == status::LIVE;
        if !is_live || t.flow_swap(line, old, (old & !status::STATE) | state) {
            break;
        }
    }
}

/// Writes the outcome of a judgement into the packet's half-flow: the action, or
/// the stop that denies it until something changes.
#[inline(always)]
pub fn settle<T: Tables>(t: &T, w: &mut Work, verdict: Result<(), Stop>) {
    if t.is_tracing() {
        return;
    }
    let (Some(line), Some(cold)) = (t.flow(w.flow), t.flow_cold(w.flow)) else { return };
    let old = line.status.load();
    let mut new = old & !(status::DENIED | status::EACH);
    let outcome = match verdict {
        Ok(()) => {
            cold.stamp.store(w.leg.stamp);
            cold.opener.store(w.leg.sender);
            cold.responder.store(w.leg.receiver);
            cold.rule_egress.store(w.leg.rule_egress);
            cold.rule_ingress.store(w.leg.rule_ingress);
            line.owner.store(w.owner);
            if w.leg.flags & leg::EACH != 0 {
                new |= status::EACH;
            }
            w.action
        }
        Err(stop) => {
            new |= status::DENIED;
            stop as u32
        }
    };
    line.action.store(outcome);
    line.epoch.store(w.leg.epoch);
    if t.flow_swap(line, old, new) {
        w.flow_status = new;
    }
}

/// The epochs and generations that a routed leg's judgement rests on.
pub fn date<T: Tables>(t: &T, leg: &mut Leg) {
    let (Some(first), Some(second)) = (t.endpoint(leg.sender), t.endpoint(leg.receiver)) else {
        return;
    };
    leg.epoch = epoch(t, first, second);
    leg.stamp = stamp(t, first, second);
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
            let old = line.status.load();
            t.flow_swap(line, old, (old & !status::LIFE) | status::DEAD);
        }
        return Err(Stop::FlowTableFull);
    };
    if let (Some(line), Some(other)) = (t.flow(forward), t.flow(reply))
        && !t.is_tracing()
    {
        line.partner.store(reply);
        other.partner.store(forward);
        w.flow = forward;
        w.flow_status = line.status.load();
    }
    Ok(())
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

/// Takes a line for the key and makes it live; a tracer only tells whether there is one.
fn place<T: Tables>(t: &T, w: &Work, key: &FlowKey, payer: u32, half: u32) -> Option<u32> {
    let words = key.words();
    let Room { homes, index, status: old, is_own } = line_for(t, &words)?;
    if t.is_tracing() {
        return Some(index);
    }
    let line = t.flow(index)?;
    let cold = t.flow_cold(index)?;
    let sequence = old.wrapping_add(status::SEQUENCE) & !0xffff;
    if !t.flow_swap(line, old, sequence | status::BUSY) {
        return None;
    }
    if is_own {
        // The old record's payer is freed of it.
        t.flow_release(cold.tenant.load(), 1);
    }
    let now = t.now_ticks();
    line.set_key(&words);
    line.seen_ticks.store(now);
    line.epoch.store(0);
    line.partner.store(0);
    line.owner.store(0);
    line.action.store(0);
    // `packets` and `bytes` go on: only userland, which folds them, may set them back.
    cold.stamp.store(0);
    cold.opener.store(w.leg.sender);
    cold.responder.store(w.leg.receiver);
    cold.rule_egress.store(w.leg.rule_egress);
    cold.rule_ingress.store(w.leg.rule_ingress);
    cold.tenant.store(payer);
    cold.made_ticks.store(now);
    cold.end.store(0);
    cold.permits.store(0);
    cold.scale.store(0);
    line.status.store(sequence | status::LIVE | half);
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
                let mine = t.flow(own)?;
                let old = mine.status.load();
                t.flow_swap(mine, old, (old & !status::LIFE) | status::DEAD);
                return Some(index);
            }
        }
    }
    None
}

/// Counts packets and bytes on the packet's half-flow.
#[inline(always)]
pub fn count<T: Tables>(t: &T, w: &Work, packets: u32, bytes: u32) {
    if w.flow_status & status::LIFE != status::LIVE {
        return;
    }
    if let Some(cold) = t.flow_cold(w.flow) {
        t.flow_count(cold, packets, bytes);
    }
}

/// Bytes on the wire without a tag: each segment of a GSO packet has headers of its own.
#[inline(always)]
pub fn wire_bytes<P: Packet>(p: &P, w: &Work) -> u32 {
    let bytes = p.bytes() - w.l3 + ETHERNET_BYTES;
    let more = p.segments() - 1;
    if more == 0 {
        return bytes;
    }
    let headers = ETHERNET_BYTES + w.l3_bytes - w.payload_bytes;
    bytes.saturating_add(more.saturating_mul(headers))
}
