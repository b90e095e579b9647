//! Who has an address that two may have? The last that announced it, as with VRRP; and which
//! link-local addresses does a port have?

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::{PATIENCE, Process};
use sekisho_tests::traffic::ping;
use sekisho_tests::{Host, Lab, Sekisho};

use crate::town::{A, B, C, text};

/// `a` and `b` may have the service's addresses; `c` is their neighbour, `d` is beyond the
/// router.
const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: lan, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
      - {name: far, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd00:1::/64"}]}
    routers: [{name: r, mac: 02:00:00:00:00:01, interfaces: [{network: lan}, {network: far}]}]
    ports:
      - {name: a, network: lan, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [open], allowed_address_pairs: [{ip_address: 10.0.0.99}, {ip_address: "fd00::99"}]}
      - {name: b, network: lan, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.0.0.11, "fd00::11"], security_groups: [open], allowed_address_pairs: [{ip_address: 10.0.0.99}, {ip_address: "fd00::99"}]}
      - {name: c, network: lan, interface: blue-c, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.12, "fd00::12"], security_groups: [open]}
      - {name: d, network: far, interface: blue-d, mac: 02:00:00:00:00:0d, fixed_ips: [10.1.0.10, "fd00:1::10"], security_groups: [open]}
    security_groups:
      - name: open
        rules:
          - {direction: ingress}
          - {direction: ingress, ethertype: IPv6}
          - {direction: egress}
          - {direction: egress, ethertype: IPv6}
"#;
const SERVICE: [&str; 2] = ["10.0.0.99", "fd00::99"];
/// Longer than it takes until an announcement is in force, and another one after it.
const TAKEN: Duration = Duration::from_secs(6);

fn host(lab: &Lab, name: &str, mac: [u8; 6], [v4, v6]: [&str; 2], far: bool) -> Result<Host> {
    let (gateway4, gateway6) =
        if far { ("10.1.0.1", "fd00:1::1") } else { ("10.0.0.1", "fd00::1") };
    lab.host(name)
        .mac(&text(mac))
        .address(&format!("{v4}/24"))
        .address(&format!("{v6}/64"))
        .gateway(ip(gateway4))
        .gateway(ip(gateway6))
        .build()
}

struct Hosts {
    a: Host,
    b: Host,
    c: Host,
    d: Host,
}

impl Hosts {
    fn build(lab: &Lab) -> Result<Self> {
        Ok(Self {
            a: host(lab, "blue-a", A, ["10.0.0.10", "fd00::10"], false)?,
            b: host(lab, "blue-b", B, ["10.0.0.11", "fd00::11"], false)?,
            c: host(lab, "blue-c", C, ["10.0.0.12", "fd00::12"], false)?,
            d: host(lab, "blue-d", [2, 0, 0, 0, 0, 0x0d], ["10.1.0.10", "fd00:1::10"], true)?,
        })
    }
}

/// Tells everybody who connects which host it is.
fn serve(host: &Host, name: &str) -> Result<[Process; 2]> {
    let tell = format!("EXEC:echo {name}");
    let v4 = host.spawn(&["socat", "TCP4-LISTEN:7000,fork,reuseaddr", &tell])?;
    let v6 = host.spawn(&["socat", "TCP6-LISTEN:7000,ipv6only,fork,reuseaddr", &tell])?;
    Ok([v4, v6])
}

/// Who answers at the service's address, if anybody does.
fn who(client: &Host, address: &str) -> Result<String> {
    let to = match ip(address) {
        IpAddr::V4(_) => format!("TCP4:{address}:7000,connect-timeout=1"),
        IpAddr::V6(_) => format!("TCP6:[{address}]:7000,connect-timeout=1"),
    };
    let output = client.run_within(&["socat", "-u", &to, "STDOUT"], PATIENCE)?;
    Ok(output.stdout.trim().to_owned())
}

