//! Which addresses have the lines now?

use std::collections::HashMap;

use ipnetwork::IpNetwork;

use super::mobile::{self, Gate, Registry};
use super::{Context, Names, prefix};
use crate::config::file::File;
use crate::config::tree::NodeId;
use crate::config::{At, Prefix};
use crate::model::{AccessIx, Ix, LineIx, Session};

pub(super) fn sessions(
    cx: &mut Context<'_>,
    file: &File,
    names: &Names,
    gates: &[Gate],
    registry: &Registry,
) -> Vec<Option<Session>> {
    let mut bound: HashMap<LineIx, NodeId> = HashMap::new();
    let mut by_access: HashMap<AccessIx, Vec<(IpNetwork, NodeId)>> = HashMap::new();
    let mut sessions = Vec::new();
    for session in file.sessions.items() {
        let access = session.access.given().and_then(|at| names.accesses.find(cx, at));
        let number = session.number.given().and_then(|at| cx.number(at));
        let items = session.addresses.items();
        if session.addresses.is_empty() {
            cx.error(session.node, "addresses is empty", "a session binds at least one");
        }
        let own = mobile::addresses(cx, access.map(|ix| &gates[ix.position()]), items);
        if let Some(access) = access {
            let own = items.iter().map(|at| (at.value.0, at.node));
            by_access.entry(access).or_default().extend(own);
        }
        let mut line = None;
        if let (Some(access), Some(number), Some(at)) = (access, number, session.number.given()) {
            line = registry.known.get(&(access, number)).map(|(line, _)| *line);
            match line {
                None if !registry.whole => {}
                None => {
                    let message = format!("no tenant has registered {number} on this access");
                    cx.error(at.node, message, "a session is a line's");
                }
                Some(line) => {
                    if let Some(first) = bound.insert(line, at.node) {
                        let message = format!("{number} has a session already");
                        let help = format!("give all its addresses there: {}", cx.see(first));
                        cx.error(at.node, message, &help);
                    }
                    fixed_only(cx, registry, line, items);
                    not_kept(cx, registry, access, line, items);
                }
            }
        }
        sessions
            .push(line.filter(|_| !own.is_empty()).map(|line| Session { line, addresses: own }));
    }
    for list in by_access.values() {
        for (later, first) in prefix::overlaps(list) {
            let help = format!("see {}", cx.see(first));
            cx.error(later, "another session of the access has this address", &help);
        }
    }
    sessions
}

fn fixed_only(cx: &mut Context<'_>, registry: &Registry, line: LineIx, items: &[At<Prefix>]) {
    let Some(fixed) = &registry.fixed[line.position()] else { return };
    for at in items {
        if !fixed.contains(&at.value.0) {
            let address = prefix::shown(at.value.0);
            let message = format!("{address} is not a fixed address of the line");
            let fixed = prefix::listed("its fixed addresses", fixed.iter().copied());
            cx.error(at.node, message, &fixed);
        }
    }
}

/// Refuses an address that is kept for another line.
fn not_kept(
    cx: &mut Context<'_>,
    registry: &Registry,
    access: AccessIx,
    line: LineIx,
    items: &[At<Prefix>],
) {
    let Some(kept) = registry.kept.get(&access) else { return };
    for at in items {
        let address = at.value.0;
        let after = kept.partition_point(|(other, ..)| *other <= address);
        // Prefixes nest: what holds the address is before it, what it holds behind it.
        let near = kept[after.saturating_sub(1)..].iter().take(2);
        let mut near =
            near.filter(|(other, of, _)| *of != line && prefix::overlap(*other, address));
        if let Some((_, _, place)) = near.next() {
            let message = format!("{} is kept for another line", prefix::shown(address));
            let help = format!("it is in the fixed_ips of {}", cx.see(*place));
            cx.error(at.node, message, &help);
        }
    }
}
