//! `tillgate vault status`: what there is, and how old.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::app::{VaultSession, VaultStatus};
use crate::cli::CliError;
use crate::config;
use crate::telemetry::Rfc3339;
use crate::vault::{KeyFacts, KeyPurpose};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusOptions {
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Warn when the key that seals new cards is older (its cryptoperiod, PCI DSS 3.7.4).
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    max_key_age: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// 1 where the store takes no writes.
pub(super) fn run(options: &StatusOptions) -> Result<ExitCode, CliError> {
    let session = VaultSession::open(&config::load(&options.config)?.startup)?;
    let (status, now) = (session.status()?, SystemTime::now());
    let warning = warning(&status, options.max_key_age, now);
    let text = if options.json {
        format!("{:#}\n", as_json(&status, warning.as_deref(), now))
    } else {
        as_text(&status, warning.as_deref(), now)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if status.failing.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// That the key for new cards is due, if it is.
fn warning(status: &VaultStatus, max_days: u64, now: SystemTime) -> Option<String> {
    let mut keys = status.census.keys.iter().rev();
    let newest = keys.find(|key| key.purpose == KeyPurpose::Seal)?;
    let age = days(newest, now);
    (age > max_days).then(|| {
        format!(
            "the key that seals new cards is {age} days old, more than {max_days}: replace it with \
             `tillgate vault rotate` (PCI DSS 3.7.4)"
        )
    })
}

fn days(key: &KeyFacts, now: SystemTime) -> u64 {
    now.duration_since(key.created_at).unwrap_or_default().as_secs() / DAY.as_secs()
}

fn as_json(status: &VaultStatus, warning: Option<&str>, now: SystemTime) -> Value {
    let census = &status.census;
    let time = |at: Option<SystemTime>| at.map(|at| Rfc3339(at).to_string());
    let tokens = census.kinds.iter().map(|kind| {
        json!({ "format": kind.format.as_str(), "brand": kind.brand.as_str(), "rows": kind.rows })
    });
    let keys = census.keys.iter().map(|key| {
        json!({
            "key": key.id.to_string(), "purpose": key.purpose.as_str(),
            "created_at": Rfc3339(key.created_at).to_string(), "age_days": days(key, now),
            "rows": key.rows, "master_keys": key.masters.len(),
        })
    });
    json!({
        "store": status.store, "writable": status.failing.is_none(),
        "failing": status.failing.map(|error| error.to_string()),
        "master_key": status.key_place, "rows": census.rows, "erased": census.erased,
        "bytes": census.bytes, "oldest": time(census.oldest), "newest": time(census.newest),
        "tokens": tokens.collect::<Vec<_>>(), "keys": keys.collect::<Vec<_>>(),
        "warnings": warning.into_iter().collect::<Vec<_>>(),
    })
}

fn as_text(status: &VaultStatus, warning: Option<&str>, now: SystemTime) -> String {
    let census = &status.census;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _infallible = writeln!(text, "{name:<12}{value}");
    };
    let health = status.failing.map_or("takes writes".to_owned(), |error| error.to_string());
    line("store", format!("{}: {health}", status.store));
    line("size", HumanBytes(census.bytes).to_string());
    line("master key", status.key_place.clone());
    line("cards", format!("{}, and {} erased", census.rows, census.erased));
    if let (Some(oldest), Some(newest)) = (census.oldest, census.newest) {
        line("first seen", format!("{} to {}", Rfc3339(oldest), Rfc3339(newest)));
    }
    for kind in &census.kinds {
        line("tokens", format!("{} of {} for {}", kind.rows, kind.format.as_str(), kind.brand));
    }
    for key in &census.keys {
        let (id, purpose, age) = (key.id, key.purpose.as_str(), days(key, now));
        let sealed = match key.purpose {
            KeyPurpose::Seal => format!(", seals {} cards", key.rows),
            KeyPurpose::Accounts | KeyPurpose::Audit | KeyPurpose::Fingerprint => String::new(),
        };
        let masters = if key.masters.len() > 1 { ", under two master keys" } else { "" };
        line("key", format!("{id} {purpose}, {age} days old{sealed}{masters}"));
    }
    if let Some(warning) = warning {
        line("warning", warning.to_owned());
    }
    text
}
