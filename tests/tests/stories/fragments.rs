//! Do datagrams that come in pieces arrive, and nothing that is only a piece of one?

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use dataplane_user::view::{AttachmentCounters, Trace};
use sekisho_tests::{
    Capture, Host, Lab, Sekisho, Tally,
    build::{Frame, ip},
    lab::{Tap, VnetHeader, Wire},
    process::{PATIENCE, SILENCE},
    traffic::{Client, bound, ping, udp_probe, udp_send},
};

use crate::town::{
    A, A_ADDRESSES, B, B_ADDRESSES, C, C_ADDRESSES, ROUTER, Site, Town, contains, mac, mac_of,
};

/// Hosts of every kind: ports at tcx, one with a VLAN, one with that VLAN of a service VLAN and
/// one at a tap, an uplink and an access
/// at XDP.
const EVERYWHERE: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: inside, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
      - {name: public, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd00:1::/64"}]}
    routers:
      - name: r
        mac: 02:00:00:00:00:01
        interfaces: [{network: inside}, {network: public}]
        routes: [{destination: 0.0.0.0/0, uplink: outside}, {destination: "::/0", uplink: outside}]
    ports:
      - {name: a, network: inside, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open]}
      - {name: c, network: inside, interface: blue-c, vlan: 7, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.30, "fd00::30"], security_groups: [open]}
      - {name: d, network: inside, interface: blue-d, vlan: 7, service_vlan: 5, mac: 02:00:00:00:00:0e, fixed_ips: [10.0.0.50, "fd00::50"], security_groups: [open]}
      - {name: vm, network: inside, interface: tap-1, mac: 02:00:00:00:00:0d, fixed_ips: [10.0.0.40, "fd00::40"], security_groups: [open]}
      - {name: b, network: public, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.1.0.10, "fd00:1::10"], security_groups: [open]}
    security_groups:
      - name: open
        rules:
          - {direction: ingress, protocol: udp, port_range_min: 7000, port_range_max: 7009}
          - {direction: ingress, ethertype: IPv6, protocol: udp, port_range_min: 7000, port_range_max: 7009}
          - {direction: ingress, protocol: icmp, icmp_type: 8}
          - {direction: ingress, ethertype: IPv6, protocol: ipv6-icmp, icmp_type: 128}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
    lines:
      - {name: robot, number: "+819000000001", access: mobile, router: r, security_groups: [open]}
      - {name: direct, number: "+819000000002", access: mobile, uplink: outside}
accesses:
  - {name: mobile, interface: nic-m, hook: xdp, addresses: [10.5.0.254/24, "fd00:5::fe/64"], next_hop: {address: 10.5.0.1}, pools: [100.64.0.0/16, "fd00:64::/32"]}
entitlements:
  - {tenant: blue, access: mobile, numbers: ["+819000000001..+819000000002"]}
sessions:
  - {access: mobile, number: "+819000000001", addresses: [100.64.0.1, "fd00:64::/64"]}
  - {access: mobile, number: "+819000000002", addresses: [100.64.1.1, "fd00:64:1::/64"]}
uplinks:
  - name: outside
    interface: nic-o
    hook: xdp
    addresses: [10.3.0.254/24, "fd00:3::fe/64"]
    next_hops: [{address: 10.3.0.1}, {address: "fd00:3::1"}]
    exports:
      - {prefix: 10.0.0.0/24, tenant: blue, router: r}
      - {prefix: "fd00::/64", tenant: blue, router: r}
      - {prefix: 10.1.0.0/24, tenant: blue, router: r}
      - {prefix: "fd00:1::/64", tenant: blue, router: r}
      - {prefix: 100.64.0.0/16, access: mobile}
      - {prefix: "fd00:64::/32", access: mobile}
"#;

const VM: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];
const D: [u8; 6] = [2, 0, 0, 0, 0, 0x0e];
const D_ADDRESSES: [&str; 2] = ["10.0.0.50", "fd00::50"];
const OUTSIDE: [&str; 2] = ["10.3.0.1", "fd00:3::1"];
/// A line that is attached to the router, and one that is attached to the uplink.
const LINE: [&str; 2] = ["100.64.0.1", "fd00:64::1"];
const DIRECT: [&str; 2] = ["100.64.1.1", "fd00:64:1::1"];
const VM_ADDRESSES: [&str; 2] = ["10.0.0.40", "fd00::40"];

