//! `sekisho get`: what is the site in force?

use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::{Event, Metadata, Status};

/// Show the site in force, or a part of it
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    output: Output,
    /// What to show: tenants, uplinks, accesses, entitlements, sessions, or a path
    /// such as tenants/blue/ports/web-1
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Show what becomes of it, line by line, until you end it
    #[arg(long, short)]
    watch: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.watch {
        let is_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        return match watch(options) {
            // Whoever reads has enough.
            Err(error) if error.downcast_ref().is_some_and(is_pipe) => Ok(()),
            ended => ended,
        };
    }
    let site: Value = options.daemon.get("/v1/site")?;
    let mut found = &site;
    for step in options.path.iter().flat_map(|path| path.split('/')).filter(|step| !step.is_empty())
    {
        found = child(found, step).ok_or_else(|| {
            anyhow::anyhow!("there is no {step:?} here; there are: {}", children(found).join(", "))
        })?;
    }
    // For people alone: a program may put what it reads in force again.
    let waiting = if options.output.is_table() { waiting(&options.daemon)? } else { Vec::new() };
    options.output.print(found, |found| {
        let mut rows = Vec::new();
        leaves(found, "", &mut rows);
        for [path, value] in &mut rows {
            let is_interface = path.rsplit('/').next() == Some("interface");
            if is_interface && waiting.contains(value) {
                value.push_str(" (waiting)");
            }
        }
        table(["PATH", "VALUE"], rows)
    })
}

/// A line for each object that comes (`+`), goes (`-`) or changes (`~`), by its path.
fn watch(options: &Options) -> anyhow::Result<()> {
    let path = options.path.as_deref().map(|path| path.trim_matches('/'));
    let path = match path.filter(|path| !path.is_empty()) {
        Some(path) => format!("/api/v1/{path}?watch=true"),
        None => "/api/v1/watch".to_owned(),
    };
    let mut out = io::stdout();
    options.daemon.lines(&path, |line| {
        if !options.output.is_table() {
            out.write_all(line)?;
            return Ok(out.flush()?);
        }
        let (sign, object) = match serde_json::from_slice(line)? {
            Event::Added { object } => ('+', object),
            Event::Modified { object } => ('~', object),
            Event::Deleted { object } => ('-', object),
            Event::Bookmark { .. } => return Ok(()),
            Event::Error { problem } => anyhow::bail!(problem.detail),
        };
        let Metadata { path, resource_version, scope, .. } = object.metadata;
        writeln!(out, "{sign} {path} (revision {resource_version}, `{scope}`)")?;
        Ok(())
    })
}

/// Interfaces that are waited for.
fn waiting(daemon: &Daemon) -> anyhow::Result<Vec<String>> {
    let status: Status = daemon.get("/v1/status")?;
    let waiting = status.attachments.into_iter().filter(|at| at.waiting_for.is_some());
    Ok(waiting.map(|at| at.interface).collect())
}

/// Every value with the path that leads to it.
fn leaves(value: &Value, path: &str, rows: &mut Vec<[String; 2]>) {
    let under =
        |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}/{step}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| leaves(value, &under(key), rows));
        }
        Value::Array(elements) => elements.iter().enumerate().for_each(|(number, element)| {
            let step = name(element).map_or_else(|| number.to_string(), str::to_owned);
            leaves(element, &under(&step), rows);
        }),
        Value::String(text) => rows.push([path.to_owned(), text.clone()]),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            rows.push([path.to_owned(), value.to_string()]);
        }
    }
}

/// A field by its key, or an element of a list by its name or number.
fn child<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(elements) => elements.iter().find(|element| name(element) == Some(step)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn children(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields.keys().map(String::as_str).collect(),
        Value::Array(elements) => elements.iter().filter_map(name).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn name(element: &Value) -> Option<&str> {
    ["name", "number"].iter().find_map(|key| element.get(key)?.as_str())
}
