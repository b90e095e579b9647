//! The project's own verbs: what can be typed after `cargo xtask`?

mod setup;

mod build;

mod test;

mod lint;

mod demo;

mod bench;

mod verify;

mod controls;

mod fuzz;

mod guest;
mod initramfs;
mod kernels;

mod exec;
mod privilege;

#[cfg(test)]
#[path = "../../dataplane-user/build/object.rs"]
mod object;
#[expect(dead_code, reason = "the build script, whose module this is, uses the rest")]
#[path = "../../dataplane-user/build/toolchain.rs"]
mod toolchain;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own verbs")]
enum Verb {
    Setup(setup::Options),
    Build(build::Options),
    Test(test::Options),
    Lint(lint::Options),
    Demo(demo::Options),
    Bench(bench::Options),
    Verify(verify::Options),
    Controls(controls::Options),
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let done = match Verb::parse() {
        Verb::Setup(options) => setup::run(&options),
        Verb::Build(options) => build::run(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Lint(options) => lint::run(&options),
        Verb::Demo(options) => demo::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Verify(options) => verify::run(&options),
        Verb::Controls(options) => controls::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Without a backtrace: the failed command is what there is to know.
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_well_formed() {
        <Verb as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn panics_are_found_in_an_object() {
        let this_test = std::fs::read("/proc/self/exe").expect("a test runs from a file");
        let panics = object::panics(&this_test).expect("which is ELF");
        assert!(panics.iter().any(|name| name.contains("rust_panic")), "{panics:?}");

        assert_eq!(object::panics(b"#!/bin/sh"), None);
        assert_eq!(object::panics(&this_test[..70]), None, "cut off");
    }
}
