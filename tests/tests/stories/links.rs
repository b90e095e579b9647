//! Does the site go on when links do not stay as they are: a next hop moves, dies, is added;
//! an interface goes and comes again, or takes less than usual?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::ping;
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::operations::crowd;
use crate::town::{A, A_ADDRESSES, B_ADDRESSES, ROUTER, Site, Town, contains, judged, text};

/// Longer than three questions a second apart, and the time for which an answer is believed.
const DEATH: Duration = Duration::from_secs(20);
const OUTSIDE: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];

/// Blue's `a` and `c` get their own addresses exported, and a way out by these next hops.
fn site(hops: &[&str]) -> Site {
    let hops: Vec<_> = hops.iter().map(|hop| format!("{{address: \"{hop}\"}}")).collect();
    let routes = "interfaces: [{network: inside}, {network: public}], routes: [{destination: 0.0.0.0/0, uplink: out}, {destination: \"::/0\", uplink: out}]}";
    // Red's router has a line of the same words, and no way out.
    let town = Site::town();
    let blue = town.0.replacen("interfaces: [{network: inside}, {network: public}]}", routes, 1);
    Site(format!(
        "{blue}\nuplinks:\n  - name: out\n    interface: nic\n    addresses: [198.51.100.2/24, \"2001:db8:ff::2/64\"]\n    next_hops: [{}]\n    exports:\n      - {{prefix: 10.0.0.0/24, tenant: blue, router: r}}\n      - {{prefix: \"fd00::/64\", tenant: blue, router: r}}\n",
        hops.join(", ")
    ))
}

/// The host beyond the NIC, which has everything that is outside.
fn outside(lab: &Lab) -> Result<Host> {
    let host = lab
        .nic("nic")
        .mac("02:00:00:00:ff:01")
        .address("198.51.100.1/24")
        .address("198.51.100.3/24")
        .address("2001:db8:ff::1/64")
        .address(&format!("{}/32", OUTSIDE[0]))
        .address(&format!("{}/128", OUTSIDE[1]))
        .build()?;
    let run = |words: &str| host.run(&words.split(' ').collect::<Vec<_>>())?.ok().map(drop);
    run("ip route add 10.0.0.0/24 via 198.51.100.2")?;
    run("ip -6 route add fd00::/64 via 2001:db8:ff::2")?;
    Ok(host)
}

fn reaches(town: &Town, to: &str) -> Result<bool> {
    Ok(ping(&town.blue_a, ip(to), 1, &[])?.all_answered())
}

