//! Do all kinds of attachments work together: XDP and tcx, tagged and not, veth and tap, with
//! everything at the hosts at the kernel's defaults?

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::check::{self, checksum};
use sekisho_tests::lab::{HostBuilder, VnetHeader};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange, udp_send};
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{contains, judged};

/// A VLAN, or a service VLAN and one in it.
#[derive(Clone, Copy)]
enum Tags {
    None,
    One(u16),
    Two(u16, u16),
}

impl Tags {
    /// As the site file has them, each behind this.
    fn written(self, before: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::One(vlan) => format!("{before}vlan: {vlan}"),
            Self::Two(service, vlan) => {
                format!("{before}vlan: {vlan}{before}service_vlan: {service}")
            }
        }
    }

    /// A frame that has them.
    fn of(self, frame: Frame) -> Frame {
        match self {
            Self::None => frame,
            Self::One(vlan) => frame.vlan(vlan),
            Self::Two(service, vlan) => frame.tag(0x88a8, service).vlan(vlan),
        }
    }

    /// A host that has them.
    fn on(self, host: HostBuilder<'_>) -> HostBuilder<'_> {
        match self {
            Self::None => host,
            Self::One(vlan) => host.vlan(vlan),
            Self::Two(service, vlan) => host.vlan(vlan).service_vlan(service),
        }
    }
}

/// Uplinks: at XDP and at tcx, without a VLAN, with one, and with one in a service VLAN.
const UPLINKS: [(&str, &str, Tags); 6] = [
    ("nic-1", "xdp", Tags::None),
    ("nic-2", "tcx", Tags::None),
    ("nic-3", "auto", Tags::One(10)),
    ("nic-4", "tcx", Tags::One(20)),
    ("nic-5", "xdp", Tags::Two(40, 10)),
    ("nic-6", "tcx", Tags::Two(40, 20)),
];
/// Ports: as they are, with a VLAN, at XDP, and with one in a service VLAN.
const PORTS: [(&str, &str, Tags); 4] = [
    ("port-1", "auto", Tags::None),
    ("port-2", "auto", Tags::One(101)),
    ("port-3", "xdp", Tags::None),
    ("port-4", "auto", Tags::Two(50, 101)),
];
/// Accesses, each with a line for each uplink.
const ACCESSES: [(&str, &str, Tags); 3] = [
    ("access-1", "xdp", Tags::One(300)),
    ("access-2", "tcx", Tags::None),
    ("access-3", "xdp", Tags::Two(60, 300)),
];

