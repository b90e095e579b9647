//! How does a verb run a program, so that a failure can be repeated by hand?

use std::{
    env,
    ffi::OsStr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Where the root manifest is.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("")
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs us, in the root, building with packet programs or not at all.
pub fn cargo(verb: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root()).arg(verb).env("SEKISHO_REQUIRE_BPF", "1");
    command
}

/// Prints the command and runs it.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| line.clone())?;
    if !status.success() {
        bail!("{status}: {line}");
    }
    Ok(())
}

/// What a program prints, if it succeeds.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let line = line(command);
    let output = command.output().with_context(|| line.clone())?;
    if !output.status.success() {
        bail!("{}: {line}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(output.stdout)
}

/// Prints the command and becomes it, so that a signal reaches it and nobody else.
pub fn replace(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    Err(command.exec()).context(line)
}

pub fn shell(line: &str) -> Result<()> {
    run(Command::new("sh").args(["-c", line]))
}

/// Where a program is; those for root are not in everybody's PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// As one would type it.
fn line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |letter: char| letter.is_alphanumeric() || "-_./=+,:@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_whole_command() {
        let error = run(Command::new("sh").env("A", "b c").args(["-c", "exit 3"]))
            .expect_err("it exits with 3");
        assert_eq!(error.to_string(), "exit status: 3: A='b c' sh -c 'exit 3'");
    }

    #[test]
    fn absent_program_is_named() {
        let error = run(&mut Command::new("no-such-program")).expect_err("it is not there");
        assert_eq!(error.to_string(), "no-such-program");
    }

    #[test]
    fn words_survive_the_shell() {
        for word in ["plain", "", "two words", "it's", "$HOME", "a\u{1f}b"] {
            let line = format!("printf %s {}", quoted(word.as_ref()));
            let echoed = Command::new("sh").args(["-c", &line]).output().expect("sh is there");
            assert_eq!(String::from_utf8_lossy(&echoed.stdout), word);
        }
    }
}
