//! The userland of Sekisho: a site file becomes tables, programs are loaded and
//! attached, counters come back.

pub mod model;

pub mod compile;
pub mod tables;

pub mod frame;
pub mod trace;

pub mod client;
pub mod view;
