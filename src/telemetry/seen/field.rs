//! Field names as they may be kept and shown.

use crate::telemetry::mask_text;

/// How much of a name is kept.
const NAME_BYTES_MAX: usize = 64;

/// A field's name without any digit, and without anything that moves a terminal's cursor. Digits are
/// places in lists as a rule, and a name per place would fill the table; and a name can itself be a
/// card number.
pub(in crate::telemetry) fn without_digits(name: &str) -> String {
    let mut kept = String::with_capacity(name.len().min(NAME_BYTES_MAX));
    for letter in mask_text(name).chars() {
        let shown = match letter {
            letter if letter.is_numeric() => '#',
            letter if letter.is_alphabetic() || letter == ' ' || letter.is_ascii_graphic() => {
                letter
            }
            _ => '?',
        };
        if kept.len() + shown.len_utf8() > NAME_BYTES_MAX {
            break;
        }
        kept.push(shown);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_letters_only() {
        let cases = [
            ("card[number]", "card[number]"),
            ("items[12].no2", "items[##].no#"),
            ("4111111111111111", "######******####"),
            ("４１１１", "####"),
            ("größe\u{1b}[2J\u{202e}x\n", "größe?[#J?x?"),
            ("", ""),
        ];
        for (name, kept) in cases {
            assert_eq!(without_digits(name), kept, "{name:?}");
        }
        let long = without_digits(&"ü".repeat(100));
        assert_eq!(long, "ü".repeat(32));
    }
}
