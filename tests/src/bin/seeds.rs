//! What does a fuzzer begin with? Writes the seeds of each target into a folder of its
//! name, and the words of a site file beside them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use sekisho_tests::fuzz::corpus;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).map(PathBuf::from).context("usage: seeds FOLDER")?;
    for (target, _) in corpus::TARGETS {
        let own = folder.join(target);
        fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
        for (number, seed) in corpus::seeds(target)?.iter().enumerate() {
            fs::write(own.join(format!("seed-{number:03}")), seed)?;
        }
    }
    let words: String =
        corpus::words().iter().map(|word| format!("\"{}\"\n", word.escape_default())).collect();
    Ok(fs::write(folder.join("site.words"), words)?)
}
