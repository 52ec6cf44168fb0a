//! `tillgate vault export` and `import`: cards that move.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use serde_json::json;

use crate::app::VaultSession;
use crate::card::TokenFormat;
use crate::cli::{CliError, progress};
use crate::config;
use crate::disk::beside;
use crate::vault::{Exported, Imported, ListImported, ListNews, ListRequest, TransferProgress};

/// How many bad lines are told one by one.
const TOLD_MAX: u64 = 100;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportOptions {
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The key that opens it, 32 bytes; made if it is not there [default: the file's name, then .key].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Go on with an export that was stopped.
    #[arg(long)]
    resume: bool,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true))]
pub(in crate::cli) struct ImportOptions {
    /// The configuration file, which names the store and the master key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// An export.
    #[arg(long, value_name = "FILE", group = "source")]
    from: Option<PathBuf>,
    /// The key of the export [default: the file's name, then .key].
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    key: Option<PathBuf>,
    /// Another provider's list.
    #[arg(long, value_name = "FILE", group = "source")]
    csv: Option<PathBuf>,
    /// The format of the tokens that a list's cards get.
    #[arg(long, value_parser = format_parser(), default_value = TokenFormat::default().as_str())]
    #[arg(conflicts_with = "from")]
    format: TokenFormat,
    /// Where a list's old and new tokens are written [default: the list's name, then .mapping.csv].
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    mapping: Option<PathBuf>,
    /// Stop at the first bad line of a list.
    #[arg(long, conflicts_with = "from")]
    strict: bool,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

fn format_parser() -> impl clap::builder::TypedValueParser<Value = TokenFormat> {
    let names = TokenFormat::ALL.map(TokenFormat::as_str);
    PossibleValuesParser::new(names).map(|name| TokenFormat::named(&name).unwrap_or_default())
}

pub(super) fn export(options: &ExportOptions) -> Result<ExitCode, CliError> {
    let mut session = VaultSession::open(&config::load(&options.config)?.startup)?;
    let (to, key) = (&options.to, options.key.clone().unwrap_or(beside(&options.to, ".key")));
    let bar = progress::rows("exporting");
    let exported = session.export(to, &key, options.resume, &mut |news| advance(&bar, news));
    bar.finish_and_clear();
    let exported = exported?;
    let text = if options.json {
        let tokens = exported.damaged_tokens.iter().map(ToString::to_string);
        let value = json!({
            "file": to.display().to_string(), "key": key.display().to_string(),
            "resumed": exported.resumed, "rows": exported.rows, "erased": exported.erased,
            "since": exported.since, "damaged": exported.damaged, "damaged_tokens": tokens.collect::<Vec<_>>(),
        });
        format!("{value}\n")
    } else {
        exported_text(&exported, to, &key)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if exported.damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn exported_text(exported: &Exported, to: &Path, key: &Path) -> String {
    let (to, key, rows, erased) = (to.display(), key.display(), exported.rows, exported.erased);
    let mut text = format!(
        "{rows} cards and {erased} tokens of erased ones are in {to}; {key} opens it: take the two \
         elsewhere by different ways\n"
    );
    if exported.since > 0 {
        text.push_str(&format!("{} cards are newer and may be missing\n", exported.since));
    }
    if exported.damaged > 0 {
        let tokens: Vec<_> = exported.damaged_tokens.iter().map(ToString::to_string).collect();
        let (count, tokens) = (exported.damaged, tokens.join(", "));
        text.push_str(&format!("{count} cards do not open and are missing: {tokens}\n"));
    }
    text
}

pub(super) fn import(options: &ImportOptions) -> Result<ExitCode, CliError> {
    let mut session = VaultSession::open(&config::load(&options.config)?.startup)?;
    let (text, left_out) = match (&options.from, &options.csv) {
        (Some(from), _) => {
            let key = options.key.clone().unwrap_or(beside(from, ".key"));
            let bar = progress::rows("importing");
            let imported = session.import(from, &key, &mut |news| advance(&bar, news));
            bar.finish_and_clear();
            let imported = imported?;
            (imported_text(&imported, options.json), imported.refused)
        }
        (None, list) => {
            let list = list.clone().unwrap_or_default();
            let mapping = options.mapping.clone().unwrap_or(beside(&list, ".mapping.csv"));
            let (format, strict) = (options.format, options.strict);
            let request = ListRequest { list, mapping, format, strict };
            let imported = import_list(&mut session, &request)?;
            (listed_text(&imported, &request, options.json), imported.bad)
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if left_out == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn import_list(
    session: &mut VaultSession,
    request: &ListRequest,
) -> Result<ListImported, CliError> {
    let (bar, list, mut told) = (progress::rows("importing"), request.list.display(), 0);
    let imported = session.import_list(request, &mut |news| match news {
        ListNews::Bad { line, what } => {
            told += 1;
            if told <= TOLD_MAX {
                say(&bar, &format!("{list}:{line}: {what}\n"));
            }
        }
        ListNews::Lines(lines) => advance(&bar, lines),
    });
    bar.finish_and_clear();
    if told > TOLD_MAX {
        say(&bar, &format!("and {} more bad lines\n", told - TOLD_MAX));
    }
    Ok(imported?)
}

fn imported_text(imported: &Imported, as_json: bool) -> String {
    let Imported { new, known, erased, refused, .. } = *imported;
    let refusals = imported.refusals.iter();
    if as_json {
        let refusals =
            refusals.map(|(token, why)| json!({ "token": token.as_str(), "why": why.as_str() }));
        let value = json!({
            "new": new, "known": known, "erased": erased, "refused": refused,
            "refusals": refusals.collect::<Vec<_>>(),
        });
        return format!("{value}\n");
    }
    let mut text = format!("{new} cards taken in, {known} were here, {refused} left out\n");
    if erased > 0 {
        text.push_str(&format!(
            "{erased} tokens of erased cards are kept, never to be given again\n"
        ));
    }
    refusals.for_each(|(token, why)| text.push_str(&format!("{token}: {}\n", why.describe())));
    text
}

fn listed_text(imported: &ListImported, request: &ListRequest, as_json: bool) -> String {
    let ListImported { new, known, kept, mapped, bad } = *imported;
    let mapping = (mapped > 0).then(|| request.mapping.display().to_string());
    if as_json {
        let value = json!({
            "new": new, "known": known, "kept": kept, "mapped": mapped, "bad": bad,
            "mapping": mapping,
        });
        return format!("{value}\n");
    }
    let mut text = format!(
        "{new} cards taken in, {known} were here, {bad} lines left out; {kept} keep their token\n"
    );
    if let Some(mapping) = mapping {
        text.push_str(&format!("{mapped} have another token: {mapping} says which\n"));
    }
    text
}

fn advance(bar: &ProgressBar, news: TransferProgress) {
    bar.set_length(news.total);
    bar.set_position(news.done);
}

fn say(bar: &ProgressBar, text: &str) {
    let _nobody_listens = bar.suspend(|| std::io::stderr().write_all(text.as_bytes()));
}
