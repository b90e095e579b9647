//! Is the flow table the same on both sides?
//!
//! Both hash with the same secret, so a flow has the same line on both. Times are not
//! compared: both sides are told that everything was seen just now, often enough that
//! nothing expires.

use anyhow::{Result, bail};
use dataplane_common::{
    Tables,
    table::{
        datagram::Datagram,
        flow::{FlowCold, FlowKey, FlowLine, FlowMore, Judged, status},
    },
    word::{Word32, Word64},
};
use dataplane_user::{load::FlowTable, tables::HostTables};

/// All of a line but its times and what only userland writes.
#[derive(PartialEq, Eq, Debug)]
struct Line {
    status: u32,
    key: FlowKey,
    judged: Judged,
    partner: u32,
    owner: u32,
    packets: u64,
    bytes: u64,
    stamp: u64,
    opener: u32,
    responder: u32,
    rule_egress: u32,
    rule_ingress: u32,
    tenant: u32,
    end: u32,
    permits: u32,
    scale: u32,
}

impl Line {
    fn read((line, cold, more): Half<'_>) -> Self {
        let (packets, bytes) = cold.forwarded(line);
        Self {
            status: line.status.load(),
            key: line.key(),
            judged: Judged::from_word(line.judged.load()),
            partner: more.partner.load(),
            owner: line.owner.load(),
            packets,
            bytes,
            stamp: cold.stamp.load(),
            opener: cold.opener.load(),
            responder: cold.responder.load(),
            rule_egress: cold.rule_egress.load(),
            rule_ingress: cold.rule_ingress.load(),
            tenant: cold.tenant.load(),
            end: more.end.load(),
            permits: more.permits.load(),
            scale: more.scale.load(),
        }
    }
}

/// The parts of a half-flow.
pub type Half<'t> = (&'t FlowLine, &'t FlowCold, &'t FlowMore);

/// The halves of the host's tables.
pub fn host_halves(host: &HostTables) -> impl Iterator<Item = Half<'_>> {
    (0..host.flow_lines()).filter_map(|index| {
        Some((host.flow(index)?, host.flow_cold(index)?, host.flow_more(index)?))
    })
}

/// Those of the kernel's.
pub fn halves(table: FlowTable<'_>) -> impl Iterator<Item = Half<'_>> {
    table
        .lines
        .iter()
        .zip(table.cold)
        .zip(table.more)
        .map(|((line, cold), more)| (line, cold, more))
}

/// Compares half by half; answers how many are in force.
pub fn compare(host: &HostTables, kernel: FlowTable<'_>) -> Result<usize> {
    let mut live = 0;
    for (index, (ours, theirs)) in host_halves(host).zip(halves(kernel)).enumerate() {
        let (ours, theirs) = (Line::read(ours), Line::read(theirs));
        if ours != theirs {
            bail!("flow line {index}:\n  host {ours:?}\n  kernel {theirs:?}");
        }
        live += usize::from(ours.status & status::LIFE == status::LIVE);
    }
    Ok(live)
}

/// Compares slot by slot, but for times.
pub fn compare_datagrams(host: &HostTables, slots: &[Datagram]) -> Result<()> {
    if host.datagrams().is_empty() {
        return Ok(());
    }
    for (index, (ours, theirs)) in host.datagrams().iter().zip(slots).enumerate() {
        if (ours.status.load(), theirs.status.load()) == (0, 0) {
            continue;
        }
        let read = |slot: &Datagram| {
            let key: Vec<_> = slot.key.iter().map(Word64::load).collect();
            let said = [&slot.owner, &slot.tenant, &slot.ports, &slot.protocol, &slot.ms_max];
            let marks: Vec<_> = slot.marks.iter().map(Word64::load).collect();
            (slot.status.load(), slot.progress.load(), key, said.map(Word32::load), marks)
        };
        let (ours, theirs) = (read(ours), read(theirs));
        if ours != theirs {
            bail!("datagram {index}:\n  host {ours:x?}\n  kernel {theirs:x?}");
        }
    }
    Ok(())
}

/// The slot was never used.
pub fn clear_datagram(slot: &Datagram) {
    if slot.status.load() != 0 {
        slot.status.store(0);
        slot.marks.iter().for_each(|word| word.store(0));
    }
}

/// The time of none is over, and those that are done were done just now.
pub fn touch_datagrams<'d>(slots: impl Iterator<Item = &'d Datagram>, now_ticks: u32) {
    slots.filter(|slot| slot.status.load() != 0).for_each(|slot| slot.seen_ticks.store(now_ticks));
}

/// Everything was seen just now.
pub fn touch<'l>(lines: impl Iterator<Item = &'l FlowLine>, now_ticks: u32) {
    lines.for_each(|line| line.seen_ticks.store(now_ticks));
}

/// How long ago the host's flows were made, line by line.
pub fn ages(host: &HostTables, now_ticks: u32) -> impl Iterator<Item = u32> {
    host_halves(host).map(move |(_, cold, _)| now_ticks.wrapping_sub(cold.made_ticks.load()))
}

/// Lets the kernel's have been made as long ago.
pub fn be_of_age(table: FlowTable<'_>, ages: impl Iterator<Item = u32>, now_ticks: u32) {
    for (cold, age) in table.cold.iter().zip(ages) {
        cold.made_ticks.store(now_ticks.wrapping_sub(age));
    }
}

/// No flow was ever there.
pub fn clear((line, cold, more): Half<'_>) {
    for word in &line.key {
        word.store(0);
    }
    let words = [
        &line.status,
        &line.seen_ticks,
        &line.owner,
        &line.counts,
        &cold.opener,
        &cold.responder,
        &cold.rule_egress,
        &cold.rule_ingress,
        &cold.tenant,
        &cold.made_ticks,
        &cold.folded_packets,
        &more.end,
        &more.permits,
        &more.scale,
        &more.partner,
    ];
    words.into_iter().for_each(|word| word.store(0));
    let wide = [&line.judged, &cold.packets, &cold.bytes, &cold.stamp, &cold.folded_bytes];
    for word in wide.into_iter().chain([&more.opener_mac]) {
        word.store(0);
    }
}
