//! Are interfaces taken and given back as they were?

use std::fs;

use anyhow::{Context, Result};
use dataplane_common::table::next_hop::output_kind;
use dataplane_user::load::{
    Attach, Barrier, Dataplane, Error, Hook, Hooked, Interface, LogLevel, Options, Place, Shared,
    Sizes, Warning, detach::detach, interface::Peer,
};
use sekisho_tests::Lab;

use crate::{FLOW_LINES, attach, options, port, site::Site, uplink};

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

fn other_options(lab: &Lab) -> Result<Options> {
    let place = Place { pin: lab.bpffs()?.join("other"), state: lab.folder().join("other") };
    Ok(Options {
        place,
        sizes: Sizes { flow_lines: FLOW_LINES, ..Sizes::default() },
        log: LogLevel::Off,
        barrier: Barrier::Any,
    })
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
