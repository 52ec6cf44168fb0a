//! `tillgate vault …`: care for tokens, cards and keys.

mod backup;
mod card;
mod rotate;
mod status;
mod transfer;

use std::process::ExitCode;

use clap::Subcommand;

use self::backup::BackupOptions;
use self::card::{EraseOptions, RevealOptions};
use self::rotate::RotateOptions;
use self::status::StatusOptions;
use self::transfer::{ExportOptions, ImportOptions};
use super::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum VaultCommand {
    /// Copy the vault's database while instances serve.
    ///
    /// The copy is of one moment, is looked into before it is named, and opens with the master key
    /// only, which is not in it. Put it in place of vault.db, with its -wal and -shm files removed,
    /// while nothing runs. For PostgreSQL, use its own tools.
    #[command(after_help = "Example:\n  tillgate vault backup --config \
                            /etc/tillgate/tillgate.toml --to /backup/vault.db")]
    Backup(BackupOptions),
    /// Erase a customer's card, under all tokens it has (GDPR article 17).
    ///
    /// The tokens stay, never to be given again, and reveal nothing from now on, whoever serves. The
    /// same card gets a new token when it is next seen. Backups, exports and, until its next vacuum,
    /// PostgreSQL's files still hold the sealed number: it is noise once `vault rotate` has dropped
    /// the key and their own key is gone.
    #[command(after_help = "Examples:\n  \
        tillgate vault erase --config /etc/tillgate/tillgate.toml --token 4929010000001111\n  \
        tillgate vault erase --config /etc/tillgate/tillgate.toml --card - --yes < number")]
    Erase(EraseOptions),
    /// Write every card and its token to a sealed file, to be moved to another vault.
    ///
    /// The file opens with its key only, which is made beside it if it is not there: move the two
    /// apart. Killed at any moment, the same command with --resume goes on. Cards that are first seen
    /// meanwhile may be missing. Of erased cards it holds the tokens only, so that they come back by no
    /// older export and are never given again where it is imported.
    #[command(after_help = "Examples:\n  \
        tillgate vault export --config /etc/tillgate/tillgate.toml --to cards.export\n  \
        tillgate vault export --config /etc/tillgate/tillgate.toml --to cards.export --resume")]
    Export(ExportOptions),
    /// Take in an export, or another provider's list of cards.
    ///
    /// Nothing here is overwritten: what contradicts is told and left out. Run again, the same
    /// command goes on where it was stopped.
    ///
    /// A list is CSV whose first line names a column `card` and, if the shop has tokens already, a
    /// column `token`. A token of digits that could be one of ours and is free is kept. Every other
    /// card gets one of ours, and a file of old and new tokens says what to change in the shop's
    /// database; without old tokens, it goes by the numbers of the lines.
    #[command(after_help = "Examples:\n  \
        tillgate vault import --config /etc/tillgate/tillgate.toml --from cards.export\n  \
        tillgate vault import --config /etc/tillgate/tillgate.toml --csv provider.csv --strict")]
    Import(ImportOptions),
    /// Show the card behind a token.
    ///
    /// The number goes to standard output, never into a file, after the audit log says who asked and
    /// why.
    #[command(after_help = "Examples:\n  \
        tillgate vault reveal 4929010000001111 --config /etc/tillgate/tillgate.toml \
        --reason \"refund 4711\"\n  \
        tillgate vault reveal 4929010000001111 --config /etc/tillgate/tillgate.toml --masked")]
    Reveal(RevealOptions),
    /// Replace the key that seals the cards, or the master key, while instances serve.
    ///
    /// Every card is sealed anew under a new key, and the old key is dropped; tokens stay. Stopped
    /// at any moment, the same command goes on where it was. With --master a new master key wraps
    /// the vault's keys and no row is touched: a key file is replaced in its place; for a key from
    /// the environment or a PKCS#11 device, name the new one as master_key and the old one as
    /// previous_master_key first. Copies of the vault made before open with the old key only. The
    /// key that fingerprints are made with is never replaced: tokens depend on it.
    #[command(after_help = "Examples:\n  \
                            tillgate vault rotate --config /etc/tillgate/tillgate.toml\n  \
                            tillgate vault rotate --config /etc/tillgate/tillgate.toml --master")]
    Rotate(RotateOptions),
    /// Say what the vault holds, how old its keys are, and whether it can be written to.
    #[command(after_help = "Example:\n  tillgate vault status --config \
                            /etc/tillgate/tillgate.toml")]
    Status(StatusOptions),
}

pub(super) fn run(command: VaultCommand) -> Result<ExitCode, CliError> {
    match command {
        VaultCommand::Backup(options) => backup::run(&options),
        VaultCommand::Erase(options) => card::erase(&options),
        VaultCommand::Export(options) => transfer::export(&options),
        VaultCommand::Import(options) => transfer::import(&options),
        VaultCommand::Reveal(options) => card::reveal(&options),
        VaultCommand::Rotate(options) => rotate::run(&options),
        VaultCommand::Status(options) => status::run(&options),
    }
}
