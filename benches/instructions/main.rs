//! What a request costs in instructions and allocations, counted by callgrind in the program itself: the
//! same on a busy machine as on an idle one, so that a change that made it slower is told at once.
//!
//! ```sh
//! cargo bench --bench instructions             # beside the baseline; fails where a path costs more
//! cargo bench --bench instructions -- --save   # makes today's counts the baseline
//! ```
//!
//! Counts are of one worker and one client, who asks for one thing after the other over TLS 1.3; they
//! include the threads that write logs and rows. They hold for the compiler, the libraries and the kind of
//! processor (AVX2 or not) that the baseline was taken with. The kernel's work is not in them: `peers` has it.
//!
//! Needs Debian's `valgrind`. It takes a minute, and the program as it is released, which takes several to
//! build: that is why `tests/run` has no part in it. `--program` counts another build, such as an old one.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod client;
mod counted;
mod ledger;
mod origin;
#[path = "../common/pages.rs"]
mod pages;
mod path;
#[path = "../common/server.rs"]
mod server;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tempfile::TempDir;

use crate::client::{Client, Identity};
use crate::counted::{Cost, Counted};
use crate::ledger::Ledger;
use crate::origin::Origin;
use crate::path::{PATHS, Path as Route};

/// What to do with the counts.
#[derive(Parser)]
struct Options {
    /// Makes them the baseline.
    #[arg(long)]
    save: bool,
    /// The program that is counted.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_tillgate"))]
    program: PathBuf,
    /// Only the paths whose name contains this.
    only: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no path costs more than its baseline allows.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let identity = Identity::make(folder.path())?;
    let origin = Origin::start()?;
    let mut ledger = Ledger::read()?;
    println!("{}", Ledger::HEAD);
    for route in
        PATHS.iter().filter(|it| options.only.as_deref().is_none_or(|only| it.name.contains(only)))
    {
        let cost = count(options, folder.path(), (&identity, &origin), route)?;
        println!("{}", ledger.enter(route.name, cost));
    }
    if options.save {
        ledger.save()?;
        return Ok(true);
    }
    Ok(ledger.holds())
}

/// A process of its own for each path: none inherits what another has warmed.
fn count(
    options: &Options,
    folder: &Path,
    (identity, origin): (&Identity, &Origin),
    route: &Route,
) -> Result<Cost, Box<dyn Error>> {
    let folder = TempDir::new_in(folder)?;
    let config = counted::Config { identity, origin: origin.address(), rest: route.config };
    let mut counted = Counted::start(&options.program, folder.path(), &config)?;
    let client = Client::new(identity, counted.address())?;
    client.repeat(route, route.times)?;
    counted.forget()?;
    client.repeat(route, route.times)?;
    Ok(counted.cost(route.times)?)
}