/// Waits until it is this host, for both addresses and both clients.
fn becomes(hosts: &Hosts, name: &str) -> Result<()> {
    let deadline = Instant::now() + TAKEN;
    for (client, address) in
        [&hosts.c, &hosts.d].into_iter().flat_map(|client| SERVICE.map(|to| (client, to)))
    {
        loop {
            let found = who(client, address)?;
            if found == name {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "{} finds {found:?} at {address}, not {name}",
                client.name()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// The host has the service's addresses from now on, and says so.
fn take(host: &Host) -> Result<()> {
    host.sysctl("ipv6/conf/eth0/ndisc_notify", "1")?;
    host.run(&["ip", "address", "add", "10.0.0.99/32", "dev", "eth0"])?.ok()?;
    host.run(&["ip", "address", "add", "fd00::99/128", "dev", "eth0"])?.ok()?;
    announce(host)
}

fn announce(host: &Host) -> Result<()> {
    host.run_within(&["arping", "-q", "-U", "-c", "3", "-I", "eth0", "10.0.0.99"], PATIENCE)?;
    Ok(())
}

/// It has them no more, and says nothing.
fn leave(host: &Host) -> Result<()> {
    host.run(&["ip", "address", "del", "10.0.0.99/32", "dev", "eth0"])?.ok()?;
    host.run(&["ip", "address", "del", "fd00::99/128", "dev", "eth0"])?.ok()?;
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn the_last_that_announced_an_address_pair_has_it() -> Result<()> {
    let lab = Lab::new("takeover")?;
    let hosts = Hosts::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, SITE)?;
    let _servers = [serve(&hosts.a, "a")?, serve(&hosts.b, "b")?, serve(&hosts.c, "c")?];
    take(&hosts.a)?;
    becomes(&hosts, "a")?;
    // The other takes it, and gives it back.
    leave(&hosts.a)?;
    take(&hosts.b)?;
    becomes(&hosts, "b")?;
    leave(&hosts.b)?;
    take(&hosts.a)?;
    becomes(&hosts, "a")?;

    // Who may not have it does not get it.
    let before = sekisho.tally()?;
    let says = |mac: [u8; 6]| {
        let frame = Frame::new(mac, [0xff; 6]);
        frame.arp(1, (mac, "10.0.0.99"), ([0; 6], "10.0.0.99")).build()
    };
    let advertises = |mac: [u8; 6], src: &str| {
        let frame = Frame::new(mac, [0x33, 0x33, 0, 0, 0, 1]).ip(src, "ff02::1");
        frame.neighbour(136, 0x20, "fd00::99", Some((2, mac))).build()
    };
    for _ in 0..3 {
        hosts.c.send_frame(&says(C))?;
        hosts.c.send_frame(&advertises(C, "fd00::12"))?;
    }
    let tally = sekisho.tally()?.since(&before)?;
    assert_eq!(tally.stopped("blue", "spoofed_arp"), 3, "{tally:?}");
    assert_eq!(tally.stopped("blue", "spoofed_neighbour"), 3, "{tally:?}");
    thread::sleep(Duration::from_millis(500));
    becomes(&hosts, "a")?;

    // Whoever has it and says so at once has not lost it, however soon after another that is.
    for pause_ms in [0, 30, 200] {
        hosts.b.send_frame(&says(B))?;
        hosts.b.send_frame(&advertises(B, "fd00::11"))?;
        thread::sleep(Duration::from_millis(pause_ms));
        hosts.a.send_frame(&says(A))?;
        hosts.a.send_frame(&advertises(A, "fd00::10"))?;
        thread::sleep(Duration::from_millis(1500));
        becomes(&hosts, "a")?;
    }

    // It survives the daemon's end and its start; meanwhile nobody can take it.
    sekisho.balance()?;
    sekisho.unbalanced("a daemon's own announcements are forgotten, and a port's counters go");
    sekisho.kill()?;
    hosts.b.send_frame(&says(B))?;
    hosts.b.send_frame(&advertises(B, "fd00::11"))?;
    thread::sleep(Duration::from_millis(300));
    announce(&hosts.a)?;
    becomes(&hosts, "a")?;
    sekisho.start_again()?;
    leave(&hosts.a)?;
    take(&hosts.b)?;
    becomes(&hosts, "b")?;
    sekisho.kill()?;
    sekisho.start_again()?;
    becomes(&hosts, "b")?;
    // Who takes it while no daemon listens has it as soon as one does.
    sekisho.kill()?;
    leave(&hosts.b)?;
    take(&hosts.a)?;
    sekisho.start_again()?;
    becomes(&hosts, "a")?;
    leave(&hosts.a)?;
    take(&hosts.b)?;
    becomes(&hosts, "b")?;

    // Whoever had it and is taken out of the file has lost it, also when it comes again.
    let line = SITE.lines().find(|line| line.contains("name: b,")).unwrap_or_default();
    sekisho.change(&SITE.replace(line, ""))?;
    sekisho.change(SITE)?;
    leave(&hosts.b)?;
    hosts.a.run(&["ip", "address", "add", "10.0.0.99/32", "dev", "eth0"])?.ok()?;
    hosts.a.run(&["ip", "address", "add", "fd00::99/128", "dev", "eth0", "nodad"])?.ok()?;
    for client in [&hosts.c, &hosts.d] {
        client.run(&["ip", "neighbour", "flush", "dev", "eth0"])?.ok()?;
    }
    becomes(&hosts, "a")
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn two_that_fight_for_an_address_do_not_keep_the_daemon_busy() -> Result<()> {
    let lab = Lab::new("fight")?;
    let hosts = Hosts::build(&lab)?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let says = |mac: [u8; 6]| {
        let frame = Frame::new(mac, [0xff; 6]);
        frame.arp(1, (mac, "10.0.0.99"), ([0; 6], "10.0.0.99")).build()
    };
    let (tally, before) = (sekisho.tally()?, sekisho.status()?.site_version);
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(4) {
        for (host, mac) in [(&hosts.a, A), (&hosts.b, B)] {
            host.send_frame(&says(mac))?;
            sent += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(1500));
    let (took, after) = (start.elapsed(), sekisho.status()?.site_version);
    let versions = after - before;
    println!("{sent} announcements in {took:?}: {versions} versions");
    // At first, and once a second.
    ensure!(versions >= 2 && u64::from(versions) <= took.as_secs() + 2, "{versions} in {took:?}");
    let tally = sekisho.tally()?.since(&tally)?;
    ensure!(tally.stopped("blue", "claim_rate") > 0, "{tally:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_port_has_link_local_addresses() -> Result<()> {
    let lab = Lab::new("linklocal")?;
    let hosts = Hosts::build(&lab)?;
    let sekisho = Sekisho::start(&lab, SITE)?;
    let (a, b, c) = (&hosts.a, &hosts.b, &hosts.c);
    // Those that their MACs make.
    let own = |last: u8| ip(&format!("fe80::ff:fe00:{last:x}"));
    reaches(a, &own(0x0b).to_string())?;
    reaches(b, &own(0x0c).to_string())?;

    // One that nobody has is whose who looks whether it is free.
    for host in [a, c] {
        host.sysctl("ipv6/conf/eth0/accept_dad", "1")?;
        host.sysctl("ipv6/conf/eth0/dad_transmits", "1")?;
    }
    c.run(&["ip", "address", "add", "fe80::1234/64", "dev", "eth0"])?.ok()?;
    reaches(b, "fe80::1234")?;
    // Then it is nobody else's.
    a.run(&["ip", "address", "add", "fe80::1234/64", "dev", "eth0"])?.ok()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = a.run(&["ip", "-o", "-6", "address", "show", "to", "fe80::1234"])?.ok()?;
        if shown.contains("dadfailed") {
            break;
        }
        ensure!(Instant::now() < deadline, "the duplicate was not found: {shown}");
        thread::sleep(Duration::from_millis(50));
    }
    // One that was claimed by nobody is spoofed.
    let before = sekisho.tally()?;
    let marked = Frame::new(B, C).ip("fe80::9999", "fe80::ff:fe00:c").icmp(128, 0, [0, 1, 0, 1]);
    b.send_frame(&marked.build())?;
    thread::sleep(Duration::from_millis(200));
    let tally = sekisho.tally()?.since(&before)?;
    assert_eq!(tally.stopped("blue", "spoofed_address"), 1, "{tally:?}");
    reaches(b, "fe80::1234")
}

fn reaches(from: &Host, address: &str) -> Result<()> {
    let deadline = Instant::now() + TAKEN;
    loop {
        // It warns of the source, which is chosen by the destination alone.
        if ping(from, ip(address), 1, &["-I", "eth0"])?.received == 1 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} does not reach {address}", from.name());
    }
}
