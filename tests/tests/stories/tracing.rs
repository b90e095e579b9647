//! Does `sekisho trace` tell the truth about packets, those of a capture and those described?

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dataplane_user::view::Trace;
use sekisho_tests::build::Frame;
use sekisho_tests::process::Output;
use sekisho_tests::{Lab, Sekisho, plug};

/// A server on a trunk and one beside it, with a router between them.
const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: near, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd01::/64"}]}
      - {name: far, subnets: [{cidr: 10.2.0.0/24}, {cidr: "fd02::/64"}]}
    routers:
      - {name: r, mac: 02:00:00:00:00:01, interfaces: [{network: near}, {network: far}]}
    ports:
      - {name: pc, network: near, interface: blue-pc, mac: 02:00:00:00:00:0a, fixed_ips: [10.1.0.10, "fd01::10"], security_groups: [open]}
      - {name: vm, network: far, interface: trunk, vlan: 101, mac: 02:00:00:00:00:0b, fixed_ips: [10.2.0.5, "fd02::5"], security_groups: [open]}
    security_groups:
      - name: open
        rules: [{direction: egress}, {direction: egress, ethertype: IPv6}, {direction: ingress}, {direction: ingress, ethertype: IPv6}]
"#;

const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VM: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];

/// A datagram of the server on the trunk, with its tag in it or not.
fn datagram(vlan: Option<u16>, payload_bytes: usize) -> Vec<u8> {
    let frame = Frame::new(VM, ROUTER).ip("10.2.0.5", "10.1.0.10").udp(4000, 53);
    let frame = frame.payload(&vec![7; payload_bytes]);
    vlan.into_iter().fold(frame, Frame::vlan).build()
}

/// The same with a service tag before its tag.
fn twice(service: u16) -> Vec<u8> {
    let frame = Frame::new(VM, ROUTER).tag(0x88a8, service).vlan(101);
    frame.ip("10.2.0.5", "10.1.0.10").udp(4000, 53).payload(&[7; 8]).build()
}

/// A capture file, of nanoseconds and in the other byte order.
fn write(path: &Path, frames: &[Vec<u8>]) -> Result<String> {
    let word = |number: usize| (number as u32).to_be_bytes();
    let mut file = 0xa1b2_3c4d_u32.to_be_bytes().to_vec();
    file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1]);
    for frame in frames {
        file.extend([[0; 4], [0; 4], word(frame.len()), word(frame.len())].concat());
        file.extend(frame);
    }
    fs::write(path, file)?;
    Ok(path.display().to_string())
}

