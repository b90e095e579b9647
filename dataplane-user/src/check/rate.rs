//! How much may a port or a router carry?

use super::Context;
use crate::config::file;
use crate::config::{At, Count, Field, Placed};
use crate::model::{Limit, Limits, Rate};

/// A burst that is not given is what so much of a second carries, …
const BURST_PART: u64 = 20;
/// … but these bytes or packets at least.
const BURST_BYTES_MIN: u64 = 131_072;
const BURST_PACKETS_MIN: u64 = 64;
/// The largest packet that a virtual machine hands over at once.
const LARGE_BYTES: u64 = 65_536;
/// What a burst may take at its rate, seconds.
const BURST_SECONDS_MAX: u64 = 24 * 60 * 60;

/// The limits of a port; `None` if an error has been reported.
pub(super) fn of_port(cx: &mut Context<'_>, limits: &Field<file::PortLimits>) -> Option<Limits> {
    let of = match limits {
        Field::Absent => return Some(Limits::default()),
        Field::Broken => return None,
        Field::Given(of) => of,
    };
    if of.egress.is_absent() && of.ingress.is_absent() {
        let help = "give egress, ingress or both, or leave `limits` out";
        cx.error(of.node(), "neither direction has a limit", help);
    }
    let (egress, ingress) = (limit(cx, &of.egress), limit(cx, &of.ingress));
    Some(Limits { egress: egress?, ingress: ingress? })
}

/// A limit, if there is one; `None` if an error has been reported.
pub(super) fn limit(cx: &mut Context<'_>, limit: &Field<file::Limit>) -> Option<Option<Limit>> {
    let of = match limit {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(of) => of,
    };
    if of.bits_per_second.is_absent() && of.packets_per_second.is_absent() {
        let help = "give bits_per_second, packets_per_second or both";
        cx.error(of.node(), "a limit without a rate", help);
        return None;
    }
    let bits =
        Unit { rate: "bits_per_second", burst: "burst_bytes", per_rate: 8, min: BURST_BYTES_MIN };
    let packets = Unit {
        rate: "packets_per_second",
        burst: "burst_packets",
        per_rate: 1,
        min: BURST_PACKETS_MIN,
    };
    if !of.bits_per_second.is_absent()
        && let Some(at) = of.burst_bytes.given().filter(|at| at.value.0 < LARGE_BYTES)
    {
        let message = format!("{} is less than one large packet of TCP has", at.value.0);
        let help = "TCP gets little of the rate with less than 65536, or what a round trip carries";
        cx.out.warning(at.node, message).help(help);
    }
    let bits = bits.rate(cx, &of.bits_per_second, &of.burst_bytes);
    let packets = packets.rate(cx, &of.packets_per_second, &of.burst_packets);
    Some(Some(Limit { bits: bits?, packets: packets? }))
}

/// What is counted.
struct Unit {
    rate: &'static str,
    burst: &'static str,
    /// How many of the rate's unit are one of the burst's.
    per_rate: u64,
    min: u64,
}

impl Unit {
    fn rate<const A: u64, const B: u64, const C: u64, const D: u64>(
        &self,
        cx: &mut Context<'_>,
        rate: &Field<At<Count<A, B>>>,
        burst: &Field<At<Count<C, D>>>,
    ) -> Option<Option<Rate>> {
        let Some(per_second) = rate.optional()?.map(|count| count.0) else {
            return self.no_rate(cx, burst);
        };
        let default = (per_second / BURST_PART / self.per_rate).max(self.min);
        let max = per_second.saturating_mul(BURST_SECONDS_MAX) / self.per_rate;
        if let Some(at) = burst.given()
            && at.value.0 > max
        {
            let message = format!("{} takes more than a day at this rate", at.value.0);
            cx.error(at.node, message, &format!("{} is {max} at most here", self.burst));
            return None;
        }
        let burst = burst.optional()?.map_or(default, |count| count.0);
        Some(Some(Rate { per_second, burst }))
    }

    fn no_rate<T: Clone>(
        &self,
        cx: &mut Context<'_>,
        burst: &Field<At<T>>,
    ) -> Option<Option<Rate>> {
        let Some(at) = burst.given() else { return burst.optional().map(|_| None) };
        let message = format!("{} without {}", self.burst, self.rate);
        cx.error(at.node, message, &format!("give {} too, or leave it out", self.rate));
        None
    }
}
