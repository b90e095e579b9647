//! Limits: which meters are there, and what is agreed of them?

use dataplane_common::table::meter::{PARTS, Pace, Terms};

use super::{Builder, Kind, put};
use crate::model::{Limit, Rate, RouterIx};

/// The largest packets that are sent: of 64 KiB, with the headers of their segments.
const LARGEST_BYTES: u64 = 70_000;
const LARGEST_SEGMENTS: u64 = 64;

/// The meter of a limit, of which `whose` says whose it is; 0: there is none. Its name says
/// what is agreed as well, so that another limit is another meter.
pub(super) fn of(b: &mut Builder<'_>, whose: &str, limit: Option<Limit>) -> u32 {
    let Some(limit) = limit else { return 0 };
    let number = b.numbering.number(Kind::Meter, &format!("{whose}, {}", told(limit)));
    let bytes = limit.bits.map(|of| Pace::of_bits(of.per_second, of.burst)).unwrap_or_default();
    let packets = limit.packets.map(|of| Pace::of_packets(of.per_second, of.burst));
    let packets = packets.unwrap_or_default();
    let tick_ns = b.facts.tick_ns;
    let suits_bytes = bytes.suits_ticks(tick_ns, LARGEST_BYTES);
    let is_exact = !suits_bytes || !packets.suits_ticks(tick_ns, LARGEST_SEGMENTS * PARTS);
    // A number that rested has another generation, whoever has it then.
    let generation = b.numbering.generation(Kind::Meter, number, "");
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dataplane_common::table::meter::Terms;

    use crate::check::check;
    use crate::compile::{Compiled, Facts, compile, ids::Kind};

    const DEMO: &str = include_str!("../../../examples/shared-nic.yaml");

    fn version(text: &str, before: &Compiled) -> Compiled {
        let site = check(text).site.expect("a site without an error");
        compile(&site, &Facts { tick_ns: 4_000_000, ..Facts::default() }, before)
    }

    fn meters(of: &Compiled) -> BTreeSet<(&str, u32, u32)> {
        let generation = |number: u32| of.image.meters[number as usize].generation;
        of.ids.all(Kind::Meter).map(|(name, at)| (name, at, generation(at))).collect()
    }

    #[test]
    fn a_limit_keeps_its_number_as_long_as_it_is_the_same() {
        let first = version(DEMO, &Compiled::default());
        let names: Vec<_> = meters(&first).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(
            names,
            [
                "port blue/db egress, 200000000 bit/s (1250000 bytes at once)",
                "port blue/db ingress, 50000 packets/s (2500 packets at once)",
                "router blue/r, 1000000000 bit/s (5000000 bytes at once)",
            ]
        );
        assert_eq!(first.image.meters.len(), 4);
        // Something else changes: they stay.
        let second = version(&DEMO.replace("lldp: true", "lldp: false"), &first);
        assert_eq!(meters(&second), meters(&first));
        // One changes: it has another number, and no flow is judged again.
        let third = version(&DEMO.replace("second: 50000}", "second: 50001}"), &second);
        let kept: Vec<_> = meters(&third).intersection(&meters(&first)).cloned().collect();
        assert_eq!(kept.len(), 2);
        assert_eq!(third.ids.all(Kind::Meter).map(|(_, number)| number).max(), Some(4));
        assert_eq!(third.image.tenants, second.image.tenants);
        // Back again, when the number has rested: it has another generation.
        let fourth = version(DEMO, &third);
        let back: Vec<_> = meters(&fourth).difference(&meters(&third)).cloned().collect();
        assert_eq!(back.len(), 1);
        assert!(!meters(&first).contains(&back[0]), "{back:?}");
    }

    #[test]
    fn packets_find_their_meters_where_they_look_anyway() {
        let of = version(DEMO, &Compiled::default());
        let number = |name: &str| {
            let mut all = of.ids.all(Kind::Meter);
            all.find(|(of, _)| of.starts_with(name)).map_or(0, |(_, number)| number)
        };
        let (egress, ingress) = (number("port blue/db egress"), number("port blue/db ingress"));
        let router = number("router blue/r");
        let stations = of.image.stations.values();
        let met: BTreeSet<_> = stations.map(|of| (of.meter, of.router_meter)).collect();
        assert_eq!(met, BTreeSet::from([(0, router), (egress, router)]));
        let hops = of.image.next_hops.iter().filter(|hop| hop.endpoint != 0);
        let met: BTreeSet<_> = hops.map(|hop| (hop.meter, hop.router_meter)).collect();
        assert_eq!(met, BTreeSet::from([(0, router), (ingress, router), (0, 0)]));
        assert_eq!(of.image.meters[0], Terms::default());
    }

    #[test]
    fn the_exact_clock_is_read_only_where_ticks_are_too_coarse() {
        let exact = |limit: &str| {
            let text = DEMO.replace("{packets_per_second: 50000}", limit);
            let of = version(&text, &Compiled::default());
            of.image.meters.iter().any(|terms| terms.is_exact)
        };
        assert!(!exact("{packets_per_second: 50000}"));
        // Eight milliseconds are two ticks, beside a packet of 64 segments.
        assert!(!exact("{packets_per_second: 50000, burst_packets: 464}"));
        assert!(exact("{packets_per_second: 50000, burst_packets: 463}"));
        assert!(exact("{packets_per_second: 100, burst_packets: 1}"));
        assert!(exact("{bits_per_second: 1000000, burst_bytes: 999, packets_per_second: 1}"));
    }
}