fn traces(output: &Output) -> Result<Vec<Trace>> {
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_capture_is_traced_frame_by_frame() -> Result<()> {
    let lab = Lab::new("tracing")?;
    let _hosts = plug::hosts(&lab, SITE)?;
    let mut sekisho = Sekisho::start(&lab, SITE)?;
    let path = lab.folder().join("lost.pcap");
    let tagged = datagram(Some(101), 8);
    let frames = [
        tagged.clone(),
        datagram(None, 8)[..30].to_vec(),
        tagged[..10].to_vec(),
        // Left to the device to cut, and longer than the kernel tries at once.
        datagram(Some(101), 6000),
        Frame::new(VM, ROUTER).ip("10.2.0.5", "10.1.0.10").protocol(47).vlan(101).build(),
        [Frame::new(VM, ROUTER).vlan(101).build(), vec![0; 6000]].concat(),
        datagram(Some(102), 8),
        datagram(None, 8),
        tagged,
        Frame::new(VM, ROUTER).ip("fd02::5", "fd01::10").protocol(47).build()[..50].to_vec(),
    ];
    let file = write(&path, &frames)?;
    let trunk = ["trace", "--pcap", &file, "--interface", "trunk"];

    let told = sekisho.cli(&[trunk.as_slice(), &["-o", "json"]].concat())?;
    let traces_of = traces(&told)?;
    let verdicts: Vec<_> = traces_of
        .iter()
        .map(|trace| (trace.frame, trace.stop.as_deref().unwrap_or(&trace.verdict)))
        .collect();
    let expected = [
        "forwarded",
        "untraceable",
        "untraceable",
        "forwarded",
        "forwarded",
        "untraceable",
        "no_attachment",
        "no_attachment",
        "forwarded",
        "untraceable",
    ];
    assert_eq!(verdicts, (1..).map(Some).zip(expected).collect::<Vec<_>>());
    let error = |at: usize| traces_of[at].error.clone().unwrap_or_default();
    assert_eq!(
        error(1),
        "30 bytes: in a test run the kernel takes no IPv4 frame shorter than 34 bytes at tcx"
    );
    assert_eq!(
        error(2),
        "10 bytes: in a test run the kernel takes no Ethernet frame shorter than 14 bytes at tcx"
    );
    assert!(
        error(5).starts_with("6018 bytes: in a test run the kernel takes no frame longer"),
        "{}",
        error(5)
    );
    let first = |at: usize| traces_of[at].steps[0].decision.clone();
    assert!(first(3).starts_with("6046 bytes are more than one packet"), "{}", first(3));
    assert_eq!(first(6), "the frame is of VLAN 102; trunk has: VLAN 101");
    assert!(first(7).contains("of no VLAN; trunk has: VLAN 101; --vlan gives"), "{}", first(7));
    assert_eq!(told.status.code(), Some(1));
    assert!(told.stderr.contains("4 of 10 frames could not be traced: 2, 3, 6, 10"), "{told:?}");

    let table = sekisho.cli(&trunk)?;
    assert_eq!(table.status.code(), Some(1));
    for line in [
        "frame 1: udp 10.2.0.5 4000 > 10.1.0.10 53\n",
        "\n\nframe 2: a frame of 30 bytes\n→ untraceable: 30 bytes: ",
        "\n\nframe 9: udp 10.2.0.5 4000 > 10.1.0.10 53\n",
    ] {
        assert!(table.stdout.contains(line), "{line:?} is not in {}", table.stdout);
    }

    // A capture inside the VLAN has no tags.
    let file = write(&path, &[datagram(None, 8)])?;
    let inside = |vlan: &str| {
        sekisho.cli(&[
            "trace",
            "--pcap",
            &file,
            "--interface",
            "trunk",
            "--vlan",
            vlan,
            "-o",
            "json",
        ])
    };
    let told = inside("101")?;
    assert!(told.status.success() && traces(&told)?[0].verdict == "forwarded", "{told:?}");
    let refused = inside("102")?;
    let words = "interface \"trunk\" has no VLAN 102 in the site; it has: VLAN 101";
    assert!(!refused.status.success() && refused.stderr.contains(words), "{refused:?}");
    write(&path, &[datagram(Some(101), 8)])?;
    let told = inside("101")?;
    assert!(told.status.success() && traces(&told)?[0].verdict == "forwarded", "{told:?}");
    write(&path, &[datagram(Some(55), 8)])?;
    let told = inside("101")?;
    let error = traces(&told)?[0].error.clone();
    assert_eq!(
        error.as_deref(),
        Some("the frame itself is tagged with VLAN 55, and VLAN 101 is asked for")
    );
    assert_eq!(told.status.code(), Some(1));

    // Nor has one inside the service VLAN the outer one.
    let file = write(&path, &[datagram(None, 8), datagram(Some(101), 8), twice(9), twice(8)])?;
    let site = SITE.replace("vlan: 101", "vlan: 101, service_vlan: 9");
    sekisho.unbalanced("the attachment gets other VLANs");
    sekisho.change(&site)?;
    let vlans = ["--vlan", "101", "--service-vlan", "9", "-o", "json"];
    let told = sekisho
        .cli(&[&["trace", "--pcap", &file, "--interface", "trunk"], vlans.as_slice()].concat())?;
    let of = traces(&told)?;
    let verdicts: Vec<_> = of.iter().map(|trace| trace.verdict.as_str()).collect();
    assert_eq!(verdicts, ["forwarded", "forwarded", "forwarded", "untraceable"]);
    assert!(of[2].steps[0].decision.ends_with("trunk service vlan 9 vlan 101"), "{:?}", of[2]);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_described_packet_is_the_one_that_would_be_sent() -> Result<()> {
    let lab = Lab::new("described")?;
    let _hosts = plug::hosts(&lab, SITE)?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let ask = |to: &str, more: &[&str]| -> Result<Trace> {
        let question = ["trace", "--port", "vm", "--to", to, "-o", "json"];
        let told = sekisho.cli(&[question.as_slice(), more].concat())?.ok()?;
        serde_json::from_str(&told).with_context(|| told)
    };
    for (to, carries, packet, verdict) in [
        ("10.1.0.10", "--proto 6 --dport 80", "tcp 10.2.0.5 40000 > 10.1.0.10 80", "forwarded"),
        ("10.1.0.10", "--proto sctp --dport 80", "sctp 10.2.0.5 40000 > 10.1.0.10 80", "forwarded"),
        ("fd01::10", "--proto 17 --dport 80", "udp fd02::5 40000 > fd01::10 80", "forwarded"),
        ("10.1.0.10", "--proto dccp --dport 80", "dccp 10.2.0.5 40000 > 10.1.0.10 80", "forwarded"),
        ("fd01::10", "--proto 136 --dport 80", "udplite fd02::5 40000 > fd01::10 80", "forwarded"),
        ("10.1.0.10", "--proto gre", "gre 10.2.0.5 > 10.1.0.10", "forwarded"),
        ("fd01::10", "--proto 58", "icmpv6 fd02::5 > fd01::10 type 128 code 0", "forwarded"),
        ("224.0.0.1", "--proto 2", "igmp 10.2.0.5 > 224.0.0.1", "multicast"),
        (
            "255.255.255.255",
            "--proto udp --dport 67",
            "udp 10.2.0.5 40000 > 255.255.255.255 67",
            "multicast",
        ),
        ("10.2.0.255", "--ttl 9", "icmp 10.2.0.5 > 10.2.0.255 type 8 code 0", "multicast"),
        ("ff02::1", "--proto icmp", "icmpv6 fd02::5 > ff02::1 type 128 code 0", "multicast"),
        (
            "10.2.0.77",
            "--proto tcp --dport 80",
            "arp who-has 10.2.0.77 tell 10.2.0.5",
            "arp_unanswered",
        ),
        (
            "fd02::77",
            "--proto tcp --dport 80",
            "icmpv6 fd02::5 > ff02::1:ff00:77 who-has fd02::77",
            "neighbour_unanswered",
        ),
        (
            "10.1.0.77",
            "--proto icmp",
            "icmp 10.2.0.5 > 10.1.0.77 type 8 code 0",
            "unknown_destination",
        ),
        ("10.2.0.1", "--proto icmp", "icmp 10.2.0.5 > 10.2.0.1 type 8 code 0", "answered"),
    ] {
        let trace = ask(to, &carries.split(' ').collect::<Vec<_>>())?;
        let told = trace.stop.as_deref().unwrap_or(&trace.verdict);
        ensure!((trace.packet.as_str(), told) == (packet, verdict), "{to} {carries}: {trace:?}");
        let is_asked = trace.steps.iter().any(|step| step.stage == "resolve");
        ensure!(is_asked == packet.contains("who-has"), "{trace:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_a_known_flow_rests_on_is_said() -> Result<()> {
    let lab = Lab::new("known")?;
    let hosts = plug::hosts(&lab, SITE)?;
    let site = SITE.replace("[{direction: egress}, ", "[{id: out, direction: egress}, ");
    let site = site.replace("{direction: ingress}, ", "{id: in, direction: ingress}, ");
    let sekisho = Sekisho::start(&lab, &site)?;
    let asked = ["trace", "--port", "blue/pc", "--to", "10.2.0.5", "--proto", "udp"];
    let ports = ["--sport", "4000", "--dport", "53", "-o", "json"];
    let rests = |count: usize| -> Result<()> {
        let told = sekisho.cli(&[asked.as_slice(), &ports].concat())?.ok()?;
        let Trace { steps, .. } = serde_json::from_str(&told)?;
        let rests = "egress blue/open/out; ingress blue/open/in";
        let found = steps.iter().filter(|step| step.decision.ends_with(rests)).count();
        ensure!(found == count, "{steps:?}");
        Ok(())
    };
    rests(0)?;
    let frame = Frame::new([2, 0, 0, 0, 0, 0x0a], ROUTER).ip("10.1.0.10", "10.2.0.5").udp(4000, 53);
    let pc = hosts.get("blue-pc").context("no such host")?;
    pc.send_frame(&frame.build())?;
    rests(1)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_cannot_be_asked_is_said() -> Result<()> {
    let lab = Lab::new("askew")?;
    let red = "
  - name: red
    networks: [{name: n, subnets: [{cidr: 10.9.0.0/24}]}]
    ports: [{name: pc, network: n, interface: red-pc, mac: 02:00:00:00:00:1a, fixed_ips: [10.9.0.10]}]
";
    let site = format!("{SITE}{red}");
    let _hosts = plug::hosts(&lab, &site)?;
    let sekisho = Sekisho::start(&lab, &site)?;
    let file = write(&lab.folder().join("one.pcap"), &[datagram(Some(101), 8)])?;
    let bytes = fs::read(&file)?;
    let put = |name: &str, bytes: &[u8]| -> Result<String> {
        let path = lab.folder().join(name);
        fs::write(&path, bytes)?;
        Ok(format!("--interface trunk --pcap {}", path.display()))
    };
    let pcap = format!("--interface trunk --pcap {file}");
    let mut partial = bytes.clone();
    partial[39] = 200;
    for (line, code, words) in [
        (
            "--port nobody --to 10.1.0.10",
            1,
            "no port \"nobody\"; there are: blue/pc, blue/vm, red/pc",
        ),
        ("--port pc --to 10.1.0.10", 1, "several ports \"pc\"; give one of blue/pc, red/pc"),
        ("--port vm --to 10.1.0.10 --from fd01::10", 1, "--from fd01::10 and --to 10.1.0.10"),
        ("--port red/pc --to fd01::1", 1, "port red/pc has no address of the family of fd01::1"),
        ("--port vm --to 10.1.0.10 --vlan 5", 2, "cannot be used with '--vlan <VLAN>'"),
        (
            "--port vm --to 10.1.0.10 --interface trunk",
            2,
            "cannot be used with '--interface <NAME>'",
        ),
        ("--port vm --to 10.1.0.10 --dport 80", 1, "--dport means nothing for protocol icmp"),
        ("--to 10.1.0.10", 1, "who sends the packet?"),
        (&format!("{pcap} --to 10.1.0.10"), 2, "cannot be used with '--to <ADDRESS>'"),
        (&format!("{pcap} --vlan 5000"), 2, "it has to be a VLAN, 1 to 4094"),
        (&format!("{pcap} --service-vlan 5"), 2, "--vlan <VLAN>"),
        (&pcap.replace("trunk", "tap"), 1, "\"tap\"; there are: blue-pc, red-pc, trunk"),
        (&format!("{pcap}-2"), 1, "one.pcap-2: No such file"),
        (&put("empty", &bytes[..24])?, 1, "there is no frame in it"),
        (&put("next", &0x0a0d_0d0a_u32.to_le_bytes())?, 1, "it is pcapng; `tcpdump -r"),
        (&put("cut", &bytes[..bytes.len() - 1])?, 1, "1 of 1 frames could not be traced: 1"),
        (&put("partial", &partial)?, 1, "1 of 1 frames could not be traced: 1"),
    ] {
        let told = sekisho.cli(&[&["trace"], &*line.split(' ').collect::<Vec<_>>()].concat())?;
        ensure!(told.status.code() == Some(code), "{line}: {told:?}");
        ensure!(told.stderr.contains(words), "{line}: no {words:?} in {}", told.stderr);
    }
    Ok(())
}
