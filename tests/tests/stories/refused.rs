//! What becomes of packets that were sent and that the kernel did not take? Each is counted, to
//! the packet, under the tenant of the port or the provider.
//!
//! ```text
//!   blue-a 10.0.0.10 ─┐                ┌─ phone 100.64.0.1 (access)
//!   blue-b 10.0.0.20 ─┼─ inside ── r ──┤
//!   vm     10.0.0.40 ─┘  (vm: a tap)   └─ outside 198.51.100.1 (nic)
//! ```

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::lab::{HostBuilder, Tap};
use sekisho_tests::{Host, Lab, Sekisho};

use crate::town::{A, B, ROUTER, text};

const SITE: &str = r#"
version: 1
country_code: 81
tenants:
  - name: blue
    networks:
      - {name: inside, subnets: [{cidr: 10.0.0.0/24}]}
    ports:
      - {name: a, network: inside, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10], security_groups: [open]}
      - {name: b, network: inside, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.0.0.20], security_groups: [open]}
      - {name: vm, network: inside, interface: vm, mac: 02:00:00:00:00:0d, fixed_ips: [10.0.0.40], security_groups: [open]}
    routers:
      - {name: r, mac: 02:00:00:00:00:01, interfaces: [{network: inside}], routes: [{destination: 198.51.100.0/24, uplink: outside}]}
    security_groups:
      - {name: open, rules: [{direction: ingress}, {direction: egress}]}
    lines:
      - {name: phone, number: 090-0000-0001, access: mobile, uplink: outside}
accesses:
  - {name: mobile, interface: access, addresses: [172.16.0.2/30], mac: 02:00:00:00:aa:02, next_hop: {address: 172.16.0.1, mac: 02:00:00:00:aa:01}, pools: [100.64.0.0/24]}
entitlements:
  - {tenant: blue, access: mobile, numbers: [090-0000-0001]}
sessions:
  - {access: mobile, number: 090-0000-0001, addresses: [100.64.0.1]}
uplinks:
  - name: outside
    interface: nic
    HOOK
    mac: 02:00:00:00:ff:02
    addresses: [198.51.100.2/24]
    next_hops: [{address: 198.51.100.1, mac: 02:00:00:00:ff:01}]
    exports: [{prefix: 10.0.0.0/24, tenant: blue, router: r}, {prefix: 100.64.0.0/24, access: mobile}]
"#;

const PACKETS: u64 = 100;
const OUTSIDE: &str = "198.51.100.1";

struct Hosts {
    a: Host,
    b: Host,
    nic: Host,
    access: Host,
    tap: Tap,
}

impl Hosts {
    fn build(lab: &Lab) -> Result<Self> {
        let quiet = |host: HostBuilder<'_>| -> Result<Host> {
            let host = host.build()?;
            // What it says by itself is none of this story's.
            host.sysctl("ipv6/conf/eth0/disable_ipv6", "1")?;
            Ok(host)
        };
        let port = |name, mac, address: &str| {
            quiet(lab.host(name).mac(&text(mac)).address(address).gateway(ip("10.0.0.1")))
        };
        Ok(Self {
            a: port("blue-a", A, "10.0.0.10/24")?,
            b: port("blue-b", B, "10.0.0.20/24")?,
            nic: quiet(lab.nic("nic").mac("02:00:00:00:ff:01").address("198.51.100.1/24"))?,
            access: quiet(lab.nic("access").mac("02:00:00:00:aa:01").address("172.16.0.1/30"))?,
            tap: lab.tap("vm")?,
        })
    }

    /// What the virtual machine reads until nothing comes any more.
    fn read(&self) -> Result<u64> {
        let mut arrived = 0;
        while self.tap.receive(Duration::from_millis(500), |_| true)?.is_some() {
            arrived += 1;
        }
        Ok(arrived)
    }

    /// The same datagram again and again.
    fn a_sends(&self, to: &str, to_mac: [u8; 6], bytes: usize) -> Result<()> {
        let frame = Frame::new(A, to_mac).ip("10.0.0.10", to).udp(4000, 7001);
        many(&self.a, &frame.payload(&vec![7; bytes]).build())
    }

    /// From the phone to the uplink: from NIC to NIC.
    fn phone_sends(&self, bytes: usize) -> Result<()> {
        let frame = Frame::new([2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 0xaa, 2]);
        let frame = frame.ip("100.64.0.1", OUTSIDE).udp(4000, 7001);
        many(&self.access, &frame.payload(&vec![7; bytes]).build())
    }
}

