//! A packet's journey, from top to bottom.
//!
//! Six programs share it: [`enter`] sees every packet and forwards those of known
//! flows; [`host`] looks what is for the host that shares a NIC, and which routers may send
//! ICMP errors; [`first`] judges what no flow answers for; [`fragment`] keeps the pieces of
//! datagrams together; [`flood`] copies broadcast and multicast; [`answer`] makes what we say
//! ourselves. Each ends with a [`Next`]; the binding at the hook (or the host, in a test) does
//! what it says.

use crate::packet::Packet;
use crate::stage::{
    admit, answer as answers, attach, conntrack, emit, exempt, filter, flood as floods, flow,
    flow_record, fragment as fragments, generations, host as hosts, limit, parse, related, report,
    rewrite, route, window,
};
use crate::stop::Stop;
use crate::table::attachment_kind;
use crate::table::flow::{action, status};
use crate::tables::{Counter, Note, Tables, note};
use crate::work::{Leg, Which, Work, flags, job, leg};

/// What becomes of the packet now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It leaves by the output [`Work::output`].
    Emit,
    /// The program for first packets goes on with it.
    First,
    /// The program for answers goes on with it.
    Answer,
    /// The program for broadcast and multicast goes on with it.
    Flood,
    /// Copies of it have left; it goes no further.
    Flooded,
    /// The program for fragments goes on with it.
    Fragment,
    /// The program for the host's packets goes on with it.
    Host,
    /// The daemon has been told what it says; it goes no further.
    Heard,
    /// It is the host's: it goes up to its stack as it came.
    Passed,
    /// The daemon keeps it, and sends it in again; it goes no further now.
    Parked,
    /// It is not forwarded; the reason is counted.
    Stopped(Stop),
}

/// Every packet: where it came in, what it says, and whether its flow is known.
#[inline(always)]
pub fn enter<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    match known(p, t, w) {
        Ok(next) => next,
        Err(stop) => stopped(p, t, w, stop),
    }
}

#[inline(always)]
fn known<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<Next, Stop> {
    let ethertype = attach::attach(p, t, w)?;
    if cfg!(feature = "control-drop-all") {
        return Err(Stop::StageMissing);
    }
    if hosts::is_of_the_link(p, w, ethertype) {
        hosts::pass(p, t, w);
        return Ok(Next::Passed);
    }
    attach::arrive(t, w)?;
    let parsed = parse::parse(p, w, ethertype);
    let parsed = w.blur(parsed);
    if parsed.is_ok() {
        emit::count_headers(p, t, w.attachment, w, w.inline_bytes(), Counter::Received);
        // Who sends a packet of a known flow need not be looked for: the flow tells.
        if w.may_be_known() && is_known(t, w)? {
            let left = leave(p, t, w);
            if left.is_err() {
                flow::charge(t, w);
            }
            return left;
        }
    }
    attach::sender(t, w)?;
    parsed?;
    if w.job != job::NONE {
        return Ok(Next::Answer);
    }
    exempt::dhcp_server(t, w)?;
    if w.is(flags::GROUP_FRAME) {
        return floods::may_flood(p, w).map(|()| Next::Flood);
    }
    if w.attachment_kind == attachment_kind::ACCESS {
        // What has no ports is not looked up among the host's.
        let may_be_hosts = w.flags & (flags::HOST | flags::LATER) == flags::HOST;
        // A router of the mobile network may speak about a line's flow.
        let may_be_error = w.is(flags::ICMP_ERROR);
        match admit::line(t, w) {
            Err(Stop::NoSession) if may_be_hosts || may_be_error => return Ok(Next::Host),
            admitted => admitted?,
        }
    }
    if w.is(flags::LATER) {
        return Ok(Next::Fragment);
    }
    // A line is no business of the host's.
    let is_strangers = w.flags & (flags::HOST | flags::ICMP_ERROR) != 0 && w.is_inbound();
    Ok(if is_strangers { Next::Host } else { Next::First })
}

/// Does a known flow answer for the packet? Then it is part of it from here on.
#[inline(always)]
fn is_known<T: Tables>(t: &T, w: &mut Work) -> Result<bool, Stop> {
    if flow::look_up(t, w) != flow::Found::Current {
        return Ok(false);
    }
    let denied = w.action & action::DENIED != 0;
    let tracked = if denied { Err(Stop::from_number(w.action)) } else { flow::track(t, w) };
    if tracked.is_err() {
        flow::charge(t, w);
    }
    tracked.map(|()| true)
}

/// By a NIC, from whoever is not a line: what is for the host that shares it goes up to it, all
/// else goes on. Of what has no session that is an ICMP error by a router.
#[inline(always)]
pub fn host<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    match is_hosts(p, t, w) {
        Ok(true) => {
            hosts::pass(p, t, w);
            Next::Passed
        }
        Ok(false) => Next::First,
        Err(stop) => stopped(p, t, w, stop),
    }
}

