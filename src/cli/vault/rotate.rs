//! `tillgate vault rotate`: other keys for the same cards.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::app::{self, KeyRotated, RotateNews, RotateRequest};
use crate::cli::{CliError, progress};
use crate::config;
use crate::vault::MasterStep;

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateOptions {
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Replace the master key instead.
    #[arg(long)]
    master: bool,
    /// At most so many rows per second [default: half of what the store can do].
    #[arg(long, value_name = "ROWS_PER_S", conflicts_with = "master")]
    rate: Option<NonZeroU32>,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &RotateOptions) -> Result<ExitCode, CliError> {
    let startup = config::load(&options.config)?.startup;
    let request = if options.master {
        RotateRequest::MasterKey
    } else {
        RotateRequest::DataKey { rate: options.rate }
    };
    let (bar, began, mut steps) = (progress::rows("sealing"), Instant::now(), Vec::new());
    let rotated = app::rotate_keys(&startup, request, &mut |news| match news {
        RotateNews::Rows(rows) => {
            bar.set_length(rows.total);
            bar.set_position(rows.seen);
        }
        RotateNews::Step(step) => steps.push(step),
    });
    bar.finish_and_clear();
    let rotated = rotated?;
    let text = if options.json {
        as_json(rotated, &steps, began.elapsed())
    } else {
        as_text(rotated, &steps)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(rotated: KeyRotated, steps: &[MasterStep], took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let value = match rotated {
        KeyRotated::Data(done) => json!({
            "key": "data", "resumed": done.resumed, "rows": done.rows, "dropped": done.dropped,
            "seconds": seconds,
        }),
        KeyRotated::Master => {
            let steps: Vec<_> = steps.iter().map(|step| step.as_str()).collect();
            json!({ "key": "master", "steps": steps, "seconds": seconds })
        }
    };
    format!("{value}\n")
}

fn as_text(rotated: KeyRotated, steps: &[MasterStep]) -> String {
    match rotated {
        KeyRotated::Data(done) => {
            let begun = if done.resumed { "went on with an earlier rotation: " } else { "" };
            let (rows, dropped) = (done.rows, done.dropped);
            format!("{begun}{rows} rows sealed under the new key, {dropped} old keys dropped\n")
        }
        KeyRotated::Master if steps.is_empty() => {
            "the configured master key is in force and the previous one opens nothing; \
             previous_master_key can be removed\n"
                .to_owned()
        }
        KeyRotated::Master => {
            "the new master key is in force and the old one opens nothing; back it up: copies of \
             the vault made before open with the old one only\n"
                .to_owned()
        }
    }
}
