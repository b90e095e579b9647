//! Does a NIC serve the host and its tenants at once: the host what is listed as its own, and
//! nobody anything of the other's?

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::lab::Wire;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange};
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::operations::Interface;
use crate::town::{A_ADDRESSES, Site, Town, judged, mac_of};

/// Enough for what is to succeed, even if a first packet is lost.
const BRIEF: Duration = Duration::from_secs(3);
/// The host's own, which sekisho has too, and one that is the host's alone.
const BOTH: &str = "198.51.100.2";
const ALONE: [&str; 2] = ["198.51.100.5", "2001:db8:ff::5"];
/// Who may reach what of the host is restricted, and who may not.
const OPERATOR: [&str; 2] = ["198.51.100.1", "2001:db8:ff::1"];
const OTHER: [&str; 2] = ["198.51.100.9", "2001:db8:ff::9"];

const HOST: &str = r#"
    host:
      addresses:
        - {address: 198.51.100.2, protocol: tcp, port: 22, sources: [198.51.100.1/32]}
        - {address: 198.51.100.2, protocol: udp, source_port: 53, sources: [198.51.100.1/32]}
        - {address: 198.51.100.2, protocol: tcp, source_port: 443}
        - {address: 198.51.100.5, sources: [198.51.100.1/32]}
        - {address: "2001:db8:ff::5", protocol: icmp}
        - {address: "2001:db8:ff::5", protocol: tcp, port: 22, sources: ["2001:db8:ff::1/128"]}
      lldp: true
"#;

fn site(hook: &str, host: &str) -> String {
    let blue = Site::town().0.replacen(
        "interfaces: [{network: inside}, {network: public}]}",
        "interfaces: [{network: inside}, {network: public}], routes: [{destination: 0.0.0.0/0, uplink: out}, {destination: \"::/0\", uplink: out}]}",
        1,
    );
    format!(
        "{blue}\nuplinks:\n  - name: out\n    interface: nic\n    hook: {hook}\n    addresses: [198.51.100.2/24, \"2001:db8:ff::2/64\"]\n    next_hops: [{{address: 198.51.100.1}}, {{address: \"2001:db8:ff::1\"}}]\n    exports:\n      - {{prefix: 10.0.0.0/24, tenant: blue, router: r}}\n      - {{prefix: \"fd00::/64\", tenant: blue, router: r}}\n{host}"
    )
}

fn dut(lab: &Lab, words: &str) -> Result<String> {
    lab.dut().run(&words.split_whitespace().collect::<Vec<_>>())?.ok()
}

/// The network beyond the NIC: the operator, and somebody else.
fn outside(lab: &Lab) -> Result<Host> {
    let mut host = lab.nic("nic").mac("02:00:00:00:ff:01");
    for [v4, v6] in [OPERATOR, OTHER] {
        host = host.address(&format!("{v4}/24")).address(&format!("{v6}/64"));
    }
    let host = host.build()?;
    let run = |words: &str| host.run(&words.split(' ').collect::<Vec<_>>())?.ok().map(drop);
    run("ip route add 10.0.0.0/24 via 198.51.100.2")?;
    run("ip -6 route add fd00::/64 via 2001:db8:ff::2")?;
    Ok(host)
}

