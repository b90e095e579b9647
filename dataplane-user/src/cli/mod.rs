//! The verbs of the `sekisho` command: one file each, with its options and
//! what it does.

pub mod check;
pub mod schema;
