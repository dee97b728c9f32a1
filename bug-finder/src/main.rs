//! The binary; see the library for what it does.

use lockwright_sim::memory::CountingAllocator;
use std::process::ExitCode;

/// With it, worlds can see leaks.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    bug_finder::main()
}