/// Does a client with this address get a connection to a service of the device's own?
fn connects(lab: &Lab, from: &Host, source: &str, to: &str, port: u16) -> Result<bool> {
    let _server = TcpEchoServer::start(lab.dut(), port)?;
    let to = SocketAddr::new(ip(to), port);
    Ok(tcp_exchange((&**from, ip(source)), to, 20_000, BRIEF).is_ok())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_host_and_its_tenants_share_a_nic_at_xdp() -> Result<()> {
    share("xdp", "shared-xdp")
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_host_and_its_tenants_share_a_nic_at_tcx() -> Result<()> {
    share("tcx", "shared-tcx")
}

fn share(hook: &str, name: &str) -> Result<()> {
    let lab = Lab::new(name)?;
    let town = Town::build(&lab)?;
    let outside = outside(&lab)?;
    for own in [BOTH, ALONE[0], ALONE[1]] {
        let bits = if ip(own).is_ipv4() { 24 } else { 64 };
        dut(&lab, &format!("ip address add {own}/{bits} dev nic"))?;
    }
    let before = Interface::look(&lab, "nic")?;

    // Without `host:`, or with a list in which one is missing, the NIC is not taken.
    let refused = Sekisho::new(&lab, &site(hook, ""))?.refused()?;
    ensure!(refused.stderr.contains("has the address 198.51.100.2"), "{refused:?}");
    ensure!(refused.stderr.contains("`host:`"), "{refused:?}");
    let short = HOST.replace("198.51.100.5", "198.51.100.6");
    let refused = Sekisho::new(&lab, &site(hook, &short))?.refused()?;
    ensure!(refused.stderr.contains("has the address 198.51.100.5"), "{refused:?}");
    ensure!(Interface::look(&lab, "nic")? == before, "a refusal changed the NIC");

    let mut sekisho = Sekisho::start(&lab, &site(hook, HOST))?;
    sekisho.shares("nic");
    let during = Interface::look(&lab, "nic")?;
    ensure!(!during.is_noarp && during.disable_ipv6 == "0", "{during:?}");
    let counted = sekisho.tally()?;

    // The host's own: both ways by ARP and neighbour discovery, for listed sources only.
    for (own, from, other) in [(ALONE[0], OPERATOR[0], OTHER[0]), (ALONE[1], OPERATOR[1], OTHER[1])]
    {
        ensure!(connects(&lab, &outside, from, own, 22)?, "{from} to {own}");
        ensure!(!connects(&lab, &outside, other, own, 22)?, "{other} to {own}");
        ensure!(ping((lab.dut(), ip(own)), ip(from), 2, &[])?.all_answered(), "{own} to {from}");
    }
    ensure!(ping((&*outside, ip(OPERATOR[0])), ip(ALONE[0]), 2, &[])?.all_answered(), "echo");
    ensure!(ping((&*outside, ip(OTHER[1])), ip(ALONE[1]), 2, &[])?.all_answered(), "echo, IPv6");
    ensure!(ping((&*outside, ip(OTHER[0])), ip(ALONE[0]), 1, &[])?.received == 0, "no echo");
    // Of the address that both have only what is listed is the host's.
    ensure!(connects(&lab, &outside, OPERATOR[0], BOTH, 22)?, "ssh");
    ensure!(!connects(&lab, &outside, OTHER[0], BOTH, 22)?, "ssh from elsewhere");
    ensure!(!connects(&lab, &outside, OPERATOR[0], BOTH, 80)?, "another port");
    // The host asks for something: the answers come, and nobody comes in by their way.
    let _server = TcpEchoServer::start(&outside, 443)?;
    tcp_exchange((lab.dut(), ip(BOTH)), (ip(OPERATOR[0]), 443).into(), 20_000, PATIENCE)
        .context("the host as a client")?;
    let tally = sekisho.tally()?.since(&counted)?;
    ensure!(tally.stopped("-", "host_denied") > 0, "{tally:?}");
    ensure!(tally.at("nic")?.passed.packets > 40, "{tally:?}");

    // Tenants go on by the same NIC, and reach nothing of the host's.
    let capture = Capture::start(&town.blue_a)?;
    for to in OPERATOR {
        let until = Instant::now() + PATIENCE;
        while !ping(&town.blue_a, ip(to), 1, &[])?.all_answered() {
            ensure!(Instant::now() < until, "a tenant to {to}");
        }
    }
    let before_tenant = sekisho.tally()?;
    for own in [BOTH, ALONE[0], ALONE[1]] {
        ensure!(!connects(&lab, &town.blue_a, address_like(own), own, 22)?, "a tenant to {own}");
    }
    let tally = sekisho.tally()?.since(&before_tenant)?;
    ensure!(tally.stopped("blue", "protected_destination") >= 3, "{tally:?}");
    ensure!(tally.at("nic")?.passed.packets < 20, "{tally:?}");
    // From outside with a source that is inside nothing is the host's.
    let before_spoof = sekisho.tally()?;
    let nic_mac = mac_of(&lab, "nic")?;
    let spoofed = |src: &str, dst: &str| {
        Frame::new([2, 0, 0, 0, 0xff, 1], nic_mac).ip(src, dst).tcp(1000, 22, 2, 0, 0).build()
    };
    for (src, dst) in [(A_ADDRESSES[0], ALONE[0]), (BOTH, ALONE[0]), (ALONE[0], ALONE[0])] {
        outside.send_frame(&spoofed(src, dst))?;
    }
    thread::sleep(Duration::from_millis(200));
    let tally = sekisho.tally()?.since(&before_spoof)?;
    let stops: u64 = tally.stops().map(|(_, _, packets)| packets).sum();
    ensure!(stops >= 3, "{tally:?}");
    judged(capture)?;

    // LLDP goes up; LACP, which nobody listed, does not.
    let heard =
        lab.dut().spawn(&["tcpdump", "-n", "-l", "-i", "nic", "ether", "proto", "0x88cc"])?;
    heard.wait_for_line("listening")?;
    let before_link = sekisho.tally()?;
    let link = |last: u8, ethertype: [u8; 2], subtype: u8| {
        let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, last, 2, 0, 0, 0, 0xff, 1];
        frame.extend(ethertype);
        frame.extend([subtype; 60]);
        frame
    };
    outside.send_frame(&link(0x0e, [0x88, 0xcc], 2))?;
    outside.send_frame(&link(0x02, [0x88, 0x09], 1))?;
    thread::sleep(Duration::from_millis(200));
    let tally = sekisho.tally()?.since(&before_link)?;
    ensure!(tally.at("nic")?.passed.packets >= 1, "{tally:?}");
    ensure!(tally.stopped("-", "ethertype_unsupported") == 1, "{tally:?}");

    // A trace says whose it is.
    let trace = |port: &str| {
        sekisho
            .cli(&[
                "trace",
                "--uplink",
                "out",
                "--from",
                OPERATOR[0],
                "--to",
                ALONE[0],
                "--proto",
                "tcp",
                "--dport",
                port,
            ])?
            .ok()
    };
    ensure!(trace("22")?.contains("passed up to the host"), "{}", trace("22")?);

    // Less is the host's from now on, at once; and more again.
    let less = HOST.replace(
        "{address: 198.51.100.5, sources: [198.51.100.1/32]}",
        "{address: 198.51.100.5, protocol: tcp, port: 23}",
    );
    sekisho.change(&site(hook, &less))?;
    ensure!(!connects(&lab, &outside, OPERATOR[0], ALONE[0], 22)?, "after it was taken away");
    sekisho.change(&site(hook, HOST))?;
    ensure!(connects(&lab, &outside, OPERATOR[0], ALONE[0], 22)?, "after it was given back");
    // What the host has on the NIC cannot be left out of the list.
    let refused = sekisho.apply(&site(hook, ""))?;
    ensure!(refused.stderr.contains("has the address 198.51.100.2"), "{refused:?}");
    ensure!(connects(&lab, &outside, OPERATOR[0], ALONE[0], 22)?, "after a refusal");
    ensure!(Interface::look(&lab, "nic")? == during, "a refusal changed the NIC");
    sekisho.write(&site(hook, HOST))?;

    let at_end = sekisho.end()?;
    ensure!(at_end.contains("nic"), "{at_end}");
    ensure!(Interface::look(&lab, "nic")? == before, "not as it was before");
    ensure!(dut(&lab, "ip address show dev nic")?.contains(ALONE[1]), "its addresses are gone");
    Ok(())
}

fn address_like(of: &str) -> &'static str {
    if ip(of).is_ipv4() { A_ADDRESSES[0] } else { A_ADDRESSES[1] }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn nobody_cuts_off_the_branch_that_he_sits_on() -> Result<()> {
    let lab = Lab::new("branch")?;
    let town = Town::build(&lab)?;
    let outside = outside(&lab)?;
    let host = |rule: &str| format!("    host: {{addresses: [{{address: 198.51.100.2{rule}}}]}}\n");
    let ssh = ", protocol: tcp, port: 22, sources: [203.0.113.0/24]";
    let login = format!("203.0.113.7 50000 {BOTH} 22");
    let refused = |login: &str, host: &str, word: &str| -> Result<()> {
        let sekisho = Sekisho::new(&lab, &site("auto", host))?;
        let said = sekisho.with_environment("SSH_CONNECTION", login).refused()?;
        ensure!(said.stderr.contains(word), "{word}: {said:?}");
        ensure!(said.stderr.contains("--force"), "{said:?}");
        Ok(())
    };

    // A default route, of an interface without an address.
    dut(&lab, "ip route add default dev nic")?;
    refused("", "", "carries the host's IPv4 default route")?;
    let forced = Sekisho::new(&lab, &site("auto", ""))?.with_options(&["--force"]);
    let mut forced = forced;
    forced.start_again()?;
    // What is forced at the start stays so.
    forced.change(&site("auto", ""))?;
    forced.end()?;
    let listed = Sekisho::start(&lab, &site("auto", &host("")))?;
    listed.end()?;
    dut(&lab, "ip route del default dev nic")?;
    dut(&lab, "ip -6 route add default dev nic")?;
    refused("", &host(""), "carries the host's IPv6 default route")?;
    dut(&lab, "ip -6 route del default dev nic")?;

    // Halves of it are as good; what is private is not.
    for (half, family) in [("128.0.0.0/1", "IPv4"), ("8000::/1", "IPv6")] {
        dut(&lab, &format!("ip route add {half} dev nic"))?;
        refused("", "", &format!("carries the host's {family} default route ({half})"))?;
        dut(&lab, &format!("ip route del {half} dev nic"))?;
    }

    // What stands on the interface goes with it.
    dut(&lab, "ip link add link nic name part type macvlan mode bridge")?;
    dut(&lab, "ip link set part up")?;
    dut(&lab, "ip route add default dev part")?;
    refused("", "", "carries the host's IPv4 default route")?;
    dut(&lab, "ip link del part")?;

    // A login to an address of the interface, or by way of it.
    dut(&lab, &format!("ip address add {BOTH}/24 dev nic"))?;
    let word = "you are logged in from 203.0.113.7 over interface nic";
    refused(&login, "", word)?;
    refused(&login, &host(", protocol: tcp, port: 80"), word)?;
    refused(&login, &host(", protocol: tcp, port: 22, sources: [192.0.2.0/24]"), word)?;
    dut(&lab, "ip route add 203.0.113.0/24 via 198.51.100.1")?;
    refused("203.0.113.7 50000 192.0.2.1 22", &host(ssh), word)?;
    let sekisho = Sekisho::new(&lab, &site("auto", &host(ssh)))?;
    let mut sekisho = sekisho.with_environment("SSH_CONNECTION", &login);
    sekisho.start_again()?;
    // What would cut it later is refused, too, unless it is meant.
    let cut = site("auto", &host(", protocol: tcp, port: 23"));
    let said = sekisho.apply(&cut)?;
    ensure!(said.stderr.contains(word), "{said:?}");
    let said = sekisho.cli(&["apply", "--dry-run"])?;
    ensure!(said.stderr.contains(word), "{said:?}");
    sekisho.cli(&["apply", "--force"])?.ok()?;
    drop((town, outside));
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_host_shares_a_vlan_and_the_link_beside_it() -> Result<()> {
    // This kernel may have no VLAN devices: what is passed up is counted, and has no taker.
    for hook in ["xdp", "tcx"] {
        let lab = Lab::new(&format!("vlan-{hook}"))?;
        let _town = Town::build(&lab)?;
        let outside = lab.nic("nic").mac("02:00:00:00:ff:01").build()?;
        let host = "    vlan: 30\n    host: {addresses: [{address: 198.51.100.5, protocol: tcp, port: 22}], lacp: true}\n";
        let mut sekisho = Sekisho::start(&lab, &site(hook, host))?;
        sekisho.shares("nic");
        let link = Wire::new(&outside)?;
        let nic_mac = mac_of(&lab, "nic")?;
        let tcp = |port: u16| {
            let frame = Frame::new([2, 0, 0, 0, 0xff, 1], nic_mac).ip(OPERATOR[0], ALONE[0]);
            frame.tcp(1000, port, 2, 0, 0)
        };
        // Frames of the link have no tag, and are counted where they are listed.
        let lacp = [&[0x01, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0xff, 1, 0x88, 0x09][..], &[1; 110]];
        let before = sekisho.tally()?;
        link.send(&tcp(22).vlan(30).build())?;
        link.send(&tcp(80).vlan(30).build())?;
        link.send(&tcp(22).build())?;
        // The host's ARP is the host's, and nobody else's is answered.
        let arp = |target| {
            let own = [2, 0, 0, 0, 0xff, 1];
            Frame::new(own, [0xff; 6]).vlan(30).arp(1, (own, OPERATOR[0]), ([0; 6], target))
        };
        link.send(&arp(ALONE[0]).build())?;
        link.send(&arp(OTHER[0]).build())?;
        link.send(&lacp.concat())?;
        thread::sleep(Duration::from_millis(300));
        let tally = sekisho.tally()?.since(&before)?;
        ensure!(tally.at("nic.30")?.passed.packets == 3, "{hook}: {tally:?}");
        ensure!(tally.stopped("-", "arp_unanswered") == 1, "{hook}: {tally:?}");
        ensure!(tally.stopped("-", "host_denied") == 1, "{hook}: {tally:?}");
        ensure!(tally.stopped("-", "no_attachment") >= 1, "{hook}: {tally:?}");
        sekisho.end()?;
    }
    Ok(())
}
