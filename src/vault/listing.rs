//! Taking in another provider's list of cards, with the tokens it gave them or without.
//!
//! The list is read line by line, and no line is longer than [`LINE_MAX`], so that a list of millions
//! needs no more memory than a short one. A bad line is told by its number, never by its content.

mod line;
mod mapping;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::line::{Columns, Line, Lines};
use self::mapping::Mapping;
use super::export::TransferProgress;
use super::intake::{Incoming, Taken, Wish};
use super::keeper::Keeper;
use super::worker::GROUP_MAX;
use super::{VaultError, draw};
use crate::card::{Token, TokenFormat};

pub use line::{BadLine, LINE_MAX};

/// Why a list was not taken in. What was taken stays; the same command goes on.
#[derive(Debug, Error)]
pub enum ListError {
    /// A line is bad, and the list was to be taken wholly or not at all.
    #[error("{}:{line}: {what}; mend it and run this again", path.display())]
    BadLine {
        /// The list.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        what: BadLine,
    },
    /// The file for the new tokens is there.
    #[error("{} exists; move it away or name another with --mapping", path.display())]
    MappingExists {
        /// The file.
        path: PathBuf,
    },
    /// No column is named for cards.
    #[error("{}:1: no column is named `card`; name the columns `token` and `card`", path.display())]
    NoCardColumn {
        /// The list.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The vault fails.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The file for the new tokens cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a list is to be taken in.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// The list.
    pub list: PathBuf,
    /// Where the tokens that took another's place are written.
    pub mapping: PathBuf,
    /// The format of the tokens.
    pub format: TokenFormat,
    /// Stop at the first bad line.
    pub strict: bool,
}

/// What there is to tell while a list is taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListNews {
    /// A line was left out.
    Bad {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        what: BadLine,
    },
    /// So many lines are done.
    Lines(TransferProgress),
}

/// What became of a list.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListImported {
    /// Cards that are new here.
    pub new: u64,
    /// Cards that were here already.
    pub known: u64,
    /// Cards that keep the token they came with.
    pub kept: u64,
    /// Tokens in the file of new ones; none is written for none.
    pub mapped: u64,
    /// Lines that were left out.
    pub bad: u64,
}

/// A good line.
struct Listed {
    line: u64,
    old: Option<Vec<u8>>,
    incoming: Incoming,
}

impl Keeper {
    /// Takes in a list. A token of digits that could be one of ours, and is free, is kept; any other
    /// card is given one of ours, and both are written to the mapping file.
    ///
    /// # Errors
    /// When the list, the mapping file or the vault fails, or a line of a strict list is bad.
    pub async fn import_list(
        &mut self,
        request: &ListRequest,
        tell: &mut dyn FnMut(ListNews),
    ) -> Result<ListImported, ListError> {
        let path = &request.list;
        let failed = |source| ListError::Read { path: path.clone(), source };
        let total = count_lines(path).map_err(failed)?;
        let mut lines = Lines::new(BufReader::new(File::open(path).map_err(failed)?));
        let header = lines.header().map_err(failed)?;
        let columns = header.ok_or(ListError::NoCardColumn { path: path.clone() })?;
        let mut intake = Intake {
            mapping: Mapping::begin(&request.mapping, columns.has_tokens())?,
            done: ListImported::default(),
            group: Vec::with_capacity(GROUP_MAX),
            keeper: self,
            tell,
        };
        while let Some(Line { number: line, text }) = lines.next().map_err(failed)? {
            match listed(line, text, &columns, request.format) {
                Ok(listed) => intake.group.push(listed),
                Err(what) if request.strict => {
                    intake.flush().await?;
                    return Err(ListError::BadLine { path: path.clone(), line, what });
                }
                Err(what) => intake.bad(line, what),
            }
            if intake.group.len() == GROUP_MAX {
                intake.flush_strictly(request).await?;
                (intake.tell)(ListNews::Lines(TransferProgress { done: line, total }));
            }
        }
        intake.flush_strictly(request).await?;
        let Intake { mapping, mut done, .. } = intake;
        done.mapped = mapping.finish()?;
        Ok(done)
    }
}

/// A list that is being taken in.
struct Intake<'a> {
    mapping: Mapping,
    done: ListImported,
    group: Vec<Listed>,
    keeper: &'a mut Keeper,
    tell: &'a mut dyn FnMut(ListNews),
}

impl Intake<'_> {
    fn bad(&mut self, line: u64, what: BadLine) {
        self.done.bad += 1;
        (self.tell)(ListNews::Bad { line, what });
    }

    /// As `flush`; a card that the vault refuses is a bad line too.
    async fn flush_strictly(&mut self, request: &ListRequest) -> Result<(), ListError> {
        match self.flush().await? {
            Some((line, what)) if request.strict => {
                Err(ListError::BadLine { path: request.list.clone(), line, what })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes in the lines that wait. Gives the first that the vault refuses.
    async fn flush(&mut self) -> Result<Option<(u64, BadLine)>, ListError> {
        let (mut places, mut cards) = (Vec::new(), Vec::new());
        for Listed { line, old, incoming } in self.group.drain(..) {
            places.push((line, old));
            cards.push(incoming);
        }
        let mut first_bad = None;
        for ((line, old), taken) in places.into_iter().zip(self.keeper.take_in(&cards).await?) {
            let token = match taken {
                Taken::Known(token) => {
                    self.done.known += 1;
                    token
                }
                Taken::New(token) => {
                    self.done.new += 1;
                    token
                }
                Taken::Refused(why) => {
                    let what = BadLine::Refused(why);
                    first_bad = first_bad.or(Some((line, what)));
                    self.bad(line, what);
                    continue;
                }
            };
            match old {
                Some(old) if old == token.as_bytes() => self.done.kept += 1,
                old => self.mapping.add(line, old.as_deref(), &token)?,
            }
        }
        Ok(first_bad)
    }
}

fn listed(
    line: u64,
    text: Result<&[u8], BadLine>,
    columns: &Columns,
    format: TokenFormat,
) -> Result<Listed, BadLine> {
    let (old, card) = columns.read(text?)?;
    let wish = match old.as_deref().map(Token::parse) {
        Some(Ok(token)) if draw::fits(&card, &token, format).unwrap_or(false) => {
            Wish::IfFree(token)
        }
        Some(_) | None => Wish::Any,
    };
    Ok(Listed { line, old, incoming: Incoming { card, format, wish } })
}

/// How many lines there are, about: for a progress bar.
fn count_lines(path: &Path) -> io::Result<u64> {
    let (mut file, mut room, mut lines) = (File::open(path)?, vec![0; 1 << 16], 0);
    loop {
        let length = file.read(&mut room)?;
        let Some(read) = room.get(..length).filter(|read| !read.is_empty()) else {
            return Ok(lines);
        };
        lines += u64::try_from(memchr::memchr_iter(b'\n', read).count()).unwrap_or(u64::MAX);
    }
}
