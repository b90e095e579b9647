//! Writes the report of what the benchmarks measured: `cargo xtask bench report`. With `--docs`,
//! README.md shows its curves from then on.

use std::path::Path;
use std::{env, fs};

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
    if env::args().any(|word| word == "--docs") {
        let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
        for (file, text) in plots.iter().filter(|(file, _)| page::IN_README.contains(file)) {
            write(docs, file, text)?;
        }
    }
    for (file, text) in plots.iter().chain([&("report.md", page)]) {
        write(&folder, file, text)?;
    }
    Ok(())
}

fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    let path = folder.join(file);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}
