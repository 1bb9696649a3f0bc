//! The `transom` binary.

fn main() -> std::process::ExitCode {
    transom::cli::main()
}
