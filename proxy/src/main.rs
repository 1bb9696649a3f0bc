//! The `transom` binary.

/// A miss allocates in one thread and frees in another; the allocator of libc takes locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    transom::cli::main()
}
