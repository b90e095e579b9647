//! The `sekisho` command: which verb was asked for?

use std::process::ExitCode;

use clap::Parser;
use dataplane_user::cli;

/// Packet filter and virtual router for edge clouds
#[derive(Debug, Parser)]
#[command(version)]
enum Verb {
    Check(cli::check::Options),
    Schema(cli::schema::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Verb::parse() {
        Verb::Check(options) => cli::check::run(&options),
        Verb::Schema(options) => cli::schema::run(&options),
    }
}
