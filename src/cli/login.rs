//! `tillgate login`: the guard's operator's side.
//!
//! All but `learn` asks a running tillgate through its admin listener, with the token that it made: what is
//! locked is in its memory, or in the Redis that it shares.

mod call;
mod show;

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::call::Caller;
use super::{CliError, UsageError};
use crate::config::{self, SharedStore};
use crate::learn::{self, LearnOptions};
use crate::server::message::{Done, Explained, Locked, Whom};
use crate::telemetry::Operator;

pub(super) use self::call::CallError;

/// The longest name that is read.
const NAME_BYTES_MAX: u64 = 4 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum LoginCommand {
    /// Let a network or an account in for a time, whatever the limits say.
    ///
    /// Holds in the instance that is asked and until it ends; what is to last, or to hold everywhere,
    /// belongs into the configuration. Whoever is let in may guess: name a network rather than an
    /// account, which everybody may then try.
    #[command(after_help = ALLOW_HELP)]
    Allow {
        #[command(flatten)]
        asked: Asked,
        /// For how long: 30m, 2h, 1d; 30 days at most.
        #[arg(long = "for", value_name = "TIME")]
        time: Option<String>,
        /// Take it back.
        #[arg(long, conflicts_with = "time")]
        end: bool,
    },
    /// Say how a network and an account stand, and what would refuse their next login.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Asked),
    /// Watch one wrong login and one right one, and print the [[site.login]] that tells them apart.
    #[command(after_help = LearnOptions::HELP)]
    Learn(LearnOptions),
    /// List what is locked now, and what operators have allowed.
    ///
    /// Account names are kept as keyed hashes only: `explain --account` tells of one by name.
    #[command(
        after_help = "Example:\n  tillgate login locked --config /etc/tillgate/tillgate.toml"
    )]
    Locked(Reached),
    /// Forget failures and locks, of an account with those of it from every network.
    ///
    /// Where instances share their counters, one call does for all.
    #[command(after_help = UNLOCK_HELP)]
    Unlock(Asked),
}

const ALLOW_HELP: &str = "\
Examples:
  tillgate login allow --config /etc/tillgate/tillgate.toml --network 192.0.2.7 --for 2h
  tillgate login allow --config /etc/tillgate/tillgate.toml --network 192.0.2.7 --end";

const EXPLAIN_HELP: &str = "\
Examples:
  tillgate login explain --config /etc/tillgate/tillgate.toml --network 192.0.2.7
  tillgate login explain --config /etc/tillgate/tillgate.toml --network 192.0.2.7 \\
    --account ada@example.com --site shop.example";

const UNLOCK_HELP: &str = "\
Examples:
  tillgate login unlock --config /etc/tillgate/tillgate.toml --account ada@example.com
  tillgate login unlock --config /etc/tillgate/tillgate.toml --network 192.0.2.7
  tillgate login unlock --config /etc/tillgate/tillgate.toml --key KEY      (from `locked`)";

/// How the running tillgate is reached.
#[derive(Args, Debug)]
pub(super) struct Reached {
    /// The configuration file that it runs with.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Its admin address, where the file leaves the port to the system.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Whom it is about.
#[derive(Args, Debug)]
pub(super) struct Asked {
    #[command(flatten)]
    reached: Reached,
    /// The account, as the customer types it; `-` reads it from standard input.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// A client's address, or a network of a size that is counted: /32 and /24, IPv6 /64 and /48.
    #[arg(long, value_name = "ADDR")]
    network: Option<String>,
    /// A key as `locked` lists it.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["account", "network"])]
    key: Option<String>,
    /// The site of the account; may be left out where there is one.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// A guard other than the login's, by its name.
    #[arg(long, value_name = "NAME")]
    guard: Option<String>,
}

/// Does what was asked for.
pub(super) fn run(command: LoginCommand) -> Result<ExitCode, CliError> {
    match command {
        LoginCommand::Allow { asked, time, end } => allow(asked, time.as_deref(), end)?,
        LoginCommand::Explain(asked) => explain(asked)?,
        LoginCommand::Learn(options) => learn::run(&options)?,
        LoginCommand::Locked(reached) => locked(&reached)?,
        LoginCommand::Unlock(asked) => unlock(asked)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn locked(reached: &Reached) -> Result<(), CliError> {
    let text = caller(reached)?.0.get("logins/locked")?;
    let locked: Locked = call::read(&text)?;
    print(reached, &text, &show::locked(&locked))
}

fn explain(asked: Asked) -> Result<(), CliError> {
    let (reached, whom) = asked.whom(None)?;
    let text = caller(&reached)?.0.post("logins/explain", &whom)?;
    let explained: Explained = call::read(&text)?;
    print(&reached, &text, &show::explained(&explained))
}

fn unlock(asked: Asked) -> Result<(), CliError> {
    let (reached, whom) = asked.whom(None)?;
    let (caller, shared) = caller(&reached)?;
    let text = caller.post("logins/unlock", &whom)?;
    let Done { changed } = call::read(&text)?;
    let mut said = match changed {
        0 => "there was nothing to forget\n".to_owned(),
        _ => format!("forgotten what was counted under {changed} of its keys\n"),
    };
    if shared {
        said.push_str("the counters are shared: this holds for every instance\n");
    }
    print(&reached, &text, &said)
}

fn allow(asked: Asked, time: Option<&str>, end: bool) -> Result<(), CliError> {
    let time = match (time, end) {
        (None, true) => 0,
        (Some(time), _) => config::duration(time).ok_or(UsageError::AllowTime)?.as_secs(),
        (None, false) => return Err(UsageError::AllowTime.into()),
    };
    let (reached, whom) = asked.whom(Some(time))?;
    let (caller, shared) = caller(&reached)?;
    let text = caller.post("logins/allow", &whom)?;
    let mut said = if time == 0 { "taken back\n" } else { "allowed\n" }.to_owned();
    if shared {
        said.push_str("this holds in the instance that was asked: ask each of the others too\n");
    }
    print(&reached, &text, &said)
}

impl Asked {
    fn whom(self, for_s: Option<u64>) -> Result<(Reached, Whom), CliError> {
        let Self { reached, account, network, key, site, guard } = self;
        if account.is_none() && network.is_none() && key.is_none() {
            return Err(UsageError::Nobody.into());
        }
        let account = match account.as_deref() {
            Some("-") => Some(line()?),
            _ => account,
        };
        let operator = Some(Operator::current());
        Ok((reached, Whom { site, guard, account, network, key, operator, for_s }))
    }
}

/// Who asks, and whether instances share what they count.
fn caller(reached: &Reached) -> Result<(Caller, bool), CliError> {
    let startup = config::load(&reached.config)?.startup;
    let shared = startup.counters != SharedStore::Own;
    let caller = Caller::new(reached.admin.unwrap_or(startup.admin), &startup.data_dir)?;
    Ok((caller, shared))
}

fn print(reached: &Reached, json: &str, words: &str) -> Result<(), CliError> {
    let mut out = io::stdout();
    if reached.json {
        writeln!(out, "{json}")?;
    } else {
        out.write_all(words.as_bytes())?;
    }
    Ok(())
}

/// A name that other users of the machine do not see among the arguments.
fn line() -> io::Result<String> {
    let mut text = String::new();
    io::Read::take(io::stdin().lock(), NAME_BYTES_MAX).read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
