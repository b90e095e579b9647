//! The userland of Sekisho: a site file becomes tables, programs are loaded and
//! attached, counters come back.

pub mod check;
pub mod config;
pub mod model;

pub mod address;
pub mod compile;
pub mod plan;
pub mod protocol;
pub mod tables;

pub mod load;

pub mod claims;
pub mod link;
pub mod neighbour;

pub mod frame;
pub mod pcap;
pub mod trace;

pub mod cli;

pub mod api;
pub mod client;
pub mod daemon;
pub mod desired;
pub mod message;
pub mod metrics;
pub mod numbers;
pub mod problem;
pub mod view;
