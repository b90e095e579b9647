//! Does a flood of new flows keep anybody from what they have, or from beginning anything?

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use sekisho_tests::build::{Frame, ip, tcp};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::program::{Field, Flows, Side};
use sekisho_tests::traffic::{TcpConn, bound};
use sekisho_tests::{Host, Lab, Sekisho};

use crate::town::{self, A, A_ADDRESSES, B, B_ADDRESSES, ROUTER, Site, Town};

/// Of which a tenant may have a quarter: one round of the flood would fill it eight times.
const HALF_FLOWS: &str = "16384";
const FLOWS_A_ROUND: u32 = 1 << 14;
const ROUNDS: u16 = 8;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_flood_of_flows_evicts_itself_and_nobody_else() -> Result<()> {
    let lab = Lab::new("crowded")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::new(&lab, &Site::town().0)?.with_options(&["--flows", HALF_FLOWS]);
    sekisho.start_again()?;
    // A veth takes frames that a program sends only so.
    lab.dut().run(&["ethtool", "-K", "blue-a", "gro", "on"])?.ok()?;

    let Town { blue_a, blue_b, blue_c, red_a, red_b } = &town;
    let server = |port| (ip(B_ADDRESSES[0]), port).into();
    let mut established = [
        TcpConn::open(blue_a, blue_b, server(7000))?,
        TcpConn::open(blue_c, blue_b, server(7001))?,
        TcpConn::open(red_a, red_b, server(7000))?,
    ];
    let from_a = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]);
    // Nobody answers the ones; the others are refused, and over.
    let floods = [
        from_a.clone().udp(1024, 7002).payload(&[0; 22]),
        from_a.tcp(1024, 7004, tcp::SYN, 1, 0).payload(&[0; 10]),
    ];
    for (kind, frame) in floods.into_iter().enumerate() {
        let side =
            Side { from: blue_a, frame: frame.build(), vary: [Field::SrcPort, Field::DstPort] };
        let flood = Flows::new(&[side], [1 << 14, 1])?;
        for round in 0..ROUNDS {
            let before = sekisho.status()?.flows_crowded_out;
            flood.send(FLOWS_A_ROUND, 0)?;
            for (number, conn) in established.iter_mut().enumerate() {
                conn.expect_alive().with_context(|| format!("connection {number}, {round}"))?;
            }
            for (from, to) in [(blue_c, blue_b), (red_a, red_b)] {
                let mut fresh = TcpConn::open(from, to, server(7005))?;
                fresh.expect_alive().with_context(|| format!("a fresh one, {kind}, {round}"))?;
            }
            let crowded_out = sekisho.status()?.flows_crowded_out - before;
            ensure!(crowded_out > 0, "kind {kind}, round {round}: nothing was crowded out");
        }
    }
    let tally = sekisho.tally()?;
    ensure!(tally.stopped("blue", "flow_quota") > 0, "it was no flood: {tally:?}");
    for reason in ["flow_quota", "flow_table_full"] {
        ensure!(tally.stopped("red", reason) == 0, "{reason}: {tally:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn who_is_answered_keeps_nobody_from_beginning_either() -> Result<()> {
    let lab = Lab::new("answered")?;
    let Town { blue_a, blue_b, blue_c, red_a: _red_a, red_b: _red_b } = Town::build(&lab)?;
    let options = ["--flows", HALF_FLOWS];
    let mut sekisho = Sekisho::new(&lab, &Site::town().0)?.with_options(&options);
    sekisho.start_again()?;
    lab.dut().run(&["ethtool", "-K", "blue-a", "gro", "on"])?.ok()?;
    let any = Ipv4Addr::UNSPECIFIED;
    let public = bound(|| blue_b.in_ns(|| UdpSocket::bind((any, 7002))))?;
    public.set_read_timeout(Some(Duration::from_millis(20)))?;
    setsockopt(&public, RcvBufForce, &(16 << 20))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut question = [0; 64];
            while !is_over.load(Relaxed) {
                if let Ok((length, asker)) = public.recv_from(&mut question) {
                    let _ = public.send_to(&question[..length], asker);
                }
            }
        });
        // Questions that nobody asks twice: who goes on has a conversation.
        let rounds = (0..4_u16).try_for_each(|round| {
            let before = sekisho.status()?.flows_crowded_out;
            flood(&blue_a, round << 14)?.send(FLOWS_A_ROUND, 0)?;
            let mut fresh = TcpConn::open(&blue_c, &blue_b, (ip(B_ADDRESSES[0]), 7005).into())?;
            fresh.expect_alive().with_context(|| format!("a fresh one, {round}"))?;
            let status = sekisho.status()?;
            ensure!(status.flows_crowded_out > before, "round {round}: nothing was crowded out");
            let share = status.shares.iter().find(|share| share.tenant == "blue");
            let share = share.context("blue has no share")?;
            ensure!(share.max == 4096 && share.used < 4096, "{share:?}");
            Ok(())
        });
        is_over.store(true, Relaxed);
        rounds
    })?;
    let answered = sekisho.flows()?.iter().filter(|flow| flow.state == "replied").count();
    ensure!(answered > 1000, "{answered} half-flows are answered");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_share_is_of_the_table_that_there_is() -> Result<()> {
    let lab = Lab::new("share")?;
    let few = ["--flows", FEW_HALF_FLOWS];
    // None of the interfaces is there.
    let mut sekisho = Sekisho::new(&lab, &Site::town().0)?.with_options(&few);
    sekisho.start_again()?;
    for options in [&[][..], &["--flows-per-tenant", "16384"], &few] {
        sekisho.stop()?;
        sekisho = sekisho.with_options(options);
        sekisho.start_again()?;
        let shares = sekisho.status()?.shares;
        let max = if options.contains(&"16384") { 2048 } else { 512 };
        ensure!(
            shares.len() == 2 && shares.iter().all(|of| of.max == max),
            "{options:?}: {shares:?}"
        );
    }
    Ok(())
}

