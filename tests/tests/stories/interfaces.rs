//! Do interfaces come and go as they like, while nothing passes that is not guarded and
//! whoever gets a name or number later gets nothing of who had it before?

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::ip;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpConn, ping, udp_send};
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::operations::Interface;
use crate::town::{A, A_ADDRESSES, B, B_ADDRESSES, Site, Town, contains, host, judged, text};

fn dut(lab: &Lab, words: &str) -> Result<String> {
    lab.dut().run(&words.split_whitespace().collect::<Vec<_>>())?.ok()
}

fn hook(sekisho: &Sekisho<'_>, interface: &str) -> Result<String> {
    let mut attachments = sekisho.status()?.attachments.into_iter();
    let of = attachments.find(|at| at.interface == interface);
    Ok(of.with_context(|| format!("there is no {interface}"))?.hook)
}

fn wait_for(sekisho: &Sekisho<'_>, interface: &str, word: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while hook(sekisho, interface)? != word {
        ensure!(Instant::now() < until, "{interface} does not become {word}");
    }
    Ok(())
}

/// Waits until one of our programs is at the interface.
fn is_attached(lab: &Lab, interface: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while lab.dut().tcx_programs(interface)? == 0 {
        ensure!(Instant::now() < until, "{interface} is never attached");
    }
    Ok(())
}

/// The interface's number.
fn index(lab: &Lab, interface: &str) -> Result<String> {
    let link = dut(lab, &format!("ip -o link show dev {interface}"))?;
    Ok(link.split(':').next().context("a link without a number")?.to_owned())
}

