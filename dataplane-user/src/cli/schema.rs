//! `sekisho schema`: what may stand in a site file, for editors.

use std::io::Write;
use std::process::ExitCode;

use crate::config;

/// Print the JSON Schema (2020-12) of the site file
///
/// An editor with a YAML language server completes and explains fields by it.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Prints the schema.
pub fn run(_: &Options) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&config::schema())?)?;
    Ok(ExitCode::SUCCESS)
}
