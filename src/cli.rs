//! The command line: arguments in, exit code out.

mod ask;
mod gateway;
mod login;
mod progress;
mod seen;
mod vault;

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway::GatewayCommand;
use login::LoginCommand;
use thiserror::Error;

use self::vault::VaultCommand;
use crate::app::{self, AppError, Predecessor};
use crate::config::{self, Problems};
use crate::demo::{self, DemoError, DemoOptions};
use crate::inspect::{self, InspectError, InspectOptions, Verdict};
use crate::learn::LearnError;
use crate::reload::explained;
use crate::telemetry::Metrics;
use crate::telemetry::logging::{self, LoggingError};

/// A guard in front of an online shop that nobody may change.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Card numbers that were found.
    #[command(subcommand)]
    Cards(CardsCommand),
    /// Validate a configuration and say what it will do.
    #[command(after_help = "Example:\n  tillgate check --config /etc/tillgate/tillgate.toml")]
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// A small shop, a stand-in gateway and the guard between them; nothing to set up.
    #[command(after_help = "Example:\n  tillgate demo --once")]
    Demo(DemoOptions),
    /// The ways to the payment gateways.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// The login guard: learn what a login is, see who is locked and why.
    #[command(subcommand)]
    Login(LoginCommand),
    /// Guard a shop.
    #[command(after_help = "Examples:\n  tillgate run --config /etc/tillgate/tillgate.toml\n  \
                      tillgate run --upstream http://127.0.0.1:8080")]
    Run(RunOptions),
    /// Find card numbers in files, folders and what is piped in.
    #[command(after_help = InspectOptions::HELP)]
    Scan(InspectOptions),
    /// Print the JSON Schema of the configuration file.
    #[command(after_help = "Example:\n  tillgate schema > tillgate.schema.json")]
    Schema,
    /// Care for tokens, cards and keys.
    #[command(subcommand)]
    Vault(VaultCommand),
}

#[derive(Debug, Args)]
struct RunOptions {
    /// The configuration file.
    #[arg(long, value_name = "FILE", required_unless_present = "upstream")]
    config: Option<PathBuf>,
    /// Guard this shop without a file: self-signed certificate, data under ./tillgate-data.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    upstream: Option<String>,
    /// Where to listen, with --upstream [default: 127.0.0.1:8443].
    #[arg(long, value_name = "ADDR", requires = "upstream")]
    listen: Option<SocketAddr>,
    /// How many threads serve customers [default: one per core].
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Find any change or gap in the audit log.
    #[command(
        after_help = "Example:\n  tillgate audit verify --config /etc/tillgate/tillgate.toml"
    )]
    Verify {
        /// The configuration file, which names the data folder and the key.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum CardsCommand {
    /// List where card numbers were found and what was done with them; never a digit of one.
    ///
    /// A running server writes the list every ten seconds and when it ends.
    #[command(after_help = "Example:\n  tillgate cards seen --config /etc/tillgate/tillgate.toml")]
    Seen {
        /// The configuration file, which names the data folder.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// As JSON, with times in seconds since 1970.
        #[arg(long)]
        json: bool,
    },
}

/// Why a command failed.
#[derive(Debug, Error)]
enum CliError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Call(#[from] login::CallError),
    #[error(transparent)]
    Learn(#[from] LearnError),
    #[error("cannot start logging")]
    Logging(#[from] LoggingError),
    #[error("cannot read or write at the terminal")]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Usage(#[from] UsageError),
}

/// What clap cannot see is wrong.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
enum UsageError {
    #[error("say for how long, as in `--for 2h`, or --end to take it back")]
    AllowTime,
    #[error("a card's number must not be an argument, which other users can see: use `--card -`")]
    CardInArguments,
    #[error("name whom it is about: --account, --network or --key")]
    Nobody,
    #[error("what was read is no card number: it has 12 to 19 digits")]
    NoCard,
    #[error("there is no terminal to ask at; to go ahead unasked, add --yes")]
    NoTerminal,
    #[error("this is no token")]
    NoToken,
    #[error(
        "standard output is a file, and a card number must not be in one; run this at a terminal, \
         or pipe it to the program that needs the number"
    )]
    OutputIsFile,
}

