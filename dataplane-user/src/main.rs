//! The `sekisho` command.

/// Large sites are read and compiled by any of many threads, and let go: the C library keeps what
/// each thread let go for that thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    dataplane_user::cli::main()
}