/// How a frame goes in: its name, by whom, its MACs, and from and to whom it is.
type Way<'w> = (&'w str, &'w dyn Fn(&[u8]) -> Result<()>, Frame, &'w str, &'w Host, &'w str);

/// The hosts of that site.
struct Everywhere {
    a: Host,
    b: Host,
    c: Host,
    d: Host,
    vm: Tap,
    outside: Host,
    mobile: Host,
}

impl Everywhere {
    fn build(lab: &Lab) -> Result<Self> {
        let c = lab.host("blue-c").vlan(7).mac("02:00:00:00:00:0c");
        let c = c.address("10.0.0.30/24").address("fd00::30/64");
        let d = lab.host("blue-d").vlan(7).service_vlan(5).mac("02:00:00:00:00:0e");
        let d = d.address("10.0.0.50/24").address("fd00::50/64");
        let nic = |name: &str, net: &str| {
            let host = lab.nic(name).address(&format!("10.{net}.0.1/24"));
            let host = host.address(&format!("fd00:{net}::1/64"));
            let host = host.gateway(ip(&format!("10.{net}.0.254")));
            host.gateway(ip(&format!("fd00:{net}::fe")))
        };
        Ok(Self {
            a: crate::town::host(lab, "blue-a", A, A_ADDRESSES)?,
            b: crate::town::host(lab, "blue-b", B, B_ADDRESSES)?,
            c: c.gateway(ip("10.0.0.1")).gateway(ip("fd00::1")).build()?,
            d: d.gateway(ip("10.0.0.1")).gateway(ip("fd00::1")).build()?,
            vm: lab.tap("tap-1")?,
            outside: nic("nic-o", "3").build()?,
            mobile: nic("nic-m", "5")
                .address("100.64.0.1/32")
                .address("fd00:64::1/128")
                .address("100.64.1.1/32")
                .address("fd00:64:1::1/128")
                .build()?,
        })
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn datagrams_in_pieces_arrive_whole() -> Result<()> {
    let lab = Lab::new("fragments")?;
    let hosts = Everywhere::build(&lab)?;
    let sekisho = Sekisho::start(&lab, EVERYWHERE)?;
    let Everywhere { a, b, c, d, vm, outside, mobile } = &hosts;
    let captures = [a, b, c, d, outside, mobile].map(Capture::start);
    let before = quiet(&sekisho)?;
    for at in 0..2 {
        let pairs: [(&str, Client<'_>, &Host, &str); 12] = [
            ("within a network", a.into(), c, C_ADDRESSES[at]),
            ("and back", c.into(), a, A_ADDRESSES[at]),
            ("to two tags", c.into(), d, D_ADDRESSES[at]),
            ("from two tags", d.into(), a, A_ADDRESSES[at]),
            ("from two tags to the uplink", d.into(), outside, OUTSIDE[at]),
            ("from the uplink to two tags", outside.into(), d, D_ADDRESSES[at]),
            ("through the router", a.into(), b, B_ADDRESSES[at]),
            ("to the uplink", b.into(), outside, OUTSIDE[at]),
            ("from the uplink", outside.into(), b, B_ADDRESSES[at]),
            ("from a line", mobile.from(ip(LINE[at])), b, B_ADDRESSES[at]),
            ("from a line to the uplink", mobile.from(ip(DIRECT[at])), outside, OUTSIDE[at]),
            ("to a line", b.into(), mobile, LINE[at]),
        ];
        for (what, from, server, to) in pairs {
            for bytes in [1500, 4000, 65_000] {
                let payload: Vec<_> = (0..bytes).map(|byte| (byte % 251) as u8).collect();
                let probe = udp_probe(from, server, (ip(to), 7000).into(), &payload)?;
                let arrived = probe.arrived.with_context(|| format!("{what}, {bytes} bytes"))?;
                ensure!(arrived.payload == payload, "{what}: {bytes} bytes arrive as others");
                // Whoever has several addresses answers from the first.
                let is_answered = probe.answered || to == LINE[at];
                ensure!(is_answered, "{what}: the answer of {bytes} bytes does not come");
            }
            let pinged = ping(from, ip(to), 2, &["-s", "4000"])?;
            ensure!(pinged.all_answered(), "{what}: {pinged:?}");
        }
        // A virtual machine sends and receives pieces as they are.
        let told = listen(b, 7001)?;
        let payload = [0x5a; 4000];
        let datagram = Frame::new(VM, ROUTER).ip(VM_ADDRESSES[at], B_ADDRESSES[at]);
        for piece in pieces(&datagram.udp(5000, 7001).payload(&payload), 1) {
            vm.send(VnetHeader::default(), &piece.build())?;
        }
        expect(&told, &payload)?;
        udp_send(b, (ip(VM_ADDRESSES[at]), 7002).into(), &[0x77; 4000])?;
        for _ in 0..3 {
            let piece = vm.receive(PATIENCE, |frame| contains(frame, &[0x77; 900]))?;
            piece.context("a piece does not reach the virtual machine")?;
        }
    }
    let tally = quiet(&sekisho)?.since(&before)?;
    balanced(&tally)?;
    for reason in ["fragment_early", "fragment_duplicate", "fragment_overlap"] {
        assert_eq!(tally.stopped("blue", reason), 0, "{tally:?}");
    }
    for capture in captures {
        crate::town::judged(capture?)?;
    }
    // Whole datagrams take up no place.
    let fill = sekisho.status()?.tables.into_iter().find(|fill| fill.table == "datagrams");
    assert_eq!(fill.map(|fill| fill.used), Some(0));
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn pieces_that_come_before_their_first_wait_for_it() -> Result<()> {
    let lab = Lab::new("fragments-early")?;
    let hosts = Everywhere::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, EVERYWHERE)?;
    let Everywhere { a, b, c, d, vm, outside, mobile } = &hosts;
    // NICs know their next hops, and the hosts behind them nobody's MAC: frames are ours.
    let [nic_o, nic_m] = ["nic-o", "nic-m"].map(|name| mac_of(&lab, name));
    let (nic_o, nic_m) = (nic_o?, nic_m?);
    let before = quiet(&sekisho)?;
    let mut parked = 0;
    for at in 0..2 {
        let (from_c, from_vm) = (C_ADDRESSES[at], VM_ADDRESSES[at]);
        let (from_d, tenant_d) = (D_ADDRESSES[at], Frame::new(D, ROUTER));
        let back_d = tenant_d.clone();
        let (from_a, at_b) = (A_ADDRESSES[at], B_ADDRESSES[at]);
        let (far, line) = (OUTSIDE[at], DIRECT[at]);
        let [tenant_a, tenant_b, tenant_c, tenant_vm] =
            [A, B, C, VM].map(|mac| Frame::new(mac, ROUTER));
        let by_outside = Frame::new(mac(outside)?, nic_o);
        let by_mobile = Frame::new(mac(mobile)?, nic_m);
        let ways: [Way<'_>; 9] = [
            ("from a veth", &|f| a.send_frame(f), tenant_a, from_a, b, at_b),
            ("from a VLAN", &|f| c.send_frame(f), tenant_c, from_c, b, at_b),
            ("from two tags", &|f| d.send_frame(f), tenant_d, from_d, b, at_b),
            ("from two tags to the uplink", &|f| d.send_frame(f), back_d, from_d, outside, far),
            ("to two tags", &|f| outside.send_frame(f), by_outside.clone(), far, d, from_d),
            ("from a tap", &|f| vm.send(VnetHeader::default(), f), tenant_vm, from_vm, b, at_b),
            ("from the uplink", &|f| outside.send_frame(f), by_outside, far, b, at_b),
            ("to the uplink", &|f| b.send_frame(f), tenant_b, at_b, outside, far),
            ("from a line", &|f| mobile.send_frame(f), by_mobile, line, outside, far),
        ];
        for (what, send, frame, from, server, to) in ways {
            let told = listen(server, 7003)?;
            let payload: Vec<_> = what.bytes().cycle().take(4000).collect();
            let pieces = pieces(&frame.ip(from, to).udp(5000, 7003).payload(&payload), 77);
            // The last one first.
            for piece in pieces.iter().rev() {
                send(&piece.build())?;
            }
            expect(&told, &payload).context(what.to_owned())?;
            parked += pieces.len() as u64 - 1;
        }
    }
    let tally = quiet(&sekisho)?.since(&before)?;
    balanced(&tally)?;
    assert_eq!(sum(&tally, |at| at.parked.packets), parked, "{tally:?}");
    assert_eq!(tally.stops().count(), 0, "{tally:?}");

    // What was parked while no daemon ran, the next one sends in.
    let told = listen(b, 7004)?;
    let payload = [0x33; 4000];
    let datagram = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]);
    let pieces = pieces(&datagram.udp(5000, 7004).payload(&payload), 78);
    sekisho.kill()?;
    for piece in pieces.iter().rev() {
        a.send_frame(&piece.build())?;
    }
    thread::sleep(SILENCE / 10);
    sekisho.start_again()?;
    expect(&told, &payload)?;
    let tally = quiet(&sekisho)?.since(&before)?;
    balanced(&tally)?;
    assert_eq!(sum(&tally, |at| at.parked.packets), parked + 2, "{tally:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_piece_passes_only_after_its_own_first() -> Result<()> {
    let lab = Lab::new("fragments-alone")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let at_b = Capture::start(&town.blue_b)?;
    let before = quiet(&sekisho)?;
    let secret = |seen: &sekisho_tests::capture::Frame| contains(&seen.bytes, &[0xaa; 32]);
    let allowed = |seen: &sekisho_tests::capture::Frame| contains(&seen.bytes, &[0x11; 32]);
    let datagram = |from: [u8; 6], own: &str, to: &str, port| {
        // The first piece is 0x11 but for its header, what follows 0xaa.
        let payload = [[0x11; 1472], [0xaa; 1472]].concat();
        Frame::new(from, ROUTER).ip(own, to).udp(5000, port).payload(&payload)
    };
    let mut early = 0;
    for (number, ((own, other), to)) in
        (0..).zip(A_ADDRESSES.iter().zip(C_ADDRESSES).zip(B_ADDRESSES))
    {
        let id = 100 + number;
        let send = |host: &Host, frame: &Frame| host.send_frame(&frame.build());
        let a = &town.blue_a;
        // No first at all; one that is denied; one of another datagram.
        let shut = pieces(&datagram(A, own, to, 7999), id);
        let open = pieces(&datagram(A, own, to, 7000), id + 10);
        send(a, &open[1])?;
        send(a, &shut[0])?;
        send(a, &shut[1])?;
        send(a, &pieces(&datagram(A, own, to, 7000), id + 20)[0])?;
        // A neighbour has a first under way, and c its identification: with c's own address,
        // and with a's.
        let theirs = pieces(&datagram(A, own, to, 7000), id + 30);
        send(a, &theirs[0])?;
        send(&town.blue_c, &pieces(&datagram(C, other, to, 7000), id + 30)[1])?;
        send(&town.blue_c, &pieces(&datagram(C, own, to, 7000), id + 30)[1])?;
        // The other tenant's port has the same addresses.
        send(&town.red_a, &pieces(&datagram(A, own, to, 7000), id + 30)[1])?;
        early += 3;
    }
    let tally = quiet(&sekisho)?.since(&before)?;
    assert!(at_b.wait_for(Duration::ZERO, allowed).is_some(), "no first arrived");
    assert_eq!(at_b.wait_for(SILENCE / 3, secret), None, "a piece passed without its first");
    let stopped = |tenant, reason| tally.stopped(tenant, reason);
    assert_eq!(stopped("blue", "ingress_denied"), 2, "{tally:?}");
    assert_eq!(stopped("blue", "spoofed_address"), 2, "{tally:?}");
    // Those of each tenant's that waited, and no first came.
    assert_eq!([stopped("blue", "fragment_early"), stopped("red", "fragment_early")], [early, 2]);
    assert_eq!(sum(&tally, |at| at.parked.packets), early + 2, "{tally:?}");
    balanced(&tally)?;
    told_so(&lab, &sekisho)?;

    // A rule that goes stops what comes after, of a datagram under way too.
    let own = pieces(&datagram(A, A_ADDRESSES[0], B_ADDRESSES[0], 7000), 500);
    let before = quiet(&sekisho)?;
    town.blue_a.send_frame(&own[0].build())?;
    quiet(&sekisho)?;
    sekisho.change(&site.without(&["blue-udp-v4"]).0)?;
    town.blue_a.send_frame(&own[1].build())?;
    let tally = quiet(&sekisho)?.since(&before)?;
    assert_eq!(at_b.wait_for(SILENCE / 3, secret), None, "a piece passed without its rule");
    assert_eq!(tally.stopped("blue", "ingress_denied"), 1, "{tally:?}");
    balanced(&tally)
}

/// `sekisho trace` says of a later piece that its first has not come.
fn told_so(lab: &Lab, sekisho: &Sekisho<'_>) -> Result<()> {
    let datagram = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]).udp(5000, 7000);
    let piece = &pieces(&datagram.payload(&[0xaa; 2000]), 900)[1].build();
    let mut pcap = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0xffff, 1] {
        pcap.extend(word.to_le_bytes());
    }
    for word in [1, 0, piece.len() as u32, piece.len() as u32] {
        pcap.extend(word.to_le_bytes());
    }
    pcap.extend(piece);
    let path = lab.folder().join("piece.pcap").display().to_string();
    std::fs::write(&path, pcap)?;
    let said =
        sekisho.cli(&["trace", "--pcap", &path, "--interface", "blue-a", "-o", "json"])?.ok()?;
    let traced: Vec<Trace> = serde_json::from_str(&said)?;
    let verdicts: Vec<_> = traced.iter().map(|trace| trace.verdict.as_str()).collect();
    assert_eq!(verdicts, ["waits for its first fragment"], "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn pieces_that_contradict_each_other_end_their_datagram() -> Result<()> {
    let lab = Lab::new("fragments-odd")?;
    let town = Town::build(&lab)?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let at_b = Capture::start(&town.blue_b)?;
    let before = quiet(&sekisho)?;
    for (own, to) in A_ADDRESSES.into_iter().zip(B_ADDRESSES) {
        let whole = Frame::new(A, ROUTER).ip(own, to).udp(5000, 7000).payload(&[0x44; 4000]);
        let send = |frame: &Frame| town.blue_a.send_frame(&frame.build());
        // What follows overlaps what came: nothing of it passes, nor what would have fitted.
        send(&whole.piece(1, 0, 1000))?;
        send(&whole.piece(1, 992, 2000))?;
        send(&whole.piece(1, 1000, 2000))?;
        // Over the ports of the first: it has them already.
        send(&whole.piece(2, 0, 1000))?;
        send(&whole.piece(2, 8, 1000))?;
        // A second end, and something beyond the end.
        send(&whole.piece(3, 0, 1000))?;
        send(&whole.piece(3, 3000, 4008))?;
        send(&Frame::clone(&whole).payload(&[0x44; 3000]).piece(3, 1608, 3008))?;
        // Twice the same; the datagram goes on.
        send(&whole.piece(4, 0, 1000))?;
        send(&whole.piece(4, 0, 1000))?;
        send(&whole.piece(4, 1000, 2000))?;
        send(&whole.piece(4, 1000, 2000))?;
        // Too short for its ports, and of no length that a piece may have.
        send(&whole.piece(5, 0, 12))?;
        let tcp = Frame::new(A, ROUTER).ip(own, to).tcp(5000, 7000, 2, 1, 0);
        send(&tcp.payload(&[0x44; 100]).piece(6, 0, 16))?;
    }
    let tally = quiet(&sekisho)?.since(&before)?;
    for (reason, packets) in [
        ("fragment_overlap", 6),
        ("fragment_duplicate", 6),
        ("fragment_bad", 2),
        ("fragment_tiny", 2),
        ("fragment_early", 0),
    ] {
        assert_eq!(tally.stopped("blue", reason), packets, "{reason}: {tally:?}");
    }
    balanced(&tally)?;
    assert_eq!(at_b.count(|seen| contains(&seen.bytes, &[0x44; 100])), 12);

    // One tenant's datagrams that never end take up its own places and nobody else's.
    let before = quiet(&sekisho)?;
    let whole = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]).udp(5000, 7000);
    for id in 0..600 {
        town.blue_a
            .send_frame(&whole.clone().payload(&[0x44; 400]).piece(1000 + id, 0, 48).build())?;
    }
    let tally = quiet(&sekisho)?.since(&before)?;
    // Eight of those before are still incomplete.
    let refused = ["fragment_quota", "fragment_table_full"].map(|of| tally.stopped("blue", of));
    assert_eq!(refused.iter().sum::<u64>(), 600 - (512 - 8), "{tally:?}");
    for to in B_ADDRESSES {
        assert!(ping(&town.red_a, ip(to), 2, &["-s", "4000"])?.all_answered(), "{to}");
        assert!(!ping(&town.blue_a, ip(to), 1, &["-s", "4000"])?.all_answered(), "{to}");
        assert!(ping(&town.blue_a, ip(to), 1, &[])?.all_answered(), "{to}");
    }
    balanced(&quiet(&sekisho)?.since(&before)?)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn strangers_take_nothing_from_those_inside() -> Result<()> {
    let lab = Lab::new("fragments-strange")?;
    let hosts = Everywhere::build(&lab)?;
    let sekisho = Sekisho::start(&lab, EVERYWHERE)?;
    let Everywhere { a, b, outside, .. } = &hosts;
    let nic = mac_of(&lab, "nic-o")?;
    let before = quiet(&sekisho)?;
    // All within the half minute for which datagrams are waited for.
    let start = Instant::now();
    let wire = Wire::new(outside)?;
    let flood = |frame: &Frame| {
        // No more at once than a veth's ring takes.
        thread::sleep(Duration::from_micros(50));
        wire.send(&frame.build())
    };
    for at in 0..2 {
        let stranger = Frame::new(mac(outside)?, nic).ip(OUTSIDE[at], B_ADDRESSES[at]);
        let stranger = stranger.udp(5000, 7000).payload(&[0x66; 2000]);
        // Datagrams that are never whole, and later pieces of which no first comes.
        for id in 0..600 {
            flood(&stranger.piece(id, 0, 1000))?;
        }
        let (from_a, at_b, far) = (A_ADDRESSES[at], B_ADDRESSES[at], OUTSIDE[at]);
        let ways: [Way<'_>; 2] = [
            ("within", &|f| a.send_frame(f), Frame::new(A, ROUTER), from_a, b, at_b),
            ("out", &|f| b.send_frame(f), Frame::new(B, ROUTER), at_b, outside, far),
        ];
        for (number, (what, send, frame, from, server, to)) in (0..).zip(ways) {
            let told = listen(server, 7005)?;
            let payload: Vec<_> = what.bytes().cycle().take(4000).collect();
            let pieces = pieces(&frame.ip(from, to).udp(5000, 7005).payload(&payload), 77);
            for id in 0..400 {
                flood(&stranger.piece(1000 + 400 * number + id, 1000, 2000))?;
            }
            for piece in pieces.iter().rev() {
                send(&piece.build())?;
            }
            expect(&told, &payload).with_context(|| format!("{what}, {to}"))?;
        }
        // Nothing waits that cannot come from there.
        let spoofed = Frame::new(mac(outside)?, nic).ip(from_a, at_b).udp(5000, 7000);
        outside.send_frame(&spoofed.payload(&[0x66; 2000]).piece(1, 1000, 2000).build())?;
        ensure!(ping(a, ip(at_b), 2, &["-s", "4000"])?.all_answered(), "{at_b}");
    }
    ensure!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    let tally = quiet(&sekisho)?.since(&before)?;
    let stopped = |reason| tally.stopped("blue", reason);
    // A few of these may find their places taken by those of the half minute before.
    let refused = stopped("fragment_quota") + stopped("fragment_table_full");
    assert_eq!(refused, 2 * 600 - 512, "{tally:?}");
    assert_eq!(stopped("reverse_path"), 2, "{tally:?}");
    assert_eq!(stopped("fragment_early"), 2 * 2 * 400, "{tally:?}");
    // Some of them waited, and found no room at times.
    let parked = sum(&tally, |at| at.parked.packets);
    assert!((128..2 * 2 * 400 + 2 * 2 * 2).contains(&parked), "{tally:?}");
    balanced(&tally)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_piece_waits_once_whoever_listens() -> Result<()> {
    let lab = Lab::new("fragments-heard")?;
    let town = Town::build(&lab)?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    // The kernel makes a copy for it, and drops the metadata of the frame.
    let listener = lab.dut().spawn(&["tcpdump", "-n", "-l", "-i", "blue-a"])?;
    listener.wait_for_line("listening on")?;
    let before = quiet(&sekisho)?;
    for (number, (own, to)) in (0..).zip(A_ADDRESSES.iter().zip(B_ADDRESSES)) {
        let whole = Frame::new(A, ROUTER).ip(own, to).udp(5000, 7000).payload(&[0x44; 4000]);
        for piece in &pieces(&whole, 700 + number)[1..] {
            town.blue_a.send_frame(&piece.build())?;
        }
    }
    let tally = quiet(&sekisho)?.since(&before)?;
    assert_eq!(sum(&tally, |at| at.parked.packets), 4, "{tally:?}");
    assert_eq!(tally.stopped("blue", "fragment_early"), 4, "{tally:?}");
    balanced(&tally)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_waits_is_not_sent_in_at_another_interface_of_that_number() -> Result<()> {
    let lab = Lab::new("fragments-gone")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("a host goes, and what waits of it");
    let dut = |words: &str| lab.dut().run(&words.split(' ').collect::<Vec<_>>())?.ok();
    let text = dut("ip -j link show dev blue-a")?;
    let shown: serde_json::Value = serde_json::from_str(&text)?;
    let number =
        shown.pointer("/0/ifindex").and_then(serde_json::Value::as_u64).context("no number")?;
    let whole = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]).udp(5000, 7000);
    let before = quiet(&sekisho)?;
    let start = Instant::now();
    town.blue_a.send_frame(&pieces(&whole.payload(&[0x44; 4000]), 1)[1].build())?;
    while sum(&sekisho.tally()?.since(&before)?, |at| at.parked.packets) == 0 {
        ensure!(start.elapsed() < PATIENCE, "it never waits");
    }
    dut("ip link del blue-a")?;
    dut(&format!("ip link add blue-a index {number} type veth peer name far"))?;
    while lab.dut().tcx_programs("blue-a")? == 0 {
        ensure!(start.elapsed() < PATIENCE, "it is never attached");
    }
    // Else this shows nothing.
    ensure!(start.elapsed() < Duration::from_millis(900), "it took {:?}", start.elapsed());
    let tally = quiet(&sekisho)?;
    assert_eq!(tally.stopped("blue", "fragment_early"), 0, "{tally:?}");
    Ok(())
}