#[inline(always)]
fn is_hosts<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<bool, Stop> {
    if hosts::judge(t, w)? {
        return Ok(true);
    }
    if w.is(flags::ICMP_ERROR) {
        related::admit_router(p, t, w)?;
    } else if w.attachment_kind == attachment_kind::ACCESS {
        // Nobody has a session here: asked again, for its reason.
        admit::line(t, w)?;
    }
    Ok(false)
}

/// The first packet of a flow, or of what became of the flow after a change.
#[inline(always)]
pub fn first<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    let judged = unknown(p, t, w);
    match w.blur(judged).and_then(|()| leave(p, t, w)) {
        Ok(next) => next,
        Err(Stop::ToRouter) if w.is(flags::ROUTED) && answers::is_echo(w) => {
            w.job = job::ECHO;
            Next::Answer
        }
        Err(stop) => stopped(p, t, w, stop),
    }
}

#[inline(always)]
fn unknown<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    admit::admit(t, w)?;
    if w.is(flags::ICMP_ERROR) {
        related::relate(p, t, w)?;
    } else {
        window::read_scale(p, w)?;
        if !flow_record::find(t, w) || !flow::is_continued(t, w) {
            w.flow_status = 0;
        }
    }
    // What is known by now is asked of the work, not kept in variables: the verifier
    // would follow each combination of their values through all that comes.
    if w.flow_status != 0 {
        w.leg = flow::original(t, w)?;
    } else {
        w.leg = Leg { key: w.key, sender: w.sender, ..Leg::default() };
    }
    let judged = judge(t, w);
    let verdict = w.blur(judged);
    flow::charge(t, w);
    fragments::begin_no_flow(w);
    let is_stateless = verdict.is_ok() && w.leg.flags & leg::STATELESS != 0;
    if w.is(flags::ICMP_ERROR) {
        // An error uses its flow and changes nothing about it; one that belongs to no
        // flow may be for an end without state, by its rules.
        let is_related = w.flow_status != 0 || is_stateless;
        return if is_related { verdict } else { Err(Stop::IcmpUnrelated) };
    }
    if is_stateless {
        return Ok(());
    }
    if w.flow_status == 0 {
        verdict?;
        // A flow begins only with a packet that may begin one.
        conntrack::next(w, conntrack::state::NONE, false)?;
        flow_record::open(t, w)?;
    } else if verdict.is_ok() {
        flow_record::follow(t, w)?;
    }
    // A stranger's answer says nothing about the flow.
    if verdict != Err(Stop::FlowOwner) {
        flow::settle(t, w, verdict);
    }
    verdict?;
    flow::track(t, w)
}

/// Judges the leg: where it leads, and whether both ends permit it. Why it leads
/// nowhere is told only to a sender whose own rules let the packet out.
///
/// A known flow is always judged in its original direction and tuple; if the packet
/// at hand is the answer, only the way of the answer is found besides.
#[inline(always)]
fn judge<T: Tables>(t: &T, w: &mut Work) -> Result<(), Stop> {
    let routed = route::route(t, w, Which::Leg);
    generations::date(t, &mut w.leg);
    filter::egress(t, &mut w.leg)?;
    routed?;
    if w.flow_status == 0 && w.leg.action & action::ROUTED != 0 {
        // The router looks at the hops left before the receiver's rules are asked:
        // a trace shows it even where it leads to a closed port.
        rewrite::has_hops(w)?;
    }
    filter::ingress(t, &mut w.leg)?;
    filter::statefulness(t, &mut w.leg);
    w.action = w.leg.action;
    if w.flow_status & status::REPLY != 0 {
        admit::opener(t, w)?;
        w.way = Leg { key: w.key, sender: w.leg.receiver, ..Leg::default() };
        route::route(t, w, Which::Way)?;
        if w.leg.receiver != w.sender || w.way.receiver != w.leg.sender {
            return Err(Stop::FlowOwner);
        }
        if w.leg.flags & (leg::EACH | leg::STATELESS) != 0 {
            filter::stateless_answer(t, &mut w.way)?;
        }
        w.action = w.way.action;
    }
    Ok(())
}

/// A piece of a datagram. A first one, which may leave, is noted and leaves. A later one
/// gets what its first one said, and goes on as any packet; before that it waits.
#[inline(always)]
pub fn fragment<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    match piece(p, t, w) {
        Ok(next) => next,
        Err(stop) => stopped(p, t, w, stop),
    }
}

