//! How long does a packet take? What the benchmarks share.

pub mod course;
pub mod large;
pub mod object;
pub mod ours;
pub mod peers;
pub mod policies;
pub mod prefixes;
pub mod report;
pub mod results;
pub mod scene;
pub mod site;
pub mod turns;

pub mod targets;

pub mod page;

pub mod plot;
