//! What can be asked for on the command line.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;

/// What to inspect, and how to tell.
#[derive(Args, Clone, Debug)]
pub struct InspectOptions {
    /// Files and folders; "-" is what is piped in
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Print one JSON object per finding
    #[arg(long, conflicts_with = "sarif")]
    pub json: bool,
    /// Print a SARIF 2.1.0 log
    #[arg(long)]
    pub sarif: bool,
    /// Write a copy of every file read, card numbers masked, under this folder
    ///
    /// The copies of one folder keep their paths below it; with several PATHs each has a folder of its
    /// name. Compression and permissions stay. No file is ever overwritten, files that are skipped
    /// are not copied, and an interrupted run leaves no half copy under its name.
    #[arg(long, value_name = "DIR")]
    pub redact: Option<PathBuf>,
    /// Read what .gitignore, .ignore and git's own exclude files leave out, too
    #[arg(long)]
    pub no_ignore: bool,
    /// Read hidden files and folders, too
    #[arg(long)]
    pub hidden: bool,
    /// Read binary files, too (with a zero byte in the first 8 KiB, neither UTF-16 nor tar)
    #[arg(long)]
    pub binary: bool,
    /// Report numbers under names such as order_id or ean, too
    #[arg(long)]
    pub strict: bool,
    /// Give a compressed file up as a bomb beyond this many bytes for each of its own
    #[arg(long, value_name = "N", default_value = "500")]
    pub ratio: NonZeroU64,
}

impl InspectOptions {
    /// What stands at the end of the help.
    pub const HELP: &str = "\
Text findings are PATH:LINE:COLUMN BRAND NUMBER, the number as first six and last four digits. \
Lines and columns count from 1; a column is one Unicode character, a byte order mark is none. In a \
compressed file they are those of its content.

gzip and zstd are recognized by content, JSON, XML, HTML, JavaScript and CSV by name or content. \
Symbolic links within folders are not followed.

Exit code: 0 nothing found, 1 something found or failed, 2 wrong usage.

Examples:
  tillgate scan /var/log/shop
  tillgate scan --no-ignore --hidden --binary /srv/shop
  mysqldump shop | tillgate scan -
  tillgate scan --sarif . > cards.sarif
  tillgate scan --redact clean dump.sql.gz logs";
}
