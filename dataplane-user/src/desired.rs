//! What is to be in force, object by object?

mod changes;
mod history;
pub mod log;
mod objects;
mod path;
mod store;

pub use changes::{Change, Conflict, OF_OBJECTS, Want};
pub use history::{Back, Changed, Revision, rfc3339};
pub use objects::{join, locate, named, split};
pub use path::{Kind, NoPath, Path};
pub use store::{CONFIRM_WITHIN_MAX, Draft, Error, Object, Pending, Store, Unconfirmed};
