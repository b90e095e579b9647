//! Does the product do what a site file means? Random sites and packets, judged by the
//! plain reference.

mod changes;
mod history;
mod kernel;
mod large;
mod limits;
mod many;
mod questions;
mod tags;

use dataplane_user::check::check;
use sekisho_tests::{chance::Chance, sites::Spec, trial::Trial};

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