/// Plugs a host in whose cable went, with a number of the device's choice or this one.
fn plug_in(lab: &Lab, host: &Host, number: Option<&str>) -> Result<()> {
    let number = number.map(|number| format!("index {number}")).unwrap_or_default();
    let (name, mac) = (host.dut_interface(), host.mac());
    dut(
        lab,
        &format!(
            "ip link add {name} {number} type veth peer name eth0 address {mac} netns {}",
            host.name()
        ),
    )?;
    dut(lab, &format!("ip link set {name} up"))?;
    let run = |words: &str| host.run(&words.split_whitespace().collect::<Vec<_>>())?.ok();
    run("ip link set eth0 up")?;
    for own in [host.v4()?, host.v6()?] {
        let bits = if own.is_ipv4() { 24 } else { 64 };
        run(&format!("ip address add {own}/{bits} dev eth0"))?;
        let gateway = own.to_string();
        let stem = gateway.trim_end_matches(|digit: char| digit.is_ascii_digit());
        run(&format!("ip route add default via {stem}1 dev eth0 onlink"))?;
    }
    lab.dut().wait_until_up(name)?;
    host.wait_until_up("eth0")
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_site_starts_without_interfaces_and_they_come_one_by_one() -> Result<()> {
    let lab = Lab::new("absent")?;
    // A name that is nearly right, to be offered.
    dut(&lab, "ip link add blue-aa type veth peer name other")?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let said = sekisho.process()?.wait_for_line("no interface blue-a;")?;
    ensure!(said.contains("there is no interface blue-a; there is blue-aa"), "{said}");
    ensure!(sekisho.status()?.attachments.iter().all(|at| at.hook == "waiting"), "all wait");
    let shown = sekisho.cli(&["get", "tenants/blue/ports/a"])?.ok()?;
    ensure!(shown.contains("blue-a (waiting)"), "{shown}");
    let shown = sekisho.cli(&["status"])?.ok()?;
    ensure!(shown.contains("waiting (there is no such interface)"), "{shown}");

    // The sender is there long before the receiver, and tries all the time.
    let a = host(&lab, "blue-a", A, A_ADDRESSES)?;
    wait_for(&sekisho, "blue-a", "tcx")?;
    for to in B_ADDRESSES {
        ensure!(ping(&a, ip(to), 2, &[])?.received == 0, "{to} is nowhere");
    }
    let tally = sekisho.tally()?;
    ensure!(tally.stopped("blue", "output_absent") >= 4, "{tally:?}");

    let b = host(&lab, "blue-b", B, B_ADDRESSES)?;
    let capture = Capture::start(&b)?;
    wait_for(&sekisho, "blue-b", "tcx")?;
    for to in B_ADDRESSES {
        ensure!(ping(&a, ip(to), 3, &[])?.all_answered(), "{to} came");
    }
    // A site file may name what is not there at any time, and is told of it once.
    let more = Site::town().with("interface: blue-c", "interface: blue-cc");
    let applied = sekisho.apply(&more.0)?.ok()?;
    ensure!(applied.contains("there is no interface blue-cc"), "{applied}");
    ensure!(!applied.contains("red-a"), "told already: {applied}");
    let dry = sekisho.cli(&["apply", "--dry-run"])?.ok()?;
    ensure!(!dry.contains("blue-cc"), "told already: {dry}");
    sekisho.change(&Site::town().0)?;

    // Each of these comes unguarded: what it says before it is attached goes nowhere, not even
    // to the host's own stack, which has no address there.
    for (name, mac, addresses) in [("red-a", A, A_ADDRESSES), ("red-b", B, B_ADDRESSES)] {
        drop(host(&lab, name, mac, addresses)?);
        let _ = name;
    }
    judged(capture)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_interface_is_attached_as_soon_as_it_comes() -> Result<()> {
    let lab = Lab::new("soon")?;
    let mut town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("interfaces and hosts go, and their counters with them");
    // It is told of an interface, rather than finding it when it looks every second.
    let mut told = 0;
    for _ in 0..20 {
        dut(&lab, "ip link del blue-b")?;
        wait_for(&sekisho, "blue-b", "waiting")?;
        let before = sekisho.status()?.looks;
        dut(&lab, "ip link add blue-b type veth peer name far")?;
        is_attached(&lab, "blue-b")?;
        told += usize::from(sekisho.status()?.looks == before);
        if told == 3 {
            break;
        }
    }
    ensure!(told == 3, "attached by the look of every second");
    dut(&lab, "ip link del blue-b")?;
    town.blue_b = crate::town::again_b(&lab)?;
    wait_for(&sekisho, "blue-b", "tcx")?;
    ensure!(ping(&town.blue_a, ip(B_ADDRESSES[0]), 1, &[])?.all_answered());
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn flows_go_on_when_their_interface_comes_again() -> Result<()> {
    let lab = Lab::new("again")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let mut connections = Vec::new();
    for to in B_ADDRESSES {
        connections.push(TcpConn::open(&town.blue_a, &town.blue_b, (ip(to), 7000).into())?);
    }
    let alive = |connections: &mut Vec<TcpConn>| -> Result<()> {
        connections.iter_mut().try_for_each(TcpConn::expect_alive)
    };
    alive(&mut connections)?;
    let opened = sekisho.flows()?.len();

    for round in 0..3 {
        let before = index(&lab, "blue-b")?;
        let counted = sekisho.tally()?;
        dut(&lab, "ip link del blue-b")?;
        match round {
            // The daemon sees it go.
            0 => wait_for(&sekisho, "blue-b", "waiting")?,
            // It does not.
            1 => {}
            // There is none.
            _ => sekisho.kill()?,
        }
        connections.iter_mut().try_for_each(TcpConn::send_to_server)?;
        plug_in(&lab, &town.blue_b, None)?;
        if round == 2 {
            sekisho.start_again()?;
        }
        wait_for(&sekisho, "blue-b", "tcx")?;
        ensure!(index(&lab, "blue-b")? != before, "it has the same number");
        connections.iter_mut().try_for_each(TcpConn::expect_delivered)?;
        alive(&mut connections).with_context(|| format!("round {round}"))?;
        let tally = sekisho.tally()?.since(&counted)?;
        for reason in ["connection_state", "flow_owner", "ingress_denied"] {
            ensure!(tally.stopped("blue", reason) == 0, "{reason}: {tally:?}");
        }
        let tcp = sekisho.flows()?.iter().filter(|flow| flow.protocol == "tcp").count();
        ensure!(tcp == 4 && opened >= 4, "{tcp} halves of two connections");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn whoever_gets_a_number_gets_nothing_of_who_had_it() -> Result<()> {
    let lab = Lab::new("number")?;
    let town = Town::build(&lab)?;
    let stranger = lab.host("stranger").address("192.0.2.9/24").build()?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("interfaces and hosts go, and their counters with them");
    let mut connection =
        TcpConn::open(&town.blue_a, &town.blue_b, (ip(B_ADDRESSES[0]), 7000).into())?;
    connection.expect_alive()?;

    for is_daemon_there in [true, false] {
        let number = index(&lab, "blue-b")?;
        if !is_daemon_there {
            sekisho.kill()?;
        }
        // In one go: whoever looks afterwards sees the number there, on another device.
        dut(&lab, "ip link del stranger")?;
        let batch = lab.folder().join("batch");
        fs::write(
            &batch,
            format!(
                "link del blue-b\nlink add stranger index {number} type veth peer name eth0 netns {}\nlink set stranger up\n",
                stranger.name()
            ),
        )?;
        dut(&lab, &format!("ip -batch {}", batch.display()))?;
        stranger.run(&["ip", "link", "set", "eth0", "up"])?.ok()?;
        lab.dut().wait_until_up("stranger")?;
        let found = Interface::look(&lab, "stranger")?;
        if !is_daemon_there {
            sekisho.start_again()?;
        }
        wait_for(&sekisho, "blue-b", "waiting")?;
        ensure!(index(&lab, "stranger")? == number, "another number");

        let capture = Capture::start(&stranger)?;
        let before = sekisho.tally()?;
        for number in 0..50 {
            for to in B_ADDRESSES {
                udp_send(
                    &town.blue_a,
                    (ip(to), 7001).into(),
                    format!("for b {number}").as_bytes(),
                )?;
            }
        }
        connection.send_to_server()?;
        thread::sleep(Duration::from_millis(300));
        ensure!(capture.count(|frame| contains(&frame.bytes, b"for b")) == 0, "it got b's");
        ensure!(capture.count(|frame| contains(&frame.bytes, b"message")) == 0, "it got b's flow");
        drop(capture);
        let tally = sekisho.tally()?.since(&before)?;
        ensure!(tally.stopped("blue", "output_absent") >= 100, "{tally:?}");
        // Nobody asked for it: it is as it was, and nothing of ours is on it.
        ensure!(Interface::look(&lab, "stranger")? == found, "{found:?} was changed");
        ensure!(found.tcx == 0 && found.is_up && !found.is_noarp, "{found:?}");

        dut(&lab, "ip link del stranger")?;
        plug_in(&lab, &town.blue_b, None)?;
        wait_for(&sekisho, "blue-b", "tcx")?;
        connection.expect_delivered()?;
        dut(&lab, "ip link add stranger type veth peer name far")?;
    }

    // The number goes to another tenant's port: red's host is red's, whatever blue's flow says.
    let number = index(&lab, "blue-b")?;
    dut(&lab, "ip link del red-b")?;
    dut(&lab, "ip link del blue-b")?;
    plug_in(&lab, &town.red_b, Some(&number))?;
    wait_for(&sekisho, "red-b", "tcx")?;
    wait_for(&sekisho, "blue-b", "waiting")?;
    let capture = Capture::start(&town.red_b)?;
    udp_send(&town.blue_a, (ip(B_ADDRESSES[0]), 7001).into(), b"for blue's b")?;
    connection.send_to_server()?;
    ensure!(ping(&town.red_a, ip(B_ADDRESSES[0]), 2, &[])?.all_answered(), "red's own");
    ensure!(ping(&town.blue_a, ip(B_ADDRESSES[0]), 2, &[])?.received == 0, "blue's b is gone");
    for marker in [&b"blue's b"[..], b"message"] {
        ensure!(capture.count(|frame| contains(&frame.bytes, marker)) == 0, "red got blue's");
    }
    // The same name and the same number at once, and yet another device.
    let number = index(&lab, "red-b")?;
    let batch = lab.folder().join("batch");
    fs::write(
        &batch,
        format!(
            "link del red-b\nlink add red-b index {number} type veth peer name eth0 address {} netns {}\n",
            text(B),
            town.red_b.name()
        ),
    )?;
    dut(&lab, &format!("ip -batch {}", batch.display()))?;
    let until = Instant::now() + PATIENCE;
    while lab.dut().tcx_programs("red-b")? == 0 {
        ensure!(Instant::now() < until, "what looks the same is not guarded");
    }
    // It is part of the site again, though nothing about the site is new.
    let here = |words: &str| town.red_b.run(&words.split(' ').collect::<Vec<_>>())?.ok().map(drop);
    here("ip link set eth0 up")?;
    here(&format!("ip address add {}/24 dev eth0", B_ADDRESSES[0]))?;
    here("ip route add default via 10.1.0.1")?;
    while !ping(&town.red_a, ip(B_ADDRESSES[0]), 1, &[])?.all_answered() {
        ensure!(Instant::now() < until, "what looks the same is not reached");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn names_are_changed_to_and_fro() -> Result<()> {
    let lab = Lab::new("names")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("interfaces and hosts go, and their counters with them");
    let reaches = |from: &Host| {
        Ok::<_, anyhow::Error>(ping(from, ip(B_ADDRESSES[0]), 2, &[])?.all_answered())
    };
    ensure!(reaches(&town.blue_a)? && reaches(&town.red_a)?, "at first");

    // Blue's and red's servers change places by their names alone: the cable is now the
    // other's, and each tenant reaches what its file names.
    dut(&lab, "ip link set blue-b down name x")?;
    dut(&lab, "ip link set red-b down name blue-b")?;
    dut(&lab, "ip link set x name red-b")?;
    let until = Instant::now() + PATIENCE;
    while !(reaches(&town.blue_a)? && reaches(&town.red_a)?) {
        ensure!(Instant::now() < until, "after the change of names");
    }
    let [blue, red] = [Capture::start(&town.blue_b)?, Capture::start(&town.red_b)?];
    udp_send(&town.blue_a, (ip(B_ADDRESSES[0]), 7001).into(), b"from blue")?;
    udp_send(&town.red_a, (ip(B_ADDRESSES[0]), 7001).into(), b"from red")?;
    let has = |capture: &Capture, marker: &'static [u8]| {
        capture.wait_for(PATIENCE, |frame| contains(&frame.bytes, marker)).is_some()
    };
    ensure!(has(&red, b"from blue") && has(&blue, b"from red"), "each to its name");
    ensure!(blue.count(|frame| contains(&frame.bytes, b"from blue")) == 0, "to the old name");

    // Under no name of the site it is set down and given back.
    dut(&lab, "ip link set blue-b down name y")?;
    wait_for(&sekisho, "blue-b", "waiting")?;
    let given_back = Interface::look(&lab, "y")?;
    ensure!(!given_back.is_up && !given_back.is_noarp && given_back.tcx == 0, "{given_back:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_is_refused_when_it_comes_waits_for_its_reason_to_go() -> Result<()> {
    let lab = Lab::new("reason")?;
    let town = Town::build(&lab)?;
    dut(&lab, "ip link set blue-b down name later")?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("interfaces and hosts go, and their counters with them");
    dut(&lab, "ip address add 192.0.2.1/24 dev later")?;
    dut(&lab, "ip link set later name blue-b up")?;
    sekisho.process()?.wait_for_line("blue-b has the address 192.0.2.1")?;
    let shown = sekisho.cli(&["status"])?.ok()?;
    ensure!(
        shown.contains("waiting (network blue/public: interface blue-b has the address"),
        "{shown}"
    );
    // It holds nobody up meanwhile, and is not told again and again.
    thread::sleep(Duration::from_millis(1500));
    sekisho.change(&Site::town().without(&["red-tcp-v4"]).0)?;
    dut(&lab, "ip address del 192.0.2.1/24 dev blue-b")?;
    is_attached(&lab, "blue-b").context("the address went, and nobody looked")?;
    wait_for(&sekisho, "blue-b", "tcx")?;
    ensure!(ping(&town.blue_a, ip(B_ADDRESSES[0]), 1, &[])?.all_answered());
    // When it is there at a start, a refusal is one.
    let mut sekisho = sekisho;
    let said = sekisho.stop()?.stderr;
    ensure!(said.matches("has the address 192.0.2.1").count() == 1, "told once: {said}");
    Ok(())
}

/// An uplink of blue's, by a NIC that is not there yet.
fn with_nic(site: &Site) -> Site {
    let blue = site.0.replacen(
        "interfaces: [{network: inside}, {network: public}]}",
        "interfaces: [{network: inside}, {network: public}], routes: [{destination: 0.0.0.0/0, uplink: out}]}",
        1,
    );
    Site(format!(
        "{blue}\nuplinks:\n  - name: out\n    interface: nic\n    addresses: [198.51.100.2/24]\n    next_hops: [{{address: 198.51.100.1}}]\n    exports:\n      - {{prefix: 10.0.0.0/24, tenant: blue, router: r}}\n"
    ))
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_nic_that_comes_later_is_followed_and_given_back_as_it_was() -> Result<()> {
    let lab = Lab::new("later")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &with_nic(&Site::town()).0)?;
    sekisho.unbalanced("interfaces and hosts go, and their counters with them");
    let nic = || {
        lab.nic("nic")
            .mac("02:00:00:00:ff:01")
            .address("198.51.100.1/24")
            .gateway(ip("198.51.100.2"))
            .build()
    };
    let outside = nic()?;
    wait_for(&sekisho, "nic", "xdp")?;
    let to = ip("198.51.100.1");
    let reached = |options: &[&str]| -> Result<bool> {
        Ok(ping(&town.blue_a, to, 1, options)?.all_answered())
    };
    let until = Instant::now() + PATIENCE;
    while !reached(&[])? {
        ensure!(Instant::now() < until, "the next hop is never asked");
    }
    let during = Interface::look(&lab, "nic")?;
    for off in ["rx-vlan-offload", "tx-checksum-ip-generic", "tx-vlan-offload"] {
        ensure!(during.features.contains(&format!("{off}: off")), "{off}: {}", during.features);
    }
    ensure!(during.is_noarp && during.disable_ipv6 == "1", "{during:?}");

    // It takes less from now on, and more again.
    let large = &["-M", "do", "-s", "1472"];
    ensure!(reached(large)?, "1500 bytes at first");
    dut(&lab, "ip link set nic mtu 1400")?;
    let until = Instant::now() + PATIENCE;
    while sekisho.tally()?.stopped("blue", "too_big") == 0 {
        ensure!(Instant::now() < until, "the MTU is not followed");
        let _ = reached(large)?;
    }
    ensure!(!reached(large)?, "more than the MTU");
    ensure!(reached(&["-M", "do", "-s", "1372"])?, "1400 bytes");
    dut(&lab, "ip link set nic mtu 1500")?;
    // The sender remembers the smaller one (net.ipv4.route.mtu_expires).
    town.blue_a.run(&["ip", "route", "flush", "cache"])?.ok()?;
    let until = Instant::now() + PATIENCE;
    while !reached(large)? {
        ensure!(Instant::now() < until, "the larger MTU is not followed");
        town.blue_a.run(&["ip", "route", "flush", "cache"])?.ok()?;
    }

    // Another MAC: those beyond ask again, and are told.
    dut(&lab, "ip link set nic address 02:00:00:00:ff:aa")?;
    let until = Instant::now() + PATIENCE;
    let mut told = String::new();
    while !told.contains("02:00:00:00:ff:aa") {
        ensure!(Instant::now() < until, "the MAC is not followed: {told}");
        outside.run(&["ip", "neigh", "flush", "all"])?.ok()?;
        let _ = reached(&[])?;
        told = outside.run(&["ip", "neigh", "show", "198.51.100.2"])?.ok()?;
    }
    ensure!(reached(&[])?, "with another MAC");

    // It goes and comes again while nobody is there, and is guarded and given back whole.
    sekisho.kill()?;
    dut(&lab, "ip link del nic")?;
    drop(outside);
    let outside = nic()?;
    let before = Interface::look(&lab, "nic")?;
    sekisho.start_again()?;
    wait_for(&sekisho, "nic", "xdp")?;
    let until = Instant::now() + PATIENCE;
    while !reached(&[])? {
        ensure!(Instant::now() < until, "after it came again");
    }
    let again = Interface::look(&lab, "nic")?;
    ensure!(again.features == during.features && again.has_xdp && again.tcx == 1, "{again:?}");
    sekisho.kill()?;
    sekisho.detach(&[])?.ok()?;
    ensure!(Interface::look(&lab, "nic")? == before, "not as it was before");

    // What is down only since it has just come stays up.
    sekisho.start_again()?;
    wait_for(&sekisho, "nic", "xdp")?;
    dut(&lab, "ip link set nic down")?;
    dut(&lab, "ip link set nic name other")?;
    wait_for(&sekisho, "nic", "waiting")?;
    dut(&lab, "ip link set other name nic")?;
    wait_for(&sekisho, "nic", "xdp")?;
    sekisho.kill()?;
    sekisho.detach(&[])?.ok()?;
    ensure!(Interface::look(&lab, "nic")? == before, "set down");
    drop(outside);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn hundreds_of_taps_are_a_few_versions() -> Result<()> {
    // A thousand take minutes, since each is a change for all before it.
    let taps = std::env::var("SEKISHO_TAPS").ok().and_then(|count| count.parse().ok());
    let taps: usize = taps.unwrap_or(250);
    let lab = Lab::new("crowd")?;
    let mut site = String::from(
        "version: 1\ntenants:\n  - name: crowd\n    networks:\n      - {name: n, subnets: [{cidr: 10.0.0.0/16}]}\n    ports:\n",
    );
    let mut come = String::new();
    let mut go = String::new();
    for number in 0..taps {
        let (high, low) = (number / 250, number % 250 + 1);
        writeln!(
            site,
            "      - {{name: p{number}, network: n, interface: t{number}, mac: \"02:00:00:01:{high:02x}:{low:02x}\", fixed_ips: [10.0.{high}.{low}]}}"
        )?;
        writeln!(come, "tuntap add t{number} mode tap")?;
        writeln!(go, "link del t{number}")?;
    }
    let sekisho = Sekisho::start(&lab, &site)?;
    let said = sekisho.process()?.wait_for_line("more interfaces are waited for")?;
    ensure!(said.contains(&format!("{} more", taps - 10)), "{said}");
    let waiting = || -> Result<usize> {
        Ok(sekisho.status()?.attachments.iter().filter(|at| at.hook == "waiting").count())
    };
    let batch = |what: &str, text: &str| -> Result<()> {
        let path = lab.folder().join(what);
        fs::write(&path, text)?;
        let path = path.display().to_string();
        lab.dut().run_within(&["ip", "-batch", &path], 4 * PATIENCE)?.ok().map(drop)
    };
    for (what, text, left) in [("come", &come, 0), ("go", &go, taps)] {
        let first = sekisho.status()?.site_version;
        let start = Instant::now();
        batch(what, text)?;
        let made = start.elapsed();
        while waiting()? != left {
            ensure!(start.elapsed() < 6 * PATIENCE, "{} wait still", waiting()?);
        }
        let versions = sekisho.status()?.site_version - first;
        println!("{what}: made in {made:?}, done after {:?}, {versions} versions", start.elapsed());
        // They come in a moment; the kernel lets them go so slowly that each may be seen alone.
        let many = if left == 0 { taps / 5 } else { taps };
        ensure!(versions as usize <= many, "{what}: {versions} versions for {taps} taps");
    }
    Ok(())
}
