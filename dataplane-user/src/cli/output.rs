//! How does a verb print: as a table for people, or as JSON for programs?

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use serde::Serialize;

/// `-o`.
#[derive(Args, Clone, Copy)]
pub struct Output {
    /// A table for people, or JSON for programs
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The shapes of output.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Format {
    Table,
    Json,
}

impl Output {
    /// Is it for people?
    pub fn is_table(self) -> bool {
        self.output == Format::Table
    }

    /// Prints `value`, as `table` shows it or as JSON.
    pub fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let text = match self.output {
            Format::Table => table(value),
            Format::Json => serde_json::to_string_pretty(value)?,
        };
        match writeln!(io::stdout(), "{}", text.trim_end()) {
            // Whoever reads has enough, as in `sekisho flows | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }
}

/// A table without borders, so that `awk` and `grep` go well with it.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    let mut is_empty = true;
    for row in rows {
        table.add_row(row);
        is_empty = false;
    }
    if is_empty { "none".to_owned() } else { table.to_string() }
}
