//! Whether a card number of the demo stands in a text, or in any file of the demo.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memmem;
use tokio::time::{sleep, timeout};

use super::shop::{OLD_CARD_NUMBER, digits};
use super::walk::{CARD_NUMBER, WalkError};

/// Of one file that is searched for the number; the demo writes far less.
const FILE_BYTES_MAX: u64 = 64 << 20;
const LINE_WAIT: Duration = Duration::from_secs(10);
const LINE_PAUSE: Duration = Duration::from_millis(5);

/// Whether one of the two card numbers of the demo stands anywhere.
pub(super) fn reveals_any(text: &[u8]) -> bool {
    [CARD_NUMBER, OLD_CARD_NUMBER].iter().any(|number| reveals(text, number))
}

/// Whether a number stands anywhere, whatever separates its digits.
pub(super) fn reveals(text: &[u8], number: &str) -> bool {
    let separator = |byte: &u8| matches!(byte, b' ' | b'+' | b'-');
    let joined: Vec<u8> = text.iter().copied().filter(|byte| !separator(byte)).collect();
    memmem::find(&joined, digits(number).as_bytes()).is_some()
}

/// Waits until the access log has the request: its lines are written a moment after the answer, and
/// a search before that would prove nothing.
pub(super) async fn await_line(access_log: &Path, request_id: &str) -> Result<(), WalkError> {
    let field = format!("\"request_id\":\"{request_id}\"");
    let written = async {
        loop {
            let log = read(access_log)?;
            if memmem::find(&log, field.as_bytes()).is_some() {
                return Ok(());
            }
            sleep(LINE_PAUSE).await;
        }
    };
    let unrecorded = WalkError::Unrecorded { side: "the access log" };
    let written: io::Result<()> = timeout(LINE_WAIT, written).await.map_err(|_late| unrecorded)?;
    written.map_err(|source| WalkError::Search { path: access_log.to_owned(), source })
}

/// Collects the files that hold one of the two card numbers.
pub(super) fn search(folder: &Path, revealing: &mut Vec<PathBuf>) -> Result<(), WalkError> {
    let failed = |path: &Path, source| WalkError::Search { path: path.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if path.is_dir() {
            search(&path, revealing)?;
            continue;
        }
        match read(&path) {
            Ok(bytes) if reveals_any(&bytes) => revealing.push(path),
            Ok(_) => {}
            // A journal of the vault may go while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_whatever_separates_its_digits() {
        for text in ["x4111111111111111y", "4111 1111 1111 1111", "n=4111+1111-1111+1111"] {
            assert!(reveals(text.as_bytes(), CARD_NUMBER), "{text}");
            assert!(!reveals(text.as_bytes(), OLD_CARD_NUMBER), "{text}");
        }
        assert!(!reveals_any(b"4111 11** **** 1111") && !reveals_any(b"5555 55** **** 4444"));
        assert!(reveals_any(b"{\"number\":5555555555554444}"));
    }

    #[test]
    fn every_file_with_a_number_is_found_in_any_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("data");
        fs::create_dir(&inner).unwrap();
        fs::write(folder.path().join("clean.log"), "4111 11** **** 1111").unwrap();
        fs::write(folder.path().join("new.log"), CARD_NUMBER).unwrap();
        fs::write(inner.join("old.db"), format!("\0\u{ff}{OLD_CARD_NUMBER}")).unwrap();
        let mut revealing = Vec::new();
        search(folder.path(), &mut revealing).unwrap();
        revealing.sort();
        assert_eq!(revealing, [inner.join("old.db"), folder.path().join("new.log")]);
    }
}
