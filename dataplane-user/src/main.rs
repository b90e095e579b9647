//! The `sekisho` command: which verb was asked for?

fn main() {}
