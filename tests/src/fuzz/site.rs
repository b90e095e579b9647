//! Any text as a site file.
//!
//! What `check` accepts can be compiled and installed, and what `sekisho get` shows of it is
//! a site file that means the same.

use dataplane_common::limits;
use dataplane_user::{
    check::check,
    compile::{self, Compiled, Facts},
    config::{diagnostic, json},
    load,
};

use crate::trial::plug;

/// Checks the file, and what follows if it is right.
pub fn site(input: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(()) };
    let checked = check(text);
    let shown = diagnostic::render("site.yaml", text, &checked.diagnostics);
    let Some(site) = checked.site else {
        return if shown.is_empty() { Err("refused without a word".into()) } else { Ok(()) };
    };

    let mut facts = Facts { flows_per_tenant: limits::FLOWS_PER_TENANT, ..Facts::default() };
    plug(&mut facts, &site);
    let compiled = compile::compile(&site, &facts, &Compiled::default());
    load::check::check(&compiled.image).map_err(|why| format!("does not fit: {why}"))?;
    let again = compile::compile(&site, &facts, &compiled);
    if again.image != compiled.image {
        return Err("applied again, it changes something".into());
    }

    let shown = json::of_text(text).to_string();
    let checked = check(&shown);
    match checked.site {
        Some(other) if other == site => Ok(()),
        Some(other) => Err(format!("{shown}\nmeans\n{other:?}\nnot\n{site:?}")),
        None => Err(format!("{shown}\nis refused: {:?}", checked.diagnostics)),
    }
}