/// Flows that nobody answers, of blue's `a`.
fn unanswered(from: &Host) -> Result<Flows> {
    flood(from, 1024)
}

/// Questions of blue's `a`, from so many ports beginning with this one.
fn flood(from: &Host, first_port: u16) -> Result<Flows> {
    let frame = Frame::new(A, ROUTER).ip(A_ADDRESSES[0], B_ADDRESSES[0]).udp(first_port, 7002);
    let frame = frame.payload(&[0; 22]).build();
    Flows::new(&[Side { from, frame, vary: [Field::SrcPort, Field::DstPort] }], [1 << 14, 1])
}

/// Times that flows are crowded out while an answer is waited for, and rounds until then.
const CROWDINGS: u32 = 3;
const WAITS_MAX: u32 = 100;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn who_waits_for_an_answer_loses_nothing_to_a_flood() -> Result<()> {
    let lab = Lab::new("waits")?;
    let Town { blue_a, blue_b, blue_c, red_a, red_b } = Town::build(&lab)?;
    let options = ["--flows", HALF_FLOWS];
    let mut sekisho = Sekisho::new(&lab, &Site::town().0)?.with_options(&options);
    sekisho.start_again()?;
    lab.dut().run(&["ethtool", "-K", "blue-a", "gro", "on"])?.ok()?;
    let flood = unanswered(&blue_a)?;
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let asked = [(&blue_c, &blue_b), (&red_a, &red_b)].map(|(from, to)| {
        let server = bound(|| to.in_ns(|| UdpSocket::bind((any.0, 7003))))?;
        let client = from.in_ns(|| UdpSocket::bind(any))??;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        client.send_to(b"who?", (ip(B_ADDRESSES[0]), 7003))?;
        let (_, asker) = server.recv_from(&mut [0; 16])?;
        Ok::<_, Error>((server, client, asker))
    });
    let (mut times, mut before) = (0, sekisho.status()?.flows_crowded_out);
    for _ in 0..WAITS_MAX {
        if times == CROWDINGS {
            break;
        }
        flood.send(FLOWS_A_ROUND, 0)?;
        let now = sekisho.status()?.flows_crowded_out;
        times += u32::from(now > before);
        before = now;
    }
    ensure!(times == CROWDINGS, "it was no flood");
    for asked in asked {
        let (server, client, asker) = asked?;
        server.send_to(b"I", asker)?;
        client.recv(&mut [0; 16]).context("its flow went before those of the flood")?;
    }
    Ok(())
}

