//! `sekisho log`: who changed what, and who was refused what?

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::bail;
use clap::Args;

use super::{daemon::Daemon, number::number, output::Output};
use crate::desired::log::{self, Head, Outcome, Record};

/// Show who changed what, and who was refused what
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// How many records to show, the last ones
    #[arg(
        long,
        value_name = "RECORDS",
        default_value_t = 20,
        value_parser = number("a number of records", 1..=1000u64)
    )]
    last: u64,
    /// Go on showing what comes, until you end it
    #[arg(long, short)]
    follow: bool,
    /// Check that no record was altered or taken out, and tell the last one's digest
    #[arg(long, conflicts_with_all = ["follow", "last"])]
    verify: bool,
}

/// How often it is looked whether there is more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { daemon, output, last, .. } = options;
    if options.verify {
        return verify(daemon, *output);
    }
    let records: Vec<Record> = daemon.get(&format!("/api/v1/log?last={last}"))?;
    if !options.follow {
        output.print(&records, |records| lines(records).join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    match follow(options, records) {
        // Whoever reads has enough.
        Err(error) if error.downcast_ref().is_some_and(is_pipe) => Ok(ExitCode::SUCCESS),
        ended => ended,
    }
}

fn is_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn follow(options: &Options, mut records: Vec<Record>) -> anyhow::Result<ExitCode> {
    let (mut out, mut after) = (io::stdout(), 0);
    loop {
        for record in &records {
            if options.output.is_table() {
                writeln!(out, "{}", lines(std::slice::from_ref(record)).join("\n"))?;
            } else {
                writeln!(out, "{}", serde_json::to_string(record)?)?;
            }
            after = record.number;
        }
        out.flush()?;
        thread::sleep(LOOK_EVERY);
        records = options.daemon.get(&format!("/api/v1/log?after={after}"))?;
    }
}

/// All that is kept, from its first record on.
fn verify(daemon: &Daemon, output: Output) -> anyhow::Result<ExitCode> {
    let (mut last, mut count) = (Vec::<Record>::new(), 0);
    loop {
        let after = last.last().map_or(0, |record| record.number);
        let more: Vec<Record> = daemon.get(&format!("/api/v1/log?after={after}"))?;
        if more.is_empty() {
            break;
        }
        count += more.len();
        // Each page has to follow the one before it.
        let joined: Vec<_> = last.pop().into_iter().chain(more).collect();
        if let Some(number) = log::broken(&joined) {
            bail!("record {number} is not as it was written, or does not follow the one before it");
        }
        last = joined;
    }
    let head = last.last().map(Record::head).unwrap_or_default();
    output.print(&head, |Head { number, digest }| {
        format!("{count} records are whole; the last one is {number}, {digest}")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn lines(records: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    for Record { at, operation, outcome, .. } in records {
        let by = &operation.by;
        let from = if by.from.is_empty() { String::new() } else { format!(", {}", by.from) };
        let became = match outcome {
            Outcome::Done { revision, site_version: Some(version) } => {
                format!("revision {revision}, in force as site version {version}")
            }
            Outcome::Done { revision, site_version: None } => format!("at revision {revision}"),
            Outcome::Refused { why } => format!("refused: {}", why.lines().next().unwrap_or("")),
        };
        let (verb, what) = (&operation.verb, &operation.what);
        lines.push(format!("{at} {} ({}{from}): {verb} {what}: {became}", by.who, by.how));
        lines.extend(operation.changes.iter().map(|line| format!("    {line}")));
        if let Some(more @ 1..) = operation.changes_count.checked_sub(operation.changes.len()) {
            lines.push(format!("    and {more} more"));
        }
    }
    lines
}
