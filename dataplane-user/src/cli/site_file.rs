//! Where does a site file come from: a file, or what is piped in?

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::Context;

use crate::config::tree::TEXT_BYTES_MAX;

/// The name of what is piped in.
const PIPED: &str = "-";

/// How a site file is called, and what it says. No more of it than is looked at: it may be a
/// device without end.
pub fn read(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    if path == Path::new(PIPED) {
        let name = "<stdin>".to_owned();
        let text = bytes(io::stdin().lock()).with_context(|| format!("cannot read {name}"))?;
        return Ok((name, text));
    }
    let name = path.display().to_string();
    let text = File::open(path).and_then(bytes).with_context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}

fn bytes(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
