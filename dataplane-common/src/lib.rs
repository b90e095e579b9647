//! What the packet programs and userland agree on: wire formats, table types,
//! stop reasons, and the pipeline itself.
//!
//! The same lines run in the kernel, in unit tests, in criterion and in
//! `sekisho trace`: everything that differs between those homes is behind the
//! two traits [`Packet`] and [`Tables`]. Read [`pipeline`] first.
//!
//! This crate has no dependencies and never allocates, panics or blocks.
#![cfg_attr(not(test), no_std)]

pub mod pipeline;
pub mod stage;

pub mod packet;
pub mod stop;
pub mod tables;
pub mod work;

pub mod addr;
pub mod checksum;
pub mod limits;
pub mod table;
pub mod wire;
pub mod word;

pub use packet::Packet;
pub use stop::Stop;
pub use tables::Tables;
pub use work::Work;

/// Version of every layout that kernel and userland share: raised whenever a
/// record, a key or the meaning of one of their fields changes. The loader
/// refuses pinned tables of another version.
pub const LAYOUT_VERSION: u32 = 11;
