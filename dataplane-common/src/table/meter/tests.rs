//! Is what passes in simulated time what was agreed, over the whole range?

use super::*;

const MS: u64 = SECOND / 1000;
/// Where the clock begins: it turns over soon.
const START: u64 = u64::MAX - 3 * SECOND;

/// A sender that always has more, and a clock that goes on by `step`: how many packets of this
/// amount pass in `time`, the first burst included.
fn passed(pace: Pace, amount: u64, step: u64, time: u64) -> u64 {
    let (mut due, mut count) = (START, 0);
    let mut at = 0;
    while at <= time {
        let now = START.wrapping_add(at);
        while pace.has_room(due, now, amount) {
            due = pace.next(due, now, amount);
            count += 1;
        }
        at += step;
    }
    count
}

/// As coarse a clock as loses nothing: a bucket is not empty when its time is seen to have come.
fn step(pace: Pace, amount: u64, time: u64) -> u64 {
    (time / 1000).min(pace.burst - pace.cost(amount)).max(1)
}

/// Within one percent and two packets.
fn about(found: u64, wanted: f64, what: &str) {
    let off = (found as f64 - wanted).abs();
    assert!(off <= wanted / 100.0 + 2.0, "{what}: {found} passed, not {wanted}");
}

const BITS: [u64; 9] = [
    1_000,
    9_600,
    1_000_000,
    33_333_333,
    1_000_000_000,
    9_999_999_999,
    100_000_000_000,
    399_999_999_999,
    400_000_000_000,
];
/// The smallest frame, the largest of Ethernet's, and one of 46 segments.
const SIZES: [u64; 3] = [60, 1514, 46 * 54 + 65_536];

#[test]
fn the_long_run_rate_is_the_one_agreed() {
    for bits in BITS {
        for bytes in SIZES {
            let burst = (bits / 160).max(131_072);
            let pace = Pace::of_bits(bits, burst);
            // So long that five thousand packets pass besides the burst.
            let packets = 5_000;
            let time =
                (u128::from(bytes * 8 * packets) * u128::from(SECOND) / u128::from(bits)) as u64;
            let wanted = (burst / bytes + packets) as f64;
            let found = passed(pace, bytes, step(pace, bytes, time), time);
            about(found, wanted, &format!("{bits} bit/s, {bytes} bytes"));
        }
    }
}

#[test]
fn the_long_run_rate_of_packets_is_the_one_agreed() {
    for rate in [1, 7, 1000, 1_000_000, 148_809_524, 999_999_999, 1_000_000_000] {
        for segments in [1, 46] {
            let burst = (rate / 20).max(64);
            let pace = Pace::of_packets(rate, burst);
            let loads = 5_000;
            let time =
                (u128::from(loads * segments) * u128::from(SECOND) / u128::from(rate)) as u64;
            let amount = segments * PARTS;
            let found = passed(pace, amount, step(pace, amount, time), time);
            let wanted = (burst / segments + loads) as f64;
            about(found, wanted, &format!("{rate} packets/s, {segments} segments"));
        }
    }
}

#[test]
fn a_price_is_exact_to_a_thousandth() {
    for bits in BITS {
        let pace = Pace::of_bits(bits, 1);
        for bytes in SIZES {
            let exact = bytes as f64 * 8.0 * SECOND as f64 / bits as f64;
            let off = (pace.cost(bytes) as f64 - exact).abs() / exact;
            assert!(off < 0.003, "{bits} bit/s, {bytes} bytes: {off}");
        }
    }
    assert_eq!(Pace::of_packets(1_000_000_000, 1).cost(PARTS), 256);
    assert_eq!(Pace::of_packets(1, 1).cost(PARTS), SECOND);
}

#[test]
fn as_much_as_the_burst_passes_at_once() {
    for bits in BITS {
        for bytes in SIZES {
            for burst in [131_072, 1_000_000, bits / 160] {
                if burst >= bytes {
                    let found = passed(Pace::of_bits(bits, burst), bytes, 1, 0);
                    let wanted = burst / bytes;
                    // The price is rounded down, by a step a packet at most.
                    let more = wanted / 300 + 1;
                    let what = format!("{bits} bit/s, {bytes} bytes of {burst}: {found}");
                    assert!((wanted..=wanted + more).contains(&found), "{what}");
                }
            }
        }
    }
    for rate in [1, 3, 7, 11, 1001, 1_000_000, 333_333_333, 1_000_000_000] {
        for burst in [1, 64, 1000] {
            assert_eq!(passed(Pace::of_packets(rate, burst), PARTS, 1, 0), burst);
        }
    }
}

