//! The tables as userland writes and reads them.

pub mod image;

pub use image::Image;
