//! The verbs of the `sekisho` command, a file each.

mod daemon;
mod number;
mod output;
mod place;
mod site_file;

mod apply;
mod check;
mod completions;
mod confirm;
mod counters;
mod detach;
mod diff;
mod drops;
mod flows;
mod get;
mod log;
mod man;
mod revisions;
mod rollback;
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
    Diff(diff::Options),
    Confirm(confirm::Options),
    Rollback(rollback::Options),
    Revisions(revisions::Options),
    Log(log::Options),
    Status(status::Options),
    Get(get::Options),
    Counters(counters::Options),
    Drops(drops::Options),
    Flows(flows::Options),
    Sessions(sessions::Options),
    Trace(trace::Options),
    Detach(detach::Options),
    Completions(completions::Options),
    Man(man::Options),
}

/// Runs the verb. Exit codes: 0 done; 1 refused or failed, with the reason on
/// standard error; 2 the command line is not understood. Those of `diff` are its own.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Command::parse().verb {
        Verb::Check(options) => return exit(check::run(&options)),
        Verb::Schema(options) => return exit(schema::run(&options)),
        Verb::Diff(options) => return exit_of_diff(diff::run(&options)),
        Verb::Completions(options) => return exit(completions::run(&options)),
        Verb::Man(options) => return exit(man::run(&options)),
        Verb::Log(options) => return exit(log::run(&options)),
        Verb::Run(options) => run::run(&options),
        Verb::Apply(options) => apply::run(&options),
        Verb::Confirm(options) => confirm::run(&options),
        Verb::Rollback(options) => rollback::run(&options),
        Verb::Revisions(options) => revisions::run(&options),
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

/// Of `diff` 1 is an answer.
fn exit_of_diff(done: anyhow::Result<ExitCode>) -> ExitCode {
    if done.is_err() {
        exit(done);
        return ExitCode::from(2);
    }
    exit(done)
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{CommandFactory, builder::ValueParser};

    use super::*;

    #[test]
    fn verbs_and_flags_are_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn every_number_is_refused_with_its_own_range() {
        let run = ["run", "--config", "site.yaml"];
        let trace = ["trace", "--port", "web", "--to", "10.0.0.1"];
        let captured = ["trace", "--pcap", "a.pcap", "--interface", "nic", "--vlan", "7"];
        let half_flows = "a power of two, 8 to 16777216 half-flows";
        let options: [(&[&str], _, &[&str], _); 12] = [
            (&run, "flows", &["99999999999", "2", "1000", "33554432"], half_flows),
            (
                &run,
                "flows-per-tenant",
                &["1", "99999999999"],
                "a number of half-flows no larger than --flows, 2 to 16777216",
            ),
            (&run, "heap-mib", &["0", "3", "1024", "-1"], "a power of two, 1 to 512 MiB"),
            (&trace, "ttl", &["256", "-1"], "a number of hops, 0 to 255"),
            (&trace, "sport", &["65536", "-1", "http"], "a port, 0 to 65535"),
            (&trace, "dport", &["65536"], "a port, 0 to 65535"),
            (&trace, "icmp-type", &["256"], "a type of ICMP, 0 to 255"),
            (&trace, "icmp-code", &["256"], "a code of ICMP, 0 to 255"),
            (&trace, "icmp-id", &["65536"], "an identifier, 0 to 65535"),
            (&captured[..5], "vlan", &["0", "4095"], "a VLAN, 1 to 4094"),
            (&["log"], "last", &["0", "1001"], "a number of records, 1 to 1000"),
            (&captured, "service-vlan", &["0", "4095"], "a VLAN, 1 to 4094"),
        ];
        for (verb, option, wrong, range) in options {
            for number in wrong {
                let option = format!("--{option}");
                let joined = format!("{option}={number}");
                for words in [vec![joined.as_str()], vec![&option, number]] {
                    let words = [&["sekisho"], verb, words.as_slice()].concat();
                    let Err(error) = Command::try_parse_from(words) else {
                        panic!("{joined} is taken")
                    };
                    let (error, said) = (error.to_string(), format!("it has to be {range}\n"));
                    assert!(error.contains(&said), "{joined}: {error}");
                }
            }
        }
        let is_number = |parser: &ValueParser| {
            let of =
                [TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>()];
            of.iter().any(|of| parser.type_id() == *of)
        };
        let all = Command::command();
        let all = all.get_subcommands().flat_map(clap::Command::get_arguments);
        let all = all.filter(|option| is_number(option.get_value_parser()));
        let mut all: Vec<_> = all.filter_map(|option| option.get_long()).collect();
        let mut told = options.map(|(_, option, ..)| option);
        all.sort_unstable();
        told.sort_unstable();
        assert_eq!(all, told, "options that take a number");
    }
}
