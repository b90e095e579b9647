//! The tables as userland writes and reads them.

pub mod image;

pub mod classes;
pub mod classifier;
pub mod heap;
pub mod host;
pub mod index;
pub mod layout;
pub mod lpm;
pub mod policies;

pub(crate) mod prefixes;

pub use host::HostTables;
pub use image::{Image, Policy};
pub use lpm::Lpm;
