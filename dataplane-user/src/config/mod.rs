//! What did the user write? The site file's text becomes a tree that knows
//! where everything stands, and the tree becomes the records of `file`.
//!
//! Nothing here knows what a record means: names are not looked up, addresses
//! are not compared. That is `check`.
//!
//! The walk from tree to records is our own and not serde's, because serde
//! stops at the first mistake and we owe the user all of them.

pub mod tree;
#[macro_use]
mod record;
pub mod diagnostic;
pub mod file;
pub mod json;
mod scalar;

pub use diagnostic::{Diagnostic, Findings, Place, Severity};
pub use record::{At, Field, List, Placed, Reader};
pub(crate) use record::{Read, nearest};
pub use scalar::{
    Block, Cidr, Count, CountryCode, Host, NumberText, NumbersText, Ordinal, Prefix, Protocol, Text,
};

/// The JSON Schema (2020-12) of the site file.
pub fn schema() -> schemars::Schema {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.into_generator().into_root_schema_for::<file::File>()
}