/// Everything of each is in `10.<what>.<number>.0/24` and `fd00:<what>:<number>::/64`.
fn site() -> String {
    let mut ports = String::new();
    for (number, (name, hook, tags)) in (1..).zip(PORTS) {
        ports += &format!(
            "      - {{name: {name}, network: inside, interface: {name}, hook: {hook}{}, mac: 02:00:00:00:00:0{number}, fixed_ips: [10.1.1.{number}0, \"fd00:1:1::{number}0\"], security_groups: [open]}}\n",
            tags.written(", ")
        );
    }
    let [mut routes, mut uplinks, mut lines, mut sessions] = [const { String::new() }; 4];
    for (number, (name, hook, tags)) in (1..).zip(UPLINKS) {
        routes += &format!(
            "          - {{destination: 10.3.{number}.0/24, uplink: {name}}}\n          - {{destination: \"fd00:3:{number}::/64\", uplink: {name}}}\n"
        );
        let mut exports = String::from(
            "      - {prefix: 10.1.1.0/24, tenant: blue, router: r}\n      - {prefix: \"fd00:1:1::/64\", tenant: blue, router: r}\n",
        );
        for (access, (access_name, ..)) in (1..).zip(ACCESSES) {
            exports += &format!(
                "      - {{prefix: 10.{access}4.0.0/16, access: {access_name}}}\n      - {{prefix: \"fd00:{access}4::/32\", access: {access_name}}}\n"
            );
            lines += &format!(
                "      - {{name: line-{access}-{number}, number: \"+8190000000{access}{number}\", access: {access_name}, uplink: {name}}}\n"
            );
            sessions += &format!(
                "  - {{access: {access_name}, number: \"+8190000000{access}{number}\", addresses: [10.{access}4.{number}.1, \"fd00:{access}4:{number}::/64\"]}}\n"
            );
        }
        uplinks += &format!("  - name: {name}\n    interface: {name}\n    hook: {hook}");
        uplinks += &tags.written("\n    ");
        uplinks += &format!(
            "\n    addresses: [10.3.{number}.254/24, \"fd00:3:{number}::fe/64\"]\n    next_hops: [{{address: 10.3.{number}.1}}, {{address: \"fd00:3:{number}::1\"}}]\n    exports:\n{exports}"
        );
    }
    let mut accesses = String::new();
    for (number, (name, hook, tags)) in (1..).zip(ACCESSES) {
        accesses += &format!(
            "  - {{name: {name}, interface: {name}, hook: {hook}{}, addresses: [10.5.{number}.254/24, \"fd00:5:{number}::fe/64\"], next_hop: {{address: 10.5.{number}.1}}, pools: [10.{number}4.0.0/16, \"fd00:{number}4::/32\"]}}\n",
            tags.written(", ")
        );
    }
    format!(
        r#"
version: 1
tenants:
  - name: blue
    networks:
      - {{name: inside, subnets: [{{cidr: 10.1.1.0/24}}, {{cidr: "fd00:1:1::/64"}}]}}
    ports:
{ports}    routers:
      - name: r
        interfaces: [{{network: inside}}]
        routes:
{routes}    security_groups:
      - name: open
        rules:
          - {{direction: ingress}}
          - {{direction: ingress, ethertype: IPv6}}
          - {{direction: egress}}
          - {{direction: egress, ethertype: IPv6}}
    lines:
{lines}accesses:
{accesses}entitlements:
  - {{tenant: blue, access: access-1, numbers: ["+819000000011..+819000000019"]}}
  - {{tenant: blue, access: access-2, numbers: ["+819000000021..+819000000029"]}}
  - {{tenant: blue, access: access-3, numbers: ["+819000000031..+819000000039"]}}
sessions:
{sessions}uplinks:
{uplinks}"#
    )
}

