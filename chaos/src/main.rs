//! The command line of dashproof.

fn main() -> std::process::ExitCode {
    dashproof::cli::main()
}