fn many(from: &Host, frame: &[u8]) -> Result<()> {
    for number in 0..PACKETS {
        from.send_frame(frame)?;
        // A device that takes packets is not to lose any for want of time.
        if number % 16 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Since the last balance: so many left by the interface, and so many of them were refused.
fn demand(sekisho: &mut Sekisho<'_>, at: &str, tenant: &str, refused: u64) -> Result<()> {
    let tally = sekisho.balance().with_context(|| format!("{refused} at {at}"))?;
    let counted = tally.at(at)?;
    ensure!(counted.sent.packets >= PACKETS, "{at}: {tally:?}");
    ensure!(counted.refused == refused, "{refused} refused at {at}: {tally:?}");
    ensure!(tally.stopped(tenant, "tx_refused") == refused, "{tenant}, {at}: {tally:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_a_port_does_not_take_is_counted() -> Result<()> {
    let lab = Lab::new("refused-port")?;
    let hosts = Hosts::build(&lab)?;
    let dut = lab.dut();
    let mut sekisho = Sekisho::start(&lab, &SITE.replace("HOOK", "hook: auto"))?;

    hosts.a_sends("10.0.0.20", B, 100)?;
    demand(&mut sekisho, "blue-b", "blue", 0)?;
    // The container's own MTU is smaller: what enters it directly is not measured by it.
    hosts.b.run(&["ip", "link", "set", "eth0", "mtu", "1000"])?.ok()?;
    hosts.a_sends("10.0.0.20", B, 1200)?;
    demand(&mut sekisho, "blue-b", "blue", 0)?;
    // It takes nothing at all.
    hosts.b.run(&["ip", "link", "set", "eth0", "down"])?.ok()?;
    hosts.a_sends("10.0.0.20", B, 100)?;
    demand(&mut sekisho, "blue-b", "blue", PACKETS)?;
    hosts.b.run(&["ip", "link", "set", "eth0", "up"])?.ok()?;
    hosts.a_sends("10.0.0.20", B, 100)?;
    demand(&mut sekisho, "blue-b", "blue", 0)?;

    // A virtual machine that does not read: its queue takes 50 packets or nearly, then none.
    dut.run(&["ip", "link", "set", "vm", "txqueuelen", "50"])?.ok()?;
    hosts.read()?;
    hosts.a_sends("10.0.0.40", VM, 100)?;
    let arrived = hosts.read()?;
    ensure!((30..=50).contains(&arrived), "{arrived} arrived");
    demand(&mut sekisho, "vm", "blue", PACKETS - arrived)?;
    // One that has read, and has room for all until it reads again.
    dut.run(&["ip", "link", "set", "vm", "txqueuelen", "1000"])?.ok()?;
    hosts.a_sends("10.0.0.40", VM, 100)?;
    let arrived = hosts.read()?;
    ensure!(arrived == PACKETS, "{arrived} arrived");
    demand(&mut sekisho, "vm", "blue", 0)?;
    dut.run(&["ip", "link", "set", "vm", "down"])?.ok()?;
    hosts.a_sends("10.0.0.40", VM, 100)?;
    demand(&mut sekisho, "vm", "blue", PACKETS)
}

/// A copy that a device drops is counted as copied and as refused, as what is sent alone; the
/// others get theirs.
#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_a_port_does_not_take_of_a_flood_is_counted() -> Result<()> {
    let lab = Lab::new("refused-copies")?;
    let hosts = Hosts::build(&lab)?;
    let dut = lab.dut();
    let mut sekisho = Sekisho::start(&lab, &SITE.replace("HOOK", "hook: auto"))?;
    hosts.read()?;
    // So many refused at b, and so many at the virtual machine, which reads `read`.
    let mut flood = |refused: [u64; 2]| -> Result<()> {
        hosts.a_sends("255.255.255.255", [0xff; 6], 100)?;
        let arrived = hosts.read()?;
        let tally = sekisho.balance()?;
        let [a, b, vm] = ["blue-a", "blue-b", "vm"].map(|name| tally.at(name).cloned());
        let (b, vm) = (b?, vm?);
        ensure!(a?.flooded.packets == PACKETS, "{tally:?}");
        ensure!([b.copied.packets, vm.copied.packets] == [PACKETS; 2], "{tally:?}");
        ensure!([b.refused, vm.refused] == refused, "{tally:?}");
        ensure!(arrived == PACKETS - refused[1], "{arrived} arrived: {tally:?}");
        let stopped = tally.stopped("blue", "tx_refused");
        ensure!(stopped == refused.iter().sum::<u64>(), "{tally:?}");
        Ok(())
    };
    flood([0, 0]).context("all are there")?;
    hosts.b.run(&["ip", "link", "set", "eth0", "down"])?.ok()?;
    flood([PACKETS, 0]).context("the far end is down")?;
    hosts.b.run(&["ip", "link", "set", "eth0", "up"])?.ok()?;
    dut.run(&["ip", "link", "set", "blue-b", "down"])?.ok()?;
    flood([PACKETS, 0]).context("our end is down")?;
    dut.run(&["ip", "link", "set", "blue-b", "up"])?.ok()?;
    dut.wait_until_up("blue-b")?;
    dut.run(&["ip", "link", "set", "vm", "down"])?.ok()?;
    flood([0, PACKETS]).context("the tap is down")?;
    dut.run(&["ip", "link", "set", "vm", "up"])?.ok()?;
    flood([0, 0]).context("all are there again")
}

const VM: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_a_nic_does_not_take_is_counted() -> Result<()> {
    for hook in ["xdp", "tcx"] {
        let lab = Lab::new(&format!("refused-{hook}"))?;
        let hosts = Hosts::build(&lab)?;
        let (dut, far) = (lab.dut(), &hosts.nic);
        let mut sekisho = Sekisho::start(&lab, &SITE.replace("HOOK", &format!("hook: {hook}")))?;
        let mut both = |refused: [u64; 2], bytes| -> Result<()> {
            hosts.a_sends(OUTSIDE, ROUTER, bytes)?;
            demand(&mut sekisho, "nic", "-", refused[0]).context("from a port")?;
            hosts.phone_sends(bytes)?;
            demand(&mut sekisho, "nic", "-", refused[1]).context("from a NIC")
        };
        both([0, 0], 100).context(hook)?;
        let is_xdp = hook == "xdp";
        let set = |at: &dyn Fn(&[&str]) -> Result<()>, what: &[&str]| {
            at(&[&["ip", "link", "set"], what].concat())
        };
        let here = |command: &[&str]| dut.run(command)?.ok().map(drop);
        let there = |command: &[&str]| far.run(command)?.ok().map(drop);
        // The far end has no NAPI, so that it takes nothing from XDP.
        there(&["ethtool", "-K", "eth0", "gro", "off"])?;
        both([0, if is_xdp { PACKETS } else { 0 }], 100).with_context(|| format!("{hook}: gro"))?;
        there(&["ethtool", "-K", "eth0", "gro", "on"])?;
        both([0, 0], 100).with_context(|| format!("{hook}: gro again"))?;

        // Our own MTU is followed; a veth looks at that of its other end, too.
        set(&there, &["eth0", "mtu", "1000"])?;
        both([PACKETS; 2], 1200).with_context(|| format!("{hook}: far mtu"))?;
        set(&there, &["eth0", "mtu", "1500"])?;

        set(&here, &["nic", "down"])?;
        both([PACKETS; 2], 100).with_context(|| format!("{hook}: down"))?;
        set(&here, &["nic", "up"])?;
        dut.wait_until_up("nic")?;
        set(&there, &["eth0", "down"])?;
        both([PACKETS; 2], 100).with_context(|| format!("{hook}: far end down"))?;
        set(&there, &["eth0", "up"])?;
        dut.wait_until_up("nic")?;
        both([0, 0], 100).with_context(|| format!("{hook}: far end up"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn refusals_are_counted_once_whoever_dies() -> Result<()> {
    let lab = Lab::new("refused-kill")?;
    let hosts = Hosts::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &SITE.replace("HOOK", "hook: auto"))?;
    lab.dut().run(&["ip", "link", "set", "vm", "txqueuelen", "10"])?.ok()?;
    hosts.read()?;
    hosts.b.run(&["ip", "link", "set", "eth0", "down"])?.ok()?;
    hosts.nic.run(&["ethtool", "-K", "eth0", "gro", "off"])?.ok()?;
    let all = || -> Result<()> {
        hosts.a_sends("10.0.0.40", VM, 100)?;
        hosts.a_sends("10.0.0.20", B, 100)?;
        hosts.phone_sends(100)
    };
    all()?;
    let rounds = 4;
    for life in 0..rounds {
        sekisho.kill()?;
        all()?;
        // Killed before the sweeper comes, and after.
        sekisho.start_again()?;
        thread::sleep(Duration::from_millis(600 * life));
        all()?;
    }
    let tally = sekisho.balance()?;
    let sent = PACKETS * (1 + 2 * rounds);
    let arrived = hosts.read()?;
    ensure!((1..=10).contains(&arrived), "{arrived} arrived");
    for (at, taken) in [("vm", arrived), ("blue-b", 0), ("nic", 0)] {
        let counted = tally.at(at)?;
        ensure!(counted.refused == sent - taken, "{at}: {tally:?}");
    }
    ensure!(tally.stopped("blue", "tx_refused") == 2 * sent - arrived, "{tally:?}");
    ensure!(tally.stopped("-", "tx_refused") == sent, "{tally:?}");
    let drops = sekisho.cli(&["drops"])?.ok()?;
    ensure!(drops.contains("tx_refused"), "{drops}");
    // A tenant that there is not has no drops to tell of, and neither has a slip of the hand.
    for rest in [&["drops"][..], &["drops", "--watch"], &["drops", "-o", "json"], &["flows"]] {
        let told = sekisho.cli(&[rest, &["--tenant", "bleu"]].concat())?;
        let why = "there is no tenant \"bleu\"; there are: ";
        ensure!(!told.status.success() && told.stderr.contains(why), "{told:?}");
    }
    let own = sekisho.cli(&["drops", "--tenant", "-"])?.ok()?;
    ensure!(own.contains("tx_refused"), "{own}");
    Ok(())
}
