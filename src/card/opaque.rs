//! How an opaque token is written: `tok_`, 18 random characters, and 4 that check them.
//!
//! 18 characters of base64url (RFC 4648 §5) are 108 random bits: with ten million tokens, two alike
//! come once in 10^18 vaults, and nobody guesses one. Others name things `tok_…` too; 24 bits of check
//! tell ours from those, so that a stranger's of the very same length is left alone.

/// What every opaque token begins with.
pub(super) const PREFIX: &[u8] = b"tok_";
/// How long one is.
pub(super) const OPAQUE_BYTES: usize = PREFIX_BYTES + OPAQUE_RANDOM + CHECK;
/// How many characters of an opaque token are random.
pub const OPAQUE_RANDOM: usize = 18;
const PREFIX_BYTES: usize = 4;
const CHECK: usize = 4;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes a token; six bits of each byte count.
pub(super) fn write(random: &[u8; OPAQUE_RANDOM]) -> [u8; OPAQUE_BYTES] {
    let mut text = [0; OPAQUE_BYTES];
    let characters = random.iter().map(|byte| character(u32::from(*byte)));
    let head = PREFIX.iter().copied().chain(characters);
    text.iter_mut().zip(head).for_each(|(place, byte)| *place = byte);
    let check = check(text.get(..PREFIX_BYTES + OPAQUE_RANDOM).unwrap_or_default());
    text.iter_mut().skip(PREFIX_BYTES + OPAQUE_RANDOM).zip(check).for_each(|(place, byte)| {
        *place = byte;
    });
    text
}

/// Whether a text is an opaque token of ours, by its shape and its check.
pub(super) fn holds(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(PREFIX_BYTES + OPAQUE_RANDOM) else {
        return false;
    };
    head.starts_with(PREFIX)
        && head.iter().all(|byte| is_token_byte(*byte))
        && tail == check(head).as_slice()
}

/// Whether a byte may stand in an opaque token: one beside it makes the token part of a longer name.
#[must_use]
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn check(head: &[u8]) -> [u8; CHECK] {
    let sum = crc24(head);
    [sum >> 18, sum >> 12, sum >> 6, sum].map(character)
}

fn character(bits: u32) -> u8 {
    let place = usize::try_from(bits & 63).unwrap_or(0);
    ALPHABET.get(place).copied().unwrap_or(b'A')
}

/// The checksum of OpenPGP (RFC 9580 §6.1).
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00B7_04CE, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 16, |sum, _| {
            let shifted = sum << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ 0x0186_4CFB }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_openpgp() {
        assert_eq!(crc24(b"123456789"), 0x21CF02);
    }

    #[test]
    fn any_changed_character_breaks_the_check() {
        let token = write(&[7; OPAQUE_RANDOM]);
        assert!(holds(&token) && token.len() == 26 && token.starts_with(b"tok_"));
        for place in 0..token.len() {
            let mut changed = token;
            changed[place] = if token[place] == b'a' { b'b' } else { b'a' };
            assert!(!holds(&changed), "{}", changed.escape_ascii());
        }
        assert!(!holds(&token[..25]));
        assert!(!holds(b"tok_1NnZ2LHMNvFVnyEbhDyXYZ"), "a stranger's of the same length");
    }
}
