//! `tillgate login`: the guard's operator's side.

use std::process::ExitCode;

use clap::Subcommand;

use super::CliError;
use crate::learn::{self, LearnOptions};

#[derive(Debug, Subcommand)]
pub(super) enum LoginCommand {
    /// Watch one wrong login and one right one, and print the [[site.login]] that tells them apart.
    #[command(after_help = LearnOptions::HELP)]
    Learn(LearnOptions),
}

/// Does what was asked for.
pub(super) fn run(command: &LoginCommand) -> Result<ExitCode, CliError> {
    match command {
        LoginCommand::Learn(options) => learn::run(options)?,
    }
    Ok(ExitCode::SUCCESS)
}
