//! The userland of Sekisho: a site file becomes tables, programs are loaded and
//! attached, counters come back.

pub mod check;
pub mod cli;
pub mod config;
pub mod model;