/// Cuts it as its sender's stack would for a link of 1500 bytes.
fn pieces(whole: &Frame, id: u32) -> Vec<Frame> {
    // What an IPv6 fragment may carry, too.
    const SIZE: usize = 1448;
    let bytes = whole.carried_bytes();
    (0..bytes).step_by(SIZE).map(|from| whole.piece(id, from, bytes.min(from + SIZE))).collect()
}

fn listen(host: &Host, port: u16) -> Result<UdpSocket> {
    let socket = bound(|| host.in_ns(|| UdpSocket::bind(("::", port))))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn expect(socket: &UdpSocket, payload: &[u8]) -> Result<()> {
    let mut buffer = [0; 0x1_0000];
    let (length, _) = socket.recv_from(&mut buffer).context("it does not arrive")?;
    ensure!(buffer.get(..length) == Some(payload), "{length} other bytes arrive");
    Ok(())
}

/// What was counted once nothing waits any more, and nothing moves.
fn quiet(sekisho: &Sekisho<'_>) -> Result<Tally> {
    let mut last = sekisho.tally()?;
    for _ in 0..40 {
        // Longer than a fragment waits.
        thread::sleep(Duration::from_millis(1200));
        let now = sekisho.tally()?;
        let moved = now.since(&last)?;
        if sum(&moved, |at| at.received.packets) == 0 && moved.stops().next().is_none() {
            return Ok(now);
        }
        last = now;
    }
    anyhow::bail!("the hosts are never quiet")
}

fn sum(tally: &Tally, of: fn(&AttachmentCounters) -> u64) -> u64 {
    tally.attachments().iter().map(of).sum()
}

/// Received, again too = sent + answered + heard + parked + stopped.
fn balanced(tally: &Tally) -> Result<()> {
    let stops: u64 =
        tally.stops().filter(|stop| stop.1 != "no_attachment").map(|stop| stop.2).sum();
    let received = sum(tally, |at| at.received.packets);
    let gone = sum(tally, |at| {
        at.sent.packets + at.answered.packets + at.heard.packets + at.parked.packets
    }) + stops;
    ensure!(received == gone, "{received} received, {gone} accounted for: {tally:?}");
    Ok(())
}
