//! The userland of Sekisho: a site file becomes tables, programs are loaded and
//! attached, counters come back.

pub mod model;

pub mod compile;
pub mod protocol;
pub mod tables;

pub mod load;

pub mod link;
pub mod neighbour;

pub mod frame;
pub mod pcap;
pub mod trace;

pub mod cli;

pub mod client;
pub mod view;
