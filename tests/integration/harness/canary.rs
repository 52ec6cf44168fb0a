//! The search, after every test, for its card numbers in every place they must not be.
//!
//! Kept per thread: a test runs on one, and starts its servers and clients from it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

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
    let search = CARDS.with_borrow(|cards| Search::new(cards));
    let look = |place: &str, bytes: &[u8]| {
        if let Some(form) = search.find(bytes) {
            panic!("a clear card number ({form}) is in {place}");
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

/// Every number in every form, looked for in one pass.
struct Search {
    digits: AhoCorasick,
    others: AhoCorasick,
}

impl Search {
    fn new(numbers: &[String]) -> Self {
        let others = numbers.iter().flat_map(|number| forms(number));
        let others = AhoCorasick::new(others.collect::<Vec<_>>()).unwrap();
        Self { digits: AhoCorasick::new(numbers).unwrap(), others }
    }

    fn find(&self, bytes: &[u8]) -> Option<&'static str> {
        if self.digits.is_match(&joined_digits(bytes)) {
            return Some("digits");
        }
        self.others.is_match(bytes).then_some("encoded")
    }
}

/// Digits with their separators and escapes taken away; everything else becomes a break.
fn joined_digits(bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, next) = match (first, after) {
            (b'%', [high, low, next @ ..]) => (unescaped(*high, *low), next),
            (b'\\', [b'u', b'0', b'0', high, low, next @ ..]) => (unescaped(*high, *low), next),
            _ => (first, after),
        };
        rest = next;
        match byte {
            b'0'..=b'9' => joined.push(byte),
            // A no-break space is two bytes of UTF-8.
            b' ' | b'.' | b'+' | b'-' | 0xc2 | 0xa0 => {}
            _ => joined.push(b'|'),
        }
    }
    joined
}

fn unescaped(high: u8, low: u8) -> u8 {
    let pair = [high, low];
    let text = std::str::from_utf8(&pair).unwrap_or_default();
    u8::from_str_radix(text, 16).unwrap_or(b'|')
}

/// Base64 at each of its three alignments, hex, binary and binary coded decimal.
fn forms(number: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<_> = (0..3).map(|skip| base64_core(number, skip)).collect();
    forms.push(number.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    let value: u64 = number.parse().unwrap();
    forms.push(value.to_le_bytes()[..7].to_vec());
    forms.push(value.to_be_bytes()[1..].to_vec());
    forms.push(binary_coded(number));
    forms
}

/// The characters that do not depend on what stands round the number.
fn base64_core(number: &str, skip: usize) -> Vec<u8> {
    let padded = format!("{}{number}", "x".repeat(skip));
    let text = STANDARD_NO_PAD.encode(&padded);
    let start = if skip == 0 { 0 } else { 4 };
    text.as_bytes()[start..padded.len() / 3 * 4].to_vec()
}

fn binary_coded(number: &str) -> Vec<u8> {
    let even = format!("{}{number}", "0".repeat(number.len() % 2));
    even.as_bytes().chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect()
}

#[test]
fn every_form_of_a_number_is_noticed() {
    let search = Search::new(&["4111111111111111".to_owned()]);
    for text in [
        "pan=4111111111111111&",
        "4111 1111-1111.1111",
        "4111%201111%201111+1111",
        "%34111111111111111",
        "\\u0034111111111111111",
        "eyJwYW4iOiI0MTExMTExMTExMTExMTExIn0",
        "34313131313131313131313131313131",
    ] {
        assert!(search.find(text.as_bytes()).is_some(), "{text}");
    }
    assert!(search.find(&binary_coded("4111111111111111")).is_some());
    assert!(search.find(b"411111******1111 4111111111111129").is_none());
}
