//! What becomes of one packet? Each row names a behaviour: a frame in, what comes
//! out byte for byte, and which counters moved. Every row runs at XDP, at tcx with as
//! little of the packet readable as the kernel may leave, and at tcx with a checksum
//! that a device is to complete.

use std::collections::BTreeSet;

use dataplane_common::Stop;
use sekisho_tests::rows::{Row, rows};

#[test]
fn every_row_holds() {
    let wrong: Vec<_> = rows().iter().flat_map(Row::judge).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rows_have_names_of_their_own() {
    let names: BTreeSet<_> = rows().iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows().len());
}

#[test]
fn every_reason_has_a_row() {
    /// Raised by the bindings alone, where the program array or the metadata fails.
    const OF_THE_BINDING: [Stop; 3] = [Stop::StageMissing, Stop::DeliveryMissing, Stop::TxRefused];
    let mut seen: BTreeSet<_> = rows().iter().filter_map(Row::stop).collect();
    seen.extend(OF_THE_BINDING);
    let missing: Vec<_> = Stop::ALL.iter().filter(|stop| !seen.contains(stop)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
