//! Is the router one that ping, traceroute and path MTU discovery know?

use anyhow::Result;
use sekisho_tests::build::ip;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange, traceroute};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::town::{B_ADDRESSES, Site, Town, judged};

const GATEWAYS: [&str; 2] = ["10.0.0.1", "fd00::1"];
/// The same router, seen from the server.
const FAR_GATEWAYS: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
/// Addresses in the server's network that nobody has.
const NOBODY: [&str; 2] = ["10.1.0.99", "fd00:1::99"];
/// The same in the client's.
const FAR_NOBODY: [&str; 2] = ["10.0.0.99", "fd00::99"];
/// Where no route leads.
const NOWHERE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn ping_and_traceroute_see_a_router() -> Result<()> {
    let lab = Lab::new("router")?;
    let town = Town::build(&lab)?;
    // The server answers a traceroute's probes with errors of its own.
    let site = Site::town()
        .with(
            "port_range_min: 7000, port_range_max: 7009}\n          - {id: blue-udp-v6",
            "port_range_min: 7000, port_range_max: 40000}\n          - {id: blue-udp-v6",
        )
        .with(
            "port_range_min: 7000, port_range_max: 7009}\n          - {id: blue-echo-v4",
            "port_range_min: 7000, port_range_max: 40000}\n          - {id: blue-echo-v4",
        );
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let (a, b) = (&town.blue_a, &town.blue_b);
    let captures = [Capture::start(a)?, Capture::start(b)?];
    let before = sekisho.tally()?;

    for (at, to) in B_ADDRESSES.map(ip).into_iter().enumerate() {
        let gateway = ip(GATEWAYS[at]);
        for answering in [to, gateway, ip(FAR_GATEWAYS[at])] {
            assert!(ping(a, answering, 2, &["-s", "1000"])?.all_answered(), "{answering}");
        }
        // By UDP, by echo requests, and by TCP.
        for options in [&[][..], &["-I"], &["-T", "-p", "7000"]] {
            let hops = traceroute(a, to, options)?;
            let hops: Vec<_> = hops.into_iter().map(|hop| (hop.from, hop.mark)).collect();
            assert_eq!(hops, [(Some(gateway), None), (Some(to), None)], "{options:?}");
        }
        let expired = ping(a, to, 1, &["-t", "1"])?;
        assert_eq!(expired.errors.first().and_then(|error| error.from), Some(gateway));

        // What leads nowhere is told, from the address that the sender knows the router by.
        let nobody = ping(a, ip(NOBODY[at]), 1, &[])?;
        let nowhere = ping(a, ip(NOWHERE[at]), 1, &[])?;
        for (told, text) in [
            (
                nobody,
                ["Destination Host Unreachable", "Destination unreachable: Address unreachable"],
            ),
            (nowhere, ["Destination Net Unreachable", "Destination unreachable: No route"]),
        ] {
            assert_eq!(told.received, 0);
            let told = told.errors.first().map(|error| (error.from, error.text.as_str()));
            assert_eq!(told, Some((Some(gateway), text[at])));
        }
        // The server may open nothing, so it is told nothing.
        for silent in [FAR_NOBODY[at], NOWHERE[at]] {
            let silence = ping(b, ip(silent), 1, &[])?;
            assert_eq!((silence.received, silence.errors.len()), (0, 0), "{silent}: {silence:?}");
        }
    }
    let tally = sekisho.tally()?.since(&before)?;
    for (reason, at_least) in
        [("ttl_exceeded", 8), ("unknown_destination", 2), ("no_route", 2), ("egress_denied", 4)]
    {
        assert!(tally.stopped("blue", reason) >= at_least, "{reason}: {tally:?}");
    }
    assert_eq!(tally.at("blue-b")?.reported.packets, 0, "{tally:?}");
    assert!(tally.at("blue-a")?.reported.packets >= 12, "{tally:?}");
    captures.into_iter().try_for_each(judged)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_packet_that_is_too_big_is_told_the_mtu() -> Result<()> {
    let lab = Lab::new("mtu")?;
    let town = Town::build(&lab)?;
    // Its hosts do not know that their network is narrower: nothing but the router tells.
    let site = Site::town().with("{name: public, subnets", "{name: public, mtu: 1400, subnets");
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let (a, b) = (&town.blue_a, &town.blue_b);
    let captures = [Capture::start(a)?, Capture::start(b)?];
    let _server = TcpEchoServer::start(b, 7000)?;
    let before = sekisho.tally()?;

    for (at, to) in B_ADDRESSES.map(ip).into_iter().enumerate() {
        // The largest that fits: 1400 less the headers of IP and ICMP.
        let (fits, exceeds) = if to.is_ipv4() { ("1372", "1373") } else { ("1352", "1353") };
        assert!(ping(a, to, 1, &["-M", "do", "-s", fits])?.all_answered());
        let large = ping(a, to, 1, &["-M", "do", "-s", exceeds])?;
        assert_eq!(large.received, 0);
        let told = large.errors.first().map(|error| (error.from, error.mtu));
        assert_eq!(told, Some((Some(ip(GATEWAYS[at])), Some(1400))), "{large:?}");
        // TCP finds it out by itself, segmentation offload and all.
        tcp_exchange(a, (to, 7000).into(), 2_000_000, PATIENCE)?;
    }
    let tally = sekisho.tally()?.since(&before)?;
    assert!(tally.stopped("blue", "too_big") >= 2, "{tally:?}");
    captures.into_iter().try_for_each(judged)
}
