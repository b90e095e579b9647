//! `sekisho man`: the manual pages.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

/// Write the manual pages, one for each verb
///
/// To read them: `sekisho man /usr/local/share/man/man1 && man sekisho-run`.
#[derive(Args)]
pub struct Options {
    /// The folder, which has to be there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let command = super::Command::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &options.folder)
        .with_context(|| format!("cannot write into {}", options.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let folder = std::env::temp_dir().join(format!("sekisho-man-{}", std::process::id()));
        run(&Options { folder: folder.clone() }).expect_err("there is no such folder");
        fs::create_dir(&folder).expect("a folder of our own");
        run(&Options { folder: folder.clone() }).expect("it is there");
        for verb in super::super::Command::command().get_subcommands() {
            let page = folder.join(format!("sekisho-{}.1", verb.get_name()));
            assert!(page.exists(), "{}", page.display());
        }
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }
}
