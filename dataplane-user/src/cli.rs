//! The verbs of the `sekisho` command, a file each.

mod daemon;
mod output;
mod place;

mod apply;
mod check;
mod counters;
mod detach;
mod drops;
mod flows;
mod get;
mod run;
mod schema;
mod sessions;
mod status;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::message;

/// The checkpoint of an edge cloud: filters, routes and admits by telephone number
#[derive(Parser)]
#[command(name = "sekisho", version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Options),
    Schema(schema::Options),
    Run(run::Options),
    Apply(apply::Options),
    Status(status::Options),
    Get(get::Options),
    Counters(counters::Options),
    Drops(drops::Options),
    Flows(flows::Options),
    Sessions(sessions::Options),
    Trace(trace::Options),
    Detach(detach::Options),
}

/// Runs the verb. Exit codes: 0 done; 1 refused or failed, with the reason on
/// standard error; 2 the command line is not understood.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Command::parse().verb {
        Verb::Check(options) => return exit(check::run(&options)),
        Verb::Schema(options) => return exit(schema::run(&options)),
        Verb::Run(options) => run::run(&options),
        Verb::Apply(options) => apply::run(&options),
        Verb::Status(options) => status::run(&options),
        Verb::Get(options) => get::run(&options),
        Verb::Counters(options) => counters::run(&options),
        Verb::Drops(options) => drops::run(&options),
        Verb::Flows(options) => flows::run(&options),
        Verb::Sessions(options) => sessions::run(&options),
        Verb::Trace(options) => trace::run(&options),
        Verb::Detach(options) => detach::run(&options),
    };
    exit(done.map(|()| ExitCode::SUCCESS))
}

fn exit(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sekisho: {}", message::of(&error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn verbs_and_flags_are_consistent() {
        super::Command::command().debug_assert();
    }
}
