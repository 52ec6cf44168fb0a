//! `tillgate vault backup`: a copy of one moment.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::app::VaultSession;
use crate::cli::CliError;
use crate::config;

#[derive(Debug, Args)]
pub(in crate::cli) struct BackupOptions {
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &BackupOptions) -> Result<ExitCode, CliError> {
    let session = VaultSession::open(&config::load(&options.config)?.startup)?;
    let done = session.back_up(&options.to)?;
    let (rows, erased, bytes, file) = (done.rows, done.erased, done.bytes, options.to.display());
    let text = if options.json {
        let file = file.to_string();
        format!("{}\n", json!({ "file": file, "rows": rows, "erased": erased, "bytes": bytes }))
    } else {
        format!(
            "{rows} cards and {erased} erased tokens are in {file} ({bytes} bytes), and its keys \
             open\nthe master key is not in it ({}): back it up elsewhere, as nothing else opens \
             this file\n",
            session.key_place()
        )
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
