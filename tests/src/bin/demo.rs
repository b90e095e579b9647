//! Shows what Sekisho does, on a small site; fails if it does anything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    match sekisho_tests::demo::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
