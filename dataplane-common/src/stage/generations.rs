//! Does a judgement still hold?
//!
//! A flow rests on both ends, their policies, and the zones in which it is judged. Each
//! has a generation of its own, which only its own changes raise, and an end's stamp is a
//! mixture of all of its own; each tenant has an epoch, which any change of the tenant's raises.

use crate::table::endpoint::{Endpoint, mix};
use crate::table::flow::{FlowCold, FlowLine, Judged, action};
use crate::tables::Tables;
use crate::work::Leg;

/// Was it last found to hold in the epoch that is now, between the sender's `tenant` and that of
/// whoever the action leads to? Nothing of the flow's cold part is asked.
#[inline(always)]
pub fn is_of_now<T: Tables>(t: &T, tenant: u32, judged: Judged) -> bool {
    if judged.action & action::DENIED != 0 {
        return false;
    }
    let Some(hop) = t.next_hop(judged.action & action::NEXT_HOP) else { return false };
    judged.epoch == sum(t, tenant, hop.tenant.into())
}

/// Does the judgement still hold? Equal epochs say so at once; equal stamps after
/// a few loads, and then the new epoch is noted.
pub fn is_current<T: Tables>(t: &T, line: &FlowLine, cold: &FlowCold, judged: Judged) -> bool {
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
    if judged.epoch == 0 {
        // It was never judged, or is being judged by another CPU.
        return false;
    }
    if judged.epoch == epoch || cfg!(feature = "control-generations") {
        return true;
    }
    // A denial may rest on what was missing, which has no generation: it is judged again.
    if judged.action & action::DENIED != 0 || cold.stamp.load() != stamp(first, second) {
        return false;
    }
    // The stamp may be of a judgement that another CPU has made since.
    t.is_tracing() || t.swap(&line.judged, judged.word(), Judged { epoch, ..judged }.word())
}

/// The epochs and generations that a routed leg's judgement rests on.
pub fn date<T: Tables>(t: &T, leg: &mut Leg) {
    let (Some(first), Some(second)) = (t.endpoint(leg.sender), t.endpoint(leg.receiver)) else {
        return;
    };
    leg.epoch = epoch(t, first, second);
    leg.stamp = stamp(first, second);
}

/// The sum of the epochs of both ends' tenants, also where they are one. Where anything ceases
/// to be, every tenant gets an epoch that none had before: so the sum of any two is then above
/// the sum of any two before, whoever has a number by now that was one of the flow's.
#[inline(always)]
fn epoch<T: Tables>(t: &T, first: &Endpoint, second: &Endpoint) -> u32 {
    sum(t, first.tenant, second.tenant)
}

#[inline(always)]
fn sum<T: Tables>(t: &T, first: u32, second: u32) -> u32 {
    let of = |id| t.tenant(id).map_or(0, |tenant| tenant.epoch);
    of(first).wrapping_add(of(second))
}

/// Of both ends: who opens is not who answers.
#[inline(always)]
const fn stamp(first: &Endpoint, second: &Endpoint) -> u64 {
    mix(mix(0, first.stamp), second.stamp)
}
