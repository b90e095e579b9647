//! What the packet programs and userland agree on: wire formats, table types,
//! stop reasons, and the pipeline itself.
#![no_std]
#![forbid(clippy::unwrap_used)]
