//! How long does a packet take? What the benchmarks share.

pub mod object;
pub mod policies;
pub mod prefixes;
pub mod report;
pub mod site;
