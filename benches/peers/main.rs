//! What a request costs beside the proxies that do nothing: CPU microseconds per request of nginx,
//! HAProxy and tillgate, before the same origin, with the same certificate and one worker each.
//!
//! ```sh
//! cargo bench --bench peers
//! cargo bench --bench peers -- --rounds 5 --seconds 10 "h1 16 KiB"
//! ```
//!
//! Rounds are interleaved, so that whatever else the machine does falls on all alike. An entry is
//! refused, with the reason, when an answer differs from the origin's or the load met an error. The
//! handshakes of a load's few connections are counted with its requests (under one in a hundred).

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod account;
mod case;
mod entrant;
mod failure;
mod folder;
mod load;
#[path = "../common/pages.rs"]
mod pages;
mod program;
#[path = "../common/server.rs"]
mod server;
mod table;

use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::case::{CASES, Case};
use crate::entrant::{Entrant, Origin};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::load::Load;
use crate::program::Programs;
use crate::table::Table;

/// How long and what to measure.
#[derive(Parser)]
struct Options {
    /// How often each cell is measured; the median is shown.
    #[arg(long, default_value = "3")]
    rounds: NonZeroU64,
    /// How long each cell is under load, per round.
    #[arg(long, default_value = "3")]
    seconds: NonZeroU64,
    /// Only the cases whose name contains this, such as "h2" or "16 KiB".
    only: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Table, Failure> {
    let programs = Programs::find_or_install()?;
    if programs.haproxy.is_none() {
        println!("haproxy is missing, so nginx is the only peer; apt-get install haproxy");
    }
    let folder = Folder::new()?;
    let origin = Origin::start(&programs, &folder)?;
    let entrants = entrant::start_all(&programs, &folder, &origin)?;
    let load = Load::new(&programs, &folder, Duration::from_secs(options.seconds.get()));
    let cases: Vec<_> = CASES.iter().filter(|case| case.matches(options.only.as_deref())).collect();
    let mut table = Table::new(&cases, &entrants);
    let progress = bar(options.rounds, &cases, &entrants);
    for round in 1..=options.rounds.get() {
        for case in &cases {
            let expected = load.answer(&origin.url(case), case)?;
            for entrant in &entrants {
                progress.set_message(format!("round {round}: {}, {}", case.name, entrant.name));
                table.enter(case, entrant, measure(&load, entrant, case, &expected));
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();
    Ok(table)
}

/// Looks at one answer, then at what many cost.
fn measure(
    load: &Load,
    entrant: &Entrant,
    case: &Case,
    expected: &[u8],
) -> Result<account::Cost, Failure> {
    if load.answer(&entrant.url(case), case)? != expected {
        return Err(Failure::Answer);
    }
    let before = account::Reading::of(entrant.process())?;
    let requests = load.run(&entrant.url(case), case)?;
    let after = account::Reading::of(entrant.process())?;
    Ok(after.since(&before, requests))
}

fn bar(rounds: NonZeroU64, cases: &[&Case], entrants: &[Entrant]) -> ProgressBar {
    let cells = u64::try_from(cases.len() * entrants.len()).unwrap_or(u64::MAX);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(rounds.get().saturating_mul(cells))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
