//! `sekisho get`: what is the site in force?

use clap::Args;
use serde_json::Value;

use super::{
    daemon::Daemon,
    output::{Output, table},
};
use crate::view::Status;

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
}

pub fn run(options: &Options) -> anyhow::Result<()> {
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
