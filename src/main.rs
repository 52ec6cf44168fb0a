//! The `tillgate` program.

use std::process::ExitCode;

use clap::Parser as _;
use tillgate::cli::Cli;

/// One allocator per thread's pattern of use: half the time of the system's for a proxy.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
