//! Do the host's pipeline and the kernel agree? The packet table, random packets, the
//! tracing twin, and a control that shows that a difference is found.

mod branches;
mod changes;
mod random;
mod table;

use anyhow::Result;
use sekisho_tests::{
    Lab,
    pair::{self, Pair},
    rows::rows,
    world::Site,
};

/// Runs `test` with host and kernel side by side, on the site's own image.
fn with_pair(
    name: &str,
    flow_lines: u32,
    test: impl FnOnce(&Site, &mut Pair) -> Result<()> + Send,
) -> Result<()> {
    let lab = Lab::new(name)?;
    let mut ifindexes = pair::ifindexes(&Site::new().world.image);
    ifindexes.extend(rows().iter().map(|row| row.sent_frame().ifindex));
    ifindexes.sort_unstable();
    ifindexes.dedup();
    pair::interfaces(&lab, &ifindexes)?;
    let place = pair::place(&lab)?;
    lab.dut().in_ns(|| {
        let site = Site::new();
        let mut pair = Pair::new(place, &site.world.image, flow_lines, &ifindexes)?;
        test(&site, &mut pair)
    })?
}
