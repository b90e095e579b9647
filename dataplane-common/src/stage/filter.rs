//! Do both ends' security groups permit the leg?
//!
//! Neutron's rules: a union of allow rules, default deny. The sender's egress
//! rules see the destination as the remote, the receiver's ingress rules the
//! source. The sender's see the destination as sent, the receiver's the source after
//! translation; nothing is translated yet, so both see the key.

use super::exempt;
use crate::addr::Addr;
use crate::stop::Stop;
use crate::table::PermitKey;
use crate::table::classifier::Asked;
use crate::table::endpoint::{Endpoint, kind};
use crate::table::flow::action;
use crate::table::policy::{Policy, flags};
use crate::tables::{Note, Tables, note};
use crate::work::{Leg, leg as leg_flags};

/// A control build, on which the tests must fail: what no rule permits is permitted.
const ALLOW_ALL: bool = cfg!(feature = "control-allow-all");

/// The sender's egress rules; `leg.receiver` is 0 if nobody has the destination.
pub fn egress<T: Tables>(t: &T, leg: &mut Leg) -> Result<(), Stop> {
    let sender = t.endpoint(leg.sender).ok_or(Stop::TableMissing)?;
    leg.rule_egress = 0;
    let receiver = t.endpoint(leg.receiver).ok_or(Stop::TableMissing)?;
    let is_exempt = exempt::is_dhcp(leg, sender, receiver);
    if sender.policy == 0 || is_exempt || cfg!(feature = "control-egress-ignored") {
        t.note(Note { what: note::EGRESS, ..Note::default() });
        return Ok(());
    }
    let policy = t.policy(sender.policy).ok_or(Stop::TableMissing)?;
    // A group has its members' addresses and address pairs, and no more of what can be
    // reached by way of them.
    let is_member = leg.flags & leg_flags::VIA == 0 || is_pair(t, leg);
    let class = if is_member { class_of(receiver, sender.tenant) } else { 0 };
    let asked = Asked { class, ..asked(leg, leg.key.dst) };
    let Some(rule) = t.permits(policy.egress, &asked) else {
        return if ALLOW_ALL { Ok(()) } else { Err(Stop::EgressDenied) };
    };
    leg.rule_egress = rule;
    t.note(Note { what: note::EGRESS, id: rule, detail: sender.policy, zero: 0 });
    Ok(())
}

/// What the rules are asked of a leg whose remote has this address.
#[inline(always)]
fn asked(leg: &Leg, addr: Addr) -> Asked {
    let port = u16::from_be_bytes(leg.key.dst_port);
    Asked { protocol: leg.key.protocol, port, addr, class: 0, lines_only: false }
}

/// The remote's class among those of the rules' tenant: others are in none of its groups.
#[inline(always)]
const fn class_of(remote: &Endpoint, tenant: u32) -> u32 {
    if remote.tenant == tenant { remote.class } else { 0 }
}

/// Is the destination an address of the port that is the next hop on the way there?
#[inline(always)]
fn is_pair<T: Tables>(t: &T, leg: &Leg) -> bool {
    t.next_hop(leg.action & action::NEXT_HOP).is_some_and(|hop| {
        let (endpoint, mac, addr) = (hop.endpoint, hop.dst, leg.key.dst);
        t.is_permitted(&PermitKey { endpoint, mac, zero: [0; 6], addr })
    })
}

/// The receiver's ingress rules. From one line to another only a rule that names
/// lines leads.
pub fn ingress<T: Tables>(t: &T, leg: &mut Leg) -> Result<(), Stop> {
    let receiver = t.endpoint(leg.receiver).ok_or(Stop::TableMissing)?;
    let sender = t.endpoint(leg.sender).ok_or(Stop::TableMissing)?;
    let is_line_to_line = sender.kind == kind::LINE && receiver.kind == kind::LINE;
    leg.rule_ingress = 0;
    if receiver.policy == 0 || exempt::is_dhcp(leg, sender, receiver) {
        t.note(Note { what: note::INGRESS, ..Note::default() });
        return if is_line_to_line && !ALLOW_ALL { Err(Stop::LineToLine) } else { Ok(()) };
    }
    let policy = t.policy(receiver.policy).ok_or(Stop::TableMissing)?;
    let class = class_of(sender, receiver.tenant);
    let asked = Asked { class, lines_only: is_line_to_line, ..asked(leg, leg.key.src) };
    let Some(rule) = t.permits(policy.ingress, &asked) else {
        if ALLOW_ALL {
            return Ok(());
        }
        return Err(if is_line_to_line { Stop::LineToLine } else { Stop::IngressDenied });
    };
    leg.rule_ingress = rule;
    t.note(Note { what: note::INGRESS, id: rule, detail: receiver.policy, zero: 0 });
    Ok(())
}

/// What the two policies make of state: none at all, or a judgement each time.
pub fn statefulness<T: Tables>(t: &T, leg: &mut Leg) {
    let (Some(sender), Some(receiver)) = (t.endpoint(leg.sender), t.endpoint(leg.receiver)) else {
        return;
    };
    let (one, other) = (state_of(t, sender), state_of(t, receiver));
    leg.flags |= match (one, other) {
        (State::Stateless, State::Stateless | State::Unfiltered)
        | (State::Unfiltered, State::Stateless) => leg_flags::STATELESS,
        (State::Stateless, State::Stateful) | (State::Stateful, State::Stateless) => {
            leg_flags::EACH
        }
        _ => 0,
    };
}

/// An answer on a flow needs the rules of the ends that keep no state: also where the
/// flow was kept before its end became stateless.
#[inline(always)]
pub fn stateless_answer<T: Tables>(t: &T, answer: &mut Leg) -> Result<(), Stop> {
    if keeps_nothing(t, answer.sender) {
        egress(t, answer)?;
    }
    if keeps_nothing(t, answer.receiver) {
        ingress(t, answer)?;
    }
    Ok(())
}

#[inline(always)]
fn keeps_nothing<T: Tables>(t: &T, id: u32) -> bool {
    t.endpoint(id).is_some_and(|end| !matches!(state_of(t, end), State::Stateful))
}

#[derive(Clone, Copy)]
enum State {
    Unfiltered,
    Stateful,
    Stateless,
}

#[inline(always)]
fn state_of<T: Tables>(t: &T, endpoint: &Endpoint) -> State {
    let is_stateless = |policy: &Policy| policy.flags & flags::STATELESS != 0;
    match t.policy(endpoint.policy) {
        _ if endpoint.policy == 0 => State::Unfiltered,
        Some(policy) if is_stateless(policy) => State::Stateless,
        _ => State::Stateful,
    }
}
