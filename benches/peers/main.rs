//! What tillgate costs beside the proxies that do nothing: nginx, HAProxy, Pingora's minimal proxy, nginx
//! masking with Lua, and tillgate passing through and with everything on, before the same origin, with
//! the same certificate and as many workers.
//!
//! ```sh
//! cargo bench --bench peers
//! cargo bench --bench peers -- --quick "h1 16 KiB"
//! cargo bench --bench peers -- scale
//! cargo bench --bench peers -- --rounds 5 --seconds 10 --chart benches/peers/peers.svg --markdown
//! ```
//!
//! Rounds are interleaved, so that whatever else the machine does falls on all alike. An entry is
//! refused, with the reason, when an answer differs from the origin's, a card number comes through one
//! that masks, or the load met an error. The handshakes of a load's few connections are counted with
//! its requests (under one in a hundred).

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod account;
mod case;
mod chart;
mod client;
mod entrant;
mod failure;
mod folder;
mod handshakes;
mod idle;
mod load;
mod measure;
mod origin;
#[path = "../common/pages.rs"]
mod pages;
mod plan;
mod program;
mod rate;
mod scale;
#[path = "../common/server.rs"]
mod server;
mod table;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::case::CASES;
use crate::entrant::{Kind, Scene, Setup};
use crate::failure::Failure;
use crate::folder::{Folder, Key};
use crate::load::Load;
use crate::measure::Means;
use crate::origin::Origin;
use crate::plan::Stage;
use crate::program::Programs;
use crate::table::Table;

/// How long and what to measure.
#[derive(Parser)]
struct Options {
    /// How often each cell is measured; the median is shown.
    #[arg(long, default_value = "3")]
    rounds: NonZeroU64,
    /// How long each cell is under load, per round.
    #[arg(long, default_value = "2")]
    seconds: NonZeroU64,
    /// One round of a second each: whether it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Write a picture of the CPU per request.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// Print the table as README shows it.
    #[arg(long)]
    markdown: bool,
    /// The program to measure instead of the one that cargo built.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_tillgate"))]
    program: PathBuf,
    /// Leave Pingora out, which takes minutes to build the first time.
    #[arg(long)]
    without_pingora: bool,
    /// Only the lines whose name contains this, such as "h2", "16 KiB" or "handshake"; "scale" (and then
    /// perhaps "routes" or the like) measures tillgate alone, as what it has to look at grows.
    only: Vec<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    allow_many_files();
    let only: Vec<_> = options.only.iter().map(String::as_str).collect();
    let (scale, only) = match only.as_slice() {
        ["scale", rest @ ..] => (true, rest.first().copied()),
        rest => (false, rest.first().copied()),
    };
    let pingora = !scale && !options.without_pingora;
    let programs = Programs::find_or_install(options.program.clone(), pingora)?;
    let folder = Folder::new()?;
    let (rounds, seconds) =
        if options.quick { (1, 1) } else { (options.rounds.get(), options.seconds.get()) };
    let duration = Duration::from_secs(seconds);
    let load = Load::new(&programs, &folder, duration);
    let origin = Origin::start((&programs, &folder), &load, &CASES)?;
    let means = Means { folder: &folder, origin: &origin, load: &load, duration };
    if scale {
        let setup = Setup { workers: 1, key: Key::Ecdsa };
        let scene = Scene { programs: &programs, folder: &folder, origin: origin.address(), setup };
        println!("{}", scale::measure(&scene, only, options.quick)?);
        return Ok(());
    }
    println!("{}\n", programs.say());
    let table = compare(&programs, &means, only, rounds)?;
    if options.markdown {
        println!("{}", table.markdown());
    } else {
        println!("{table}");
    }
    if let Some(file) = &options.chart {
        std::fs::write(file, chart::of(&table)).map_err(Failure::io("write the picture"))?;
    }
    Ok(())
}

/// Stage by stage.
fn compare(
    programs: &Programs,
    means: &Means<'_>,
    only: Option<&str>,
    rounds: u64,
) -> Result<Table, Failure> {
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.is_there(programs)).collect();
    let stages = plan::stages(only);
    let steps = stages.iter().map(|stage| stage.steps(&kinds, rounds)).sum();
    let progress = bar(steps, "{bar:30} {pos}/{len} {elapsed} {msg}");
    let mut table = Table::new(kinds.clone());
    for stage in stages {
        let (folder, origin, setup) = (means.folder, means.origin.address(), stage.setup);
        let scene = Scene { programs, folder, origin, setup };
        measure((&stage, &kinds), &scene, means, (rounds, &progress), &mut table)?;
    }
    progress.finish_and_clear();
    Ok(table)
}

/// Starts a stage's entrants and takes turns among them.
fn measure(
    (stage, kinds): (&Stage, &[Kind]),
    scene: &Scene<'_>,
    means: &Means<'_>,
    (rounds, progress): (u64, &ProgressBar),
    table: &mut Table,
) -> Result<(), Failure> {
    let entrants = stage.start(kinds, scene)?;
    for round in 1..=stage.rounds(rounds) {
        for measure in &stage.measures {
            for entrant in entrants.iter().filter(|entrant| measure.is_for(entrant.kind)) {
                let lines = measure.lines(stage.setup);
                let name = lines.first().map_or("", |line| &line.name);
                progress.set_message(format!("round {round}: {name}, {}", entrant.kind.name()));
                table.enter(lines, entrant.kind, measure.take(entrant, means));
                progress.inc(1);
            }
        }
    }
    Ok(())
}

/// For ourselves and those we start. Who may not raise the limit gets by with what there is.
fn allow_many_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

fn bar(steps: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
