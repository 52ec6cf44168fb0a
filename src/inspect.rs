//! `tillgate scan`: the engine of the proxy over files, folders and what is piped in.
//!
//! Files are read in pieces, on every core; what one takes in memory does not grow with it. The
//! findings of a file stay together and in order. A number is never printed: what is shown is
//! [`MaskedPan`](crate::card::MaskedPan). What cannot be read is said and counted, and the answer is
//! then never "clean".

mod body;
mod copy;
mod examine;
mod kind;
mod options;
mod position;
mod progress;
mod report;
mod sarif;
mod walk;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use ignore::{DirEntry, WalkState};
use parking_lot::Mutex;
use thiserror::Error;

use crate::scan::{FieldRules, Rules};

use copy::Copies;
use examine::{FileError, Source};
use progress::Progress;
use report::{Format, Report};
use walk::Walk;

pub use options::InspectOptions;

/// What an inspection came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Verdict {
    /// Everything was read and nothing was found.
    Clean,
    /// Something was found.
    Found,
    /// Nothing was found, and something could not be read.
    Incomplete,
}

/// Why an inspection cannot begin, or ended early.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The findings cannot be written.
    #[error("cannot write the findings")]
    Output(#[source] io::Error),
    /// The folder for the copies cannot be used.
    #[error("cannot write copies to {}", path.display())]
    Copies {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder for the copies is one of those to be read.
    #[error("{} is to be read; its copies need another folder", path.display())]
    CopiesOverSource {
        /// Which folder.
        path: PathBuf,
    },
    /// Copies of two paths would have the same name.
    #[error("the copies of two paths would both be called {}", name.display())]
    CopiesCollide {
        /// The name.
        name: PathBuf,
    },
}

/// What the threads share.
struct Inspection<'a> {
    options: &'a InspectOptions,
    rules: Arc<Rules>,
    walk: Walk,
    copies: Option<Copies>,
    report: Report<'a>,
    progress: &'a Progress,
    /// Why the findings could not be written; the walk ends with it.
    failed: Mutex<Option<io::Error>>,
}

/// Reads everything the options name, reports what is found, and says what it came to.
///
/// # Errors
/// When the folder for the copies is unfit or the findings cannot be written. A file that cannot be
/// read is a warning, not an error.
pub fn run(options: &InspectOptions) -> Result<Verdict, InspectError> {
    let copies = options.redact.as_deref().map(Copies::open).transpose()?;
    let walk = Walk::new(options, copies.as_ref())?;
    let progress = Progress::new(|| walk.measure(options, copies.as_ref()));
    let report = Report::new(Format::of(options), &progress);
    let rules = Rules::responses(FieldRules::default());
    let rules = Arc::new(if options.strict { rules.strict() } else { rules });
    let inspection = Inspection {
        options,
        rules,
        walk,
        copies,
        report,
        progress: &progress,
        failed: Mutex::new(None),
    };
    match inspection.run() {
        // Who reads no further (`| head`) wants no complaint, unless it ends the copying too.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && options.redact.is_none() => {
            Ok(Verdict::Found)
        }
        Err(error) => Err(InspectError::Output(error)),
        Ok(()) => {
            progress.finish();
            Ok(progress.verdict())
        }
    }
}

impl Inspection<'_> {
    fn run(&self) -> io::Result<()> {
        self.report.begin()?;
        if let Some(builder) = self.walk.builder(self.options, self.copies.as_ref()) {
            builder.build_parallel().run(|| {
                let mut room = BytesMut::new();
                Box::new(move |entry| self.visit(entry, &mut room))
            });
        }
        if let Some(error) = self.failed.lock().take() {
            return Err(error);
        }
        if self.walk.reads_stdin() {
            self.settle(&Source::stdin(), &mut BytesMut::new())?;
        }
        self.report.end(self.progress.failures() == 0)
    }

    fn visit(&self, entry: Result<DirEntry, ignore::Error>, room: &mut BytesMut) -> WalkState {
        let source = match entry {
            Ok(entry) => self.walk.source(&entry),
            Err(error) => {
                self.progress.failed(&error.to_string());
                None
            }
        };
        let Some(source) = source else { return WalkState::Continue };
        let Err(error) = self.settle(&source, room) else { return WalkState::Continue };
        *self.failed.lock() = Some(error);
        WalkState::Quit
    }

    /// Examines one file; a trouble with it is told, only one with the report is an error.
    fn settle(&self, source: &Source, room: &mut BytesMut) -> io::Result<()> {
        match self.examine(source, room) {
            Ok(examine::Outcome::Read) => self.progress.file_read(),
            Ok(examine::Outcome::Binary) => self.progress.file_skipped(),
            Err(FileError::Output(error)) => return Err(error),
            Err(error) => self.progress.failed(&source.trouble(&error)),
        }
        Ok(())
    }
}
