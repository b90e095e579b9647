//! How long does one broadcast frame keep a CPU, in a network as large as one may be?
//!
//! BPF_PROG_TEST_RUN on the shipped object, by the kernel's own clock. The frame is copied to
//! each port whose rules permit it; of the ports beside each other with the same security groups
//! the rules are looked at once. A tenant pays for copies and rules, so that between two frames
//! there is a pause.

use std::{cell::Cell, thread, time::Duration};

use anyhow::{Result, ensure};
use criterion::Throughput;
use dataplane_common::limits::{COPIES_BURST, COPIES_PER_SECOND};
use dataplane_user::load::{Interface, Place};
use sekisho_bench::{
    report::{self, Line},
    site::{self, Loaded, Question},
};
use sekisho_tests::{build::Frame, plug::Hosts};

/// Ports that may get a copy, each on a VLAN of its own.
const PORTS: usize = 1000;
/// Until everything that a frame cost is paid for.
const PAUSE: Duration =
    Duration::from_millis(1000 * COPIES_BURST as u64 / COPIES_PER_SECOND as u64 + 1);
const SENDER: [u8; 6] = [2, 0, 0, 0, 1, 1];

fn main() -> Result<()> {
    if !site::may_load() {
        return Ok(());
    }
    let permit = "{direction: ingress, protocol: udp}";
    let many = |rest: &str| {
        let rule = |last| {
            format!("{{direction: ingress, port_range_min: 1, port_range_max: {last}, {rest}}}")
        };
        (2..1002).map(rule).collect::<Vec<_>>().join(", ")
    };
    let rows = [
        ("1,000 ports that permit it", permit.to_owned(), PORTS as u64),
        ("1,000 ports with 1,000 rules of another protocol", many("protocol: tcp"), 0),
        (
            "1,000 ports with 1,000 rules of an address group",
            many("protocol: udp, remote_address_group: far"),
            0,
        ),
    ];
    let mut lines = Vec::new();
    for (name, rules, copies) in rows {
        let text = text(&rules);
        let samples = site::in_lab("flood", &text, &[], |place, hosts| {
            measure(name, (&text, place, hosts), copies)
        })?;
        lines.extend(Line::of(name, samples));
    }
    report::print("one broadcast frame at tcx", &lines);
    Ok(())
}

fn measure(
    name: &str,
    (text, place, hosts): (&str, Place, &Hosts),
    copies: u64,
) -> Result<Vec<f64>> {
    let loaded = Loaded::new(text, place, hosts)?;
    let frame = Frame::new(SENDER, [0xff; 6]).ip("10.0.0.2", "255.255.255.255").udp(1, 2);
    let ifindex = Interface::find("one", "the benchmark")?.index;
    let question = loaded.question(ifindex, frame.build())?;
    let copied = || -> Result<u64> {
        let counters = loaded.dataplane.counters(2 + PORTS as u32)?;
        Ok(counters.iter().map(|at| at.copied.packets).sum())
    };
    once(&loaded, &question)?;
    ensure!(copied()? == copies, "{name}: {} copies, not {copies}", copied()?);
    let mut criterion = report::criterion();
    let mut group = criterion.benchmark_group("flood");
    group.throughput(Throughput::Elements(1));
    let sent = Cell::new(1);
    let samples = report::samples(&mut group, name, |frames| {
        sent.set(sent.get() + 1);
        Ok(once(&loaded, &question)?.mul_f64(frames as f64))
    });
    group.finish();
    ensure!(copied()? == copies * sent.get(), "{name}: some cost too much");
    Ok(samples)
}

fn once(loaded: &Loaded, question: &Question) -> Result<Duration> {
    thread::sleep(PAUSE);
    Ok(loaded.run(question, 1)?.duration)
}

fn text(rules: &str) -> String {
    let ports: String = (0..PORTS)
        .map(|at| {
            let vlan = if at == 0 { String::new() } else { format!("vlan: {}, ", at + 1) };
            let [high, low] = (at as u16 + 2).to_be_bytes();
            format!(
                "      - {{name: p{at}, network: lan, interface: many, {vlan}mac: \
                 02:00:00:01:{high:02x}:{low:02x}, fixed_ips: [10.0.{}.{low}], \
                 security_groups: [crowd]}}\n",
                1 + high,
            )
        })
        .collect();
    format!(
        "version: 1
tenants:
  - name: blue
    networks: [{{name: lan, subnets: [{{cidr: 10.0.0.0/16}}]}}]
    address_groups: [{{name: far, addresses: [203.0.113.0/24]}}]
    security_groups:
      - {{name: out, rules: [{{direction: egress}}]}}
      - {{name: crowd, rules: [{rules}]}}
    ports:
      - {{name: one, network: lan, interface: one, mac: 02:00:00:00:01:01, fixed_ips: [10.0.0.2], security_groups: [out]}}
{ports}"
    )
}
