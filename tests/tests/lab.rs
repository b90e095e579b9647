//! Can the lab succeed and fail? Controls on plain Linux, without the program under test.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use etherparse::PacketBuilder;
use nix::sys::signal::Signal;
use sekisho_tests::build::{Frame, tcp};
use sekisho_tests::check::well_formed;
use sekisho_tests::lab::VnetHeader;
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::program::{Field, Flows, Side};
use sekisho_tests::traffic::{TcpConn, TcpEchoServer, ping, tcp_exchange, traceroute, udp_probe};
use sekisho_tests::{Capture, Host, Lab};

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn neighbours_reach_each_other_until_the_link_goes_down() -> Result<()> {
    let lab = Lab::new("bridge")?;
    let (a, b) = (neighbour(&lab, "blue-a", 1)?, neighbour(&lab, "blue-b", 2)?);
    bridge(&lab, &[&a, &b])?;
    let _server = TcpEchoServer::start(&b, 7000)?;

    for to in [b.v4()?, b.v6()?] {
        assert!(ping(&a, to, 2, &[])?.all_answered());
        tcp_exchange(&a, (to, 7000).into(), 1_000_000, PATIENCE)?;
        let probe = udp_probe(&a, &b, (to, 7001).into(), b"hello")?;
        assert!(probe.answered, "{probe:?}");
        assert_eq!(probe.arrived.expect("arrived").payload, b"hello");
    }

    down(&lab, &b)?;
    for to in [b.v4()?, b.v6()?] {
        let pings = ping(&a, to, 2, &[])?;
        assert_eq!((pings.sent, pings.received), (2, 0));
        assert!(tcp_exchange(&a, (to, 7000).into(), 1, SILENCE).is_err());
        let probe = udp_probe(&a, &b, (to, 7001).into(), b"hello")?;
        assert_eq!((probe.arrived, probe.answered), (None, false));
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_receiver_with_default_offloads_sees_partial_checksums_and_they_are_right() -> Result<()> {
    let lab = Lab::new("partial")?;
    let (a, b) = (neighbour(&lab, "blue-a", 1)?, neighbour(&lab, "blue-b", 2)?);
    bridge(&lab, &[&a, &b])?;
    let capture = Capture::start(&b)?;
    let _server = TcpEchoServer::start(&b, 7000)?;
    for to in [b.v4()?, b.v6()?] {
        tcp_exchange(&a, (to, 7000).into(), 200_000, PATIENCE)?;
        assert!(udp_probe(&a, &b, (to, 7001).into(), b"odd")?.answered);
    }
    let pcap = capture.stop()?;
    assert_eq!(pcap.judge()?, []);
    assert!(pcap.frames().iter().any(|frame| frame.partial), "none was partial");
    let from_a = format!("ip.src == {} && tcp.dstport == 7000 && tcp.flags.syn == 1", a.v4()?);
    let rows = pcap.fields(&from_a, &["ip.dst", "tcp.flags"])?;
    assert_eq!(rows, [[b.v4()?.to_string(), "0x0002".to_owned()]]);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn frames_of_many_flows_are_well_formed_and_of_each_flow() -> Result<()> {
    let lab = Lab::new("flows")?;
    let hosts = [lab.nic("west").build()?, lab.nic("east").build()?];
    let [west, east] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    let (there, back) = (Frame::new(west, east), Frame::new(east, west));
    for (outside, inside) in [("16.0.0.0", "10.1.0.2"), ("2001:db8:1::", "2001:db8::2")] {
        let payload = [7; 22];
        let (there, back) = (there.clone().ip(inside, outside), back.clone().ip(outside, inside));
        let udp = [
            there.clone().udp(1024, 5000).payload(&payload),
            back.clone().udp(5000, 1024).payload(&payload),
        ];
        let ack = tcp::ACK;
        let tcp = [
            there.tcp(1024, 5000, ack, 1, 1).payload(&payload),
            back.tcp(5000, 1024, ack, 1, 1).payload(&payload),
        ];
        let varied = [
            [Field::DstPort, Field::SrcPort],
            [Field::DstLow, Field::SrcPort],
            [Field::DstLow, Field::DstHigh],
        ];
        for (frames, vary) in [udp, tcp].iter().flat_map(|both| varied.map(|vary| (both, vary))) {
            let side = |at: usize, vary| {
                let mut frame = frames[at].build();
                frame.resize(frame.len().next_multiple_of(4), 0);
                Side { from: &hosts[at], frame, vary }
            };
            let sides = [side(0, vary), side(1, vary.map(Field::answer))];
            let flows = Flows::new(&sides, [32, 8])?;
            let mut seen = [BTreeSet::new(), BTreeSet::new()];
            for at in 0..2 * 256 {
                let frame = flows.frame()?;
                assert_eq!(well_formed(&frame), Ok(()), "{frame:x?}");
                assert_eq!(frame[0..6], if at % 2 == 0 { east } else { west });
                seen[at % 2].insert(frame);
            }
            assert_eq!(seen.map(|seen| seen.len()), [256, 256], "{vary:?}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn frames_off_a_cable_are_complete() -> Result<()> {
    let lab = Lab::new("nic")?;
    let internet = lab.nic("internet").address("192.0.2.1/24").vlan(7).build()?;
    let b = lab.host("blue-b").address("192.0.2.2/24").vlan(7).build()?;
    for (host, gro, checksum) in [(&internet, "on", "off"), (&b, "off", "on")] {
        let features = host.run(&["ethtool", "-k", host.link()])?.ok()?;
        assert!(features.contains(&format!("\ngeneric-receive-offload: {gro}\n")), "{features}");
        assert!(features.contains(&format!("\ntx-checksumming: {checksum}\n")), "{features}");
    }
    bridge(&lab, &[&internet, &b])?;
    let _server = TcpEchoServer::start(&b, 7000)?;
    let capture = Capture::start(&b)?;
    tcp_exchange(&internet, (b.v4()?, 7000).into(), 200_000, PATIENCE)?;
    let pcap = capture.stop()?;
    assert_eq!(pcap.judge()?, []);
    let tcp = pcap.frames().iter().filter(|frame| frame.bytes.get(27) == Some(&6));
    let (partial, longest) = tcp.fold((0, 0), |(partial, longest), frame| {
        (partial + u32::from(frame.partial), longest.max(frame.bytes.len()))
    });
    assert_eq!((partial, longest), (0, 14 + 4 + 1500));
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_router_shows_its_hops_and_its_limits() -> Result<()> {
    let lab = Lab::new("router")?;
    let (a, b) = routed(&lab)?;
    let gateways: [IpAddr; 2] = ["10.1.0.1".parse()?, "fd00:1::1".parse()?];
    lab.dut().run(&["ip", "link", "set", b.dut_interface(), "mtu", "1400"])?.ok()?;

    let capture = Capture::start(&a)?;
    for (to, gateway) in [b.v4()?, b.v6()?].into_iter().zip(gateways) {
        assert!(ping(&a, to, 1, &[])?.all_answered());
        let hops = traceroute(&a, to, &[])?;
        let hops: Vec<_> = hops.into_iter().map(|hop| hop.from).collect();
        assert_eq!(hops, [Some(gateway), Some(to)]);

        let expired = ping(&a, to, 1, &["-t", "1"])?;
        assert_eq!(expired.received, 0);
        assert_eq!(expired.errors[0].from, Some(gateway));
        assert!(expired.errors[0].text.starts_with("Time"), "{expired:?}");

        let large = ping(&a, to, 1, &["-M", "do", "-s", "1420"])?;
        assert_eq!((large.errors[0].from, large.errors[0].mtu), (Some(gateway), Some(1400)));
    }

    lab.dut().run(&["ip", "route", "add", "prohibit", "10.2.0.2/32"])?.ok()?;
    let refused = ping(&a, b.v4()?, 1, &[])?;
    assert_eq!(refused.errors[0].text, "Packet filtered");
    assert!(udp_probe(&a, &b, (b.v4()?, 7001).into(), b"x")?.refused.is_some());
    assert_eq!(capture.stop()?.judge()?, []);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_connection_is_cut_and_revived() -> Result<()> {
    let lab = Lab::new("cut")?;
    let (a, b) = routed(&lab)?;
    let hole =
        |verb: &str, prefix: &str| lab.dut().run(&["ip", "route", verb, "blackhole", prefix])?.ok();

    let mut conn = TcpConn::open(&a, &b, (b.v4()?, 7000).into())?;
    conn.expect_alive()?;
    assert_eq!(conn.client_address()?, conn.local_address()?);

    conn.send_to_server()?;
    let delivered = conn.expect_cut_to_server().expect_err("it is not cut");
    println!("an uncut connection: {delivered:#}");
    conn.expect_delivered()?;
    assert!(conn.expect_cut_to_server().is_err(), "nothing was sent, so nothing can be cut");

    hole("add", "10.2.0.2/32")?;
    conn.send_to_server()?;
    conn.expect_cut_to_server()?;
    hole("del", "10.2.0.2/32")?;
    conn.expect_delivered()?;

    hole("add", "10.1.0.2/32")?;
    conn.send_to_client()?;
    conn.expect_cut_to_client()?;
    hole("del", "10.1.0.2/32")?;
    conn.expect_delivered()?;
    conn.expect_alive()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn spoiled_frames_are_caught() -> Result<()> {
    let lab = Lab::new("spoiled")?;
    let (a, b) = (neighbour(&lab, "blue-a", 1)?, neighbour(&lab, "blue-b", 2)?);
    bridge(&lab, &[&a, &b])?;

    let good = segment()?;
    let with = |at: usize, value: u16| {
        let mut frame = good.clone();
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        frame
    };
    let length = |value: u16| {
        // The header's checksum is right, so that only the length is wrong.
        let mut frame = with(IP + 2, value);
        let (mut header, _) = etherparse::Ipv4Header::from_slice(&frame[IP..]).expect("a header");
        header.header_checksum = header.calc_header_checksum();
        frame[IP + 10..IP + 12].copy_from_slice(&header.header_checksum.to_be_bytes());
        frame
    };
    let right = u16::from_be_bytes([good[TCP + 16], good[TCP + 17]]);
    // An ICMP error whose quote has a partial checksum, as Linux sends them.
    let unreachable = |spoil: u8| -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        let kind = etherparse::Icmpv4Type::DestinationUnreachable(
            etherparse::icmpv4::DestUnreachableHeader::Port,
        );
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .icmpv4(kind)
            .write(&mut frame, &with(TCP + 16, PSEUDO_HEADER)[IP..])?;
        frame[TCP + 3] ^= spoil;
        Ok(frame)
    };
    let icmpv6 = |spoil: u8| -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv6([0xfd; 16], [0xfc; 16], 64)
            .icmpv6_echo_request(1, 1)
            .write(&mut frame, b"ping")?;
        frame[14 + 40 + 3] ^= spoil;
        Ok(frame)
    };
    let cases: [(&str, Vec<u8>, Option<&str>); 11] = [
        ("a quote is wrong", unreachable(0)?, None),
        ("a wrong ICMP checksum, and a quote", unreachable(1)?, Some("Bad checksum: icmp")),
        ("an ICMPv6 packet", icmpv6(0)?, None),
        ("a wrong ICMPv6 checksum", icmpv6(1)?, Some("Bad checksum: icmpv6")),
        ("nothing is wrong", good.clone(), None),
        ("a wrong TCP checksum", with(TCP + 16, right.wrapping_add(1)), Some("Bad checksum: tcp")),
        (
            "the pseudo header's sum without the mark",
            with(TCP + 16, PSEUDO_HEADER),
            Some("checksum"),
        ),
        ("a wrong IPv4 header checksum", with(IP + 10, 0x1234), Some("Bad checksum: ip")),
        ("a total length beyond the frame", length(400), Some("length")),
        ("a total length below the header", length(10), Some("length")),
        ("a frame that is cut off in TCP", length(40)[..44].to_vec(), Some("length")),
    ];
    for (name, frame, expected) in cases {
        let capture = Capture::start(&b)?;
        a.send_frame(&frame)?;
        capture.wait_for(PATIENCE, |seen| seen.bytes == frame).expect("the frame arrives");
        let faults = capture.stop()?.judge()?;
        match expected {
            None => assert_eq!(faults, [], "{name}"),
            Some(word) => {
                assert!(faults.iter().any(|fault| fault.what.contains(word)), "{name}: {faults:?}");
            }
        }
    }
    assert!(Capture::start(&b)?.stop()?.judge().is_err(), "an empty capture was judged");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_spoiled_partial_checksum_is_caught_although_the_kernel_takes_it() -> Result<()> {
    let lab = Lab::new("mark")?;
    let vm = lab.tap("vm-1")?;
    let b = neighbour(&lab, "blue-b", 2)?;
    bridge(&lab, &[&b])?;
    lab.dut().run(&["ip", "link", "set", "vm-1", "master", "br0"])?.ok()?;

    let (right, wrong) = (PSEUDO_HEADER, PSEUDO_HEADER + 1);
    for (sum, faults) in [(right, 0), (wrong, 1)] {
        let mut frame = segment()?;
        frame[TCP + 16..TCP + 18].copy_from_slice(&sum.to_be_bytes());
        let flags = VnetHeader::NEEDS_CSUM;
        let header = VnetHeader { flags, csum_start: 34, csum_offset: 16, ..Default::default() };
        let capture = Capture::start(&b)?;
        vm.send(header, &frame)?;
        let seen = capture.wait_for(PATIENCE, |seen| seen.bytes.ends_with(b"0123456789"));
        assert!(seen.is_some_and(|seen| seen.partial), "the mark was lost on the way");
        let found = capture.stop()?.judge()?;
        assert_eq!(found.len(), faults, "{found:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn tagged_hosts_meet_only_with_the_same_tag() -> Result<()> {
    let lab = Lab::new("vlan")?;
    let host = |name: &str, number: u8| {
        lab.host(name)
            .address(&format!("10.0.0.{number}/24"))
            .address(&format!("fd00::{number}/64"))
    };
    let a = host("blue-a", 1).vlan(5).build()?;
    let b = host("blue-b", 2).vlan(5).build()?;
    let other = host("red-c", 3).vlan(6).build()?;
    let untagged = host("red-d", 4).build()?;
    bridge(&lab, &[&a, &b, &other, &untagged])?;

    let capture = Capture::start(&b)?;
    let _server = TcpEchoServer::start(&b, 7000)?;
    for to in [b.v4()?, b.v6()?] {
        assert!(ping(&a, to, 1, &[])?.all_answered());
        tcp_exchange(&a, (to, 7000).into(), 200_000, PATIENCE)?;
        assert_eq!(ping(&other, to, 1, &[])?.received, 0);
        assert_eq!(ping(&untagged, to, 1, &[])?.received, 0);
    }
    let pcap = capture.stop()?;
    assert_eq!(pcap.judge()?, []);
    let tags = pcap.fields("tcp", &["vlan.id"])?;
    assert!(!tags.is_empty() && tags.iter().all(|row| *row == ["5"]), "{tags:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn one_host_speaks_from_several_addresses() -> Result<()> {
    let lab = Lab::new("lines")?;
    let access = lab.nic("access").address("10.0.0.7/24").address("10.0.0.8/24").build()?;
    let b = neighbour(&lab, "blue-b", 2)?;
    bridge(&lab, &[&access, &b])?;
    let line: IpAddr = "10.0.0.8".parse()?;
    let to = b.v4()?;
    assert!(ping(access.from(line), to, 1, &[])?.all_answered());
    let conn = TcpConn::open(access.from(line), &b, (to, 7000).into())?;
    assert_eq!(conn.client_address()?.ip(), line);
    let probe = udp_probe(access.from(line), &b, (to, 7001).into(), b"x")?;
    assert_eq!(probe.arrived.map(|arrived| arrived.from.ip()), Some(line));
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_virtual_machine_sends_and_receives_at_its_tap() -> Result<()> {
    let lab = Lab::new("tap")?;
    let vm = lab.tap("vm-1")?;
    let b = neighbour(&lab, "blue-b", 2)?;
    bridge(&lab, &[&b])?;
    lab.dut().run(&["ip", "link", "set", "vm-1", "master", "br0"])?.ok()?;

    let mac = [2, 0, 0, 0, 0, 0x99];
    let question = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation::REQUEST,
        &mac,
        &[10, 0, 0, 9],
        &[0; 6],
        &[10, 0, 0, 2],
    )?;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac, [0xff; 6]).arp(question).write(&mut frame)?;
    vm.send(VnetHeader::default(), &frame)?;
    let answer = vm.receive(PATIENCE, |frame| frame.get(12..14) == Some(&[8, 6]))?;
    let (header, answer) = answer.expect("an answer");
    assert_eq!((header.flags & VnetHeader::NEEDS_CSUM, &answer[..6]), (0, &mac[..]));
    assert_eq!(answer[28..32], [10, 0, 0, 2]);
    let silence = vm.receive(Duration::from_millis(50), |_| false)?;
    assert_eq!(silence, None);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn programs_end_with_their_owner_or_when_their_time_is_up() -> Result<()> {
    let lab = Lab::new("programs")?;
    let failed = lab.dut().run(&["ip", "link", "show", "dev", "none"])?;
    assert!(!failed.status.success() && failed.stderr.contains("does not exist"));
    let start = Instant::now();
    let late = lab.dut().run_within(&["sleep", "60"], Duration::from_millis(100));
    assert!(late.is_err() && start.elapsed() < PATIENCE);
    let process = lab.dut().spawn(&["sleep", "60"])?;
    let proc = format!("/proc/{}", process.pid());
    assert!(Path::new(&proc).exists());
    drop(process);
    assert!(!Path::new(&proc).exists());
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn nothing_is_left_behind() -> Result<()> {
    let panicking = std::thread::spawn(|| {
        let lab = Lab::new("panicking").expect("a lab");
        let _host = neighbour(&lab, "blue-a", 1).expect("a host");
        lab.bpffs().expect("a bpffs");
        assert!(!left_by(std::process::id(), "panicking").is_empty());
        panic!("on purpose");
    });
    assert!(panicking.join().is_err());
    assert_eq!(left_by(std::process::id(), "panicking"), [""; 0]);

    let child = |signal: Signal| -> Result<u32> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "a_lab_that_waits_to_be_ended", "--ignored", "--nocapture"])
            .stdout(std::process::Stdio::null())
            .spawn()?;
        let (pid, deadline) = (child.id(), Instant::now() + PATIENCE);
        while !Path::new(&format!("/run/sekisho-lab/sk{pid}-waiting/up")).exists() {
            assert!(Instant::now() < deadline, "the child makes no lab");
            std::thread::sleep(Duration::from_millis(5));
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal)?;
        child.wait()?;
        Ok(pid)
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        assert_eq!(left_by(child(signal)?, "waiting"), [""; 0]);
    }
    let killed = child(Signal::SIGKILL)?;
    assert!(!left_by(killed, "waiting").is_empty());
    child(Signal::SIGTERM)?;
    assert_eq!(left_by(killed, "waiting"), [""; 0]);
    Ok(())
}

#[test]
#[ignore = "run by nothing_is_left_behind, as a process of its own"]
fn a_lab_that_waits_to_be_ended() -> Result<()> {
    let lab = Lab::new("waiting")?;
    let host = neighbour(&lab, "blue-a", 1)?;
    let _sleeping = host.spawn(&["sleep", "60"])?;
    lab.bpffs()?;
    std::fs::write(lab.folder().join("up"), "")?;
    std::thread::sleep(PATIENCE);
    Ok(())
}

/// Where the headers of [`segment`] start.
const IP: usize = 14;
const TCP: usize = 34;
/// The sum of its pseudo header: addresses, protocol and length.
const PSEUDO_HEADER: u16 = 0x0a00 + 1 + 0x0a00 + 2 + 6 + 30;

/// A TCP segment of ten bytes from the first neighbour to the second.
fn segment() -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40_000, 7000, 1, 1024)
        .write(&mut frame, b"0123456789")?;
    Ok(frame)
}

/// A host of 10.0.0.0/24 and fd00::/64, whose MAC ends in its number.
fn neighbour(lab: &Lab, name: &str, number: u8) -> Result<Host> {
    lab.host(name)
        .mac(&format!("02:00:00:00:00:{number:02x}"))
        .address(&format!("10.0.0.{number}/24"))
        .address(&format!("fd00::{number}/64"))
        .build()
}

/// Joins the hosts by a plain bridge in the device under test.
fn bridge(lab: &Lab, hosts: &[&Host]) -> Result<()> {
    let dut = lab.dut();
    // Where the kernel has bridge netfilter it would drop what is malformed before the receiver.
    for family in ["ip", "ip6"] {
        let key = format!("bridge/bridge-nf-call-{family}tables");
        if dut.in_ns(|| Path::new("/proc/sys/net").join(&key).exists())? {
            dut.sysctl(&key, "0")?;
        }
    }
    dut.run(&["ip", "link", "add", "br0", "up", "type", "bridge", "mcast_snooping", "0"])?.ok()?;
    for host in hosts {
        dut.run(&["ip", "link", "set", host.dut_interface(), "master", "br0"])?.ok()?;
    }
    dut.wait_until_up("br0")
}

/// Two hosts in two networks, with the device under test as a plain router between them.
fn routed(lab: &Lab) -> Result<(Host, Host)> {
    let dut = lab.dut();
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        dut.sysctl(key, "1")?;
    }
    let host = |name: &str, network: u8| -> Result<Host> {
        let gateway: [SocketAddr; 2] =
            [format!("10.{network}.0.1:0").parse()?, format!("[fd00:{network}::1]:0").parse()?];
        let host = lab
            .host(name)
            .address(&format!("10.{network}.0.2/24"))
            .address(&format!("fd00:{network}::2/64"))
            .gateway(gateway[0].ip())
            .gateway(gateway[1].ip())
            .build()?;
        for (gateway, length) in gateway.iter().zip(["24", "64"]) {
            let address = format!("{}/{length}", gateway.ip());
            dut.run(&["ip", "address", "add", &address, "dev", host.dut_interface()])?.ok()?;
        }
        Ok(host)
    };
    Ok((host("blue-a", 1)?, host("blue-b", 2)?))
}

fn down(lab: &Lab, host: &Host) -> Result<()> {
    lab.dut().run(&["ip", "link", "set", host.dut_interface(), "down"])?.ok()?;
    Ok(())
}

/// Namespaces and folders of a process's lab.
fn left_by(pid: u32, lab: &str) -> Vec<String> {
    let prefix = format!("sk{pid}-{lab}");
    ["/run/netns", "/run/sekisho-lab"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}
