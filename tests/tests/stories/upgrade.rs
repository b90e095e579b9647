//! Does an upgrade lose anything? Another program takes over while packets are under way, at tcx
//! and at XDP, and one of the programs keeps its notes on a packet otherwise.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::{Frame, ip};
use sekisho_tests::process::PATIENCE;
use sekisho_tests::sekisho::{other_program, program};
use sekisho_tests::traffic::TcpConn;
use sekisho_tests::{Capture, Host, Lab, Sekisho};

use crate::cut::Connections;
use crate::town::{A, A_ADDRESSES, B_ADDRESSES, ROUTER, Site, Town, contains, judged};

const DATAGRAMS_MAX: u32 = 60_000;
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 0xff, 1];
const NIC: [u8; 6] = [2, 0, 0, 0, 0xff, 2];

/// A stream of numbered datagrams.
struct Stream<'h> {
    from: &'h Host,
    frame: Frame,
    marker: &'static [u8],
}

impl Stream<'_> {
    fn numbered(&self, number: u32) -> Vec<u8> {
        self.frame.clone().payload(&[self.marker, &number.to_be_bytes()].concat()).build()
    }

    /// Until told to stop; answers how many.
    fn send(&self, done: &AtomicBool) -> Result<u32> {
        let mut sent = 0;
        while !done.load(Ordering::Acquire) && sent < DATAGRAMS_MAX {
            self.from.send_frame(&self.numbered(sent))?;
            sent += 1;
            thread::sleep(Duration::from_millis(3));
        }
        Ok(sent)
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn four_upgrades_lose_nothing() -> Result<()> {
    let lab = Lab::new("upgrade")?;
    let town = Town::build(&lab)?;
    let outside = lab.nic("nic").mac("02:00:00:00:ff:01").address("198.51.100.1/24");
    let outside = outside.gateway(ip("198.51.100.2")).build()?;
    let site = Site::town().with(
        "interfaces: [{network: inside}, {network: public}]}\n    ports:\n      - {name: a, network: inside, interface: blue-a",
        "interfaces: [{network: inside}, {network: public}], routes: [{destination: 198.51.100.0/24, uplink: outside}]}\n    ports:\n      - {name: a, network: inside, interface: blue-a",
    );
    let site = format!(
        "{}\nuplinks:\n  - name: outside\n    interface: nic\n    mac: 02:00:00:00:ff:02\n    addresses: [198.51.100.2/24]\n    next_hops: [{{address: 198.51.100.1, mac: 02:00:00:00:ff:01}}]\n    exports: [{{prefix: 10.1.0.0/24, tenant: blue, router: r}}]\n",
        site.0
    );
    let (own, other) = (program()?, other_program()?);
    let mut sekisho = Sekisho::start(&lab, &site)?;
    let at_b = Capture::start(&town.blue_b)?;
    let mut connections = Connections::open(&town)?;
    let mut from_outside =
        TcpConn::open(&outside, &town.blue_b, (ip(B_ADDRESSES[0]), 7000).into())?;
    from_outside.expect_alive()?;

    let udp = |src: &str, dst: &str| Frame::new(A, ROUTER).ip(src, dst).udp(4000, 7001);
    let streams = [
        Stream {
            from: &town.blue_a,
            frame: udp(A_ADDRESSES[0], B_ADDRESSES[0]),
            marker: b"by IPv4 ",
        },
        Stream {
            from: &town.blue_a,
            frame: udp(A_ADDRESSES[1], B_ADDRESSES[1]),
            marker: b"by IPv6 ",
        },
        Stream {
            from: &outside,
            frame: Frame::new(OUTSIDE, NIC).ip("198.51.100.1", B_ADDRESSES[0]).udp(4000, 7001),
            marker: b"by XDP ",
        },
    ];
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| -> Result<Vec<u32>> {
        let senders: Vec<_> =
            streams.iter().map(|stream| scope.spawn(|| stream.send(&done))).collect();
        let mut upgraded = Ok(());
        for (number, program) in [&own, &other, &own, &own].into_iter().enumerate() {
            upgraded = upgraded
                .and_then(|()| sekisho.upgrade(program))
                .and_then(|()| connections.alive())
                .and_then(|()| from_outside.expect_alive())
                .with_context(|| format!("upgrade {number} to {program}"));
        }
        done.store(true, Ordering::Release);
        let sent = senders
            .into_iter()
            .map(|sender| sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        upgraded.and(sent)
    })?;

    for (stream, sent) in streams.iter().zip(sent) {
        let name = String::from_utf8_lossy(stream.marker);
        let last = [stream.marker, &(sent - 1).to_be_bytes()].concat();
        at_b.wait_for(PATIENCE, |seen| contains(&seen.bytes, &last))
            .with_context(|| format!("the last one {name}"))?;
        let arrived = at_b.count(|seen| contains(&seen.bytes, stream.marker));
        println!("{sent} {name}through four upgrades, {arrived} arrived");
        ensure!(arrived == sent as usize, "{sent} sent {name}, {arrived} arrived");
    }
    // Established flows are what they were: nothing was judged as a stranger's.
    let flows = sekisho.flows()?;
    let tcp = flows.iter().filter(|flow| flow.protocol == "tcp" && flow.state == "established");
    ensure!(tcp.count() == 6, "{flows:?}");
    judged(at_b)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_folder_that_others_may_enter_is_refused() -> Result<()> {
    let lab = Lab::new("folder")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let mut connections = Connections::open(&town)?;
    sekisho.kill()?;
    let pins = lab.bpffs()?.join("sekisho");
    let (mode, owner) = (fs::Permissions::from_mode, std::os::unix::fs::chown::<&std::path::Path>);

    fs::set_permissions(&pins, mode(0o755))?;
    let refused = sekisho.refused()?;
    ensure!(refused.stderr.contains("may be entered by others (mode 755)"), "{refused:?}");
    fs::set_permissions(&pins, mode(0o700))?;

    owner(&pins, Some(65_534), None)?;
    let refused = sekisho.refused()?;
    ensure!(refused.stderr.contains("owned by user 65534"), "{refused:?}");
    owner(&pins, Some(0), None)?;

    // What runs is untouched, and goes on.
    connections.alive()?;
    sekisho.start_again()?;
    connections.alive()
}
