//! Writes the report of what the benchmarks measured: `cargo xtask bench report`.

use std::fs;

use anyhow::{Context, Result};
use sekisho_bench::{page::page, results};

fn main() -> Result<()> {
    let folder = results::folder();
    let (page, plots) = page(&results::all()?);
    fs::create_dir_all(&folder)?;
    for (file, text) in plots.into_iter().chain([("report.md", page)]) {
        let path = folder.join(file);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}