/// Waits until the outside is reached, or is not any more.
fn wait(town: &Town, is_reached: bool, within: Duration) -> Result<()> {
    let until = Instant::now() + within;
    for to in OUTSIDE {
        while reaches(town, to)? != is_reached {
            ensure!(Instant::now() < until, "{to} reached: {}", !is_reached);
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn next_hops_move_die_and_are_added() -> Result<()> {
    let lab = Lab::new("hops")?;
    let town = Town::build(&lab)?;
    let host = outside(&lab)?;
    let run = |words: &str| host.run(&words.split(' ').collect::<Vec<_>>())?.ok().map(drop);
    let sekisho = Sekisho::start(&lab, &site(&["198.51.100.1", "2001:db8:ff::1"]).0)?;
    let capture = Capture::start(&town.blue_a)?;
    for to in OUTSIDE {
        ensure!(reaches(&town, to)?, "{to} at once after the start");
    }

    // A file that is refused changes neither whom we ask nor how a NIC is attached.
    let refused = site(&["198.51.100.77", "2001:db8:ff::77"])
        .with("interface: nic\n", "interface: nic\n    hook: tcx\n")
        .with("tenants:\n", &crowd());
    let answer = sekisho.apply(&refused.0)?;
    ensure!(answer.status.code() == Some(1) && answer.stderr.contains("16383 fit"), "{answer:?}");
    let hooks = sekisho.status()?.attachments;
    ensure!(hooks.iter().any(|at| at.interface == "nic" && at.hook == "xdp"), "{hooks:?}");
    sekisho.write(&site(&["198.51.100.1", "2001:db8:ff::1"]).0)?;

    // It gets another MAC. Nothing tells of it but its answers to whoever asks.
    run("ip link set dev eth0 address 02:00:00:00:ff:09")?;
    wait(&town, true, DEATH).context("after it moved")?;

    // It does not answer any more: the sender is told so.
    run("ip link set dev eth0 arp off")?;
    run("ip -6 neigh flush all")?;
    let before = sekisho.tally()?;
    let until = Instant::now() + DEATH;
    while sekisho.tally()?.since(&before)?.stopped("blue", "next_hop_unresolved") == 0 {
        ensure!(Instant::now() < until, "it is never taken for dead");
        let _ = reaches(&town, OUTSIDE[0])?;
    }
    run("ip link set dev eth0 arp on")?;
    wait(&town, true, DEATH).context("after it came to life again")?;

    // Another one is named while the NIC has our program already.
    sekisho.change(&site(&["198.51.100.3", "2001:db8:ff::1"]).0)?;
    for to in OUTSIDE {
        ensure!(reaches(&town, to)?, "{to} by a next hop that was added");
    }
    // And the first one again: nothing was forgotten for good.
    sekisho.change(&site(&["198.51.100.1", "2001:db8:ff::1"]).0)?;
    for to in OUTSIDE {
        ensure!(reaches(&town, to)?, "{to} by the first next hop again");
    }
    ensure!(sekisho.tally()?.at("nic")?.heard.packets > 0, "nothing was heard");
    judged(capture)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_access_without_sessions_hears_its_next_hop() -> Result<()> {
    let lab = Lab::new("early")?;
    let _town = Town::build(&lab)?;
    let _host = outside(&lab)?;
    let access = "{name: mobile, interface: nic, addresses: [198.51.100.2/24], \
                  pools: [100.64.0.0/24], next_hop: {address: 198.51.100.1}}";
    let sekisho = Sekisho::start(&lab, &format!("{}\naccesses: [{access}]\n", Site::town().0))?;
    let hops = sekisho.status()?.next_hops;
    ensure!(matches!(hops.as_slice(), [hop] if hop.state == "reachable"), "{hops:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_interface_goes_and_comes_again() -> Result<()> {
    let lab = Lab::new("gone")?;
    let mut town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    sekisho.unbalanced("interfaces and hosts go, and their counters with them");
    let hook = |sekisho: &Sekisho<'_>| -> Result<String> {
        let attachments = sekisho.status()?.attachments;
        let of = attachments.into_iter().find(|at| at.interface == "blue-b");
        Ok(of.context("no blue-b")?.hook)
    };
    let wait_for = |word: &str| -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while hook(&sekisho)? != word {
            ensure!(Instant::now() < until, "blue-b does not become {word}");
        }
        Ok(())
    };
    let to_b = |town: &Town| ping(&town.blue_a, ip(B_ADDRESSES[0]), 1, &[]);
    ensure!(to_b(&town)?.all_answered() && hook(&sekisho)? == "tcx", "at first");

    lab.dut().run(&["ip", "link", "del", "blue-b"])?.ok()?;
    wait_for("waiting")?;
    let before = sekisho.tally()?;
    ensure!(!to_b(&town)?.all_answered(), "to an interface that is gone");
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.stopped("blue", "output_absent") > 0, "{tally:?}");
    // What has nothing to do with it can be changed meanwhile.
    sekisho.change(&Site::town().without(&["red-tcp-v4"]).0)?;
    ensure!(hook(&sekisho)? == "waiting", "after a change");

    town.blue_b = crate::town::again_b(&lab)?;
    wait_for("tcx")?;
    ensure!(to_b(&town)?.all_answered(), "to the interface that came again");
    ensure!(!sekisho.cli(&["status"])?.ok()?.contains("waiting"), "somebody waits");

    // Under another name it is nobody's, and nobody guards it.
    lab.dut().run(&["ip", "link", "set", "blue-b", "name", "other"])?.ok()?;
    wait_for("waiting")?;
    let until = Instant::now() + PATIENCE;
    while lab
        .dut()
        .run(&["ip", "-o", "link", "show", "up", "dev", "other"])?
        .ok()?
        .contains("other")
    {
        ensure!(Instant::now() < until, "a port is up that nobody guards");
    }
    lab.dut().run(&["ip", "link", "set", "other", "name", "blue-b"])?.ok()?;
    wait_for("tcx")?;
    ensure!(to_b(&town)?.all_answered(), "under its own name again");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_the_interface_does_not_take_is_told_to_the_sender() -> Result<()> {
    let lab = Lab::new("narrow")?;
    let town = Town::build(&lab)?;
    let host = outside(&lab)?;
    lab.dut().run(&["ip", "link", "set", "dev", "nic", "mtu", "1400"])?.ok()?;
    host.run(&["ip", "link", "set", "dev", "eth0", "mtu", "1400"])?.ok()?;
    let sekisho = Sekisho::start(&lab, &site(&["198.51.100.1", "2001:db8:ff::1"]).0)?;
    let before = sekisho.tally()?;
    for to in OUTSIDE {
        let bytes = if ip(to).is_ipv4() { "1372" } else { "1352" };
        ensure!(ping(&town.blue_a, ip(to), 1, &["-M", "do", "-s", bytes])?.all_answered(), "{to}");
        let larger = ping(&town.blue_a, ip(to), 1, &["-M", "do", "-s", "1450"])?;
        ensure!(!larger.all_answered(), "{to} takes more than its link");
    }
    let tally = sekisho.tally()?.since(&before)?;
    ensure!(tally.stopped("blue", "too_big") >= 2, "{tally:?}");
    Ok(())
}

/// MACs of two next hops at one link, each a host of its own behind one cable.
const HOPS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xff, 0x31], [2, 0, 0, 0, 0xff, 0x32]];
const FLOWS: u16 = 32;

/// By which of the hops does each flow go?
fn ways(town: &Town, at_hops: &Capture, marker: &[u8]) -> Result<Vec<usize>> {
    for port in 0..FLOWS {
        let frame = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], OUTSIDE[0]).udp(4000 + port, 53);
        town.blue_a.send_frame(&frame.payload(marker).build())?;
    }
    let way = |port: u16| -> Result<usize> {
        let is_it = |seen: &[u8]| {
            contains(seen, marker) && seen.get(34..36) == Some(&(4000 + port).to_be_bytes())
        };
        let seen = at_hops.wait_for(PATIENCE, |seen| is_it(&seen.bytes)).context("a datagram")?;
        let hop = HOPS.iter().position(|mac| seen.bytes[..6] == mac[..]);
        hop.with_context(|| format!("port {port} goes to nobody: {:02x?}", &seen.bytes[..6]))
    };
    (0..FLOWS).map(way).collect()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn when_one_of_several_next_hops_dies_only_its_flows_move() -> Result<()> {
    let lab = Lab::new("ecmp")?;
    let town = Town::build(&lab)?;
    let hops = lab.nic("nic").build()?;
    let run = |words: &str| hops.run(&words.split(' ').collect::<Vec<_>>())?.ok().map(drop);
    // Each answers for its own address alone, with its own MAC.
    run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.rp_filter=0")?;
    for (name, mac, address) in [("h0", HOPS[0], "198.51.100.1"), ("h1", HOPS[1], "198.51.100.3")] {
        run(&format!(
            "ip link add {name} link eth0 address {} type macvlan mode bridge",
            text(mac)
        ))?;
        run(&format!("ip address add {address}/24 dev {name}"))?;
        run(&format!("ip link set {name} up"))?;
    }
    let sekisho =
        Sekisho::start(&lab, &site(&["198.51.100.1", "198.51.100.3", "2001:db8:ff::1"]).0)?;
    let at_hops = Capture::start(&hops)?;
    let before = ways(&town, &at_hops, b"before")?;
    let by_second = before.iter().filter(|hop| **hop == 1).count();
    ensure!((1..usize::from(FLOWS)).contains(&by_second), "all go one way: {before:?}");

    run("ip link set h1 arp off")?;
    sekisho.process()?.wait_for_line("next hop 198.51.100.3 (nic) does not answer any more")?;
    let shown = || -> Result<String> {
        let status = sekisho.status()?;
        let mut hops = status.next_hops.into_iter();
        let hop = hops.find(|hop| hop.address.to_string() == "198.51.100.3");
        Ok(hop.map_or_else(String::new, |hop| format!("{:?} {}", hop.mac, hop.state)))
    };
    assert_eq!(shown()?, "None failed");
    let until = Instant::now() + PATIENCE;
    let mut round = 0_u32;
    while ways(&town, &at_hops, format!("dead {round} ").as_bytes())?.contains(&1) {
        ensure!(Instant::now() < until, "flows stay with the dead");
        round += 1;
    }
    // Those of the other were there all the time, and all come back to where they were.
    run("ip link set h1 arp on")?;
    sekisho.process()?.wait_for_line("next hop 198.51.100.3 (nic) answers now")?;
    assert_eq!(shown()?, format!("Some({:?}) reachable", text(HOPS[1])));
    let until = Instant::now() + PATIENCE;
    let mut round = 0_u32;
    while ways(&town, &at_hops, format!("back {round} ").as_bytes())? != before {
        ensure!(Instant::now() < until, "they are not where they were");
        round += 1;
    }
    let moved = at_hops.count(|seen| {
        let port = seen.bytes.get(34..36).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
        let way = before.get(usize::from(port.wrapping_sub(4000)));
        way == Some(&0)
            && contains(&seen.bytes, &ip_bytes(OUTSIDE[0]))
            && seen.bytes[..6] == HOPS[1]
    });
    ensure!(moved == 0, "{moved} packets of the first hop's flows went by the second");
    judged(at_hops)
}

