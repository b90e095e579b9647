//! The packet table in the kernel: every row that BPF_PROG_TEST_RUN can make, on both
//! sides, and the tracing twin before it.

use anyhow::{Context, Result, ensure};

use super::{Pair, can_run, with};
use crate::{
    rows::{Row, rows},
    world::{Event, Sent, Site},
};

const FLOW_LINES: u32 = 1024;

const NO_SEGMENTS: &str = "the kernel makes no segments of a frame of BPF_PROG_TEST_RUN";
/// What cannot be made comparable, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("a piece that was parked, and no first", "only the host notes that (stories do it)"),
    ("a first piece, and no room for another datagram", "only the host's table was filled"),
    ("no room for another flow", "its flow table has another size (random packets fill one)"),
    ("not told if the kernel cannot make room", "no helper refuses"),
    ("the kernel refuses the tag", "no helper refuses"),
    ("multicast in segments", NO_SEGMENTS),
    ("multicast in segments from a port behind two tags", NO_SEGMENTS),
    ("too many announcements", "the rate depends on time"),
    ("too many of whoever has it", "the rate depends on time"),
    ("too many announcements that are copied", "the rate depends on time"),
    ("too many probes for link-local addresses", "the rate depends on time"),
    ("one byte more than a port may send", "the kernel's clock goes on, a byte in 17 ms"),
    ("a byte too little for each segment's headers", "the kernel's clock goes on, as above"),
    ("no more copies may be made", "the rate depends on time (random packets are silenced)"),
    ("not told once the rate is used up", "the rate depends on time (random packets are silenced)"),
];

/// What was compared.
pub struct Ran {
    /// Rows of the table.
    pub rows: usize,
    /// Packets that both sides saw.
    pub packets: u32,
    /// What was not compared, and why.
    pub left_out: Vec<String>,
}

/// Demands of every row that host and kernel agree.
pub fn agree(lab: &str) -> Result<Ran> {
    with(lab, FLOW_LINES, |site, pair| {
        let mut ran = Ran { rows: 0, packets: 0, left_out: Vec::new() };
        for row in rows() {
            ran.rows += 1;
            if let Some((name, why)) = LEFT_OUT.iter().find(|(name, _)| *name == row.name) {
                ran.left_out.push(format!("{name}: {why}"));
                continue;
            }
            run(site, pair, &row, &mut ran).with_context(|| row.name.to_owned())?;
        }
        let known = |(name, _): &(&str, &str)| ran.left_out.iter().any(|of| of.starts_with(name));
        ensure!(LEFT_OUT.iter().all(known), "a row that is left out has another name now");
        Ok(ran)
    })
}

fn run(site: &Site, pair: &mut Pair, row: &Row, ran: &mut Ran) -> Result<()> {
    let past = row.site().past.take();
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
        if !can_run(&sent) {
            ran.left_out.push(format!("{}, {hook:?}: too short for BPF_PROG_TEST_RUN", row.name));
            continue;
        }
        pair.trace_then_send(&sent)?;
        pair.compare_tables()?;
        ran.packets += 1;
        if is_changed {
            pair.install(&site.world.image)?;
        }
    }
    Ok(())
}
