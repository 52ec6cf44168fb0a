//! `tillgate vault reveal` and `erase`: one customer's card.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use serde_json::json;

use crate::app::{Found, VaultSession};
use crate::card::Token;
use crate::cli::ask::{self, Answer};
use crate::cli::{CliError, UsageError};
use crate::config;

#[derive(Debug, Args)]
pub(in crate::cli) struct RevealOptions {
    /// The token.
    token: String,
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Show the first six and the last four digits only; nothing is asked.
    #[arg(long)]
    masked: bool,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT", required_unless_present = "masked")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub(in crate::cli) struct EraseOptions {
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A token of the card.
    #[arg(long, value_name = "TOKEN", group = "target")]
    token: Option<String>,
    /// The card's number, read from standard input: arguments can be seen by other users.
    #[arg(long, value_name = "-", group = "target")]
    card: Option<String>,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn reveal(options: &RevealOptions) -> Result<ExitCode, CliError> {
    let token = token(&options.token)?;
    if !options.masked {
        if ask::stdout_is_file()? {
            return Err(UsageError::OutputIsFile.into());
        }
        if !options.yes {
            ask::demand_terminal()?;
        }
    }
    let session = VaultSession::open(&config::load(&options.config)?.startup)?;
    let Some(found) = session.find(&token)? else {
        return say(b"no card is behind this token: it is none of this vault, or was erased\n");
    };
    let (reason, mut out) = (options.reason.as_deref().unwrap_or_default(), std::io::stdout());
    if options.masked {
        let shown = session.show_masked(&found, token, reason)?;
        writeln!(out, "{shown}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !options.yes && confirm("Show", &found)? == Answer::No {
        return say(b"not shown\n");
    }
    let card = session.show(found, token, reason)?;
    out.write_all(card.expose())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn erase(options: &EraseOptions) -> Result<ExitCode, CliError> {
    let token = options.token.as_deref().map(token).transpose()?;
    // Not left to clap, which would show what was given.
    if options.card.as_ref().is_some_and(|place| place != "-") {
        return Err(UsageError::CardInArguments.into());
    }
    if !options.yes {
        ask::demand_terminal()?;
    }
    let startup = config::load(&options.config)?.startup;
    let found = match token {
        Some(token) => VaultSession::open(&startup).map(|session| {
            let found = session.find(&token);
            found.map(|found| found.map(|found| (session, found)))
        })??,
        None => {
            let card = ask::card()?.ok_or(UsageError::NoCard)?;
            let session = VaultSession::open(&startup)?;
            let found = session.find_card(card)?;
            (!found.tokens().is_empty()).then_some((session, found))
        }
    };
    let Some((session, found)) = found else { return told(options, &[], "") };
    if !options.yes && confirm("Erase", &found)? == Answer::No {
        return say(b"not erased\n");
    }
    let last_four = found.last_four().to_string();
    told(options, &session.erase(found, &options.reason)?, &last_four)
}

fn told(options: &EraseOptions, tokens: &[Token], last_four: &str) -> Result<ExitCode, CliError> {
    let names: Vec<_> = tokens.iter().map(Token::as_str).collect();
    let text = if options.json {
        format!("{}\n", json!({ "erased": names }))
    } else if tokens.is_empty() {
        "nothing to erase: no card is there, or it was erased before\n".to_owned()
    } else {
        format!(
            "erased the card that ended in {last_four}; nothing is behind {} any more\n",
            names.join(", ")
        )
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn token(text: &str) -> Result<Token, UsageError> {
    Token::parse(text.as_bytes()).map_err(|_| UsageError::NoToken)
}

fn confirm(what: &str, found: &Found) -> Result<Answer, CliError> {
    Ok(ask::last_four(what, &found.last_four().to_string())?)
}

/// Says that nothing was done.
fn say(text: &[u8]) -> Result<ExitCode, CliError> {
    std::io::stderr().write_all(text)?;
    Ok(ExitCode::FAILURE)
}
