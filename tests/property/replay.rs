//! The committed corpus of every fuzz target, and mutations of it that are the same each time: what
//! can be known without a fuzzer.

use std::fs;
use std::panic;
use std::path::Path;

use crate::checks;

/// Mutants are cut to this length.
const LENGTH_MAX: usize = 2048;

/// What mutations put in.
const WORDS: [&[u8]; 12] = [
    b"4111111111111111",
    b"4111 1111 1111 1111",
    b"378282246310005",
    b"0123456789012345678",
    b"\"cvv\":123,",
    b"card=",
    b"&#52;",
    b"%34",
    b"\\u0034",
    b"</b><b>",
    b"[[site]]\n",
    b"\0\r\n",
];

#[test]
fn no_bytes_break_the_scanner() {
    replay("scan", checks::scan::check, 5000);
}

#[test]
fn no_cut_changes_what_is_found() {
    replay("chunked_rewrite", checks::chunked_rewrite::check, 800);
}

#[test]
fn no_mask_breaks_a_carrier() {
    replay("carriers", checks::carriers::check, 4000);
}

#[test]
fn no_body_passes_the_bounds_of_its_codings() {
    replay("coding", checks::coding::check, 200);
}

#[test]
fn no_file_breaks_the_configuration() {
    replay("config", checks::config::check, 1000);
}

#[test]
fn no_body_breaks_the_reading_of_accounts() {
    replay("login", checks::login::check, 4000);
}

#[test]
fn no_bytes_break_a_token_or_a_number() {
    replay("token", checks::token::check, 10_000);
}

#[test]
fn no_frames_break_a_connection_that_is_looked_into() {
    replay("websocket", checks::websocket::check, 3000);
}

#[test]
fn no_cut_moves_the_end_of_a_head() {
    replay("heads", checks::heads::check, 10_000);
}

#[test]
fn no_request_is_believed_or_read_by_accident() {
    replay("request", checks::request::check, 5000);
}

#[test]
fn no_header_of_a_balancer_is_read_for_another() {
    replay("proxy_protocol", checks::proxy_protocol::check, 10_000);
}

#[test]
fn no_request_is_for_two_hosts_or_half_a_name() {
    replay("host", checks::host::check, 10_000);
}

#[test]
fn no_cookie_makes_a_trusted_browser_or_reaches_the_shop() {
    replay("device", checks::device::check, 2000);
}

#[test]
fn no_call_is_a_provider_s_without_its_signature() {
    replay("webhook", checks::webhook::check, 2000);
}

/// Checks the corpus of a target, then as many mutants of it.
fn replay(target: &str, check: fn(&[u8]), mutants: usize) {
    let corpus = corpus(target);
    for (name, input) in &corpus {
        hold(check, input, &format!("{target}/{name}"));
    }
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    for number in 0..mutants {
        let (name, input) = &corpus[chance.below(corpus.len())];
        let (_, other) = &corpus[chance.below(corpus.len())];
        let mutant = chance.mutate(input, other);
        hold(check, &mutant, &format!("mutant {number} of {target}/{name}"));
    }
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs
}

fn hold(check: fn(&[u8]), input: &[u8], name: &str) {
    if panic::catch_unwind(|| check(input)).is_err() {
        panic!("{name} breaks a promise: b\"{}\"", input.escape_ascii());
    }
}

/// Marsaglia's xorshift: the same numbers each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() >> 32 & 0xFF).unwrap()
    }

    /// One to four changes of an input.
    fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut mutant = input.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut mutant, other);
            mutant.truncate(LENGTH_MAX);
        }
        mutant
    }

    fn change(&mut self, mutant: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(mutant.len());
        let end = (at + 1 + self.below(32)).min(mutant.len());
        let room = at..end.max(at);
        match self.below(6) {
            0 => drop(mutant.splice(room, [self.byte()])),
            1 => drop(mutant.splice(room, [])),
            2 => mutant.extend_from_within(room),
            3 => drop(mutant.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            4 => drop(mutant.splice(at.., other[self.below(other.len())..].iter().copied())),
            _ => {
                if let Some(byte) = mutant.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}
