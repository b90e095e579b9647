//! Does an operator get what was promised: refusals that change nothing, a daemon that may end
//! at any time, and interfaces that come back as they were?

use std::{
    collections::BTreeMap, fs, io::Write as _, os::unix::net::UnixStream, path::PathBuf, thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, Map, MapData};
use dataplane_common::{
    limits,
    table::{heap::Line, index::Index, root::Root},
};
use dataplane_user::{config::json::of_text, load::Mapping};
use nix::sys::signal::Signal;
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::SILENCE;
use sekisho_tests::traffic::{TcpConn, ping};
use sekisho_tests::{Capture, Lab, Sekisho};
use serde_json::Value as Json;

use crate::cut::Connections;
use crate::town::{A, B_ADDRESSES, ROUTER, Site, Town, contains, judged};

/// An uplink on an interface that nobody has yet.
fn with_uplink(site: &Site, name: &str, hook: &str) -> Site {
    Site(format!(
        "{}\nuplinks:\n  - name: outside\n    interface: {name}\n    hook: {hook}\n    addresses: [198.51.100.2/24]\n    next_hops: [{{address: 198.51.100.1, mac: 02:00:00:00:ff:01}}]\n",
        site.0
    ))
}

/// More attachments than there may be, of a tenant of their own.
pub fn crowd() -> String {
    let mut crowd =
        String::from("tenants:\n  - name: crowd\n    networks:\n      - {name: n}\n    ports:\n");
    for number in 1..=limits::ATTACHMENTS_MAX {
        let [.., high, low] = number.to_be_bytes();
        crowd += &format!(
            "      - {{name: p{number}, network: n, interface: none{number}, \
             mac: \"02:00:00:0c:{high:02x}:{low:02x}\"}}\n"
        );
    }
    crowd
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_is_refused_changes_nothing() -> Result<()> {
    let lab = Lab::new("refused")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let nic = lab.nic("nic").build()?;
    let busy = lab.nic("busy").build()?;
    let _occupied = lab.dut().occupy_xdp("busy")?;
    let before = [Interface::look(&lab, "nic")?, Interface::look(&lab, "busy")?];
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let capture = Capture::start(&town.blue_b)?;
    let mut connections = Connections::open(&town)?;
    let version = sekisho.status()?.site_version;

    let errors = site
        .with("{id: out-v4, direction: egress}", "{id: out-v4, direction: outwards}")
        .with("10.1.0.0/24}, {cidr: \"fd00:1::/64\"}", "10.1.0.0/33}, {cidr: \"fd00:1::/64\"}")
        .with(
            "interfaces: [{network: inside}, {network: public}]",
            "interfaces: [{network: inside}, {network: pubilc}]",
        );
    let in_use = with_uplink(&site, "busy", "auto");
    // The good interface comes first, and has to be given back.
    let half = Site(format!(
        "{}  - name: second\n    interface: busy\n    addresses: [203.0.113.2/24]\n    next_hops: [{{address: 203.0.113.1, mac: 02:00:00:00:ff:02}}]\n",
        with_uplink(&site, "nic", "auto").0
    ));
    let crowd = crowd();
    let full = with_uplink(&site.with("tenants:\n", &crowd), "nic", "auto");
    for (what, wrong, words) in [
        ("three errors", &errors, &["outwards", "10.1.0.0/33", "pubilc", "public"][..]),
        ("another XDP program", &in_use, &["busy", "uplink outside", "another XDP program"]),
        ("one of two", &half, &["busy", "uplink second", "another XDP program"]),
        ("too many ways, with a new interface", &full, &["attachments: ", " records, 16383 fit"]),
    ] {
        let refused = sekisho.apply(&wrong.0)?;
        assert_eq!(refused.status.code(), Some(1), "{what}: {refused:?}");
        for word in words {
            assert!(refused.stderr.contains(word), "{what}: no {word:?} in {}", refused.stderr);
        }
        connections.alive().context(what)?;
        assert_eq!(sekisho.status()?.site_version, version, "{what}");
        let after = [Interface::look(&lab, "nic")?, Interface::look(&lab, "busy")?];
        assert_eq!(after, before, "{what}");
    }

    // The same by a signal: the daemon says what it did.
    let daemon = sekisho.process()?;
    sekisho.write(&errors.0)?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_line("the site in force is unchanged")?;
    daemon.wait_for_line("pubilc")?;
    connections.alive()?;
    sekisho.write(&site.without(&["blue-tcp-v4", "blue-tcp-v6"]).0)?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_line(&format!("in force as site version {}", version + 1))?;
    connections.cut_to_server()?;
    sekisho.change(&with_uplink(&site, "nic", "auto").0)?;
    connections.revived()?;
    let attached = Interface::look(&lab, "nic")?;
    assert!(attached.has_xdp && attached.tcx == 1, "{attached:?}");
    // What is no longer named is given back.
    sekisho.change(&site.0)?;
    assert_eq!([Interface::look(&lab, "nic")?, Interface::look(&lab, "busy")?], before);
    drop((nic, busy));
    judged(capture)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_start_that_is_refused_leaves_nothing() -> Result<()> {
    let lab = Lab::new("start")?;
    let town = Town::build(&lab)?;
    let names = ["blue-a", "blue-b", "blue-c", "red-a", "red-b"];
    let look =
        || names.map(|name| Interface::look(&lab, name)).into_iter().collect::<Result<Vec<_>>>();
    let before = look()?;
    lab.dut().run(&["ip", "link", "add", "br0", "type", "bridge"])?.ok()?;
    for (word, spoil, repair) in [
        (
            "there is no interface red-b",
            "ip link set red-b down name red-x",
            "ip link set red-x name red-b up",
        ),
        (
            "10.9.9.9",
            "ip address add 10.9.9.9/24 dev red-b",
            "ip address del 10.9.9.9/24 dev red-b",
        ),
        ("br0", "ip link set red-b master br0", "ip link set red-b nomaster"),
    ] {
        let run = |line: &str| lab.dut().run(&line.split(' ').collect::<Vec<_>>())?.ok();
        run(spoil)?;
        let strict = Sekisho::new(&lab, &Site::town().0)?.with_options(&["--require-interfaces"]);
        let refused = strict.refused()?;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(word), "{refused:?}");
        assert!(!lab.bpffs()?.join("sekisho").exists(), "{word}: pins are left");
        run(repair)?;
        lab.dut().wait_until_up("red-b")?;
        assert_eq!(look()?, before, "{word}");
    }
    drop(town);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn the_daemon_may_be_killed_at_any_time() -> Result<()> {
    let lab = Lab::new("killed")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let mut sekisho = Sekisho::start(&lab, &site.0)?;
    let captures = [Capture::start(&town.blue_a)?, Capture::start(&town.blue_b)?];
    let mut connections = Connections::open(&town)?;
    let mut others = TcpConn::open(&town.red_a, &town.red_b, (ip(B_ADDRESSES[0]), 7000).into())?;

    let second = sekisho.refused()?;
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("another sekisho is using it"), "{second:?}");
    connections.alive().context("beside a second daemon that was refused")?;

    let before = sekisho.tally()?;
    let version = sekisho.status()?.site_version;
    sekisho.kill()?;
    connections.alive().context("without a daemon")?;
    for to in B_ADDRESSES.map(ip) {
        assert!(ping(&town.blue_a, to, 1, &[])?.all_answered(), "a new flow without a daemon");
    }
    let silence = sekisho.cli(&["status"])?;
    assert_eq!(silence.status.code(), Some(1), "{silence:?}");

    sekisho.start_again().context("after a kill")?;
    connections.alive().context("with another daemon")?;
    others.expect_alive()?;
    assert_eq!(sekisho.status()?.site_version, version, "there was nothing to repair");
    // Counters go on; no flow was lost, and none had to be picked up in its middle.
    let tally = sekisho.tally()?.since(&before)?;
    assert!(tally.at("blue-b")?.sent.packets > 0);
    for reason in ["connection_state", "ingress_denied", "egress_denied", "table_missing"] {
        assert_eq!(tally.stopped("blue", reason) + tally.stopped("red", reason), 0, "{tally:?}");
    }
    // And it is in charge.
    sekisho.change(&site.without(&["blue-tcp-v4", "blue-tcp-v6"]).0)?;
    connections.cut_to_client()?;
    others.expect_alive()?;
    sekisho.change(&site.0)?;
    connections.revived()?;

    // What is not in the kernel as it should be is repaired by the next start.
    let version = sekisho.status()?.site_version;
    sekisho.kill()?;
    lose_a_station(&sekisho)?;
    sekisho.start_again().context("with a table that lacks a record")?;
    assert_eq!(sekisho.status()?.site_version, version + 1, "it was repaired");
    connections.alive().context("after a repair")?;
    others.expect_alive()?;

    // Ended politely it leaves forwarding on as well.
    let ended = sekisho.stop()?;
    ensure!(ended.status.success(), "{ended:?}");
    connections.alive().context("after its end")?;
    sekisho.start_again().context("after its end")?;
    captures.into_iter().try_for_each(judged)
}

/// Takes a record of the site in force out of the kernel: one port's MAC is unknown then.
fn lose_a_station(sekisho: &Sekisho) -> Result<()> {
    let root = Map::from_map_data(MapData::from_pin(sekisho.table("ROOT"))?)?;
    let root = Array::<_, u64>::try_from(root)?.get(&0, 0)? as u32;
    let mut heap = Mapping::<Line>::new("HEAP", &MapData::from_pin(sekisho.table("HEAP"))?)?;
    let lines = heap.records_mut();
    let root: Root = *lines[root as usize].record(0);
    let Index { first, lines: count } = root.stations;
    let stations = &mut lines[first as usize..][..count as usize];
    let station = stations.iter_mut().find(|line| **line != Line::default());
    *station.context("there are no stations")? = Line::default();
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_start_needs_nothing_but_what_was_put_in_force_last() -> Result<()> {
    let lab = Lab::new("store")?;
    let town = Town::build(&lab)?;
    let (site, file) = (Site::town(), lab.folder().join("site.yaml"));
    let less = site.without(&["blue-tcp-v4", "blue-tcp-v6"]);
    let mut sekisho = Sekisho::start(&lab, &site.0)?;
    let mut connections = Connections::open(&town)?;
    let get = |sekisho: &Sekisho<'_>| -> Result<Json> {
        Ok(serde_json::from_str(&sekisho.cli(&["get", "-o", "json"])?.ok()?)?)
    };
    let of_file = |site: &Site| of_text(&site.0);
    ensure!(get(&sekisho)? == of_file(&site), "it is not what the file says");

    // Another file, by name; the daemon's own is as it was, then wrong, then gone.
    let other = lab.folder().join("other.yaml").display().to_string();
    fs::write(&other, &less.0)?;
    sekisho.cli(&["apply", &other])?.ok()?;
    connections.cut_to_server()?;
    let version = sekisho.status()?.site_version;
    let differs = "is not what was put in force last";
    for (text, is_told) in
        [(Some(&*site.0), true), (Some("no: site: at: all"), false), (None, false)]
    {
        sekisho.kill()?;
        match text {
            Some(text) => fs::write(&file, text)?,
            None => fs::remove_file(&file)?,
        }
        sekisho.start_again()?;
        ensure!(get(&sekisho)? == of_file(&less), "after a start beside {text:?}");
        ensure!(sekisho.status()?.site_version == version, "a start made another version");
        if is_told {
            sekisho.process()?.wait_for_line(differs)?;
        }
    }
    connections.cut_to_server()?;

    // What was refused is not in force after a start either.
    let refused = sekisho.apply(&site.0.replace("[client]", "[cleint]"))?;
    ensure!(!refused.status.success(), "{refused:?}");
    sekisho.stop()?;
    sekisho.start_again()?;
    ensure!(get(&sekisho)? == of_file(&less), "after a refusal and a start");
    sekisho.change(&site.0)?;
    connections.revived()?;

    // Of nobody else's store is made use.
    sekisho.stop()?;
    fs::write(sekisho.store(), "something else")?;
    let refused = sekisho.refused()?;
    ensure!(refused.stderr.contains(&sekisho.store().display().to_string()), "{refused:?}");
    connections.alive()?;
    sekisho.replace(&site.0)?;
    sekisho.start_again()?;
    connections.alive()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn an_interface_that_cannot_be_given_back_whole_holds_nothing_up() -> Result<()> {
    let lab = Lab::new("giveback")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let mut sekisho = Sekisho::start(&lab, &site.0)?;
    let mut connections = Connections::open(&town)?;
    // Below the least MTU of IPv6 the interface has no IPv6 that could be switched on again.
    lab.dut().run(&["ip", "link", "set", "blue-c", "mtu", "1200"])?.ok()?;
    let without = site.without(&["interface: blue-c"]);
    sekisho.balance()?;
    sekisho.unbalanced("an attachment goes with its counters");
    sekisho.change(&without.0)?;
    ensure!(!sekisho.status()?.attachments.iter().any(|at| at.interface == "blue-c"), "blue-c");
    connections.alive()?;
    // What comes next counts as ever.
    sekisho.change(&without.without(&["blue-tcp-v4", "blue-tcp-v6"]).0)?;
    connections.cut_to_server()?;
    sekisho.change(&without.0)?;
    connections.revived()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_is_revoked_while_nobody_looks_stays_revoked() -> Result<()> {
    const MARKER: &[u8] = b"from an address that was mine";
    let lab = Lab::new("revoked")?;
    let town = Town::build(&lab)?;
    let without = Site::town();
    let with = without.with(
        "fixed_ips: [10.0.0.10, \"fd00::10\"], security_groups: [client]}\n      - {name: c",
        "fixed_ips: [10.0.0.10, \"fd00::10\"], security_groups: [client], allowed_address_pairs: [{ip_address: 10.0.0.200}]}\n      - {name: c",
    );
    let absent = without.without(&["interface: blue-a"]);
    let mut sekisho = Sekisho::start(&lab, &with.0)?;
    // One flow through all of it: what was judged before must not be believed after.
    let frame = Frame::new(A, ROUTER).ip("10.0.0.200", B_ADDRESSES[0]).udp(4000, 7001);
    let frame = frame.payload(MARKER).build();
    let arrives = || -> Result<bool> {
        let at_b = Capture::start(&town.blue_b)?;
        town.blue_a.send_frame(&frame)?;
        Ok(at_b.wait_for(SILENCE, |seen| contains(&seen.bytes, MARKER)).is_some())
    };
    let is_stopped = |sekisho: &Sekisho<'_>, when: &str| -> Result<()> {
        let before = sekisho.tally()?;
        ensure!(!arrives()?, "arrives {when}");
        let tally = sekisho.tally()?.since(&before)?;
        ensure!(tally.stopped("blue", "spoofed_address") == 1, "{when}: {tally:?}");
        Ok(())
    };

    ensure!(arrives()?, "an address pair is good");
    sekisho.kill()?;
    sekisho.replace(&without.0)?;
    sekisho.start_again()?;
    is_stopped(&sekisho, "after it was taken while the daemon was dead")?;

    sekisho.change(&with.0)?;
    ensure!(arrives()?, "given again");
    sekisho.balance()?;
    sekisho.unbalanced("a port goes and another comes, each with its own counters");
    // The port goes, the daemon dies, and another port of that name comes without the pair.
    sekisho.change(&absent.0)?;
    sekisho.kill()?;
    sekisho.replace(&without.0)?;
    sekisho.start_again()?;
    is_stopped(&sekisho, "from a port that came back under its old name")?;

    sekisho.change(&with.0)?;
    ensure!(arrives()?, "given once more");
    sekisho.kill()?;
    sekisho.forget_numbers()?;
    sekisho.replace(&without.0)?;
    sekisho.start_again()?;
    is_stopped(&sekisho, "after the daemon lost its memory")
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn detach_gives_everything_back() -> Result<()> {
    let lab = Lab::new("detach")?;
    let town = Town::build(&lab)?;
    let _nic = lab.nic("nic").build()?;
    let _tcx = lab.nic("nic-tcx").build()?;
    let _down = lab.nic("nic-down").build()?;
    lab.dut().run(&["ip", "link", "set", "nic-down", "down"])?.ok()?;
    lab.dut().sysctl("ipv6/conf/nic-tcx/disable_ipv6", "1")?;
    lab.dut().run(&["ethtool", "-K", "nic-tcx", "txvlan", "off"])?.ok()?;
    let uplink = |name: &str, number: u8, hook: &str| {
        format!(
            "  - {{name: {name}, interface: {name}, hook: {hook}, addresses: [198.51.{number}.2/24], next_hops: [{{address: 198.51.{number}.1, mac: 02:00:00:00:ff:01}}]}}\n"
        )
    };
    let site = format!(
        "{}\nuplinks:\n{}{}{}",
        Site::town().0,
        uplink("nic", 1, "xdp"),
        uplink("nic-tcx", 2, "tcx"),
        uplink("nic-down", 3, "auto")
    );
    let names = ["blue-a", "blue-b", "red-a", "nic", "nic-tcx", "nic-down"];
    let look =
        || names.map(|name| Interface::look(&lab, name)).into_iter().collect::<Result<Vec<_>>>();

    for leave_open in [true, false] {
        let before = look()?;
        let mut sekisho = Sekisho::start(&lab, &site)?;
        assert!(ping(&town.blue_a, ip(B_ADDRESSES[0]), 1, &[])?.all_answered());
        let during = look()?;
        for at in &during {
            assert!(at.is_up && at.is_noarp && at.disable_ipv6 == "1", "{at:?}");
            assert_eq!(
                (at.has_xdp, at.tcx),
                (["nic", "nic-down"].contains(&&*at.name), 1),
                "{at:?}"
            );
        }
        assert!(during[3].features != before[3].features, "the NIC has its offloads still");
        sekisho.balance()?;
        sekisho.unbalanced("it is detached");
        sekisho.stop()?;
        assert_eq!(look()?, during, "the end of the daemon changed something");

        let options: &[&str] = if leave_open { &["--leave-open"] } else { &[] };
        sekisho.detach(options)?.ok()?;
        let mut expected = before;
        if !leave_open {
            // Nothing guards a tenant's port any more.
            expected[..3].iter_mut().for_each(|port| port.is_up = false);
        }
        assert_eq!(look()?, expected, "leave open: {leave_open}");
        assert!(!lab.bpffs()?.join("sekisho").exists(), "pins are left");
        assert!(!lab.folder().join("state").exists(), "state is left");
        assert_eq!(ping(&town.blue_a, ip(B_ADDRESSES[0]), 1, &[])?.received, 0);
        // A second time there is nothing to do, and that is no error.
        sekisho.detach(options)?.ok()?;
    }
    Ok(())
}

/// What of an interface is to be as before.
#[derive(Debug, PartialEq)]
pub struct Interface {
    pub name: String,
    pub is_up: bool,
    pub is_noarp: bool,
    pub disable_ipv6: String,
    pub features: String,
    pub has_xdp: bool,
    pub tcx: u32,
}

impl Interface {
    pub fn look(lab: &Lab, name: &str) -> Result<Self> {
        let run = |command: &[&str]| lab.dut().run(command)?.ok();
        let link = run(&["ip", "-o", "link", "show", "dev", name])?;
        let flags = link.split(['<', '>']).nth(1).context("a link without flags")?;
        let has = |wanted: &str| flags.split(',').any(|flag| flag == wanted);
        let setting = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        Ok(Self {
            name: name.to_owned(),
            is_up: has("UP"),
            is_noarp: has("NOARP"),
            disable_ipv6: run(&["cat", &setting])?.trim().to_owned(),
            features: run(&["ethtool", "-k", name])?,
            has_xdp: link.contains(" xdp"),
            tcx: lab.dut().tcx_programs(name)?,
        })
    }
}

/// Site files that may be under way.
const APPLIES_MAX: usize = 8;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn of_many_site_files_at_once_some_are_refused() -> Result<()> {
    let lab = Lab::new("waiting")?;
    // None of the interfaces is there.
    let site = Site::town();
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let halves = (0..APPLIES_MAX).map(|_| {
        let mut half = UnixStream::connect(sekisho.socket())?;
        half.write_all(
            b"POST /api/v1/apply?name=a.yaml HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nvers",
        )?;
        Ok(half)
    });
    let halves = halves.collect::<Result<Vec<_>>>()?;
    // When all of them have come. A large file is heard to its end, so that it is told why.
    let large = format!("{}\n#{}\n", site.0, " ".repeat(8 << 20));
    let refused = (0..100).map(|_| sekisho.apply(&large)).find(|answer| {
        let is_one = answer.as_ref().is_ok_and(|answer| answer.status.code() == Some(1));
        is_one || answer.is_err()
    });
    let refused = refused.context("nine are taken")??;
    let words = "8 other site files are being applied";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert!(sekisho.status()?.uptime_s < 60, "it answers");
    drop(halves);
    let taken = (0..100).find(|_| sekisho.apply(&site.0).is_ok_and(|answer| answer.ok().is_ok()));
    assert!(taken.is_some(), "whoever went takes up a place still");
    Ok(())
}

/// So many that a daemon reads and compiles them for longer than it takes to end.
const MANY_RULES: u32 = 30_000;
/// How long after it was told of the file it is told to end: while it reads, compiles, and puts it
/// in force.
const ENDS_MS: [u64; 4] = [50, 150, 300, 600];

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn after_its_last_word_a_daemon_puts_nothing_in_force() -> Result<()> {
    let lab = Lab::new("last-word")?;
    let site = Site::town();
    let mut sekisho = Sekisho::start(&lab, &site.0)?;
    for (more, after_ms) in (0..).zip(ENDS_MS) {
        let rules = (0..MANY_RULES + more).map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            format!("          - {{direction: ingress, remote_ip_prefix: 100.{a}.{b}.{c}/32}}\n")
        });
        sekisho.write(&site.after("blue-tcp-v6", &rules.collect::<String>()).0)?;
        let process = sekisho.process()?;
        process.signal(Signal::SIGHUP)?;
        thread::sleep(Duration::from_millis(after_ms));
        process.signal(Signal::SIGTERM)?;
        process.wait_for_line("sekisho: ended")?;
        let said = state(&sekisho)?;
        sekisho.stop()?.ok()?;
        let left = state(&sekisho)?;
        sekisho.start_again()?;
        ensure!(left == said, "{after_ms} ms: something came into force after that");
    }
    Ok(())
}

/// What is in the folder that says what is in force.
fn state(sekisho: &Sekisho<'_>) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let files = fs::read_dir(sekisho.state())?.map(|file| Ok(file?.path()));
    files.map(|path| path.and_then(|path| Ok((path.clone(), fs::read(&path)?)))).collect()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_script_knows_by_the_exit_code_whether_a_file_would_change_anything() -> Result<()> {
    let lab = Lab::new("diff")?;
    let site = Site::town();
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let before = sekisho.status()?.site_version;
    let asked = |text: &str| {
        sekisho.write(text)?;
        let file = lab.folder().join("site.yaml");
        let piped = format!(
            "{} diff - --socket {} <{}",
            sekisho.program(),
            sekisho.socket().display(),
            file.display()
        );
        let piped = lab.dut().run(&["sh", "-c", &piped])?;
        let own = sekisho.cli(&["diff"])?;
        ensure!(own.status.code() == piped.status.code() && own.stdout == piped.stdout);
        Ok::<_, anyhow::Error>(piped)
    };
    let same = asked(&site.0)?;
    ensure!(same.status.code() == Some(0) && same.stdout.is_empty(), "{same:?}");
    let other = asked(&site.without(&["blue-tcp-v4"]).0)?;
    let told = "- tenants/blue/security_groups/server/rules/blue-tcp-v4\n";
    ensure!(other.status.code() == Some(1) && other.stdout == told, "{other:?}");
    let wrong = asked("version: 7")?;
    ensure!(wrong.status.code() == Some(2), "{wrong:?}");
    ensure!(wrong.stderr.contains("<stdin>:1:10"), "{wrong:?}");
    sekisho.write(&site.0)?;
    ensure!(sekisho.status()?.site_version == before, "something came into force");
    Ok(())
}
