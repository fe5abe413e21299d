//! The command line of dashproof.

/// Counts what state diffs take: see [`dashproof::heap`].
#[global_allocator]
static ALLOCATOR: dashproof::heap::Counting = dashproof::heap::Counting;

fn main() -> std::process::ExitCode {
    dashproof::cli::main()
}
