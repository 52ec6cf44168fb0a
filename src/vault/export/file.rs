//! The file of an export, as it is written and read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::ExportError;
use super::frames::{
    CardRow, ErasedToken, FRAME_BYTES_MAX, FrameCipher, HEAD_BYTES, Head, Kind, MAGIC,
    PREFIX_BYTES, VERSION, WRAPPED_BYTES, read_erased, read_rows, write_counts, write_erased,
    write_rows,
};
use crate::card::Token;
use crate::disk::{PRIVATE, sync_folder};
use crate::keys::{MasterKey, SecretKey, WrapError};
use crate::vault::keeper::count;
use crate::vault::store::KeyId;

/// An export that is being written.
pub(super) struct Writer {
    path: PathBuf,
    file: File,
    cipher: FrameCipher,
    index: u64,
    counts: Counts,
}

/// What an export holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) rows: u64,
    /// Tokens whose cards were erased.
    pub(super) erased: u64,
}

/// An export that is being read.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    cipher: FrameCipher,
    head: Head,
    place: Place,
}

/// Between two frames.
#[derive(Clone, Copy)]
struct Place {
    /// Where the next frame begins.
    at: u64,
    index: u64,
    /// What is there until here.
    counts: Counts,
}

/// The next thing in an export.
pub(super) enum Next {
    Rows(Vec<CardRow>),
    Erased(Vec<ErasedToken>),
    /// All has been read, and nothing is missing.
    End,
}

/// What an earlier command left.
pub(super) enum Left {
    /// An export whose rows are there up to this token; none where there is none.
    Begun(Writer, Option<Token>),
    /// A whole export.
    Whole(Counts),
    /// Nothing that could be gone on with.
    Nothing,
}