/// A client and a server of one tenant, which strangers reach by an uplink.
const OPEN_TO_STRANGERS: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: inside, subnets: [{cidr: 10.0.0.0/24}]}
      - {name: public, subnets: [{cidr: 10.1.0.0/24}]}
    routers:
      - name: r
        mac: 02:00:00:00:00:01
        interfaces: [{network: inside}, {network: public}]
        routes: [{destination: 0.0.0.0/0, uplink: outside}]
    ports:
      - {name: a, network: inside, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10], security_groups: [client]}
      - {name: b, network: public, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.1.0.10], security_groups: [server]}
    security_groups:
      - name: client
        rules: [{direction: egress}]
      - name: server
        rules:
          - {direction: ingress, protocol: tcp, port_range_min: 7000, port_range_max: 7009}
          - {direction: ingress, protocol: udp, port_range_min: 7000, port_range_max: 7009}
uplinks:
  - name: outside
    interface: nic-o
    hook: xdp
    addresses: [10.3.0.254/24]
    next_hops: [{address: 10.3.0.1}]
    exports: [{prefix: 10.1.0.0/24, tenant: blue, router: r}]
"#;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_flood_of_strangers_keeps_nobody_inside_from_beginning_though_no_daemon_runs() -> Result<()> {
    let lab = Lab::new("strangers")?;
    let a = town::host(&lab, "blue-a", A, A_ADDRESSES)?;
    let b = town::host(&lab, "blue-b", B, B_ADDRESSES)?;
    let outside = lab.nic("nic-o").address("10.3.0.1/24").gateway(ip("10.3.0.254")).build()?;
    let options = ["--flows", HALF_FLOWS];
    let mut sekisho = Sekisho::new(&lab, OPEN_TO_STRANGERS)?.with_options(&options);
    sekisho.start_again()?;
    let server = |port| (ip(B_ADDRESSES[0]), port).into();
    let mut established =
        [TcpConn::open(&a, &b, server(7000))?, TcpConn::open(&outside, &b, server(7000))?];
    let frame = Frame::new(town::mac(&outside)?, town::mac_of(&lab, "nic-o")?);
    let frame = frame.ip("10.3.0.1", B_ADDRESSES[0]).udp(1024, 7002).payload(&[0; 22]).build();
    let side = Side { from: &outside, frame, vary: [Field::SrcPort, Field::DstPort] };
    let flood = Flows::new(&[side], [1 << 14, 1])?;

    sekisho.kill()?;
    for round in 0..ROUNDS {
        flood.send(FLOWS_A_ROUND, 0)?;
        for (number, conn) in established.iter_mut().enumerate() {
            conn.expect_alive().with_context(|| format!("connection {number}, {round}"))?;
        }
        let mut fresh = TcpConn::open(&a, &b, server(7000 + round))?;
        fresh.expect_alive().with_context(|| format!("a fresh one, {round}"))?;
    }
    // Once a daemon runs, strangers begin others.
    sekisho.start_again()?;
    let tally = sekisho.tally()?;
    ensure!(tally.stopped("blue", "flow_quota") > 0, "it was no flood: {tally:?}");
    TcpConn::open(&outside, &b, server(7001))?.expect_alive()?;
    ensure!(sekisho.status()?.flows_crowded_out > 0, "nothing was crowded out");
    Ok(())
}

