//! The `sekisho` command.

fn main() -> std::process::ExitCode {
    dataplane_user::cli::main()
}
