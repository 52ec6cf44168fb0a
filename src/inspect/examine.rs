//! One file through the engine.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::fs::OFlags;
use thiserror::Error;

use crate::coding::DecodeError;
use crate::scan::{Carrier, Decided, Find, FindKind, Stream};
use crate::telemetry::mask_text;

use super::Inspection;
use super::body::Body;
use super::copy::Copy;
use super::position::Cursor;
use super::report::{Finding, Number, Page};
use super::{kind, walk};

/// One file to be examined.
pub(super) struct Source {
    /// As it is told.
    pub(super) path: PathBuf,
    /// Its path among the copies.
    pub(super) below: PathBuf,
    pub(super) origin: Origin,
}

/// Where a file comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// Met in a folder.
    Found,
    /// Named on the command line, maybe through a symbolic link.
    Named,
    /// What is piped in.
    Stdin,
}

/// How the examination of a file ended well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Outcome {
    /// Not a text; left alone.
    Binary,
    /// Read to its end.
    Read,
}

/// Why a file was not examined to its end.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("its copy cannot be written")]
    Copy(#[source] io::Error),
    #[error("there is a {} already; it stays as it is", target.display())]
    CopyExists { target: PathBuf },
    #[error("cannot be decompressed")]
    Decode(#[source] DecodeError),
    #[error("the findings cannot be written")]
    Output(#[source] io::Error),
    #[error("cannot be read")]
    Read(#[source] io::Error),
}

/// A file opened for reading.
struct Opened {
    reader: Box<dyn Read>,
    permissions: Option<Permissions>,
}

impl Source {
    pub(super) fn stdin() -> Self {
        let name = PathBuf::from(walk::STDIN_NAME);
        Self { path: name.clone(), below: name, origin: Origin::Stdin }
    }

    /// A trouble with this file, with everything it came from, in one line.
    pub(super) fn trouble(&self, error: &FileError) -> String {
        let mut text = format!("{}: {error}", self.path.display());
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        mask_text(&text).into_owned()
    }

    fn carrier(&self) -> Carrier {
        match self.origin {
            Origin::Stdin => Carrier::Text,
            Origin::Found | Origin::Named => kind::carrier(&self.path),
        }
    }

    fn open(&self) -> io::Result<Opened> {
        let mut options = OpenOptions::new();
        options.read(true);
        match self.origin {
            Origin::Stdin => {
                return Ok(Opened { reader: Box::new(io::stdin().lock()), permissions: None });
            }
            // What was a file when the folder was listed may be a link by now.
            Origin::Found => {
                options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            }
            Origin::Named => {}
        }
        let file: File = options.open(&self.path)?;
        let permissions = Some(file.metadata()?.permissions());
        Ok(Opened { reader: Box::new(file), permissions })
    }
}

impl Inspection<'_> {
    /// Reads one file, reports what is in it and, if asked for, writes its copy.
    pub(super) fn examine(
        &self,
        source: &Source,
        room: &mut BytesMut,
    ) -> Result<Outcome, FileError> {
        let Opened { reader, permissions } = source.open().map_err(FileError::Read)?;
        let reader = self.progress.counting(reader);
        let mut body = Body::begin(reader, room, self.options.ratio.get())?;
        let coding = body.coding();
        let first = body.piece()?;
        if !self.options.binary && kind::is_binary(&first) {
            body.give_back(first);
            return Ok(Outcome::Binary);
        }
        let begin = |copies: &super::Copies| copies.begin(&source.below, coding);
        let mut passage = Passage {
            stream: Stream::new(Arc::clone(&self.rules), source.carrier()),
            decided: Vec::new(),
            cursor: Cursor::new(&first),
            page: self.report.page(&source.path),
            copy: self.copies.as_ref().map(begin).transpose()?,
        };
        let read = passage.through(&mut body, first);
        // What was found before a trouble is told as well.
        passage.page.close().map_err(FileError::Output)?;
        read?;
        passage.copy.map_or(Ok(()), |copy| copy.finish(permissions))?;
        Ok(Outcome::Read)
    }
}

/// A content on its way through the engine, into the report and the copy.
struct Passage<'a> {
    stream: Stream,
    decided: Vec<Decided>,
    cursor: Cursor,
    page: Page<'a>,
    copy: Option<Copy>,
}

impl Passage<'_> {
    fn through<R: Read>(&mut self, body: &mut Body<'_, R>, first: Bytes) -> Result<(), FileError> {
        let mut piece = first;
        while !piece.is_empty() {
            self.stream.push(piece.clone(), &mut self.decided);
            self.settle()?;
            body.give_back(piece);
            piece = body.piece()?;
        }
        self.stream.finish(&mut self.decided);
        self.settle()
    }

    /// Deals with what is decided.
    fn settle(&mut self) -> Result<(), FileError> {
        let mut decided = std::mem::take(&mut self.decided);
        for run in decided.drain(..) {
            self.tell(&run)?;
            let Some(copy) = &mut self.copy else { continue };
            if run.finds.is_empty() {
                copy.write(&run.bytes)?;
                continue;
            }
            let mut text = run.bytes.to_vec();
            run.finds.iter().for_each(|find| find.mask(&mut text));
            copy.write(&text)?;
        }
        self.decided = decided;
        Ok(())
    }

    fn tell(&mut self, run: &Decided) -> Result<(), FileError> {
        let mut passed = 0;
        for find in &run.finds {
            self.cursor.pass(run.bytes.get(passed..find.span.start).unwrap_or_default());
            let start = self.cursor.here();
            self.cursor.pass(run.bytes.get(find.span.clone()).unwrap_or_default());
            passed = find.span.end;
            let Some(number) = number(find) else { continue };
            let finding = Finding { start, end: self.cursor.behind(), number };
            self.page.add(&finding).map_err(FileError::Output)?;
        }
        self.cursor.pass(run.bytes.get(passed..).unwrap_or_default());
        Ok(())
    }
}

/// What may be told of a find. Verification codes and invalid numbers, which only configured rules
/// look for, have nothing that may be shown.
fn number(find: &Find) -> Option<Number> {
    match &find.kind {
        FindKind::Card { pan, brand } => {
            Some(Number { brand: brand.as_str(), masked: pan.masked(), track: false })
        }
        FindKind::Track { pan, brand } => {
            Some(Number { brand: brand.as_str(), masked: pan.masked(), track: true })
        }
        FindKind::Cvv(_)
        | FindKind::InvalidCard { .. }
        | FindKind::Token(_)
        | FindKind::TrackTail => None,
    }
}
