//! Is the flow table whole?

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use dataplane_common::{
    stage::conntrack::{is_dispensable, state::REPLIED},
    table::{
        Station,
        flow::{FlowKey, bucket_of, homes, status},
    },
    wire::protocol::{TCP, UDP},
};
use dataplane_user::{
    load::{Dataplane, Swept},
    tables::Image,
};

use sekisho_tests::world::{End, addr};

use crate::flow::{Ends, Flow, Kind, SHARED, SHARED_PORTS};

/// One pass, as the daemon does it; nobody has more than it may.
pub fn sweep(dataplane: &mut Dataplane, image: &Image) -> Result<Swept> {
    let quota = |tenant: u32| image.tenants.get(tenant as usize).map(|of| of.flows_max);
    for (tenant, count) in (0..).zip(dataplane.flow_table().of_tenant) {
        // Both CPUs may ask for two halves before either takes them.
        let (count, most) = (count.load(), u64::from(quota(tenant).unwrap_or(0)) + 2);
        ensure!(count <= most, "tenant {tenant} has {count} half-flows, of {most}");
    }
    Ok(dataplane.sweeper().sweep(quota)?)
}

/// Lets these half-flows have been idle for so long.
pub fn age(dataplane: &Dataplane, ticks: u32, mut is_one: impl FnMut(&FlowKey) -> bool) {
    let then = dataplane.now_ticks().wrapping_sub(ticks);
    for line in dataplane.flow_table().lines {
        if line.status.load() & status::LIFE == status::LIVE && is_one(&line.key()) {
            line.seen_ticks.store(then);
        }
    }
}

/// Lets all flows have been made so long ago.
pub fn grow_old(dataplane: &Dataplane, ticks: u32) {
    let then = dataplane.now_ticks().wrapping_sub(ticks);
    dataplane.flow_table().cold.iter().for_each(|cold| cold.made_ticks.store(then));
}

/// While no packet is under way: is each flow of the shared address one port's, and of its rules?
pub fn are_of_one(dataplane: &Dataplane, image: &Image, ends: Ends) -> Result<()> {
    let mut had = [0, 0];
    for half in dataplane.flows().filter(|half| half.key.src == addr(SHARED)) {
        let is_his = |[from, _]: &[End; 2]| from.id == half.opener;
        let whose = ends.sharers.iter().position(is_his).context("a stranger's")?;
        let is_owner = |of: &Station| of.owner == half.owner && of.endpoint == half.opener;
        let policy = image.endpoints[half.opener as usize].policy as usize;
        let mut rules = image.policies[policy].egress(&image.rules).iter();
        let is_whole =
            image.stations.values().any(is_owner) && rules.any(|rule| rule.id == half.rule_egress);
        // Where each was in the other's way, the next packet judges it.
        let is_unsettled = (half.owner, half.epoch) == (0, 0);
        ensure!(is_whole || is_unsettled, "partly another's: {half:?}");
        had[whose] += 1;
    }
    println!("{had:?} flows of the shared address are of each");
    ensure!(had.iter().sum::<usize>() == SHARED_PORTS.len() && !had.contains(&0));
    Ok(())
}

/// While no packet is under way: is every half-flow there once, with its other half, and paid
/// for, and are all that both CPUs have begun?
pub fn look_through(dataplane: &mut Dataplane, image: &Image, ends: Ends) -> Result<()> {
    sweep(dataplane, image)?;
    let table = dataplane.flow_table();
    let mut found = HashMap::new();
    let mut paid = vec![0; table.of_tenant.len()];
    let mut away = vec![0; table.away.len()];
    for (index, line) in (0..).zip(table.lines) {
        let seen = line.status.load();
        match seen & status::LIFE {
            status::EMPTY => continue,
            status::LIVE => {}
            other => bail!("line {index} is neither free nor in force: {other:#x}"),
        }
        let (key, more) = (line.key(), &table.more[index as usize]);
        if let Some(before) = found.insert(key, (index, seen & status::STATE)) {
            bail!("lines {before:?} and {index} are of one half-flow: {key:?}");
        }
        let home = homes(&key.words(), table.secret, table.lines.len() as u32)[0];
        away[bucket_of(home) as usize] += u64::from(bucket_of(home) != bucket_of(index));
        let tenant = table.cold[index as usize].tenant.load();
        paid[tenant as usize] += 1;
        let at = more.partner.load();
        let (other, its) = (&table.lines[at as usize], &table.more[at as usize]);
        let (src, dst, src_port, dst_port) = (key.dst, key.src, key.dst_port, key.src_port);
        let inverse = FlowKey { src, dst, src_port, dst_port, ..key };
        let halves = (seen ^ other.status.load()) & (status::LIFE | status::REPLY);
        ensure!(
            (halves, its.partner.load(), other.key()) == (status::REPLY, index, inverse),
            "line {index}, {seen:#x}, is half of line {at}, {:#x}, which is half of line {}: {key:?}",
            other.status.load(),
            its.partner.load()
        );
        let whose = table.cold[at as usize].tenant.load();
        ensure!(whose == tenant, "lines {index} and {at} are paid by {tenant} and {whose}");
    }
    for (tenant, (count, paid)) in table.of_tenant.iter().zip(paid).enumerate() {
        let count = count.load();
        ensure!(count == paid, "tenant {tenant} pays for {count} half-flows and has {paid}");
    }
    for (bucket, (count, away)) in table.away.iter().zip(&away).enumerate() {
        let count = count.load();
        ensure!(count == *away, "bucket {bucket} takes {count} half-flows for away, not {away}");
    }
    let states: HashMap<_, _> = found
        .iter()
        .map(|(key, (_, state))| ((key.zone(), key.protocol, key.src_port), *state))
        .collect();
    for flow in Flow::all() {
        for cpu in [0, 1] {
            let [from, _] = flow.ends(ends, cpu);
            let protocol = if flow.kind == Kind::Connection { TCP } else { UDP };
            let state = states.get(&(from.zone, protocol, flow.port.to_be_bytes()));
            let is_used = |state: &u32| *state == REPLIED || !is_dispensable(*state);
            ensure!(state.is_some_and(is_used), "{flow:?}: {state:?}");
        }
    }
    println!("{} half-flows, {} away", found.len(), away.iter().sum::<u64>());
    Ok(())
}
