//! The search of disks for what must never be on one: verification codes and cards in clear.

use std::fs;
use std::path::Path;

use aho_corasick::AhoCorasick;

/// Codes of the tests' purchases. Four digits with zeros before them are in no number of a log, and
/// between other characters than letters and digits in no token, date or hash.
pub(crate) const CODES: [&str; 4] = ["0093", "0718", "0462", "0857"];

/// What to look for.
pub(crate) struct Traces {
    cards: AhoCorasick,
    codes: AhoCorasick,
}

impl Traces {
    /// Of these cards, and of the codes.
    pub(crate) fn of(cards: &[String]) -> Self {
        let cards = AhoCorasick::new(cards).unwrap();
        Self { cards, codes: AhoCorasick::new(CODES).unwrap() }
    }

    /// Fails the test if any is in one of the folder's files, however deep. Gives how many bytes
    /// were looked at.
    pub(crate) fn assert_none_under(&self, folder: &Path) -> u64 {
        let mut bytes = 0;
        // A server's files come and go while we look.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                bytes += self.assert_none_under(&path);
            } else if let Ok(text) = fs::read(&path) {
                self.assert_none_in(&path.display().to_string(), &text);
                bytes += u64::try_from(text.len()).unwrap();
            }
        }
        bytes
    }

    pub(crate) fn assert_none_in(&self, place: &str, text: &[u8]) {
        assert!(!self.cards.is_match(text), "a card in clear is in {place}");
        assert!(!self.has_code(text), "a verification code is in {place}");
    }

    fn has_code(&self, text: &[u8]) -> bool {
        // A point stands before the digits of a fraction, such as how long a request took.
        let within = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
        let alone = |byte: Option<&u8>| !byte.is_some_and(within);
        self.codes.find_iter(text).any(|found| {
            let before = found.start().checked_sub(1).and_then(|place| text.get(place));
            alone(before) && alone(text.get(found.end()))
        })
    }
}

#[test]
fn a_code_and_a_card_are_found_and_a_token_that_holds_the_digits_is_not() {
    let traces = Traces::of(&["4111111111111111".to_owned()]);
    assert!(traces.has_code(b"cvv=0093&x") && traces.has_code(b"0718"));
    assert!(!traces.has_code(b"4000093000001111 a0093f 0.00931 0.0093,"));
    assert!(traces.cards.is_match(b"\x004111111111111111\x01".as_slice()));
}
