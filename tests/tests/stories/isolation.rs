//! Can two tenants use the same addresses, and reach only their own?

use anyhow::Result;
use sekisho_tests::build::ip;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::{TcpEchoServer, ping, tcp_exchange, udp_probe};
use sekisho_tests::{Capture, Lab, Sekisho};

use crate::town::{B_ADDRESSES, C_ADDRESSES, Site, Town, contains, judged};

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn tenants_with_the_same_addresses_reach_only_their_own() -> Result<()> {
    let lab = Lab::new("isolation")?;
    let town = Town::build(&lab)?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let _servers =
        [TcpEchoServer::start(&town.blue_b, 7000)?, TcpEchoServer::start(&town.red_b, 7000)?];

    let pairs = [
        ("blue", &town.blue_a, &town.blue_b, "red", &town.red_b),
        ("red", &town.red_a, &town.red_b, "blue", &town.blue_b),
    ];
    for (own, a, b, other, stranger) in pairs {
        let before = sekisho.tally()?;
        let (near, far) = (Capture::start(b)?, Capture::start(stranger)?);
        let back = Capture::start(a)?;
        for to in B_ADDRESSES.map(ip) {
            assert!(ping(a, to, 2, &[])?.all_answered(), "{own} {to}");
            tcp_exchange(a, (to, 7000).into(), 200_000, PATIENCE)?;
            let probe = udp_probe(a, b, (to, 7001).into(), format!("for {own}").as_bytes())?;
            assert!(probe.answered, "{own}: {probe:?}");
        }
        let seen = far.stop()?;
        let astray = seen.frames().iter().filter(|seen| {
            seen.bytes.get(12..14) == Some(&[8, 0]) || contains(&seen.bytes, b"for ")
        });
        assert_eq!(astray.count(), 0, "{own}'s packets at {other}'s server");
        judged(near)?;
        judged(back)?;

        let tally = sekisho.tally()?.since(&before)?;
        let (sent, received) = (tally.at(&format!("{own}-b"))?, tally.at(&format!("{own}-a"))?);
        assert!(sent.sent.bytes > 400_000 && received.received.bytes > 400_000, "{tally:?}");
        assert_eq!(tally.at(&format!("{other}-b"))?.sent.packets, 0, "{tally:?}");
        assert_eq!(tally.at(&format!("{other}-a"))?.sent.packets, 0, "{tally:?}");
    }

    // An address in red's own network that only blue uses is nobody's.
    let before = sekisho.tally()?;
    let capture = Capture::start(&town.blue_c)?;
    for to in C_ADDRESSES.map(ip) {
        assert_eq!(ping(&town.red_a, to, 1, &[])?.received, 0, "{to}");
    }
    let tally = sekisho.tally()?.since(&before)?;
    assert!(tally.stopped("red", "arp_unanswered") > 0, "{tally:?}");
    assert!(tally.stopped("red", "neighbour_unanswered") > 0, "{tally:?}");
    assert_eq!(tally.at("blue-c")?.sent.packets, 0);
    assert_eq!(capture.stop()?.frames().len(), 0);
    Ok(())
}