fn ip_bytes(of: &str) -> Vec<u8> {
    match ip(of) {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The MAC that a host's kernel believes that an address has.
fn believed(host: &Host, address: &str) -> Result<String> {
    let text = host.run(&["ip", "neigh", "show", address])?.ok()?;
    let mac = text.split(' ').skip_while(|word| *word != "lladdr").nth(1);
    Ok(mac.unwrap_or_default().to_owned())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn neighbours_are_told_when_our_mac_is_another_one() -> Result<()> {
    let lab = Lab::new("announced")?;
    let town = Town::build(&lab)?;
    let host = outside(&lab)?;
    let with = |router: &str, uplink: &str| {
        let site = site(&["198.51.100.1", "2001:db8:ff::1"]);
        site.with("mac: 02:00:00:00:00:01", &format!("mac: {router}"))
            .with("interface: nic\n", &format!("interface: nic\n    mac: {uplink}\n"))
            .0
    };
    let sekisho = Sekisho::start(&lab, &with("02:00:00:00:00:01", "02:00:00:00:ff:02"))?;
    // Everybody asks, and believes what was answered for a long time.
    wait(&town, true, PATIENCE)?;
    let ask_b = |to: &str| ping(&host, ip(to), 1, &[]).map(drop);
    [A_ADDRESSES[0], A_ADDRESSES[1]].iter().try_for_each(|to| ask_b(to))?;
    let (a, at_a) = (&town.blue_a, Capture::start(&town.blue_a)?);
    let (gateways, ours) = (["10.0.0.1", "fd00::1"], ["198.51.100.2", "2001:db8:ff::2"]);
    for gateway in gateways {
        ensure!(believed(a, gateway)? == "02:00:00:00:00:01", "{gateway}");
    }
    for own in ours {
        ensure!(believed(&host, own)? == "02:00:00:00:ff:02", "{own}");
    }
    sekisho.change(&with("02:00:00:00:00:71", "02:00:00:00:ff:72"))?;
    let until = Instant::now() + PATIENCE;
    for (host, addresses, mac) in
        [(a, gateways, "02:00:00:00:00:71"), (&host, ours, "02:00:00:00:ff:72")]
    {
        for address in addresses {
            while believed(host, address)? != mac {
                ensure!(Instant::now() < until, "{address} is not {mac} at {}", host.name());
            }
        }
    }
    // Nobody had to ask: nothing but what was told came to a by itself.
    ensure!(at_a.count(|seen| seen.bytes[6..12] == [2, 0, 0, 0, 0, 0x71]) >= 2, "not told");
    wait(&town, true, PATIENCE)?;
    judged(at_a)
}