/// Connections that a stranger begins under addresses that are not its own.
const BLIND: u32 = 256;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn who_gets_no_answers_opens_no_connection() -> Result<()> {
    let lab = Lab::new("blind")?;
    let a = town::host(&lab, "blue-a", A, A_ADDRESSES)?;
    let b = town::host(&lab, "blue-b", B, B_ADDRESSES)?;
    let outside = lab.nic("nic-o").address("10.3.0.1/24").gateway(ip("10.3.0.254")).build()?;
    let sekisho = Sekisho::start(&lab, OPEN_TO_STRANGERS)?;
    let _server = bound(|| b.in_ns(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7001))))?;
    let frame = Frame::new(town::mac(&outside)?, town::mac_of(&lab, "nic-o")?);
    let send = |flags, seq, ack| {
        let frame = frame.clone().ip("10.3.0.99", B_ADDRESSES[0]).tcp(1024, 7001, flags, seq, ack);
        let frame = frame.payload(&[0; 10]).build();
        let side = Side { from: &outside, frame, vary: [Field::SrcPort, Field::DstPort] };
        Flows::new(&[side], [BLIND, 1])?.send(BLIND, 0)
    };
    send(tcp::SYN, 1, 0)?;
    for flags in [tcp::ACK, tcp::FIN | tcp::ACK] {
        send(flags, 12, 0x7fff_0000)?;
        let flows = sekisho.flows()?;
        // The server resets what it has not begun.
        let refused = flows.iter().filter(|flow| flow.state == "closed").count();
        let agreed = ["established", "fin-wait", "close-wait", "last-ack"];
        let opened = flows.iter().filter(|flow| agreed.contains(&flow.state.as_str())).count();
        // A number that was guessed right is one in 65,536.
        ensure!(opened <= 2 && refused > 0, "{opened} opened, {refused} refused");
    }
    TcpConn::open(&a, &b, (ip(B_ADDRESSES[0]), 7000).into())?.expect_alive()?;
    TcpConn::open(&outside, &b, (ip(B_ADDRESSES[0]), 7000).into())?.expect_alive()
}

/// So many that the daemon reads and compiles them for longer than a round of the flood takes.
const RULES: u32 = 30_000;
/// Times that it does so, until a whole round falls into one.
const APPLIES_MAX: u32 = 10;
/// Rounds of the flood while it does so once.
const FLOODS_MAX: u32 = 200;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_flood_evicts_itself_while_the_daemon_is_busy() -> Result<()> {
    let lab = Lab::new("busy")?;
    let Town { blue_a, blue_b, blue_c, red_a: _red_a, red_b: _red_b } = Town::build(&lab)?;
    let site = Site::town();
    let mut sekisho = Sekisho::new(&lab, &site.0)?.with_options(&["--flows", HALF_FLOWS]);
    sekisho.start_again()?;
    lab.dut().run(&["ethtool", "-K", "blue-a", "gro", "on"])?.ok()?;
    let flood = unanswered(&blue_a)?;

    let rules = (0..RULES).map(|number| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("          - {{direction: ingress, remote_ip_prefix: 100.{a}.{b}.{c}/32}}\n")
    });
    let large = site.after("blue-tcp-v6", &rules.collect::<String>());
    let server = (ip(B_ADDRESSES[0]), 7005).into();
    for round in 0..APPLIES_MAX {
        let before = sekisho.status()?;
        sekisho.write(if round % 2 == 0 { &large.0 } else { &site.0 })?;
        sekisho.process()?.signal(Signal::SIGHUP)?;
        let (mut crowded_out, mut is_met) = (before.flows_crowded_out, false);
        for _ in 0..FLOODS_MAX {
            flood.send(FLOWS_A_ROUND, 0)?;
            let mut fresh = TcpConn::open(&blue_c, &blue_b, server)?;
            fresh.expect_alive().with_context(|| format!("a fresh one, {round}"))?;
            let now = sekisho.status()?;
            if now.site_version != before.site_version {
                break;
            }
            is_met |= now.flows_crowded_out > crowded_out;
            crowded_out = now.flows_crowded_out;
        }
        if is_met {
            return Ok(());
        }
    }
    bail!("no round of the flood fell into the time that the daemon was busy")
}