impl Writer {
    /// Begins a file that is not there yet, for its owner alone.
    pub(super) fn create(
        path: &Path,
        key: &dyn MasterKey,
        head: Head,
    ) -> Result<Self, ExportError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists { path: path.to_owned() },
            _ => ExportError::Write { path: path.to_owned(), source },
        };
        let head = head.to_bytes();
        let file_key = SecretKey::random().map_err(|_| ExportError::Random)?;
        let wrapped = key.wrap(&file_key, &head).map_err(ExportError::Wrap)?;
        let cipher = FrameCipher::new(&file_key, head).map_err(|_| ExportError::Random)?;
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(PRIVATE).open(path).map_err(failed)?;
        file.write_all(&[head.as_slice(), &wrapped].concat()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, cipher, index: 0, counts: Counts::default() })
    }

    /// Goes on with what an earlier command left of this vault: whatever stands behind its last whole
    /// frame of rows is cut off. Erased tokens are written anew, as some may have become so since,
    /// anywhere in their order.
    pub(super) fn resume(
        path: &Path,
        key: &dyn MasterKey,
        vault: KeyId,
    ) -> Result<Left, ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        let mut reader = match Reader::open(path, key) {
            Err(ExportError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Left::Nothing);
            }
            Err(ExportError::Cut { .. }) => {
                std::fs::remove_file(path).map_err(failed)?;
                return Ok(Left::Nothing);
            }
            opened => opened?,
        };
        if reader.head.vault != vault {
            return Err(ExportError::OtherVault { path: path.to_owned() });
        }
        let (mut kept, mut last) = (reader.place, None);
        loop {
            match reader.next() {
                Ok(Next::End) => return Ok(Left::Whole(reader.place.counts)),
                Ok(Next::Erased(_)) => {}
                Ok(Next::Rows(rows)) => {
                    kept = reader.place;
                    last = rows.last().map(|row| row.token).or(last);
                }
                // What a power cut leaves need not be short: it may be noise.
                Err(ExportError::Cut { .. } | ExportError::Damaged { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let (Reader { cipher, .. }, Place { at, index, counts }) = (reader, kept);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(at).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        let path = path.to_owned();
        Ok(Left::Begun(Self { path, file, cipher, index, counts }, last))
    }

    /// What it holds.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn add(&mut self, rows: &[CardRow]) -> Result<(), ExportError> {
        self.frame(Kind::Rows, write_rows(rows))?;
        self.counts.rows += count(rows.len());
        Ok(())
    }

    pub(super) fn add_erased(&mut self, tokens: &[ErasedToken]) -> Result<(), ExportError> {
        self.frame(Kind::Erased, write_erased(tokens))?;
        self.counts.erased += count(tokens.len());
        Ok(())
    }

    /// Returns when it is whole, and on the disk.
    pub(super) fn finish(mut self) -> Result<Counts, ExportError> {
        self.frame(Kind::End, write_counts(self.counts.rows, self.counts.erased))?;
        let synced = self.file.sync_all().and_then(|()| sync_folder(&self.path));
        synced.map_err(|source| ExportError::Write { path: self.path.clone(), source })?;
        Ok(self.counts)
    }

    fn frame(&mut self, kind: Kind, text: Zeroizing<Vec<u8>>) -> Result<(), ExportError> {
        let frame = self.cipher.seal(self.index, kind, text).map_err(|_| ExportError::Random)?;
        let written = self.file.write_all(&frame);
        written.map_err(|source| ExportError::Write { path: self.path.clone(), source })?;
        self.index += 1;
        Ok(())
    }
}

impl Reader {
    pub(super) fn open(path: &Path, key: &dyn MasterKey) -> Result<Self, ExportError> {
        let named = || path.to_owned();
        let failed = |source| ExportError::Read { path: named(), source };
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let mut start = Vec::new();
        let whole = u64::try_from(HEAD_BYTES + WRAPPED_BYTES).unwrap_or(u64::MAX);
        file.by_ref().take(whole).read_to_end(&mut start).map_err(failed)?;
        if !start.iter().zip(MAGIC).all(|(is, should)| is == should) {
            return Err(ExportError::Foreign { path: named() });
        }
        let Some((bytes, wrapped)) = start.split_first_chunk::<HEAD_BYTES>() else {
            return Err(ExportError::Cut { path: named(), rows: 0 });
        };
        if wrapped.len() < WRAPPED_BYTES {
            return Err(ExportError::Cut { path: named(), rows: 0 });
        }
        let version = bytes.get(MAGIC.len()).copied().unwrap_or_default();
        if version != VERSION {
            return Err(ExportError::Newer { path: named(), version });
        }
        let head = Head::from_bytes(bytes).ok_or(ExportError::Foreign { path: named() })?;
        let file_key = key.unwrap_key(wrapped, bytes).map_err(|error| match error {
            WrapError::Wrong => ExportError::WrongKey { path: named() },
            other => ExportError::Wrap(other),
        })?;
        let cipher = FrameCipher::new(&file_key, *bytes).map_err(|_| ExportError::Random)?;
        Ok(Self {
            path: named(),
            file,
            cipher,
            head,
            place: Place { at: whole, index: 0, counts: Counts::default() },
        })
    }

    /// What has been read.
    pub(super) fn counts(&self) -> Counts {
        self.place.counts
    }

    /// How many rows there were when it was begun.
    pub(super) fn expected(&self) -> u64 {
        self.head.rows
    }

    /// The next thing. Behind the end there is nothing: what was put there is none of ours.
    pub(super) fn next(&mut self) -> Result<Next, ExportError> {
        let damaged = ExportError::Damaged { path: self.path.clone(), frame: self.place.index };
        let mut prefix = [0; PREFIX_BYTES];
        self.read(&mut prefix)?;
        let [length @ .., kind] = prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let Some(kind) = Kind::of_byte(kind).filter(|_| length <= FRAME_BYTES_MAX) else {
            return Err(damaged);
        };
        let mut sealed = vec![0; length];
        self.read(&mut sealed)?;
        let Some(text) = self.cipher.open(self.place.index, kind, sealed) else {
            return Err(damaged);
        };
        let counts = write_counts(self.place.counts.rows, self.place.counts.erased);
        let next = match kind {
            Kind::End if *text == *counts && self.is_over()? => Next::End,
            Kind::End => return Err(damaged),
            Kind::Erased => Next::Erased(read_erased(&text).ok_or(damaged)?),
            Kind::Rows => Next::Rows(read_rows(&text).ok_or(damaged)?),
        };
        match &next {
            Next::End => {}
            Next::Erased(tokens) => self.place.counts.erased += count(tokens.len()),
            Next::Rows(rows) => self.place.counts.rows += count(rows.len()),
        }
        self.place.index += 1;
        self.place.at += u64::try_from(PREFIX_BYTES + length).unwrap_or(u64::MAX);
        Ok(next)
    }

    fn is_over(&mut self) -> Result<bool, ExportError> {
        let rest = self.file.fill_buf();
        rest.map(<[u8]>::is_empty)
            .map_err(|source| ExportError::Read { path: self.path.clone(), source })
    }

    fn read(&mut self, room: &mut [u8]) -> Result<(), ExportError> {
        let rows = self.place.counts.rows;
        self.file.read_exact(room).map_err(|source| cut(&self.path, rows, source))
    }
}

fn cut(path: &Path, rows: u64, source: io::Error) -> ExportError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::UnexpectedEof => ExportError::Cut { path, rows },
        _ => ExportError::Read { path, source },
    }
}