/// A NIC's host at the other end, with the first addresses of its networks.
fn outside(lab: &Lab, name: &str, tags: Tags, net: &str, lines: &[[String; 2]]) -> Result<Host> {
    let mut host = tags.on(lab.nic(name));
    host = host.address(&format!("10.{}.1/24", net.replace(':', ".")));
    host = host.address(&format!("fd00:{net}::1/64"));
    for [v4, v6] in lines {
        host = host.address(&format!("{v4}/32")).address(&format!("{v6}/128"));
    }
    let gateway_v4 = ip(&format!("10.{}.254", net.replace(':', ".")));
    host.gateway(gateway_v4).gateway(ip(&format!("fd00:{net}::fe"))).build()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn xdp_and_tcx_and_vlans_carry_tcp_to_each_other() -> Result<()> {
    let lab = Lab::new("mixed")?;
    let mut nics = Vec::new();
    for (number, (name, _, tags)) in (1..).zip(UPLINKS) {
        nics.push(outside(&lab, name, tags, &format!("3:{number}"), &[])?);
    }
    let mut accesses = Vec::new();
    for (number, (name, _, tags)) in (1..).zip(ACCESSES) {
        let line = |to| [format!("10.{number}4.{to}.1"), format!("fd00:{number}4:{to}::1")];
        let lines: Vec<_> = (1..=UPLINKS.len()).map(line).collect();
        accesses.push(outside(&lab, name, tags, &format!("5:{number}"), &lines)?);
    }
    let mut ports = Vec::new();
    for (number, (name, hook, tags)) in (1..).zip(PORTS) {
        let mut host = tags.on(lab.host(name)).mac(&format!("02:00:00:00:00:0{number}"));
        host = host.address(&format!("10.1.1.{number}0/24"));
        host = host.address(&format!("fd00:1:1::{number}0/64"));
        let host = host.gateway(ip("10.1.1.1")).gateway(ip("fd00:1:1::1")).build()?;
        if hook == "xdp" {
            // What the warning asks for.
            host.run(&["ethtool", "-K", host.link(), "tx", "off", "gro", "on"])?.ok()?;
        }
        ports.push(host);
    }
    let sekisho = Sekisho::start(&lab, &site())?;
    sekisho.process()?.wait_for_line("XDP on port port-3")?;
    let status = sekisho.status()?;
    let hooked = |name: &str| {
        let at = status.attachments.iter().find(|at| at.interface == name);
        at.map_or("nowhere", |at| at.hook.as_str()).to_owned()
    };
    for (name, hook, _) in UPLINKS.into_iter().chain(ACCESSES) {
        assert_eq!(hooked(name), if hook == "tcx" { "tcx" } else { "xdp" }, "{name}");
    }
    assert_eq!([hooked("port-1"), hooked("port-3")], ["tcx", "xdp"]);

    let hosts: Vec<&Host> = nics.iter().chain(&accesses).chain(&ports).collect();
    let servers = hosts.iter().map(|host| TcpEchoServer::start(host, 7000));
    let _servers = servers.collect::<Result<Vec<_>>>()?;
    // Small exchanges are judged, large ones only have to come back whole.
    for (length, is_judged) in [(30_000, true), (1_500_000, false)] {
        let captures = hosts.iter().map(|host| Capture::start(host));
        let captures = if is_judged { captures.collect::<Result<Vec<_>>>()? } else { Vec::new() };
        for (number, nic) in nics.iter().enumerate() {
            let (uplink, far) = (UPLINKS[number].0, number + 1);
            let beyond = [ip(&format!("10.3.{far}.1")), ip(&format!("fd00:3:{far}::1"))];
            for (at, port) in ports.iter().enumerate() {
                let (name, near) = (PORTS[at].0, at + 1);
                let own = [ip(&format!("10.1.1.{near}0")), ip(&format!("fd00:1:1::{near}0"))];
                for (own, beyond) in own.into_iter().zip(beyond) {
                    exchange(port.into(), beyond, length).context(format!("{name} to {uplink}"))?;
                    exchange(nic.into(), own, length).context(format!("{uplink} to {name}"))?;
                }
            }
            for (at, access) in accesses.iter().enumerate() {
                let near = at + 1;
                let line = [format!("10.{near}4.{far}.1"), format!("fd00:{near}4:{far}::1")];
                for (line, beyond) in line.iter().map(|line| ip(line)).zip(beyond) {
                    let name = ACCESSES[at].0;
                    exchange(access.from(line), beyond, length)
                        .context(format!("{name} to {uplink}"))?;
                    exchange(nic.into(), line, length).context(format!("{uplink} to {name}"))?;
                }
            }
        }
        // Between ports of one network, within the segment.
        for (from, to) in
            (0..PORTS.len()).flat_map(|from| (0..PORTS.len()).map(move |to| (from, to)))
        {
            let own = [format!("10.1.1.{}0", to + 1), format!("fd00:1:1::{}0", to + 1)];
            for own in own.iter().filter(|_| from != to) {
                exchange((&ports[from]).into(), ip(own), length)
                    .context(format!("{} to {}", PORTS[from].0, PORTS[to].0))?;
            }
        }
        captures.into_iter().try_for_each(judged)?;
    }
    Ok(())
}

fn exchange(from: sekisho_tests::traffic::Client<'_>, to: IpAddr, length: usize) -> Result<()> {
    tcp_exchange(from, (to, 7000).into(), length, PATIENCE)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_virtual_machine_at_a_tap_is_a_tenant_like_others() -> Result<()> {
    for tags in [Tags::None, Tags::One(7), Tags::Two(5, 7)] {
        machine(tags).with_context(|| tags.written(""))?;
    }
    Ok(())
}

/// One that tags its frames itself, and gets them tagged.
fn machine(tags: Tags) -> Result<()> {
    let lab = Lab::new("tap")?;
    let vm = lab.tap("tap-1")?;
    let b = crate::town::host(&lab, "blue-b", [2, 0, 0, 0, 0, 0x0b], ["10.1.0.10", "fd00:1::10"])?;
    let site = &r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: inside, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
      - {name: public, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd00:1::/64"}]}
    routers:
      - {name: r, mac: 02:00:00:00:00:01, interfaces: [{network: inside}, {network: public}]}
    ports:
      - {name: vm, network: inside, interface: tap-1TAGS, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open]}
      - {name: b, network: public, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.1.0.10, "fd00:1::10"], security_groups: [open]}
    security_groups:
      - name: open
        rules:
          - {direction: ingress}
          - {direction: ingress, ethertype: IPv6}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
"#
    .replace("TAGS", &tags.written(", "));
    let _sekisho = Sekisho::start(&lab, site)?;
    let capture = Capture::start(&b)?;
    for (own, to) in [("10.0.0.10", "10.1.0.10"), ("fd00::10", "fd00:1::10")] {
        // Its driver leaves the checksum to the host: the field has the pseudo header's sum.
        let of_machine = tags.of(Frame::new([2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 0, 1]));
        let datagram =
            of_machine.clone().ip(own, to).udp(5000, 7001).payload(b"from a virtual machine");
        let mut frame = datagram.build();
        let transport = check::l3(&frame) + if ip(own).is_ipv4() { 20 } else { 40 };
        let right = [frame[transport + 6], frame[transport + 7]];
        frame[transport + 6..transport + 8].fill(0);
        let rest = checksum(&frame[transport..]);
        // The whole sum less that of the datagram is the pseudo header's.
        let sum = checksum(&[!right[0], !right[1], rest[0], rest[1]]);
        let sum = [!sum[0], !sum[1]];
        frame[transport + 6..transport + 8].copy_from_slice(&sum);
        let header = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: transport as u16,
            csum_offset: 6,
            ..VnetHeader::default()
        };
        vm.send(header, &frame)?;
        let seen = capture.wait_for(PATIENCE, |seen| contains(&seen.bytes, b"from a virtual"));
        seen.with_context(|| format!("{to} received nothing"))?;

        udp_send(&b, (ip(own), 5000).into(), b"to a virtual machine")?;
        let answer = vm.receive(PATIENCE, |frame| contains(frame, b"to a virtual machine"))?;
        let (header, answer) = answer.context("the virtual machine received nothing")?;
        assert_eq!(answer[..12], [2, 0, 0, 0, 0, 0x0a, 2, 0, 0, 0, 0, 1]);
        assert_eq!(answer[12..check::l3(&frame)], frame[12..check::l3(&frame)], "its tags");
        if header.flags & VnetHeader::NEEDS_CSUM != 0 {
            assert_eq!((usize::from(header.csum_start), header.csum_offset), (transport, 6));
        } else {
            ensure!(answer[transport + 6..transport + 8] != [0, 0], "no checksum at all");
        }
        // It answers a ping.
        let request = of_machine.ip(own, to);
        let (kind, reply) = if ip(own).is_ipv4() { (8, 0) } else { (128, 129) };
        let request = request.icmp(kind, 0, [0, 7, 0, 1]).payload(b"echo of a machine").build();
        vm.send(VnetHeader::default(), &request)?;
        let echoed = |frame: &[u8]| {
            frame.get(transport) == Some(&reply) && contains(frame, b"echo of a machine")
        };
        vm.receive(PATIENCE, echoed)?.context("no echo")?;
    }
    assert!(ping(&b, ip("10.1.0.1"), 1, &[])?.all_answered());
    judged(capture)
}