/// Of which the one that goes is no longer anybody, and the one that comes is nobody yet.
const CONNECTIONS: usize = 20;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn who_comes_has_nothing_of_the_flows_of_who_went() -> Result<()> {
    let lab = Lab::new("heirs")?;
    let Town { red_a, red_b, blue_a: _a, blue_b: _b, blue_c: _c } = Town::build(&lab)?;
    let site = Site::town();
    let mut sekisho = Sekisho::new(&lab, &site.0)?;
    sekisho.start_again()?;
    let server = (ip(B_ADDRESSES[0]), 7000).into();
    let red = (0..CONNECTIONS).map(|_| TcpConn::open(&red_a, &red_b, server));
    let _red = red.collect::<Result<Vec<_>>>()?;
    let of = |tenant: &str| -> Result<usize> {
        Ok(sekisho.flows()?.iter().filter(|flow| flow.tenant == tenant).count())
    };
    ensure!(of("red")? == 2 * CONNECTIONS, "{} half-flows of red", of("red")?);
    // Its number rests for one version, which is over at once.
    let blue = site.0.split("  - name: red").next().context("red is the last")?;
    sekisho.change(blue)?;
    sekisho.change(&site.with("  - name: red", "  - name: green").0)?;
    let left = sekisho.flows()?;
    ensure!(left.is_empty(), "{} half-flows of who went are there still", left.len());
    let mut fresh = TcpConn::open(&red_a, &red_b, server)?;
    fresh.expect_alive()?;
    ensure!(of("green")? == 2, "{} half-flows of green", of("green")?);
    Ok(())
}

/// Of which a tenant may have a quarter.
const FEW_HALF_FLOWS: &str = "2048";
/// More than three quarters of that.
const HELD: usize = 200;
/// Rounds of a flood until so many fall between two of the daemon's looks: one that waited for
/// what happens once a second would crowd out twice in between.
const BETWEEN_LOOKS: u32 = 4;
const FEW_FLOODS_MAX: u32 = 400;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn who_keeps_what_it_has_delays_nobody() -> Result<()> {
    let lab = Lab::new("held")?;
    let Town { red_a, red_b, blue_a, blue_b: _b, blue_c: _c } = Town::build(&lab)?;
    let options = ["--flows", FEW_HALF_FLOWS];
    let mut sekisho = Sekisho::new(&lab, &Site::town().0)?.with_options(&options);
    sekisho.start_again()?;
    lab.dut().run(&["ethtool", "-K", "blue-a", "gro", "on"])?.ok()?;
    let server = (ip(B_ADDRESSES[0]), 7000).into();
    let red = (0..HELD).map(|_| TcpConn::open(&red_a, &red_b, server));
    let mut red = red.collect::<Result<Vec<_>>>()?;
    let flood = unanswered(&blue_a)?;
    let (mut before, mut times) = (sekisho.status()?, 0);
    for _ in 0..FEW_FLOODS_MAX {
        flood.send(1 << 10, 0)?;
        let now = sekisho.status()?;
        times = match now.looks == before.looks {
            true => times + u32::from(now.flows_crowded_out > before.flows_crowded_out),
            false => 0,
        };
        before = now;
        if times == BETWEEN_LOOKS {
            for conn in &mut red {
                conn.expect_alive()?;
            }
            return Ok(());
        }
    }
    bail!("the flood was crowded out once a second")
}
