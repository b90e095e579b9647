//! The packet table in the kernel: every row that BPF_PROG_TEST_RUN can make, on both
//! sides, and the tracing twin before it.

use anyhow::{Context, Result};
use sekisho_tests::{
    pair::{self, Pair},
    rows::{Row, rows},
    world::{Event, Sent, Site},
};

use crate::with_pair;

const FLOW_LINES: u32 = 1024;

/// What cannot be made comparable, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("no room for another flow", "its flow table has another size (random packets fill one)"),
    ("not told if the kernel cannot make room", "no helper refuses"),
    ("the kernel refuses the tag", "no helper refuses"),
    ("not told once the rate is used up", "the rate depends on time (random packets are silenced)"),
];

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn every_row_is_the_same_in_the_kernel() -> Result<()> {
    with_pair("agree-rows", FLOW_LINES, |site, pair| {
        let (mut packets, mut left_out) = (0, Vec::new());
        for row in rows() {
            if let Some((name, why)) = LEFT_OUT.iter().find(|(name, _)| *name == row.name) {
                left_out.push(format!("{name}: {why}"));
                continue;
            }
            let sent = run(site, pair, &row).with_context(|| row.name.to_owned())?;
            packets += sent;
        }
        println!("{} rows, {packets} packets; left out:\n{}", rows().len(), left_out.join("\n"));
        assert_eq!(left_out.len(), LEFT_OUT.len(), "a row has another name now");
        Ok(())
    })
}

fn run(site: &Site, pair: &mut Pair, row: &Row) -> Result<u32> {
    let past = row.site().past.take();
    let mut packets = 0;
    for &hook in row.hooks() {
        let is_changed = past.iter().any(|event| matches!(event, Event::Changed(_)));
        pair.empty_flows()?;
        pair.refill()?;
        for event in &past {
            match event {
                Event::Changed(image) => pair.install(image)?,
                Event::Sent(sent) => drop(pair.send(sent)?),
            }
        }
        let sent = Sent { hook, ..row.sent_frame() };
        if !pair::can_run(&sent) {
            println!("{}, {hook:?}: too short for BPF_PROG_TEST_RUN", row.name);
            continue;
        }
        pair.trace_then_send(&sent)?;
        pair.compare_tables()?;
        packets += 1;
        if is_changed {
            pair.install(&site.world.image)?;
        }
    }
    Ok(packets)
}
