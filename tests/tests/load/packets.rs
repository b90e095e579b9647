//! Do packets pass where and as the tables say, whatever is exchanged meanwhile?

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dataplane_common::{
    Stop,
    addr::Mac,
    table::{flow::status, next_hop::output_kind},
    tables::{Delivery, Tally, note},
};
use dataplane_user::{
    daemon::Sweeping,
    load::{
        Dataplane, Error, Hook, Hooked, Options, Place, Sizes, StopCount, TestFrame,
        detach::{Done, detach},
    },
};
use sekisho_tests::{Lab, build::Frame, process::PATIENCE, traffic::ping};

use crate::{
    options,
    site::{Site, mac},
};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn packets_go_from_port_to_port_and_through_a_nic() -> Result<()> {
    let lab = Lab::new("path")?;
    let site = Site::build(&lab)?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;

    dataplane.install(&site.image(output_kind::NIC))?;
    let attached = site.attach(&lab, &mut dataplane, Hook::Auto)?;
    let hooks: Vec<_> = attached.iter().map(|at| (at.hooked, at.output_kind)).collect();
    let port = (Hooked::Tcx, output_kind::PEER);
    assert_eq!(hooks, [port, port, (Hooked::Xdp, output_kind::NIC)]);
    assert!(attached.iter().all(|at| at.warning.is_none()), "{attached:?}");

    site.works()?;
    // Whatever became of the process that attached them.
    drop(dataplane);
    site.works()?;
    let mut dataplane = Dataplane::load(&options)?;
    assert_eq!(dataplane.attached().count(), 3);
    site.works()?;
    assert_eq!(site.attach(&lab, &mut dataplane, Hook::Auto)?.len(), 3);

    let counters = dataplane.counters(4)?;
    assert!(counters[1].received.packets >= 9 && counters[3].sent.packets >= 9, "{counters:?}");
    assert_eq!(counters[0], Default::default());
    let flows: Vec<_> = dataplane.flows().collect();
    assert!(flows.len() >= 4 && flows.len() % 2 == 0, "{flows:?}");
    assert!(flows.iter().all(|flow| flow.tenant == 1 && flow.packets > 0), "{flows:?}");
    let swept = dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
    assert_eq!((swept.live, swept.expired), (flows.len(), 0));
    let carried: u64 = flows.iter().map(|flow| flow.packets).sum();
    assert_eq!(dataplane.total_of_tenant(1).packets, carried);
    dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
    assert_eq!(dataplane.total_of_tenant(1).packets, carried);

    let spoofed = udp(mac(&site.blue_b), mac(&site.blue_a), [10, 0, 1, 99], [10, 0, 1, 11]);
    site.blue_b.send_frame(&spoofed)?;
    let stops = dataplane.stops(2)?;
    let expected = StopCount { tenant: 1, stop: Stop::SpoofedAddress, packets: 1 };
    assert!(stops.contains(&expected), "{stops:?}");

    // Everything goes as it came.
    drop(dataplane);
    let outcome = lab.dut().in_ns(|| detach(&options.place, false))??;
    for done in &outcome.done {
        eprintln!("{done}");
    }
    assert_eq!(outcome.failed.len(), 0, "{:?}", outcome.failed);
    let down = outcome.done.iter().filter(|done| matches!(done, Done::SetDown { .. })).count();
    assert_eq!(down, 2);
    assert!(!options.place.pin.exists());
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_nic_works_at_tcx_too() -> Result<()> {
    let lab = Lab::new("tcx")?;
    let site = Site::build(&lab)?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    let attached = site.attach(&lab, &mut dataplane, Hook::Tcx)?;
    assert_eq!((attached[2].hooked, attached[2].output_kind), (Hooked::Tcx, output_kind::DEVICE));
    // Attached, and nothing installed: nothing passes, and everything is counted.
    assert_eq!(ping(&site.blue_a, site.blue_b.v4()?, 1, &[])?.received, 0);
    assert!(dataplane.stops(1)?.iter().all(|count| count.stop == Stop::NoAttachment));
    dataplane.install(&site.image(output_kind::DEVICE))?;
    site.works()?;

    drop(dataplane);
    lab.dut().run(&["ip", "link", "del", "blue-b"])?.ok()?;
    let outcome = lab.dut().in_ns(|| detach(&options.place, true))??;
    assert_eq!(outcome.failed.len(), 0, "{:?}", outcome.failed);
    assert!(outcome.done.contains(&Done::Gone { interface: "blue-b".into() }), "{outcome:?}");
    assert!(!outcome.done.iter().any(|done| matches!(done, Done::SetDown { .. })));
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn frames_are_tried_and_traced() -> Result<()> {
    let lab = Lab::new("try")?;
    let site = Site::build(&lab)?;
    let mut dataplane = Dataplane::load(&options(&lab)?)?;
    let frame = udp(mac(&site.blue_a), mac(&site.blue_b), [10, 0, 1, 11], [10, 0, 1, 12]);
    let at = |index, frame| TestFrame::new(Hooked::Tcx, index, frame);
    let [blue_a, _, uplink] = site.indexes;

    lab.dut().in_ns(|| -> Result<()> {
        // Nothing is installed: nothing passes.
        assert_eq!(dataplane.test_run(at(blue_a, &frame))?.code, TC_ACT_SHOT);
        assert_eq!(dataplane.stops(1)?[0].stop, Stop::NoAttachment);
        dataplane.install(&site.image(output_kind::NIC))?;

        let start = Instant::now();
        let trace = dataplane.trace_run(at(blue_a, &frame))?;
        eprintln!("first trace after {:?}", start.elapsed());
        assert_eq!(trace.verdict.code, TC_ACT_REDIRECT);
        let told: Vec<_> = trace.notes.iter().map(|note| note.what).collect();
        assert_eq!(told.first(), Some(&note::ATTACHED), "{told:?}");
        assert_eq!(told.last(), Some(&note::EMIT), "{told:?}");
        // The twin writes nothing.
        assert_eq!(dataplane.flows().count(), 0);
        assert_eq!(dataplane.counters(2)?[1].received.packets, 0);

        let verdict = dataplane.test_run(at(blue_a, &frame))?;
        assert_eq!((verdict.code, verdict.frame.as_slice()), (TC_ACT_REDIRECT, frame.as_slice()));
        assert_eq!(dataplane.flows().count(), 2);
        assert_eq!(dataplane.counters(2)?[1].received.packets, 1);
        let again = dataplane.trace_run(at(blue_a, &frame))?;
        assert!(again.notes.iter().any(|note| note.what == note::FLOW), "{again:?}");

        let repeat = TestFrame { repeat: 100_000, ..at(blue_a, &frame) };
        eprintln!("established at tcx: {:?}", dataplane.test_run(repeat)?.duration);

        let out = udp(mac(&site.internet), site.nic_mac, [192, 0, 2, 9], [10, 0, 1, 11]);
        let verdict = dataplane.test_run(TestFrame::new(Hooked::Xdp, uplink, &out))?;
        assert_eq!((verdict.code, verdict.metadata.len()), (XDP_PASS, size_of::<Delivery>()));
        assert_eq!(&verdict.frame[..6], &mac(&site.blue_a).0);
        let verdict = dataplane.test_run(TestFrame::new(Hooked::Xdp, 1, &out))?;
        assert_eq!(verdict.code, XDP_DROP);
        let trace = dataplane.trace_run(TestFrame::new(Hooked::Xdp, uplink, &out))?;
        assert_eq!(trace.notes.last().map(|note| note.what), Some(note::EMIT));

        // No NIC is attached, so none can be sent to: what was counted as answered is not.
        let asks = Frame::new(mac(&site.internet).0, [0xff; 6]).arp(
            1,
            (mac(&site.internet).0, "192.0.2.9"),
            ([0; 6], "192.0.2.1"),
        );
        let asks = asks.build();
        let verdict = dataplane.test_run(TestFrame::new(Hooked::Xdp, uplink, &asks))?;
        assert_eq!(verdict.code, XDP_DROP);
        let absent = StopCount { tenant: 0, stop: Stop::OutputAbsent, packets: 1 };
        assert!(dataplane.stops(1)?.contains(&absent));
        assert_eq!(dataplane.counters(4)?[3].answered, Tally::default());
        let short = dataplane.test_run(at(blue_a, &frame[..10]));
        assert!(matches!(short, Err(Error::FrameShort { bytes: 10, .. })));
        Ok(())
    })?
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn no_packet_is_lost_while_images_and_programs_are_replaced() -> Result<()> {
    let lab = Lab::new("hitless")?;
    let site = Site::build(&lab)?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    let mut image = site.image(output_kind::NIC);
    dataplane.install(&image)?;
    site.attach(&lab, &mut dataplane, Hook::Auto)?;
    site.works()?;

    let to = site.internet.v4()?.to_string();
    let pings = site.blue_a.spawn(&["ping", "-q", "-n", "-i", "0.002", "-c", "2000", &to])?;
    let near = site.blue_b.v4()?.to_string();
    let near = site.blue_a.spawn(&["ping", "-q", "-n", "-i", "0.002", "-c", "2000", &near])?;
    let start = Instant::now();
    let (mut installs, mut restarts) = (0, 0);
    while start.elapsed() < Duration::from_secs(4) {
        for _ in 0..10 {
            // Every other image has every flow judged again.
            image.tenants[1].epoch += 1;
            image.endpoints[1].generation += installs % 2;
            dataplane.install(&image)?;
            dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
            installs += 1;
        }
        drop(dataplane);
        dataplane = Dataplane::load(&options)?;
        restarts += 1;
    }
    eprintln!("{installs} installs and {restarts} restarts");
    assert!(installs >= 10 && restarts >= 1);
    for pings in [pings, near] {
        let summary = pings.wait(2 * PATIENCE)?.ok()?;
        assert!(summary.contains("2000 received, 0% packet loss"), "{summary}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_a_change_has_made_anew_is_out_of_the_way_of_the_next_change() -> Result<()> {
    let lab = Lab::new("anew")?;
    let site = Site::build(&lab)?;
    let mut dataplane = Dataplane::load(&options(&lab)?)?;
    let image = site.image(output_kind::NIC);
    dataplane.install(&image)?;
    let sweeper = dataplane.sweeper();
    let line = sweeper.flow_table().lines.first().context("no lines")?;
    let sweeping = Sweeping::new(sweeper.clone(), image.tenants[1].flows_max);

    // Far from crowded, it is the next pass's.
    line.status.store(status::DEAD);
    sweeping.make_room()?;
    assert_eq!(line.status.load() & status::LIFE, status::DEAD);
    sweeping.settle(&image.tenants);
    sweeping.make_room()?;
    assert_eq!(line.status.load() & status::LIFE, status::EMPTY);
    line.status.store(status::DEAD);
    sweeping.make_room()?;
    assert_eq!(line.status.load() & status::LIFE, status::DEAD, "each change is one pass");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn expired_flows_are_swept_from_the_kernels_table() -> Result<()> {
    const FLOWS: u32 = 40_000;
    let lab = Lab::new("sweep")?;
    let site = Site::build(&lab)?;
    let options =
        Options { sizes: Sizes { flow_lines: 1 << 18, ..Sizes::default() }, ..options(&lab)? };
    let mut dataplane = Dataplane::load(&options)?;
    let mut image = site.image(output_kind::NIC);
    image.tenants[1].flows_max = 1 << 18;
    dataplane.install(&image)?;
    let empty = Instant::now();
    dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
    eprintln!("{} lines: {:?}", options.sizes.flow_lines, empty.elapsed());

    let mut frame = udp(mac(&site.blue_a), mac(&site.blue_b), [10, 0, 1, 11], [10, 0, 1, 12]);
    lab.dut().in_ns(|| -> Result<()> {
        for port in 0..FLOWS {
            // The source port; an IPv4 datagram without checksum needs none.
            frame[34..36].copy_from_slice(&(port as u16).to_be_bytes());
            frame[36..38].copy_from_slice(&(6000 + (port >> 16) as u16).to_be_bytes());
            frame[40..42].fill(0);
            let verdict =
                dataplane.test_run(TestFrame::new(Hooked::Tcx, site.indexes[0], &frame))?;
            assert_eq!(verdict.code, TC_ACT_REDIRECT, "flow {port}");
        }
        Ok(())
    })??;
    assert_eq!(dataplane.flows().count() as u32, 2 * FLOWS);
    assert_eq!(flows_of_tenant(&options.place)?, u64::from(2 * FLOWS));

    let start = Instant::now();
    let swept = dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
    eprintln!("{} lines, {} live: {:?}", options.sizes.flow_lines, swept.live, start.elapsed());
    assert_eq!((swept.live as u32, swept.expired), (2 * FLOWS, 0));
    let total = dataplane.total_of_tenant(1);
    assert_eq!(
        (total.packets, total.bytes),
        (u64::from(FLOWS), u64::from(FLOWS) * frame.len() as u64)
    );

    // As if every other flow had been silent for a minute.
    let old = age(&options.place, &dataplane)?;
    let start = Instant::now();
    let swept = dataplane.sweeper().sweep(|_| Some(u32::MAX))?;
    eprintln!("{swept:?}: {:?}", start.elapsed());
    assert_eq!((swept.expired, swept.emptied), (old, old));
    assert_eq!(dataplane.flows().count(), swept.live);
    assert_eq!(flows_of_tenant(&options.place)?, swept.live as u64);
    assert_eq!(dataplane.total_of_tenant(1), total);
    Ok(())
}

fn udp(src_mac: Mac, dst_mac: Mac, src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(src_mac.0, dst_mac.0)
        .ipv4(src, dst, 64)
        .udp(5000, 6000);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"hello").expect("a vector takes all");
    frame
}

/// Half-flows that tenant 1 has, as its quota is reckoned.
fn flows_of_tenant(place: &Place) -> Result<u64> {
    use aya::maps::{Array, Map, MapData};
    let map = Map::from_map_data(MapData::from_pin(place.map("FLOWS_OF_TENANT"))?)?;
    Ok(Array::<_, u64>::try_from(map)?.get(&1, 0)?)
}

/// Lets every other flow have been silent for a minute; answers how many halves those have.
fn age(place: &Place, dataplane: &Dataplane) -> Result<usize> {
    use aya::maps::{Array, Map, MapData};
    const SEEN_TICKS: std::ops::Range<usize> = 44..48;
    let map = Map::from_map_data(MapData::from_pin(place.map("FLOWS"))?)?;
    let mut lines = Array::<_, [u8; 64]>::try_from(map)?;
    let openers = dataplane.flows().filter(|flow| !flow.is_reply).step_by(2);
    let old: Vec<_> = openers.flat_map(|flow| [flow.index, flow.partner]).collect();
    for &index in &old {
        let mut line = lines.get(&index, 0)?;
        let seen = u32::from_ne_bytes(line[SEEN_TICKS].try_into()?);
        line[SEEN_TICKS].copy_from_slice(&seen.wrapping_sub(60_000).to_ne_bytes());
        lines.set(index, line, 0)?;
    }
    Ok(old.len())
}
