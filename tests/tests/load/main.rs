//! Does the loader put into the kernel what it is given, and take all of it away again?

mod image;
mod site;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use dataplane_common::{
    Stop,
    addr::Mac,
    limits,
    table::{next_hop::output_kind, policy::Rule},
    tables::{Delivery, Tally, note},
};
use dataplane_user::load::{
    Attach, Dataplane, Error, Hook, Hooked, Interface, LogLevel, Options, Place, Role, Shared,
    StopCount, TestFrame, Warning,
    detach::{Done, detach},
    interface::Peer,
};
use sekisho_tests::{Lab, build::Frame, process::PATIENCE, traffic::ping};

use image::any_image;
use site::{Site, mac};

const FLOW_LINES: u32 = 1 << 12;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn the_kernel_takes_every_program() -> Result<()> {
    let lab = Lab::new("programs")?;
    let start = Instant::now();
    let dataplane = Dataplane::load(&options(&lab)?)?;
    eprintln!("loaded in {:?}", start.elapsed());
    for program in dataplane.programs()? {
        eprintln!("{}: {} instructions verified", program.name, program.verified);
        assert!(program.verified > 0);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_image_is_read_back_as_it_was_installed() -> Result<()> {
    let lab = Lab::new("image")?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    assert_eq!(dataplane.version(), 0);
    for (seed, size) in [(1, 0), (2, 1), (3, 40), (4, 300), (5, 3), (6, 1000)] {
        let image = any_image(seed, size);
        let installed = dataplane.install(&image)?;
        assert_eq!((installed.version, dataplane.version()), (seed, seed));
        assert_eq!(dataplane.read_back()?.normal(), image.clone().normal());
        // Nothing is left of the versions before.
        assert_eq!(entries(&options.place, "MEMBERS")?, image.members.len());
        assert_eq!(entries(&options.place, "ROUTES")?, image.routes.len());
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_image_that_does_not_fit_changes_nothing() -> Result<()> {
    let lab = Lab::new("refused")?;
    let options = options(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    let before = any_image(7, 20);
    dataplane.install(&before)?;

    let mut large = any_image(8, 20);
    large.rules = vec![Rule::default(); limits::RULES_MAX as usize + 1];
    let refusal = dataplane.install(&large).expect_err("too many rules").to_string();
    assert!(refusal.contains("rules: 65537 records, 65536 fit"), "{refusal}");

    // A table that is full of something else: what was written of the image before
    // the error is removed again.
    let junk = fill_stations(&options.place)?;
    let refused = dataplane.install(&any_image(9, 20));
    assert!(
        matches!(refused, Err(Error::Write { table: "STATIONS", version: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(dataplane.version(), 1);
    assert_eq!(dataplane.read_back()?.normal(), before.normal());
    assert_eq!(entries(&options.place, "ATTACHMENTS")?, 20);
    assert!(junk > 60_000);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn large_images_are_installed() -> Result<()> {
    let lab = Lab::new("large")?;
    let mut dataplane = Dataplane::load(&options(&lab)?)?;
    for size in [1000, 10_000] {
        for seed in 1..3 {
            let image = any_image(seed, size);
            let installed = dataplane.install(&image)?;
            eprintln!("{installed:?}");
            assert_eq!(dataplane.read_back()?.members.len(), size as usize);
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_later_process_goes_on_with_the_tables() -> Result<()> {
    let lab = Lab::new("restart")?;
    let options = options(&lab)?;
    let image = any_image(1, 50);
    let mut dataplane = Dataplane::load(&options)?;
    dataplane.install(&image)?;
    assert!(matches!(Dataplane::load(&options).err(), Some(Error::InUse { .. })));
    drop(dataplane);

    let other_size = Options { flow_lines: 2 * FLOW_LINES, ..options.clone() };
    let mut dataplane = Dataplane::load(&other_size)?;
    assert_eq!(dataplane.version(), 1);
    assert_eq!(dataplane.read_back()?.normal(), image.clone().normal());
    assert_eq!(dataplane.install(&image)?.version, 2);
    assert_eq!(entries(&options.place, "MEMBERS")?, image.members.len());
    drop(dataplane);
    assert_eq!(options.place.generations()?, [1]);

    // A process that ended in the middle of it has left a generation that nobody uses.
    fs::create_dir(options.place.programs(7))?;
    drop(Dataplane::load(&options)?);
    assert_eq!(options.place.generations()?, [8]);

    fs::remove_file(options.place.state_file())?;
    assert!(matches!(Dataplane::load(&options).err(), Some(Error::StateMissing { .. })));
    let outcome = detach(&options.place, false)?;
    assert_eq!((outcome.done.as_slice(), outcome.failed.len()), (&[Done::Removed][..], 0));
    assert!(!options.place.pin.exists() && !options.place.state.exists());
    assert_eq!(detach(&options.place, false)?.done, []);
    Dataplane::load(&options)?;
    Ok(())
}

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
    let swept = dataplane.sweep(|_| true)?;
    assert_eq!((swept.live, swept.expired), (flows.len(), 0));
    let carried: u64 = flows.iter().map(|flow| flow.packets).sum();
    assert_eq!(dataplane.total_of_tenant(1).packets, carried);
    dataplane.sweep(|_| true)?;
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
fn settings_are_changed_and_restored() -> Result<()> {
    let lab = Lab::new("settings")?;
    let site = Site::build(&lab)?;
    let options = options(&lab)?;
    let before = settings(&lab)?;
    let mut dataplane = Dataplane::load(&options)?;
    dataplane.install(&site.image(output_kind::NIC))?;
    site.attach(&lab, &mut dataplane, Hook::Auto)?;
    let during = settings(&lab)?;
    assert_ne!(during, before);
    let uplink = lab.dut().run(&["ethtool", "-k", "uplink"])?.ok()?;
    for off in ["rx-vlan-offload", "tx-checksum-ip-generic", "tx-vlan-offload"] {
        assert!(uplink.contains(&format!("{off}: off")), "{off}: {uplink}");
    }
    assert!(lab.dut().run(&["ip", "link", "show", "blue-a"])?.ok()?.contains("NOARP"));

    let done = lab.dut().in_ns(|| dataplane.release("uplink", false))??;
    assert_eq!(done.len(), 3, "{done:?}");
    drop(dataplane);
    let outcome = lab.dut().in_ns(|| detach(&options.place, true))??;
    assert_eq!(outcome.failed.len(), 0, "{:?}", outcome.failed);
    assert_eq!(settings(&lab)?, before);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn interfaces_are_attached_all_or_none() -> Result<()> {
    let lab = Lab::new("none")?;
    let site = Site::build(&lab)?;
    let mut dataplane = Dataplane::load(&options(&lab)?)?;
    dataplane.install(&site.image(output_kind::NIC))?;
    let before = settings(&lab)?;

    let missing = [port("blue-a"), port("blue-c")];
    let refusal = attach(&lab, &mut dataplane, &missing).expect_err("missing").to_string();
    assert_eq!(refusal, "port of blue-c: there is no interface blue-c; there is blue-a, blue-b");
    assert_eq!(settings(&lab)?, before);

    // Something else sits there already, which is found out when blue-a is attached.
    lab.dut()
        .run(&["ip", "link", "add", "lonely", "type", "veth", "peer", "name", "other"])?
        .ok()?;
    let xdp = Dataplane::load(&other_options(&lab)?)?;
    drop(xdp);
    let program = other_options(&lab)?.place.pin.join("programs-0/sekisho_xdp");
    let set = ["ip", "link", "set", "lonely", "xdpdrv", "pinned", &program.display().to_string()];
    lab.dut().run(&set)?.ok()?;
    let busy = [port("blue-a"), uplink("lonely", Hook::Auto)];
    let refusal = attach(&lab, &mut dataplane, &busy).expect_err("busy").to_string();
    assert!(
        refusal.contains("uplink lonely: interface lonely is in use by another XDP program"),
        "{refusal}"
    );
    assert_eq!(settings(&lab)?, before);
    assert_eq!(dataplane.attached().count(), 0);

    lab.dut().run(&["ip", "address", "add", "198.51.100.1/24", "dev", "blue-b"])?.ok()?;
    let refusal = attach(&lab, &mut dataplane, &[port("blue-b")]).expect_err("address").to_string();
    assert!(refusal.contains("interface blue-b has the address 198.51.100.1"), "{refusal}");
    lab.dut().run(&["ip", "address", "flush", "dev", "blue-b"])?.ok()?;
    lab.dut().run(&["ip", "link", "add", "br0", "type", "bridge"])?.ok()?;
    lab.dut().run(&["ip", "link", "set", "blue-b", "master", "br0"])?.ok()?;
    let refusal = attach(&lab, &mut dataplane, &[port("blue-b")]).expect_err("master").to_string();
    assert!(refusal.contains("belongs to br0"), "{refusal}");
    let twice = [port("blue-a"), port("blue-a")];
    assert!(matches!(attach(&lab, &mut dataplane, &twice), Err(Error::InterfaceTwice { .. })));
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn without_native_xdp_auto_takes_tcx_and_xdp_is_refused() -> Result<()> {
    let lab = Lab::new("fallback")?;
    let site = Site::build(&lab)?;
    let mut dataplane = Dataplane::load(&options(&lab)?)?;
    dataplane.install(&site.image(output_kind::NIC))?;
    // A bridge's driver has no XDP.
    lab.dut().run(&["ip", "link", "add", "plain", "type", "bridge"])?.ok()?;
    let refusal = attach(&lab, &mut dataplane, &[uplink("plain", Hook::Xdp)]).expect_err("none");
    assert!(matches!(refusal, Error::XdpRefused { .. }), "{refusal}");
    assert!(refusal.to_string().contains("its driver lacks it"), "{refusal}");
    let attached = attach(&lab, &mut dataplane, &[uplink("plain", Hook::Auto)])?;
    assert_eq!((attached[0].hooked, attached[0].output_kind), (Hooked::Tcx, output_kind::DEVICE));
    let warning = attached[0].warning.as_ref().context("a warning")?;
    assert!(matches!(warning, Warning::FellBack { .. }));
    assert!(warning.to_string().contains("tcx is used"), "{warning}");
    let other = attach(&lab, &mut dataplane, &[uplink("plain", Hook::Xdp)]);
    assert!(matches!(other, Err(Error::XdpRefused { .. })), "{other:?}");
    let still = attach(&lab, &mut dataplane, &[uplink("plain", Hook::Tcx)])?;
    assert!(still[0].hooked == Hooked::Tcx && still[0].interface.is_up, "{still:?}");

    // An attached interface changes its hook, and changes it back if another one cannot be
    // attached.
    let at_xdp = Attach { hook: Hook::Xdp, ..port("blue-a") };
    let attached = attach(&lab, &mut dataplane, std::slice::from_ref(&at_xdp))?;
    assert!(matches!(attached[0].warning, Some(Warning::XdpOnPort { .. })));
    let refused = attach(&lab, &mut dataplane, &[port("blue-a"), uplink("plain", Hook::Xdp)]);
    assert!(matches!(refused, Err(Error::XdpRefused { .. })), "{refused:?}");
    let still = attach(&lab, &mut dataplane, &[at_xdp])?;
    assert_eq!((still[0].hooked, still[0].warning.is_none()), (Hooked::Xdp, true));
    let attached = attach(&lab, &mut dataplane, &[port("blue-a")])?;
    assert_eq!(attached[0].hooked, Hooked::Tcx);
    assert_eq!(attach(&lab, &mut dataplane, &[port("blue-a")])?[0].hooked, Hooked::Tcx);

    // Another interface of the same name is another interface.
    lab.dut().run(&["ip", "link", "del", "plain"])?.ok()?;
    lab.dut().run(&["ip", "link", "add", "plain", "type", "bridge"])?.ok()?;
    let again = attach(&lab, &mut dataplane, &[uplink("plain", Hook::Auto)])?;
    assert!(again[0].warning.is_some());
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn interfaces_are_told_apart() -> Result<()> {
    let lab = Lab::new("kinds")?;
    let host = lab.host("blue-a").build()?;
    lab.dut().run(&["ip", "link", "add", "here", "type", "veth", "peer", "name", "there"])?.ok()?;
    lab.dut().run(&["ip", "link", "add", "dot.10", "type", "bridge"])?.ok()?;
    let _tap = lab.tap("tap-a")?;
    let find = |name: &'static str| lab.dut().in_ns(move || Interface::find(name, "a test"));
    let port = find("blue-a")??;
    assert_eq!((port.kind.as_str(), port.peer, port.is_up), ("veth", Peer::Elsewhere, true));
    assert_ne!(port.mac.0, [0; 6]);
    assert_eq!(host.dut_interface(), port.name);
    assert_eq!(find("here")??.peer, Peer::Here);
    assert_eq!(find("tap-a")??.kind, "tun");
    assert_eq!(find("dot.10")??.kind, "bridge");
    assert!(matches!(find("lo")??.check("x", &Shared::default()), Err(Error::Loopback { .. })));
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
            dataplane.sweep(|_| true)?;
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
fn expired_flows_are_swept_from_the_kernels_table() -> Result<()> {
    const FLOWS: u32 = 40_000;
    let lab = Lab::new("sweep")?;
    let site = Site::build(&lab)?;
    let options = Options { flow_lines: 1 << 18, ..options(&lab)? };
    let mut dataplane = Dataplane::load(&options)?;
    let mut image = site.image(output_kind::NIC);
    image.tenants[1].flows_max = 1 << 18;
    dataplane.install(&image)?;
    let empty = Instant::now();
    dataplane.sweep(|_| true)?;
    eprintln!("{} lines: {:?}", options.flow_lines, empty.elapsed());

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
    let swept = dataplane.sweep(|_| true)?;
    eprintln!("{} lines, {} live: {:?}", options.flow_lines, swept.live, start.elapsed());
    assert_eq!((swept.live as u32, swept.expired), (2 * FLOWS, 0));
    let total = dataplane.total_of_tenant(1);
    assert_eq!(
        (total.packets, total.bytes),
        (u64::from(FLOWS), u64::from(FLOWS) * frame.len() as u64)
    );

    // As if every other flow had been silent for a minute.
    let old = age(&options.place, &dataplane)?;
    let start = Instant::now();
    let swept = dataplane.sweep(|_| true)?;
    eprintln!("{swept:?}: {:?}", start.elapsed());
    assert_eq!((swept.expired, swept.emptied), (old, old));
    assert_eq!(dataplane.flows().count(), swept.live);
    assert_eq!(flows_of_tenant(&options.place)?, swept.live as u64);
    assert_eq!(dataplane.total_of_tenant(1), total);
    Ok(())
}

fn port(interface: &str) -> Attach {
    let wanted_by = format!("port of {interface}");
    Attach {
        interface: interface.into(),
        wanted_by,
        role: Role::Port,
        hook: Hook::Auto,
        shared: Shared::default(),
    }
}

fn uplink(interface: &str, hook: Hook) -> Attach {
    let wanted_by = format!("uplink {interface}");
    Attach {
        interface: interface.into(),
        wanted_by,
        role: Role::Uplink,
        hook,
        shared: Shared::default(),
    }
}

fn attach(
    lab: &Lab,
    dataplane: &mut Dataplane,
    wanted: &[Attach],
) -> Result<Vec<dataplane_user::load::Attached>, Error> {
    lab.dut().in_ns(|| dataplane.attach(wanted)).expect("the namespace is there")
}

fn options(lab: &Lab) -> Result<Options> {
    let place = Place { pin: lab.bpffs()?.join("own"), state: lab.folder().join("state") };
    Ok(Options { place, flow_lines: FLOW_LINES, log: LogLevel::Off })
}

fn other_options(lab: &Lab) -> Result<Options> {
    let place = Place { pin: lab.bpffs()?.join("other"), state: lab.folder().join("other") };
    Ok(Options { place, flow_lines: FLOW_LINES, log: LogLevel::Off })
}

fn udp(src_mac: Mac, dst_mac: Mac, src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(src_mac.0, dst_mac.0)
        .ipv4(src, dst, 64)
        .udp(5000, 6000);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"hello").expect("a vector takes all");
    frame
}

/// What a user would see of the device under test's interfaces, but for what counts.
fn settings(lab: &Lab) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for interface in ["blue-a", "blue-b", "uplink"] {
        let link = lab.dut().run(&["ip", "-d", "link", "show", interface])?.ok()?;
        // The kernel may show the XDP program, and the state of the link, for a moment more.
        all.push(link.replace("state UP ", ""));
        all.push(lab.dut().run(&["ethtool", "-k", interface])?.ok()?);
        let key = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
        all.push(lab.dut().in_ns(|| fs::read_to_string(key))??);
    }
    Ok(all)
}

/// How many entries a pinned map has, whoever's they are.
fn entries(place: &Place, name: &str) -> Result<usize> {
    use aya::maps::{HashMap, LpmTrie, Map, MapData};
    let map = Map::from_map_data(MapData::from_pin(place.map(name))?)?;
    Ok(match (name, map) {
        ("MEMBERS", map) => {
            HashMap::<_, [u8; 16], u32>::try_from(map)?.keys().filter_map(Result::ok).count()
        }
        ("ATTACHMENTS", map) => {
            HashMap::<_, [u8; 16], [u8; 24]>::try_from(map)?.keys().filter_map(Result::ok).count()
        }
        (_, map) => {
            LpmTrie::<_, [u8; 28], [u8; 80]>::try_from(map)?.keys().filter_map(Result::ok).count()
        }
    })
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

/// Fills the table of stations with what is no version's.
fn fill_stations(place: &Place) -> Result<usize> {
    use aya::maps::{HashMap, Map, MapData};
    let map = Map::from_map_data(MapData::from_pin(place.map("STATIONS"))?)?;
    let mut map = HashMap::<_, [u8; 24], [u8; 8]>::try_from(map)?;
    for number in 0..2 * limits::STATIONS_MAX {
        let mut key = [0xff; 24];
        key[..4].copy_from_slice(&number.to_ne_bytes());
        if map.insert(key, [0; 8], 0).is_err() {
            return Ok(number as usize);
        }
    }
    anyhow::bail!("the table is never full")
}
