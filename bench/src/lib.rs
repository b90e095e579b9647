//! How long does a packet take? What the benchmarks share.

pub mod report;
pub mod site;
