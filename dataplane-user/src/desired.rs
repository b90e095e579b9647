//! What is to be in force, object by object?

mod objects;
mod path;
mod store;

pub use objects::{join, locate, named, split};
pub use path::{Kind, NoPath, Path};
pub use store::{Change, Changed, Error, Object, Pending, Revision, Store};
