use std::fs;
use std::path::PathBuf;

use super::file::{Counts, Left, Next, Reader, Writer};
use super::frames::{CardRow, ErasedToken, Head, PREFIX_BYTES, WRAPPED_BYTES};
use super::*;
use crate::card::{Pan, TokenFormat};
use crate::keys::{KEY_BYTES, MemoryKey, SecretKey};
use crate::vault::store::KeyId;

const HEAD: Head = Head { vault: KeyId([9; 16]), rows: 3 };

fn key(seed: u8) -> MemoryKey {
    MemoryKey::new(SecretKey::from_bytes(&[seed; KEY_BYTES]).unwrap())
}

fn row(last: u8) -> CardRow {
    let token = format!("400000000000{last:04}");
    CardRow {
        token: Token::parse(token.as_bytes()).unwrap(),
        format: TokenFormat::BrandFour,
        card: Pan::from_digits(b"4111111111111111").unwrap(),
    }
}

fn erased(last: u8) -> ErasedToken {
    let CardRow { token, format, .. } = row(last);
    ErasedToken { token, format }
}

const WHOLE: Counts = Counts { rows: 2, erased: 1 };

/// An export of two frames of one row each and one of an erased token, whole.
fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    let mut writer = Writer::create(&path, &key(1), HEAD).unwrap();
    (1..=3).for_each(|last| add(&mut writer, last));
    assert_eq!(writer.finish().unwrap(), WHOLE);
    (folder, path)
}

/// Frame number `last`.
fn add(writer: &mut Writer, last: u8) {
    match last {
        3 => writer.add_erased(&[erased(last)]).unwrap(),
        _ => writer.add(&[row(last)]).unwrap(),
    }
}

/// The tokens that can be read, and how it ends.
fn read(path: &Path) -> (Vec<String>, Result<(), ExportError>) {
    let mut tokens = Vec::new();
    let mut reader = match Reader::open(path, &key(1)) {
        Ok(reader) => reader,
        Err(error) => return (tokens, Err(error)),
    };
    loop {
        match reader.next() {
            Ok(Next::Rows(rows)) => tokens.extend(rows.iter().map(|row| row.token.to_string())),
            Ok(Next::Erased(rows)) => tokens.extend(rows.iter().map(|row| row.token.to_string())),
            Ok(Next::End) => return (tokens, Ok(())),
            Err(error) => return (tokens, Err(error)),
        }
    }
}

/// Where each frame begins, and the end of the last.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![frames::HEAD_BYTES + WRAPPED_BYTES];
    while let Some(at) = places.last().copied().filter(|at| *at < bytes.len()) {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        places.push(at + PREFIX_BYTES + usize::try_from(length).unwrap());
    }
    places
}

#[test]
fn what_was_written_is_read_and_no_card_stands_in_the_file() {
    let (_folder, path) = written();
    let (tokens, end) = read(&path);
    assert_eq!(tokens, ["4000000000000001", "4000000000000002", "4000000000000003"]);
    assert!(end.is_ok());
    let bytes = fs::read(&path).unwrap();
    assert!(memchr::memmem::find(&bytes, b"4111111111111111").is_none());
    let Err(ExportError::WrongKey { .. }) = Reader::open(&path, &key(2)) else { panic!("opened") };
}

#[test]
fn frames_that_are_moved_left_out_repeated_or_relabelled_do_not_open() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let places = frames(&bytes);
    let part = |from: usize, to: usize| &bytes[places[from]..places[to]];
    let head = &bytes[..places[0]];
    let moved = [head, part(1, 2), part(0, 1), part(2, 4)].concat();
    let left_out = [head, part(0, 1), part(2, 4)].concat();
    let repeated = [head, part(0, 1), part(0, 1), part(2, 4)].concat();
    let ended_early = [head, part(0, 1), part(3, 4)].concat();
    let mut relabelled = bytes.clone();
    relabelled[places[1] + PREFIX_BYTES - 1] = 1;
    for changed in [moved, left_out, repeated, ended_early, relabelled] {
        fs::write(&path, changed).unwrap();
        assert!(matches!(read(&path).1, Err(ExportError::Damaged { .. })));
    }
    fs::write(&path, [head, part(0, 3)].concat()).unwrap();
    assert!(matches!(read(&path).1, Err(ExportError::Cut { rows: 2, .. })));
}

#[test]
fn what_stands_behind_the_end_is_refused_and_gone_on_with_from_the_last_rows() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let places = frames(&bytes);
    let again = &bytes[places[3]..];
    for behind in [&b"\0"[..], again] {
        fs::write(&path, [&bytes, behind].concat()).unwrap();
        assert!(matches!(read(&path).1, Err(ExportError::Damaged { frame: 3, .. })));
    }
    let left = Writer::resume(&path, &key(1), HEAD.vault).unwrap();
    let Left::Begun(writer, Some(last)) = left else { panic!("taken for whole") };
    assert_eq!((last, writer.counts().rows), (row(2).token, 2));
}

#[test]
fn a_cut_at_any_byte_is_gone_on_with_from_the_last_whole_frame_of_rows() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let places = frames(&bytes);
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let left = Writer::resume(&path, &key(1), HEAD.vault).unwrap();
        let Left::Begun(mut writer, last) = left else {
            assert!(length < places[0] && !path.exists());
            continue;
        };
        let whole = places[..3].iter().filter(|place| **place <= length).count() - 1;
        let rows = u64::try_from(whole).unwrap();
        assert_eq!(writer.counts(), Counts { rows, erased: 0 }, "erased ones are written anew");
        let last = last.map_or(0, |token| token.as_bytes()[15] - b'0');
        assert_eq!(usize::from(last), whole);
        (last + 1..=3).for_each(|last| add(&mut writer, last));
        assert_eq!(writer.finish().unwrap(), WHOLE);
        let (tokens, end) = read(&path);
        assert!(tokens.len() == 3 && end.is_ok());
    }
    let Left::Whole(WHOLE) = Writer::resume(&path, &key(1), HEAD.vault).unwrap() else {
        panic!("a whole export was begun again")
    };
    let other = Writer::resume(&path, &key(1), KeyId([8; 16]));
    assert!(matches!(other, Err(ExportError::OtherVault { .. })));
}

#[test]
fn what_is_no_export_is_never_cut_or_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters");
    for text in [&b"dear"[..], &[b'x'; 500]] {
        fs::write(&path, text).unwrap();
        let Err(ExportError::Foreign { .. }) = Writer::resume(&path, &key(1), HEAD.vault) else {
            panic!("taken for an export")
        };
        assert_eq!(fs::read(&path).unwrap(), text);
        let Err(ExportError::Exists { .. }) = Writer::create(&path, &key(1), HEAD) else {
            panic!("written over")
        };
    }
}
