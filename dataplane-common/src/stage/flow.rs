//! Is the packet part of a flow that was already judged, and does the judgement hold?

use super::{attach, conntrack, flow_record, generations, window};
use crate::stop::Stop;
use crate::table::flow::{FlowLine, FlowMore, Judged, action, held, packed, status};
use crate::tables::{Note, Tables, note};
use crate::wire::transport::{FIN, RST};
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
    let Some(line) = flow_record::find_known(t, w) else {
        t.note(Note { what: note::NO_FLOW, ..Note::default() });
        return Found::Nothing;
    };
    // The owner is written before what was judged, and read after it.
    let judged = Judged::from_word(line.judged.load());
    let number = line.owner.load();
    let is_each = judged.action & action::EACH != 0;
    let detail = note::flow_detail(w.flow_status, judged.action);
    t.note(Note { what: note::FLOW, id: w.flow, detail, zero: 0 });
    let Some(owner) = attach::as_owner(t, w, number) else { return Found::Doubtful };
    if is_each
        || conntrack::is_opening(w)
        || !generations::is_of_now(t, owner.tenant, judged) && !is_current(t, line, w.flow, judged)
    {
        return Found::Doubtful;
    }
    w.action = judged.action;
    // The line may have been rewritten in place between the look at its key and
    // the look at its action: then the sequence has moved on.
    if !flow_record::is_same(line, w) {
        return Found::Doubtful;
    }
    attach::adopt(w, number, owner);
    Found::Current
}

fn is_current<T: Tables>(t: &T, line: &FlowLine, index: u32, judged: Judged) -> bool {
    t.flow_cold(index).is_some_and(|cold| generations::is_current(t, line, cold, judged))
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
    let (Some(cold), Some(more)) = (t.flow_cold(w.flow), t.flow_more(w.flow)) else { return false };
    let at = more.partner.load();
    let (Some(partner), Some(its)) = (t.flow(at), t.flow_more(at)) else { return false };
    let opener = t.endpoint(cold.opener.load());
    if opener.is_none_or(|opener| opener.kind == 0) {
        return false;
    }
    // An answer never crosses from one tenant to another: where addresses changed hands, it
    // begins a flow of its own.
    let answerer = t.endpoint(w.sender).map_or(0, |endpoint| endpoint.tenant);
    let asker = opener.map_or(0, |endpoint| endpoint.tenant);
    if answerer != asker && answerer != 0 && asker != 0 {
        return false;
    }
    let mark = partner.status.load() & (status::LIFE | status::REPLY);
    mark == status::LIVE && its.partner.load() == w.flow
}

/// The leg in which the flow was opened.
#[inline(always)]
pub fn original<T: Tables>(t: &T, w: &Work) -> Result<Leg, Stop> {
    let line = t.flow(w.flow).ok_or(Stop::TableMissing)?;
    let cold = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?;
    let detail = note::flow_detail(w.flow_status, Judged::from_word(line.judged.load()).action);
    t.note(Note { what: note::READMIT, id: w.flow, detail, zero: 0 });
    let is_answer = w.flow_status & status::REPLY != 0;
    let is_first = line.owner.load() == 0;
    let is_inverted = is_answer && (is_first || !cfg!(feature = "control-readmit-observed"));
    let key = if is_inverted {
        let more = t.flow_more(w.flow).ok_or(Stop::TableMissing)?;
        t.flow(more.partner.load()).ok_or(Stop::TableMissing)?.key()
    } else {
        w.key
    };
    let sender = if is_inverted { cold.opener.load() } else { w.sender };
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
    let state = w.flow_status & status::STATE;
    let is_reply = w.flow_status & status::REPLY != 0;
    let step = conntrack::next(w, state, is_reply)?;
    let (mut next, now) = (step.state, t.now_ticks());
    if state == conntrack::state::REPLIED {
        let made = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?.made_ticks.load();
        if conntrack::is_conversation(w, state, is_reply, now.wrapping_sub(made)) {
            next = conntrack::state::ASSURED;
        }
    }
    // Here and not in a function with an outcome of its own, of which the verifier followed
    // each case through all that comes ("processed 717287 insns").
    if w.is(flags::TCP) {
        let own = t.flow_more(w.flow).ok_or(Stop::TableMissing)?;
        let other = t.flow_more(own.partner.load()).ok_or(Stop::TableMissing)?;
        if step.is_ignored || !is_reply && window::is_blind(w, state, other) {
            t.note(Note { what: note::STATE, id: state, detail: state, zero: 0 });
            if !is_reply || !window::is_agreement(w, state, other) {
                if !is_reply && !t.is_tracing() {
                    window::note_stray(w, own);
                }
                return Ok(());
            }
            next = conntrack::state::SYN_RECEIVED;
            if !t.is_tracing() {
                window::renew(other, own);
            }
        }
        if w.tcp_flags & RST != 0 {
            if !window::closes(w, own, other)? {
                next = state;
            }
        } else if w.tcp_flags & FIN != 0 && !window::is_inside(w, own, other) {
            next = state;
        } else if !t.is_tracing() {
            window::note_window(w, own, other);
        }
    }
    t.note(Note { what: note::STATE, id: state, detail: next, zero: 0 });
    if t.is_tracing() {
        return Ok(());
    }
    if next != state {
        // Without a handshake nobody knows whether whoever asks is there: such a flow is a
        // stranger's until it ends, answered or not.
        let is_agreed = w.is(flags::TCP) && !conntrack::is_dispensable(next);
        let agreed = if is_agreed { status::INBOUND } else { 0 };
        let partner = t.flow_more(w.flow).ok_or(Stop::TableMissing)?.partner.load();
        set_state(t, w.flow, next, agreed, |_| flow_record::is_same(line, w));
        set_state(t, partner, next, agreed, |its| its.partner.load() == w.flow);
    }
    if line.seen_ticks.load() != now {
        line.seen_ticks.store(now);
    }
    Ok(())
}

