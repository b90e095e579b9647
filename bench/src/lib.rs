//! How long does a packet take? What the benchmarks share.

pub mod object;
pub mod policies;
pub mod prefixes;
pub mod report;
pub mod site;
pub mod scene;
pub mod ours;
pub mod peers;
pub mod course;
pub mod turns;
pub mod results;

pub mod targets;

pub mod page;

pub mod plot;
