//! Writes the report of what the benchmarks measured: `cargo xtask bench report`.

use std::fs;

use anyhow::{Context, Result, ensure};
use sekisho_bench::{page, results};

fn main() -> Result<()> {
    let (folder, measured) = (results::folder(), results::all()?);
    ensure!(
        !measured.is_empty(),
        "nothing was measured yet: there is no result in {}; `{}` measures everything, `{}` \
         packets on the path and at ports alone",
        folder.display(),
        results::command("all"),
        results::command("path"),
    );
    for line in page::missing(&measured) {
        println!("not measured: {line}");
    }
    let (page, plots) = page::page(&measured);
    fs::create_dir_all(&folder)?;
    for (file, text) in plots.into_iter().chain([("report.md", page)]) {
        let path = folder.join(file);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}
