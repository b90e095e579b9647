//! The stages, in the order of a packet's journey; [`crate::pipeline`] calls them.

pub mod attach;
pub mod parse;

pub mod conntrack;
pub mod flow;
pub mod flow_record;
pub mod fragment;
pub mod generations;
pub mod window;

pub mod admit;
pub mod exempt;
pub mod filter;
pub mod host;
pub mod related;
pub mod route;

pub mod emit;
pub mod limit;
pub mod rewrite;

pub mod answer;
pub mod flood;
pub mod report;
