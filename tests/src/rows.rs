//! The packet table: each row names a behaviour, a frame in, what comes out byte for
//! byte, and which counters moved. The same rows are asked of the host's pipeline
//! (`tests/packets.rs`) and of the kernel (`tests/agree/rows.rs`).

mod announcements;
mod answers;
mod errors;
mod floods;
mod forward;
mod fragments;
mod frames;
mod host;
mod limits;
mod parse;
mod row;
mod stops;

pub use row::Row;

use crate::world::Site;

/// Every row.
#[must_use]
pub fn rows() -> Vec<Row> {
    let site = Site::new();
    [
        frames::rows(&site),
        parse::rows(&site),
        answers::rows(&site),
        announcements::rows(&site),
        forward::rows(&site),
        floods::rows(&site),
        fragments::rows(&site),
        limits::rows(&site),
        stops::rows(&site),
        errors::rows(&site),
        host::rows(&site),
    ]
    .concat()
}
