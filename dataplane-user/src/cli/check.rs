//! `sekisho check`: is the site file right?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::site_file;
use crate::check::check_all;
use crate::config::{Severity, diagnostic};
use crate::model::Site;

/// Check a site file and list every error in it
///
/// Exits 0 if the file can be used (there may be warnings), 1 if it cannot.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The site file, YAML or JSON; `-` is what is piped in
    file: PathBuf,
    /// How to show the findings
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    /// As a compiler does
    Text,
    /// A list of {severity, line, column, path, message, help}
    Json,
}

/// Checks the file.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (name, bytes) = site_file::read(&options.file)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?;
    let checked = check_all(&text);
    match options.output {
        Output::Json => {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&checked.diagnostics)?)?;
        }
        Output::Text => {
            let mut out = anstream::stdout();
            write!(out, "{}", diagnostic::render(&name, &text, &checked.diagnostics))?;
            writeln!(out, "{name}: {}", verdict(checked.site.as_ref(), &checked.diagnostics))?;
        }
    }
    Ok(if checked.site.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(site: Option<&Site>, found: &[diagnostic::Diagnostic]) -> String {
    let count = |severity| found.iter().filter(|found| found.severity == severity).count();
    let warnings = match count(Severity::Warning) {
        0 => String::new(),
        many => format!(", {}", counted(many, "warning")),
    };
    match site {
        Some(site) => format!("ok: {}{warnings}", summary(site)),
        None => format!("{}{warnings}", counted(count(Severity::Error), "error")),
    }
}

/// What there is, in one line.
fn summary(site: &Site) -> String {
    let kinds = [
        (site.tenants.len(), "tenant"),
        (site.networks.len(), "network"),
        (site.ports.len(), "port"),
        (site.routers.len(), "router"),
        (site.groups.len(), "security group"),
        (site.uplinks.len(), "uplink"),
        (site.accesses.len(), "access"),
        (site.lines.len(), "line"),
        (site.sessions.len(), "session"),
    ];
    let there = kinds.into_iter().filter(|(many, _)| *many > 0);
    there.map(|(many, what)| counted(many, what)).collect::<Vec<_>>().join(", ")
}

fn counted(many: usize, what: &str) -> String {
    let plural = match (many, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{many} {what}{plural}")
}
