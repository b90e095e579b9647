//! Limits: which meters are there, and what is agreed of them?

use dataplane_common::table::meter::{Pace, Terms};

use super::{Builder, Kind, put};
use crate::model::{Limit, Rate, RouterIx};

/// The meter of a limit, of which `whose` says whose it is; 0: there is none. Its name says
/// what is agreed as well, so that another limit is another meter.
pub(super) fn of(b: &mut Builder<'_>, whose: &str, limit: Option<Limit>) -> u32 {
    let Some(limit) = limit else { return 0 };
    let number = b.numbering.number(Kind::Meter, &format!("{whose}, {}", told(limit)));
    let bytes = limit.bits.map(|of| Pace::of_bits(of.per_second, of.burst)).unwrap_or_default();
    let packets = limit.packets.map(|of| Pace::of_packets(of.per_second, of.burst));
    let packets = packets.unwrap_or_default();
    let tick_ns = b.facts.tick_ns;
    let is_exact = !bytes.suits_ticks(tick_ns) || !packets.suits_ticks(tick_ns);
    // A number that rested has another generation, whoever has it then.
    let generation = b.numbering.generation(Kind::Meter, number, String::new());
    put(&mut b.image.meters, number, Terms { generation, is_exact, bytes, packets });
    number
}

/// The meter of a router; 0: it has none.
pub(super) fn of_router(b: &mut Builder<'_>, router: Option<RouterIx>) -> u32 {
    let Some(ix) = router else { return 0 };
    let whose = b.router_name(ix);
    of(b, &whose, b.site.routers[ix].limits)
}

fn told(limit: Limit) -> String {
    let rate = |of: Option<Rate>, unit: &str, burst: &str| {
        of.map(|of| format!("{} {unit}/s ({} {burst} at once)", of.per_second, of.burst))
    };
    let bits = rate(limit.bits, "bit", "bytes");
    let packets = rate(limit.packets, "packets", "packets");
    bits.into_iter().chain(packets).collect::<Vec<_>>().join(", ")
}
