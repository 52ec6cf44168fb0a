//! Heads end where they end however the bytes are cut, and none that goes on has a bare line feed.

use tillgate::server::heads::{BareLineFeed, Follows, Heads};

/// Where heads ended, in bytes from the beginning.
type Ends = Result<Vec<usize>, BareLineFeed>;

/// Reads a byte for the size of the pieces and one for what follows heads, then what a client sends.
pub fn check(data: &[u8]) {
    let [piece, follows, bytes @ ..] = data else { return };
    let whole = ends(bytes, bytes.len(), *follows);
    let cut = ends(bytes, usize::from(*piece), *follows);
    assert_eq!(whole, cut, "a cut changes where heads end");
    for end in whole.iter().flatten() {
        assert!(bytes[..*end].ends_with(b"\r\n"), "a head ends within a line");
    }
    if follows % 4 == 0 && whole.is_ok() {
        // Nothing but heads.
        let mut feeds = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        assert!(feeds.all(|(at, _)| at > 0 && bytes[at - 1] == b'\r'), "a bare line feed went on");
    }
}

fn ends(bytes: &[u8], piece: usize, follows: u8) -> Ends {
    let (mut heads, mut ends, mut at) = (Heads::default(), Vec::new(), 0);
    for piece in bytes.chunks(piece.max(1)) {
        let end = at + piece.len();
        while at < end {
            let open = heads.is_open();
            let passed = heads.follow(&bytes[at..end])?;
            assert!(0 < passed && passed <= end - at, "nothing is passed on, or too much");
            at += passed;
            if heads.is_whole() {
                assert!(heads.is_open() || open);
                ends.push(at);
                heads.told(what_follows(follows, ends.len()));
            }
        }
    }
    Ok(ends)
}

/// A choice that depends on nothing else.
fn what_follows(choice: u8, place: usize) -> Follows {
    match (usize::from(choice) + place - 1) % 4 {
        _ if choice.is_multiple_of(4) => Follows::Bytes(0),
        0 => Follows::Bytes(u64::from(choice)),
        1 => Follows::Chunks,
        2 => Follows::Bytes(0),
        _ => Follows::Anything,
    }
}