#[test]
fn one_that_is_idle_lets_one_pass_however_large() {
    let pace = Pace::of_bits(1_000, 1);
    assert_eq!(passed(pace, 70_000, 1, 0), 1);
    // After 560 s it is paid for.
    assert_eq!(passed(pace, 70_000, SECOND, 559 * SECOND), 1);
    assert_eq!(passed(pace, 70_000, SECOND, 561 * SECOND), 2);
}

#[test]
fn ticks_are_fine_enough_for_a_burst_of_two() {
    for tick_ms in [1, 4, 10] {
        let tick = tick_ms * MS;
        let bits = 1_000_000_000;
        // What two ticks carry, and a packet.
        let of_ticks = |ticks| Pace::of_bits(bits, bits / 8 * tick_ms * ticks / 1000 + 1600);
        let pace = of_ticks(2);
        assert!(pace.suits_ticks(tick_ms * 1_000_000, 1514));
        let found = passed(pace, 1514, tick, 10 * SECOND);
        about(found, bits as f64 * 10.0 / 8.0 / 1514.0, "ticks");
        assert!(!of_ticks(1).suits_ticks(tick_ms * 1_000_000, 1514));
        // Of a burst of one packet each waits for the next tick.
        for (rate, suits) in [(100, false), (2, true)] {
            let pace = Pace::of_packets(rate, 1);
            assert_eq!(pace.suits_ticks(4_000_000, PARTS), suits, "{rate} packets/s");
            if suits {
                let found = passed(pace, PARTS, 4 * MS, 1000 * SECOND);
                about(found, 1000.0 * rate as f64, "one packet");
            }
        }
    }
    assert!(Pace::default().suits_ticks(10_000_000, 70_000));
}

#[test]
fn what_is_further_ahead_than_it_can_come_is_past() {
    let pace = Pace::of_bits(1_000_000, 131_072);
    let due = pace.next(START, START, 1514);
    assert!(!pace.has_room(START.wrapping_add(pace.burst), START, 1514));
    // Idle for half a turn and more, and for nearly all of one.
    for idle in [1 << 62, 1 << 63, (1 << 63) + (1 << 62)] {
        let now = due.wrapping_add(idle);
        assert!(pace.has_room(due, now, 1514));
        assert_eq!(pace.next(due, now, 1514), now.wrapping_add(pace.cost(1514)));
    }
    // Another clock, far behind this one.
    assert!(pace.has_room(due, due.wrapping_sub(1 << 60), 1514));
}

#[test]
fn without_limit_all_passes() {
    let none = Pace::default();
    for due in [0, 1, START, u64::MAX] {
        assert!(none.has_room(due, START, AMOUNT_MAX));
    }
}

#[test]
fn a_meter_goes_on_with_the_same_terms_and_begins_with_others() {
    let line = Meter::default();
    let terms = Terms {
        generation: 7,
        is_exact: false,
        bytes: Pace::of_bits(1_000, 131_072),
        packets: Pace::of_packets(1, 2),
    };
    let load = Load { packets: 1, bytes: 60 };
    const NOW: u64 = 1 << 60;
    let charge = |line: &Meter| {
        let next = terms.packets.next(line.packets.due.load(), NOW, PARTS);
        line.packets.due.store(next);
    };
    line.agree(terms);
    assert_eq!(line.terms(), terms);
    for room in [true, true, false] {
        assert_eq!(line.has_room(NOW, load), room);
        if room {
            charge(&line);
        }
    }
    line.agree(terms);
    assert!(!line.has_room(NOW, load));
    // Another owner with the same limit begins full.
    line.agree(Terms { generation: 8, ..terms });
    assert!(line.has_room(NOW, load));
    charge(&line);
    line.agree(Terms { generation: 8, packets: Pace::of_packets(2, 2), ..terms });
    assert!(line.has_room(NOW, load) && line.packets.due.load() == 0);
}
