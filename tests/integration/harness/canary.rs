//! The search, after every test, for its card numbers in every place they must not be.
//!
//! Kept per thread: a test runs on one, and starts its servers and clients from it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::bytes::Regex;

/// Bytes somebody received.
pub(crate) type Tape = Arc<Mutex<Vec<u8>>>;

thread_local! {
    static CARDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static TAPES: RefCell<Vec<(String, Tape)>> = const { RefCell::new(Vec::new()) };
}

/// Looks for this number from now on.
pub(crate) fn register(number: &str) {
    CARDS.with_borrow_mut(|cards| cards.push(number.to_owned()));
}

/// A tape that is searched at the end of the test.
pub(crate) fn tape(name: &str) -> Tape {
    let tape = Tape::default();
    TAPES.with_borrow_mut(|tapes| tapes.push((name.to_owned(), Arc::clone(&tape))));
    tape
}

/// Fails the test if a registered number is in one of the tapes, in the folder's files or in what
/// the process wrote.
pub(crate) fn check(folder: &Path, written: &[(&str, Vec<u8>)]) {
    let needles: Vec<_> = CARDS.with_borrow(|cards| cards.iter().map(|c| Needle::new(c)).collect());
    let look = |place: &str, bytes: &[u8]| {
        for needle in &needles {
            if let Some(form) = needle.found_in(bytes) {
                panic!("a clear card number ({form}) is in {place}");
            }
        }
    };
    TAPES.with_borrow(|tapes| {
        for (name, tape) in tapes {
            look(name, &tape.lock().unwrap());
        }
    });
    for (place, bytes) in written {
        look(place, bytes);
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_file() {
            look(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

struct Needle {
    digits: Regex,
    others: Vec<(&'static str, Vec<u8>)>,
}

impl Needle {
    fn new(number: &str) -> Self {
        let separator = r"(?:[ .+\-]|%20|%2[BDEbde]|&nbsp;|\xc2\xa0)?";
        let digits: Vec<_> = number.chars().map(|digit| format!("(?:{digit}|%3{digit})")).collect();
        let digits = Regex::new(&format!("(?-u){}", digits.join(separator))).unwrap();
        let mut others: Vec<_> = (0..3).map(|skip| ("base64", base64_core(number, skip))).collect();
        others
            .push(("hex", number.bytes().flat_map(|b| format!("{b:02x}").into_bytes()).collect()));
        let value: u64 = number.parse().unwrap();
        others.push(("little-endian", value.to_le_bytes()[..7].to_vec()));
        others.push(("big-endian", value.to_be_bytes()[1..].to_vec()));
        others.push(("binary coded decimal", binary_coded(number)));
        Self { digits, others }
    }

    fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        if self.digits.is_match(bytes) {
            return Some("digits");
        }
        let held = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.others.iter().find(|(_, needle)| held(needle)).map(|(form, _)| *form)
    }
}

/// The characters that do not depend on what stands round the number.
fn base64_core(number: &str, skip: usize) -> Vec<u8> {
    let padded = format!("{}{number}", "x".repeat(skip));
    let text = STANDARD_NO_PAD.encode(&padded);
    let start = if skip == 0 { 0 } else { 4 };
    text.as_bytes()[start..padded.len() / 3 * 4].to_vec()
}

fn binary_coded(number: &str) -> Vec<u8> {
    let even = if number.len() % 2 == 0 { number.to_owned() } else { format!("0{number}") };
    even.as_bytes().chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect()
}

#[test]
fn every_form_of_a_number_is_noticed() {
    let needle = Needle::new("4111111111111111");
    for text in [
        "pan=4111111111111111&",
        "4111 1111-1111.1111",
        "4111%201111%201111+1111",
        "eyJwYW4iOiI0MTExMTExMTExMTExMTExIn0",
        "34313131313131313131313131313131",
    ] {
        assert!(needle.found_in(text.as_bytes()).is_some(), "{text}");
    }
    assert!(needle.found_in(&binary_coded("4111111111111111")).is_some());
    assert!(needle.found_in(b"411111******1111 4111111111111129").is_none());
}
