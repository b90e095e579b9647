//! Do the host's pipeline and the kernel agree? The packet table, random packets, the
//! tracing twin, and a control that shows that a difference is found.

mod branches;
mod changes;
mod random;
mod table;