#[inline(always)]
fn piece<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<Next, Stop> {
    if w.is(flags::LATER) {
        if !fragments::join(t, w)? {
            if cfg!(feature = "control-fragment-early") {
                w.leg = Leg { key: w.key, sender: w.sender, ..Leg::default() };
                route::route(t, w, Which::Leg)?;
                w.action = w.leg.action;
                rewrite::rewrite(p, t, w)?;
                return depart(p, t, w);
            }
            fragments::park(p, t, w)?;
            return Ok(Next::Parked);
        }
        if !is_known(t, w)? {
            return Ok(Next::First);
        }
    } else {
        flow::charge(t, w);
    }
    rewrite::rewrite(p, t, w)?;
    limit::limit(p, t, w)?;
    // An error's key is that of what it is about: its own later pieces are never known.
    if w.flags & (flags::FRAGMENT | flags::ICMP_ERROR) == flags::FRAGMENT {
        fragments::begin(t, w)?;
    }
    depart(p, t, w)
}

/// The packet may leave; a first fragment is noted before.
#[inline(always)]
fn leave<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<Next, Stop> {
    if w.is(flags::FRAGMENT) {
        return Ok(Next::Fragment);
    }
    let made = rewrite::rewrite(p, t, w).and_then(|()| limit::limit(p, t, w));
    w.blur(made)?;
    depart(p, t, w)
}

/// The packet leaves as it is now: tagged and counted.
#[inline(always)]
fn depart<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<Next, Stop> {
    let (packets, bytes) = (p.segments(), emit::wire_bytes(p, w));
    emit::emit(p, t, w, Counter::Sent)?;
    flow::count(t, w, packets, bytes);
    Ok(Next::Emit)
}

/// What we say ourselves: ARP, neighbour discovery, echo, and ICMP errors.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    t.note(Note { what: note::ANSWER, id: w.job, ..Note::default() });
    let made = match w.job {
        job::ARP => answers::arp(p, t, w),
        job::NEIGHBOUR => answers::neighbour(p, t, w),
        job::ECHO => answers::echo(p, t, w),
        _ => return reported(p, t, w),
    };
    if made.is_ok() && w.job == job::ANNOUNCE {
        return Next::Flood;
    }
    if made.is_ok() && w.job == job::HEAR {
        return heard(p, t, w);
    }
    if made.is_ok() && w.job == job::PASS {
        hosts::pass(p, t, w);
        return Next::Passed;
    }
    match made.and_then(|()| emit::emit(p, t, w, Counter::Answered)) {
        Ok(()) => Next::Emit,
        Err(stop) => stopped(p, t, w, stop),
    }
}

/// Broadcast and multicast: a copy goes to every other port of the network that takes it.
/// There is no flow; what answers is judged by itself.
#[inline(always)]
pub fn flood<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    let (packets, bytes) = (p.segments(), emit::frame_bytes(p, w));
    match floods::flood(p, t, w) {
        Ok(0) => {
            w.job = job::HEAR;
            heard(p, t, w)
        }
        Ok(copies) => {
            t.count(w.attachment, Counter::Flooded, packets, bytes);
            t.note(Note { what: note::FLOODED, id: copies, ..Note::default() });
            Next::Flooded
        }
        Err(stop) => stopped(p, t, w, stop),
    }
}

/// The daemon has been told.
#[inline(always)]
fn heard<P: Packet, T: Tables>(p: &P, t: &T, w: &Work) -> Next {
    t.count(w.attachment, Counter::Heard, p.segments(), p.bytes());
    t.note(Note { what: note::HEARD, ..Note::default() });
    Next::Heard
}

/// The packet is stopped and counted; its sender is told if the rate permits.
#[inline(always)]
fn reported<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Next {
    let stop = Stop::from_number(w.error_stop);
    t.count_stop(w.tenant, stop, p.segments());
    t.note(Note { what: note::STOP, id: stop as u32, ..Note::default() });
    // What comes from outside uses up nobody's errors but the provider's.
    let payer = if w.is_inbound() { 0 } else { w.tenant };
    if !t.may_report(payer) {
        return Next::Stopped(stop);
    }
    // What goes wrong with the error is no second reason for the packet.
    match report::report(p, t, w).and_then(|()| emit::emit(p, t, w, Counter::Reported)) {
        Ok(()) => Next::Emit,
        Err(_) => Next::Stopped(stop),
    }
}

/// The packet is not forwarded: its one reason is counted, or told and counted by
/// the program for answers.
#[inline(always)]
fn stopped<P: Packet, T: Tables>(p: &P, t: &T, w: &mut Work, stop: Stop) -> Next {
    if report::may_report(w)
        && let Some(error) = report::error_for(stop, w.is(flags::V6))
    {
        w.job = job::ERROR;
        w.error = error;
        w.error_stop = stop as u32;
        return Next::Answer;
    }
    t.count_stop(w.tenant, stop, p.segments());
    t.note(Note { what: note::STOP, id: stop as u32, ..Note::default() });
    Next::Stopped(stop)
}