/// Writes the state of one half, and takes what is `agreed` out of its status: then its place is
/// none of what the tenant has for strangers. Another CPU may change the status at the same time;
/// after two tries its packet counts as the later one. It may have given the line to another flow,
/// too: `is_ours` looks once the status is read, which says by its sequence if that comes later.
#[inline(always)]
fn set_state<T: Tables>(
    t: &T,
    index: u32,
    state: u32,
    agreed: u32,
    is_ours: impl Fn(&FlowMore) -> bool,
) {
    let (Some(line), Some(cold)) = (t.flow(index), t.flow_cold(index)) else { return };
    let Some(more) = t.flow_more(index) else { return };
    for _ in 0..2 {
        let old = line.status.load();
        let payer = cold.tenant.load();
        if old & status::LIFE != status::LIVE || !is_ours(more) {
            break;
        }
        if t.swap32(&line.status, old, (old & !(status::STATE | agreed)) | state) {
            if old & agreed != 0 {
                t.flow_release(payer, held::AGREED);
            }
            break;
        }
    }
}

/// Writes the outcome of a judgement into the packet's half-flow: the action, or
/// the stop that denies it until something changes. Where another packet is about to write one,
/// its stands.
#[inline(always)]
pub fn settle<T: Tables>(t: &T, w: &Work, verdict: Result<(), Stop>) {
    if t.is_tracing() {
        return;
    }
    let (Some(line), Some(cold)) = (t.flow(w.flow), t.flow_cold(w.flow)) else { return };
    let Some(before) = flow_record::hold(t, line) else { return };
    if !flow_record::is_same(line, w) {
        line.judged.store(before);
        return;
    }
    let judged = match verdict {
        Ok(()) => {
            cold.stamp.store(w.leg.stamp);
            cold.opener.store(w.leg.sender);
            cold.responder.store(w.leg.receiver);
            cold.rule_egress.store(w.leg.rule_egress);
            cold.rule_ingress.store(w.leg.rule_ingress);
            let partner = t.flow_more(w.flow).map_or(0, |more| more.partner.load());
            if t.flow_more(partner).is_some_and(|its| its.partner.load() == w.flow)
                && let Some(other) = t.flow_cold(partner)
            {
                other.responder.store(w.leg.receiver);
            }
            line.owner.store(w.owner);
            let each = if w.leg.flags & leg::EACH != 0 { action::EACH } else { 0 };
            Judged { action: w.action | each, epoch: w.leg.epoch }
        }
        Err(stop) => {
            // Between other ends than the flow's, its epoch says nothing about the denial.
            let is_same = w.leg.receiver == cold.responder.load();
            let epoch = if is_same { w.leg.epoch } else { 0 };
            Judged { action: action::DENIED | stop as u32, epoch }
        }
    };
    line.judged.store(judged.word());
}

/// Counts packets and bytes on the packet's half-flow.
#[inline(always)]
pub fn count<T: Tables>(t: &T, w: &Work, packets: u32, bytes: u32) {
    if w.flow_status & status::LIFE != status::LIVE {
        return;
    }
    let Some(line) = t.flow(w.flow).filter(|_| !t.is_tracing()) else { return };
    let (mut packets, mut bytes) = (packets, bytes);
    let counted = packed::of(packets, bytes);
    if counted != 0 {
        let counts = t.add32(&line.counts, counted);
        // If another CPU adds in between, it is the one to carry over.
        if !packed::is_full(counts) || !t.swap32(&line.counts, counts, 0) {
            return;
        }
        (packets, bytes) = packed::split(counts);
    }
    if let Some(cold) = t.flow_cold(w.flow) {
        t.add(&cold.packets, packets.into());
        t.add(&cold.bytes, bytes.into());
    }
}
