//! What does a fuzzer's input mean, and what has to hold of it?
//!
//! Each of these takes any bytes and answers what went wrong. The fuzzer finds new inputs
//! (`cargo xtask fuzz`); `tests/corpus.rs` asks the committed ones again.

mod packet;

mod sequence;

mod site;

pub mod corpus;

pub use self::{packet::packet, sequence::sequence, site::site};