impl Cli {
    /// Does what was asked for. 0 is fine, 1 found or failed, 2 wrong usage.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Audit(AuditCommand::Verify { config }) => audit_verify(&config),
            Command::Cards(CardsCommand::Seen { config, json }) => cards_seen(&config, json),
            Command::Check { config } => check(&config),
            Command::Demo(options) => run_demo(&options),
            Command::Gateway(GatewayCommand::Ca { config }) => gateway::ca(&config),
            Command::Login(command) => login::run(command),
            Command::Run(options) => run(options),
            Command::Scan(options) => scan(&options),
            Command::Schema => schema(),
            Command::Vault(command) => vault::run(command),
        };
        done.unwrap_or_else(|error| {
            tell(&error);
            match error {
                CliError::Usage(_) | CliError::App(AppError::BackupOfServer) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        })
    }
}

/// Takes the place of the process that has started us, if one has; it hears why we cannot.
fn run(options: RunOptions) -> Result<ExitCode, CliError> {
    let predecessor = Predecessor::find().map_err(AppError::from)?;
    let complaint = predecessor.as_ref().and_then(|predecessor| predecessor.complaint().ok());
    serve(options, predecessor).inspect_err(|error| {
        if let Some(complaint) = complaint {
            complaint.refuse(&explained(error));
        }
    })
}

fn serve(options: RunOptions, predecessor: Option<Predecessor>) -> Result<ExitCode, CliError> {
    let RunOptions { config, upstream, listen, workers } = options;
    let mut loaded = match (&config, upstream) {
        (Some(path), _) => config::load(path)?,
        (None, Some(url)) => config::for_upstream(&url, listen, PathBuf::from("tillgate-data"))?,
        (None, None) => return Ok(ExitCode::from(2)),
    };
    loaded.startup.workers = workers.or(loaded.startup.workers);
    // Before the log has a thread, which would keep what is given up here.
    let confined = app::confine(&loaded.startup)?;
    let metrics = Metrics::new();
    let level = loaded.startup.log.level.as_str();
    let stderr = Box::new(std::io::stderr());
    let _logging = logging::start(level, stderr, metrics.lines_dropped("log"))?;
    confined.tell(&metrics);
    app::start(loaded, config.as_deref(), metrics, predecessor)?.wait();
    Ok(ExitCode::SUCCESS)
}

fn run_demo(options: &DemoOptions) -> Result<ExitCode, CliError> {
    demo::run(options)?;
    Ok(ExitCode::SUCCESS)
}

fn scan(options: &InspectOptions) -> Result<ExitCode, CliError> {
    Ok(match inspect::run(options)? {
        Verdict::Clean => ExitCode::SUCCESS,
        Verdict::Found | Verdict::Incomplete => ExitCode::FAILURE,
    })
}

fn check(path: &Path) -> Result<ExitCode, CliError> {
    let loaded = config::load(path)?;
    let summary = config::summary(&loaded);
    let warnings = app::check(loaded)?;
    let mut out = std::io::stdout();
    out.write_all(summary.as_bytes())?;
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn audit_verify(path: &Path) -> Result<ExitCode, CliError> {
    let mut out = std::io::stdout();
    let mut code = ExitCode::SUCCESS;
    for log in app::verify_audit(&config::load(path)?.startup)? {
        let name = log.path.display();
        match log.found {
            Ok(verified) => writeln!(out, "{name}: {} records, unbroken", verified.records)?,
            Err(fault) => {
                writeln!(out, "{name}: {fault}")?;
                code = ExitCode::FAILURE;
            }
        };
    }
    Ok(code)
}

fn cards_seen(path: &Path, json: bool) -> Result<ExitCode, CliError> {
    let report = app::cards_seen(&config::load(path)?.startup)?;
    let text = if json { report.to_json()? } else { seen::table(&report) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn schema() -> Result<ExitCode, CliError> {
    writeln!(std::io::stdout(), "{:#}", config::schema_json())?;
    Ok(ExitCode::SUCCESS)
}

/// An error and everything it came from, one cause per line.
fn tell(error: &CliError) {
    let mut stderr = std::io::stderr();
    let mut text = format!("tillgate: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("  because: {error}\n"));
        cause = error.source();
    }
    let _nobody_listens = stderr.write_all(text.as_bytes());
}
