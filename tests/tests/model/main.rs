//! Does the product do what a site file means? Random sites and packets, judged by the
//! plain reference.

mod answers;
mod changes;
mod history;
mod kernel;
mod questions;

use dataplane_common::{Stop, Tables, table::flow::status, tables::note};
use dataplane_user::{check::check, tables::HostTables};
use sekisho_tests::{
    chance::Chance,
    drive::{self, Passed},
    packet::HostPacket,
    pair::Watched,
    sites::Spec,
    trial::Trial,
    world::Sent,
};

/// Lines of a flow table.
const FLOW_LINES: u32 = 64;

/// A random site that `check` accepts, as it was specified and as it is in force.
fn random_site(chance: &mut Chance, refused: &mut u32) -> (Spec, Trial) {
    loop {
        let spec = Spec::random(chance);
        if let Some(site) = check(&spec.yaml()).site {
            return (spec, Trial::new(site, None));
        }
        *refused += 1;
    }
}

/// Sends the packet on a host; answers the reason if its sender was told one.
fn send(tables: &HostTables, sent: &Sent) -> (Passed, Option<Stop>) {
    // Errors are never silenced by their rate, and no flow expires.
    tables.pass(std::time::Duration::from_millis(20));
    let watched = Watched::new(tables, None);
    let passed = drive::pass(&watched, HostPacket::new(sent.hook, sent.ifindex, &sent.frame));
    let notes = watched.into_notes();
    let stop = notes.iter().find(|noted| noted.what == note::STOP);
    (passed, stop.map(|noted| Stop::from_number(noted.id)))
}

/// Forgets every flow.
fn forget(tables: &HostTables) {
    for index in 0..tables.flow_lines() {
        if let Some(line) = tables.flow(index) {
            line.status.store(status::EMPTY);
        }
    }
    for tenant in 0..8 {
        tables.flow_release(tenant, tables.halves_of(tenant));
    }
}
