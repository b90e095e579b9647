//! Does a tenant's own DHCP server serve its network, and nobody else?

use std::fs;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sekisho_tests::build::Frame;
use sekisho_tests::process::{PATIENCE, SILENCE};
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::town::{judged, text};

/// Nobody's rules permit anything but that the server is reached by a ping.
const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks: [{name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}]
    ports:
      - {name: server, network: lan, interface: server, mac: 02:00:00:00:00:02, fixed_ips: [10.0.0.2, "fd00::2"], security_groups: [], dhcp_server: true}
      - {name: client, network: lan, interface: client, mac: 02:00:00:00:00:50, fixed_ips: [10.0.0.50, "fd00::50"], security_groups: []}
      - {name: rogue, network: lan, interface: rogue, mac: 02:00:00:00:00:66, fixed_ips: [10.0.0.66, "fd00::66"], security_groups: [open]}
    security_groups:
      - name: open
        rules: [{direction: ingress}, {direction: ingress, ethertype: IPv6}, {direction: egress}, {direction: egress, ethertype: IPv6}]
"#;
const ROGUE: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0x50];

/// Whether the frame is UDP between these ports.
fn is_udp(frame: &[u8], src: u16, dst: u16) -> bool {
    let at = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.get(23) == Some(&17) => 34,
        Some([0x86, 0xdd]) if frame.get(20) == Some(&17) => 54,
        _ => return false,
    };
    frame.get(at..at + 4) == Some(&[src.to_be_bytes(), dst.to_be_bytes()].concat()[..])
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_tenants_dhcp_server_serves_and_no_other_port_does() -> Result<()> {
    let lab = Lab::new("dhcp")?;
    let server = lab.host("server").mac("02:00:00:00:00:02");
    let server = server.address("10.0.0.2/24").address("fd00::2/64").build()?;
    let client = lab.host("client").mac(&text(CLIENT)).build()?;
    let rogue = lab.host("rogue").mac(&text(ROGUE)).address("10.0.0.66/24").build()?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let captures = [Capture::start(&rogue)?, Capture::start(&server)?, Capture::start(&client)?];

    let leases = format!("--dhcp-leasefile={}", lab.folder().join("leases").display());
    let mut serve = vec!["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"];
    serve.extend(["--interface=eth0", "--bind-interfaces", "--user=root", "--no-ping"]);
    serve.extend(["--pid-file=", "--log-facility=-", "--log-dhcp", "--dhcp-authoritative"]);
    serve.extend(["--dhcp-range=10.0.0.50,10.0.0.50,255.255.255.0,2m"]);
    serve.extend(["--dhcp-range=fd00::50,fd00::50,64,2m", &leases]);
    let _dnsmasq = server.spawn(&serve)?;

    // The client's program takes what it is given, and says so.
    let script = lab.folder().join("udhcpc.script");
    let take = "#!/bin/sh\ncase $1 in bound | renew) ip address replace $ip/24 dev $interface ;; esac\necho did $1 $ip\n";
    fs::write(&script, take)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    let script = script.display().to_string();
    let ask = ["udhcpc", "-i", "eth0", "-f", "-t", "10", "-T", "1", "-s", &script];
    let before = sekisho.tally()?;
    let udhcpc = client.spawn(&ask)?;
    udhcpc.wait_for_line("did bound 10.0.0.50")?;
    // It renews by a datagram to the server alone.
    udhcpc.signal(Signal::SIGUSR1)?;
    udhcpc.wait_for_line("did renew 10.0.0.50")?;

    // DHCPv6, as far as a server's answer to a solicitation.
    let answer = solicit(&client)?;
    ensure!(answer.first() == Some(&2), "no advertisement: {answer:02x?}");

    // Somebody else's answer reaches nobody: to everybody, to one, by IPv6.
    let offer = [[2, 1, 6, 0].as_slice(), &[0; 236]].concat();
    let says = |to| Frame::new(ROGUE, to);
    for frame in [
        says([0xff; 6]).ip("10.0.0.66", "255.255.255.255").udp(67, 68).payload(&offer),
        says(CLIENT).ip("10.0.0.66", "10.0.0.50").udp(67, 68).payload(&offer),
        says(CLIENT).ip("fd00::66", "fd00::50").udp(547, 546).payload(&[2, 0, 0, 0]),
    ] {
        rogue.send_frame(&frame.build())?;
    }
    thread::sleep(SILENCE / 5);
    let tally = sekisho.tally()?.since(&before)?;
    assert_eq!(tally.stopped("blue", "dhcp_server"), 3, "{tally:?}");

    let [at_rogue, at_server, at_client] = captures;
    let client_says = |bytes: &[u8]| is_udp(bytes, 68, 67) || is_udp(bytes, 546, 547);
    let server_says = |bytes: &[u8]| is_udp(bytes, 67, 68) || is_udp(bytes, 547, 546);
    ensure!(at_server.count(|frame| client_says(&frame.bytes)) >= 4, "the server was not asked");
    let from_rogue = |frame: &[u8]| server_says(frame) && frame.get(6..12) == Some(&ROGUE);
    assert_eq!(at_client.count(|frame| from_rogue(&frame.bytes)), 0, "the rogue was heard");
    assert_eq!(at_rogue.count(|frame| client_says(&frame.bytes)), 0, "the rogue was asked");
    [at_rogue, at_server, at_client].into_iter().try_for_each(judged)
}

/// Asks every DHCPv6 server of the link for an address; the first answer.
fn solicit(client: &Host) -> Result<Vec<u8>> {
    // Solicit, transaction 1; client identifier (the MAC); IA_NA; elapsed time (RFC 8415).
    let mut message = vec![1, 0, 0, 1];
    message.extend([0, 1, 0, 10, 0, 3, 0, 1]);
    message.extend(CLIENT);
    message.extend([0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([0, 8, 0, 2, 0, 0]);
    client.in_ns(|| -> Result<Vec<u8>> {
        let index = nix::net::if_::if_nametoindex("eth0")?;
        // The address that its MAC makes.
        let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x00ff, 0xfe00, 0x50);
        let socket = UdpSocket::bind(SocketAddrV6::new(own, 546, 0, index)).context("binding")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        let mut buffer = [0; 1500];
        for _ in 0..PATIENCE.as_secs() {
            socket.send_to(&message, SocketAddrV6::new(all, 547, 0, index))?;
            if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                return Ok(buffer[..length].to_vec());
            }
        }
        Ok(Vec::new())
    })?
}
